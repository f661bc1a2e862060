"""Raw STOMP over TCP and over WebSocket, for tests that watch what the sockets do.

Both are the :class:`~support.wire.Wire` of the other tests, and more: they can publish until the
socket takes no more, and they can wait for several connections at once.
"""

from __future__ import annotations

import array
import fcntl
import select
import socket
import termios
import time
from collections.abc import Iterator

from support.process import Server
from support.wire import Frame, Wire
from typing_extensions import Self

__all__ = ["WIRES", "FlowWire", "Publisher", "WebSocketWire", "open_wire", "send_bytes", "wire_to"]

WIRES = ("TCP", "WebSocket")
_GUARD_S = 20.0
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_BINARY, _CLOSE, _PING, _PONG = 2, 8, 9, 10


def send_bytes(destination: str, body: bytes, **headers: str) -> bytes:
    """Give the bytes of a SEND; ``_`` in names stands for ``-``."""
    more = "".join(f"{name.replace('_', '-')}:{value}\n" for name, value in headers.items())
    head = f"SEND\ndestination:{destination}\ncontent-length:{len(body)}\n{more}\n"
    return head.encode() + body + b"\0"


class FlowWire(Wire):
    """STOMP over TCP."""

    def __init__(self, server: Server, *, receive_buffer_bytes: int = 0) -> None:
        super().__init__(self.port_of(server), receive_buffer_bytes=receive_buffer_bytes)
        # Small messages in a row must not wait for the server's acknowledgements.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def port_of(self, server: Server) -> int:
        """Give the port for this kind of connection."""
        return server.stomp

    def __enter__(self) -> Self:
        return self

    @property
    def socket(self) -> socket.socket:
        """The connection."""
        return self._socket

    @property
    def has_data(self) -> bool:
        """Whether something has come that was not read."""
        return bool(self._buffer) or bool(select.select([self], [], [], 0)[0])

    def fileno(self) -> int:
        """Give the socket's number, for ``select``."""
        return self._socket.fileno()

    def packed(self, data: bytes) -> bytes:
        """Give the bytes as they go over the socket."""
        return data

    def ask(self, command: str, **headers: str) -> None:
        """Send a frame and wait for its receipt; nothing else may come before."""
        more = "".join(f"{name.replace('_', '-')}:{value}\n" for name, value in headers.items())
        self.send(f"{command}\n{more}receipt:asked\n\n\0")
        frame = self.frame()
        assert frame.headers.get("receipt-id") == "asked", frame

    def take(self) -> list[Frame]:
        """Give the frames that are here once the socket is readable."""
        self._read(time.monotonic() + _GUARD_S)
        return list(self.waiting())

    def waiting(self) -> Iterator[Frame]:
        """Give the frames that were read already."""
        while (frame := self._next()) is not None:
            yield frame


class WebSocketWire(FlowWire):
    """STOMP over ``/ws``, in binary messages."""

    def __init__(self, server: Server, *, receive_buffer_bytes: int = 0) -> None:
        super().__init__(server, receive_buffer_bytes=receive_buffer_bytes)
        self.close_code: int | None = None
        self._packed = bytearray()
        super().send(
            f"GET /ws HTTP/1.1\r\nHost: localhost:{server.http}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {_KEY.decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n"
        )
        while b"\r\n\r\n" not in self._buffer:
            super()._read(time.monotonic() + _GUARD_S)
        answer, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        self._buffer.clear()
        self._packed += rest

    def port_of(self, server: Server) -> int:
        """Give the page's port."""
        return server.http

    def packed(self, data: bytes) -> bytes:
        """Give a message, masked with zeros, which leaves the bytes as they are."""
        return self._message(_BINARY, data)

    def send(self, data: bytes | str) -> None:
        """Send a message."""
        super().send(self.packed(data.encode() if isinstance(data, str) else data))

    def _message(self, opcode: int, data: bytes) -> bytes:
        head = bytes((0x80 | opcode,))
        if len(data) < 126:
            head += bytes((0x80 | len(data),))
        elif len(data) < 65536:
            head += bytes((0x80 | 126,)) + len(data).to_bytes(2, "big")
        else:
            head += bytes((0x80 | 127,)) + len(data).to_bytes(8, "big")
        return head + bytes(4) + data

    def _read(self, deadline: float) -> None:
        stream, self._buffer = self._buffer, self._packed
        try:
            super()._read(deadline)
        finally:
            self._packed, self._buffer = self._buffer, stream
        while (message := self._unpack()) is not None:
            opcode, payload = message
            if opcode == _PING:
                super().send(self._message(_PONG, payload))
            elif opcode == _CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")
                super().send(self._message(_CLOSE, payload[:2]))
            else:
                self._buffer += payload

    def _unpack(self) -> tuple[int, bytes] | None:
        packed = self._packed
        if len(packed) < 2:
            return None
        length, begin = packed[1], 2
        if length == 126:
            length, begin = int.from_bytes(packed[2:4], "big"), 4
        elif length == 127:
            length, begin = int.from_bytes(packed[2:10], "big"), 10
        if len(packed) < begin + length or begin > len(packed):
            return None
        opcode, payload = packed[0] & 0x0F, bytes(packed[begin : begin + length])
        del packed[: begin + length]
        return opcode, payload


def wire_to(server: Server, kind: str, *, receive_buffer_bytes: int = 0) -> FlowWire:
    """Give a connection."""
    wire_type = FlowWire if kind == "TCP" else WebSocketWire
    return wire_type(server, receive_buffer_bytes=receive_buffer_bytes)


def open_wire(server: Server, kind: str, *, receive_buffer_bytes: int = 0) -> FlowWire:
    """Give a client that is logged in."""
    wire = wire_to(server, kind, receive_buffer_bytes=receive_buffer_bytes)
    wire.connect()
    return wire


class Publisher:
    """Publishes numbered messages as fast as its socket takes them.

    Args:
        wire: The connection, logged in.
        destination: Where to.
        name: What stands before the number in each body.
        body_bytes: How long each body is.

    Attributes:
        destination: Where to.
        sent: How many messages the socket has taken, whole or in part.
    """

    def __init__(self, wire: FlowWire, destination: str, name: str, body_bytes: int) -> None:
        self.sent = 0
        self._wire = wire
        self.destination = destination
        self._name = name
        self._filler = b"." * body_bytes
        self._is_stopped = False
        self._rest = b""  # of a message that the socket has taken in part
        # So much the system holds for us at least; the rest is the server's.
        self._socket = wire.socket
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)

    def stop(self) -> None:
        """End a :meth:`publish` in another thread, after the message it is at."""
        self._is_stopped = True

    def publish(self, count: int, patience_s: float = _GUARD_S) -> bool:
        """Go on until so many messages were sent in all.

        Returns:
            Whether they were; if not, the socket took nothing for as long as the patience.
        """
        self._socket.setblocking(False)
        while (self.sent < count and not self._is_stopped) or self._rest:
            if not self._rest:
                body = f"{self._name} {self.sent} ".encode()
                body += self._filler[len(body) :]
                self._rest = self._wire.packed(send_bytes(self.destination, body))
                self.sent += 1
            try:
                taken = self._socket.send(self._rest)
            except BlockingIOError:
                if not select.select([], [self._wire], [], patience_s)[1]:
                    return False
                continue
            self._rest = self._rest[taken:]
        return True

    @property
    def is_blocked(self) -> bool:
        """Whether the socket takes nothing now, because much in it is not taken by the server."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._socket, termios.TIOCOUTQ, waiting)
        is_writable = bool(select.select([], [self._wire], [], 0)[1])
        return waiting[0] > 0 and not is_writable
