"""Much from a target: through pipes, on a real server, with browsers that stall or vanish."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support.process import Server, free_port, until
from support.sockets import RealWebSocket
from support.websocket import BINARY, CLOSE, PING, PONG
from twisted.internet.abstract import FileDescriptor
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from rtchat.core.flow.outbound import Cork
from rtchat.net.connection.splice import Pipe, PipePool, SplicingWriter
from rtchat.net.connection.transport import as_stream

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has splice")

CAP_BYTES = 256 * 1024
FLOOD = b"".join(number.to_bytes(4, "big") for number in range(6_000_000))  # 24 MB, all different


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.settimeout(10)
        listener.bind(("127.0.0.1", free_port()))
        listener.listen(100)
        yield listener


@pytest.fixture
def server(listener: socket.socket, tmp_path: Path) -> Iterator[Server]:
    rules = f"[access]\nself -> 127.0.0.1:{listener.getsockname()[1]}\n"
    with Server.on_free_ports(tmp_path, rules) as server:
        yield server


class Pair:
    """A browser that reads when it is asked to, and its target."""

    def __init__(
        self, server: Server, listener: socket.socket, receive_buffer_bytes: int = 0
    ) -> None:
        path = f"/tcp/127.0.0.1:{listener.getsockname()[1]}"
        self.browser = RealWebSocket(server.http, path, receive_buffer_bytes=receive_buffer_bytes)
        self.target, _ = listener.accept()
        self.target.settimeout(30)
        self._sender: threading.Thread | None = None

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        self.browser.socket.close()
        self.target.close()
        if self._sender is not None:
            self._sender.join()

    def send(self, data: bytes) -> None:
        """Let the target send, however long that takes, and end."""

        def send() -> None:
            try:
                self.target.sendall(data)
                self.target.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the browser has gone

        self._sender = threading.Thread(target=send)
        self._sender.start()

    def read(self, size: int) -> bytes:
        """Read messages until there is so much."""
        got = bytearray()
        while len(got) < size:
            frame = self.browser.read()
            assert frame.opcode == BINARY
            got += frame.payload
        return bytes(got)


def open_files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def waits_for_nothing(server: Server) -> None:
    """Wait until the server does nothing any more: all buffers are full."""
    stat = Path(f"/proc/{server.pid}/stat")
    seen: list[str] = []

    def is_still() -> bool:
        fields = stat.read_text().split()
        seen.append(fields[13] + fields[14])
        return server.is_asleep and len(seen) > 10 and len(set(seen[-10:])) == 1

    until("stillness, which is when all buffers are full", is_still, 60)


def test_much_arrives_as_it_was_sent_and_then_the_close(
    server: Server, listener: socket.socket
) -> None:
    with Pair(server, listener) as pair:
        pair.send(FLOOD)
        assert pair.read(len(FLOOD)) == FLOOD
        assert pair.browser.read().code == 1000


def test_browsers_that_stall_hold_no_more_than_256_kib_each_and_miss_nothing(
    server: Server, listener: socket.socket
) -> None:
    with ExitStack() as stack:
        with Pair(server, listener) as first:  # what is loaded late, or kept for good, is there
            first.send(FLOOD)
            first.read(len(FLOOD))
            assert first.browser.read().code == 1000
        # More than there are pipes. The first one's buffers stay so small that the end of the flood
        # waits behind its PONG; those of the others may take all of it.
        pairs = [Pair(server, listener, 1 << 20), *(Pair(server, listener) for _ in range(19))]
        for pair in pairs:
            stack.enter_context(pair)
        before = server.resident_bytes()
        server.reset_peak()
        for pair in pairs:
            pair.send(FLOOD)
        waits_for_nothing(server)
        # They read fast, so that buffers grow and there is much to fill a pipe with, then stall.
        begun = [pair.read(12_000_000) for pair in pairs]
        waits_for_nothing(server)
        # What is read meanwhile, one read or two, does not wait for long.
        assert server.peak_bytes() - before < (len(pairs) + 2) * CAP_BYTES
        pairs[0].browser.send(PING, b"still there?")
        for pair, had in zip(pairs[1:], begun[1:], strict=True):
            assert had + pair.read(len(FLOOD) - len(had)) == FLOOD
            assert pair.browser.read().code == 1000
        got, pongs = bytearray(begun[0]), 0
        while len(got) < len(FLOOD):
            frame = pairs[0].browser.read()
            pongs += frame.opcode == PONG
            got += b"" if frame.opcode == PONG else frame.payload
        assert bytes(got) == FLOOD
        assert pongs == 1
        # All pipes are lent anew, and are empty.
        last = stack.enter_context(Pair(server, listener))
        last.send(FLOOD)
        assert last.read(len(FLOOD)) == FLOOD


def test_a_browser_that_vanishes_in_the_middle_leaves_no_file_open(
    server: Server, listener: socket.socket
) -> None:
    with Pair(server, listener) as first:
        first.send(FLOOD)
        first.read(len(FLOOD))
    until("end of the first one", lambda: open_files(server) < 40, 15)
    before = open_files(server)
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(Pair(server, listener, 65536)).send(FLOOD)
            waits_for_nothing(server)
        until("server without open files", lambda: open_files(server) <= before, 60)
    with Pair(server, listener) as last:
        last.send(FLOOD)
        assert last.read(len(FLOOD)) == FLOOD


def test_a_browser_that_closes_while_much_comes_is_answered(
    server: Server, listener: socket.socket
) -> None:
    with Pair(server, listener, 65536) as pair:
        pair.send(FLOOD)
        waits_for_nothing(server)
        pair.browser.send(CLOSE, b"\x03\xe8")
        got = bytearray()
        while (frame := pair.browser.read()).opcode != CLOSE:
            got += frame.payload
        assert FLOOD.startswith(got)
        assert frame.code == 1000


def test_small_answers_follow_large_ones(server: Server, listener: socket.socket) -> None:
    with Pair(server, listener) as pair:
        for size in (3_000_000, 1, 100_000, 0, 40_000, 64, 2_000_000):
            pair.browser.send(BINARY, size.to_bytes(4, "big"))
            assert pair.target.recv(4) == size.to_bytes(4, "big")
            sender = threading.Thread(target=pair.target.sendall, args=(FLOOD[:size],))
            sender.start()
            assert pair.read(size) == FLOOD[:size]
            sender.join()


# ---------------------------------------------------------------- the pipes themselves


def sockets() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return one, other


def borrowed(pipes: PipePool) -> Pipe:
    pipe = pipes.borrow()
    assert pipe is not None
    return pipe


def test_there_are_a_few_pipes_and_one_that_is_given_back_is_lent_again() -> None:
    pipes = PipePool()
    lent = []
    while (pipe := pipes.borrow()) is not None:
        lent.append(pipe)
    assert len(lent) == pipes.count == 16
    lent[3].release()
    assert pipes.borrow() is lent[3]
    lent.pop().close()
    lent.append(borrowed(pipes))
    assert pipes.borrow() is None
    for pipe in lent:
        pipe.close()
    assert pipes.count == 0


def test_a_pipe_gives_what_it_took_and_takes_back_what_is_left() -> None:
    pipe = borrowed(PipePool())
    source, target = sockets()
    sink, browser = sockets()
    with source, target, sink, browser:
        assert pipe.fill_from(source.fileno(), 1 << 20) == 0  # nothing is there
        target.send(b"x" * 1000)
        assert pipe.fill_from(source.fileno(), 1 << 20) == 1000
        assert pipe.drain_into(sink.fileno(), 400) == 400
        assert browser.recv(1000) == b"x" * 400
        assert pipe.read(600) == b"x" * 600
        target.close()
        assert pipe.fill_from(source.fileno(), 1 << 20) == 0  # nothing comes
        pipe.close()


def test_a_pipe_ends_with_what_a_socket_takes() -> None:
    pipe = borrowed(PipePool())
    source, target = sockets()
    sink, browser = sockets()
    with source, target, sink, browser:
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sent = target.send(b"y" * 100_000)
        assert pipe.fill_from(source.fileno(), 1 << 20) == sent
        took = pipe.drain_into(sink.fileno(), sent)
        assert 0 < took < sent
        browser.close()
        assert pipe.drain_into(sink.fileno(), sent - took) == 0  # it is lost
        assert pipe.read(sent - took) == b"y" * (sent - took)
        pipe.close()


def test_where_the_system_cannot_splice_there_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "splice")
    assert PipePool().borrow() is None


# ---------------------------------------------------------------- the writer, with a real socket


@implementer(ISystemHandle)
class Transport(FileDescriptor):
    """A transport over a real socket whose writes wait until the test sends them."""

    def __init__(self, handle: socket.socket) -> None:
        super().__init__(reactor=MemoryReactorClock())
        self.connected = 1
        self.handle = handle
        self.waits = b""

    def getHandle(self) -> socket.socket:  # noqa: N802
        """Return the socket."""
        return self.handle

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.waits += data

    def turn(self) -> None:
        """Send what the socket takes; when that was all, ask for more."""
        try:
            self.waits = self.waits[self.handle.send(self.waits) :]
        except BlockingIOError:
            return
        if not self.waits:
            assert isinstance(self.producer, SplicingWriter)
            self.producer.resumeProducing()


MUCH = FLOOD[:900_000]


class Stalled:
    """An writer that was given much in a pipe while the browser does not read."""

    def __init__(self) -> None:
        sink, self.browser = sockets()
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.transport = Transport(sink)
        self.writer = SplicingWriter(as_stream(self.transport), Cork())
        self.pipes = PipePool()
        pipe = borrowed(self.pipes)
        source, target = sockets()
        with source, target:
            for at in range(0, len(MUCH), 100_000):
                target.sendall(MUCH[at : at + 100_000])
                assert pipe.fill_from(source.fileno(), 1 << 20) == 100_000
        assert 0 < self.writer.splice_capacity_bytes <= CAP_BYTES + 65536
        self.writer.write_spliced(b"header", pipe, len(MUCH))

    def __enter__(self) -> Stalled:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.handle.close()
        self.browser.close()
        for pipe in self.pipes.free:
            pipe.close()

    def read(self) -> bytes:
        """Read as the browser, while the transport sends, until nothing comes any more."""
        got = b""
        while True:
            try:
                got += self.browser.recv(50_000)
            except BlockingIOError:
                return got
            self.transport.turn()
            assert len(self.transport.waits) <= CAP_BYTES


def test_what_waits_stays_in_the_pipe_but_for_a_part_and_all_keeps_its_order() -> None:
    with Stalled() as stalled:
        writer = stalled.writer
        assert 0 < len(stalled.transport.waits) <= CAP_BYTES
        assert 500_000 < writer.waiting_bytes < len(MUCH)
        assert not writer.splice_capacity_bytes
        waited = writer.waiting_bytes
        writer.write_now(b"after it")
        assert writer.waiting_bytes == waited + len(b"after it")
        assert not stalled.pipes.free
        assert stalled.read() == b"header" + MUCH + b"after it"
        assert writer.waiting_bytes == 0
        assert writer.splice_capacity_bytes
        assert len(stalled.pipes.free) == 1


def test_a_python_that_does_not_name_the_option_splices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sink = socket.create_connection(listener.getsockname())
    with sink:
        writer = SplicingWriter(as_stream(Transport(sink)), Cork())
        assert writer.splice_capacity_bytes > CAP_BYTES


def test_who_feeds_it_is_paused_until_little_waits() -> None:
    class Producer:
        paused = 0

        def pauseProducing(self) -> None:
            self.paused += 1

        def resumeProducing(self) -> None:
            self.paused -= 1

        def stopProducing(self) -> None:
            self.paused = 99

    with Stalled() as stalled:
        producer = Producer()
        stalled.writer.register_producer(producer)  # type: ignore[arg-type]
        assert producer.paused == 1
        stalled.transport.turn()
        assert producer.paused == 1
        stalled.read()
        assert producer.paused == 0


def test_a_close_hands_over_all_that_is_in_the_pipe() -> None:
    with Stalled() as stalled:
        stalled.writer.write_now(b"the end")
        stalled.writer.close()
        assert len(stalled.pipes.free) == 1
        got = b""
        while stalled.transport.waits:
            got += stalled.browser.recv(50_000)
            with suppress(BlockingIOError):
                sent = stalled.transport.handle.send(stalled.transport.waits)
                stalled.transport.waits = stalled.transport.waits[sent:]
        with suppress(BlockingIOError):
            while True:
                got += stalled.browser.recv(50_000)
        assert got == b"header" + MUCH + b"the end"


def test_a_connection_that_is_lost_takes_its_pipe_with_it() -> None:
    with Stalled() as stalled:
        assert stalled.pipes.count == 1
        stalled.writer.stopProducing()
        assert stalled.pipes.count == 0
        assert not stalled.pipes.free
        assert stalled.writer.waiting_bytes == 0
