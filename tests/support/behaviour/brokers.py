"""The broker under test: an rtchat of our own, or whatever listens at an address."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.behaviour.client import Client, Frame, Headers, pairs_of
from support.behaviour.streams import DEADLINE_S, Stream, TcpStream, WebSocketStream

__all__ = ["Broker", "Stomp", "running_rtchat"]

ROOT = Path(__file__).resolve().parents[3]
_START_S = 30.0
_CONFIG = """\
[listen]
http://127.0.0.1:{http_port}
stomp://127.0.0.1:{stomp_port}

[access]
self -> 127.0.0.1:{stomp_port}

[broker]
# Short, so that the tests of heart-beats are.
heartbeat.send_ms = 100
heartbeat.receive_ms = 100
heartbeat.min_ms = 100
redelivery.max_count = 4

[pubsub]
behaviour = /queue/behaviour-copies-a, /queue/behaviour-copies-b
"""


@dataclass(frozen=True)
class Broker:
    """Where a broker is, and what it wants to hear.

    Attributes:
        host: Its host.
        port: Its STOMP port.
        ws_url: Where it speaks STOMP over WebSocket, or "".
        login: The user, or "".
        passcode: The user's.
        vhost: The ``host`` header of CONNECT.
        queue_prefix: How the names of its queues begin.
        topic_prefix: How the names of its topics begin.
    """

    host: str
    port: int
    ws_url: str = ""
    login: str = ""
    passcode: str = ""
    vhost: str = "localhost"
    queue_prefix: str = "/queue/"
    topic_prefix: str = "/topic/"

    @property
    def wires(self) -> list[str]:
        """How it can be reached."""
        return ["tcp", "websocket"] if self.ws_url else ["tcp"]

    def open(self, wire: str) -> Stream:
        """Connect."""
        if wire == "websocket":
            return WebSocketStream(self.ws_url)
        return TcpStream(self.host, self.port)


class Stomp:
    """What a test needs: clients of one broker over one wire, and destinations of its own.

    Args:
        broker: The broker.
        wire: ``tcp`` or ``websocket``.
        product: What the broker says it is.

    Attributes:
        broker: The broker.
        product: What the broker says it is, such as ``RabbitMQ/3.10.8``.
    """

    _run = uuid.uuid4().hex[:8]
    _numbers = itertools.count(1)

    def __init__(self, broker: Broker, wire: str, product: str) -> None:
        self.broker = broker
        self.product = product
        self._wire = wire
        self._clients: list[Client] = []

    def dial(self) -> Client:
        """Open a connection and say nothing."""
        client = Client(self.broker.open(self._wire))
        self._clients.append(client)
        return client

    def login_headers(
        self, version: str | None = "1.2", heart_beat: str | None = None
    ) -> dict[str, str]:
        """Give the headers of a good CONNECT."""
        headers = {"host": self.broker.vhost}
        if version is not None:
            headers["accept-version"] = version
        if self.broker.login:
            headers |= {"login": self.broker.login, "passcode": self.broker.passcode}
        if heart_beat is not None:
            headers["heart-beat"] = heart_beat
        return headers

    def connect(self, version: str | None = "1.2", heart_beat: str | None = None) -> Client:
        """Open a connection and log in."""
        client = self.dial()
        client.connect(self.login_headers(version, heart_beat))
        return client

    def queue(self) -> str:
        """Give a queue that nobody else uses."""
        return f"{self.broker.queue_prefix}{self.name()}"

    def topic(self) -> str:
        """Give a topic that nobody else uses."""
        return f"{self.broker.topic_prefix}{self.name()}"

    def name(self) -> str:
        """Give a word that nobody else uses."""
        return f"behaviour-{self._run}-{next(self._numbers)}"

    def relay(self, body: bytes = b"hello", headers: Headers = (), length: bool = True) -> Frame:
        """Send a message to a topic, and give it as its subscriber receives it.

        Args:
            body: The body.
            headers: Headers beside the destination.
            length: Whether to say content-length.
        """
        topic = self.topic()
        subscriber, publisher = self.connect(), self.connect()
        subscriber.subscribe(topic)
        pairs = pairs_of(headers)
        if length:
            pairs.insert(0, ("content-length", str(len(body))))
        publisher.ask("SEND", [("destination", topic), *pairs], body)
        return subscriber.message()

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            client.close()


@contextmanager
def running_rtchat(directory: Path) -> Iterator[Broker]:
    """Run a real server on free ports of this machine.

    Args:
        directory: Where its configuration and log may lie.
    """
    http_port, stomp_port = _free_port(), _free_port()
    config = directory / "chat.ini"
    config.write_text(_CONFIG.format(http_port=http_port, stomp_port=stomp_port))
    log_path = directory / "twistd.log"
    command = "from twisted.scripts.twistd import run; run()"
    arguments = ["-n", "--pidfile=", "rtchat", "--config", str(config)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", command, *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(stomp_port, process, log_path)
            _wait_for(http_port, process, log_path)
            yield Broker("127.0.0.1", stomp_port, f"ws://127.0.0.1:{http_port}/ws")
        finally:
            process.terminate()
            try:
                process.wait(_START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], log_path: Path) -> None:
    until = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
        except ConnectionRefusedError:
            assert process.poll() is None, f"rtchat did not start:\n{log_path.read_text()}"
            assert time.monotonic() < until, f"rtchat is not there:\n{log_path.read_text()}"
            time.sleep(0.05)
        else:
            return
