"""Dead letters: which messages become them, and what their queue does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Client, Server, bodies, clean_server
from support.workers import (
    DLQ,
    Q,
    left,
    numbers,
    publish,
    worker,
)


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def test_requeue_false_sends_to_the_dead_letters(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a", app="x")
    client.nack(client.message(), requeue="false")
    assert client.messages() == []
    assert server.size_of(Q) == 0
    [dead] = server.drain(DLQ)
    assert numbers(dead) == ("a", "", "")
    assert dead.headers["destination"] == DLQ
    assert dead.headers["app"] == "x"


def test_dead_letters_go_to_their_consumer_at_once(server: Server) -> None:
    watcher = server.client()
    watcher.subscribe(DLQ)
    client = worker(server, "client")
    publish(server, "abc")
    client.nack(client.messages()[1], requeue="false")
    assert watcher.bodies() == ["a", "b"]


def test_a_client_may_watch_its_own_dead_letters(server: Server) -> None:
    client = worker(server, "client")
    client.subscribe(DLQ, "dead")
    publish(server, "a")
    frames = client.ask("NACK", **client.naming(client.message()), requeue="false", receipt="r")
    assert [frame.headers.get("subscription") for frame in frames] == ["dead", None]


def test_the_operator_hears_of_dead_letters(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "ab")
    for message in client.messages():
        client.nack(message, requeue="false")
    notices = [(n.kind, n.destination, n.messages) for n in server.notices]
    assert notices == [("dead letter", DLQ, 1), ("dead letter", DLQ, 2)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_message_is_tried_so_often_and_no_more(limit: int) -> None:
    for server in clean_server():
        server.limit(max_deliveries=limit)
        client = worker(server, "client-individual")
        publish(server, "a")
        for tries in range(limit):
            message = client.message()
            assert numbers(message)[2] == (str(tries) if tries else "")
            client.nack(message)
        assert client.messages() == []
        assert left(server, DLQ) == "a"


def test_a_consumer_that_goes_has_tried_its_oldest_message(server: Server) -> None:
    for _ in range(19):
        client = worker(server, "client")
        if not server.size_of(Q):
            publish(server, "a")
        client.drop()
    assert server.size_of(Q) == 1
    worker(server, "client").drop()
    assert server.size_of(Q) == 0
    assert left(server, DLQ) == "a"


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_lost_connections_do_not_send_healthy_jobs_to_the_dead_letters(
    server: Server, ack: str
) -> None:
    """One message ends each worker that looks at it; the 50 behind it were never looked at."""
    texts = ["poison", *map(str, range(50))]
    publish(server, texts)
    for number in range(20):
        client = worker(server, ack)
        messages = client.messages()
        assert bodies(messages) == texts
        count = str(number) if number else None
        assert {message.headers.get("x-delivery-count") for message in messages} == {count}
        client.drop()
    assert bodies(server.drain(DLQ)) == ["poison"]
    healthy = server.drain(Q)
    assert bodies(healthy) == texts[1:]
    assert {numbers(message)[1:] for message in healthy} == {("true", "20")}


def test_the_oldest_message_of_each_subscription_counts() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        client = server.client()
        client.subscribe(Q, "one", ack="client-individual", prefetch_count="2")
        client.subscribe("/queue/b", "two", ack="client-individual")
        client.subscribe("/queue/b", "three", ack="client-individual")
        publish(server, "abc")
        for text in "wxyz":
            server.client().publish("/queue/b", text)
        for message in client.messages():
            if message.body in b"aw":
                client.ack(message)
        client.unsubscribe("one")
        client.drop()
        assert left(server, DLQ) == "b"
        assert left(server) == "c"
        assert left(server, "/queue/DLQ.b") == "xy"
        assert left(server, "/queue/b") == "z"


def test_who_disconnects_or_unsubscribes_has_not_failed() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        publish(server, "ab")
        for number in range(5):
            client = worker(server, "client")
            expected = ("true", str(number)) if number else ("", "")
            assert [numbers(message)[1:] for message in client.messages()] == [expected] * 2
            if number % 2:
                client.unsubscribe()
            client.say("DISCONNECT")
        assert left(server) == "ab"


def test_what_an_open_transaction_had_may_be_the_oldest() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        client = worker(server, "client-individual")
        publish(server, "abc")
        client.say("BEGIN", transaction="t")
        client.ack(client.messages()[0], transaction="t")
        client.drop()
        assert left(server, DLQ) == "a"
        assert left(server) == "bc"


def test_a_rejection_counts_for_all_that_it_rejects() -> None:
    for server in clean_server():
        server.limit(max_deliveries=2)
        client = worker(server, "client", prefetch_count="3")
        publish(server, "abc")
        client.nack(client.messages()[1])
        client.nack(client.messages()[1])
        assert left(server, DLQ) == "ab"


def test_a_worker_that_acknowledges_twice_loses_nothing(server: Server) -> None:
    publish(server, map(str, range(100)))
    client = worker(server, "client-individual", prefetch_count="80")
    done: list[str] = []
    while messages := client.messages():
        for message in messages:
            done.append(message.body.decode())
            client.ack(message)
            client.ack(message)
    assert done == [str(number) for number in range(100)]
    assert server.broker.statistics.queue_count == 1
    assert server.notices == []


def test_with_0_tries_is_no_limit() -> None:
    for server in clean_server():
        server.limit(max_deliveries=0)
        client = worker(server, "client")
        publish(server, "a")
        for _ in range(50):
            client.nack(client.message())
        assert numbers(client.message()) == ("a", "true", "50")


def test_only_those_tried_too_often_go() -> None:
    """The others stand where they stood."""
    for server in clean_server():
        server.limit(max_deliveries=2)
        client = worker(server, "client", prefetch_count="2")
        publish(server, "ab")
        first, second = client.messages()
        client.ack(first)
        client.nack(second)
        publish(server, "cd")
        assert client.bodies() == ["b", "c"]
        client.drop()
        assert left(server, DLQ) == "b"
        assert left(server) == "cd"


def test_dead_letters_are_in_their_original_order() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        client = server.client()
        for name in ("one", "two", "three"):
            client.subscribe(Q, name, ack="client")
        publish(server, "abcd")
        client.drop()
        assert left(server, DLQ) == "abc"
        assert left(server) == "d"


def test_dead_letters_stay_however_often_they_are_tried() -> None:
    for server in clean_server():
        server.limit(max_deliveries=1)
        publisher, client = server.client(), server.client()
        publisher.publish(DLQ, "a")
        client.subscribe(DLQ, ack="client")
        for _ in range(5):
            client.nack(client.message())
        assert numbers(client.message()) == ("a", "true", "5")
        client.drop()
        assert left(server, DLQ) == "a"
        assert server.broker.statistics.queue_count == 0


def test_who_refuses_a_dead_letter_for_good_is_rid_of_it(server: Server) -> None:
    publisher, client = server.client(), server.client()
    publisher.publish(DLQ, "a")
    client.subscribe(DLQ, ack="client")
    client.nack(client.message(), requeue="false")
    client.drop()
    assert server.broker.statistics.queued_count == server.broker.statistics.queue_count == 0


def reject(server: Server, client: Client, texts: str, **headers: str) -> None:
    for text in texts:
        publish(server, text, **headers)
        client.nack(client.message(), requeue="false")
        assert not client.is_waiting


def test_a_full_queue_of_dead_letters_loses_the_oldest() -> None:
    """Rejecting a message never waits for a full queue; publishers of that queue do."""
    for server in clean_server():
        server.limit(max_queue_messages=2)
        client = worker(server, "client-individual")
        reject(server, client, "a", priority="9")
        reject(server, client, "bcd")
        assert server.size_of(DLQ) == 2
        publisher = server.client()
        publisher.publish(DLQ, "e")
        assert publisher.is_waiting
        publisher.drop()
        assert left(server, DLQ) == "cd"
        assert server.broker.dead_letters.dropped == 2


def test_dead_letters_are_limited_in_bytes_as_well() -> None:
    for server in clean_server():
        server.limit(max_queue_bytes=2000)
        client = worker(server, "client-individual")
        reject(server, client, "abcdefgh")
        assert server.broker.queues[DLQ].bytes <= 2000 + 1000
        left_over = left(server, DLQ)
        assert left_over == "abcdefgh"[-len(left_over) :]


def test_dead_letters_that_a_consumer_has_are_not_lost() -> None:
    """Then the queue holds twice as many, and from there on the new ones go."""
    for server in clean_server():
        server.limit(max_queue_messages=2)
        client, clerk = worker(server, "client-individual"), server.client()
        clerk.subscribe(DLQ, "dead", ack="client-individual", prefetch_count="10")
        reject(server, client, "abcdef")
        assert clerk.bodies() == ["a", "b", "c", "d"]
        assert server.size_of(DLQ) == 4
        assert server.broker.dead_letters.dropped == 2
        clerk.drop()
        assert left(server, DLQ) == "abcd"


def test_a_dead_letter_does_not_expire(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "a", expiration="1000", app="x")
    message = client.message()
    server.advance(5)
    client.nack(message, requeue="false")
    server.expire()
    [dead] = server.drain(DLQ)
    assert dead.body == b"a"
    assert "expires" not in dead.headers
    assert "expiration" not in dead.headers
    assert dead.headers["app"] == "x"
