"""The seam for queues that last: a store of ten lines gets what it keeps, and gives it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest
from support.core import Server, bodies
from support.stomp import frame_bytes

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.message import Message
from rtchat.core.broker.queue_store import NO_STORE
from rtchat.core.stomp.frames import Frame


class Shelf:
    """Keeps messages that say ``persistent:true``; a test says when they are stored."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, int], Message] = {}
        self.waiting: list[Callable[[], None]] = []

    def keeps(self, queue: str, message: Message) -> bool:
        return message.frame.headers.get("persistent") == "true"

    def append(self, queue: str, seq: int, message: Message, ready: Callable[[], None]) -> None:
        self.kept[queue, seq] = message
        self.waiting.append(ready)

    def remove(self, queue: str, seqs: Sequence[int]) -> None:
        for seq in seqs:
            self.kept.pop((queue, seq), None)

    def load(self, queue: str) -> Iterable[tuple[int, Message]]:
        return [(seq, one) for (name, seq), one in sorted(self.kept.items()) if name == queue]

    def step(self) -> None:
        """Store one message."""
        self.waiting.pop(0)()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def server(shelf: Shelf) -> Server:
    return Server(Broker("run", queue_store=shelf))


def send(server: Server, *texts: str, **headers: str) -> None:
    client = server.client()
    for text in texts:
        client.publish("/queue/a", text, **headers)


def test_a_message_is_handed_out_once_it_is_stored(server: Server, shelf: Shelf) -> None:
    consumer = server.client()
    consumer.subscribe("/queue/a")
    send(server, "x", persistent="true")
    assert (consumer.messages(), server.size_of("/queue/a")) == ([], 1)
    shelf.step()
    server.end_turn()
    assert (consumer.bodies(), shelf.kept) == (["x"], {})


def test_one_that_is_not_kept_does_not_wait(server: Server, shelf: Shelf) -> None:
    consumer = server.client()
    consumer.subscribe("/queue/a")
    send(server, "kept", persistent="true")
    send(server, "not kept")
    assert consumer.bodies() == ["not kept"]
    assert len(shelf.kept) == 1


def test_it_stays_until_it_is_acknowledged(server: Server, shelf: Shelf) -> None:
    consumer = server.client()
    consumer.subscribe("/queue/a", ack="client-individual")
    send(server, "x", persistent="true")
    shelf.step()
    server.end_turn()
    message = consumer.message()
    assert len(shelf.kept) == 1
    consumer.ack(message)
    assert shelf.kept == {}


def test_the_order_is_that_of_publishing_whatever_is_stored_first(
    server: Server, shelf: Shelf
) -> None:
    send(server, "1", "2", persistent="true")
    send(server, "3")
    shelf.waiting.reverse()
    shelf.step()
    shelf.step()
    assert bodies(server.drain("/queue/a")) == ["1", "2", "3"]


def test_messages_together_are_stored_one_by_one(server: Server, shelf: Shelf) -> None:
    headers = {"destination": "/queue/a", "content_length": "1", "persistent": "true"}
    client = server.client()
    client.send(b"".join(frame_bytes("SEND", text.encode(), **headers) for text in "abcd"))
    assert len(shelf.kept) == 4


def test_another_run_begins_with_what_was_stored(server: Server, shelf: Shelf) -> None:
    send(server, "1", "2", persistent="true")
    again = Server(Broker("again", queue_store=shelf))
    send(again, "3")
    assert bodies(again.drain("/queue/a")) == ["1", "2", "3"]
    assert again.broker.budget.used == 0


def test_queues_in_memory_ask_their_store_nothing() -> None:
    stored: list[int] = []
    NO_STORE.append(
        "/queue/a", 1, Message("1", "/queue/a", Frame("SEND")), lambda: stored.append(1)
    )
    NO_STORE.remove("/queue/a", [1])
    assert (stored, list(NO_STORE.load("/queue/a"))) == ([1], [])
    assert not NO_STORE.keeps("/queue/a", Message("1", "/queue/a", Frame("SEND")))
