"""An in-memory broker for test suites, in the process of the test and with a simulated clock.

::

    from rtchat.testing import Broker

    broker = Broker()
    worker = broker.connect()
    worker.subscribe("/queue/jobs", ack="client-individual")
    broker.connect().send("/queue/jobs", "job 1")
    job = worker.receive()
    worker.drop()                                   # the worker crashes before its ACK
    again = broker.connect()
    again.subscribe("/queue/jobs")
    assert again.receive().headers["redelivered"] == "true"

Except for sockets and time, everything is the code of the server: sessions, queues, limits, timers.
No test has to sleep: ``broker.advance(30)`` simulates half a minute, heart-beats included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rtchat.core.broker.broker import Broker as CoreBroker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.notices import Notice, Notices
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.stomp.frames import Frame, HeaderValue, Version, body_bytes, encode, header_values
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import RtchatError
from rtchat.net.connection.memory_transport import MemoryTransport
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.server import StompFactory

__all__ = ["Broker", "Client", "Closed", "NothingReceived", "Notice", "Refused"]


class NothingReceived(RtchatError, AssertionError):
    """The server has not sent the frame that the test expects."""


class Closed(RtchatError, AssertionError):
    """The test sends on a connection that is closed."""


class Refused(RtchatError):
    """The server answered ERROR.

    Args:
        frame: The ERROR frame.

    Attributes:
        frame: The ERROR frame.
    """

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.headers.get("message", "ERROR"))
        self.frame = frame


class Broker:
    """A STOMP broker without sockets.

    Args:
        limits: The limits of each session; by default those of a server without settings.
        broker_limits: The limits that all sessions share; the default has no memory budget.
        pubsub: For each ``NAME``, the queues and topics that get a copy of messages to
            ``/pubsub/NAME``.
        chat: The rules for people and rooms.
        start_s: The initial time of the clock, in seconds since 1970.

    Attributes:
        clock: The simulated clock; :meth:`advance` moves it.
        notices: Events of queues that the server would have logged, in order.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        broker_limits: BrokerLimits | None = None,
        *,
        pubsub: Mapping[str, tuple[str, ...]] | None = None,
        chat: ChatPolicy | None = None,
        start_s: float = 1_700_000_000.0,
    ) -> None:
        self.clock = Clock()
        self.clock.rightNow = start_s
        self.notices: list[Notice] = []
        self._core = CoreBroker("test", broker_limits, pubsub=pubsub)
        self._core.events.add(Notices(self.notices))
        open_chat(self._core, chat or ChatPolicy(), JSON)
        self._factory = StompFactory(self._core, limits or Limits(), self.clock)
        self._clients = 0

    def connect(
        self,
        version: str = "1.2",
        *,
        heartbeat: tuple[int, int] = (0, 0),
        headers: Mapping[str, HeaderValue] | None = None,
    ) -> Client:
        """Connect a client and log it in.

        Args:
            version: The client's STOMP version.
            heartbeat: The two intervals that the client offers and wants, in milliseconds. The
                client sends no heart-beats by itself: call :meth:`Client.beat`.
            headers: Additional headers for CONNECT.

        Raises:
            Refused: The server answered ERROR.
        """
        client = self.connect_raw()
        client.log_in(version, heartbeat, headers or {})
        return client

    def connect_raw(self) -> Client:
        """Connect a client without sending CONNECT."""
        self._clients += 1
        return Client(self._factory, self._clients)

    def advance(self, seconds: float) -> None:
        """Advance the clock, running each timer at the time at which it is due."""
        end = self.clock.seconds() + seconds
        while True:
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            following = min((time for time in due if time <= end), default=end)
            self.clock.advance(max(0.0, following - self.clock.seconds()))
            if not any(call.getTime() <= end for call in self.clock.getDelayedCalls()):
                break
        self.clock.advance(max(0.0, end - self.clock.seconds()))
        with self._core.turn:
            self._core.expire()
        _take_turns(self._core)

    @property
    def held_messages(self) -> int:
        """The number of messages in all queues, unacknowledged ones included."""
        return self._core.statistics.queued_count

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions."""
        return self._core.statistics.subscription_count

    @property
    def clients(self) -> int:
        """The number of connected clients."""
        return len(self._factory.protocols)


class Client:
    """A connection to a :class:`Broker`, created by :meth:`Broker.connect`.

    Attributes:
        session: The ``session`` header of CONNECTED; "" before login.
    """

    def __init__(self, factory: StompFactory, number: int) -> None:
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
        self._counter = 0
        self._core = factory.broker
        self._transport = MemoryTransport(number)
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
        """Send a message. Underscores in the names of headers become hyphens (``reply_to``).

        Raises:
            TypeError: The body or a header has a type that cannot be sent.
        """
        data = body_bytes(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.transmit(
            "SEND", {"destination": destination, "content-length": str(len(data)), **named}, data
        )

    def subscribe(self, destination: str, subscription_id: str = "", **headers: HeaderValue) -> str:
        """Subscribe to a destination; return the subscription's id, by default a new one.

        Raises:
            TypeError: A header has a type that cannot be sent.
        """
        self._counter += 1
        subscription_id = subscription_id or f"sub-{self._counter}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.transmit("SUBSCRIBE", {"id": subscription_id, "destination": destination, **named})
        return subscription_id

    def unsubscribe(self, subscription_id: str) -> None:
        """End a subscription."""
        self.transmit("UNSUBSCRIBE", {"id": subscription_id})

    def ack(self, message: Frame, transaction: str = "") -> None:
        """Acknowledge a message."""
        self.transmit("ACK", self._ack_headers(message, transaction))

    def nack(self, message: Frame, transaction: str = "", *, requeue: bool = True) -> None:
        """Reject a message; with ``requeue`` it may be redelivered."""
        headers = self._ack_headers(message, transaction)
        self.transmit("NACK", headers if requeue else {**headers, "requeue": "false"})

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
            _take_turns(self._core)

    def stall(self) -> None:
        """Stop reading, so that the server's output is buffered."""
        self._transport.is_stalled = True

    def read_on(self) -> None:
        """Continue reading, beginning with the buffered output."""
        self._transport.is_stalled = False
        self._transport.drain()
        _take_turns(self._core)

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
            raise Closed("the server has closed this connection")
        self._transport.to_server(data, self._protocol.dataReceived)
        _take_turns(self._core)

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
            raise NothingReceived(f"the server has not sent a {command}")
        frame = self._frames[0]
        if frame.command == "ERROR" and command != "ERROR":
            raise Refused(self._frames.pop(0))
        if frame.command != command:
            raise NothingReceived(f"the server has sent a {frame.command}, not a {command}")
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
            self._frames.append(frame)
            frame = self._parser.next_frame()

    def _ack_headers(self, message: Frame, transaction: str) -> dict[str, str]:
        headers = {"transaction": transaction} if transaction else {}
        if self._version is Version.V12:
            return {"id": message.headers["ack"], **headers}
        return {
            "message-id": message.headers["message-id"],
            "subscription": message.headers.get("subscription", ""),
            **headers,
        }

    def _connection_lost(self, reason: Failure) -> None:
        self._protocol.connectionLost(reason)


def _take_turns(broker: CoreBroker) -> None:
    """Let those go on that have more to do than one turn allows."""
    turns = broker.turn.turns
    while turns:
        turns.begin_round()
