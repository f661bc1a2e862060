"""Places in the store, and its bytes: who has how many, and who gives up some of them.

A *client* here is a user, or else a source; it owns the streams that its messages have created.
Rooms are worth what is said in them, so the cheapest loss is chosen. But that alone would let one
client push out all others, with many small streams that are each worth a little more. So a client
with more than its share gives up its own first. A stream counts to its client's share as soon as it
is going to be created, so it makes no difference how many are created at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from rtchat.core.history.eviction import EvictionOrder, by_messages, by_size
from rtchat.core.history.stream import Stream

__all__ = ["Places"]

_SHARE = 8
"""One client's streams may have this part of all places, and of all bytes, before they go first,
if nothing else is set."""

_EVICTIONS_FOR_EACH = 2
"""So many streams are evicted for each that is new, at the most."""

_EVICTIONS_AT_ONCE = 64
"""So many may be evicted in a turn if there are too many all the same."""


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
        client_places: How many streams one client may have before they go first; 0 is an eighth.
        client_bytes: How many bytes; 0 is an eighth.

    Attributes:
        count: How many streams are in the store. Those that are being created do not count yet.
        is_cutting: Whether :meth:`to_cut` was ever needed.
    """

    __slots__ = (
        "_by_messages",
        "_by_size",
        "_large",
        "_max_bytes",
        "_max_count",
        "_max_places",
        "_owned",
        "_owners",
        "_streams",
        "count",
        "is_cutting",
    )

    def __init__(
        self,
        streams: Mapping[str, Stream],
        max_places: int,
        max_bytes: int,
        client_places: int = 0,
        client_bytes: int = 0,
    ) -> None:
        self.count = len(streams)
        self._streams = streams
        self._max_count = max_places
        self._max_places = client_places or max(1, max_places // _SHARE)
        self._max_bytes = client_bytes or max(1, max_bytes // _SHARE)
        self._by_messages = EvictionOrder(by_messages)
        self._by_size = EvictionOrder(by_size)
        self._owners: dict[str, _Owner] = {}
        self._owned: dict[Stream, _Owner] = {}
        self._large: dict[_Owner, None] = {}  # those with more than their share of places
        self.is_cutting = False

    @property
    def excess(self) -> int:
        """How many streams too many there are."""
        return self.count - self._max_count

    def add(self, stream: Stream, client: str) -> None:
        """Count a stream that is to be created for the client that causes it; "" is unknown."""
        if client:
            owner = self._owners.get(client)
            if owner is None:
                owner = self._owners[client] = _Owner(client)
            owner.streams[stream] = None
            stream.owner = self._owned[stream] = owner
            if len(owner.streams) > self._max_places:
                self._large[owner] = None

    def remove(self, stream: Stream) -> None:
        """Forget a stream that gives up its place, or is not created after all."""
        if not stream.is_new:
            self.count -= 1
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

    def created(self, new: Collection[Stream], needed: Collection[Stream]) -> Iterator[Stream]:
        """Count streams that were created; yield those that give up their places to them.

        The caller takes all that are yielded, and evicts each at once. If a client has more than
        its share, its own streams go, even those that are new. Otherwise a new one stays for now.

        Args:
            new: The streams.
            needed: Streams that stay unless their client has more than its share.
        """
        within: list[Stream] = []
        for stream in new:
            if self._owned.get(stream) in self._large:
                self._settle(stream)
            else:
                within.append(stream)
        most = max(_EVICTIONS_FOR_EACH * (len(new) - len(within)), _EVICTIONS_AT_ONCE)
        yield from islice(self._to_evict(needed, 0), most)
        # The others come one after the other, so the first of them may cost a longer stream.
        is_room_made = True
        for stream in within:
            if is_room_made and self.excess >= 0:
                before = self.count
                yield from islice(self._to_evict(needed, 1), _EVICTIONS_FOR_EACH)
                is_room_made = self.count < before
            self._settle(stream)

    def superfluous(self) -> Iterator[Stream]:
        """Yield streams to evict if there are too many; the caller evicts each at once."""
        return islice(self._to_evict((), 0, len(self._streams)), _EVICTIONS_AT_ONCE)

    def _settle(self, stream: Stream) -> None:
        """Put a stream that was created in its place in the order."""
        stream.is_new = False
        self.count += 1
        self.changed(stream)

    def _to_evict(
        self, needed: Collection[Stream], more: int, passing_over: int = 16
    ) -> Iterator[Stream]:
        """Yield streams as long as there are too many, or would be with some more."""
        on_their_way = 0
        for owner in sorted(self._large, key=lambda one: -len(one.streams)):
            own = owner.streams
            order = owner.by_messages.each(own, (), len(own), is_patient=False)
            while self.excess + more > 0 and len(own) > self._max_places:
                stream = next(order, None)
                if stream is None:
                    break
                yield stream
            order.close()
            on_their_way += max(0, len(own) - self._max_places)
        # Those cannot go yet, but will. No other has to go in their stead.
        streams = self._streams.values()
        order = self._by_messages.each(streams, needed, passing_over)
        while self.excess + more > on_their_way:
            stream = next(order, None)
            if stream is None:
                break
            yield stream
        order.close()

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
