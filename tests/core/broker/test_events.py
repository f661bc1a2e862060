"""The seam for what happens: a listener hears what it overrides; the rest costs nothing."""

from __future__ import annotations

import pytest
from support.core import Server

from rtchat.core.broker.events import BrokerEvents, Events
from rtchat.core.broker.message import Message
from rtchat.core.broker.subscription import Subscription

LISTS = [name for name in Events.__slots__ if name != "unusual"]


class Diary(BrokerEvents):
    """Writes down what happens."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def subscribed(self, subscription: Subscription) -> None:
        self.lines.append(f"+ {subscription.destination}")

    def unsubscribed(self, subscription: Subscription) -> None:
        self.lines.append(f"- {subscription.destination}")

    def published(self, message: Message) -> None:
        self.lines.append(f"{message.destination}: {message.body.decode()}")

    def queue_full(self, destination: str, messages: int, size: int) -> None:
        self.lines.append(f"{destination} full: {messages}")

    def queue_drained(self, destination: str, messages: int, size: int) -> None:
        self.lines.append(f"{destination} drained: {messages}")

    def dead_lettered(self, destination: str, messages: int, size: int) -> None:
        self.lines.append(f"{destination}: {messages} dead")

    def dead_letters_dropped(self, destination: str, count: int, messages: int, size: int) -> None:
        self.lines.append(f"{destination}: {count} lost, {messages} left")


@pytest.fixture
def server() -> Server:
    server = Server()
    server.limit(max_queue_messages=1)
    return server


@pytest.fixture
def diary(server: Server) -> Diary:
    diary = Diary()
    server.broker.events.add(diary)
    return diary


def test_subscriptions_and_messages_to_topics_are_told(server: Server, diary: Diary) -> None:
    client = server.client()
    client.subscribe("/topic/a")
    client.publish("/topic/a", "x")
    client.unsubscribe()
    assert diary.lines == ["+ /topic/a", "/topic/a: x", "- /topic/a"]


def test_a_session_that_goes_leaves_every_destination(server: Server, diary: Diary) -> None:
    client = server.client()
    client.subscribe("/topic/a", "1")
    client.subscribe("/queue/b", "2")
    client.drop()
    assert diary.lines == ["+ /topic/a", "+ /queue/b", "- /topic/a", "- /queue/b"]


def test_queues_are_told_of_when_they_are_full_and_when_they_are_drained(
    server: Server, diary: Diary
) -> None:
    client = server.client()
    client.publish("/queue/a", "1")
    client.publish("/queue/a", "2")
    server.drain("/queue/a")
    server.drain("/queue/a")
    server.expire()
    lines = [line for line in diary.lines if line[0] not in "+-"]
    assert lines == ["/queue/a full: 1", "/queue/a drained: 0"]


def test_dead_letters_are_told(server: Server, diary: Diary) -> None:
    client = server.client()
    client.subscribe("/queue/a", ack="client-individual")
    client.publish("/queue/a", "x")
    client.nack(client.message(), requeue="false")
    assert diary.lines[-1] == "/queue/DLQ.a: 1 dead"


def test_listeners_hear_in_the_order_in_which_they_were_added(server: Server) -> None:
    heard: list[int] = []

    class Numbered(BrokerEvents):
        def __init__(self, number: int) -> None:
            self._number = number

        def published(self, message: Message) -> None:
            heard.append(self._number)

    for number in (1, 2):
        server.broker.events.add(Numbered(number))
    server.client().publish("/topic/a", "x")
    assert heard == [1, 2]


def test_what_is_not_overridden_has_no_listener() -> None:
    events = Events()
    events.add(BrokerEvents())
    assert all(getattr(events, name) == [] for name in LISTS)
    assert not events.unusual


def test_every_event_has_a_list_of_listeners() -> None:
    names = [name for name in vars(BrokerEvents) if not name.startswith("_")]
    assert sorted(names) == sorted(LISTS)


def test_a_listener_to_every_message_is_unusual() -> None:
    class Reader(BrokerEvents):
        def published(self, message: Message) -> None:
            """Read it."""

    events = Events()
    events.add(Reader())
    assert events.unusual


def test_dead_letters_that_a_full_queue_loses_are_told(server: Server, diary: Diary) -> None:
    client = server.client()
    client.subscribe("/queue/a", ack="client-individual")
    for text in "ab":
        client.publish("/queue/a", text)
        client.nack(client.message(), requeue="false")
    assert diary.lines[-2:] == ["/queue/DLQ.a: 1 dead", "/queue/DLQ.a: 1 lost, 1 left"]
    assert server.broker.dead_letters.dropped == 1
