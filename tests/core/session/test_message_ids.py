"""ACK and NACK of 1.2 clients that name the message, not the delivery."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.core import Server, clean_server, errors
from support.stomp import frame_bytes
from support.workers import (
    NOT_WAITING,
    V12,
    Q,
    left,
    numbers,
    publish,
    worker,
)


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


@pytest.mark.parametrize("command", ["ACK", "NACK"])
@pytest.mark.parametrize("headers", [{}, {"receipt": "r"}, {"subscription": "0"}])
def test_in_1_2_the_message_s_id_names_the_delivery(
    server: Server, command: str, headers: dict[str, str]
) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    messages = client.messages()
    client.say(command, id=messages[1].headers["message-id"], **headers)
    assert not client.line.closed
    client.unsubscribe()
    client.drop()
    assert left(server) == ("ac" if command == "ACK" else "abc")


def test_the_message_s_id_names_the_latest_delivery(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="1")
    publish(server, "ab")
    for _ in range(3):
        client.say("NACK", id=client.message().headers["message-id"])
    a = client.message()
    assert numbers(a) == ("a", "true", "3")
    client.say("ACK", id=a.headers["message-id"])
    assert client.bodies() == ["b"]


def test_the_message_s_id_may_be_acknowledged_twice(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "ab")
    a, b = client.messages()
    for message in (b, b, a):
        frames = client.ask("ACK", id=message.headers["message-id"], receipt="r")
        assert [frame.command for frame in frames] == ["RECEIPT"]
    assert server.size_of(Q) == 0
    assert errors(client.ask("ACK", id="run-99")) == [f"ACK {NOT_WAITING}"]


def test_each_of_two_deliveries_of_one_message_is_acknowledged(server: Server) -> None:
    client = server.client(V12)
    client.subscribe("/topic/*", ack="client-individual", prefetch_count="2")
    server.client(V12).publish("/topic/a,/topic/b", "both")
    one, two = client.messages()
    assert one.headers["message-id"] == two.headers["message-id"]
    for message in (one, two):
        client.say("ACK", id=message.headers["message-id"])
    server.client(V12).publish("/topic/a,/topic/b", "again")
    assert client.bodies() == ["again", "again"]


def test_the_message_s_id_works_in_a_transaction(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a")
    name = client.message().headers["message-id"]
    for verb, count in [("ABORT", 1), ("COMMIT", 0)]:
        client.say("BEGIN", transaction="t")
        client.say("ACK", id=name, transaction="t")
        client.say(verb, transaction="t")
        assert server.size_of(Q) == count
    assert not client.line.closed


def test_among_several_deliveries_of_a_message_the_oldest_subscription_s_counts(
    server: Server,
) -> None:
    client = server.client()
    for name, queue in [("one", "/queue/x"), ("two", "/queue/y"), ("three", "/queue/z")]:
        client.subscribe(queue, name, ack="client-individual")
    server.client().publish("/queue/z,/queue/y,/queue/x", "a")
    [name] = {message.headers["message-id"] for message in client.messages()}
    left_in = []
    for headers in ({"subscription": "two"}, {}, {}):
        client.say("ACK", id=name, **headers)
        left_in.append([queue for queue in ("x", "y", "z") if server.size_of(f"/queue/{queue}")])
    assert left_in == [["x", "z"], ["z"], []]
    frames = client.ask("ACK", id=name, subscription="four")
    assert errors(frames) == [f"ACK {NOT_WAITING}"]


def test_message_ids_in_many_acks_of_one_read(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "abcd")
    names = [message.headers["message-id"] for message in client.messages()]
    client.send(b"".join(frame_bytes("ACK", id=name) for name in [*names[:3], names[0]]))
    assert client.received() == []
    assert server.size_of(Q) == 1


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_topic_s_message_may_be_acknowledged_by_its_id(server: Server, is_ended: bool) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client-individual", prefetch_count="1")
    server.client().publish("/topic/t", "a")
    server.client().publish("/topic/t", "b")
    name = client.message().headers["message-id"]
    if is_ended:
        client.unsubscribe()
    client.say("ACK", id=name, receipt="r")
    assert [frame.command for frame in client.received()] == (
        ["RECEIPT"] if is_ended else ["MESSAGE", "RECEIPT"]
    )


def test_the_index_of_message_ids_is_bounded(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="3")
    publisher = server.client()
    for _ in range(3000):
        publisher.publish(Q, "a")
        client.say("ACK", id=client.message().headers["message-id"])
    index = client.session.subscriptions._message_ids
    assert index is not None
    assert len(index._places) <= 2 * index._count <= 4000
    assert not client.line.closed


def test_message_ids_are_found_without_a_search_of_all(server: Server) -> None:
    """Backwards through 500 deliveries: each is looked at once, not at every ACK."""
    client = worker(server, "client-individual")
    publish(server, ["a"] * 500)
    names = [message.headers["message-id"] for message in client.messages()]
    [subscription] = client.session.subscriptions._by_number.values()
    looks = Counted(subscription.unacked)
    subscription.unacked = looks
    for name in reversed(names):
        client.say("ACK", id=name)
    assert server.size_of(Q) == 0
    assert looks.count <= 1000


class Counted(dict[str, Any]):
    """Counts the keys that are looked at one after the other."""

    count = 0

    def __reversed__(self) -> Iterator[str]:
        for key in super().__reversed__():
            self.count += 1
            yield key


def test_two_subscriptions_have_ids_of_their_own(server: Server) -> None:
    client = server.client()
    client.subscribe(Q, "one", ack="client")
    client.subscribe(Q, "two", ack="client")
    publish(server, "ab")
    one, two = client.messages()
    client.ack(one)
    client.ack(two)
    assert server.broker.statistics.queued_count == 0


def test_the_receipt_of_an_ack_comes_after_what_it_made_room_for(server: Server) -> None:
    client = worker(server, "client", prefetch_count="1")
    publish(server, "ab")
    frames = client.ask("ACK", **client.naming(client.message()), receipt="r")
    assert [frame.command for frame in frames] == ["MESSAGE", "RECEIPT"]


def test_a_refused_ack_names_its_receipt(server: Server) -> None:
    frames = server.client().ask("ACK", id="x", receipt="r")
    assert [frame.headers.get("receipt-id") for frame in frames] == ["r"]
    assert frames[0].command == "ERROR"
