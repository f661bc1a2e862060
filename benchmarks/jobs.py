"""Fixed work for the guard to count: simulated connections, everything else is real.

The connections accept all bytes, so a job covers the code from ``dataReceived`` to the socket's
``send``. Nothing is random, and no clock advances.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IAddress, IProtocol, IReactorFDSet
from twisted.internet.task import Clock
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.broker.authenticator import Authenticator, Identified, Visitor
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.core.stomp.limits import Limits
from rtchat.core.websocket.deflate import agree
from rtchat.net.stomp.server import StompFactory
from rtchat.net.websocket.factory import WebSockets

__all__ = ["JOBS", "Client", "Job", "Place", "Work"]

_SUBSCRIBERS = 100
_MESSAGES = 20
_BODY = b"x" * 100
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Origin: http://localhost\r\nSec-WebSocket-Key: " + _KEY + b"\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
_MASK = b"\x11\x22\x33\x44"


# -- connections ------------------------------------------------------------------------------


@implementer(IReactorFDSet)
class _NoReactor:
    """Takes note of nothing."""

    def addReader(self, reader: object) -> None:  # noqa: N802
        """Do nothing."""

    def addWriter(self, writer: object) -> None:  # noqa: N802
        """Do nothing."""

    def removeReader(self, reader: object) -> None:  # noqa: N802
        """Do nothing."""

    def removeWriter(self, writer: object) -> None:  # noqa: N802
        """Do nothing."""

    def removeAll(self) -> list[Any]:  # noqa: N802
        """Return nothing."""
        return []

    getReaders = getWriters = removeAll  # noqa: N815


class _Socket(FileDescriptor):
    """A plain socket whose peer reads everything at once."""

    def __init__(self) -> None:
        super().__init__(_NoReactor())
        self.connected = 1
        self.sent: list[bytes] = []

    @override
    def writeSomeData(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    @override
    def getPeer(self) -> IAddress:
        return IPv4Address("TCP", "192.0.2.1", 54321)

    @override
    def getHost(self) -> IAddress:
        return IPv4Address("TCP", "192.0.2.2", 61613)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        """Do nothing."""


class Client:
    """A logged-in client, on TCP or on a WebSocket."""

    def __init__(self, place: Place, wire: str) -> None:
        self.socket = _Socket()
        self._wire = wire
        address = self.socket.getPeer()
        if wire == "tcp":
            protocol: Any = place.factory.buildProtocol(address)
            protocol.makeConnection(self.socket)
        else:
            protocol = place.websockets.buildProtocol(address)
            protocol.makeConnection(self.socket)
            offer = "permessage-deflate" if wire == "deflate" else ""
            protocol.accept(_UPGRADE, "v12.stomp", agree(offer).deflate)
            # The answer to the handshake waits in the transport, as in a real one.
            for _ in range(3):
                self.socket.doWrite()
        self._protocol: IProtocol = protocol
        self.say(b"CONNECT\naccept-version:1.2\nhost:localhost\nheart-beat:0,0\n\n\0")
        assert b"CONNECTED" in b"".join(self.socket.sent) or wire == "deflate", self.socket.sent
        self.socket.sent.clear()

    def pack(self, *frames: bytes) -> bytes:
        """Return the frames as bytes on the wire, to be received in one read."""
        if self._wire == "tcp":
            return b"".join(frames)
        return b"".join(map(_masked, frames))

    def say(self, *frames: bytes) -> None:
        """Send frames in one read."""
        self.receive(self.pack(*frames))

    def receive(self, data: bytes) -> None:
        """Pass bytes to the server."""
        self._protocol.dataReceived(data)

    def subscribe(self, destination: str, headers: str = "", name: str = "sub-0") -> None:
        """Subscribe."""
        self.say(f"SUBSCRIBE\nid:{name}\ndestination:{destination}\n{headers}\n\0".encode())

    @property
    def messages(self) -> int:
        """The number of MESSAGE frames received."""
        return sum(data.count(b"MESSAGE\n") for data in self.socket.sent)


def _masked(payload: bytes) -> bytes:
    """Return a text message as a browser sends it."""
    size = len(payload)
    head = bytes([0x81, 0x80 | size]) if size < 126 else struct.pack(">BBH", 0x81, 0xFE, size)
    mask = (_MASK * (size // 4 + 1))[:size]
    return head + _MASK + bytes(a ^ b for a, b in zip(payload, mask, strict=True))


class Place:
    """A server without sockets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.broker = Broker("guard")
        self.factory = StompFactory(self.broker, Limits(), self.clock)
        self.websockets = WebSockets(self.factory, self.clock, self.broker.cork)

    def client(self, wire: str = "tcp") -> Client:
        """Connect a client."""
        return Client(self, wire)


def _send(destination: str, headers: str = "", body: bytes = _BODY) -> bytes:
    head = f"SEND\ndestination:{destination}\n{headers}content-length:{len(body)}\n\n"
    return head.encode() + body + b"\0"


# -- work -------------------------------------------------------------------------------------

Work = Callable[[], None]


@dataclass(frozen=True)
class Job:
    """Fixed work.

    Attributes:
        title: What is done.
        prepare: Sets everything up; returns the work, which may be repeated.
        deliveries: The number of messages that clients receive each time, or of repetitions of
            what the title says.
        same_as: The title of a job with the same cost: what this job adds is unused.
    """

    title: str
    prepare: Callable[[], Work]
    deliveries: int
    same_as: str = ""


def _checked(work: Work, receivers: Sequence[Client], deliveries: int) -> Work:
    """Do the work once, to fill caches and to verify the number of deliveries."""
    work()
    arrived = sum(client.messages for client in receivers)
    assert arrived == deliveries, f"{arrived} deliveries, not {deliveries}"
    for client in receivers:
        client.socket.sent.clear()
    return work


def _fan_out(
    subscribers: int,
    *,
    wire: str = "tcp",
    together: bool = True,
    headers: str = "",
    destination: str = "/topic/guard",
    pattern: str = "",
    neighbours: Callable[[Place], object] = lambda _: None,
) -> Work:
    """One publisher, with all messages in one read or each in a separate read."""
    place = Place()
    neighbours(place)  # the place holds them
    receivers = [place.client(wire) for _ in range(subscribers)]
    for receiver in receivers:
        receiver.subscribe(pattern or destination, headers)
        receiver.socket.sent.clear()
    publisher = place.client("tcp" if wire == "tcp" else "ws")
    frame = _send(destination, "colour:red\n" if "selector" in headers else "")
    reads = [[frame] * _MESSAGES] if together else [[frame]] * _MESSAGES
    packed = [publisher.pack(*frames) for frames in reads]

    def work() -> None:
        for data in packed:
            publisher.receive(data)

    if wire == "deflate":
        work()
        assert all(len(one.socket.sent) > 0 for one in receivers), "nothing arrived"
        return work
    return _checked(work, receivers, subscribers * _MESSAGES)


def _queue() -> Work:
    """Four publishers, and four consumers that acknowledge each message, in reads of ten frames."""
    place = Place()
    consumers = [place.client() for _ in range(4)]
    publishers = [place.client() for _ in range(4)]
    for consumer in consumers:
        consumer.subscribe("/queue/guard", "ack:client-individual\nprefetch-count:100\n")
    sends = publishers[0].pack(*[_send("/queue/guard")] * 10)

    def work() -> None:
        for publisher in publishers:
            for _ in range(_MESSAGES // 10):
                publisher.receive(sends)
        for consumer in consumers:
            received = b"".join(consumer.socket.sent)
            consumer.socket.sent.clear()
            acks = [b"ACK\nid:" + ack + b"\n\n\0" for ack in _acks_in(received)]
            for start in range(0, len(acks), 10):
                consumer.receive(b"".join(acks[start : start + 10]))

    def first() -> None:
        work()
        assert place.broker.statistics.queued_count == 0, "not everything was acknowledged"

    first()
    return work


def _acks_in(data: bytes) -> list[bytes]:
    return [part.partition(b"\n")[0] for part in data.split(b"\nack:")[1:]]


def _neighbours(place: Place) -> object:
    """Features of a server that the work does not use."""
    clients = [place.client() for _ in range(6)] + [place.client("deflate")]
    clients[0].subscribe("/topic/elsewhere", "selector:colour = 'red'\n")
    clients[1].subscribe("/topic/elsewhere", "x-slow:latest\n")
    clients[2].subscribe("/topic/elsewhere", "ack:client\n")
    clients[3].subscribe("/queue/elsewhere", "ack:client-individual\nprefetch-count:1\n")
    clients[4].say(b"BEGIN\ntransaction:t\n\n\0", _send("/topic/elsewhere", "transaction:t\n"))
    clients[5].say(*[_send("/queue/elsewhere", "priority:7\npersistent:true\n")] * 20)
    clients[6].subscribe("/topic/elsewhere")
    return clients


def _pattern_neighbour(place: Place) -> object:
    """Subscriptions to patterns, none of which matches."""
    client = place.client()
    for number in range(10):
        client.subscribe(f"/topic/other{number}.*.#", name=f"sub-{number}")
    return client


class _EveryoneIsAda(Authenticator):
    """Log-in that knows at once who a client is, and what it may do."""

    def __init__(self) -> None:
        self._rights = Rights(lambda name: True, lambda name: True)

    @override
    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        question: Question[Identified] = Question()
        question.answer(Identified("ada", self._rights))
        return question

    @override
    def left(self, principal: Principal) -> None:
        """Do nothing."""


def _users(place: Place) -> object:
    """Users with rights: each message is checked, and names its user."""
    place.broker.authenticator = _EveryoneIsAda()
    return place.broker.authenticator


def _heartbeats() -> Work:
    place = Place()
    client = place.client()

    def work() -> None:
        for _ in range(_MESSAGES):
            client.receive(b"\n")

    work()
    return work


def _arrivals(wire: str) -> Work:
    place = Place()
    kept: list[Client] = []

    def work() -> None:
        for _ in range(10):
            client = place.client(wire)
            client.subscribe("/topic/guard")
            kept.append(client)

    work()
    return work


_MANY = _SUBSCRIBERS * _MESSAGES
_TOGETHER = "1 → 100 over TCP, 20 messages in one read"
_EACH = "1 → 100 over TCP, a message in each read"
_WS_TOGETHER = "1 → 100 over WebSocket, 20 messages in one read"

JOBS: tuple[Job, ...] = (
    Job(_TOGETHER, lambda: _fan_out(_SUBSCRIBERS), _MANY),
    Job(_EACH, lambda: _fan_out(_SUBSCRIBERS, together=False), _MANY),
    Job(_WS_TOGETHER, lambda: _fan_out(_SUBSCRIBERS, wire="ws"), _MANY),
    Job(
        "1 → 100 over WebSocket, a message in each read",
        lambda: _fan_out(_SUBSCRIBERS, wire="ws", together=False),
        _MANY,
    ),
    Job("1 → 1 over TCP, 20 messages in one read", lambda: _fan_out(1), _MESSAGES),
    Job("1 → 1 over TCP, a message in each read", lambda: _fan_out(1, together=False), _MESSAGES),
    Job("1 → 1 over WebSocket, 20 messages in one read", lambda: _fan_out(1, wire="ws"), _MESSAGES),
    Job("queue, 4 → 4, each message acknowledged", _queue, 4 * _MESSAGES),
    Job("heart-beats received", _heartbeats, _MESSAGES),
    Job("arrivals over TCP: connected, logged in, subscribed", lambda: _arrivals("tcp"), 10),
    Job("arrivals over WebSocket", lambda: _arrivals("ws"), 10),
    # What is used
    Job(
        "used: a selector",
        lambda: _fan_out(_SUBSCRIBERS, headers="selector:colour = 'red'\n"),
        _MANY,
    ),
    Job("used: a pattern", lambda: _fan_out(_SUBSCRIBERS, pattern="/topic/*"), _MANY),
    Job(
        "used: patterns that do not match",
        lambda: _fan_out(_SUBSCRIBERS, neighbours=_pattern_neighbour),
        _MANY,
    ),
    Job(
        "used: x-slow, a subscriber served by itself",
        lambda: _fan_out(_SUBSCRIBERS, headers="x-slow:drop-oldest\n"),
        _MANY,
    ),
    Job(
        "used: users with rights, 20 messages in one read",
        lambda: _fan_out(_SUBSCRIBERS, neighbours=_users),
        _MANY,
    ),
    Job(
        "used: users with rights, a message in each read",
        lambda: _fan_out(_SUBSCRIBERS, together=False, neighbours=_users),
        _MANY,
    ),
    Job("used: compression", lambda: _fan_out(_SUBSCRIBERS, wire="deflate"), _MANY),
    # What is there and not used
    Job(
        "unused: selectors, acks, slow policies, queues, transactions, compression elsewhere",
        lambda: _fan_out(_SUBSCRIBERS, neighbours=_neighbours),
        _MANY,
        same_as=_TOGETHER,
    ),
    Job(
        "unused: the same, a message in each read",
        lambda: _fan_out(_SUBSCRIBERS, together=False, neighbours=_neighbours),
        _MANY,
        same_as=_EACH,
    ),
    Job(
        "unused: the same, over WebSocket",
        lambda: _fan_out(_SUBSCRIBERS, wire="ws", neighbours=_neighbours),
        _MANY,
        same_as=_WS_TOGETHER,
    ),
)
"""The jobs, in the order of the table."""
