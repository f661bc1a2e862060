"""Which stream loses its place when the store has no place left for a new one."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from rtchat.core.history.stream import Stream

__all__ = ["EvictionOrder"]

_Entry = tuple[int, bool, int, Stream]
_SPARE_ENTRIES = 64


class EvictionOrder:
    """Finds the stream whose loss is the smallest.

    That is the one with the fewest messages; among equals one without subscriptions, then the one
    that was created first. So names that a stranger makes up push out other made-up names, not the
    topics where much was said.

    The order is a heap that is corrected only where it is looked at, so a message costs nothing
    here. It is built when the store is full for the first time.
    """

    __slots__ = ("_heap", "_max_entries")

    def __init__(self) -> None:
        self._heap: list[_Entry] | None = None
        self._max_entries = 0

    def changed(self, stream: Stream, streams: Iterable[Stream]) -> None:
        """Take note of a stream that is new in the store, or has lost messages."""
        heap = self._heap
        if heap is None:
            return
        heappush(heap, _entry(stream))
        if len(heap) > self._max_entries:
            self._build(streams)

    def next(self, streams: Iterable[Stream], unit: int, most: int = 16) -> Stream | None:
        """Return the stream to evict, or None if none should be now.

        Streams with messages on their way are passed over. They can be evicted in a moment, so
        meanwhile no stream has to go that has more than one message.

        Args:
            streams: All streams.
            unit: The unit that is being admitted; streams that it needs are not evicted.
            most: How many streams may be passed over.
        """
        heap = self._heap
        if heap is None:
            heap = self._build(streams)
        passed_over: list[_Entry] = []
        found = None
        while heap and found is None and len(passed_over) < most:
            entry = heappop(heap)
            stream = entry[3]
            if stream.is_forgotten or not stream.is_stored or stream.number != entry[2]:
                continue
            now = _entry(stream)
            if now > entry:
                heappush(heap, now)
            elif _is_needed(stream, unit):
                passed_over.append(now)
            elif passed_over and len(stream) > 1:
                passed_over.append(now)
                break
            else:
                found = stream
        for entry in passed_over:
            heappush(heap, entry)
        return found

    def _build(self, streams: Iterable[Stream]) -> list[_Entry]:
        heap = self._heap = [_entry(stream) for stream in streams if stream.is_stored]
        heapify(heap)
        # Looking at all streams again pays once as many entries are new.
        self._max_entries = 2 * len(heap) + _SPARE_ENTRIES
        return heap


def _entry(stream: Stream) -> _Entry:
    return len(stream), stream.users > 0, stream.number, stream


def _is_needed(stream: Stream, unit: int) -> bool:
    """Return whether a message is on its way to the stream."""
    return stream.waiting > 0 or stream.unit == unit
