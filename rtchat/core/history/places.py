"""Places in the store, and its bytes: who has how many, and who gives up some of them.

A *client* here is a user, or else a source; it owns the streams that its messages have created.
Rooms are worth what is said in them, so the cheapest loss is chosen. But that alone would let one
client push out all others, with many small streams that are each worth a little more. So a client
with more than its share gives up its own first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from rtchat.core.history.eviction import EvictionOrder, by_messages, by_size
from rtchat.core.history.stream import Stream

__all__ = ["Places"]

_SHARE = 8
"""One client's streams may have this part of all places, and of all bytes, before they go first."""


class _Owner:
    """A client with streams that it has created since the start of the server."""

    __slots__ = ("by_messages", "by_size", "bytes", "client", "streams")

    def __init__(self, client: str) -> None:
        self.client = client
        self.bytes = 0
        self.streams: dict[Stream, None] = {}
        self.by_messages = EvictionOrder(by_messages)
        self.by_size = EvictionOrder(by_size)


class Places:
    """Chooses which stream gives up its place, or its oldest messages.

    Args:
        streams: All streams, by name.
        max_places: How many streams the store may have.
        max_bytes: How many bytes it may have.

    Attributes:
        is_cutting: Whether :meth:`to_cut` was ever needed.
    """

    __slots__ = (
        "_by_messages",
        "_by_size",
        "_large",
        "_max_bytes",
        "_max_places",
        "_owned",
        "_owners",
        "_streams",
        "is_cutting",
    )

    def __init__(self, streams: Mapping[str, Stream], max_places: int, max_bytes: int) -> None:
        self._streams = streams
        self._max_places = max(1, max_places // _SHARE)
        self._max_bytes = max(1, max_bytes // _SHARE)
        self._by_messages = EvictionOrder(by_messages)
        self._by_size = EvictionOrder(by_size)
        self._owners: dict[str, _Owner] = {}
        self._owned: dict[Stream, _Owner] = {}
        self._large: dict[_Owner, None] = {}  # those with more than their share of places
        self.is_cutting = False

    def add(self, stream: Stream, client: str) -> None:
        """Count a new stream for the client that creates it; "" is unknown."""
        if client:
            owner = self._owners.get(client)
            if owner is None:
                owner = self._owners[client] = _Owner(client)
            owner.streams[stream] = None
            stream.owner = self._owned[stream] = owner
            if len(owner.streams) > self._max_places:
                self._large[owner] = None

    def remove(self, stream: Stream) -> None:
        """Forget a stream that gives up its place."""
        stream.owner = None
        owner = self._owned.pop(stream, None)
        if owner is not None:
            del owner.streams[stream]
            owner.bytes -= stream.bytes
            if not owner.streams:
                del self._owners[owner.client]
            if len(owner.streams) <= self._max_places:
                self._large.pop(owner, None)

    def resize(self, stream: Stream, size: int) -> None:
        """Set the size of a stream's stored messages, in bytes."""
        change, stream.bytes = size - stream.bytes, size
        if stream.owner is not None:
            stream.owner.bytes += change

    def grew(self, stream: Stream) -> None:
        """Take note of a stream with new messages; needed while :attr:`is_cutting`."""
        self._by_size.changed(stream, self._streams.values())
        owner = self._owned.get(stream)
        if owner is not None:
            owner.by_size.changed(stream, owner.streams)

    def changed(self, stream: Stream) -> None:
        """Take note of a stream that was created, or has lost messages."""
        self._by_messages.changed(stream, self._streams.values())
        owner = self._owned.get(stream)
        if owner is not None:
            owner.by_messages.changed(stream, owner.streams)
        self.grew(stream)

    def next_to_evict(self, needed: Collection[Stream], most: int) -> Stream | None:
        """Return the stream to evict; the arguments are those of :meth:`EvictionOrder.next`."""
        owner = max(self._large, key=lambda one: len(one.streams), default=None)
        if owner is not None:
            found = owner.by_messages.next(owner.streams, needed, most)
            if found is not None:
                return found
        return self._by_messages.next(self._streams.values(), needed, most)

    def to_cut(self) -> Iterator[Stream]:
        """Yield the streams that lose their oldest messages; :meth:`changed` has to follow each."""
        self.is_cutting = True
        large = [owner for owner in self._owners.values() if owner.bytes > self._max_bytes]
        for owner in sorted(large, key=lambda one: -one.bytes):
            share = self._max_bytes
            while owner.bytes > share:
                stream = owner.by_size.next_to_cut(owner.streams)
                if stream is None:
                    break
                yield stream
        while (stream := self._by_size.next_to_cut(self._streams.values())) is not None:
            yield stream
