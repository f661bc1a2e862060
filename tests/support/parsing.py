"""Reading STOMP in every chunking: whole, split at each byte, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from support.core import cut

from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import ProtocolError

__all__ = [
    "SEND",
    "SEND_BYTES",
    "Reader",
    "Reading",
    "byte_by_byte",
    "feed_all",
    "frames",
    "message",
    "split_at_each_byte",
    "whole",
]


@dataclass
class Reading:
    """What a parser made of a stream of bytes.

    Attributes:
        frames: The frames, in order.
        error: What ended the reading, None when nothing did.
        most_buffered_bytes: How much waited at worst for the rest of its frame.
        buffered_bytes: How much waits still.
        fed_bytes: How much was fed before the error, or the end.
    """

    frames: list[Frame]
    error: ProtocolError | None = None
    most_buffered_bytes: int = 0
    buffered_bytes: int = 0
    fed_bytes: int = 0


def feed_all(
    chunks: list[bytes],
    *,
    limits: Limits | None = None,
    version: Version | None = Version.V12,
    cache: HeadCache | None = None,
) -> Reading:
    """Feed a new parser chunk by chunk until it fails.

    Args:
        chunks: The bytes of the stream.
        limits: The parser's limits.
        version: The version to log in with, None to stay a stranger.
        cache: The heads to share with other parsers.
    """
    parser = FrameParser(limits or Limits(), cache)
    if version is not None:
        parser.log_in(version)
    reading = Reading([])
    for chunk in chunks:
        parser.feed(chunk)
        reading.fed_bytes += len(chunk)
        try:
            while (frame := parser.next_frame()) is not None:
                reading.frames.append(frame)
        except ProtocolError as error:
            reading.error = error
            return reading
        reading.buffered_bytes = parser.buffered_bytes
        reading.most_buffered_bytes = max(reading.most_buffered_bytes, parser.buffered_bytes)
    return reading


EVERY_SPLIT_BYTES = 1500
"""Longer streams are split at every byte of both ends, and here and there between."""


class Reader(Protocol):
    """Reads a stream in one of the chunkings."""

    def __call__(
        self,
        data: bytes,
        *,
        limits: Limits = Limits(),
        version: Version | None = Version.V12,
        cache: HeadCache | None = None,
    ) -> Reading: ...


def whole(data: bytes) -> Iterator[list[bytes]]:
    yield [data]


def split_at_each_byte(data: bytes) -> Iterator[list[bytes]]:
    places: set[int] = set(range(len(data) + 1))
    if len(data) > EVERY_SPLIT_BYTES:
        end = len(data)
        places = {*range(300), *range(300, end, end // 100), *range(end - 300, end + 1)}
    for place in sorted(places):
        yield cut(data, place)


def byte_by_byte(data: bytes) -> Iterator[list[bytes]]:
    yield [data[at : at + 1] for at in range(len(data))]


def frames(reading: Reading) -> list[Frame]:
    """Return the frames of a reading that ended well, with nothing left over."""
    assert reading.error is None, reading.error
    assert reading.buffered_bytes == 0
    return reading.frames


def message(reading: Reading) -> str:
    """Return the message of the error that ended the reading."""
    assert reading.error is not None, f"no error, but {reading.frames}"
    return reading.error.message


SEND = Frame("SEND", {"destination": "/topic/a"}, b"hello")


SEND_BYTES = b"SEND\ndestination:/topic/a\n\nhello\0"
