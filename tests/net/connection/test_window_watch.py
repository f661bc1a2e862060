"""The time-out for machines that vanish spares those who only do not read."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import pytest
from support.process import until
from twisted.internet.task import Clock

from rtchat.net.connection import window_watch
from rtchat.net.connection.transport import (
    USER_TIMEOUT_S,
    StreamTransport,
    expect_life,
    set_up_port,
)
from rtchat.net.connection.window_watch import WindowWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the option")


class Transport:
    """What the watch takes of a transport."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.was_cut = False

    def abortConnection(self) -> None:
        self.was_cut = True


class Served:
    """A connection that a port of the server has accepted, and its client."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.watch = WindowWatch(self.clock)
        with socket.socket() as listener:
            # Before it listens: then it holds for what it accepts.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            set_up_port(Transport(listener), is_http=True)
            self.client = socket.socket()
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            self.client.connect(listener.getsockname())
            self.socket, _ = listener.accept()
        self.socket.setblocking(False)
        self.transport = Transport(self.socket)
        self.watch.watch(cast(StreamTransport, self.transport))

    @property
    def timeout_s(self) -> float:
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000

    def send_all_it_takes(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self.socket.send(bytes(65536))

    def look(self) -> None:
        """Look at every connection."""
        self.clock.pump([5.0] * 4)

    def is_exempt(self) -> bool:
        self.look()
        return self.timeout_s == 0

    def close(self) -> None:
        self.socket.close()
        self.client.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def test_a_port_gives_its_options_to_what_it_accepts(served: Served) -> None:
    tcp = {
        socket.TCP_KEEPIDLE: 60,
        socket.TCP_KEEPINTVL: 10,
        socket.TCP_KEEPCNT: 3,
        socket.TCP_USER_TIMEOUT: 90_000,
        socket.TCP_NOTSENT_LOWAT: 1024 * 1024,
    }
    got = {name: served.socket.getsockopt(socket.IPPROTO_TCP, name) for name in tcp}
    assert got == tcp
    assert served.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_unix_socket_needs_no_options() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        expect_life(ours)
        set_up_port(Transport(ours), is_http=True)


class Picky(socket.socket):
    """A socket of a system that knows none of the options, as WSL 1 knows not all of them."""

    def setsockopt(self, *_: object) -> None:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")


def test_a_system_without_the_options_starts() -> None:
    with Picky() as connection:
        expect_life(connection)
        set_up_port(Transport(connection), is_http=True)


def test_a_client_that_does_not_read_is_exempt_until_it_reads(served: Served) -> None:
    served.send_all_it_takes()
    until("exemption", served.is_exempt)
    served.client.settimeout(5)
    taken = 0
    while taken < 4 * 1024 * 1024 and served.timeout_s == 0:
        taken += len(served.client.recv(65536))
        served.look()
    assert served.timeout_s == USER_TIMEOUT_S
    assert not served.transport.was_cut


def test_a_client_that_reads_is_not_exempt(served: Served) -> None:
    served.look()
    assert served.timeout_s == USER_TIMEOUT_S


def test_an_exempt_client_that_answers_no_probe_is_gone(served: Served) -> None:
    served.send_all_it_takes()
    until("exemption", served.is_exempt)
    # As the system says it of a machine that has vanished behind its closed window.
    state = bytearray(60)
    state[3], state[4] = 2, 9
    state[56:60] = (USER_TIMEOUT_S * 1000).to_bytes(4, sys.byteorder)

    class Vanished:
        def getsockopt(self, level: int, name: int, size: int) -> bytes:
            return bytes(state[:size])

    served.transport.socket = cast(socket.socket, Vanished())
    served.look()
    assert served.transport.was_cut


def test_nothing_runs_without_connections(served: Served) -> None:
    served.watch.forget(cast(StreamTransport, served.transport))
    assert served.clock.getDelayedCalls() == []
    served.watch.forget(cast(StreamTransport, served.transport))


def test_a_closed_socket_is_forgotten(served: Served) -> None:
    served.socket.close()
    served.look()
    assert served.clock.getDelayedCalls() == []


def test_every_connection_is_looked_at_in_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    watch = WindowWatch(clock)
    seen: list[object] = []
    monkeypatch.setattr(
        window_watch.WindowWatch, "_check", lambda _, transport, __: seen.append(transport)
    )
    with socket.socket() as one:
        transports: list[Any] = [Transport(one) for _ in range(10)]
        for transport in transports:
            watch.watch(transport)
        clock.pump([5.0] * 4)
        assert set(seen) == set(transports)
        assert len(seen) == 10
        for transport in transports:
            watch.forget(transport)
