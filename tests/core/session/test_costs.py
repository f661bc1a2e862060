"""What is counted is what memory takes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest
from support.core import Client, Server

from rtchat.core.stomp.frames import Version

COUNT = 200

LINES = {
    "a queue of one empty message": b"SEND\ndestination:/queue/%d\n\n\0",
    "a message with a head of its own": b"SEND\ndestination:/queue/q\nx:%d\n\n\0",
    "a message with many headers": (
        b"SEND\ndestination:/queue/q\nx:%d\n" + b"".join(b"h%d:\n" % n for n in range(50)) + b"\n\0"
    ),
    "a message with one wide character": (
        b"SEND\ndestination:/queue/q\nx:%d\ny:" + b"y" * 4000 + "\U0001f600".encode() + b"\n\n\0"
    ),
    "a message with a body": b"SEND\ndestination:/queue/q\nx:%d\n\n" + b"x" * 500 + b"\0",
    "a message in a transaction": b"SEND\ndestination:/topic/q\ntransaction:t\nx:%d\n\n\0",
    "a subscription of a topic": b"SUBSCRIBE\nid:%d\ndestination:/topic/%d\n\n\0",
    "one of a topic with a long name": (
        b"SUBSCRIBE\nid:%d\ndestination:/topic/" + b"x" * 4000 + b"%d\n\n\0"
    ),
    "one with a wide id": (
        b"SUBSCRIBE\nid:%d" + b"x" * 2000 + "\U0001f600".encode() + b"\ndestination:/topic/%d\n\n\0"
    ),
    "one that acknowledges": b"SUBSCRIBE\nid:%d\nack:client\ndestination:/topic/%d\n\n\0",
    "one of a queue": b"SUBSCRIBE\nid:%d\ndestination:/queue/%d\n\n\0",
    "one of a pattern": b"SUBSCRIBE\nid:%d\ndestination:/topic/a%d.*.*.*.*.#\n\n\0",
    "a temporary queue": b"SUBSCRIBE\nid:%d\ndestination:/temp-queue/%d\n\n\0",
    "an incomplete frame": b"SEND\nx:1\n\n" + b"x" * 300,
}


@pytest.mark.parametrize("what", list(LINES))
def test_what_a_client_makes_the_server_hold_is_counted(what: str) -> None:
    line = LINES[what]
    client = Server().client()
    client.say("BEGIN", transaction="t")

    def act(number: int) -> None:
        client.send(line % ((number,) * line.count(b"%d")))

    real, counted = measured(client, act)
    assert counted >= 0.85 * real
    assert counted <= 3 * real + 100


def test_a_delivery_of_a_topic_that_waits_for_ack_is_counted() -> None:
    client = Server().client()
    client.subscribe("/topic/a", ack="client")

    def act(_: int) -> None:
        client.send(b"SEND\ndestination:/topic/a\ncontent-length:0\n\n\0")

    real, counted = measured(client, act)
    assert 0.85 * real <= counted <= 3 * real


def measured(client: Client, act: Callable[[int], None]) -> tuple[float, float]:
    """Return what one act takes in memory, and what is counted for it."""
    broker = client.broker
    act(COUNT)
    forget_caches(client)
    before = broker.budget.used
    tracemalloc.start()
    try:
        for number in range(COUNT):
            act(number)
        forget_caches(client)
        real, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not client.line.closed, client.received()
    return real / COUNT, (broker.budget.used - before) / COUNT


def forget_caches(client: Client) -> None:
    """Forget what is no client's."""
    client.outbound.sent.clear()
    client.outbound.writes.clear()
    client.broker.heads.of(Version.V12).clear()
    client.broker.router.forget_routes()
    client.broker.encoders.clear()
    gc.collect()
