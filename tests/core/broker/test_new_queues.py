"""How many queues a session may create, and how many consumers a queue may have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Server, clean_server, errors


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def test_queues_that_a_session_has_created_are_limited(server: Server) -> None:
    server.limit(max_queues=3)
    client = server.client()
    for number in range(3):
        client.publish(f"/queue/{number}")
    client.publish("/queue/0")
    assert client.received() == []
    client.publish("/queue/3")
    [error] = client.received()
    assert error.headers["message"] == "more than 3 queues created"
    assert b"queue.max_per_session" in error.body
    assert server.size_of("/queue/3") == 0


def test_a_composite_that_is_refused_leaves_nothing_behind(server: Server) -> None:
    server.limit(max_queues=3)
    client = server.client()
    client.publish("/queue/0")
    client.publish("/queue/0,/queue/1,/queue/2,/queue/3")
    assert errors(client.received()) == ["more than 3 queues created"]
    assert (server.size_of("/queue/0"), server.size_of("/queue/1")) == (1, 0)


def test_the_queues_of_a_transaction_count_together(server: Server) -> None:
    server.limit(max_queues=2)
    client = server.client()
    client.say("BEGIN", transaction="t")
    for number in (0, 1, 1, 2):
        client.publish(f"/queue/{number}", transaction="t")
    assert client.received() == []
    client.say("COMMIT", transaction="t")
    assert errors(client.received()) == ["more than 2 queues created"]
    assert not server.broker.queues


def test_those_that_are_gone_do_not_count(server: Server) -> None:
    server.limit(max_queues=1)
    client, taker = server.client(), server.client()
    for number in range(5):
        client.publish(f"/queue/{number}")
        taker.subscribe(f"/queue/{number}")
        taker.unsubscribe()
    assert client.received() == []


def test_others_have_their_own(server: Server) -> None:
    server.limit(max_queues=1)
    for number in range(3):
        client = server.client()
        client.publish(f"/queue/{number}")
        assert client.received() == []


def test_consumers_create_queues_as_well(server: Server) -> None:
    server.limit(max_queues=1)
    client = server.client()
    client.subscribe("/queue/a", "a")
    client.say("SUBSCRIBE", id="b", destination="/queue/b")
    assert errors(client.received()) == ["more than 1 queues created"]


def test_consumers_of_a_queue_are_limited(server: Server) -> None:
    server.limit(max_consumers=2)
    client, other = server.client(), server.client()
    client.subscribe("/queue/a", "1")
    client.subscribe("/queue/a", "2")
    client.subscribe("/queue/b", "3")
    other.say("SUBSCRIBE", id="1", destination="/queue/a")
    [error] = other.received()
    assert error.headers["message"] == "more than 2 consumers of a queue"
    assert b"queue.max_consumers" in error.body
