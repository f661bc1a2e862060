"""A broker for test suites: in this process, in memory, with a clock that the test moves.

::

    from rtchat.testing import Broker

    broker = Broker()
    worker = broker.connect()
    worker.subscribe("/queue/jobs", ack="client-individual")
    broker.connect().send("/queue/jobs", "job 1")
    job = worker.receive()
    worker.drop()                                   # the worker dies before its ACK
    again = broker.connect()
    again.subscribe("/queue/jobs")
    assert again.receive().headers["redelivered"] == "true"

Everything but the socket and the time is the server's own: the same sessions, queues, limits and
timers. Nothing sleeps: ``broker.advance(30)`` is half a minute of heart-beats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IProducer, IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rtchat.core.broker.broker import Broker as CoreBroker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.notices import Notice, Notices
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.stomp.frames import HEARTBEAT, Frame, Version, encode
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import RtchatError
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.server import StompFactory

__all__ = ["Broker", "Client", "Closed", "NothingReceived", "Notice", "Refused"]

_SOCKET_BYTES = 256 * 1024
"""What a stalled client's socket takes before the server notices that nobody reads."""


class NothingReceived(RtchatError, AssertionError):
    """A test waits for a frame, and the server has not sent one."""


class Closed(RtchatError, AssertionError):
    """A test uses a connection that the server has closed."""


class Refused(RtchatError):
    """The server answered ERROR.

    Args:
        frame: The ERROR.
    """

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.headers.get("message", "ERROR"))
        self.frame = frame


class Broker:
    """A STOMP broker without sockets.

    Args:
        limits: What each client may use; the server's defaults when left out.
        broker_limits: What all clients share.
        chat: What holds for people and rooms.
        start_s: What time it is, in seconds since 1970.

    Attributes:
        clock: The time; :meth:`advance` moves it.
        notices: What the server would have logged about queues, in order.
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
        headers: Mapping[str, str] | None = None,
    ) -> Client:
        """Connect a client and log it in.

        Args:
            version: The STOMP version to speak.
            heartbeat: What the client offers and wants, in milliseconds. It sends none by
                itself: call :meth:`Client.beat`.
            headers: More headers for CONNECT.

        Raises:
            Refused: The server answered ERROR.
        """
        client = self.connect_raw()
        client.log_in(version, heartbeat, headers or {})
        return client

    def connect_raw(self) -> Client:
        """Connect a client that has not said CONNECT yet."""
        self._clients += 1
        return Client(self._factory, self._clients)

    def advance(self, seconds: float) -> None:
        """Let time pass; every timer that is due runs when it is due."""
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

    @property
    def held_messages(self) -> int:
        """How many messages all queues hold, unacknowledged ones included."""
        return self._core.statistics.queued_count

    @property
    def subscriptions(self) -> int:
        """How many subscriptions there are."""
        return self._core.statistics.subscription_count

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._factory.protocols)


class Client:
    """One connection to a :class:`Broker`; made by :meth:`Broker.connect`.

    Attributes:
        session: The id the server gave at login.
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
        self._framing = _MemoryWire(number)
        self._protocol = factory.buildProtocol(self._framing.getPeer())
        self._framing.close = self._lost
        self._protocol.makeConnection(self._framing)

    def log_in(self, version: str, heartbeat: tuple[int, int], headers: Mapping[str, str]) -> None:
        """Send CONNECT and take CONNECTED.

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

    # What a client does

    def send(self, destination: str, body: bytes | str = b"", **headers: str) -> None:
        """Send a message; ``reply_to="…"`` becomes the header ``reply-to``."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.transmit(
            "SEND", {"destination": destination, "content-length": str(len(data)), **named}, data
        )

    def subscribe(self, destination: str, subscription_id: str = "", **headers: str) -> str:
        """Subscribe; give the subscription's id."""
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
        self.transmit("ACK", self._naming(message, transaction))

    def nack(self, message: Frame, transaction: str = "", *, requeue: bool = True) -> None:
        """Give a message back."""
        headers = self._naming(message, transaction)
        self.transmit("NACK", headers if requeue else {**headers, "requeue": "false"})

    def beat(self) -> None:
        """Send a heart-beat."""
        self.transmit_bytes(b"\n")

    def disconnect(self) -> None:
        """Leave politely: DISCONNECT, and wait for its receipt.

        Raises:
            Refused: The server answered ERROR.
        """
        self.transmit("DISCONNECT", {"receipt": "bye"})
        self.receive("RECEIPT")
        self.drop()

    def drop(self) -> None:
        """Break the connection without a word."""
        if not self._framing.is_closed:
            self._framing.is_closed = True
            self._lost(Failure(ConnectionLost()))

    def stall(self) -> None:
        """Stop reading: what the server sends piles up."""
        self._framing.is_stalled = True

    def read_on(self) -> None:
        """Read again, all that piled up first."""
        self._framing.is_stalled = False
        self._framing.drain()

    def transmit(
        self, command: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Send any frame.

        Raises:
            Closed: The server has closed the connection.
        """
        self.transmit_bytes(encode(command, headers or {}, body, self._version))

    def transmit_bytes(self, data: bytes) -> None:
        """Send any bytes.

        Raises:
            Closed: The server has closed the connection.
        """
        if self._framing.is_closed:
            raise Closed("the server has closed this connection")
        self._framing.to_server(data, self._protocol.dataReceived)

    # What a client gets

    def receive(self, command: str = "MESSAGE") -> Frame:
        """Take the next frame.

        Raises:
            Refused: It is an ERROR, and the test waits for something else.
            NothingReceived: There is none, or it is of another kind.
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
        """Take all frames that are there."""
        self._collect()
        frames, self._frames = self._frames, []
        return iter(frames)

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._framing.is_closed

    @property
    def is_paused(self) -> bool:
        """Whether the server does not read from this client now: a queue is full."""
        return self._framing.is_paused

    @property
    def heartbeats(self) -> int:
        """How many heart-beats the server has sent."""
        return self._framing.heartbeats

    def _collect(self) -> None:
        if self._framing.is_stalled:
            return
        data = bytes(self._framing.from_server)
        self._framing.from_server.clear()
        if data:
            self._parser.feed(data)
        frame = self._parser.next_frame()
        while frame is not None:
            self._frames.append(frame)
            frame = self._parser.next_frame()

    def _naming(self, message: Frame, transaction: str) -> dict[str, str]:
        headers = {"transaction": transaction} if transaction else {}
        if self._version is Version.V12:
            return {"id": message.headers["ack"], **headers}
        return {
            "message-id": message.headers["message-id"],
            "subscription": message.headers.get("subscription", ""),
            **headers,
        }

    def _lost(self, reason: Failure) -> None:
        self._protocol.connectionLost(reason)


class _MemoryWire:
    """A transport whose other end is the test."""

    def __init__(self, number: int) -> None:
        self.from_server = bytearray()
        self.heartbeats = 0
        self.is_stalled = False
        self.is_closed = False
        self.is_paused = False
        self.disconnecting = False
        self.close = _ignore
        self._number = number
        self._to_server: list[bytes] = []
        self._producer: IPushProducer | None = None
        self._is_producer_paused = False
        self._receive = _ignore_bytes

    def to_server(self, data: bytes, receive: object) -> None:
        """Carry the client's bytes, now or when the server reads again."""
        self._receive = receive  # type: ignore[assignment]
        self._to_server.append(data)
        self._carry()

    def drain(self) -> None:
        """The client has read everything."""
        if self._producer is not None and self._is_producer_paused:
            self._is_producer_paused = False
            self._producer.resumeProducing()

    def _carry(self) -> None:
        while self._to_server and not (self.is_paused or self.is_closed):
            self._receive(self._to_server.pop(0))

    # What the server sees

    def write(self, data: bytes) -> None:
        """Take the server's bytes."""
        self.from_server += data
        if data == HEARTBEAT:
            self.heartbeats += 1
        is_full = self.is_stalled and len(self.from_server) > _SOCKET_BYTES
        if is_full and self._producer is not None and not self._is_producer_paused:
            self._is_producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: list[bytes]) -> None:
        """Take the server's bytes in pieces."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """The server closes."""
        self.disconnecting = True
        if not self.is_closed:
            self.is_closed = True
            self.close(Failure(ConnectionDone()))

    def loseWriteConnection(self) -> None:
        """The server closes its direction; in memory that is the end."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """The server cuts."""
        self.loseConnection()

    def pauseProducing(self) -> None:
        """The server does not read."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """The server reads again."""
        self.is_paused = False
        self._carry()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Remember whom to pause."""
        self._producer = IPushProducer(producer)

    def unregisterProducer(self) -> None:
        """Forget whom to pause."""
        self._producer = None

    def getPeer(self) -> IAddress:
        """Give an address that shows in logs."""
        return IPv4Address("TCP", "127.0.0.1", self._number)

    getHost = getPeer


def _ignore(reason: Failure) -> None:
    """Nobody has asked yet."""


def _ignore_bytes(data: bytes) -> None:
    """Nobody has asked yet."""
