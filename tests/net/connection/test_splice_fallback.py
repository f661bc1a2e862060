"""Much from a target, where pipes are small, few, or of no use."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.process import free_port
from support.sockets import RealWebSocket
from support.websocket import BINARY, CLOSE
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.pollreactor import PollReactor
from websockets.sync.client import connect

from rtchat.core.access.hosts import HostList, Target
from rtchat.net.connection.splice import PipePool
from rtchat.net.gateway.relay import ProxyFactory
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.upgrade import WebSocketResource

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has splice")

SOME = b"".join(number.to_bytes(4, "big") for number in range(2_000_000))  # 8 MB, all different

PIPED_BYTES = 200_000
"""How much of it goes through a pipe at least, however slow this machine is at the moment."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.settimeout(10)
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(100)
        yield listener


class Gateway:
    """A gateway in this process, with a reactor of its own in a thread.

    Args:
        target_port: Where every WebSocket leads to.
        pipes: What it splices with.
        deflate: Whether messages are compressed for who offers it.
    """

    def __init__(self, target_port: int, pipes: PipePool, *, deflate: bool = False) -> None:
        self._pipes = pipes
        self.port = free_port()
        self._target_port = target_port
        self._deflate = deflate
        self._is_open = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Gateway:
        self._thread.start()
        assert self._is_open.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        reactor: Any = PollReactor()

        def endpoint(_: Target) -> TCP4ClientEndpoint:
            return TCP4ClientEndpoint(reactor, "127.0.0.1", self._target_port)

        proxies = ProxyFactory(
            Target("127.0.0.1", self._target_port), endpoint, reactor, 10, pipes=self._pipes
        )
        sockets = WebSockets(proxies, reactor, ping_interval_s=0, deflate=self._deflate)
        site = PageSite(WebSocketResource(sockets), HostList(), reactor)
        port = reactor.listenTCP(self.port, site, interface="127.0.0.1")
        self._is_open.set()
        while not self._is_over.is_set():
            reactor.iterate(0.02)
        port.stopListening()
        reactor.disconnectAll()
        reactor.iterate(0)
        for waker in list(reactor._internalReaders):
            waker.connectionLost(None)


class Splices:
    """What goes through ``os.splice``: how much was taken from sockets, and how often.

    Attributes:
        taken: How much came of each call that fills a pipe.
        refuses: Called with whether a call fills a pipe; it may raise.
    """

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.refuses: Callable[[bool], None] = lambda is_filling: None
        self._splice = os.splice

    def __call__(self, source: int, sink: int, count: int, **options: int) -> int:
        is_filling = stat.S_ISFIFO(os.fstat(sink).st_mode)
        self.refuses(is_filling)
        size = self._splice(source, sink, count, **options)
        if is_filling:
            self.taken.append(size)
        return size


@pytest.fixture
def splices(monkeypatch: pytest.MonkeyPatch) -> Splices:
    splices = Splices()
    monkeypatch.setattr(os, "splice", splices)
    return splices


@pytest.fixture
def pipes() -> Iterator[PipePool]:
    pipes = PipePool()
    yield pipes
    assert len(pipes.free) == pipes.count
    for pipe in pipes.free:
        pipe.close()


def gets_all(gateway: Gateway, listener: socket.socket) -> bool:
    """Let a target send much; see that its browser gets every byte, and the end."""
    with RealWebSocket(gateway.port, "/") as browser:
        target, _ = listener.accept()
        with target:
            sender = threading.Thread(target=send_and_end, args=(target, SOME), daemon=True)
            sender.start()
            got = bytearray()
            while (frame := browser.read()).opcode != CLOSE:
                assert frame.opcode == BINARY
                got += frame.payload
            sender.join()
    assert frame.code == 1000
    return bytes(got) == SOME


def send_and_end(target: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # the browser has gone
        target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_usually_most_goes_through_a_pipe(
    listener: socket.socket, splices: Splices, pipes: PipePool
) -> None:
    with Gateway(listener.getsockname()[1], pipes) as gateway:
        assert gets_all(gateway, listener)
    assert sum(splices.taken) > PIPED_BYTES
    assert pipes.count == 1


def test_small_pipes_carry_as_much(
    listener: socket.socket, splices: Splices, pipes: PipePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = fcntl.fcntl

    def control(file: int, command: int, *arguments: Any) -> Any:
        if command == fcntl.F_SETPIPE_SZ:
            raise PermissionError(errno.EPERM, "this user has had its share")
        return usual(file, command, *arguments)

    monkeypatch.setattr(fcntl, "fcntl", control)
    with Gateway(listener.getsockname()[1], pipes) as gateway:
        assert gets_all(gateway, listener)
    assert sum(splices.taken) > PIPED_BYTES
    assert max(splices.taken) <= 65536


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS], ids=["EINVAL", "ENOSYS"])
@pytest.mark.parametrize("fills", [True, False], ids=["from the target", "to the browser"])
@pytest.mark.parametrize("at_first", [0, 1], ids=["never", "no more"])
def test_what_cannot_be_spliced_is_read_and_written(
    listener: socket.socket,
    splices: Splices,
    pipes: PipePool,
    number: int,
    fills: bool,
    at_first: int,
) -> None:
    calls = 0

    def refuses(is_filling: bool) -> None:
        nonlocal calls
        if is_filling is fills:
            calls += 1
            if calls > at_first:
                raise OSError(number, os.strerror(number))

    splices.refuses = refuses
    with Gateway(listener.getsockname()[1], pipes) as gateway:
        assert gets_all(gateway, listener)
    assert calls > at_first


def test_who_finds_no_pipe_free_gets_all_the_same(
    listener: socket.socket, splices: Splices, pipes: PipePool
) -> None:
    lent = [pipe for _ in range(16) if (pipe := pipes.borrow()) is not None]
    assert len(lent) == 16
    assert pipes.borrow() is None
    with Gateway(listener.getsockname()[1], pipes) as gateway:
        assert gets_all(gateway, listener)
        assert not splices.taken
        lent.pop().release()
        assert gets_all(gateway, listener)
        assert sum(splices.taken) > PIPED_BYTES
    for pipe in lent:
        pipe.release()


def test_what_is_compressed_goes_through_no_pipe(
    listener: socket.socket, splices: Splices, pipes: PipePool
) -> None:
    with (
        Gateway(listener.getsockname()[1], pipes, deflate=True) as gateway,
        connect(f"ws://127.0.0.1:{gateway.port}/", max_size=None) as browser,
    ):
        assert [extension.name for extension in browser.protocol.extensions] == [
            "permessage-deflate"
        ]
        target, _ = listener.accept()
        with target:
            sender = threading.Thread(target=send_and_end, args=(target, SOME), daemon=True)
            sender.start()
            assert b"".join(data for data in browser if isinstance(data, bytes)) == SOME
            sender.join()
        assert browser.close_code == 1000
    assert not splices.taken
