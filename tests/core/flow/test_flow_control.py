"""Full queues: publishers wait, before their frame has any effect, and go on in order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from support.core import Client, Server, bodies, clean_server, message_size
from support.stomp import frame_bytes

from rtchat.core.flow.memory import Budget
from rtchat.core.session.connection import CloseReason

Q = "/queue/a"
OTHER = "/queue/b"


@pytest.fixture
def server() -> Iterator[Server]:
    for server in clean_server():
        server.limit(max_queue_messages=3)
        yield server


def full(server: Server, queue: str = Q, count: int = 3) -> Client:
    """Fill a queue, and give a client who holds none of it."""
    publisher = server.client()
    for number in range(count):
        publisher.publish(queue, f"{number}")
    assert not publisher.is_waiting
    assert server.size_of(queue) == count
    return publisher


def take(server: Server, count: int = 1, queue: str = Q) -> list[str]:
    """Take messages out of a queue."""
    taker = server.client()
    taker.subscribe(queue, ack="client-individual", prefetch_count=str(count))
    messages = taker.messages()
    # Before the acknowledgements make it settle for more:
    taker.stall()
    for message in messages:
        taker.ack(message)
    taker.drop()
    return bodies(messages)


# ---------------------------------------------------------------- when it is full


@pytest.mark.parametrize("held, waits", [(1, False), (2, False), (3, True), (4, True)])
def test_a_queue_is_full_at_its_number_of_messages(server: Server, held: int, waits: bool) -> None:
    publisher = server.client()
    # A commit waits for room and not for as much as it needs; so there may be one too many.
    publisher.say("BEGIN", transaction="t")
    for number in range(held):
        publisher.publish(Q, str(number), transaction="t")
    publisher.say("COMMIT", transaction="t")
    assert server.size_of(Q) == held
    publisher.publish(Q, "next")
    assert publisher.is_waiting is waits


def test_unacknowledged_messages_count(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client")
    publisher = full(server)
    publisher.publish(Q, "next")
    assert publisher.is_waiting


def test_messages_for_auto_consumers_do_not_count(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q)
    publisher = server.client()
    for number in range(10):
        publisher.publish(Q, str(number))
    assert not publisher.is_waiting


@pytest.mark.parametrize("over, waits", [(-1, False), (0, True), (1, True)])
def test_a_queue_is_full_at_its_number_of_bytes(over: int, waits: bool) -> None:
    for server in clean_server():
        size = message_size({"destination": Q, "content-length": "100"}, b"x" * 100)
        server.limit(max_queue_bytes=size * 2 - over)
        publisher = server.client()
        publisher.publish(Q, b"x" * 100)
        publisher.publish(Q, b"x" * 100)
        assert not publisher.is_waiting
        publisher.publish(Q, "next")
        assert publisher.is_waiting is waits


def test_a_message_larger_than_the_queue_fits_while_there_is_room() -> None:
    for server in clean_server():
        server.limit(max_queue_bytes=1000)
        publisher = server.client()
        publisher.publish(Q, b"x" * 5000)
        assert not publisher.is_waiting
        assert server.size_of(Q) == 1
        publisher.publish(Q, "next")
        assert publisher.is_waiting


def test_priorities_share_one_limit(server: Server) -> None:
    publisher = server.client()
    for priority in "159":
        publisher.publish(Q, priority, priority=priority)
    publisher.publish(Q, "next", priority="9")
    assert publisher.is_waiting


# ---------------------------------------------------------------- waiting


def test_a_publisher_that_waits_is_not_read(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "next")
    assert publisher.is_waiting
    publisher.publish(OTHER, "later")
    assert server.size_of(OTHER) == 0


def test_a_message_that_waits_has_no_effect(server: Server) -> None:
    publisher = full(server)
    used = server.waiting_bytes
    published = server.broker.publishing.message_count
    publisher.publish(Q, "next", receipt="r", reply_to="/temp-queue/mine")
    assert publisher.received() == []
    assert server.waiting_bytes == used
    assert server.broker.publishing.message_count == published
    assert server.broker.statistics.subscription_count == 0


def test_nothing_that_follows_in_the_same_read_is_processed(server: Server) -> None:
    publisher = full(server)
    publisher.send(
        frame_bytes("SEND", destination=Q, receipt="1")
        + frame_bytes("SEND", destination=OTHER, receipt="2")
        + frame_bytes("NONSENSE")
    )
    assert publisher.received() == []
    assert server.size_of(OTHER) == 0


def test_what_came_before_in_the_same_read_is_done(server: Server) -> None:
    publisher = full(server)
    publisher.send(
        frame_bytes("SEND", destination=OTHER, receipt="1")
        + frame_bytes("SEND", destination=Q, receipt="2")
    )
    assert publisher.receipts() == ["1"]
    assert server.size_of(OTHER) == 1


def test_bytes_that_come_although_nobody_reads_wait_as_well(server: Server) -> None:
    """A TLS connection may hold some that were decrypted before the pause."""
    publisher = full(server)
    publisher.publish(Q, "next", receipt="1")
    publisher.session.receive(frame_bytes("SEND", destination=OTHER, receipt="2"))
    assert publisher.received() == []
    take(server)
    assert publisher.receipts() == ["1", "2"]


def test_a_full_queue_holds_up_nobody_else(server: Server) -> None:
    full(server).publish(Q, "next")
    other, listener = server.client(), server.client()
    listener.subscribe(OTHER)
    listener.subscribe("/topic/t", "t")
    other.publish(OTHER, "to a queue")
    other.publish("/topic/t", "to a topic")
    assert listener.bodies() == ["to a queue", "to a topic"]
    assert not other.is_waiting


def test_a_waiting_publisher_still_gets_messages(server: Server) -> None:
    publisher = full(server)
    publisher.subscribe("/topic/t")
    publisher.publish(Q, "next")
    assert publisher.is_waiting
    server.client().publish("/topic/t", "news")
    assert publisher.bodies() == ["news"]


def test_a_waiting_publisher_still_has_its_subscriptions(server: Server) -> None:
    publisher = full(server)
    publisher.subscribe(OTHER, ack="client")
    publisher.publish(Q, "next")
    server.client().publish(OTHER, "work")
    assert publisher.bodies() == ["work"]
    assert server.size_of(OTHER) == 1


# ---------------------------------------------------------------- going on


def test_a_publisher_goes_on_when_there_is_room(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "next", receipt="r")
    assert take(server) == ["0"]
    assert not publisher.is_waiting
    assert publisher.receipts() == ["r"]
    assert bodies(server.drain(Q)) == ["1", "2", "next"]


def test_it_goes_on_when_there_are_bytes_of_room() -> None:
    for server in clean_server():
        server.limit(max_queue_bytes=3000)
        publisher = server.client()
        publisher.publish(Q, b"1" * 1000)
        publisher.publish(Q, b"2" * 1000)
        publisher.publish(Q, "next")
        assert publisher.is_waiting
        take(server)
        assert not publisher.is_waiting
        assert server.size_of(Q) == 2


def test_what_it_sent_meanwhile_follows_in_order(server: Server) -> None:
    publisher = full(server)
    publisher.send(b"".join(frame_bytes("SEND", b"%d" % n, destination=Q) for n in (3, 4)))
    publisher.publish(Q, "5")
    publisher.publish(Q, "6", receipt="last")
    worker = server.client()
    worker.subscribe(Q)
    assert worker.bodies() == ["0", "1", "2", "3", "4", "5", "6"]
    assert publisher.receipts() == ["last"]
    assert not publisher.is_waiting


def test_frames_of_every_kind_follow_in_order(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "3", receipt="1")
    publisher.say("SUBSCRIBE", id="0", destination=OTHER, receipt="2")
    publisher.publish(OTHER, "x", receipt="3")
    publisher.say("BEGIN", transaction="t", receipt="4")
    publisher.say("COMMIT", transaction="t", receipt="5")
    publisher.say("DISCONNECT", receipt="6")
    assert publisher.received() == []
    take(server)
    frames = publisher.received()
    assert [frame.headers.get("receipt-id", "-") for frame in frames] == [*"12-3456"]
    assert publisher.close_reason is CloseReason.DONE


def test_a_mistake_behind_it_is_answered_in_its_turn(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "3", receipt="1")
    publisher.say("NONSENSE")
    take(server)
    assert [frame.command for frame in publisher.received()] == ["RECEIPT", "ERROR"]


def test_it_may_have_to_wait_for_the_same_queue_again(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "3", receipt="3")
    publisher.publish(Q, "4", receipt="4")
    take(server)
    assert publisher.receipts() == ["3"]
    assert publisher.is_waiting
    take(server)
    assert publisher.receipts() == ["4"]
    assert not publisher.is_waiting


def test_it_may_have_to_wait_for_another_queue_next(server: Server) -> None:
    publisher = full(server)
    full(server, OTHER)
    publisher.publish(Q, "3", receipt="3")
    publisher.publish(OTHER, "4", receipt="4")
    take(server)
    assert publisher.receipts() == ["3"]
    take(server)
    assert publisher.received() == []
    take(server, queue=OTHER)
    assert publisher.receipts() == ["4"]


def test_publishers_go_on_in_the_order_in_which_they_came(server: Server) -> None:
    full(server)
    waiting = [server.client() for _ in range(3)]
    for number, publisher in enumerate(waiting):
        publisher.publish(Q, f"from {number}")
    take(server, 2)
    assert [publisher.is_waiting for publisher in waiting] == [False, False, True]
    take(server)
    assert bodies(server.drain(Q)) == ["from 0", "from 1", "from 2"]


def test_who_has_to_wait_again_stands_behind_the_others(server: Server) -> None:
    full(server)
    busy, patient = server.client(), server.client()
    busy.send(b"".join(frame_bytes("SEND", b"busy %d" % n, destination=Q) for n in range(3)))
    patient.publish(Q, "patient")
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    got = []
    for _ in range(7):
        message = worker.message()
        got.append(message.body.decode())
        worker.ack(message)
    assert got == ["0", "1", "2", "busy 0", "patient", "busy 1", "busy 2"]


def test_one_place_lets_one_publisher_go_on(server: Server) -> None:
    full(server)
    waiting = [server.client() for _ in range(3)]
    for publisher in waiting:
        publisher.publish(Q, "x")
    take(server)
    assert [publisher.line.pauses for publisher in waiting] == [1, 1, 1]
    assert [publisher.is_waiting for publisher in waiting] == [False, True, True]


def test_room_that_is_gone_again_wakes_nobody(server: Server) -> None:
    """A consumer that publishes in the same read was there first."""
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    waiting = full(server)
    waiting.publish(Q, "next")
    message = worker.message()
    ack = frame_bytes("ACK", **worker.naming(message))
    worker.send(ack + frame_bytes("SEND", b"mine", destination=Q))
    assert waiting.is_waiting
    worker.ack(worker.message())
    assert not waiting.is_waiting


def test_a_consumer_that_comes_makes_room(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "next")
    worker = server.client()
    worker.subscribe(Q)
    assert worker.bodies() == ["0", "1", "2", "next"]
    assert not publisher.is_waiting


def test_a_client_that_reads_again_makes_room(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q)
    worker.stall()
    publisher = full(server)
    publisher.publish(Q, "next")
    assert publisher.is_waiting
    worker.read_on()
    assert worker.bodies() == ["0", "1", "2", "next"]
    assert not publisher.is_waiting


def test_messages_that_expire_make_room(server: Server) -> None:
    publisher = server.client()
    for _ in range(3):
        publisher.publish(Q, "short", expiration="1000")
    publisher.publish(Q, "next")
    server.advance(2)
    assert publisher.is_waiting
    server.expire()
    assert not publisher.is_waiting
    assert bodies(server.drain(Q)) == ["next"]


def test_messages_that_are_given_up_make_room(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    publisher = full(server)
    publisher.publish(Q, "next")
    worker.nack(worker.message(), requeue="false")
    assert not publisher.is_waiting
    assert server.size_of("/queue/DLQ.a") == 1


def test_messages_that_come_back_make_no_room(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client")
    publisher = full(server)
    publisher.publish(Q, "next")
    worker.drop()
    assert publisher.is_waiting
    assert server.size_of(Q) == 3


# ---------------------------------------------------------------- those who go


def test_a_connection_that_is_lost_waits_no_longer(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "never sent")
    publisher.drop()
    assert bodies(server.drain(Q)) == ["0", "1", "2"]


def test_who_waits_behind_a_lost_connection_goes_on(server: Server) -> None:
    full(server)
    lost, other = server.client(), server.client()
    lost.publish(Q, "lost")
    other.publish(Q, "other")
    lost.drop()
    take(server)
    assert not other.is_waiting
    assert bodies(server.drain(Q)) == ["1", "2", "other"]


def test_a_connection_may_be_lost_between_the_room_and_the_wake(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "never sent")
    taker = server.client()
    taker.session.receive(frame_bytes("SUBSCRIBE", id="0", destination=Q))
    publisher.session.lost()
    server.end_turn()
    assert taker.bodies() == ["0", "1", "2"]
    assert publisher.received() == []


def test_a_server_that_stops_ends_the_wait(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "never sent", receipt="r")
    publisher.session.shut_down()
    server.end_turn()
    assert publisher.received() == []
    assert publisher.close_reason is CloseReason.SHUTDOWN
    assert bodies(server.drain(Q)) == ["0", "1", "2"]


def test_one_publisher_s_end_may_cut_another_that_waits(server: Server) -> None:
    """The first one woken overflows the second's feed: that one is gone when its turn comes."""
    full(server)
    first = server.client()
    second = server.client(max_backlog_bytes=1000)
    second.subscribe("/topic/t", ack="client", prefetch_count="1")
    first.send(
        frame_bytes("SEND", b"first", destination=Q)
        + b"".join(frame_bytes("SEND", b"x" * 600, destination="/topic/t") for _ in range(3))
    )
    second.publish(Q, "second")
    take(server, 2)
    assert second.close_reason is CloseReason.SLOW
    assert bodies(server.drain(Q)) == ["2", "first"]


# ---------------------------------------------------------------- composite, pubsub, commit


@pytest.mark.parametrize("name", [f"{Q},{OTHER}", f"{OTHER},{Q}", f"/topic/t, {Q}, {OTHER}"])
def test_a_composite_message_waits_as_a_whole(server: Server, name: str) -> None:
    listener = server.client()
    listener.subscribe("/topic/t")
    publisher = full(server)
    publisher.publish(name, "both", receipt="r")
    assert publisher.received() == listener.bodies() == []
    assert server.size_of(OTHER) == 0
    take(server)
    assert publisher.receipts() == ["r"]
    assert server.size_of(OTHER) == 1
    assert server.size_of(Q) == 3


def test_a_composite_message_waits_for_every_queue(server: Server) -> None:
    publisher = full(server)
    full(server, OTHER)
    publisher.publish(f"{Q},{OTHER}", "both")
    take(server)
    assert publisher.is_waiting
    assert server.size_of(Q) == 2
    take(server, queue=OTHER)
    assert not publisher.is_waiting
    assert (server.size_of(Q), server.size_of(OTHER)) == (3, 3)


def test_who_waits_for_another_queue_lets_the_next_one_go_on(server: Server) -> None:
    full(server)
    full(server, OTHER)
    both, one = server.client(), server.client()
    both.publish(f"{Q},{OTHER}", "both")
    one.publish(Q, "one")
    take(server)
    assert both.is_waiting
    assert not one.is_waiting


def test_a_pubsub_message_waits_for_its_queues() -> None:
    for server in clean_server():
        server.limit(max_queue_messages=2)
        server.declare("news", Q, OTHER)
        publisher = full(server, OTHER, 2)
        publisher.publish("/pubsub/news", "both")
        assert publisher.is_waiting
        assert server.size_of(Q) == 0
        take(server, queue=OTHER)
        assert (server.size_of(Q), server.size_of(OTHER)) == (1, 2)


def test_a_transaction_waits_at_its_commit(server: Server) -> None:
    publisher = full(server)
    publisher.say("BEGIN", transaction="t")
    publisher.publish(Q, "3", transaction="t", receipt="sent")
    assert publisher.receipts() == ["sent"]
    publisher.say("COMMIT", transaction="t", receipt="committed")
    assert publisher.is_waiting
    assert publisher.received() == []
    take(server)
    assert publisher.receipts() == ["committed"]


def test_a_commit_waits_as_a_whole(server: Server) -> None:
    worker = server.client()
    worker.subscribe("/queue/c", ack="client")
    server.client().publish("/queue/c", "work")
    full(server)
    listener = server.client()
    listener.subscribe("/topic/t")
    worker.say("BEGIN", transaction="t")
    worker.ack(worker.message(), transaction="t")
    worker.publish(OTHER, "before", transaction="t")
    worker.publish("/topic/t", "news", transaction="t")
    worker.publish(Q, "3", transaction="t")
    worker.publish(OTHER, "after", transaction="t")
    worker.say("COMMIT", transaction="t")
    assert worker.is_waiting
    assert server.size_of("/queue/c") == 1
    assert server.size_of(OTHER) == 0
    assert listener.bodies() == []
    take(server)
    assert server.size_of("/queue/c") == 0
    assert bodies(server.drain(OTHER)) == ["before", "after"]
    assert listener.bodies() == ["news"]


def test_a_commit_that_waits_may_be_lost(server: Server) -> None:
    publisher = full(server)
    publisher.say("BEGIN", transaction="t")
    publisher.publish(Q, "3", transaction="t")
    publisher.say("COMMIT", transaction="t")
    publisher.drop()
    assert bodies(server.drain(Q)) == ["0", "1", "2"]


def test_a_commit_needs_no_room_where_it_acknowledges(server: Server) -> None:
    """A worker that puts its work at the end of the full queue it took it from."""
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    full(server)
    worker.say("BEGIN", transaction="t")
    worker.ack(worker.message(), transaction="t")
    worker.publish(Q, "again", transaction="t")
    worker.say("COMMIT", transaction="t")
    assert not worker.is_waiting
    worker.stall()
    worker.drop()
    assert bodies(server.drain(Q)) == ["1", "2", "again"]


def test_a_transaction_on_a_topic_waits_for_nobody(server: Server) -> None:
    publisher = full(server)
    publisher.say("BEGIN", transaction="t")
    publisher.publish("/topic/t", "x", transaction="t")
    publisher.say("COMMIT", transaction="t", receipt="r")
    assert publisher.receipts() == ["r"]


# ---------------------------------------------------------------- what the operator is told


def test_the_operator_hears_of_a_full_queue_once(server: Server) -> None:
    full(server)
    assert server.notices == []
    for _ in range(2):
        server.client().publish(Q, "x")
    assert [(n.kind, n.destination, n.messages) for n in server.notices] == [("queue full", Q, 3)]
    assert server.notices[0].bytes == server.waiting_bytes


def test_the_operator_hears_when_it_has_room_again(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "x")
    take(server, 2)
    server.expire()
    kinds = [(notice.kind, notice.messages) for notice in server.notices]
    assert kinds == [("queue full", 3), ("queue has room", 2)]


def test_a_queue_that_disappeared_has_room(server: Server) -> None:
    publisher = full(server)
    publisher.publish(Q, "x")
    server.drain(Q)
    server.expire()
    assert server.notices[-1] == ("queue has room", Q, 0, 0)


def test_room_that_somebody_waits_for_is_no_news(server: Server) -> None:
    publisher = full(server, count=2)
    publisher.publish(Q, "short", expiration="1000")
    publisher.publish(Q, "x")
    server.advance(2)
    server.expire()
    assert not publisher.is_waiting
    assert [notice.kind for notice in server.notices] == ["queue full"]


def test_a_queue_that_is_filled_as_fast_as_emptied_is_no_news(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1")
    publisher = full(server)
    for number in range(20):
        publisher.publish(Q, str(number))
        assert publisher.is_waiting
        worker.ack(worker.message())
        server.expire()
    assert [notice.kind for notice in server.notices] == ["queue full"]


# ---------------------------------------------------------------- the budget


@pytest.mark.parametrize(
    "used, near, over",
    [
        (0, False, False),
        (84, False, False),
        (85, True, False),
        (100, True, False),
        (101, True, True),
    ],
)
def test_the_budget_knows_when_it_is_near_and_over(used: int, near: bool, over: bool) -> None:
    budget = Budget(100)
    budget.used = used
    assert (budget.is_near, budget.is_over) == (near, over)
    budget.on_over()


def test_a_budget_of_0_is_none() -> None:
    budget = Budget(0)
    budget.used = 10**12
    assert not budget.is_near
    assert not budget.is_over


def test_a_turn_that_ends_over_the_budget_calls_for_help() -> None:
    calls: list[int] = []
    for server in clean_server():
        server.limit(max_bytes=4000)
        publisher, budget = server.client(), server.broker.budget
        budget.on_over = partial(calls.append, 1)
        publisher.publish(Q, "1")
        publisher.publish(Q, "2")
        assert calls == []
        publisher.publish(Q, "3", receipt="r")
        assert calls == [1]
        assert publisher.receipts() == ["r"]
