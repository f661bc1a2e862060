"""Slow subscribers of topics: publishers are slowed down to their pace, within a bound.

A subscriber whose backlog has become large is *lagging* until it has read. Meanwhile a SEND to one
of its topics waits, as one to a full queue does. But a topic takes a certain number of bytes each
second in any case, however many of its subscribers are lagging: who is slower than that ends over
the limit of its backlog.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from rtchat.core.broker.patterns import STEPS_PER_UNIT, PatternIndex, is_pattern
from rtchat.core.broker.router import Route
from rtchat.core.broker.waiting import Waiter, WaitingLines
from rtchat.core.flow.outbound import Cork, Outbound

__all__ = ["Congestion", "Reader"]

_MAX_IDLE_S = 10
"""After so many seconds without a SEND to it, nothing is known about a topic any more."""


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
    """

    __slots__ = (
        "_names",
        "_patterns",
        "_relieved",
        "is_stalled",
        "outbound",
        "reader",
        "room_bytes",
    )

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
        self._names: frozenset[str] = frozenset()
        self._patterns: PatternIndex[str] = PatternIndex()
        self.note_names()

    def note_names(self) -> None:
        """Take note of the subscriptions that the session has now."""
        names = frozenset(self.reader.congestible_names())
        if names != self._names:
            self._names = names
            self._patterns = PatternIndex()
            for name in filter(is_pattern, names):
                self._patterns.add(name, name)

    def concerns(self, name: str) -> bool:
        """Return whether messages to a destination add to its backlog."""
        if name in self._names:
            return True
        if not self._patterns:
            return False
        found = self._patterns.matching(name)
        self.outbound.cork.work += self._patterns.steps // STEPS_PER_UNIT
        return bool(found)

    @property
    def has_read(self) -> bool:
        """Whether hardly anything waits for it any more."""
        unacked = self.reader.unacknowledged_backlog_bytes
        return self.outbound.is_writable and unacked < self.room_bytes // 2

    def on_drain(self) -> None:
        """Continue: the outbound is writable again."""
        self._relieved(self)


class _Flow:
    """The SENDs to one destination while a subscriber of it is lagging, or was until now.

    Attributes:
        credit_bytes: How much it takes now; negative after a message that was larger.
        idle_s: For how many seconds it has taken nothing.
        is_new: Whether its first message is at the expense of all topics.
        lagging: The subscribers that lag.
        relieved: Those that have read, while publishers wait that were held up by them.
    """

    __slots__ = ("credit_bytes", "idle_s", "is_new", "lagging", "name", "relieved")

    def __init__(self, name: str) -> None:
        self.name = name
        self.credit_bytes = 0
        self.idle_s = 0
        self.is_new = False
        self.lagging: list[Lagging] = []
        self.relieved: dict[Lagging, None] = {}


class Congestion:
    """Tracks lagging subscribers, and holds up the publishers of their topics.

    Args:
        waiting: The sessions that wait.
        cork: The cork of the server.
        min_rate: How many bytes a topic takes each second in any case.
        unusual: See :class:`~rtchat.core.broker.events.Events`.

    Attributes:
        active: Empty unless SENDs have to be looked at: it has the lagging subscribers, and the
            destinations whose publishers are going on.
        readers: The lagging subscribers, by session.
    """

    __slots__ = (
        "_cork",
        "_flows",
        "_min_rate",
        "_spare_bytes",
        "_unusual",
        "_waiting",
        "active",
        "readers",
    )

    def __init__(
        self, waiting: WaitingLines, cork: Cork, min_rate: int, unusual: dict[object, None]
    ) -> None:
        self._waiting = waiting
        self._cork = cork
        self._min_rate = min_rate
        self._unusual = unusual
        self._flows: dict[str, _Flow] = {}
        self._spare_bytes = 0  # what the first messages to topics may take until the next second
        self.active: dict[Lagging | _Flow, None] = {}
        self.readers: dict[object, Lagging] = {}

    # For publishers

    def place_to_wait(self, route: Route, publisher: Waiter) -> str:
        """Return the first destination that a SEND has to wait for, or ""."""
        for target in route.targets:
            flow = self._flow_of(target.name)
            if flow is not None and flow.credit_bytes <= 0 and self._is_held(publisher, flow):
                return flow.name
        return ""

    def spend(self, route: Route, size: int) -> None:
        """Count a SEND that is being published."""
        for target in route.targets:
            flow = self._flows.get(target.name)
            if flow is not None:
                flow.credit_bytes -= size
                if flow.is_new:
                    flow.is_new = False
                    self._spare_bytes -= size

    # For subscribers

    def begin(self, reader: Reader, outbound: Outbound, room_bytes: int) -> bool:
        """Note that a session lags; return whether this is new.

        Args:
            reader: The session.
            outbound: Its output buffer.
            room_bytes: How much may wait for it before it lags.
        """
        lagging = self.readers.get(reader)
        if lagging is not None:
            lagging.note_names()
            return False
        self._add(Lagging(reader, outbound, room_bytes, self._review))
        return True

    def review(self, reader: Waiter) -> None:
        """Let publishers go on if a session, lagging or not, has read."""
        lagging = self.readers.get(reader)
        if lagging is not None:
            self._review(lagging)

    def end(self, reader: object) -> None:
        """Forget a session, lagging or not, that has ended."""
        lagging = self.readers.get(reader)
        if lagging is not None:
            self._remove(lagging)

    def note_stalled(self, reader: Waiter, *, is_stalled: bool) -> None:
        """Note whether a session, lagging or not, takes nothing at present."""
        lagging = self.readers.get(reader)
        if lagging is not None:
            lagging.is_stalled = is_stalled

    def tick(self) -> None:
        """Let each topic take what it takes in any case; called every second, in a turn."""
        for lagging in list(self.readers.values()):
            lagging.note_names()
            if lagging.has_read:
                self._remove(lagging, has_read=True)
        self._spare_bytes = self._min_rate if self.readers else 0
        for flow in list(self._flows.values()):
            flow.lagging = [one for one in self.readers.values() if one.concerns(flow.name)]
            flow.idle_s = flow.idle_s + 1 if flow.credit_bytes >= self._min_rate else 0
            if flow.lagging and flow.idle_s <= _MAX_IDLE_S:
                flow.credit_bytes = min(flow.credit_bytes + self._min_rate, self._min_rate)
                self._resume(flow)
                for waiter in self._waiting.line(flow.name):
                    if not self._is_held(waiter, flow):
                        self._waiting.resume(waiter)
            elif flow.name in self._waiting:
                self._reopen(flow)
            else:
                self._close(flow)

    # Small helpers

    def _is_held(self, publisher: Waiter, flow: _Flow) -> bool:
        """Return whether a publisher has to wait; false if it would wait for itself.

        A client that reads nothing while it sends would never come to read: neither for its own
        sake, nor for the sake of another one like it.
        """
        own = self.readers.get(publisher)
        return own is None or not own.is_stalled or not all(o.is_stalled for o in flow.lagging)

    def _flow_of(self, name: str) -> _Flow | None:
        flow = self._flows.get(name)
        if flow is None:
            lagging = [one for one in self.readers.values() if one.concerns(name)]
            if lagging:
                flow = self._flows[name] = _Flow(name)
                flow.lagging = lagging
                flow.is_new = self._spare_bytes > 0
                flow.credit_bytes = int(flow.is_new)  # so one message goes at once
                self._activate(flow)
        return flow

    def _add(self, lagging: Lagging) -> None:
        self.readers[lagging.reader] = lagging
        self._activate(lagging)
        lagging.outbound.paused_sources[lagging] = None
        for flow in self._flows.values():
            if lagging.concerns(flow.name):
                flow.lagging.append(lagging)
                flow.relieved.pop(lagging, None)
                flow.credit_bytes = min(flow.credit_bytes, 0)

    def _review(self, lagging: Lagging) -> None:
        if not lagging.has_read:
            lagging.outbound.paused_sources[lagging] = None
            return
        self._remove(lagging, has_read=True)

    def _remove(self, lagging: Lagging, *, has_read: bool = False) -> None:
        del self.readers[lagging.reader]
        self._deactivate(lagging)
        lagging.outbound.paused_sources.pop(lagging, None)
        for flow in list(self._flows.values()):
            flow.relieved.pop(lagging, None)
            if lagging in flow.lagging:
                flow.lagging.remove(lagging)
                if has_read:
                    flow.relieved[lagging] = None
                if not flow.lagging:
                    self._reopen(flow)

    def _reopen(self, flow: _Flow) -> None:
        """Resume the publishers of a topic without lagging subscribers, a part at a time."""
        rooms = [one.room_bytes // 2 for one in flow.relieved]
        flow.credit_bytes = min(rooms, default=self._min_rate)
        self._cork.woken[partial(self._resume_part, flow)] = None

    def _resume_part(self, flow: _Flow) -> None:
        self._resume(flow)
        if flow.lagging:
            return
        if flow.name in self._waiting:
            self._cork.flushed[partial(self._go_on, flow)] = None
        else:
            self._close(flow)

    def _go_on(self, flow: _Flow) -> None:
        """Resume the next part, unless the part before it was enough for a subscriber."""
        for lagging in list(flow.relieved):
            is_behind = lagging.outbound.waiting_bytes > lagging.room_bytes // 2
            if lagging.reader in self.readers or lagging.reader.is_closed:
                del flow.relieved[lagging]
            elif is_behind:
                self._add(lagging)
        if not flow.lagging:
            self._reopen(flow)

    def _resume(self, flow: _Flow) -> None:
        while flow.credit_bytes > 0 and flow.name in self._waiting:
            self._waiting.resume_first(flow.name)

    def _close(self, flow: _Flow) -> None:
        self._flows.pop(flow.name, None)
        self._deactivate(flow)

    def _activate(self, what: Lagging | _Flow) -> None:
        self.active[what] = None
        self._unusual[self] = None

    def _deactivate(self, what: Lagging | _Flow) -> None:
        self.active.pop(what, None)
        if not self.active:
            self._unusual.pop(self, None)
