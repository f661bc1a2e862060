"""A STOMP client of the tests' own: raw bytes out, frames in, nothing hidden."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field

__all__ = ["Frame", "Wire"]

_WITHIN_S = 10.0


@dataclass(frozen=True)
class Frame:
    """A frame as it came; header values are not unescaped."""

    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Wire:
    """One connection to the broker.

    Args:
        port: The broker's.
        receive_buffer_bytes: How much the system keeps for a client that does not read;
            0 leaves it to the system.
        source: The address to connect from.
    """

    def __init__(
        self, port: int, *, receive_buffer_bytes: int = 0, source: str = "127.0.0.1"
    ) -> None:
        self._socket = socket.socket()
        if receive_buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.bind((source, 0))
        self._socket.settimeout(_WITHIN_S)
        self._socket.connect(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._buffer = bytearray()
        self.is_ended = False

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, data: bytes | str) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data.encode() if isinstance(data, str) else data)

    def finish(self) -> None:
        """Send no more."""
        self._socket.shutdown(socket.SHUT_WR)

    def connect(self, version: str = "1.2", **headers: str) -> Frame:
        """Log in."""
        more = "".join(f"{name.replace('_', '-')}:{value}\n" for name, value in headers.items())
        self.send(f"CONNECT\naccept-version:{version}\nhost:test\n{more}\n\0")
        frame = self.frame()
        assert frame.command == "CONNECTED", frame
        return frame

    def subscribe(self, destination: str, name: str = "sub-0") -> None:
        """Subscribe and wait for the receipt."""
        self.send(f"SUBSCRIBE\nid:{name}\ndestination:{destination}\nreceipt:ready-{name}\n\n\0")
        frame = self.frame()
        assert frame.headers.get("receipt-id") == f"ready-{name}", frame

    def publish(self, destination: str, body: bytes | str) -> None:
        """Send a message."""
        data = body.encode() if isinstance(body, str) else body
        head = f"SEND\ndestination:{destination}\ncontent-length:{len(data)}\n\n"
        self.send(head.encode() + data + b"\0")

    def frame(self, within_s: float = _WITHIN_S) -> Frame:
        """Give the next frame; heart-beats are passed over."""
        deadline = time.monotonic() + within_s
        while True:
            frame = self._next()
            if frame is not None:
                return frame
            assert not self.is_ended, f"the server closed; it had sent {bytes(self._buffer)!r}"
            self._read(deadline)

    def rest(self, within_s: float = _WITHIN_S) -> list[Frame]:
        """Give all frames until the server closes."""
        deadline = time.monotonic() + within_s
        while not self.is_ended:
            self._read(deadline)
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        assert not self._buffer.strip(b"\r\n"), (
            f"half a frame at the end: {bytes(self._buffer[:200])!r}"
        )
        return frames

    def raw(self, within_s: float = _WITHIN_S) -> bytes:
        """Give the next bytes as they come, b"" at the end."""
        if not self._buffer and not self.is_ended:
            self._read(time.monotonic() + within_s)
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _read(self, deadline: float) -> None:
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            data = self._socket.recv(1 << 20)
        except TimeoutError:
            raise AssertionError(
                f"nothing came; before that {bytes(self._buffer[:200])!r}"
            ) from None
        self._buffer += data
        self.is_ended = not data

    def _next(self) -> Frame | None:
        buffer = self._buffer
        while buffer and buffer[0] in b"\r\n":
            del buffer[0]
        head_end = buffer.find(b"\n\n")
        if head_end < 0:
            return None
        command, *lines = buffer[:head_end].decode().split("\n")
        assert re.fullmatch("[A-Z]+", command), f"no command: {buffer[:200]!r}"
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name, value)
        begin = head_end + 2
        length = headers.get("content-length")
        end = begin + int(length) if length is not None else buffer.find(0, begin)
        if end < 0 or end >= len(buffer):
            return None
        assert buffer[end] == 0, f"no NUL after the body: {buffer[:200]!r}"
        frame = Frame(command, headers, bytes(buffer[begin:end]))
        del buffer[: end + 1]
        return frame
