"""Slow subscribers of topics: publishers are slowed down to their pace, within a bound.

A subscriber whose backlog has become large is *lagging* until it has read. Meanwhile a SEND to one
of its topics waits, as one to a full queue does. But a topic takes a certain number of bytes each
second in any case, however many of its subscribers are lagging: who is slower than that ends over
the limit of its backlog.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import islice

from rtchat.core.broker.lagging import Lagging, LaggingIndex, Reader
from rtchat.core.broker.router import Route
from rtchat.core.broker.waiting import Waiter, WaitingLines
from rtchat.core.flow.outbound import Cork, Outbound
from rtchat.core.flow.turns import TURN_WORK

__all__ = ["Congestion"]

_MAX_IDLE_S = 10
"""After so many seconds without a SEND to it, nothing is known about a topic any more."""
_MAX_FLOWS = 1024
"""With more topics than that, nothing is known about the oldest one for which no session waits."""
_FEW = 16
_REVIEW_WORK = 10
_RESUME_WORK = 20


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
        self.lagging: dict[Lagging, None] = {}
        self.relieved: dict[Lagging, None] = {}


class Congestion:
    """Tracks lagging subscribers, and holds up the publishers of their topics.

    Args:
        waiting: The sessions that wait.
        cork: The cork of the server.
        min_rate: How many bytes a topic takes each second in any case.
        unusual: See :class:`~rtchat.core.broker.events.Events`.

    Attributes:
        active: Empty unless SENDs have to be looked at: it has the lagging subscribers, the
            destinations whose publishers are going on, and what else put itself in here.
        readers: The lagging subscribers, by session.
    """

    __slots__ = (
        "_cork",
        "_flows",
        "_index",
        "_min_rate",
        "_spare_bytes",
        "_to_fill",
        "_to_review",
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
        self._index = LaggingIndex(cork)
        self._to_review: dict[Lagging, None] = {}
        self._to_fill: dict[_Flow, None] = {}
        self._spare_bytes = 0  # what the first messages to topics may take until the next second
        self.active: dict[object, None] = {}
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
            self._index.note_names(lagging)
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
        self._to_review.update(dict.fromkeys(self.readers.values()))
        self._to_fill.update(dict.fromkeys(self._flows.values()))
        self._spare_bytes = self._min_rate if self.readers else 0
        self._go_through()

    def _go_through(self) -> None:
        """Look at subscribers, then topics; what the turn has no time for comes in the next."""
        cork = self._cork
        while self._to_review or self._to_fill:
            if cork.work >= TURN_WORK:
                cork.put_off(self._go_through)
                return
            if self._to_review:
                lagging = next(iter(self._to_review))
                del self._to_review[lagging]
                cork.work += _REVIEW_WORK + len(lagging.names) // 4
                if self.readers.get(lagging.reader) is lagging:
                    self._index.note_names(lagging)
                    if lagging.has_read:
                        self._remove(lagging, has_read=True)
            else:
                flow = next(iter(self._to_fill))
                del self._to_fill[flow]
                cork.work += _REVIEW_WORK
                if self._is_current(flow):
                    self._fill(flow)

    def _fill(self, flow: _Flow) -> None:
        """Let a topic take what it takes in any case."""
        flow.lagging = self._index.concerned(flow.name)
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
            lagging = self._index.concerned(name)
            if lagging:
                self._make_room()
                flow = self._flows[name] = _Flow(name)
                flow.lagging = lagging
                flow.is_new = self._spare_bytes > 0
                flow.credit_bytes = int(flow.is_new)  # so one message goes at once
                self._activate(flow)
        return flow

    def _make_room(self) -> None:
        """Forget what is known about an old topic if there are too many."""
        if len(self._flows) >= _MAX_FLOWS:
            for old in list(islice(self._flows.values(), _FEW)):
                if old.name not in self._waiting:
                    self._close(old)
                    return

    def _add(self, lagging: Lagging) -> None:
        self.readers[lagging.reader] = lagging
        self._index.note_names(lagging)
        self._activate(lagging)
        lagging.outbound.paused_sources[lagging] = None
        self._cork.work += len(self._flows)
        for flow in self._flows.values():
            if lagging in self._index.concerned(flow.name):
                flow.lagging[lagging] = None
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
        self._index.forget(lagging)
        lagging.outbound.paused_sources.pop(lagging, None)
        self._cork.work += len(self._flows) // 4
        for flow in list(self._flows.values()):
            flow.relieved.pop(lagging, None)
            if lagging in flow.lagging:
                del flow.lagging[lagging]
                if has_read:
                    flow.relieved[lagging] = None
                if not flow.lagging:
                    self._reopen(flow)

    def _reopen(self, flow: _Flow) -> None:
        """Resume the publishers of a topic without lagging subscribers, a part at a time."""
        rooms = [one.room_bytes // 2 for one in flow.relieved]
        flow.credit_bytes = min(rooms, default=self._min_rate)
        self._cork.woken[partial(self._resume_part, flow)] = None

    def _is_current(self, flow: _Flow) -> bool:
        """Return whether a flow was not closed: there may be a new one of its name."""
        return self._flows.get(flow.name) is flow

    def _resume_part(self, flow: _Flow) -> None:
        if not self._is_current(flow):
            return
        if self._cork.work >= TURN_WORK:
            self._cork.put_off(partial(self._resume_part, flow))
            return
        self._resume(flow, TURN_WORK)
        if flow.lagging:
            return
        if flow.name in self._waiting:
            self._cork.flushed[partial(self._go_on, flow)] = None
        else:
            self._close(flow)

    def _go_on(self, flow: _Flow) -> None:
        """Resume the next part, unless the part before it was enough for a subscriber."""
        if not self._is_current(flow):
            return
        for lagging in list(flow.relieved):
            is_behind = lagging.outbound.waiting_bytes > lagging.room_bytes // 2
            if lagging.reader in self.readers or lagging.reader.is_closed:
                del flow.relieved[lagging]
            elif is_behind:
                self._add(lagging)
        if not flow.lagging:
            self._reopen(flow)

    def _resume(self, flow: _Flow, most_work: float = math.inf) -> None:
        cork, waiting, name = self._cork, self._waiting, flow.name
        while flow.credit_bytes > 0 and name in waiting and cork.work < most_work:
            cork.work += _RESUME_WORK
            waiting.resume_first(name)

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
