"""What rtchat uses of Twisted beyond its public interfaces: in one file, and still there.

**When a test here fails after an upgrade of Twisted**, the release has changed something that it
never promised. Mend that function in ``rtchat/net/twisted_internals.py``; nothing else has to know.
**When you have tried a new release**, add it to ``CHECKED``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import socket
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import twisted
from support.certificate import write_certificate
from support.net import FakeSocket, PushTransport
from twisted.internet import tcp, unix
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address
from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, ISystemHandle
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

import rtchat
from rtchat.net import twisted_internals as internals
from rtchat.net.twisted_internals import HTTPConnection

BOTH = ("26.4.0", "26.10.0")

CHECKED: Mapping[str, tuple[str, ...]] = {
    "FileDescriptor.bufferSize": BOTH,
    "FileDescriptor.doRead": BOTH,
    "FileDescriptor.protocol": BOTH,
    "FileDescriptor.TLS": BOTH,
    "FileDescriptor.writeSomeData": BOTH,
    "Port.doRead": BOTH,
    "Port.numberAccepts": BOTH,
    "ReactorBase._newTimedCalls": BOTH,
    "ReactorBase._pendingTimedCalls": BOTH,
    "ReactorBase.seconds": BOTH,
    "ISystemHandle.getHandle().send": BOTH,
    "transport.getPeer": BOTH,
    "transport.socket": BOTH,
    "ProtocolWrapper.wrappedProtocol": BOTH,
    "UnixApplicationRunner.daemonize": BOTH,
    "globalLogPublisher._observers": BOTH,
    "FileLogObserver._outFile": BOTH,
    "HTTPChannel._abortingCall": BOTH,
    "HTTPChannel._dataBuffer": BOTH,
    "HTTPChannel._path": BOTH,
    "HTTPChannel._receivedHeaderCount": BOTH,
    "HTTPChannel._receivedHeaderSize": BOTH,
    "HTTPChannel._respondToBadRequestAndDisconnect": BOTH,
    "LineReceiver._buffer": BOTH,
    "LineReceiver.paused": BOTH,
    "SSL4ServerEndpoint._sslContextFactory": BOTH,
}
"""Each part that is private or replaced, and the releases of Twisted it was checked with."""

RTCHAT = Path(rtchat.__file__).parent


def gone(item: str) -> str:
    """Say what to do when a part of Twisted is not what it was."""
    return (
        f"{item} of Twisted {twisted.__version__} is not what it was in "
        f"{', '.join(CHECKED[item])}; mend rtchat/net/twisted_internals.py"
    )


def test_the_release_in_use_was_checked() -> None:
    unchecked = [item for item, known in CHECKED.items() if twisted.__version__ not in known]
    if unchecked:
        warnings.warn(
            f"Twisted {twisted.__version__} is not in CHECKED for {', '.join(unchecked)}; "
            "if all tests here pass, add it",
            stacklevel=1,
        )


# ---------------------------------------------------------------- sockets


class Taking(Protocol):
    """Takes note of what it is given."""

    def __init__(self) -> None:
        self.taken = b""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take note."""
        self.taken += data


class Wire:
    """A transport of Twisted's own on a real socket, and the other end."""

    def __init__(self, kind: str) -> None:
        reactor: Any = FakeSocket().reactor
        self.protocol = Taking()
        if kind == "tcp":
            with socket.create_server(("127.0.0.1", 0)) as listener:
                self.other = socket.create_connection(listener.getsockname())
                own, address = listener.accept()
            own.setblocking(False)
            port: Any = SimpleNamespace(_realPortNumber=1)
            self.transport: Any = tcp.Server(own, self.protocol, address, port, 1, reactor)
        else:
            own, self.other = socket.socketpair()
            own.setblocking(False)
            self.transport = unix.Server(own, self.protocol, None, None, 1, reactor)
        self.own = own
        self.protocol.makeConnection(self.transport)

    def close(self) -> None:
        """Close both ends."""
        self.own.close()
        self.other.close()


@pytest.fixture(params=["tcp", "unix"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    wire = Wire(request.param)
    yield wire
    wire.close()


def test_plain_sockets_are_known(wire: Wire) -> None:
    assert internals.is_plain_socket(wire.transport), gone("FileDescriptor.TLS")
    assert tcp.Connection.TLS is False, gone("FileDescriptor.TLS")
    wire.transport.TLS = True  # what startTLS does
    assert not internals.is_plain_socket(wire.transport)
    assert internals.direct_send(wire.transport) == (None, None)


def test_tls_and_other_transports_are_no_plain_sockets() -> None:
    assert not internals.is_plain_socket(PushTransport())
    assert internals.direct_send(PushTransport()) == (None, None)
    assert not issubclass(TLSMemoryBIOProtocol, FileDescriptor), gone("FileDescriptor.TLS")


def test_bytes_can_be_sent_at_once(wire: Wire) -> None:
    has_handle: bool = ISystemHandle.providedBy(wire.transport)
    assert has_handle, gone("ISystemHandle.getHandle().send")
    send, sink = internals.direct_send(wire.transport)
    assert send is not None
    assert sink is wire.own, gone("ISystemHandle.getHandle().send")
    assert send(b"hello") == 5
    assert send(memoryview(b"again")[1:]) == 4
    assert wire.other.recv(100) == b"hellogain"
    assert not wire.transport.dataBuffer
    assert wire.transport.writeSomeData(b"more") == 4, gone("FileDescriptor.writeSomeData")
    assert wire.other.recv(100) == b"more"


def test_a_transport_that_hides_its_socket_sends_all_the_same() -> None:
    transport = FakeSocket()
    send, sink = internals.direct_send(transport)
    assert sink is None
    assert send is not None
    assert send(b"hello") == 5
    assert transport.sent == b"hello"


def test_the_socket_is_found(wire: Wire) -> None:
    assert internals.socket_of(wire.transport) is wire.own, gone("transport.socket")
    wrapper = WrappingFactory(Factory.forProtocol(Protocol)).buildProtocol(wire.transport.getPeer())
    wrapper.makeConnection(wire.transport)
    assert internals.socket_of(wrapper) is wire.own, gone("transport.socket")
    assert internals.socket_of(PushTransport()) is None


def test_the_size_of_a_read_is_set(wire: Wire) -> None:
    assert wire.transport.bufferSize == 64 * 1024, gone("FileDescriptor.bufferSize")
    internals.set_read_size(wire.transport, 3)
    wire.other.sendall(b"hello")
    wire.transport.doRead()
    assert wire.protocol.taken == b"hel", gone("FileDescriptor.bufferSize")
    internals.set_read_size(PushTransport(), 3)  # left alone


def test_a_read_is_overridden_and_restored(wire: Wire) -> None:
    calls: list[str] = []
    internals.override_read(wire.transport, lambda: calls.append("ours"))
    # Reactors look doRead up for each event.
    assert internals.read_once(wire.transport) is None
    assert calls == ["ours"], gone("FileDescriptor.doRead")
    internals.restore_read(wire.transport)
    wire.other.sendall(b"hello")
    assert internals.read_once(wire.transport) is None
    assert wire.protocol.taken == b"hello", gone("FileDescriptor.doRead")
    assert calls == ["ours"]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_port_accepts_so_many_at_a_time(kind: str, tmp_path: Path) -> None:
    reactor: Any = FakeSocket().reactor
    made: list[object] = []

    class Refusing(Factory):
        def buildProtocol(self, addr: object) -> None:  # noqa: N802
            made.append(addr)

    port: Any = (
        tcp.Port(0, Refusing(), 50, "127.0.0.1", reactor)
        if kind == "tcp"
        else unix.Port(str(tmp_path / "socket").encode(), Refusing(), 50, reactor=reactor)
    )
    port.startListening()
    assert port.numberAccepts > 8, gone("Port.numberAccepts")
    internals.accept_at_most(port, 8)
    clients = [socket.socket(port.addressFamily) for _ in range(20)]
    for client in clients:
        client.connect(port.socket.getsockname())
    counts = []
    for _ in range(4):
        internals.read_once(port)
        counts.append(len(made))
    assert counts == [8, 16, 20, 20], gone("Port.doRead")
    for client in (*clients, port.socket):
        client.close()


def test_a_port_of_another_kind_is_left_alone() -> None:
    port = PushTransport()
    internals.accept_at_most(port, 8)
    assert not hasattr(port, "doRead")


def test_a_transport_is_handed_over(wire: Wire) -> None:
    after = Taking()
    internals.replace_protocol(wire.transport, after)
    wire.other.sendall(b"hello")
    wire.transport.doRead()
    assert (wire.protocol.taken, after.taken) == (b"", b"hello"), gone("FileDescriptor.protocol")


def test_a_wrapper_such_as_tls_is_handed_over() -> None:
    before, after = Taking(), Taking()
    wrapper: Any = WrappingFactory(Factory.forProtocol(lambda: before)).buildProtocol(
        IPv4Address("TCP", "192.0.2.1", 1)
    )
    assert issubclass(TLSMemoryBIOProtocol, ProtocolWrapper)
    wrapper.makeConnection(FakeSocket())
    internals.replace_protocol(wrapper, after)
    wrapper.dataReceived(b"hello")
    assert (before.taken, after.taken) == (b"", b"hello"), gone("ProtocolWrapper.wrappedProtocol")


def test_the_peer_is_overridden(wire: Wire) -> None:
    client = IPv4Address("TCP", "192.0.2.7", 7)
    own: IAddress = wire.transport.getPeer()
    internals.override_peer(wire.transport, own)
    assert "getPeer" not in vars(wire.transport)  # nothing to override
    internals.override_peer(wire.transport, client)
    assert wire.transport.getPeer() == client, gone("transport.getPeer")
    wrapper = WrappingFactory(Factory.forProtocol(Protocol)).buildProtocol(own)
    wrapper.makeConnection(wire.transport)
    assert wrapper.getPeer() == client, gone("transport.getPeer")


# ---------------------------------------------------------------- reactors


class OnlyTimers(ReactorBase):
    """A reactor as all others, without sockets."""

    def installWaker(self) -> None:  # noqa: N802
        """Do nothing."""


def test_timers_run_by_a_clock_that_is_never_set(monkeypatch: pytest.MonkeyPatch) -> None:
    reactor: Any = OnlyTimers()
    told: list[str] = []
    gone_timer = reactor.callLater(5, told.append, "cancelled")
    due = reactor.callLater(0, told.append, "due")
    reactor.runUntilCurrent()  # those before are in the heap now
    assert told == ["due"]
    assert due.called
    far = reactor.callLater(3600, told.append, "far")
    soon = reactor.callLater(0, told.append, "soon")
    gone_timer.cancel()
    for _ in range(2):
        assert internals.use_monotonic_clock(reactor) is time.time
        assert abs(reactor.seconds() - time.time()) < 60, "others show it as the time of day"
    the_time = time.time
    monkeypatch.setattr(time, "time", lambda: the_time() - 3600)  # the time of day is set back
    assert abs(reactor.seconds() - the_time()) < 60, gone("ReactorBase.seconds")
    assert abs(far.getTime() - the_time() - 3600) < 60, gone("ReactorBase._newTimedCalls")
    reactor.runUntilCurrent()
    assert told == ["due", "soon"]
    assert soon.called
    assert 0 < reactor.timeout() <= 5, gone("ReactorBase._pendingTimedCalls")
    far.reset(7200)
    assert abs(far.getTime() - the_time() - 7200) < 60
    reactor.callLater(0, told.append, "new")
    reactor.runUntilCurrent()
    assert told == ["due", "soon", "new"]


def test_a_simulated_clock_is_left_alone() -> None:
    clock = Clock()
    clock.advance(12)
    wall_s = internals.use_monotonic_clock(clock)
    clock.advance(1)
    assert wall_s() == clock.seconds() == 13


def test_what_waits_is_known_below_tls_as_well(wire: Wire) -> None:
    wrapper = WrappingFactory(Factory.forProtocol(Protocol)).buildProtocol(wire.transport.getPeer())
    wrapper.makeConnection(wire.transport)
    wire.transport.write(b"hello")
    assert internals.waiting_bytes(wire.transport) == 5
    assert internals.waiting_bytes(wrapper) == 5
    assert internals.waiting_bytes(PushTransport()) == 0


def test_tls_of_an_endpoint_is_replaced(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    reactor = MemoryReactor()
    text = f"ssl:1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    endpoint = serverFromString(reactor, text)
    given: list[object] = []

    def replace(before: object) -> str:
        given.append(before)
        return "ours"

    internals.replace_tls(endpoint, replace)
    endpoint.listen(Factory())
    item = "SSL4ServerEndpoint._sslContextFactory"
    assert isinstance(given[0], CertificateOptions), gone(item)
    assert reactor.sslServers[0][2] == "ours", gone(item)
    internals.replace_tls(serverFromString(reactor, "tcp:1"), given.append)
    assert len(given) == 1


# ---------------------------------------------------------------- runners


def test_the_fork_of_twistd_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def fork() -> int:
        seen.append(internals.is_daemonizing(sys._getframe(1)))
        raise BlockingIOError("no fork in a test")

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(BlockingIOError):
        UnixApplicationRunner(ServerOptions()).daemonize(None)
    with pytest.raises(BlockingIOError):
        os.fork()
    assert seen == [True, False], gone("UnixApplicationRunner.daemonize")


def test_a_log_on_the_screen_is_known(tmp_path: Path) -> None:
    assert not internals.is_log_on_screen()
    with (tmp_path / "log").open("w") as file:
        for stream, is_screen in ((file, False), (sys.__stdout__, True), (sys.__stderr__, True)):
            assert stream is not None
            observer = textFileLogObserver(stream)
            globalLogPublisher.addObserver(observer)
            try:
                assert internals.is_log_on_screen() is is_screen, gone("FileLogObserver._outFile")
            finally:
                globalLogPublisher.removeObserver(observer)


# ---------------------------------------------------------------- HTTP


class Refusing(HTTPConnection):
    """Takes note of what is no HTTP."""

    seen: tuple[bytes, int] | None = None

    def bad_request_received(self) -> None:
        """Take note."""
        self.seen = (self.requested_path, self.received_head_bytes)
        super().bad_request_received()


def connection(kind: type[HTTPConnection] = Refusing) -> tuple[Any, FakeSocket, Clock]:
    """Connect a browser to an HTTP server without pages."""
    clock = Clock()
    site = Site(Resource(), reactor=clock)
    site.protocol = kind  # type: ignore[assignment]  # without the wrapper for HTTP/2
    browser = FakeSocket()
    channel: Any = site.buildProtocol(browser.peer)
    browser.connect(channel)
    return channel, browser, clock


def test_what_is_no_http_is_seen_and_answered() -> None:
    channel, browser, _ = connection()
    browser.receive(b"GET /some/path HTTP/1.1\r\n")
    assert channel.requested_path == b"/some/path", gone("HTTPChannel._path")
    assert channel.received_head_bytes == 23, gone("HTTPChannel._receivedHeaderSize")
    browser.receive(b"no header\r\n\r\n")
    item = "HTTPChannel._respondToBadRequestAndDisconnect"
    assert channel.seen == (b"/some/path", 23 + 9), gone(item)
    assert browser.sent.startswith(b"HTTP/1.1 400 "), gone(item)


def test_before_a_request_there_is_no_path() -> None:
    channel, browser, _ = connection()
    assert (channel.requested_path, channel.received_head_bytes) == (b"", 0)
    browser.receive(b"GET /a HTTP/1.1\r\nHost: a\r\nb:c\r\n")
    assert channel.received_headers == 1, gone("HTTPChannel._receivedHeaderCount")
    browser.receive(b"\r\n")
    assert channel.received_headers == 0, gone("HTTPChannel._receivedHeaderCount")
    assert (channel.requested_path, channel.received_head_bytes) == (b"", 0)
    browser.receive(b"nonsense\r\n")
    assert channel.seen == (b"", 8)


def test_what_was_read_and_not_handled_is_known_and_can_wait() -> None:
    channel, browser, _ = connection()
    browser.receive(b"GET /a HT")
    assert channel.unhandled_bytes == 9, gone("LineReceiver._buffer")
    channel.paused = True
    browser.receive(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert channel.unhandled_bytes == 28, gone("LineReceiver.paused")
    assert not browser.sent
    channel.paused = False
    browser.receive(b"\r\n")
    assert browser.sent.startswith(b"HTTP/1.1 404 "), gone("LineReceiver.paused")
    assert channel.unhandled_bytes == 0


def test_requests_behind_one_that_is_answered_are_known() -> None:
    channel, browser, _ = connection()
    waiting = Resource()
    waiting.isLeaf = True
    waiting.render = lambda request: NOT_DONE_YET  # type: ignore[method-assign]
    channel.site.resource = waiting
    browser.receive(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b")
    assert channel.unhandled_bytes == 6, gone("HTTPChannel._dataBuffer")


def test_a_client_that_does_not_take_the_rest_is_aborted() -> None:
    channel, browser, clock = connection()
    browser.room = 0
    channel.transport.write(b"a last word")
    browser.turn()
    channel.close_or_abort()
    assert not browser.was_cut
    clock.advance(channel.abortTimeout + 1)
    assert browser.was_cut, gone("HTTPChannel._abortingCall")


def test_a_client_that_takes_the_rest_is_not_aborted_afterwards() -> None:
    channel, browser, clock = connection()
    channel.close_or_abort()
    browser.turn()
    assert browser.is_closed
    assert clock.getDelayedCalls() == [], gone("HTTPChannel._abortingCall")


@pytest.mark.parametrize(
    "name", ["_receivedHeaderSize", "_respondToBadRequestAndDisconnect", "_abortingCall"]
)
def test_http_connections_have_these_private_parts(name: str) -> None:
    assert hasattr(HTTPChannel, name), gone(f"HTTPChannel.{name}")


# ---------------------------------------------------------------- nowhere else

REPLACED = frozenset(
    {"doRead", "doWrite", "getHost", "getPeer", "protocol", "wrappedProtocol", "bufferSize", "TLS"}
)
"""Attributes of live transports that only one file assigns."""


def replaced_parts(source: str) -> list[str]:
    """List the places that assign or delete an attribute which only Twisted should set."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr in REPLACED and not is_own:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("setattr", "delattr")
            and len(node.args) > 1
            and ast.unparse(node.args[1]).strip("'\"") in REPLACED
        ):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def private_parts_of_others(source: str) -> list[str]:
    """List the places that reach for a private attribute of something other than ``self``."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and re.match(r"_(?!_)", node.attr)
        and ast.unparse(node.value) not in ("self", "cls", "super()")
    ]


def private_names(twisted_class: type) -> set[str]:
    """Return the private attributes of a class of Twisted: its own, and those its methods set."""
    names = set(vars(twisted_class))
    try:
        source = inspect.getsource(twisted_class)
    except (OSError, TypeError):  # written in C, or by zope.interface
        source = ""
    names.update(re.findall(r"\bself\.(\w+)", source))
    return {name for name in names if re.match(r"_(?!_)", name)}


def shared_private_names(ours: type) -> list[str]:
    """List the private attributes that a class has in common with a class of Twisted above it."""
    theirs: set[str] = set()
    for base in ours.__mro__:
        if base.__module__.startswith(("twisted.", "txws")):
            theirs |= private_names(base)
    tree = ast.parse(textwrap.dedent(inspect.getsource(ours)))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls", "super()")
    }
    used |= {name for name in vars(ours) if re.match(r"_(?!_)", name)}
    return sorted(used & theirs)


def other_modules() -> list[str]:
    """Name every module of the server but the one file and what is for test suites only."""
    names = [info.name for info in pkgutil.walk_packages([str(RTCHAT)], "rtchat.")]
    left_out = {internals.__name__, "rtchat.pytest_plugin"}
    return [name for name in names if name not in left_out]


def source_of(name: str) -> str:
    """Read a module."""
    path = RTCHAT.parent.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def test_every_module_is_looked_at() -> None:
    assert {"rtchat.net.web.channel", "rtchat.net.gateway.relay", "rtchat.tap"} < set(
        other_modules()
    )


@pytest.mark.parametrize("name", other_modules())
def test_no_other_module_replaces_parts_of_transports(name: str) -> None:
    assert replaced_parts(source_of(name)) == []


@pytest.mark.parametrize("name", [one for one in other_modules() if ".core." not in one])
def test_no_other_module_uses_private_parts_of_twisted(name: str) -> None:
    module = importlib.import_module(name)
    shared = {
        found.__qualname__: names
        for found in vars(module).values()
        if inspect.isclass(found) and found.__module__ == name
        if (names := shared_private_names(found))
    }
    assert shared == {}


@pytest.mark.parametrize("name", [one for one in other_modules() if ".net" in one])
def test_no_module_of_net_uses_private_parts_of_others(name: str) -> None:
    assert private_parts_of_others(source_of(name)) == []


@pytest.mark.parametrize(
    "source",
    [
        "stream.doRead = read",
        "del stream.doRead",
        "transport.getPeer = lambda: client",
        "self.transport.protocol = other",
        "transport.wrappedProtocol = other",
        "a, transport.bufferSize = 1, 2",
        "setattr(transport, 'doRead', read)",
        "def f(self):\n    with x as self.transport.protocol:\n        pass",
    ],
)
def test_a_replaced_part_is_found(source: str) -> None:
    assert len(replaced_parts(source)) == 1


@pytest.mark.parametrize(
    "source",
    ["transport.getPeer()", "self.protocol = x", "x = transport.protocol", "stream.doRead()"],
)
def test_what_replaces_nothing_is_left_alone(source: str) -> None:
    assert replaced_parts(source) == []


@pytest.mark.parametrize(
    "source", ["channel._path", "self.channel._path = 1", "f(x)._networkProducer.pauseProducing()"]
)
def test_a_private_part_of_another_is_found(source: str) -> None:
    assert len(private_parts_of_others(source)) == 1


@pytest.mark.parametrize("source", ["self._path", "super()._path", "x.path", "x.__dict__"])
def test_what_is_own_or_public_is_left_alone(source: str) -> None:
    assert private_parts_of_others(source) == []


class Planted:
    """Classes that break the rule, each in its own way."""

    class Uses(HTTPChannel):
        """Reads a private attribute."""

        def path(self) -> object:
            """Read it."""
            return self._path

    class Overrides(HTTPChannel):
        """Overrides a private method."""

        def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
            """Override it."""

    class Assigns(HTTPConnection):
        """Assigns a private attribute, by accident perhaps."""

        def connectionMade(self) -> None:  # noqa: N802
            """Assign it."""
            self._abortingCall = None


@pytest.mark.parametrize(
    "planted, name",
    [
        (Planted.Uses, "_path"),
        (Planted.Overrides, "_respondToBadRequestAndDisconnect"),
        (Planted.Assigns, "_abortingCall"),
    ],
)
def test_a_private_part_of_twisted_is_found(planted: type, name: str) -> None:
    assert shared_private_names(planted) == [name]


def test_names_of_our_own_are_left_alone() -> None:
    assert shared_private_names(Refusing) == []
