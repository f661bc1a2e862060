"""A client of a broker in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from rtchat.core.stomp.frames import Frame, HeaderValue, Version, body_bytes, encode, header_values
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.net.connection.memory_transport import MemoryTransport
from rtchat.net.stomp.server import StompFactory
from rtchat.testing.errors import Closed, NothingReceived, Refused, error_text

__all__ = ["Client"]


class Client:
    """A connection to a broker in memory, created by its ``connect()``.

    Names of headers that are given as arguments have ``_`` for ``-``. A header, an id or the name
    of a transaction may be a str, an int or a bool: ``prefetch_count=1``, ``persistent=True``.

    Attributes:
        session: The ``session`` header of CONNECTED; "" before login.
    """

    def __init__(
        self, factory: StompFactory, number: int, address: str, settle: Callable[[], None]
    ) -> None:
        self.session = ""
        self._version = Version.V12
        self._parser = FrameParser(
            Limits(
                max_login_bytes=1024 * 1024,
                max_frame_bytes=max(factory.limits.max_frame_bytes, Limits().max_frame_bytes),
                max_headers=2 * factory.limits.max_headers,
                max_header_bytes=2 * factory.limits.max_header_bytes,
            )
        )
        self._frames: list[Frame] = []
        self._error: Frame | None = None
        self._counter = 0
        self._transactions = 0
        self._settle = settle
        self._transport = MemoryTransport(number, address)
        self._protocol = factory.buildProtocol(self._transport.getPeer())
        self._transport.on_close = self._connection_lost
        self._protocol.makeConnection(self._transport)

    def log_in(
        self, version: str, heartbeat: tuple[int, int], headers: Mapping[str, HeaderValue]
    ) -> None:
        """Send CONNECT and receive CONNECTED.

        Raises:
            Refused: The server answered ERROR.
        """
        self.transmit(
            "CONNECT",
            {
                "accept-version": version,
                "host": "test",
                "heart-beat": f"{heartbeat[0]},{heartbeat[1]}",
                **headers,
            },
        )
        connected = self.receive("CONNECTED")
        self._version = Version(connected.headers["version"])
        self._parser.log_in(self._version)
        self.session = connected.headers["session"]

    # Sending

    def send(self, destination: str, body: bytes | str = b"", **headers: HeaderValue) -> None:
        """Send a message.

        Args:
            destination: The destination.
            body: The body; text is sent as UTF-8.
            headers: Additional headers, such as ``reply_to``, ``transaction`` or ``receipt``.

        Raises:
            Closed: The server has closed the connection.
            TypeError: The body or a header has a type that cannot be sent.
        """
        data = body_bytes(body)
        self.transmit(
            "SEND",
            {"destination": destination, "content-length": len(data), **_named(headers)},
            data,
        )

    def subscribe(
        self, destination: str, subscription_id: HeaderValue = "", **headers: HeaderValue
    ) -> str:
        """Subscribe to a destination; return the subscription's id, by default a new one.

        Raises:
            Closed: The server has closed the connection.
            TypeError: A header has a type that cannot be sent.
        """
        if subscription_id == "":
            self._counter += 1
            subscription_id = f"sub-{self._counter}"
        named = {"id": subscription_id, "destination": destination, **_named(headers)}
        self.transmit("SUBSCRIBE", named)
        return header_values(named)["id"]

    def unsubscribe(self, subscription_id: HeaderValue, **headers: HeaderValue) -> None:
        """End a subscription."""
        self.transmit("UNSUBSCRIBE", {"id": subscription_id, **_named(headers)})

    def ack(self, message: Frame, transaction: HeaderValue = "", **headers: HeaderValue) -> None:
        """Acknowledge a message, in a transaction if one is named."""
        self.transmit("ACK", {**self._ack_headers(message, transaction), **_named(headers)})

    def nack(
        self,
        message: Frame,
        transaction: HeaderValue = "",
        *,
        requeue: bool = True,
        **headers: HeaderValue,
    ) -> None:
        """Reject a message; with ``requeue`` it may be redelivered."""
        named = {**self._ack_headers(message, transaction), **_named(headers)}
        self.transmit("NACK", named if requeue else {**named, "requeue": False})

    def begin(self, transaction: HeaderValue = "", **headers: HeaderValue) -> str:
        """Begin a transaction; return its name, by default a new one.

        Pass the name to :meth:`send`, :meth:`ack` and :meth:`nack` as ``transaction``.
        """
        if transaction == "":
            self._transactions += 1
            transaction = f"tx-{self._transactions}"
        named = {"transaction": transaction, **_named(headers)}
        self.transmit("BEGIN", named)
        return header_values(named)["transaction"]

    def commit(self, transaction: HeaderValue, **headers: HeaderValue) -> None:
        """Carry out all that was sent in a transaction."""
        self.transmit("COMMIT", {"transaction": transaction, **_named(headers)})

    def abort(self, transaction: HeaderValue, **headers: HeaderValue) -> None:
        """Forget all that was sent in a transaction."""
        self.transmit("ABORT", {"transaction": transaction, **_named(headers)})

    def beat(self) -> None:
        """Send a heart-beat."""
        self.transmit_bytes(b"\n")

    def disconnect(self) -> None:
        """Send DISCONNECT, receive its RECEIPT, and close the connection.

        Raises:
            Refused: The server answered ERROR.
        """
        self.transmit("DISCONNECT", {"receipt": "bye"})
        self.receive("RECEIPT")
        self.drop()

    def drop(self) -> None:
        """Break the connection without DISCONNECT."""
        if not self._transport.is_closed:
            self._transport.is_closed = True
            self._connection_lost(Failure(ConnectionLost()))
            self._settle()

    def stall(self) -> None:
        """Stop reading, so that the server's output is buffered."""
        self._transport.is_stalled = True

    def read_on(self) -> None:
        """Continue reading, beginning with the buffered output."""
        self._transport.is_stalled = False
        self._transport.drain()
        self._settle()

    def transmit(
        self,
        command: str,
        headers: Mapping[str, HeaderValue] | None = None,
        body: bytes | str = b"",
    ) -> None:
        """Send any frame.

        Raises:
            Closed: The server has closed the connection.
            TypeError: The body or a header has a type that cannot be sent.
        """
        values = header_values(headers or {})
        self.transmit_bytes(encode(command, values, body_bytes(body), self._version))

    def transmit_bytes(self, data: bytes) -> None:
        """Send any bytes.

        Raises:
            Closed: The server has closed the connection.
        """
        if self._transport.is_closed:
            self._collect()
            raise Closed(self._error)
        self._transport.to_server(data, self._protocol.dataReceived)
        self._settle()

    # Receiving

    def receive(self, command: str = "MESSAGE") -> Frame:
        """Remove and return the next frame from the server.

        Args:
            command: The expected command.

        Raises:
            Refused: The frame is an ERROR, and the test expects another command.
            NothingReceived: There is no frame, or it has another command.
        """
        self._collect()
        if not self._frames:
            raise NothingReceived(f"the server has not sent a {command}{self._end_text()}")
        frame = self._frames[0]
        if frame.command == "ERROR" and command != "ERROR":
            raise Refused(self._frames.pop(0))
        if frame.command != command:
            raise NothingReceived(
                f"the server has sent a {frame.command}, not a {command}: {frame!r}", frame
            )
        return self._frames.pop(0)

    def received(self) -> Iterator[Frame]:
        """Remove and return all frames that the server has sent."""
        self._collect()
        frames, self._frames = self._frames, []
        return iter(frames)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed."""
        return self._transport.is_closed

    @property
    def is_paused(self) -> bool:
        """Whether the server has stopped reading from this client, as when a queue is full."""
        return self._transport.is_paused

    @property
    def heartbeats(self) -> int:
        """The number of heart-beats that the server has sent."""
        return self._transport.heartbeats

    def _collect(self) -> None:
        if self._transport.is_stalled:
            return
        data = bytes(self._transport.from_server)
        self._transport.from_server.clear()
        if data:
            self._parser.feed(data)
        frame = self._parser.next_frame()
        while frame is not None:
            if frame.command == "ERROR":
                self._error = frame
            self._frames.append(frame)
            frame = self._parser.next_frame()

    def _end_text(self) -> str:
        """Return how the connection has ended, to be added to a sentence; "" if it is open."""
        if not self.is_closed:
            return ""
        return "; the connection is closed" + (
            f" after ERROR: {error_text(self._error)}" if self._error is not None else ""
        )

    def _ack_headers(self, message: Frame, transaction: HeaderValue) -> dict[str, HeaderValue]:
        headers: dict[str, HeaderValue] = {} if transaction == "" else {"transaction": transaction}
        if self._version is Version.V12:
            return {"id": message.headers["ack"], **headers}
        return {
            "message-id": message.headers["message-id"],
            "subscription": message.headers.get("subscription", ""),
            **headers,
        }

    def _connection_lost(self, reason: Failure) -> None:
        self._protocol.connectionLost(reason)


def _named(headers: Mapping[str, HeaderValue]) -> dict[str, HeaderValue]:
    """Return headers that were given as arguments, with hyphens in their names."""
    return {name.replace("_", "-"): value for name, value in headers.items()}
