"""Parts of turns: what one has no time for, and what happens in the middle of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import Generic, Protocol, TypeVar

from rtchat.core.flow.turns import TURN_WORK, Turns

__all__ = ["PutOff", "TurnPart"]


class PutOff(ABC):
    """The part of a turn's context that leaves work to later turns.

    Attributes:
        later: Callbacks to run in a turn of their own, in order: what this turn has no time for.
        turns: The clients that go on in a later turn.
        work: The work that the turn has done so far. One unit is about a microsecond. Costly
            operations add to it; with more than ``turns.max_work``, the turn has to end soon.
    """

    __slots__ = ("later", "turns", "work")

    later: dict[Callable[[], None], None]
    turns: Turns
    work: int

    @abstractmethod
    def __enter__(self) -> object:
        """Begin a turn."""

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """End the turn."""

    def put_off(self, call: Callable[[], None]) -> None:
        """Call a function in a turn of its own, because this one has no time for it."""
        self.later[call] = None
        self.turns.join(self._begin_later)

    def in_parts(self, work: Iterator[None]) -> None:
        """Do work that yields where a turn has to end; what is left is done in later turns."""
        for _ in work:
            self.put_off(partial(self.in_parts, work))
            return

    def run_later(self) -> None:
        """Go on with what earlier turns had no time for, as far as this turn has; call it in one.

        What is put off again comes after all others.
        """
        try:
            for _ in range(len(self.later)):
                if self.work >= TURN_WORK:
                    return
                call = next(iter(self.later))
                del self.later[call]
                call()
        finally:
            if self.later:
                self.turns.join(self._begin_later)

    def run_all(self, most_work: int) -> None:
        """Do all that was put off, in one turn after the other: the server stops.

        Args:
            most_work: How much work is done at most, in units; see :attr:`work`.
        """
        spent = 0
        while self.later and spent < most_work:
            spent += 1 + self._begin_later()

    def _begin_later(self) -> int:
        """Run a turn with what was put off; return its work."""
        with self:
            self.run_later()
        return self.work


class _Context(Protocol):
    """The context of turns."""

    is_open: bool

    def __enter__(self) -> object:
        """Begin a turn."""

    def __exit__(self, *_: object) -> None:
        """End the turn."""


_C = TypeVar("_C", bound=_Context)


class TurnPart(Generic[_C]):
    """The context of a turn, or of a part of the turn that is going on.

    A part sends what was gathered when it ends, as a turn does, but it neither has a count of work
    of its own nor another time. Parts may be nested.
    """

    __slots__ = ("_are_parts", "_cork")

    def __init__(self, cork: _C) -> None:
        self._cork = cork
        self._are_parts: list[bool] = []  # of the contexts entered: whether it is not a turn

    def __enter__(self) -> _C:
        """Begin a turn, unless there is one."""
        cork = self._cork
        self._are_parts.append(cork.is_open)
        if not cork.is_open:
            cork.__enter__()
        return cork

    def __exit__(self, *_: object) -> None:
        """Send what was gathered; go on with the turn around this part, if there is one."""
        try:
            self._cork.__exit__()
        finally:
            self._cork.is_open = self._are_parts.pop()
