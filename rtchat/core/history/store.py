"""The asynchronous store that a history writes to, and the values it exchanges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rtchat.core.broker.message import STORED_OVERHEAD_BYTES

__all__ = [
    "Batch",
    "Row",
    "Store",
    "StoreSnapshot",
    "StoredStream",
    "StreamDelta",
    "Trim",
    "Trimmed",
]


class Row(NamedTuple):
    """A stored message.

    Attributes:
        stream: The number of its stream.
        offset: Its offset in the stream.
        time_s: The time at which it was accepted, in seconds since 1970.
        message_id: Its ``message-id``.
        head: The publisher's headers that subscribers see, as header lines of STOMP 1.2.
        body: Its body.
    """

    stream: int
    offset: int
    time_s: float
    message_id: str
    head: bytes
    body: bytes

    @property
    def size(self) -> int:
        """The size that counts towards limits, in bytes: body, headers and an overhead."""
        return len(self.head) + len(self.body) + STORED_OVERHEAD_BYTES


class StoredStream(NamedTuple):
    """A stream as it is stored.

    Attributes:
        number: The number that identifies the stream in the store.
        name: The destination.
        epoch: Text that identifies this incarnation of the destination's stream.
        first: The offset of the oldest message.
        next: The offset of the next message.
        bytes: The size of all its messages in bytes.
        oldest_s: The time of the oldest message, in seconds since 1970.
    """

    number: int
    name: str
    epoch: str
    first: int
    next: int
    bytes: int
    oldest_s: float


class StoreSnapshot(NamedTuple):
    """The contents of a store when it is opened, without the messages.

    Attributes:
        epoch: The epoch of destinations that are not in the store.
        streams: The streams in the store.
    """

    epoch: str
    streams: Sequence[StoredStream] = ()


class StreamDelta(NamedTuple):
    """The change of a stream by a batch. A stream that is not in the store is created.

    Attributes:
        number: The stream's number.
        name: The destination.
        epoch: The stream's epoch.
        next: The offset after the stream's last message in the batch.
        bytes: The size of the stream's messages in the batch, in bytes.
    """

    number: int
    name: str
    epoch: str
    next: int
    bytes: int


class Batch(NamedTuple):
    """Changes that are written atomically.

    Attributes:
        rows: New messages.
        streams: The changes of their streams.
        forgotten: The numbers of streams to delete.
        epoch: The epoch, from now on, of destinations that are not in the store.
    """

    rows: Sequence[Row]
    streams: Sequence[StreamDelta]
    forgotten: Sequence[int]
    epoch: str


class Trim(NamedTuple):
    """The limits of a stream. Messages that exceed any of them are deleted, oldest first.

    Attributes:
        stream: The stream's number.
        first: The first offset to keep.
        before_s: Messages from before this time, in seconds since 1970, are deleted.
        max_bytes: The size of the messages to keep, in bytes.
    """

    stream: int
    first: int
    before_s: float
    max_bytes: int


class Trimmed(NamedTuple):
    """A stream after trimming.

    Attributes:
        stream: The stream's number.
        first: The offset of its first message, or the next offset if it is empty.
        bytes: The size of all its messages in bytes.
        oldest_s: The time of its first message in seconds since 1970, or 0 if it is empty.
    """

    stream: int
    first: int
    bytes: int
    oldest_s: float


class Store(Protocol):
    """An asynchronous store. Operations complete in order; callbacks are never re-entrant.

    Each callback runs in a turn of its own, never from within the call that started the operation.
    Its last argument describes the problem in plain English, or is "" on success.
    """

    @property
    def max_bytes(self) -> int:
        """How large the store may become, in bytes."""

    @property
    def used_bytes(self) -> int:
        """How much of that it needed after the latest operation that is finished."""

    def write(self, batch: Batch, done: Callable[[str], None]) -> None:
        """Write a batch; call ``done`` once it is durable."""

    def read(
        self, stream: int, first: int, end: int, done: Callable[[Sequence[Row], str], None]
    ) -> None:
        """Read the messages with offsets from ``first`` up to, but not including, ``end``.

        ``done`` gets those that can be read; damage is no problem in the sense above.
        """

    def find(self, stream: int, since_s: float, done: Callable[[int | None, str], None]) -> None:
        """Look up the first message of a given time (in seconds since 1970) or later.

        ``done`` gets its offset, or None if there is no such message.
        """

    def trim(self, trims: Sequence[Trim], done: Callable[[Sequence[Trimmed], str], None]) -> None:
        """Delete messages that exceed the limits.

        ``done`` gets what is left of each stream, except those that are damaged there.
        """
