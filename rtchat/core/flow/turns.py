"""The length of turns: what takes more work than one turn allows goes on in a later one.

Work is counted in units of about a microsecond. Costly operations add to ``Cork.work``; code that
handles many things in one turn looks at it between two of them.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["NOTED_WORK", "ROUND_WORK", "SHORT_TURN_WORK", "TURN_WORK", "Turns"]

TURN_WORK = 5_000
"""The work of a turn in units; with more, it ends after the present frame."""

SHORT_TURN_WORK = 100
"""The same in a round of the reactor that has had much work already."""

ROUND_WORK = 2 * TURN_WORK
"""The work of several turns in one round of the reactor, after which further ones are short."""

NOTED_WORK = TURN_WORK // 10
"""Turns with less work do not count towards a round."""


def _later(_: Callable[[], None]) -> None:
    """Leave the rounds to the caller: there is no reactor."""


class Turns:
    """The clients with more to do, in the order in which they get their next turn.

    In each round of the reactor one of them has its turn, or several if they have little to do. In
    between, the sockets are read.

    Attributes:
        call_soon: Calls a function, :meth:`begin_round`, in the next round of the reactor. Set it
            to what the reactor does; by default, nothing happens.
        max_work: The work of a turn, after which it has to end; smaller in a busy round.
        spent: The work in this round of those turns that had more than a little.
    """

    __slots__ = ("_is_called", "_waiting", "call_soon", "max_work", "spent")

    def __init__(self) -> None:
        self.call_soon: Callable[[Callable[[], None]], object] = _later
        self.max_work = TURN_WORK
        self.spent = 0
        self._waiting: dict[Callable[[], int], None] = {}
        self._is_called = False

    def __len__(self) -> int:
        """Return how many wait for their next turn."""
        return len(self._waiting)

    def join(self, go_on: Callable[[], int]) -> None:
        """Let a client go on in a later round.

        Args:
            go_on: Goes on, in a turn of its own, and returns the work of that turn.
        """
        self._waiting[go_on] = None
        self._call()

    def leave(self, go_on: Callable[[], int]) -> None:
        """Let a client that has joined not go on. Do nothing if it does not wait."""
        self._waiting.pop(go_on, None)

    def note(self, work: int) -> None:
        """Note a turn with more than a little work; with many of them, others become short."""
        self.spent += work
        if self.spent > ROUND_WORK:
            self.max_work = SHORT_TURN_WORK
        self._call()

    def begin_round(self) -> None:
        """Let those that wait go on, until they have done as much as a turn allows."""
        self._is_called = False
        self.max_work = TURN_WORK
        self.spent = 0
        try:
            while self._waiting and self.spent < TURN_WORK:
                go_on = next(iter(self._waiting))
                del self._waiting[go_on]
                self.spent += 1 + go_on()
        finally:
            if self._waiting:
                self._call()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            self.call_soon(self.begin_round)
