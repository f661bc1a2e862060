"""The share of HTTP in a round of the reactor: it has a bound, however many connections ask.

Work is counted in units of about a microsecond, as in :mod:`rtchat.core.flow.turns`.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from rtchat.core.flow.turns import TURN_WORK, Turns

__all__ = ["LINE_WORK", "READ_WORK", "REQUEST_WORK", "Rounds"]

READ_WORK = 30
"""The work of a piece of what was read; a byte of a body is another unit."""

LINE_WORK = 8
"""The work of a line of a request's head."""

REQUEST_WORK = 200
"""The work of finding a resource, and of its answer."""


class _Connection(Protocol):
    @property
    def source(self) -> Hashable:
        """Where the connection comes from; this never changes."""

    def go_on(self) -> int:
        """Handle what was read, to the end of one request at most; return the work of that."""


class Rounds:
    """Lets connections handle what they have read: in a round as much as one turn allows.

    Those that come after that wait for the next round. The sources have it one after the other,
    and the connections of a source in the order in which they came.

    Args:
        clock: Calls the rounds.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._turns = Turns()
        self._turns.call_soon = partial(clock.callLater, 0)
        self._sources: dict[Hashable, dict[_Connection, None]] = {}

    @property
    def is_over(self) -> bool:
        """Whether this round has had its share."""
        return self._turns.spent >= TURN_WORK

    def note(self, work: int) -> None:
        """Note the work of a connection that did not have to wait."""
        self._turns.note(work)

    def join(self, connection: _Connection) -> None:
        """Let a connection go on in a later round. Do nothing if it waits already."""
        if not self._sources:
            self._turns.join(self._next_source)
        self._sources.setdefault(connection.source, {})[connection] = None

    def leave(self, connection: _Connection) -> None:
        """Let a connection not go on. Do nothing if it does not wait."""
        waiting = self._sources.get(connection.source, {})
        waiting.pop(connection, None)
        if not waiting:
            self._sources.pop(connection.source, None)

    def _next_source(self) -> int:
        """Let one connection of the source whose turn it is go on; return the work of that."""
        if not self._sources:
            return 0  # all have left
        source = next(iter(self._sources))
        waiting = self._sources.pop(source)
        connection = next(iter(waiting))
        del waiting[connection]
        if waiting:
            self._sources[source] = waiting  # behind the others
        if self._sources:
            self._turns.join(self._next_source)
        return connection.go_on()
