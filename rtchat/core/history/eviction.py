"""Which stream is the next to lose its place, or messages, for the sake of others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable
from heapq import heapify, heappop, heappush

from rtchat.core.history.stream import Stream

__all__ = ["EvictionOrder", "by_messages", "by_size"]

_Entry = tuple[int, bool, int, Stream]
_SPARE_ENTRIES = 64


def by_messages(stream: Stream) -> int:
    """Rank streams by what is lost with their places: the number of messages."""
    return len(stream)


def by_size(stream: Stream) -> int:
    """Rank streams by what is lost with each byte: those with the largest messages come first."""
    return -(stream.bytes // max(1, stream.next - stream.stored_first))


class EvictionOrder:
    """Finds the stream whose loss is the smallest.

    That is the one with the lowest rank; among equals one without subscriptions, then the one that
    was created first. Streams that are being created have no place in the order yet.

    The order is a heap that is corrected only where it is looked at, so a message costs nothing
    here. It is built when the store is full for the first time.

    Args:
        rank: Returns the rank of a stream.
    """

    __slots__ = ("_heap", "_max_entries", "_rank")

    def __init__(self, rank: Callable[[Stream], int]) -> None:
        self._rank = rank
        self._heap: list[_Entry] | None = None
        self._max_entries = 0

    def changed(self, stream: Stream, streams: Iterable[Stream]) -> None:
        """Take note of a stream that is new in the store, or whose rank is lower than before."""
        heap = self._heap
        if heap is None:
            return
        heappush(heap, self._entry(stream))
        if len(heap) > self._max_entries:
            self._build(streams)

    def each(
        self,
        streams: Iterable[Stream],
        needed: Collection[Stream] = (),
        most: int = 16,
        *,
        is_patient: bool = True,
    ) -> Generator[Stream, None, None]:
        """Yield the streams that lose their places; each is evicted before the next is asked for.

        Streams with messages on their way are passed over.

        Args:
            streams: All streams.
            needed: Streams that are passed over, too.
            most: How many streams may be passed over.
            is_patient: Whether no stream goes that has more than one message while those that were
                passed over can be evicted in a moment.
        """
        heap = self._heap
        if heap is None:
            heap = self._build(streams)
        passed_over: dict[Stream, _Entry] = {}  # a stream may have several entries
        try:
            while heap and len(passed_over) < most:
                entry = heappop(heap)
                stream = entry[3]
                if not _is_settled(stream) or stream.number != entry[2]:
                    continue
                now = self._entry(stream)
                if now > entry:
                    heappush(heap, now)
                elif stream.waiting or stream in needed:
                    passed_over[stream] = now
                elif is_patient and passed_over and len(stream) > 1:
                    passed_over[stream] = now
                    return
                else:
                    yield stream
        finally:
            for entry in passed_over.values():
                heappush(heap, entry)

    def next_to_cut(self, streams: Iterable[Stream]) -> Stream | None:
        """Return the stream that loses its oldest messages; :meth:`changed` has to follow."""
        heap = self._heap
        if heap is None:
            heap = self._build(streams)
        while heap:
            entry = heappop(heap)
            stream = entry[3]
            if not (_is_settled(stream) and len(stream)) or stream.number != entry[2]:
                continue
            now = self._entry(stream)
            if now <= entry:
                return stream
            heappush(heap, now)
        return None

    def _build(self, streams: Iterable[Stream]) -> list[_Entry]:
        heap = self._heap = [self._entry(stream) for stream in streams if _is_settled(stream)]
        heapify(heap)
        # Looking at all streams again pays once as many entries are new.
        self._max_entries = 2 * len(heap) + _SPARE_ENTRIES
        return heap

    def _entry(self, stream: Stream) -> _Entry:
        return self._rank(stream), stream.users > 0, stream.number, stream


def _is_settled(stream: Stream) -> bool:
    """Return whether the stream is in the store, rather than gone or about to be created."""
    return stream.is_stored and not stream.is_new and not stream.is_forgotten
