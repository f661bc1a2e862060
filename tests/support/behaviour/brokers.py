"""The broker under test: an rtchat of our own, or whatever listens at an address."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from support.behaviour.client import Client, Frame, Headers, pairs_of
from support.process import Server
from support.sockets import Stream, TcpStream, WebSocketStream, connect

__all__ = ["Broker", "Stomp", "running_rtchat"]

_SEND_WITHIN_S = 20.0
_CONFIG = """\
[access]
self -> 127.0.0.1:{stomp}

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
        if wire == "tcp":
            return TcpStream(connect((self.host, self.port), timeout_s=_SEND_WITHIN_S))
        url = urlsplit(self.ws_url)
        assert url.hostname is not None, f"no host in {self.ws_url}"
        port = url.port or 80
        return WebSocketStream(
            connect((url.hostname, port), timeout_s=_SEND_WITHIN_S),
            url.path or "/",
            host=f"{url.hostname}:{port}",
            subprotocols="v12.stomp, v11.stomp, v10.stomp",
        )


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
        """Return the headers of a good CONNECT."""
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
        """Return a queue that no other test uses."""
        return f"{self.broker.queue_prefix}{self.name()}"

    def topic(self) -> str:
        """Return a topic that no other test uses."""
        return f"{self.broker.topic_prefix}{self.name()}"

    def name(self) -> str:
        """Return a word that no other test uses."""
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
def running_rtchat(folder: Path) -> Iterator[Broker]:
    """Run a real server on free ports of this machine.

    Args:
        folder: Where its configuration and log may lie.
    """
    with Server.on_free_ports(folder, _CONFIG) as server:
        yield Broker("127.0.0.1", server.stomp, f"ws://127.0.0.1:{server.http}/ws")
