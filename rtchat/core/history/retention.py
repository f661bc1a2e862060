"""Retention: messages that are too old or too many are removed, and more if the store is full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Protocol

from rtchat.core.flow.outbound import Cork
from rtchat.core.history.places import Places
from rtchat.core.history.rules import HistoryLimits
from rtchat.core.history.store import Store, Trim, Trimmed
from rtchat.core.history.stream import PAGE_MESSAGES, Stream

__all__ = ["Retention", "RetentionOwner"]

_SWEEP_EVERY_S = 10.0

_LOOKS_AT_ONCE = 1000
"""So many streams are looked at in a turn."""

_TRIMS_AT_ONCE = 16
"""So many are trimmed at once: what is to be written waits for no more."""

_Due = Mapping[int, tuple[Stream, Trim]]

_FULL = 0.75
"""From this part of the store on, the oldest messages of some streams are removed."""

_CUT_AT_ONCE = 1000
"""So many messages of a stream are removed at once, to make room."""


class RetentionOwner(Protocol):
    """What retention needs of the provider."""

    cork: Cork
    """The cork of the server, for the time and for work at the end of the turn."""

    def stream_emptied(self, stream: Stream) -> None:
        """Called when retention has removed the last message of a stream."""


class Retention:
    """Removes messages that are too old or too many.

    Args:
        owner: The provider.
        streams: All streams, by name.
        places: Chooses streams that lose messages for others.
        limits: The limits of all streams.
        store: The store.

    Attributes:
        removed: The number of messages that were removed to make room for others.
    """

    __slots__ = (
        "_is_making_room",
        "_is_swept",
        "_is_trimming",
        "_limits",
        "_overgrown",
        "_owner",
        "_places",
        "_store",
        "_streams",
        "_sweep_at_s",
        "_unswept",
        "removed",
    )

    def __init__(
        self,
        owner: RetentionOwner,
        streams: Mapping[str, Stream],
        places: Places,
        limits: HistoryLimits,
        store: Store,
    ) -> None:
        self.removed = 0
        self._owner = owner
        self._streams = streams
        self._places = places
        self._limits = limits
        self._store = store
        self._is_making_room = False
        self._is_trimming = False
        self._overgrown: dict[Stream, None] = {}
        self._sweep_at_s = 0.0
        self._unswept: Iterator[Stream] = iter(())
        self._is_swept = True

    def expire(self) -> None:
        """Trim streams that exceed their limits; call it every second. Sweeps every 10 s.

        A sweep is in parts, each in a turn of its own, and so is what the store does for it.
        """
        cork = self._owner.cork
        self.make_room()
        if self._is_swept and cork.ticks >= self._sweep_at_s:
            self._sweep_at_s = cork.ticks + _SWEEP_EVERY_S
            self._unswept = iter(list(self._streams.values()))
            self._is_swept = False
        if self._overgrown or not self._is_swept:
            self._sweep()

    def trim_soon(self, stream: Stream) -> None:
        """Trim a stream at the end of the turn, because it exceeds its limits by far."""
        self._overgrown[stream] = None
        self._owner.cork.woken[self._sweep] = None

    def _sweep(self) -> None:
        """Look at some streams, and trim those that exceed their limits; go on later."""
        if self._is_trimming:
            return
        due: dict[int, tuple[Stream, Trim]] = {}
        looks = 0
        for stream in islice(self._to_look_at(), _LOOKS_AT_ONCE):
            looks += 1
            trim = self._trim_of(stream)
            if self._is_due(stream, trim):
                due[stream.number] = stream, trim
                if len(due) == _TRIMS_AT_ONCE:
                    break
        self._owner.cork.work += looks
        if due:
            self._is_trimming = True
            self._store.trim([trim for _, trim in due.values()], partial(self._trimmed, due))
        elif looks == _LOOKS_AT_ONCE:
            self._owner.cork.put_off(self._sweep)

    def _to_look_at(self) -> Iterator[Stream]:
        """Yield the streams that may exceed their limits, those first that do so by far."""
        while self._overgrown:
            stream = next(iter(self._overgrown))
            del self._overgrown[stream]
            yield stream
        yield from self._unswept
        self._is_swept = True

    def _is_due(self, stream: Stream, trim: Trim) -> bool:
        """Return whether a stream exceeds its limits, and is in the store."""
        return (
            stream.next != stream.stored_first
            and not stream.is_forgotten
            and (
                stream.stored_first < stream.first
                or stream.oldest_s < trim.before_s
                or stream.bytes > trim.max_bytes
            )
        )

    def make_room(self) -> None:
        """Remove the oldest messages of some streams if the store is nearly full.

        They are those of a client with more than its share, or else the largest: then the fewest
        messages are lost.
        """
        excess = self._store.used_bytes - int(_FULL * self._store.max_bytes)
        if excess <= 0 or self._is_making_room:
            return
        cut: dict[Stream, None] = {}
        for stream in islice(self._places.to_cut(), _TRIMS_AT_ONCE):
            each = max(1, stream.bytes // max(1, stream.next - stream.stored_first))
            count = min(len(stream), excess // each + 1, _CUT_AT_ONCE)
            stream.first += count
            self.removed += count
            excess -= count * each
            self._places.resize(stream, max(0, stream.bytes - count * each))
            cut[stream] = None
            self._places.changed(stream)
            if excess <= 0:
                break
        if cut:
            self._is_making_room = True
            due = {stream.number: (stream, self._trim_of(stream)) for stream in cut}
            self._store.trim([trim for _, trim in due.values()], partial(self._room_made, due))

    def _room_made(self, due: _Due, results: Sequence[Trimmed], problem: str) -> None:
        self._is_making_room = False
        self._take_trimmed(due, results, problem)
        if not problem:
            self.make_room()  # what was removed may have freed less than it counted
            self._sweep()

    def _trim_of(self, stream: Stream) -> Trim:
        age_s = stream.rule.max_age_s
        before_s = self._owner.cork.now - age_s if age_s else 0.0
        return Trim(stream.number, stream.first, before_s, self._limits.max_destination_bytes)

    def _trimmed(self, due: _Due, results: Sequence[Trimmed], problem: str) -> None:
        self._is_trimming = False
        self._take_trimmed(due, results, problem)
        if not problem:
            self._sweep()

    def _take_trimmed(self, due: _Due, results: Sequence[Trimmed], problem: str) -> None:
        """Take note of what is left of streams, unless they have begun anew meanwhile."""
        left = {
            number: stream
            for number, (stream, _) in due.items()
            if stream.number == number and not stream.is_forgotten
        }
        for result in results:
            stream = left.pop(result.stream, None)
            if stream is not None:
                self._take(stream, result)
        if not problem:
            # The others are damaged and stay as they are. Each message would ask for it again.
            for stream in left.values():
                stream.stored_first = stream.first
                self._places.resize(stream, 0)

    def _take(self, stream: Stream, result: Trimmed) -> None:
        has_shrunk = result.first > stream.stored_first
        stream.stored_first = result.first
        stream.first = max(stream.first, result.first)
        self._places.resize(stream, result.bytes)
        stream.oldest_s = result.oldest_s
        for page in list(stream.damaged_pages):
            if (page + 1) * PAGE_MESSAGES <= stream.first:
                stream.damaged_pages.discard(page)
                stream.lost.pop(page, None)
        self._places.changed(stream)
        if not len(stream):
            self._owner.stream_emptied(stream)
        if has_shrunk and self._is_due(stream, self._trim_of(stream)):
            self._overgrown[stream] = None  # a part of it was trimmed
