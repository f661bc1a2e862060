"""The world around ``rtchat.net``, faked: sockets, endpoints, browsers, a site.

:class:`FakeSocket` is a plain TCP transport whose kernel takes as many bytes as a test says;
:class:`FakeBrowser` speaks HTTP and WebSocket over one to a :class:`FakeSite`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from support.websocket import (
    Answer,
    WebSocketReader,
    WsFrame,
    http_request,
    read_answer,
    upgrade_request,
    ws_frame,
)
from twisted.internet import _producer_helpers
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorFDSet,
    IStreamClientEndpoint,
)
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from typing_extensions import Self, override
from zope.interface import implementer

from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.core.broker.broker import Broker
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.limits import Limits
from rtchat.net.gateway.resource import TcpSocket
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.stomp.server import StompFactory
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.visitors import Visitors

# ---------------------------------------------------------------- transports


@implementer(IReactorFDSet)
class _NoReactor:
    """Takes note of nothing: the fakes know themselves what they wait for."""

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


class FakeSocket(FileDescriptor):
    """A plain socket as Twisted's reactors have it, without a kernel.

    Attributes:
        room: How many bytes the kernel takes before it says "would block".
        sent: What it took.
        is_reading: Whether the reactor would read.
        is_writing: Whether the reactor waits for room.
        is_half_closed: Whether our direction was closed.
        is_closed: Whether the connection is gone.
        was_cut: Whether it went by ``abortConnection``.
        is_kept_alive: Whether the system asks a silent peer whether it is still there.
        take: Says how many of a number of bytes one ``send`` takes; all by default.
    """

    def __init__(self, room: int = 1 << 60, peer: IAddress | None = None) -> None:
        super().__init__(_NoReactor())
        self.connected = 1
        self.room = room
        self.peer = peer or IPv4Address("TCP", "192.0.2.1", 54321)
        self.sent = bytearray()
        self.is_reading = True
        self.is_writing = False
        self.is_half_closed = False
        self.is_closed = False
        self.was_cut = False
        self.is_broken = False
        self.no_delay = False
        self.is_kept_alive = False
        self.sends = 0
        self.take: Callable[[int], int] = lambda size: size
        self.protocol: Any = None

    @override
    def writeSomeData(self, data: bytes) -> int | BaseException:
        self.sends += 1
        if self.is_broken:
            return CONNECTION_LOST
        size = min(self.room, self.take(min(len(data), 128 * 1024)))
        self.sent += bytes(memoryview(data)[:size])
        self.room -= size
        return size

    @override
    def startReading(self) -> None:
        self.is_reading = True

    @override
    def stopReading(self) -> None:
        self.is_reading = False

    @override
    def startWriting(self) -> None:
        self.is_writing = True

    @override
    def stopWriting(self) -> None:
        self.is_writing = False

    @override
    def _closeWriteConnection(self) -> None:
        self.is_half_closed = True

    @override
    def getPeer(self) -> IAddress:
        return self.peer

    @override
    def getHost(self) -> IAddress:
        return IPv4Address("TCP", "192.0.2.2", 9000)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: N802
        self.is_kept_alive = enabled

    def abortConnection(self) -> None:
        if not self.is_closed:
            self.was_cut = True
            self.end(ConnectionAborted())

    # What a test does to it

    def connect(self, protocol: Any) -> None:
        """Connect a protocol."""
        self.protocol = protocol
        protocol.makeConnection(self)

    def turn(self) -> None:
        """Let the reactor write as often as it would with the room there is."""
        waiting = None
        while self.is_writing and not self.is_closed and waiting != self._waits():
            waiting = self._waits()
            result = self.doWrite()
            if isinstance(result, BaseException):
                self.end(result)
            if not waiting:
                waiting = None  # what was done was not sending

    def give_room(self, size: int = 1 << 60) -> None:
        """Let the other side read, so that the kernel has room for more."""
        self.room += size
        self.turn()

    def receive(self, data: bytes) -> None:
        """Let bytes arrive; a paused transport would leave them in the kernel."""
        assert self.is_reading, "the server does not read now"
        self.protocol.dataReceived(data)
        self.turn()

    def end(self, reason: BaseException | None = None) -> None:
        """Let the connection end."""
        if not self.is_closed:
            self.is_closed = True
            failure = Failure(reason or ConnectionDone())
            FileDescriptor.connectionLost(self, failure)
            self.protocol.connectionLost(failure)

    def taken(self) -> bytes:
        """Return what the kernel took since the last call."""
        self.turn()
        data, self.sent = bytes(self.sent), bytearray()
        return data

    def _waits(self) -> int:
        return len(self.dataBuffer) - self.offset + self._tempDataLen


class PushTransport(StringTransport):
    """A transport that is no plain socket and calls its producer as TLS does.

    Attributes:
        high_bytes: From here on its producer is paused.
    """

    def __init__(self, high_bytes: int = 64 * 1024) -> None:
        super().__init__(lenient=True)
        self.high_bytes = high_bytes
        self.held = bytearray()
        self.is_full = False

    @override
    def write(self, data: bytes) -> None:
        self.held += data
        if len(self.held) > self.high_bytes and not self.is_full and self.producer is not None:
            self.is_full = True
            self.producer.pauseProducing()

    @override
    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        raise AssertionError("a TLS transport has no half-close that helps")

    def drain(self) -> bytes:
        """Let the other side read all; return what it read."""
        data, self.held = bytes(self.held), bytearray()
        if self.is_full and self.producer is not None:
            self.is_full = False
            self.producer.resumeProducing()
        return data


@implementer(IStreamClientEndpoint)
class FakeEndpoint:
    """An endpoint whose connection is made, refused or left hanging by the test."""

    def __init__(self) -> None:
        self.was_cancelled = False
        self.error_on_cancel: BaseException | None = None
        self._factory: IProtocolFactory | None = None
        self._waiting: Deferred[IProtocol] | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Wait for the test."""
        self._factory = protocolFactory
        self._waiting = Deferred(self._cancel)
        return self._waiting

    def _cancel(self, waiting: Deferred[IProtocol]) -> None:
        self.was_cancelled = True
        if self.error_on_cancel is not None:
            waiting.errback(Failure(self.error_on_cancel))

    def succeed(self, transport: FakeSocket, *, ends_at_once: bool = False) -> None:
        """Connect."""
        assert self._factory is not None
        assert self._waiting is not None
        protocol = self._factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert protocol is not None
        transport.connect(protocol)
        if ends_at_once:
            transport.end()
        self._waiting.callback(protocol)

    def fail(self, error: BaseException) -> None:
        """Do not connect."""
        assert self._waiting is not None
        self._waiting.errback(Failure(error))


@implementer(IPushProducer)
class Feeder:
    """A push producer that takes note of what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        """Take note."""
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """Take note."""
        self.calls.append("resume")

    def stopProducing(self) -> None:
        """Take note."""
        self.calls.append("stop")


# ---------------------------------------------------------------- a page with fakes


class FakeBrowser:
    """Speaks HTTP and WebSocket to a site over a fake socket.

    Attributes:
        socket: The server's side of the connection.
        clock: The site's clock.
        frames: Frames of the server's that no :meth:`expect` has taken yet.
    """

    def __init__(self, site: PageSite, peer: IAddress | None = None) -> None:
        self.socket = FakeSocket(peer=peer)
        self.frames: list[WsFrame] = []
        self._reader = WebSocketReader()
        assert isinstance(site.reactor, Clock)
        self.clock = site.reactor
        channel = site.buildProtocol(self.socket.peer)
        assert channel is not None
        self.socket.connect(channel)

    def ask(self, request: bytes, *, has_body: bool = True) -> Answer:
        """Send a request and give its answer."""
        self.socket.receive(request)
        self.clock.advance(0)
        answer, rest = read_answer(self.socket.taken(), has_body=has_body)
        self._take(rest)
        return answer

    def get(self, path: str, host: str | None = "localhost:9000", **headers: str) -> Answer:
        """GET a path."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(http_request("GET", path, {"Host": host, **given}))

    def open(self, *args: Any, **kwargs: Any) -> Self:
        """Open a WebSocket; the arguments are those of :func:`upgrade_request`."""
        answer = self.ask(upgrade_request(*args, **kwargs))
        assert answer.status == 101, answer
        return self

    def send(self, opcode: int, payload: bytes = b"", **kwargs: Any) -> None:
        """Send one frame; the arguments are those of :func:`ws_frame`."""
        self.send_raw(ws_frame(opcode, payload, **kwargs))

    def send_raw(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.receive(data)

    def received(self) -> list[WsFrame]:
        """Return every frame that came and was not asked for yet."""
        self._take(self.socket.taken())
        frames, self.frames = self.frames, []
        return frames

    def expect(self, opcode: int) -> WsFrame:
        """Return the next frame, which has to have this opcode."""
        self._take(self.socket.taken())
        assert self.frames, "no frame came"
        frame = self.frames.pop(0)
        assert frame.opcode == opcode, frame
        return frame

    def _take(self, data: bytes) -> None:
        if data:
            self.frames += self._reader.feed(data)


@contextlib.contextmanager
def cooperation(clock: Clock) -> Iterator[None]:
    """Let Twisted's file producers run on a test's clock instead of the reactor."""
    cooperator = Cooperator(
        # Until all is done, not for a few milliseconds of real time.
        terminationPredicateFactory=lambda: lambda: False,
        scheduler=lambda call: clock.callLater(0, call),
    )
    with mock.patch.object(_producer_helpers, "cooperate", cooperator.cooperate):
        yield


@dataclass
class FakeSite:
    """A site with ``/ws`` and ``/tcp`` whose clock and targets belong to the test."""

    rules: Iterable[str] = ("* -> localhost:61613", "* -> irc.example:6667")
    own_targets: Iterable[str] = ("localhost:61613",)
    hosts: Iterable[str] = ()
    limits: Limits = field(default_factory=Limits)
    chat: ChatPolicy = field(default_factory=ChatPolicy)
    ping_interval_s: float = 0
    ping_timeout_s: float = 0
    max_message_bytes: int = 1 << 24
    origin_required: bool = False
    wrapped: IProtocolFactory | None = None
    wrap_target: Callable[[Target, Clock], IProtocolFactory] | None = None
    children: Mapping[str, IResource] = field(default_factory=dict)
    deflates_targets: bool = True
    visitors: Visitors | None = None

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.broker = Broker("test")
        open_chat(self.broker, self.chat, JSON)
        self.stomp = StompFactory(self.broker, self.limits, self.clock)
        access = AccessList(map(AccessRule.parse, self.rules), self.origin_required)
        self.targets = list(map(Target.parse, self.own_targets))
        self.websockets = self._websockets(self.wrapped or self.stomp, self.broker.cork)
        self.proxied: dict[Target, WebSockets] = {}
        root = Resource()
        stomp_socket = StompSocket(self.websockets, access, self.targets, visitors=self.visitors)
        root.putChild(b"ws", stomp_socket)
        root.putChild(b"tcp", TcpSocket(access, self._target, self.targets, self.visitors))
        for name, resource in self.children.items():
            root.putChild(name.encode(), resource)
        self.site = PageSite(root, HostList(self.hosts), self.clock, trusts=access.trusts)

    def browser(self, peer: IAddress | None = None) -> FakeBrowser:
        """Connect."""
        return FakeBrowser(self.site, peer)

    def _websockets(self, wrapped: IProtocolFactory, cork: Cork) -> WebSockets:
        return WebSockets(
            wrapped,
            self.clock,
            cork,
            ping_interval_s=self.ping_interval_s,
            ping_timeout_s=self.ping_timeout_s,
            max_message_bytes=self.max_message_bytes,
        )

    def _target(self, target: Target) -> WebSockets:
        if target not in self.proxied:
            assert self.wrap_target is not None
            wrapped = self.wrap_target(target, self.clock)
            self.proxied[target] = self._websockets(wrapped, Cork())
            self.proxied[target].deflate = self.deflates_targets
        return self.proxied[target]
