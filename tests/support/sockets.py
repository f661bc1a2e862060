"""Connections for tests: sockets, and streams of bytes over TCP and inside a WebSocket."""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from support.websocket import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    WebSocketReader,
    WsFrame,
    accept_for,
    read_answer,
    upgrade_request,
    ws_frame,
)
from typing_extensions import Self

__all__ = ["RealWebSocket", "Stream", "TcpStream", "WebSocketStream", "Where", "connect"]

Where = int | tuple[str, int] | Path
"""A port of 127.0.0.1, a host and its port, or a Unix socket."""

_CHUNK_BYTES = 1 << 20


def connect(
    where: Where,
    *,
    context: ssl.SSLContext | None = None,
    receive_buffer_bytes: int = 0,
    source: tuple[str, int] = ("", 0),
    timeout_s: float = 10.0,
) -> socket.socket:
    """Connect a socket that sends small pieces at once.

    Args:
        where: Where to.
        context: What TLS trusts; without it there is no TLS. The server is ``localhost``.
        receive_buffer_bytes: How much the system keeps for a client that does not read, on IPv4
            only; 0 leaves it to the system.
        source: The address and the port to connect from; ``""`` and 0 leave them to the system.
        timeout_s: How long connecting, and each call afterwards, may take.
    """
    if isinstance(where, Path):
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(timeout_s)
        plain.connect(str(where))
    else:
        address = ("127.0.0.1", where) if isinstance(where, int) else where
        if receive_buffer_bytes:  # has an effect only before the connection is made
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            plain.bind(source)
            plain.settimeout(timeout_s)
            plain.connect(address)
        else:
            plain = socket.create_connection(address, timeout_s, source)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        return plain
    return context.wrap_socket(plain, server_hostname="localhost")


class Stream(Protocol):
    """Bytes in both directions."""

    @property
    def socket(self) -> socket.socket:
        """The connection underneath."""

    @property
    def has_data(self) -> bool:
        """Whether something has come that was not received."""

    def packed(self, data: bytes) -> bytes:
        """Return the bytes as they go over the connection underneath."""

    def send(self, data: bytes) -> None:
        """Send bytes."""

    def receive(self, timeout_s: float) -> bytes:
        """Return the next bytes, b"" when the other side has closed.

        Raises:
            TimeoutError: Nothing came in time.
        """

    def close(self) -> None:
        """Close; what was sent still arrives."""


class TcpStream:
    """A TCP connection.

    Attributes:
        socket: The connection.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._send_timeout_s = connection.gettimeout()

    @property
    def has_data(self) -> bool:
        """Whether something has come that was not received."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def packed(self, data: bytes) -> bytes:
        """Return the bytes as they go over the connection."""
        return data

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.settimeout(self._send_timeout_s)
        self.socket.sendall(data)

    def receive(self, timeout_s: float) -> bytes:
        """Return the next bytes."""
        self.socket.settimeout(max(timeout_s, 0.001))
        return self.socket.recv(_CHUNK_BYTES)

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


class WebSocketStream:
    """The payloads of a WebSocket's messages, one after the other.

    Args:
        connection: The connection to the page's server.
        path: Where the WebSocket is.
        host: The ``Host`` header.
        subprotocols: What to offer.
        is_binary: Send binary messages only; otherwise what is UTF-8 goes out as text.

    Attributes:
        socket: The connection.
        close_code: The code with which the other side closed; None while it is open, 1005 if it
            gave none, 1006 if this side closed first.
        subprotocol: What the server chose.
    """

    def __init__(
        self,
        connection: socket.socket,
        path: str = "/ws",
        *,
        host: str = "localhost",
        subprotocols: str = "v12.stomp",
        is_binary: bool = False,
    ) -> None:
        self.socket = connection
        self.close_code: int | None = None
        self._tcp = TcpStream(connection)
        self._is_binary = is_binary
        self._reader = WebSocketReader()
        key = base64.b64encode(os.urandom(16)).decode()
        request = upgrade_request(path, host=host, subprotocols=subprotocols, sec_websocket_key=key)
        self._tcp.send(request)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(_CHUNK_BYTES)
            assert piece, f"connection closed during the handshake: {data!r}"
            data += piece
        answer, rest = read_answer(data)
        assert answer.status == 101, f"no WebSocket at {path}: {answer}"
        assert answer.headers.get("sec-websocket-accept") == accept_for(key), answer
        self.subprotocol = answer.headers.get("sec-websocket-protocol")
        self._frames: list[WsFrame] = self._reader.feed(rest)

    @property
    def has_data(self) -> bool:
        """Whether something has come that was not received."""
        return bool(self._frames) or self._tcp.has_data

    def packed(self, data: bytes) -> bytes:
        """Return a message, masked with zeros, which leave the bytes as they are."""
        return ws_frame(self._opcode(data), data, mask=bytes(4))

    def send(self, data: bytes) -> None:
        """Send one message."""
        self._send(self._opcode(data), data)

    def receive(self, timeout_s: float) -> bytes:
        """Return the payload of the next frame that has one."""
        deadline = time.monotonic() + timeout_s
        while self.close_code is None:
            while not self._frames:
                data = self._tcp.receive(deadline - time.monotonic())
                if not data:
                    return b""
                self._frames = self._reader.feed(data)
            frame = self._frames.pop(0)
            if frame.opcode == PING:
                self._answer(PONG, frame.payload)
            elif frame.opcode == CLOSE:
                self.close_code = frame.code if frame.payload else 1005
                self._answer(CLOSE, frame.payload[:2])
            elif frame.opcode in (CONT, TEXT, BINARY) and frame.payload:
                return frame.payload
        return b""

    def close(self) -> None:
        """Close as a browser does whose page goes away."""
        if self.close_code is None:
            self.close_code = 1006
            self._answer(CLOSE, (1001).to_bytes(2, "big"))
        self._tcp.close()

    def _opcode(self, data: bytes) -> int:
        if self._is_binary:
            return BINARY
        try:
            data.decode()
        except UnicodeDecodeError:
            return BINARY
        return TEXT

    def _send(self, opcode: int, payload: bytes) -> None:
        self._tcp.send(ws_frame(opcode, payload, mask=os.urandom(4)))

    def _answer(self, opcode: int, payload: bytes) -> None:
        with suppress(OSError):  # the other side may be gone by now
            self._send(opcode, payload)


class RealWebSocket:
    """A WebSocket client on a real socket that reads only when it is asked to.

    Args:
        port: The page's, on 127.0.0.1.
        path: Where the WebSocket is.
        context: What TLS trusts; without it there is no TLS.
        receive_buffer_bytes: How much the system keeps for a client that does not read; 0 leaves
            it to the system.
        source: The address to connect from.
        source_port: The port to connect from, 0 for any.
        kwargs: More for :func:`upgrade_request`.

    Attributes:
        socket: The connection.
        answer: The answer to the handshake.
    """

    def __init__(
        self,
        port: int,
        path: str,
        context: ssl.SSLContext | None = None,
        receive_buffer_bytes: int = 0,
        source: str = "",
        source_port: int = 0,
        **kwargs: Any,
    ) -> None:
        self.socket = connect(
            port,
            context=context,
            receive_buffer_bytes=receive_buffer_bytes,
            source=(source, source_port),
        )
        self.socket.settimeout(30)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(upgrade_request(path, sec_websocket_key=key, **kwargs))
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._recv()
        self.answer, rest = read_answer(data)
        assert self.answer.status == 101, self.answer
        assert self.answer.headers["sec-websocket-accept"] == accept_for(key)
        self._reader = WebSocketReader()
        self._frames = self._reader.feed(rest)

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.socket.close()

    def send(self, opcode: int, payload: bytes = b"") -> None:
        """Send one frame."""
        self.socket.sendall(ws_frame(opcode, payload))

    def read(self) -> WsFrame:
        """Wait for the next frame; pings are answered on the way."""
        while True:
            while not self._frames:
                self._frames = self._reader.feed(self._recv())
            frame = self._frames.pop(0)
            if frame.opcode != PING:
                return frame
            self.send(PONG, frame.payload)

    def _recv(self) -> bytes:
        data = self.socket.recv(1 << 18)
        assert data, "the server closed the connection"
        return data
