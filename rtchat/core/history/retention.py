"""Retention: messages that are too old or too many are removed, and more if the store is full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

_FULL = 0.75
"""From this part of the store on, the oldest messages of some streams are removed."""

_CUTS_AT_ONCE = 64


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
        "_is_trimming",
        "_limits",
        "_overgrown",
        "_owner",
        "_places",
        "_store",
        "_streams",
        "_sweep_at_s",
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
        self._overgrown = False
        self._sweep_at_s = 0.0

    def expire(self) -> None:
        """Trim streams that exceed their limits; call it every second. Sweeps every 10 s."""
        ticks = self._owner.cork.ticks
        self.make_room()
        if self._is_trimming or (ticks < self._sweep_at_s and not self._overgrown):
            return
        self._sweep_at_s = ticks + _SWEEP_EVERY_S
        self._overgrown = False
        trims = []
        for stream in self._streams.values():
            if stream.next == stream.stored_first:
                continue
            trim = self._trim_of(stream)
            if (
                stream.stored_first < stream.first
                or stream.oldest_s < trim.before_s
                or stream.bytes > trim.max_bytes
            ):
                trims.append(trim)
        if trims:
            self._is_trimming = True
            self._store.trim(trims, partial(self._trimmed, trims))

    def make_room(self) -> None:
        """Remove the oldest messages of some streams if the store is nearly full.

        They are those of a client with more than its share, or else the largest: then the fewest
        messages are lost.
        """
        excess = self._store.used_bytes - int(_FULL * self._store.max_bytes)
        if excess <= 0 or self._is_making_room:
            return
        cut: dict[Stream, None] = {}
        for stream in islice(self._places.to_cut(), _CUTS_AT_ONCE):
            each = max(1, stream.bytes // max(1, stream.next - stream.stored_first))
            count = min(len(stream), excess // each + 1)
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
            trims = list(map(self._trim_of, cut))
            self._store.trim(trims, partial(self._room_made, trims))

    def _room_made(self, trims: Sequence[Trim], results: Sequence[Trimmed], problem: str) -> None:
        self._is_making_room = False
        self._take_trimmed(trims, results, problem)
        if not problem:
            self.make_room()  # what was removed may have freed less than it counted

    def _trim_of(self, stream: Stream) -> Trim:
        age_s = stream.rule.max_age_s
        before_s = self._owner.cork.now - age_s if age_s else 0.0
        return Trim(stream.number, stream.first, before_s, self._limits.max_destination_bytes)

    def _trimmed(self, trims: Sequence[Trim], results: Sequence[Trimmed], problem: str) -> None:
        self._is_trimming = False
        self._take_trimmed(trims, results, problem)

    def _take_trimmed(
        self, trims: Sequence[Trim], results: Sequence[Trimmed], problem: str
    ) -> None:
        by_number = {stream.number: stream for stream in self._streams.values()}
        if not problem and len(results) < len(trims):
            # The others are damaged and stay as they are. Each message would ask for it again.
            for number in {trim.stream for trim in trims} - {one.stream for one in results}:
                stream = by_number.get(number)
                if stream is not None:
                    stream.stored_first = stream.first
                    self._places.resize(stream, 0)
        for result in results:
            stream = by_number.get(result.stream)
            if stream is not None:
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

    def trim_soon(self) -> None:
        """Trim streams at the end of the turn, because one exceeds its limits by far."""
        self._overgrown = True
        self._owner.cork.woken[self.expire] = None
