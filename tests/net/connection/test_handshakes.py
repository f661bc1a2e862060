"""TLS handshakes that do not come to an end, over fake sockets."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL
from support.certificate import write_certificate
from support.logs import Logs, captured_logs
from support.net import FakeSite, FakeSocket
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory

from rtchat.net.connection.handshakes import HandshakeWatch, WatchedTls
from rtchat.net.connection.tls import Certificates


class Door:
    """A port with TLS in front of a site and a broker."""

    def __init__(self, folder: Path) -> None:
        write_certificate(folder)
        self.site = FakeSite()
        self.clock: Clock = self.site.clock
        self.watch = HandshakeWatch(self.clock, 10)
        certificates = Certificates(folder / "cert.pem", folder / "key.pem", None)
        self._tls = WatchedTls(certificates, self.watch)

    def connect(self, served: IProtocolFactory) -> FakeSocket:
        """Connect, without a word."""
        socket = FakeSocket()
        factory = TLSMemoryBIOFactory(self._tls, False, served, self.clock)
        socket.connect(factory.buildProtocol(socket.peer))
        return socket


class Client:
    """OpenSSL's client side."""

    def __init__(self, socket: FakeSocket) -> None:
        self._socket = socket
        self.tls = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self.tls.set_connect_state()

    def step(self) -> bytes:
        """Go one step on; return what is to be sent."""
        data = self._socket.taken()
        if data:
            self.tls.bio_write(data)
        with suppress(SSL.WantReadError):
            self.tls.do_handshake()
        try:
            return self.tls.bio_read(1 << 16)
        except SSL.WantReadError:
            return b""

    def finish(self) -> None:
        """Do the whole handshake."""
        for _ in range(5):
            if data := self.step():
                self._socket.receive(data)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_a_browser_that_says_nothing_is_cut_and_the_log_says_why(door: Door, logs: Logs) -> None:
    socket = door.connect(door.site.site)
    door.clock.advance(9.9)
    assert not socket.is_closed
    door.clock.advance(0.2)
    assert socket.was_cut
    assert logs.lines() == ["192.0.2.1:54321: refused: no complete TLS handshake within 10 s"]
    assert door.site.site.limiter.count == 0


def test_a_handshake_byte_by_byte_has_no_more_time(door: Door, logs: Logs) -> None:
    socket = door.connect(door.site.site)
    for byte in Client(socket).step():
        if socket.is_closed:
            break
        socket.receive(bytes([byte]))
        door.clock.advance(0.5)
    assert socket.was_cut
    assert door.clock.seconds() < 11
    assert len(logs.lines()) == 1


def test_a_stomp_client_has_no_more_time_either(door: Door, logs: Logs) -> None:
    socket = door.connect(door.site.stomp)
    socket.receive(Client(socket).step()[:20])
    for _ in range(21):
        door.clock.advance(0.5)
    assert socket.was_cut
    assert len(logs.lines()) == 1


@pytest.mark.parametrize("served", ["site", "stomp"])
def test_a_handshake_that_is_complete_is_left_alone(door: Door, logs: Logs, served: str) -> None:
    factory = door.site.site if served == "site" else door.site.stomp
    socket = door.connect(factory)
    client = Client(socket)
    client.finish()
    client.tls.send(b"CONNECT\naccept-version:1.2\n\n\0" if served == "stomp" else b"GET")
    socket.receive(client.tls.bio_read(1 << 16))
    door.clock.advance(9)
    assert not socket.is_closed
    door.watch._look()
    assert not socket.is_closed


def test_connections_that_are_gone_are_not_kept(door: Door, logs: Logs) -> None:
    for _ in range(50):
        door.connect(door.site.site).end()
    gc.collect()
    assert [one() for _, one in door.watch._begun] == [None] * 50
    door.clock.advance(10)
    assert not door.watch._begun
    assert door.clock.getDelayedCalls() == []
