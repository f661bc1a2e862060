"""Testing a program that must not miss or lose messages, through restarts and crashes.

Run it with ``pytest examples/test_resume.py`` where rtchat is installed, which provides the
fixture ``rtchat_server_factory``.
"""

from __future__ import annotations

from pathlib import Path

from rtchat.blocking import publish
from rtchat.errors import ServerRefused
from rtchat.pytest_plugin import ServerFactory
from rtchat.testing import Broker, ChatPolicy, Client, HistoryRule

HISTORY = [HistoryRule("/topic/prices", 100, max_age_s=3600)]


class Reader:
    """A program under test: reads a topic, and goes on after the last message it has seen."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gaps = 0
        self._position = {"x_stream_offset": "first"}

    def attach(self, connection: Client) -> None:
        """Subscribe over a new connection."""
        self.connection = connection
        connection.subscribe("/topic/prices", **self._position)

    def read(self) -> None:
        """Process what has arrived."""
        for message in self.connection.received():
            self.gaps += message.headers.get("x-stream-recovered") == "false"
            self.seen.append(message.body.decode())
            following = int(message.headers["x-stream-offset"]) + 1
            self._position = {
                "x_stream_offset": f"offset={following}",
                "x_stream_epoch": message.headers["x-stream-epoch"],
            }


class Outbox:
    """A program under test: keeps what it has to publish until the server has confirmed it."""

    def __init__(self, port: int) -> None:
        self.waiting: list[str] = []
        self._port = port

    def flush(self) -> None:
        """Publish what waits, as far as that is possible now."""
        while self.waiting:
            try:
                publish("/topic/prices", self.waiting[0], port=self._port, timeout_s=30)
            except ServerRefused:
                return
            del self.waiting[0]


def test_a_reader_misses_nothing_while_it_is_away() -> None:
    broker = Broker(history=HISTORY)
    publisher, reader = broker.connect(), Reader()
    reader.attach(broker.connect())
    publisher.send("/topic/prices", "1")
    reader.read()
    reader.connection.drop()
    publisher.send("/topic/prices", "2")
    reader.attach(broker.connect())
    reader.read()
    assert (reader.seen, reader.gaps) == (["1", "2"], 0)


def test_a_reader_notices_what_it_has_missed() -> None:
    broker = Broker(history=HISTORY)
    publisher, reader = broker.connect(), Reader()
    reader.attach(broker.connect())
    publisher.send("/topic/prices", "1")
    reader.read()
    reader.connection.drop()
    publisher.send("/topic/prices", "2")
    broker.advance(3700)  # it is away for longer than messages are kept
    publisher.send("/topic/prices", "3")
    reader.attach(broker.connect())
    reader.read()
    assert (reader.seen, reader.gaps) == (["1", "3"], 1)


def test_a_reader_goes_on_after_a_restart_of_the_server(tmp_path: Path) -> None:
    broker = Broker(history=HISTORY, history_file=tmp_path / "history.sqlite")
    reader = Reader()
    for number in ("1", "2"):
        reader.attach(broker.connect())
        broker.connect().send("/topic/prices", number)
        reader.read()
        broker.restart()
    assert (reader.seen, reader.gaps) == (["1", "2"], 0)


def test_a_publisher_that_is_too_fast_waits() -> None:
    broker = Broker(history=HISTORY, chat=ChatPolicy(messages_per_second=10))
    publisher = broker.connect()
    for number in range(5):
        publisher.send("/topic/prices", str(number))
    assert (broker.kept_messages, publisher.is_paused) == (1, True)
    broker.advance(0.4)
    assert (broker.kept_messages, publisher.is_paused) == (5, False)


def test_nothing_is_lost_when_the_server_is_killed(rtchat_server_factory: ServerFactory) -> None:
    server = rtchat_server_factory("[history]\n/topic/prices = 100\n")
    outbox = Outbox(server.stomp_port)
    outbox.waiting = ["1", "2"]
    server.kill()
    outbox.flush()
    assert outbox.waiting == ["1", "2"]
    server.start()
    outbox.flush()
    assert outbox.waiting == []
