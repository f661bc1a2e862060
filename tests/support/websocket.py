"""HTTP and WebSocket by hand, for tests of what goes over the wire: written, and read strictly.

Nothing here uses rtchat: the tests' reading of RFC 6455 is their own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ACCEPT",
    "BINARY",
    "CLOSE",
    "CONT",
    "KEY",
    "PING",
    "PONG",
    "TEXT",
    "Answer",
    "WebSocketReader",
    "WsFrame",
    "accept_for",
    "http_request",
    "read_answer",
    "upgrade_request",
    "ws_frame",
]

# RFC 6455, 1.3: the example's key and the answer to it.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

_MASK = b"\x11\x22\x33\x44"


# ---------------------------------------------------------------- frames


def ws_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    is_final: bool = True,
    is_masked: bool = True,
    reserved: int = 0,
    mask: bytes = _MASK,
) -> bytes:
    """Return one frame as a client sends it (RFC 6455, 5.2)."""
    first = (0x80 if is_final else 0) | reserved << 4 | opcode
    masked = 0x80 if is_masked else 0
    length = len(payload)
    if length < 126:
        head = bytes((first, masked | length))
    elif length < 65536:
        head = bytes((first, masked | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + length.to_bytes(8, "big")
    if not is_masked:
        return head + payload
    return head + mask + (_masked(payload, mask) if any(mask) else payload)


def _masked(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


@dataclass
class WsFrame:
    """One frame as it was read.

    Attributes:
        opcode: What it is.
        payload: Its payload, unmasked; still compressed if it came compressed.
        is_final: Whether it ends its message.
        reserved: Its reserved bits; the first one, of value 4, says that it is compressed.
        is_masked: Whether it came masked.
    """

    opcode: int
    payload: bytes
    is_final: bool = True
    reserved: int = 0
    is_masked: bool = False

    @property
    def first(self) -> int:
        """The frame's first byte."""
        return (0x80 if self.is_final else 0) | self.reserved << 4 | self.opcode

    @property
    def is_compressed(self) -> bool:
        """Whether the first reserved bit is set (RFC 7692, 6)."""
        return bool(self.reserved & 4)

    @property
    def code(self) -> int:
        """The code of a close frame."""
        return int.from_bytes(self.payload[:2], "big")

    @property
    def reason(self) -> str:
        """The reason of a close frame."""
        return self.payload[2:].decode()


class WebSocketReader:
    """Reads frames from a stream of bytes.

    Args:
        is_strict: Let it be an error if a frame is not a server's without extensions: if it is
            masked, or has reserved bits.
    """

    def __init__(self, *, is_strict: bool = True) -> None:
        self._is_strict = is_strict
        self._buffer = bytearray()

    @property
    def rest(self) -> bytes:
        """The bytes of a frame that is not complete."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[WsFrame]:
        """Take the next bytes and return the frames that they complete."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> WsFrame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        reserved, is_masked = buffer[0] >> 4 & 7, bool(buffer[1] & 0x80)
        if self._is_strict:
            assert not reserved, "reserved bits are set"
            assert not is_masked, "a server's frames are not masked"
        length, start = buffer[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
            assert length > (125 if start == 4 else 65535), "the length is not written shortest"
        mask = bytes(buffer[start : start + 4]) if is_masked else b""
        start += len(mask)
        if len(buffer) < start + length or is_masked > len(mask):
            return None
        payload = bytes(buffer[start : start + length])
        frame = WsFrame(
            buffer[0] & 0x0F,
            _masked(payload, mask) if mask else payload,
            bool(buffer[0] & 0x80),
            reserved,
            is_masked,
        )
        del buffer[: start + length]
        return frame


# ---------------------------------------------------------------- HTTP


def accept_for(key: str) -> str:
    """Return the ``Sec-WebSocket-Accept`` that answers a key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()


def upgrade_request(
    path: str = "/ws",
    *,
    host: str | None = "localhost:9000",
    origin: str | None = None,
    subprotocols: str | None = None,
    version: str = "HTTP/1.1",
    method: str = "GET",
    **changes: str | None,
) -> bytes:
    """Return a WebSocket handshake without the headers that are None.

    ``changes`` names headers with underscores for dashes.
    """
    headers: dict[str, str | None] = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Origin": origin,
        "Sec-WebSocket-Protocol": subprotocols,
    }
    known = {name.lower(): name for name in headers}
    for name, value in changes.items():
        dashed = name.replace("_", "-").lower()
        headers[known.get(dashed, dashed)] = value
    return http_request(method, path, headers, version)


def http_request(
    method: str, path: str, headers: Mapping[str, str | None], version: str = "HTTP/1.1"
) -> bytes:
    """Return a request without the headers that are None."""
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def read_answer(data: bytes, *, has_body: bool = True) -> tuple[Answer, bytes]:
    """Split an answer from what follows it."""
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"no whole answer in {data[:200]!r}"
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    status = int(first.split()[1])
    if not has_body or status in (101, 304):
        return Answer(status, headers, b""), rest
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size_text, _, rest = rest.partition(b"\r\n")
            size = int(size_text, 16)
            chunk, rest = rest[:size], rest[size + 2 :]
            if not size:
                return Answer(status, headers, body), rest
            body += chunk
    size = int(headers.get("content-length", len(rest)))
    return Answer(status, headers, rest[:size]), rest[size:]
