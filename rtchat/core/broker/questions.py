"""Questions that a session asks a feature, and waits for: who it is, whether it may send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from rtchat.errors import ProtocolError

__all__ = ["Question"]

_T = TypeVar("_T")


class Question(Generic[_T]):
    """A question, and its answer once it is there.

    The feature answers within a turn of the broker, at once or later.

    Attributes:
        is_answered: Whether there is an answer.
        on_answer: Called when it is answered.
        on_dropped: Called when the session has ended before the answer.
    """

    __slots__ = ("_problem", "_value", "is_answered", "on_answer", "on_dropped")

    _value: _T

    def __init__(self) -> None:
        self.is_answered = False
        self._problem: ProtocolError | None = None
        self.on_answer: Callable[[], None] = _nothing
        self.on_dropped: Callable[[], None] = _nothing

    def answer(self, value: _T) -> None:
        """Answer. Only the first answer counts."""
        if not self.is_answered:
            self._value = value
            self._answered()

    def refuse(self, problem: ProtocolError) -> None:
        """Answer with an error, which ends the session."""
        if not self.is_answered:
            self._problem = problem
            self._answered()

    def take(self) -> _T:
        """Return the answer.

        Raises:
            ProtocolError: It is an error.
        """
        if self._problem is not None:
            raise self._problem
        return self._value

    def drop(self) -> None:
        """Want no answer any more."""
        if not self.is_answered:
            self.is_answered = True
            self.on_answer = _nothing
            self.on_dropped()

    def _answered(self) -> None:
        self.is_answered = True
        self.on_answer()


def _nothing() -> None:
    """Do nothing."""
