"""Fakes and clients for the tests of ``rtchat.net``, and a real server to run them against.

Fakes: :class:`FakeSocket` is a plain TCP transport whose kernel takes as many bytes as a test
gives it room for; :class:`FakeBrowser` talks HTTP and WebSocket to a :class:`PageSite` over one.
Real: :class:`Server` is ``twistd rtchat`` in a process of its own on loopback.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

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
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from typing_extensions import Self, override
from zope.interface import implementer

from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.core.broker.broker import Broker
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.limits import Limits
from rtchat.net.gateway.resource import TcpSocket
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.stomp.server import StompFactory
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets

ROOT = Path(__file__).resolve().parent.parent

# RFC 6455, 1.3: the example's key and the answer to it.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


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
        """Give nothing."""
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
        """Give the connection to a protocol."""
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
        """Give what the kernel took since the last call."""
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
        """Let the other side read all; give what it read."""
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


# ---------------------------------------------------------------- logs


@implementer(ILogObserver)
class Logs:
    """The lines that Twisted's logger gets while a test runs."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Take one."""
        self.events.append(event)

    def lines(self, level: str | None = None) -> list[str]:
        """Give the lines, of one level if it is named."""
        return [
            formatEvent(event)
            for event in self.events
            if level is None or event.get("log_level") is not None
            if level is None or event["log_level"].name == level
        ]

    def text(self, level: str | None = None) -> str:
        """Give the lines as one text."""
        return "\n".join(self.lines(level))

    def failures(self) -> list[Failure]:
        """Give what was logged with a traceback."""
        return [event["log_failure"] for event in self.events if "log_failure" in event]


@contextlib.contextmanager
def captured_logs() -> Iterator[Logs]:
    """Collect what is logged."""
    logs = Logs()
    globalLogPublisher.addObserver(logs)
    try:
        yield logs
    finally:
        globalLogPublisher.removeObserver(logs)


# ---------------------------------------------------------------- WebSocket frames by hand


def ws_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    is_final: bool = True,
    is_masked: bool = True,
    reserved: int = 0,
) -> bytes:
    """Give one frame as a client sends it (RFC 6455, 5.2)."""
    first = (0x80 if is_final else 0) | reserved << 4 | opcode
    masked = 0x80 if is_masked else 0
    length = len(payload)
    if length < 126:
        head = bytes((first, masked | length))
    elif length < 65536:
        head = bytes((first, masked | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + length.to_bytes(8, "big")
    if not is_masked:
        return head + payload
    return head + _MASK + _mask(payload)


_MASK = b"\x11\x22\x33\x44"


def _mask(data: bytes) -> bytes:
    size = len(data)
    mask = (_MASK * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


@dataclass
class WsFrame:
    """One frame of the server's."""

    opcode: int
    payload: bytes
    is_final: bool = True

    @property
    def code(self) -> int:
        """The code of a close frame."""
        return int.from_bytes(self.payload[:2], "big")

    @property
    def reason(self) -> str:
        """The reason of a close frame."""
        return self.payload[2:].decode()


class FrameReader:
    """Reads the server's frames, which must be unmasked and without reserved bits."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[WsFrame]:
        """Give the frames that the bytes complete."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    @property
    def rest(self) -> bytes:
        """What is left of a frame that is not complete."""
        return bytes(self._buffer)

    def _next(self) -> WsFrame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        assert not buffer[0] & 0x70, "reserved bits are set"
        assert not buffer[1] & 0x80, "a server's frames are not masked"
        length, start = buffer[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
            assert length > (125 if start == 4 else 65535), "the length is not written shortest"
        if len(buffer) < start + length:
            return None
        frame = WsFrame(
            buffer[0] & 0x0F, bytes(buffer[start : start + length]), bool(buffer[0] & 0x80)
        )
        del buffer[: start + length]
        return frame


# ---------------------------------------------------------------- a page with fakes


def upgrade_request(
    path: str = "/ws",
    *,
    host: str | None = "localhost:9000",
    origin: str | None = None,
    subprotocols: str | None = None,
    version: str = "HTTP/1.1",
    method: str = "GET",
    **changes: str | None,
) -> bytes:
    """Give a WebSocket handshake; a header that is None is left out.

    ``changes`` names headers with underscores for dashes.
    """
    headers: dict[str, str | None] = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Origin": origin,
        "Sec-WebSocket-Protocol": subprotocols,
    }
    known = {name.lower(): name for name in headers}
    for name, value in changes.items():
        dashed = name.replace("_", "-").lower()
        headers[known.get(dashed, dashed)] = value
    return http_request(method, path, headers, version)


def http_request(
    method: str, path: str, headers: Mapping[str, str | None], version: str = "HTTP/1.1"
) -> bytes:
    """Give a request; a header that is None is left out."""
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def read_answer(data: bytes, *, has_body: bool = True) -> tuple[Answer, bytes]:
    """Split an answer from what follows it."""
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"no whole answer in {data[:200]!r}"
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    status = int(first.split()[1])
    if not has_body or status in (101, 304):
        return Answer(status, headers, b""), rest
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size_text, _, rest = rest.partition(b"\r\n")
            size = int(size_text, 16)
            chunk, rest = rest[:size], rest[size + 2 :]
            if not size:
                return Answer(status, headers, body), rest
            body += chunk
    size = int(headers.get("content-length", len(rest)))
    return Answer(status, headers, rest[:size]), rest[size:]


class FakeBrowser:
    """Speaks HTTP and WebSocket to a site over a fake socket.

    Attributes:
        socket: The server's side of the connection.
        frames: Frames of the server's that no :meth:`expect` has taken yet.
    """

    def __init__(self, site: PageSite, peer: IAddress | None = None) -> None:
        self.socket = FakeSocket(peer=peer)
        self.frames: list[WsFrame] = []
        self._reader = FrameReader()
        assert isinstance(site.reactor, Clock)
        self._clock = site.reactor
        channel = site.buildProtocol(self.socket.peer)
        assert channel is not None
        self.socket.connect(channel)

    def ask(self, request: bytes, *, has_body: bool = True) -> Answer:
        """Send a request and give its answer."""
        self.socket.receive(request)
        self._clock.advance(0)
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
        """Give every frame that came and was not asked for yet."""
        self._take(self.socket.taken())
        frames, self.frames = self.frames, []
        return frames

    def expect(self, opcode: int) -> WsFrame:
        """Give the next frame, which has to have this opcode."""
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

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.broker = Broker("test")
        self.broker.open_chat(self.chat, JSON)
        self.stomp = StompFactory(self.broker, self.limits, self.clock)
        access = AccessList(map(AccessRule.parse, self.rules), self.origin_required)
        self.targets = list(map(Target.parse, self.own_targets))
        self.websockets = self._websockets(self.wrapped or self.stomp, self.broker.cork)
        self.proxied: dict[Target, WebSockets] = {}
        root = Resource()
        root.putChild(b"ws", StompSocket(self.websockets, access, self.targets))
        root.putChild(b"tcp", TcpSocket(access, self._target))
        for name, resource in self.children.items():
            root.putChild(name.encode(), resource)
        self.site = PageSite(root, HostList(self.hosts), self.clock)

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
        return self.proxied[target]


# ---------------------------------------------------------------- STOMP by hand


def stomp_frame(command: str, body: bytes = b"", **headers: str) -> bytes:
    """Give a STOMP frame; ``headers`` has underscores for dashes."""
    lines = [command, *(f"{name.replace('_', '-')}:{value}" for name, value in headers.items())]
    return "\n".join([*lines, "", ""]).encode() + body + b"\0"


CONNECT = stomp_frame("CONNECT", accept_version="1.2", host="localhost")


@dataclass
class StompFrame:
    """One STOMP frame of the server's."""

    command: str
    headers: dict[str, str]
    body: bytes


class StompReader:
    """Reads STOMP frames; heart-beats are counted."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.heartbeats = 0

    def feed(self, data: bytes) -> list[StompFrame]:
        """Give the frames that the bytes complete."""
        self.buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> StompFrame | None:
        buffer = self.buffer
        while buffer[:1] == b"\n":
            self.heartbeats += 1
            del buffer[:1]
        end = buffer.find(b"\n\n")
        if end < 0:
            return None
        command, *lines = buffer[:end].decode().split("\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name] = value.replace("\\c", ":").replace("\\n", "\n").replace("\\\\", "\\")
        start = end + 2
        length = headers.get("content-length")
        stop = buffer.find(b"\0", start) if length is None else start + int(length)
        if stop < 0 or stop >= len(buffer):
            return None
        assert buffer[stop] == 0
        frame = StompFrame(command, headers, bytes(buffer[start:stop]))
        del buffer[: stop + 1]
        return frame


# ---------------------------------------------------------------- a real server


def free_ports(count: int) -> list[int]:
    """Give ports of loopback that nobody has now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Server:
    """A real ``twistd rtchat`` on loopback; a context manager.

    Args:
        folder: Where its files go.
        config: The rest of chat.ini; ``{http}`` and ``{stomp}`` stand for the ports. Without
            ``[listen]`` the page and the broker listen on 127.0.0.1.
    """

    def __init__(self, folder: Path, config: str = "", listen: str | None = None) -> None:
        self.http, self.stomp = free_ports(2)
        if listen is None:
            listen = "http://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}"
        text = f"[listen]\n{listen}\n{config}"
        text = text.replace("{http}", str(self.http)).replace("{stomp}", str(self.stomp))
        self._ini = folder / "chat.ini"
        self._ini.write_text(text)
        self._log = folder / "twistd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        run = "from twisted.scripts.twistd import run; run()"
        arguments = ["-n", "--pidfile=", "rtchat", "--config", str(self._ini)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", run, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._ini.parent,
                env=environment,
            )
        self.wait_for_log(" is ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self._log.read_text()

    def wait_for_log(self, text: str, timeout_s: float = 15) -> None:
        """Wait until a line with the text is there."""
        wait_until(lambda: text in self.log, f"{text!r} in the log", timeout_s, self._still_runs)

    def terminate(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Wait until it has ended."""
        assert self._process is not None
        return self._process.wait(10)

    def memory_bytes(self, field_name: str = "VmRSS") -> int:
        """Give its resident memory now, or ``VmHWM``, the most it ever was."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{field_name}:"))
        return int(line.split()[1]) * 1024

    def reset_peak(self) -> None:
        """Let ``VmHWM`` begin anew (Linux, proc(5): clear_refs)."""
        assert self._process is not None
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _still_runs(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"twistd ended:\n{self.log}"


def wait_until(
    is_so: Callable[[], object],
    what: str,
    timeout_s: float = 15,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Look again and again until something holds."""
    end = time.monotonic() + timeout_s
    while not is_so():
        check()
        assert time.monotonic() < end, f"waited {timeout_s} s in vain for {what}"
        time.sleep(0.02)


class RealStomp:
    """A STOMP client on a real socket, plain or TLS; a path is a Unix socket's."""

    def __init__(self, where: int | Path, context: ssl.SSLContext | None = None) -> None:
        if isinstance(where, Path):
            plain = socket.socket(socket.AF_UNIX)
            plain.connect(str(where))
        else:
            plain = socket.create_connection(("127.0.0.1", where), 10)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = plain
        if context is not None:
            self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.socket.settimeout(20)
        self._reader = StompReader()
        self._frames: list[StompFrame] = []

    def __enter__(self) -> Self:
        """Use it in a with statement."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.socket.close()

    def log_in(self) -> Self:
        """Send CONNECT and wait for the answer."""
        self.send(CONNECT)
        assert self.read().command == "CONNECTED"
        return self

    def subscribe(self, destination: str) -> None:
        """Subscribe, and wait until it is in place."""
        self.send(stomp_frame("SUBSCRIBE", id="sub-0", destination=destination, receipt="s"))
        assert self.read().command == "RECEIPT"

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def read(self) -> StompFrame:
        """Wait for the next frame."""
        while not self._frames:
            data = self.socket.recv(1 << 16)
            assert data, "the server closed the connection"
            self._frames = self._reader.feed(data)
        return self._frames.pop(0)


class RealWebSocket:
    """A WebSocket client on a real socket that reads only when it is asked to."""

    def __init__(
        self,
        port: int,
        path: str,
        context: ssl.SSLContext | None = None,
        receive_buffer_bytes: int | None = None,
        source: str = "",
        source_port: int = 0,
        **kwargs: Any,
    ) -> None:
        plain = socket.socket()
        plain.bind((source, source_port))
        if receive_buffer_bytes is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        plain.connect(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = plain
        if context is not None:
            self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.socket.settimeout(30)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(upgrade_request(path, sec_websocket_key=key, **kwargs))
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._recv()
        self.answer, rest = read_answer(data)
        assert self.answer.status == 101, self.answer
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        assert self.answer.headers["sec-websocket-accept"] == base64.b64encode(digest).decode()
        self._reader = FrameReader()
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
