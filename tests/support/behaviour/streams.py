"""Byte streams to a broker, with deadlines: TCP as it is, and TCP inside a WebSocket.

They share no code with the server, and they know nothing of STOMP.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from typing import Protocol
from urllib.parse import urlsplit

__all__ = ["DEADLINE_S", "Stream", "TcpStream", "WebSocketStream"]

DEADLINE_S = 5.0
"""How long anything may take that has to happen."""

_CHUNK_BYTES = 256 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10


class Stream(Protocol):
    """Bytes in both directions."""

    def send(self, data: bytes) -> None:
        """Send; a stream that the other side has closed takes the bytes and forgets them."""

    def receive(self, timeout_s: float) -> bytes:
        """Give the next bytes, b"" once the other side has closed.

        Raises:
            TimeoutError: Nothing came in time.
        """

    def close(self) -> None:
        """Close; what was sent still arrives."""


class TcpStream:
    """A TCP connection."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=DEADLINE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send the bytes."""
        self._socket.settimeout(DEADLINE_S * 4)
        try:
            self._socket.sendall(data)
        except ConnectionError:
            return

    def receive(self, timeout_s: float) -> bytes:
        """Give the next bytes."""
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            return self._socket.recv(_CHUNK_BYTES)
        except ConnectionError:
            return b""

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class WebSocketStream:
    """The payloads of a WebSocket's messages, one after the other.

    Each :meth:`send` is one message: text when the bytes are UTF-8, binary otherwise.

    Attributes:
        close_code: With what the other side closed; None as long as it is open, 1006 when this
            side closed first.
        subprotocol: What the server chose.
    """

    def __init__(self, url: str, subprotocols: str = "v12.stomp, v11.stomp, v10.stomp") -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, f"no host in {url}"
        port = parts.port or 80
        self.close_code: int | None = None
        self.subprotocol: str | None = None
        self._tcp = TcpStream(parts.hostname, port)
        self._buffer = bytearray()
        self._shake_hands(f"{parts.hostname}:{port}", parts.path or "/", subprotocols)

    def send(self, data: bytes) -> None:
        """Send one message."""
        try:
            data.decode()
        except UnicodeDecodeError:
            self._send_frame(_BINARY, data)
        else:
            self._send_frame(_TEXT, data)

    def receive(self, timeout_s: float) -> bytes:
        """Give the payload of the next frame that has one."""
        until = time.monotonic() + timeout_s
        while self.close_code is None:
            frame = self._take_frame()
            if frame is None:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                data = self._tcp.receive(left_s)
                if not data:
                    return b""
                self._buffer += data
                continue
            opcode, payload = frame
            if opcode == _PING:
                self._send_frame(_PONG, payload)
            elif opcode == _CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
                self._send_frame(_CLOSE, payload[:2])
            elif opcode in (_CONTINUATION, _TEXT, _BINARY) and payload:
                return payload
        return b""

    def close(self) -> None:
        """Close as a browser does whose page goes away."""
        if self.close_code is None:
            self.close_code = 1006
            self._send_frame(_CLOSE, (1001).to_bytes(2, "big"))
        self._tcp.close()

    def _shake_hands(self, host: str, path: str, subprotocols: str) -> None:
        key = base64.b64encode(os.urandom(16))
        self._tcp.send(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {subprotocols}\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            data = self._tcp.receive(DEADLINE_S)
            assert data, f"connection closed during the handshake: {bytes(self._buffer)!r}"
            self._buffer += data
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        status, *lines = head.decode("latin-1").split("\r\n")
        assert " 101 " in f"{status} ", f"no WebSocket at {path}: {status}"
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        assert headers.get("sec-websocket-accept") == accept, "wrong Sec-WebSocket-Accept"
        self.subprotocol = headers.get("sec-websocket-protocol")

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | opcode, 0x80 | length))
        elif length < 65536:
            head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
        mask = os.urandom(4)
        self._tcp.send(head + mask + _masked(payload, mask))

    def _take_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, begin = buffer[1] & 0x7F, 2
        if length > 125:
            begin = 4 if length == 126 else 10
            if len(buffer) < begin:
                return None
            length = int.from_bytes(buffer[2:begin], "big")
        end = begin + length
        if len(buffer) < end:
            return None
        opcode, payload = buffer[0] & 0x0F, bytes(buffer[begin:end])
        del buffer[:end]
        return opcode, payload


def _masked(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    repeated = (mask * (length // 4 + 1))[:length]
    number = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return number.to_bytes(length, "big")
