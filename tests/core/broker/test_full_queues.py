"""A session never waits for itself: not directly, and not through others that wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Client, Server, bodies, clean_server, errors
from support.stomp import frame_bytes

from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import Subscription
from rtchat.core.session.connection import CloseReason
from rtchat.core.session.session import Session
from rtchat.core.stomp.frames import Frame

A, B, C = "/queue/a", "/queue/b", "/queue/c"
LIMIT = 3


@pytest.fixture
def server() -> Iterator[Server]:
    for server in clean_server():
        server.limit(max_queue_messages=LIMIT)
        yield server


def fill(server: Server, queue: str = A, count: int = LIMIT) -> None:
    """Fill a queue by a client that holds none of it."""
    publisher = server.client()
    for number in range(count):
        publisher.publish(queue, f"{queue[-1]}{number}")


def worker(
    server: Server, queue: str = A, prefetch: int = 1, **more: str
) -> tuple[Client, list[Frame]]:
    """Return a client that consumes a queue, and the deliveries that it holds."""
    client = server.client()
    options = {"ack": "client-individual", "prefetch_count": str(prefetch), **more}
    client.subscribe(queue, queue, **options)
    return client, client.messages()


# ---------------------------------------------------------------- for its own acknowledgement


def test_a_worker_sends_the_next_job_to_the_full_queue_and_acknowledges(server: Server) -> None:
    fill(server)
    client, [job] = worker(server)
    client.publish(A, "next", receipt="r")
    assert client.receipts() == ["r"]
    assert server.size_of(A) == LIMIT + 1
    client.ack(job)
    assert client.bodies() == ["a1"]
    assert server.size_of(A) == LIMIT


def test_the_frames_may_come_in_one_read(server: Server) -> None:
    fill(server)
    client, [job] = worker(server)
    again = frame_bytes("SEND", b"next", destination=A)
    client.send(again + again + frame_bytes("ACK", **client.naming(job)))
    assert not client.is_waiting
    assert client.bodies() == ["a1"]
    assert server.size_of(A) == LIMIT + 1


def test_a_worker_stops_with_unsubscribe_and_disconnect_behind_its_send(server: Server) -> None:
    fill(server)
    client, [job] = worker(server)
    client.publish(A, "next")
    client.ack(job)
    client.publish(A, "one more")
    client.say("UNSUBSCRIBE", id=A)
    client.say("DISCONNECT", receipt="bye")
    assert client.receipts() == ["bye"]
    assert client.close_reason is CloseReason.DONE
    # What it still had goes back to its place.
    assert bodies(server.drain(A)) == ["a1", "a2", "next", "one more"]


@pytest.mark.parametrize("mode", ["client", "client-individual"])
def test_it_holds_deliveries_in_either_mode(server: Server, mode: str) -> None:
    fill(server)
    client, jobs = worker(server, prefetch=2, ack=mode)
    client.publish(A, "next")
    assert not client.is_waiting
    client.ack(jobs[0])
    assert client.bodies() == ["a2"]


def test_it_may_hold_them_by_another_subscription(server: Server) -> None:
    fill(server)
    client, [_] = worker(server)
    client.subscribe(A, "second", ack="client", selector="never = 'true'")
    client.publish(A, "next")
    assert not client.is_waiting


def test_it_may_hold_them_after_unsubscribe(server: Server) -> None:
    fill(server)
    client, [job] = worker(server)
    client.say("UNSUBSCRIBE", id=A)
    client.publish(A, "next")
    assert not client.is_waiting
    client.ack(job)
    assert bodies(server.drain(A)) == ["a1", "a2", "next"]


def test_an_acknowledgement_in_an_open_transaction_is_still_to_come(server: Server) -> None:
    fill(server)
    client, [job] = worker(server)
    client.say("BEGIN", transaction="t")
    client.ack(job, transaction="t")
    client.publish(A, "next", receipt="r")
    assert client.receipts() == ["r"]
    client.say("COMMIT", transaction="t")
    assert client.bodies() == ["a1"]


def test_a_commit_does_not_wait_for_itself(server: Server) -> None:
    """It gives back one delivery, and keeps another: neither makes room before it is done."""
    fill(server)
    client, [first, second] = worker(server, prefetch=2)
    client.say("BEGIN", transaction="t")
    client.nack(first, transaction="t")
    client.publish(A, "next", transaction="t")
    client.say("COMMIT", transaction="t", receipt="r")
    assert client.receipts() == ["r"]
    client.ack(second)
    assert not client.is_waiting


@pytest.mark.parametrize("count, size", [(5, 1), (1, 100_000)])
def test_commits_that_acknowledge_a_little_do_not_exceed_the_bound(
    server: Server, count: int, size: int
) -> None:
    """In number or size each adds more than it takes."""
    server.limit(max_queue_bytes=100_000)
    fill(server)
    client, jobs = worker(server)
    for _ in range(20):
        if client.line.closed:
            break
        assert server.size_of(A) <= 2 * LIMIT + count
        client.say("BEGIN", transaction="t")
        client.ack(jobs[-1], transaction="t")
        for _ in range(count):
            client.publish(A, b"x" * size, transaction="t")
        client.say("COMMIT", transaction="t")
        jobs = [frame for frame in client.received() if frame.command == "MESSAGE"]
    assert client.line.closed == [
        (CloseReason.LIMIT, "queue full, and only this session's ACKs can make room")
    ]
    server.drain(A)


def test_a_commit_that_adds_no_more_than_it_takes_always_has_room(server: Server) -> None:
    fill(server)
    client, [job] = worker(server)
    for _ in range(LIMIT):
        client.publish(A, "n0")
    for _ in range(5):
        client.say("BEGIN", transaction="t")
        client.ack(job, transaction="t")
        client.publish(A, "n0", transaction="t")
        client.say("COMMIT", transaction="t", receipt="r")
        frames = client.received()
        assert {frame.command for frame in frames} == {"RECEIPT", "MESSAGE"}
        [job] = [frame for frame in frames if frame.command == "MESSAGE"]
    assert server.size_of(A) == 2 * LIMIT


@pytest.mark.parametrize("destination", [f"{A},{B}", f"{B},{A}"])
def test_a_composite_waits_only_where_it_does_not_wait_for_itself(
    server: Server, destination: str
) -> None:
    fill(server)
    client, [job] = worker(server)
    client.publish(destination, "both")
    assert not client.is_waiting
    client.ack(job)
    fill(server, B, LIMIT - 1)
    client.publish(destination, "again")
    # B is full and not its own affair.
    assert client.is_waiting
    assert bodies(server.drain(B)) == ["both", "b0", "b1", "again"]
    assert not client.is_waiting


def test_who_holds_nothing_waits_as_always(server: Server) -> None:
    fill(server)
    client, [job] = worker(server)
    waiting = server.client()
    waiting.publish(A, "later")
    client.publish(A, "next")
    client.ack(job)
    assert waiting.is_waiting, "there are as many as before"
    client.ack(client.message())
    assert not waiting.is_waiting


def test_who_holds_deliveries_of_another_queue_waits_for_its_consumers(server: Server) -> None:
    """A pipeline: a slow stage holds up the one before it."""
    fill(server, B)
    fill(server, A)
    client, [job] = worker(server, A)
    slow, [last] = worker(server, B)
    client.publish(B, "passed on")
    client.ack(job)
    assert client.is_waiting
    slow.ack(last)
    assert not client.is_waiting
    assert client.bodies() == ["a1"]


# ---------------------------------------------------------------- through others


def test_two_workers_do_not_wait_for_each_other(server: Server) -> None:
    for queue in (A, B):
        fill(server, queue)
    (one, [job_a]), (two, [job_b]) = worker(server, A), worker(server, B)
    one.publish(B, "from a")
    one.ack(job_a)
    assert one.is_waiting
    two.publish(A, "from b")
    two.ack(job_b)
    assert not one.is_waiting
    assert not two.is_waiting
    assert (one.bodies(), two.bodies()) == (["a1"], ["b1"])
    assert [server.size_of(queue) for queue in (A, B)] == [LIMIT, LIMIT]


def test_three_workers_do_not_wait_in_a_circle(server: Server) -> None:
    for queue in (A, B, C):
        fill(server, queue)
    (one, [job_a]), (two, [job_b]), (three, [job_c]) = (worker(server, q) for q in (A, B, C))
    for client, target, job in ((one, B, job_a), (two, C, job_b), (three, A, job_c)):
        client.publish(target, "on")
        client.ack(job)
    assert not any(client.is_waiting for client in (one, two, three))


def test_a_chain_may_be_closed_while_its_members_wait(server: Server) -> None:
    holder, _ = worker(server, prefetch=LIMIT)
    fill(server)
    client, [] = worker(server)
    client.publish(A, "next", receipt="r")
    assert client.is_waiting
    holder.drop()
    # Now all messages are back, and the waiting one has the first of them.
    assert client.bodies() == ["a0"]
    assert client.is_waiting
    server.expire()
    assert not client.is_waiting
    assert client.receipts() == ["r"]


# ---------------------------------------------------------------- the bound


def test_a_queue_never_holds_more_than_twice_its_limit(server: Server) -> None:
    client, _ = worker(server, prefetch=0)
    for number in range(2 * LIMIT):
        client.publish(A, str(number), receipt=str(number))
    assert server.size_of(A) == 2 * LIMIT
    client.received()
    client.publish(A, "too much", receipt="r")
    [error] = client.received()
    assert errors([error]) == ["queue full, and only this session's ACKs can make room"]
    assert error.headers["receipt-id"] == "r"
    assert b"queue.max_messages" in error.body
    assert client.close_reason is CloseReason.LIMIT
    assert server.size_of(A) == 2 * LIMIT


def test_it_is_bounded_in_bytes_as_well() -> None:
    for server in clean_server():
        server.limit(max_queue_bytes=2000)
        client, _ = worker(server, prefetch=0)
        for _ in range(10):
            if client.close_reason is None:
                client.publish(A, b"x" * 1000)
        assert client.close_reason is CloseReason.LIMIT
        assert server.broker.queues[A].bytes < 2 * 2000 + 2000


def test_at_the_bound_it_waits_while_others_can_make_room(server: Server) -> None:
    client, _ = worker(server, prefetch=1)
    helper, [] = worker(server, prefetch=1)
    for number in range(2 * LIMIT):
        client.publish(A, str(number))
    [held] = helper.messages()
    client.publish(A, "more", receipt="r")
    assert client.is_waiting
    helper.ack(held)
    server.expire()
    assert not client.is_waiting
    assert client.receipts() == ["r"]


def test_at_the_bound_it_is_told_when_the_last_helper_has_gone(server: Server) -> None:
    client, _ = worker(server, prefetch=0)
    helper, [] = worker(server, prefetch=1)
    for number in range(2 * LIMIT):
        client.publish(A, str(number))
    client.publish(A, "more")
    assert client.is_waiting
    helper.drop()
    server.expire()
    assert client.close_reason is CloseReason.LIMIT


def two_that_wait(server: Server) -> tuple[Client, Client]:
    """Return a client that waits, and one that waits for itself: each resumes with a message.

    What the second sends, the first one will hold.
    """
    helper, _ = worker(server, prefetch=0)
    fill(server)
    first, second = worker(server, prefetch=0)[0], worker(server, prefetch=0)[0]
    for client in (first, second):
        client.publish(A, "more")
        assert client.is_waiting
    first.stall()
    helper.drop()
    first.read_on()
    assert len(second.messages()) == LIMIT
    second.stall()
    return first, second


def test_one_that_is_resumed_may_make_another_wait_for_itself(server: Server) -> None:
    first, second = two_that_wait(server)
    server.expire()
    assert first.bodies()[0] == "more"
    assert not second.is_waiting
    assert not first.is_waiting


def test_looks_at_those_that_wait_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if there is always another that waits for itself."""
    _, second = two_that_wait(server)
    resumed = []

    def again(waiter: Session) -> None:
        resumed.append(waiter)
        server.broker.waiting.join(A, waiter)

    monkeypatch.setattr(type(second.session), "stop_waiting", again)
    server.expire()
    assert 1 < len(resumed) <= 101


def test_what_exceeds_the_limit_counts_towards_the_memory(server: Server) -> None:
    fill(server)
    used = server.broker.budget.used
    client, [_] = worker(server)
    client.publish(A, "next")
    assert server.broker.budget.used > used


def test_many_waiting_publishers_cost_a_worker_nothing(server: Server) -> None:
    """Only those that can hold deliveries are looked at."""
    fill(server)
    publishers = [server.client() for _ in range(50)]
    for publisher in publishers:
        publisher.publish(A, "later")
    client, [_] = worker(server)
    assert not server.broker.waiting.places_of_holders()
    client.publish(A, "next")
    assert not client.is_waiting


def test_a_second_costs_one_look_at_each_session_that_waits(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(server)
    workers = []
    for number in range(30):
        publisher = server.client()
        publisher.publish(f"/queue/own{number}", "job")
        client, _ = worker(server, f"/queue/own{number}")
        client.publish(A, "next")
        assert client.is_waiting
        workers.append(client)
    looks = []
    holders = Queue.holders

    def counted(self: Queue) -> Iterator[Subscription]:
        for one in holders(self):
            looks.append(one)
            yield one

    monkeypatch.setattr(Queue, "holders", counted)
    server.broker.full_queues.resume_those_that_wait_for_themselves()
    assert len(looks) <= len(workers)
    for client in workers:
        client.drop()
    server.drain(A)
    for number in range(30):
        server.drain(f"/queue/own{number}")
