"""When messages in queues expire: only what can expire is looked at, and not before its time."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Protocol

from rtchat.core.broker.ready_messages import ReadyMessages
from rtchat.core.broker.selection import LOOK_WORK
from rtchat.core.broker.subscription import Entry
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK

__all__ = ["ExpiringMessages", "Expiry", "ExpiryHolder"]

_MAX_GONE = 64
_SPARE_SECONDS = 1024
_HOLDER_WORK = 5


class ExpiryHolder(Protocol):
    """A queue, as far as its messages expire. Compared by identity."""

    def expire(self) -> float:
        """Remove expired messages, as many as the turn has time for.

        Returns:
            When the next of those that are left expires, in seconds since 1970; 0 if none does.
        """


class ExpiringMessages:
    """The messages of a queue that expire, in order.

    Args:
        ready: The messages of the queue that are ready.
        cork: The cork of the server, for the time, and for what a turn has no time for.
    """

    __slots__ = ("_cork", "_heap", "_ready")

    def __init__(self, ready: ReadyMessages, cork: Cork) -> None:
        self._ready = ready
        self._cork = cork
        # When a message expires, its sequence number and its priority. Some are not ready any more.
        self._heap: list[tuple[float, int, int]] = []

    @property
    def next_s(self) -> float:
        """When the next message expires, in seconds since 1970; 0 if none does."""
        return self._heap[0][0] if self._heap else 0.0

    def add(self, entries: Iterable[Entry]) -> None:
        """Add messages that have become ready, and have the header ``expires``."""
        for entry in entries:
            message = entry.message
            if message.expires_s:
                heappush(self._heap, (message.expires_s, entry.seq, message.priority))
        if len(self._heap) > 2 * self._ready.count + _MAX_GONE:
            self._cork.work += self._ready.count
            self._heap = [
                (entry.message.expires_s, entry.seq, entry.message.priority)
                for entry in self._ready.all()
                if entry.message.expires_s
            ]
            heapify(self._heap)

    def take_expired(self) -> list[Entry]:
        """Remove messages that have expired, as many as the turn has time for; return them."""
        cork, heap = self._cork, self._heap
        expired = []
        while heap and heap[0][0] <= cork.now:
            _, seq, priority = heappop(heap)
            entry = self._ready.take(priority, seq)
            if entry is not None:
                expired.append(entry)
            cork.work += LOOK_WORK
            if cork.work >= TURN_WORK:
                break
        return expired


class Expiry:
    """The queues with messages that expire, in order of their first one.

    Args:
        cork: The cork of the server, for the time, and for what a turn has no time for.
    """

    __slots__ = ("_alarms", "_by_second", "_cork", "_seconds")

    def __init__(self, cork: Cork) -> None:
        self._cork = cork
        self._alarms: dict[ExpiryHolder, int] = {}
        self._by_second: dict[int, dict[ExpiryHolder, None]] = {}
        self._seconds: list[int] = []  # a heap of these; some may be of the past

    def __len__(self) -> int:
        """Return the number of queues with messages that expire."""
        return len(self._alarms)

    def note(self, holder: ExpiryHolder, when_s: float) -> None:
        """Note that a message of a queue expires at a time in seconds since 1970."""
        second = int(when_s)
        alarm = self._alarms.get(holder)
        if alarm is not None:
            if alarm <= second:
                return
            self.forget(holder)
        self._alarms[holder] = second
        holders = self._by_second.get(second)
        if holders is None:
            holders = self._by_second[second] = {}
            heappush(self._seconds, second)
            if len(self._seconds) > 2 * len(self._by_second) + _SPARE_SECONDS:
                self._seconds = list(self._by_second)
                heapify(self._seconds)
        holders[holder] = None

    def forget(self, holder: ExpiryHolder) -> None:
        """Forget a queue, which may have no such messages."""
        second = self._alarms.pop(holder, None)
        if second is not None:
            holders = self._by_second[second]
            del holders[holder]
            if not holders:
                del self._by_second[second]

    def run(self) -> None:
        """Remove messages that have expired; what the turn has no time for comes in the next."""
        cork, seconds = self._cork, self._seconds
        again: list[tuple[ExpiryHolder, float]] = []
        while seconds and seconds[0] <= cork.now:
            holders = self._by_second.get(seconds[0])
            if holders is None:
                heappop(seconds)
                continue
            if cork.work >= TURN_WORK:
                cork.put_off(self.run)
                break
            holder = next(iter(holders))
            self.forget(holder)
            cork.work += _HOLDER_WORK
            when_s = holder.expire()
            if when_s:
                again.append((holder, when_s))
        for holder, when_s in again:
            # Those that are due in this second come again in the next one, or in the next turn.
            self.note(holder, when_s)
            if when_s <= cork.now:
                cork.put_off(self.run)
