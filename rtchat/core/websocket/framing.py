"""Writing WebSocket frames (RFC 6455): headers, close frames, and messages in frames."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from rtchat.core.flow.outbound import Framing
from rtchat.core.websocket.deflate import deflate

__all__ = [
    "COMPRESSED",
    "FINAL",
    "MAX_CONTROL_BYTES",
    "PLAIN",
    "MessageFramings",
    "Opcode",
    "close_frame",
    "deflating",
    "frame_header",
    "is_utf8",
]


class Opcode(IntEnum):
    """The opcodes of frames (RFC 6455, 5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


FINAL = 0x80

COMPRESSED = 0x40

MAX_CONTROL_BYTES = 125

_MAX_REASON_BYTES = MAX_CONTROL_BYTES - 2


def frame_header(opcode: int, length: int) -> bytes:
    """Return the header of a final, unmasked frame (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((FINAL | opcode, length))
    if length < 65536:
        return bytes((FINAL | opcode, 126, length >> 8, length & 0xFF))
    return bytes((FINAL | opcode, 127)) + length.to_bytes(8, "big")


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; a reason that is too long is cut between characters."""
    text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore").encode()
    return frame_header(Opcode.CLOSE, len(text) + 2) + code.to_bytes(2, "big") + text


class MessageFramings(NamedTuple):
    """The framings for clients with the same compression, shared by all of them.

    Attributes:
        binary: For clients whose first message was binary, and before a client's first message.
        text: For clients whose first message was text: UTF-8 becomes a text message, anything
            else a binary one.
    """

    binary: Framing
    text: Framing


_SHORT_BYTES = 1024

_BINARY_HEADERS = tuple(frame_header(2, length) for length in range(_SHORT_BYTES))

_TEXT_HEADERS = tuple(frame_header(1, length) for length in range(_SHORT_BYTES))


class _PlainBinary:
    """Frames messages uncompressed, as binary."""

    def wrap(self, data: bytes) -> bytes:
        """Return the frame of one message."""
        length = len(data)
        if length < _SHORT_BYTES:
            return _BINARY_HEADERS[length] + data
        return frame_header(2, length) + data

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        """Return the header that all the messages share."""
        return frame_header(2, length)

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        """Return the header of a message."""
        return frame_header(Opcode.BINARY, sum(map(len, parts)))


class _PlainText:
    """Frames messages uncompressed, as text where they are UTF-8."""

    def wrap(self, data: bytes) -> bytes:
        """Return the frame of one message."""
        length = len(data)
        if length < _SHORT_BYTES and data.isascii():
            return _TEXT_HEADERS[length] + data
        return frame_header(Opcode.TEXT if is_utf8(data) else Opcode.BINARY, length) + data

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        """Return the header that all the messages share, or None unless all are ASCII."""
        return frame_header(1, length) if b"".join(parts).isascii() else None

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        """Return the header of a message."""
        return _header_of(parts, is_text=True)


class _Deflating:
    """Compresses each message on its own where that makes it smaller."""

    def __init__(self, window_bits: int, *, is_text: bool) -> None:
        self._window_bits = window_bits
        self._is_text = is_text

    def wrap(self, data: bytes) -> bytes:
        """Return the frame of one message."""
        opcode = Opcode.TEXT if self._is_text and is_utf8(data) else Opcode.BINARY
        packed = deflate(data, self._window_bits)
        if packed is None:
            return frame_header(opcode, len(data)) + data
        return frame_header(COMPRESSED | opcode, len(packed)) + packed

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        """Return None: each message is compressed on its own."""
        return None

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        """Return None, or the header of a message that there is no time to compress."""
        return None if may_compress else _header_of(parts, is_text=self._is_text)


PLAIN = MessageFramings(_PlainBinary(), _PlainText())
"""The framings for clients without compression."""


_DEFLATING = {
    window_bits: MessageFramings(
        _Deflating(window_bits, is_text=False), _Deflating(window_bits, is_text=True)
    )
    for window_bits in range(8, 16)
}


def deflating(window_bits: int) -> MessageFramings:
    """Return the framings for clients that inflate with a window of ``2 ** window_bits`` bytes.

    Clients with the same window share one object, so a message is compressed once for all.
    """
    return _DEFLATING[window_bits]


def _header_of(parts: list[bytes], *, is_text: bool) -> bytes:
    """Return the header of a message; its parts end between characters."""
    opcode = Opcode.TEXT if is_text and all(map(is_utf8, parts)) else Opcode.BINARY
    return frame_header(opcode, sum(map(len, parts)))


def is_utf8(data: bytes) -> bool:
    """Return whether the bytes are valid in a text message."""
    try:
        if not data.isascii():
            data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
