"""ACK and NACK of deliveries whose subscription has ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Server, bodies, clean_server, errors
from support.workers import (
    DLQ,
    NOT_WAITING,
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


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_a_worker_may_finish_its_jobs_after_unsubscribe(
    server: Server, version: Version, ack: str
) -> None:
    client, other = worker(server, ack, version), server.client()
    publish(server, "abc")
    jobs = client.messages()
    client.unsubscribe()
    other.subscribe(Q)
    publish(server, "d")
    for job in jobs:
        frames = client.ask("ACK", **client.naming(job), receipt="r")
        assert [frame.command for frame in frames] == ["RECEIPT"]
    client.say("DISCONNECT")
    assert other.bodies() == ["d"]
    assert server.size_of(Q) == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("requeue, queue", [("true", Q), ("false", DLQ)])
def test_a_worker_may_give_back_a_job_after_unsubscribe(
    server: Server, version: Version, requeue: str, queue: str
) -> None:
    client = worker(server, "client-individual", version)
    publish(server, "ab")
    a, b = client.messages()
    client.unsubscribe()
    client.nack(b, requeue=requeue)
    assert left(server, queue) == "b"
    client.ack(a)
    assert server.size_of(Q) == 0


def test_client_is_cumulative_after_unsubscribe_too(server: Server) -> None:
    client = worker(server, "client")
    publish(server, "abc")
    messages = client.messages()
    client.unsubscribe()
    client.ack(messages[1])
    assert server.size_of(Q) == 1
    client.ack(messages[0])
    client.ack(messages[2])
    assert server.size_of(Q) == 0
    assert not client.line.closed


@pytest.mark.parametrize("how", ["drop", "DISCONNECT", "ERROR"])
def test_what_is_left_after_unsubscribe_comes_back_with_the_end(server: Server, how: str) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    jobs = client.messages()
    client.unsubscribe()
    client.ack(jobs[1])
    assert left(server) == ""
    if how == "drop":
        client.drop()
    else:
        client.say(how)
    again = worker(server, "client")
    assert [numbers(m) for m in again.messages()] == [("a", "true", "1"), ("c", "true", "1")]


def test_a_new_subscription_of_the_same_id_has_a_prefetch_of_its_own(server: Server) -> None:
    client = worker(server, "client-individual", prefetch_count="2")
    publish(server, "abcde")
    first = client.messages()
    client.unsubscribe()
    client.subscribe(Q, ack="client-individual", prefetch_count="2")
    second = client.messages()
    assert bodies(second) == ["c", "d"]
    client.ack(first[0])
    assert client.messages() == []
    client.ack(second[0])
    assert client.bodies() == ["e"]
    client.ack(first[1])
    assert server.size_of(Q) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribe_twice_is_no_error(server: Server, version: Version) -> None:
    client = worker(server, "client", version)
    for receipt in ("1", "2"):
        frames = client.ask("UNSUBSCRIBE", id="0", receipt=receipt)
        assert [frame.headers.get("receipt-id") for frame in frames] == [receipt]
    assert errors(client.ask("UNSUBSCRIBE", id="1")) == ["no such subscription"]


def test_unsubscribe_ends_the_new_subscription_of_an_id(server: Server) -> None:
    client = worker(server, "auto")
    client.unsubscribe()
    client.subscribe(Q)
    client.unsubscribe()
    publish(server, "a")
    assert client.messages() == []
    assert left(server) == "a"


def test_a_session_remembers_a_bounded_number_of_subscriptions(server: Server) -> None:
    """Each of them once, by a hash of its id; deliveries by a number."""
    client = server.client(max_subscriptions=3)
    for number in range(10):
        client.subscribe(Q, str(number), ack="client-individual", prefetch_count="1")
        publish(server, "a")
        client.ack(client.message())
        client.unsubscribe(str(number))
    subscriptions = client.session.subscriptions
    assert len(subscriptions._by_number) == 0
    assert subscriptions._past is not None
    assert len(subscriptions._past._hashes) == 3
    assert client.ask("UNSUBSCRIBE", id="9", receipt="r")[0].command == "RECEIPT"
    assert errors(client.ask("UNSUBSCRIBE", id="0")) == ["no such subscription"]


def test_ended_subscriptions_with_deliveries_count_towards_the_limit(server: Server) -> None:
    client = server.client(max_subscriptions=2)
    publish(server, "ab")
    for number in range(2):
        client.subscribe(Q, str(number), ack="client-individual", prefetch_count="1")
        client.unsubscribe(str(number))
    frames = client.messages()
    client.ack(frames[0])
    client.subscribe(Q, "third")
    assert errors(client.ask("SUBSCRIBE", id="4", destination=Q)) == ["more than 2 subscriptions"]


def test_an_old_delivery_stays_known_when_its_subscription_is_forgotten(server: Server) -> None:
    client = worker(server, "client-individual")
    publish(server, "abc")
    jobs = client.messages()
    for job in jobs:
        client.ack(job)
    client.unsubscribe()
    client.subscribe(Q, "next", ack="client-individual")
    client.unsubscribe("next")
    for job in jobs:
        frames = client.ask("ACK", **client.naming(job), receipt="r")
        assert [frame.command for frame in frames] == ["RECEIPT"]
    unknown = jobs[2].headers["ack"].replace(".3", ".4")
    assert errors(client.ask("ACK", id=unknown)) == [f"ACK {NOT_WAITING}"]
