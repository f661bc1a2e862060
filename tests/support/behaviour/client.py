"""A small STOMP client that hides nothing: what it sends may be wrong on purpose."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from support.behaviour.streams import DEADLINE_S, Stream

__all__ = ["ABSENCE_S", "Client", "Frame", "Headers", "pairs_of", "wire_frame"]

ABSENCE_S = 0.3
"""How long to listen before saying that nothing comes."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPES.items()}
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_NEVER_ESCAPED = ("CONNECT", "STOMP", "CONNECTED")


@dataclass(frozen=True)
class Frame:
    """One frame from the server.

    Attributes:
        command: ``MESSAGE``, …
        pairs: Its headers as they came, unescaped, repeated ones included.
        body: The body.
        head: The bytes before the blank line, as they came.
    """

    command: str
    pairs: tuple[tuple[str, str], ...]
    body: bytes
    head: bytes

    def __getitem__(self, name: str) -> str:
        """Give a header's value; the first, if it is repeated."""
        value = self.get(name)
        assert value is not None, f"no header {name} in {self.head!r}"
        return value

    def __contains__(self, name: str) -> bool:
        """Whether it has a header."""
        return any(key == name for key, _ in self.pairs)

    def get(self, name: str) -> str | None:
        """Give a header's value, or None."""
        return next((value for key, value in self.pairs if key == name), None)


def pairs_of(headers: Headers) -> list[tuple[str, str]]:
    """Give headers one by one; repeated ones are possible in a list only."""
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def wire_frame(command: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """Give a frame's bytes in STOMP 1.2; no header is added."""
    pairs = pairs_of(headers)
    if command not in _NEVER_ESCAPED:
        pairs = [(_escape(name), _escape(value)) for name, value in pairs]
    lines = "".join(f"{name}:{value}\n" for name, value in pairs)
    return f"{command}\n{lines}\n".encode() + body + b"\0"


class Client:
    """One connection to the broker.

    Attributes:
        connected: The CONNECTED frame, once there is one.
        eols: How many ends of line came between frames: heart-beats.
        is_closed: Whether the server has closed the connection.
        stream: What is underneath.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.connected: Frame | None = None
        self.eols = 0
        self.is_closed = False
        self._buffer = b""
        self._inbox: list[Frame] = []
        self._escapes = True
        self._receipts = 0

    # Sending

    def send(self, command: str, headers: Headers = (), body: bytes = b"") -> None:
        """Send a frame."""
        self.stream.send(wire_frame(command, headers, body))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.stream.send(data)

    def close(self) -> None:
        """Go without a word of STOMP."""
        self.stream.close()

    # Receiving

    def frame(self, timeout_s: float = DEADLINE_S) -> Frame:
        """Give the next frame.

        Raises:
            TimeoutError: None came in time.
            EOFError: The server has closed the connection.
        """
        until = time.monotonic() + timeout_s
        while True:
            frame = self._take()
            if frame is not None:
                return frame
            if self.is_closed:
                raise EOFError(f"connection closed; left over: {self._buffer[:200]!r}")
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(
                    f"no frame within {timeout_s:g} s; so far {self._buffer[:200]!r}"
                )
            self._receive(left_s)

    def expect(self, command: str, timeout_s: float = DEADLINE_S) -> Frame:
        """Give the next frame, which has to be of a kind; MESSAGE frames may wait meanwhile."""
        if command == "MESSAGE" and self._inbox:
            return self._inbox.pop(0)
        until = time.monotonic() + timeout_s
        while True:
            frame = self.frame(until - time.monotonic())
            if frame.command == command:
                return frame
            if frame.command != "MESSAGE":
                raise AssertionError(f"{command} expected, {_shown(frame)} came")
            self._inbox.append(frame)

    def message(self, timeout_s: float = DEADLINE_S) -> Frame:
        """Give the next MESSAGE."""
        return self.expect("MESSAGE", timeout_s)

    def messages(self, count: int) -> list[Frame]:
        """Give so many MESSAGE frames."""
        return [self.message() for _ in range(count)]

    def expect_nothing(self, for_s: float = ABSENCE_S) -> None:
        """Make sure that no frame comes, and that the connection stays."""
        assert not self._inbox, f"unexpected: {_shown(self._inbox[0])}"
        try:
            frame = self.frame(for_s)
        except TimeoutError:
            return
        except EOFError:
            raise AssertionError("the server closed the connection") from None
        raise AssertionError(f"unexpected: {_shown(frame)}")

    def expect_close(self, timeout_s: float = DEADLINE_S) -> None:
        """Make sure that the server closes, and says nothing further before it does."""
        try:
            frame = self.frame(timeout_s)
        except EOFError:
            return
        except TimeoutError:
            raise AssertionError(f"not closed within {timeout_s:g} s") from None
        raise AssertionError(f"closed connection expected, {_shown(frame)} came")

    def expect_error(self) -> Frame:
        """Give the ERROR that comes next; receipts of earlier frames may come before it."""
        try:
            while True:
                frame = self.frame()
                if frame.command == "ERROR":
                    return frame
                assert frame.command in ("MESSAGE", "RECEIPT"), f"unexpected: {_shown(frame)}"
        except EOFError:
            raise AssertionError("closed without an ERROR") from None
        except TimeoutError:
            raise AssertionError("no ERROR came") from None

    def expect_refusal(self) -> None:
        """Make sure that the server ends the connection, in words or without."""
        try:
            error = self.frame()
        except EOFError:
            return
        except TimeoutError:
            raise AssertionError("neither an ERROR nor the end came") from None
        assert error.command == "ERROR", f"unexpected: {_shown(error)}"
        self.expect_close()

    def expect_error_and_close(self) -> Frame:
        """Give the ERROR that comes next, and make sure that the server closes then."""
        error = self.expect_error()
        self.expect_close()
        return error

    # Conversations

    def connect(self, headers: Headers, command: str = "CONNECT") -> Frame:
        """Log in."""
        self.send(command, headers)
        frame = self.connected = self.expect("CONNECTED")
        self._escapes = frame.get("version") not in (None, "1.0")
        return frame

    def ask(self, command: str, headers: Headers = (), body: bytes = b"") -> Frame:
        """Send a frame with a receipt, and wait for that."""
        self._receipts += 1
        receipt = f"receipt-{self._receipts}"
        self.send(command, [*pairs_of(headers), ("receipt", receipt)], body)
        frame = self.expect("RECEIPT")
        assert frame["receipt-id"] == receipt, f"{receipt} expected, {_shown(frame)} came"
        return frame

    def subscribe(
        self, destination: str, headers: Headers = (), subscription_id: str = "1"
    ) -> None:
        """Subscribe, and wait until it is in place."""
        self.ask(
            "SUBSCRIBE", [("id", subscription_id), ("destination", destination), *pairs_of(headers)]
        )

    def publish(self, destination: str, body: bytes = b"", headers: Headers = ()) -> None:
        """Send a message, and wait until the server has it."""
        length = [("content-length", str(len(body)))]
        self.ask("SEND", [("destination", destination), *length, *pairs_of(headers)], body)

    def ack(self, message: Frame, headers: Headers = (), command: str = "ACK") -> None:
        """Acknowledge a message (or refuse it), and wait until the server knows."""
        self.ask(command, [("id", message["ack"]), *pairs_of(headers)])

    # Bytes

    def _receive(self, timeout_s: float) -> None:
        try:
            data = self.stream.receive(timeout_s)
        except TimeoutError:
            return
        if not data:
            self.is_closed = True
        self._buffer += data

    def _take(self) -> Frame | None:
        rest = self._buffer.lstrip(b"\r\n")
        self.eols += self._buffer[: len(self._buffer) - len(rest)].count(b"\n")
        self._buffer = rest
        end = _END_OF_HEAD.search(rest)
        if end is None:
            return None
        head = rest[: end.start()]
        command, *lines = re.split(r"\r?\n", head.decode())
        escapes = self._escapes and command not in _NEVER_ESCAPED
        pairs = tuple(_pair(line, escapes=escapes) for line in lines)
        frame = Frame(command, pairs, b"", head)
        length = frame.get("content-length")
        stop = rest.find(b"\0", end.end()) if length is None else end.end() + int(length)
        if stop < 0 or stop >= len(rest):
            return None
        assert rest[stop] == 0, f"no NUL after content-length bytes: {head!r}"
        self._buffer = rest[stop + 1 :]
        return replace(frame, body=rest[end.end() : stop])


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _pair(line: str, *, escapes: bool) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    assert colon, f"header line without a colon: {line!r}"
    return (_unescape(name), _unescape(value)) if escapes else (name, value)


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        assert match.group() in _PLAIN, f"undefined escape in {text!r}"
        return _PLAIN[match.group()]

    return re.sub(r"\\.?", plain, text)


def _shown(frame: Frame) -> str:
    return f"{frame.head!r} with the body {frame.body[:200]!r}"
