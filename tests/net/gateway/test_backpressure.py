"""Real sockets: a side that does not read stops its sender, and costs the server no memory."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.process import Server, until
from support.sockets import RealWebSocket
from support.stomp import frame_bytes
from support.websocket import BINARY, CLOSE, TEXT, ws_frame
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.slow]

MIB = 1024 * 1024
PUSHED_BYTES = 200 * MIB
CHUNK = bytes(range(256)) * 256  # 64 KiB
SLEEP_S = 2.0
ALLOWED_GROWTH_BYTES = 16 * MIB


class Target:
    """A TCP service on loopback for one client; what it does runs in a thread."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = hashlib.sha256()
        self.received_bytes = 0
        self.sent_bytes = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        if self._thread is not None:
            self._thread.join(10)

    def push(self) -> None:
        """Send everything as fast as it is taken, then close."""

        def run() -> None:
            connection, _ = self._listener.accept()
            with connection:
                for _ in range(PUSHED_BYTES // len(CHUNK)):
                    connection.sendall(CHUNK)
                    self.sent_bytes += len(CHUNK)

        self._start(run)

    def sleep_then_read(self, wake: threading.Event) -> None:
        """Read nothing until the event, then all."""

        def run() -> None:
            connection, _ = self._listener.accept()
            with connection:
                wake.wait(60)
                while data := connection.recv(1 << 20):
                    self.received.update(data)
                    self.received_bytes += len(data)

        self._start(run)

    def join(self) -> None:
        """Wait until it is done."""
        assert self._thread is not None
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _start(self, run: object) -> None:
        self._thread = threading.Thread(target=run, daemon=True)  # type: ignore[arg-type]
        self._thread.start()


def pushed_hash() -> str:
    digest = hashlib.sha256()
    for _ in range(PUSHED_BYTES // len(CHUNK)):
        digest.update(CHUNK)
    return digest.hexdigest()


class Chat:
    """Two clients that talk to each other all the time and measure how long it takes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self.slowest_s = 0.0
        self.messages = 0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Chat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        try:
            with (
                Wire(self._server.stomp) as one,
                RealWebSocket(self._server.http, "/ws", subprotocols="v12.stomp") as other,
            ):
                one.connect()
                one.subscribe("/topic/chat")
                other.send(TEXT, frame_bytes("CONNECT", accept_version="1.2"))
                other.read()
                while not self._stop.wait(0.02):
                    start = time.monotonic()
                    other.send(TEXT, frame_bytes("SEND", b"hi", destination="/topic/chat"))
                    assert one.frame().body == b"hi"
                    self.slowest_s = max(self.slowest_s, time.monotonic() - start)
                    self.messages += 1
        except BaseException as error:
            self.error = error

    def check(self) -> None:
        """It went on all the time, at the speed of a chat."""
        assert self.error is None, self.error
        assert self.messages > 20
        assert self.slowest_s < 1


@contextmanager
def proxying(folder: Path, target: Target) -> Iterator[Server]:
    config = f"[access]\n* -> localhost:{{stomp}}\n* -> 127.0.0.1:{target.port}\n"
    with Server.on_free_ports(folder, config) as server:
        with Wire(server.stomp) as warm_up:
            warm_up.connect()
        yield server


def open_proxy(server: Server, target: Target) -> RealWebSocket:
    return RealWebSocket(server.http, f"/tcp/127.0.0.1:{target.port}")


@contextmanager
def memory_watched(server: Server) -> Iterator[None]:
    """Fail if the server's memory grew by more than is allowed at any time."""
    server.reset_peak()
    before = server.resident_bytes()
    yield
    growth = server.peak_bytes() - before
    assert growth < ALLOWED_GROWTH_BYTES, f"grew by {growth / MIB:.1f} MiB"


def send_until_stopped(browser: RealWebSocket, message: bytes) -> int:
    """Send a message over and over until nothing is taken any more; give how many bytes were."""
    sent = 0
    browser.socket.settimeout(SLEEP_S)
    while sent < PUSHED_BYTES:
        try:
            sent += browser.socket.send(memoryview(message)[sent % len(message) :])
        except TimeoutError:
            break
    browser.socket.settimeout(30)
    return sent


def test_200_mb_from_a_target_to_a_browser_that_sleeps_first(tmp_path: Path) -> None:
    with Target() as target, proxying(tmp_path, target) as server, Chat(server) as chat:
        until("chat", lambda: chat.messages > 0)
        target.push()
        with memory_watched(server), open_proxy(server, target) as browser:
            time.sleep(SLEEP_S)
            stopped_at = target.sent_bytes
            time.sleep(0.5)
            # It was stopped: what is under way are the kernel's buffers and a little of ours.
            assert target.sent_bytes == stopped_at < PUSHED_BYTES / 2
            received = hashlib.sha256()
            while (frame := browser.read()).opcode == BINARY:
                received.update(frame.payload)
            assert (frame.opcode, frame.code) == (CLOSE, 1000)
        assert received.hexdigest() == pushed_hash()
        chat.check()


def test_200_mb_from_a_browser_to_a_target_that_sleeps_first(tmp_path: Path) -> None:
    wake = threading.Event()
    with Target() as target, proxying(tmp_path, target) as server, Chat(server) as chat:
        until("chat", lambda: chat.messages > 0)
        target.sleep_then_read(wake)
        message = ws_frame(BINARY, CHUNK)
        with memory_watched(server), open_proxy(server, target) as browser:
            sent = send_until_stopped(browser, message)
            # Here it is the browser that was stopped.
            assert sent < PUSHED_BYTES / 2
            assert target.received_bytes == 0
            wake.set()
            whole = PUSHED_BYTES // len(CHUNK) * len(message)
            rest = message[sent % len(message) :]
            browser.socket.sendall(rest)
            sent += len(rest)
            while sent < whole:
                browser.socket.sendall(message)
                sent += len(message)
            browser.send(CLOSE, (1000).to_bytes(2, "big"))
            assert browser.read().opcode == CLOSE
            target.join()
        assert target.received_bytes == PUSHED_BYTES
        assert target.received.hexdigest() == pushed_hash()
        chat.check()


def wait_for_all(received: dict[int, int], messages: int) -> None:
    """Wait until each of the ten readers has so many messages."""
    until(
        "healthy subscribers",
        lambda: min(received.get(reader, 0) for reader in range(10)) >= messages,
        15,
    )


def test_a_subscriber_that_never_reads_is_cut_and_the_others_get_everything(
    tmp_path: Path,
) -> None:
    messages, body = 2000, b"x" * 10_000  # 20 MB, far more than kernels hold
    config = "[access]\n* -> localhost:{stomp}\n[broker]\nbacklog.stalled_timeout = 3\n"
    with Server.on_free_ports(tmp_path, config) as server, ExitStack() as clients:
        healthy = [clients.enter_context(Wire(server.stomp)) for _ in range(10)]
        for client in healthy:
            client.connect()
            client.subscribe("/topic/flood")
        stalled = clients.enter_context(Wire(server.stomp))
        stalled.connect()
        stalled.subscribe("/topic/flood")
        received: dict[int, int] = {}

        def read_all(number: int) -> None:
            for index in range(messages):
                frame = healthy[number].frame(20)
                assert frame.body == body
                assert frame.headers["n"] == str(index)
                received[number] = index + 1

        threads = [threading.Thread(target=read_all, args=(n,), daemon=True) for n in range(10)]
        with memory_watched(server):
            for thread in threads:
                thread.start()
            publisher = clients.enter_context(Wire(server.stomp))
            publisher.connect()
            for number in range(messages):
                # As fast as the readers, which share this process's time, come along.
                if number % 30 == 0:
                    wait_for_all(received, number - 30)
                publisher.send(frame_bytes("SEND", body, destination="/topic/flood", n=str(number)))
            for thread in threads:
                thread.join(30)
            server.until_logged("bytes wait, and nothing was read for 3 seconds", 30)
        assert received == dict.fromkeys(range(10), messages)
        name = f"127.0.0.1:{stalled.socket.getsockname()[1]}"
        warnings = [line for line in server.log().splitlines() if "closed by the server" in line]
        assert len(warnings) == 1
        assert name in warnings[0]
        # The publisher waited for it for three seconds and is still served.
        publisher.send(frame_bytes("DISCONNECT", receipt="bye"))
        assert publisher.frame().headers["receipt-id"] == "bye"


def test_a_stalled_browser_is_cut_like_a_stalled_stomp_client(tmp_path: Path) -> None:
    config = "[access]\n* -> localhost:{stomp}\n[broker]\nbacklog.stalled_timeout = 3\n"
    with Server.on_free_ports(tmp_path, config) as server, Wire(server.stomp) as publisher:
        publisher.connect()
        with RealWebSocket(server.http, "/ws", receive_buffer_bytes=65536) as stalled:
            stalled.send(TEXT, frame_bytes("CONNECT", accept_version="1.2"))
            assert stalled.read().payload.startswith(b"CONNECTED\n")
            stalled.send(
                TEXT, frame_bytes("SUBSCRIBE", id="0", destination="/topic/flood", receipt="r")
            )
            assert stalled.read().payload.startswith(b"RECEIPT\n")
            with memory_watched(server):
                body = b"x" * 10_000
                for _ in range(1500):
                    publisher.send(frame_bytes("SEND", body, destination="/topic/flood"))
                server.until_logged("bytes wait, and nothing was read for 3 seconds", 30)
            # A client that reads again in time still learns why.
            while (frame := stalled.read()).opcode != CLOSE:
                last = frame
            assert b"too slow" in last.payload
            assert frame.code == 3008
