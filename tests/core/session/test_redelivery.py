"""Messages that come back to their queue, and to whom they go next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Server, clean_server, errors
from support.workers import (
    VERSIONS,
    Q,
    left,
    numbers,
    publish,
    worker,
)

from rtchat.core.stomp.frames import Version


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


@pytest.mark.parametrize("headers", [{}, {"requeue": "true"}, {"requeue": "TRUE"}])
def test_a_nack_lets_somebody_else_have_the_message(
    server: Server, headers: dict[str, str]
) -> None:
    client, other = worker(server, "client-individual"), worker(server, "client-individual")
    publish(server, "a")
    client.nack(client.message(), **headers)
    assert numbers(other.message()) == ("a", "true", "1")


def test_a_first_delivery_says_nothing_of_others(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "a")
    assert numbers(client.message()) == ("a", "", "")


def test_deliveries_are_counted(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a")
    counts = []
    for _ in range(4):
        message = client.message()
        counts.append(numbers(message)[1:])
        client.nack(message)
    assert counts == [("", ""), ("true", "1"), ("true", "2"), ("true", "3")]


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_redelivery_looks_the_same_in_every_mode_and_version(
    server: Server, ack: str, version: Version
) -> None:
    worker(server, "client").drop()
    publish(server, "a", app="x")
    lost = worker(server, "client")
    message_id = lost.message().headers["message-id"]
    lost.drop()
    client = worker(server, ack, version)
    message = client.message()
    assert numbers(message) == ("a", "true", "1")
    assert message.headers["app"] == "x"
    assert message.headers["message-id"].partition("@")[0] == message_id


@pytest.mark.parametrize("text", ["", "yes", "0", "truefalse"])
def test_requeue_is_true_or_false(server: Server, text: str) -> None:
    client = worker(server, "client")
    publish(server, "a")
    frames = client.ask("NACK", **client.naming(client.message()), requeue=text)
    assert errors(frames) == ["requeue is neither true nor false"]
    assert left(server) == "a"


@pytest.mark.parametrize("how", ["drop", "DISCONNECT", "ERROR"])
def test_what_was_not_acknowledged_comes_back_when_its_consumer_goes(
    server: Server, how: str
) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    client.ack(client.messages()[1])
    if how == "drop":
        client.drop()
    else:
        client.say(how)
    again = worker(server, "client")
    assert [numbers(m) for m in again.messages()] == [("a", "true", "1"), ("c", "true", "1")]


def test_what_comes_back_stands_before_newer_messages(server: Server) -> None:
    client = worker(server, "client", prefetch_count="2")
    publish(server, "abcd")
    assert client.bodies() == ["a", "b"]
    publish(server, "e")
    client.drop()
    got = [numbers(message) for message in server.drain(Q)]
    assert got == [(text, "true", "1") for text in "ab"] + [(text, "", "") for text in "cde"]


def test_what_comes_back_from_several_consumers_is_in_its_original_order(server: Server) -> None:
    clients = [worker(server, "client-individual", prefetch_count="2") for _ in range(3)]
    publish(server, "abcdefgh")
    for index in (1, 0, 2):
        clients[index].stall()
    for index in (1, 0, 2):
        clients[index].drop()
    assert left(server) == "abcdefgh"


def test_what_comes_back_goes_between_what_waits(server: Server) -> None:
    first = worker(server, "client-individual", prefetch_count="2")
    second = worker(server, "client-individual", prefetch_count="2")
    publish(server, "abcdef")
    a, _c = first.messages()
    assert second.bodies() == ["b", "d"]
    first.stall()
    second.stall()
    first.nack(a)
    second.drop()
    assert left(server) == "abdef"


def test_what_two_subscriptions_of_one_session_had_comes_back_in_order(server: Server) -> None:
    lost = server.client()
    for name in ("one", "two"):
        lost.subscribe(Q, name, ack="client-individual", prefetch_count="3")
    publish(server, "abcdef")
    waiting = worker(server, "client")
    lost.drop()
    assert waiting.bodies() == ["a", "b", "c", "d", "e", "f"]


def test_what_comes_back_keeps_its_priority(server: Server) -> None:
    client = worker(server, "client")
    for text, priority in [("a", "1"), ("b", "5"), ("c", "1"), ("d", "9"), ("e", "5")]:
        publish(server, text, priority=priority)
    client.stall()
    publish(server, "f", priority="5")
    publish(server, "g", priority="0")
    client.drop()
    assert left(server) == "dbefacg"


def test_a_message_given_back_twice_keeps_its_place(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="1")
    publish(server, "abc")
    for _ in range(3):
        client.nack(client.message())
    client.drop()
    assert left(server) == "abc"


def test_a_redelivered_message_can_be_selected(server: Server) -> None:
    lost = worker(server, "client", prefetch_count="1")
    publish(server, "ab")
    lost.drop()
    fresh = worker(server, "client", selector="NOT JMSRedelivered")
    assert fresh.bodies() == ["b"]
    again = worker(server, "client", selector="redelivered = 'true' AND x-delivery-count = 1")
    assert again.bodies() == ["a"]
