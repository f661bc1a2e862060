"""A small STOMP client that hides nothing: what it sends may be wrong on purpose."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from support.sockets import Stream
from support.stomp import Frame, StompReader
from support.wire import Connection

__all__ = ["ABSENCE_S", "DEADLINE_S", "Client", "Frame", "Headers", "pairs_of", "wire_frame"]

DEADLINE_S = 5.0
"""How long anything may take that has to happen."""

ABSENCE_S = 0.3
"""How long to listen before saying that nothing comes."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]

_ESCAPES = {"\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c"}
_NEVER_ESCAPED = ("CONNECT", "STOMP", "CONNECTED")


def pairs_of(headers: Headers) -> list[tuple[str, str]]:
    """Return headers one by one; repeated ones are possible in a list only."""
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def wire_frame(command: str, headers: Headers = (), body: bytes = b"") -> bytes:
    """Return a frame's bytes in STOMP 1.2; no header is added."""
    pairs = pairs_of(headers)
    if command not in _NEVER_ESCAPED:
        pairs = [(_escape(name), _escape(value)) for name, value in pairs]
    lines = "".join(f"{name}:{value}\n" for name, value in pairs)
    return f"{command}\n{lines}\n".encode() + body + b"\0"


class Client(Connection):
    """One connection to the broker under test, which may be any broker.

    A stream that the other side has closed takes bytes and forgets them; what counts is what the
    server says and whether it closes.

    Attributes:
        connected: The CONNECTED frame, once there is one.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, StompReader("1.2", is_tolerant=True))
        self.connected: Frame | None = None
        self._inbox: list[Frame] = []
        self._receipts = 0

    # Sending

    def send(self, command: str, headers: Headers = (), body: bytes = b"") -> None:
        """Send a frame."""
        self.send_bytes(wire_frame(command, headers, body))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        with suppress(ConnectionError):
            super().send_bytes(data)

    # Receiving

    @property
    def eols(self) -> int:
        """How many line ends came between frames: heart-beats."""
        return self._reader.eols

    @eols.setter
    def eols(self, count: int) -> None:
        self._reader.eols = count

    def frame(self, timeout_s: float = DEADLINE_S) -> Frame:
        """Return the next frame.

        Raises:
            TimeoutError: None came in time.
            EOFError: The server has closed the connection.
        """
        return self.next_frame(timeout_s)

    def expect(self, command: str, timeout_s: float = DEADLINE_S) -> Frame:
        """Return the next frame, which has to be of a kind; MESSAGE frames may wait meanwhile."""
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
        """Return the next MESSAGE."""
        return self.expect("MESSAGE", timeout_s)

    def messages(self, count: int) -> list[Frame]:
        """Return so many MESSAGE frames."""
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
        """Return the ERROR that comes next; receipts of earlier frames may come before it."""
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
        """Return the ERROR that comes next, and make sure that the server closes then."""
        error = self.expect_error()
        self.expect_close()
        return error

    # Conversations

    def connect(self, headers: Headers, command: str = "CONNECT") -> Frame:
        """Log in."""
        self.send(command, headers)
        frame = self.connected = self.expect("CONNECTED")
        self._reader.version = frame.get("version") or "1.0"
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

    def _receive(self, within_s: float) -> None:
        try:
            super()._receive(within_s)
        except ConnectionError:
            self.is_closed = True


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _shown(frame: Frame) -> str:
    return f"{frame.head!r} with the body {frame.body[:200]!r}"
