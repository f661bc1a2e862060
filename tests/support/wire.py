"""A STOMP client whose bytes are the test's own: raw bytes out, frames in, nothing hidden."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from support.process import Server
from support.sockets import Stream, TcpStream, WebSocketStream, Where, connect
from support.stomp import Frame, StompReader, frame_bytes, message_bytes
from typing_extensions import Self

__all__ = ["WIRES", "Connection", "Wire", "open_wire", "wire_to"]

WIRES = ("TCP", "WebSocket")
"""The two ways to the broker, for ``parametrize``."""

_WITHIN_S = 10.0


class Connection:
    """One connection to a broker: bytes out, frames in.

    Attributes:
        stream: What is underneath.
        is_closed: Whether the server has closed the connection.
    """

    def __init__(self, stream: Stream, reader: StompReader | None = None) -> None:
        self.stream = stream
        self.is_closed = False
        self._reader = reader or StompReader()

    def close(self) -> None:
        """Close without a word of STOMP."""
        self.stream.close()

    def send_bytes(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.stream.send(data)

    def next_frame(self, within_s: float) -> Frame:
        """Return the next frame; heart-beats are passed over.

        Raises:
            TimeoutError: None came in time.
            EOFError: The server has closed the connection.
        """
        deadline = time.monotonic() + within_s
        while (frame := self._reader.next()) is None:
            if self.is_closed:
                raise EOFError(f"connection closed; left over: {self._reader.rest[:200]!r}")
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(
                    f"no frame within {within_s:g} s; so far {self._reader.rest[:200]!r}"
                )
            try:
                self._receive(left_s)
            except TimeoutError:
                continue
        return frame

    def _receive(self, within_s: float) -> None:
        """Read once, and note the end.

        Raises:
            TimeoutError: Nothing came in time.
        """
        data = self.stream.receive(within_s)
        self.is_closed = not data
        self._reader.feed(data)


class Wire(Connection):
    """One connection to the rtchat under test; header values are not unescaped.

    Args:
        where: The broker, or a stream to it.
        context: What TLS trusts; without it there is no TLS.
        receive_buffer_bytes: How much the system keeps for a client that does not read;
            0 leaves it to the system.
        source: The address to connect from.
    """

    def __init__(
        self,
        where: Where | Stream,
        context: ssl.SSLContext | None = None,
        *,
        receive_buffer_bytes: int = 0,
        source: str = "",
    ) -> None:
        if isinstance(where, int | tuple | Path):
            where = TcpStream(
                connect(
                    where,
                    context=context,
                    receive_buffer_bytes=receive_buffer_bytes,
                    source=(source, 0),
                    timeout_s=_WITHIN_S,
                )
            )
        super().__init__(where)

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # The connection

    @property
    def socket(self) -> socket.socket:
        """The socket underneath."""
        return self.stream.socket

    @property
    def port(self) -> int:
        """The port of this end."""
        port: int = self.socket.getsockname()[1]
        return port

    @property
    def close_code(self) -> int | None:
        """The code with which the server closed a WebSocket, None while it is open."""
        assert isinstance(self.stream, WebSocketStream), "TCP closes without a code"
        return self.stream.close_code

    @property
    def has_data(self) -> bool:
        """Whether something has come that was not read."""
        return bool(self._reader.rest) or self.stream.has_data

    def fileno(self) -> int:
        """Return the socket's number, for ``select``."""
        return self.socket.fileno()

    # Out

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are."""
        self.send_bytes(data.encode() if isinstance(data, str) else data)

    def connect(self, version: str = "1.2", **headers: str) -> Frame:
        """Log in."""
        self.send(frame_bytes("CONNECT", accept_version=version, host="test", **headers))
        frame = self.frame()
        assert frame.command == "CONNECTED", frame
        return frame

    def subscribe(self, destination: str, name: str = "sub-0") -> None:
        """Subscribe and wait for the receipt."""
        receipt = f"ready-{name}"
        self.send(frame_bytes("SUBSCRIBE", id=name, destination=destination, receipt=receipt))
        frame = self.frame()
        assert frame.headers.get("receipt-id") == receipt, frame

    def publish(self, destination: str, body: bytes | str, **headers: str) -> None:
        """Send a message."""
        data = body.encode() if isinstance(body, str) else body
        self.send(message_bytes(destination, data, **headers))

    def ask(self, command: str, **headers: str) -> None:
        """Send a frame and wait for its receipt; nothing else may come before it."""
        self.send(frame_bytes(command, **headers, receipt="asked"))
        frame = self.frame()
        assert frame.headers.get("receipt-id") == "asked", frame

    # In

    def frame(self, within_s: float = _WITHIN_S) -> Frame:
        """Return the next frame; heart-beats are passed over."""
        try:
            return self.next_frame(within_s)
        except (EOFError, TimeoutError) as error:
            raise AssertionError(str(error)) from None

    def rest(self, within_s: float = _WITHIN_S) -> list[Frame]:
        """Return all frames until the server closes."""
        deadline = time.monotonic() + within_s
        while not self.is_closed:
            try:
                self._receive(deadline - time.monotonic())
            except TimeoutError:
                raise AssertionError(
                    f"not closed within {within_s:g} s; so far {self._reader.rest[:200]!r}"
                ) from None
        frames = list(self.waiting())
        left_over = self._reader.rest
        assert not left_over, f"half a frame at the end: {left_over[:200]!r}"
        return frames

    def take(self) -> list[Frame]:
        """Return the frames that are here, if any are."""
        try:
            self._receive(0)
        except TimeoutError:
            return []
        return list(self.waiting())

    def waiting(self) -> Iterator[Frame]:
        """Return the frames that were read already."""
        while (frame := self._reader.next()) is not None:
            yield frame


def wire_to(server: Server, kind: str, *, receive_buffer_bytes: int = 0) -> Wire:
    """Return a connection to a server, over TCP or over its WebSocket."""
    port = server.stomp if kind == "TCP" else server.http
    plain = connect(port, receive_buffer_bytes=receive_buffer_bytes, timeout_s=_WITHIN_S)
    if kind == "TCP":
        return Wire(TcpStream(plain))
    return Wire(WebSocketStream(plain, host=f"localhost:{port}", is_binary=True))


def open_wire(server: Server, kind: str, *, receive_buffer_bytes: int = 0) -> Wire:
    """Return a client that is logged in."""
    wire = wire_to(server, kind, receive_buffer_bytes=receive_buffer_bytes)
    wire.connect()
    return wire
