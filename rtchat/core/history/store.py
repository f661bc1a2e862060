"""The asynchronous store that a history writes to, and the values it exchanges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rtchat.core.broker.message import OVERHEAD_BYTES

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
    """A message as it lies in the file.

    Attributes:
        stream: The number of its stream.
        offset: Its place there.
        time_s: When it was accepted, in seconds since 1970.
        message_id: Its ``message-id``.
        head: The publisher's headers that are passed on, a line each, as in STOMP 1.2.
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
        """What it counts in limits, in bytes."""
        return len(self.head) + len(self.body) + OVERHEAD_BYTES


class StoredStream(NamedTuple):
    """A stream as the file knows it.

    Attributes:
        number: What messages know it by in the file.
        name: The destination.
        epoch: The text that no other life of the destination has.
        first: The offset of the oldest message there.
        next: The offset that the next message gets.
        bytes: The sizes of all its messages.
        oldest_s: The time of the oldest message.
    """

    number: int
    name: str
    epoch: str
    first: int
    next: int
    bytes: int
    oldest_s: float


class StoreSnapshot(NamedTuple):
    """What a file holds when it is opened, but for the messages.

    Attributes:
        epoch: The epoch of destinations that it does not know.
        streams: Those it knows.
    """

    epoch: str
    streams: Sequence[StoredStream] = ()


class StreamDelta(NamedTuple):
    """How a stream grows by a batch; it is made if it is not there yet.

    Attributes:
        number: Which.
        name: The destination.
        epoch: Its epoch.
        next: The offset after the batch's last message in it.
        bytes: The sizes of the batch's messages in it.
    """

    number: int
    name: str
    epoch: str
    next: int
    bytes: int


class Batch(NamedTuple):
    """What is written all together or not at all.

    Attributes:
        rows: New messages.
        streams: The streams that they are in.
        forgotten: The numbers of streams that give up their place; nothing is left of them.
        epoch: The epoch of destinations that the file does not know, from now on.
    """

    rows: Sequence[Row]
    streams: Sequence[StreamDelta]
    forgotten: Sequence[int]
    epoch: str


class Trim(NamedTuple):
    """What is to be deleted of a stream: whatever lies outside one of these.

    Attributes:
        stream: Its number.
        first: The first offset that stays.
        before_s: The time, in seconds since 1970, from which on messages stay.
        max_bytes: How much stays.
    """

    stream: int
    first: int
    before_s: float
    max_bytes: int


class Trimmed(NamedTuple):
    """What is left of a stream.

    Attributes:
        stream: Its number.
        first: The first offset there, or the next one if nothing is left.
        bytes: The sizes of all its messages.
        oldest_s: The time of the first message, 0 without one.
    """

    stream: int
    first: int
    bytes: int
    oldest_s: float


class Store(Protocol):
    """The file. It does one thing after the other, in the order it was asked.

    Every answer comes in a turn of its own, never from inside the call that asked. An answer's last
    argument says what went wrong, in words for people; it is "" when nothing did.
    """

    def write(self, batch: Batch, done: Callable[[str], None]) -> None:
        """Write a batch; the answer comes when it survives the end of the process."""

    def read(
        self, stream: int, first: int, end: int, done: Callable[[Sequence[Row], str], None]
    ) -> None:
        """Give the messages with these offsets, as far as they are there, in order."""

    def find(self, stream: int, since_s: float, done: Callable[[int | None, str], None]) -> None:
        """Give the offset of the first message of this time or later, None if there is none."""

    def trim(self, trims: Sequence[Trim], done: Callable[[Sequence[Trimmed], str], None]) -> None:
        """Delete messages."""
