"""What waits for HTTP clients that do not take it: counted in the memory budget."""

from __future__ import annotations

from itertools import islice
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rtchat.core.flow.memory import Budget

__all__ = ["HttpBacklogs"]

_LOOK_S = 0.25
"""How long after an answer its client is looked at: most have taken it by then."""

_LOOKS = 500
"""How many clients are looked at in one turn."""

_SHARE = 4
"""HTTP clients are closed for others while at least one byte in so many waits for them."""


class _Connection(Protocol):
    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the client, or came from it and wait for their turn."""

    def close_for_memory(self, waiting_bytes: int, limit: int) -> None:
        """Cut the connection, because memory is used up and most of it waits here."""


class HttpBacklogs:
    """Counts the bytes that wait for HTTP clients.

    Args:
        clock: Runs the timer, while something waits.

    Attributes:
        held_bytes: How many bytes wait for all clients.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._counted: dict[_Connection, int] = {}
        self._timer: IDelayedCall | None = None
        self._budget = Budget(0)
        self.held_bytes = 0

    def count_in(self, budget: Budget) -> None:
        """Count in a budget; call it before the first connection.

        What waits for HTTP clients is looked at first when the budget is exceeded.
        """
        relieve_others = budget.on_over

        def relieve() -> None:
            if not self.relieve():
                relieve_others()

        self._budget = budget
        budget.on_over = relieve

    def note(self, connection: _Connection) -> None:
        """Look at a connection in a moment, because something was written to it."""
        self._counted.setdefault(connection, 0)
        if self._timer is None:
            self._timer = self._clock.callLater(_LOOK_S, self._look)

    def count(self, connection: _Connection) -> None:
        """Look at a connection now, because its client takes nothing, or takes something again."""
        self.note(connection)
        self._measure(connection)
        if self._budget.is_over:
            self.relieve()

    def forget(self, connection: _Connection) -> None:
        """Stop counting: the connection is gone, or is no longer HTTP."""
        self._add(-self._counted.pop(connection, 0))
        if not self._counted and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def relieve(self) -> bool:
        """Cut the client for which most waits, if such clients hold a good part of the memory.

        Returns:
            Whether one was cut.
        """
        if not self.held_bytes or self.held_bytes * _SHARE < self._budget.used:
            return False
        worst = max(self._counted, key=self._counted.__getitem__)
        waiting_bytes = self._counted[worst]
        self.forget(worst)
        worst.close_for_memory(waiting_bytes, self._budget.max_bytes)
        return True

    def _look(self) -> None:
        self._timer = None
        for connection in list(islice(self._counted, _LOOKS)):
            self._measure(connection)
            if waiting_bytes := self._counted.pop(connection):
                self._counted[connection] = waiting_bytes  # behind those that wait for a look
        if self._budget.is_over:
            self.relieve()
        if self._counted and self._timer is None:
            self._timer = self._clock.callLater(_LOOK_S, self._look)

    def _measure(self, connection: _Connection) -> None:
        waiting_bytes = connection.waiting_bytes
        self._add(waiting_bytes - self._counted[connection])
        self._counted[connection] = waiting_bytes

    def _add(self, size: int) -> None:
        self.held_bytes += size
        self._budget.used += size
