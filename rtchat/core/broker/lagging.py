"""Lagging subscribers of topics, and which destinations they slow down."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from rtchat.core.broker.patterns import STEPS_PER_UNIT, PatternIndex, is_pattern
from rtchat.core.broker.waiting import Waiter
from rtchat.core.flow.outbound import Cork, Outbound

__all__ = ["Lagging", "LaggingIndex", "Reader"]


class Reader(Waiter, Protocol):
    """A session that subscribes to topics."""

    is_closed: bool

    def congestible_names(self) -> Collection[str]:
        """Return the destinations and patterns whose messages add to its backlog."""

    @property
    def unacknowledged_backlog_bytes(self) -> int:
        """The bytes of messages to topics that wait for its acknowledgements."""


class Lagging:
    """A subscriber with a large backlog, from then on until it has read.

    Args:
        reader: The session.
        outbound: Its output buffer.
        room_bytes: How much may wait for it before it lags.
        relieved: Called when it may have read.

    Attributes:
        is_stalled: Whether it takes nothing at present.
        names: The destinations and patterns whose messages add to its backlog.
    """

    __slots__ = ("_relieved", "is_stalled", "names", "outbound", "reader", "room_bytes")

    def __init__(
        self,
        reader: Reader,
        outbound: Outbound,
        room_bytes: int,
        relieved: Callable[[Lagging], None],
    ) -> None:
        self.reader = reader
        self.outbound = outbound
        self.room_bytes = room_bytes
        self.is_stalled = False
        self._relieved = relieved
        self.names: frozenset[str] = frozenset()

    @property
    def has_read(self) -> bool:
        """Whether hardly anything waits for it any more."""
        unacked = self.reader.unacknowledged_backlog_bytes
        return self.outbound.is_writable and unacked < self.room_bytes // 2

    def on_drain(self) -> None:
        """Continue: the outbound is writable again."""
        self._relieved(self)


class LaggingIndex:
    """Finds the lagging subscribers of a destination; the others are not looked at.

    Args:
        cork: The cork of the server, which counts the work.
    """

    __slots__ = ("_by_name", "_cork", "_patterns")

    def __init__(self, cork: Cork) -> None:
        self._cork = cork
        self._by_name: dict[str, dict[Lagging, None]] = {}
        self._patterns: PatternIndex[dict[Lagging, None]] = PatternIndex()

    def concerned(self, name: str) -> dict[Lagging, None]:
        """Return those to whose backlog messages to a destination add."""
        found = dict(self._by_name.get(name, ()))
        if len(self._patterns):
            for some in self._patterns.matching(name):
                found.update(some)
            self._cork.work += self._patterns.steps // STEPS_PER_UNIT
        return found

    def note_names(self, lagging: Lagging) -> bool:
        """Take note of the subscriptions that a session has now; return whether they changed."""
        names = frozenset(lagging.reader.congestible_names())
        if names == lagging.names:
            return False
        self._set(lagging, names)
        return True

    def forget(self, lagging: Lagging) -> None:
        """Remove a subscriber."""
        self._set(lagging, frozenset())

    def _set(self, lagging: Lagging, names: frozenset[str]) -> None:
        for name in lagging.names - names:
            those = self._by_name[name]
            del those[lagging]
            if not those:
                del self._by_name[name]
                if is_pattern(name):
                    self._patterns.remove(name)
        for name in names - lagging.names:
            those = self._by_name.setdefault(name, {})
            if not those and is_pattern(name):
                self._patterns.add(name, those)
            those[lagging] = None
        lagging.names = names
