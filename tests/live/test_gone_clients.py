"""Clients that go while a limit makes them wait: noticed soon, and what they held goes back."""

from __future__ import annotations

import itertools
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.certificate import write_certificate
from support.process import ROOT, Server, environment, free_port, until
from support.sockets import TcpStream, WebSocketStream, connect
from support.stomp import frame_bytes, message_bytes
from support.wire import Wire

pytestmark = [pytest.mark.live]

_WITHIN_S = 10.0
"""Waiting clients are looked at every second, and probed every five."""

_ROOM = 5

_CONFIG = """
stomps://127.0.0.1:{stomps}

[broker]
queue.max_messages = 5

[access]
self -> localhost:{stomp}

[global]
session.ping_interval = 2

[ssl]
crt = cert.pem
key = key.pem
"""

_numbers = itertools.count()

_WAYS = ("TCP", "TLS", "WebSocket")


class Waiting:
    """A worker that holds a job of one queue, and waits for room in another one.

    Args:
        server: The broker.
        way: How the worker is connected.
        heart_beat: What it says about heart-beats.
    """

    def __init__(self, server: Server, way: str, heart_beat: str) -> None:
        self.server = server
        number = next(_numbers)
        self.jobs, self.full = f"/queue/jobs{number}", f"/queue/full{number}"
        with self.client("TCP") as publisher:
            for filling in range(_ROOM):
                publisher.send(message_bytes(self.full, b"first %d" % filling))
            publisher.ask("SEND", destination=self.jobs)
        self.worker = self.client(way, heart_beat=heart_beat)
        self.worker.send(subscription(self.jobs))
        assert self.worker.frame()["destination"] == self.jobs

    def client(self, way: str, **headers: str) -> Wire:
        """Log in."""
        stream: TcpStream | WebSocketStream
        if way == "TCP":
            stream = TcpStream(connect(self.server.stomp))
        elif way == "TLS":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            stream = TcpStream(connect(stomps_port(self.server), context=context))
        else:
            stream = WebSocketStream(
                connect(self.server.http), host=f"localhost:{self.server.http}", is_binary=True
            )
        wire = Wire(stream)
        wire.connect(**headers)
        return wire

    def send(self, size: int) -> None:
        """Send to the full queue; a large amount fills the buffers of both systems."""
        connection = self.worker.socket
        connection.setblocking(False)
        piece = self.worker.stream.packed(message_bytes(self.full, b"x" * 1000))
        sent = 0
        with suppress(BlockingIOError, ssl.SSLWantWriteError):
            while sent < size:
                sent += connection.send(piece)
        self.server.until_logged(f"{self.full} is full")

    def expect_return(self) -> None:
        """See that the worker is noticed to be gone, and that nothing of it is left."""
        with self.client("TCP") as other:
            other.send(subscription(self.jobs))
            assert other.frame(_WITHIN_S)["redelivered"] == "true"
        until("end of the sessions", lambda: self.server.health()["stomp_sessions"] == 0)
        with self.client("TCP") as reader:
            reader.send(subscription(self.full, "auto"))
            for filling in range(_ROOM):
                assert reader.frame().body == b"first %d" % filling
            # What was not taken has gone with its publisher, rather than to be published later.
            reader.ask("SEND", destination="/topic/nothing")


def subscription(destination: str, ack: str = "client-individual") -> bytes:
    return frame_bytes("SUBSCRIBE", id="1", destination=destination, ack=ack)


def stomps_port(server: Server) -> int:
    text = (server.folder / "chat.ini").read_text(encoding="utf-8")
    return int(text.partition("stomps://127.0.0.1:")[2].split()[0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    write_certificate(folder)
    config = _CONFIG.replace("{stomps}", str(free_port()))
    with Server.on_free_ports(folder, config) as server:
        yield server


def finish(connection: socket.socket) -> None:
    """End it with a FIN."""
    socket.socket(fileno=connection.detach()).close()


def reset(connection: socket.socket) -> None:
    """End it with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finish(connection)


@pytest.mark.parametrize("size", [20_000, 50_000_000], ids=["little", "much"])
@pytest.mark.parametrize("heart_beat", ["0,0", "3600000,0"])
@pytest.mark.parametrize("end", [finish, reset])
@pytest.mark.parametrize("way", _WAYS)
def test_a_publisher_that_goes_while_it_waits_for_room_is_noticed(
    server: Server, way: str, end: Callable[[socket.socket], None], heart_beat: str, size: int
) -> None:
    waiting = Waiting(server, way, heart_beat)
    waiting.send(size)
    end(waiting.worker.socket)
    waiting.expect_return()


def test_a_publisher_that_says_disconnect_and_closes_keeps_its_place(server: Server) -> None:
    waiting = Waiting(server, "TCP", "0,0")
    reset(waiting.worker.socket)
    publisher = waiting.client("TCP")
    publisher.send(message_bytes(waiting.full, b"last") * 50 + frame_bytes("DISCONNECT"))
    finish(publisher.socket)
    with waiting.client("TCP") as other:
        # A publisher that says nothing before it closes is noticed to be gone.
        other.send(message_bytes(waiting.full, b"lost"))
        server.until_logged(f"{waiting.full} is full")
    until("end of the others", lambda: server.health()["stomp_sessions"] == 1)
    with waiting.client("TCP") as reader:
        reader.send(subscription(waiting.full, "auto"))
        bodies = [reader.frame().body for _ in range(_ROOM + 50)]
        assert bodies[_ROOM:] == [b"last"] * 50
        reader.ask("SEND", destination="/topic/nothing")
    until("end of all", lambda: server.health()["stomp_sessions"] == 0)


_KILLED = """
import sys
sys.path.insert(0, "tests")
from support.wire import Wire
from support.stomp import frame_bytes, message_bytes
wire = Wire(int(sys.argv[1]))
wire.connect(heart_beat="0,0")
wire.send(frame_bytes("SUBSCRIBE", id="1", destination=sys.argv[2], ack="client"))
wire.frame()
print("ready", flush=True)
wire.socket.settimeout(None)
while True:
    wire.send(message_bytes(sys.argv[3], bytes(1000)))
"""


def test_a_publisher_that_is_killed_while_it_waits_for_room_is_noticed(server: Server) -> None:
    waiting = Waiting(server, "TCP", "0,0")
    reset(waiting.worker.socket)
    command = [sys.executable, "-c", _KILLED, str(server.stomp), waiting.jobs, waiting.full]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"ready\n"
        server.until_logged(f"{waiting.full} is full")
        killed.send_signal(signal.SIGKILL)
    waiting.expect_return()


def test_a_publisher_that_goes_while_its_rate_makes_it_wait_is_noticed(tmp_path: Path) -> None:
    config = "[rate]\nmessages_per_second = 0.1\nburst = 1\n"
    with Server.on_free_ports(tmp_path, config) as server:
        with Wire(server.stomp) as publisher:
            publisher.connect()
            publisher.ask("SEND", destination="/queue/jobs")
        worker = Wire(server.stomp)
        worker.connect()
        worker.send(subscription("/queue/jobs"))
        assert worker.frame().command == "MESSAGE"
        worker.send(message_bytes("/topic/follow-up", b"x") * 10)
        server.until_logged("is read more slowly")
        finish(worker.socket)
        with Wire(server.stomp) as other:
            other.connect()
            other.send(subscription("/queue/jobs"))
            assert other.frame(_WITHIN_S)["redelivered"] == "true"
