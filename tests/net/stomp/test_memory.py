"""The memory limit: who is slowed near it, and who is cut past it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.stomp.limits import Limits
from rtchat.net.stomp.server import SLOW_PUBLISHER_S
from rtchat.testing import Broker, Client

LIMIT = 10_000_000
NEAR = 8_500_000
Q = "/queue/a"


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def broker() -> Broker:
    limits = Limits(max_backlog_bytes=100 * LIMIT, max_frame_bytes=LIMIT)
    return Broker(limits, BrokerLimits(max_queue_bytes=100 * LIMIT, max_bytes=LIMIT))


def put(client: Client, size: int, destination: str = Q, **headers: str) -> None:
    """Publish so many bytes; headers and what a message costs come on top."""
    client.send(destination, b"x" * size, **headers)


def fill(broker: Broker, size: int) -> None:
    """Fill a queue up to so many bytes in the budget, by a client that is gone."""
    publisher = broker.connect()
    for _ in range(size // 100_000 - 1):
        put(publisher, 99_000, "/queue/filled")
        if publisher.is_paused:
            broker.advance(SLOW_PUBLISHER_S)
    assert not publisher.is_closed
    publisher.drop()


def error_of(client: Client) -> str:
    """Return the ERROR with which the client was cut."""
    text = client.receive("ERROR").headers["message"]
    assert client.is_closed
    return text


# ---------------------------------------------------------------- near it


def test_a_publisher_is_not_read_for_a_moment_after_each_read(broker: Broker) -> None:
    publisher = broker.connect()
    put(publisher, NEAR - 100_000)
    assert not publisher.is_paused
    put(publisher, 100_000)
    assert publisher.is_paused
    broker.advance(SLOW_PUBLISHER_S)
    assert not publisher.is_paused
    put(publisher, 1)
    assert publisher.is_paused


def test_others_are_read_as_always(broker: Broker) -> None:
    put(broker.connect(), NEAR)
    other = broker.connect()
    other.subscribe("/topic/news")
    assert not other.is_paused


def test_a_publisher_is_read_as_always_when_memory_is_free_again(broker: Broker) -> None:
    publisher, consumer = broker.connect(), broker.connect()
    fill(broker, NEAR)
    put(publisher, 500_000)
    assert publisher.is_paused
    consumer.subscribe("/queue/filled")
    broker.advance(SLOW_PUBLISHER_S)
    put(publisher, 500_000)
    assert not publisher.is_paused


# ---------------------------------------------------------------- near it, and no part in it


def test_a_publisher_to_a_topic_is_read_as_always(broker: Broker) -> None:
    fill(broker, NEAR + 200_000)
    publisher, subscriber = broker.connect(), broker.connect()
    subscriber.subscribe("/topic/news")
    for _ in range(3):
        put(publisher, 1000, "/topic/news")
        assert not publisher.is_paused
    assert len(list(subscriber.received())) == 3


@pytest.mark.parametrize("ack", ["auto", "client-individual"])
def test_a_publisher_to_a_queue_that_is_emptied_is_neither_slowed_nor_cut(
    broker: Broker, ack: str
) -> None:
    fill(broker, NEAR + 200_000)
    worker, publisher, other = broker.connect(), broker.connect(), broker.connect()
    worker.subscribe("/queue/emptied", ack=ack)
    for _ in range(100):  # many times what is left
        put(publisher, 100_000, "/queue/emptied")
        assert not publisher.is_paused
        job = worker.receive()
        if ack != "auto":
            worker.ack(job)
    put(other, LIMIT - NEAR, "/queue/filled")
    assert error_of(other).startswith("too much: ")
    assert not publisher.is_closed


def test_who_fills_a_queue_whose_consumer_acknowledges_nothing_is_slowed(broker: Broker) -> None:
    broker.connect().subscribe(Q, ack="client-individual")
    publisher = broker.connect()
    put(publisher, NEAR)
    assert publisher.is_paused


def test_a_small_transaction_is_not_slowed(broker: Broker) -> None:
    fill(broker, NEAR + 200_000)
    publisher = broker.connect()
    publisher.transmit("BEGIN", {"transaction": "t"})
    put(publisher, 100, "/topic/news", transaction="t")
    assert not publisher.is_paused


def test_whoever_waits_for_a_rate_is_slowed_as_well() -> None:
    limits = Limits(max_frame_bytes=LIMIT)
    shared = BrokerLimits(max_queue_bytes=100 * LIMIT, max_bytes=LIMIT)
    chat = ChatPolicy(messages_per_second=1.0, burst=1)
    broker = Broker(limits, shared, chat=chat)
    publisher = broker.connect()
    put(publisher, NEAR - 1_000_000)
    put(publisher, 900_000)
    broker.advance(1)  # its frame, from the timer
    put(publisher, LIMIT - NEAR + 200_000)
    broker.advance(1)
    assert error_of(publisher).startswith("too much: ")


# ---------------------------------------------------------------- past it, because of queues


def test_whoever_fills_queues_is_cut_and_the_messages_stay(broker: Broker, logs: Logs) -> None:
    publisher = broker.connect()
    put(publisher, NEAR)
    broker.advance(SLOW_PUBLISHER_S)
    put(publisher, LIMIT - NEAR)
    assert error_of(publisher).startswith("too much: ")
    assert broker.held_messages == 2
    [line] = logs.lines("warn")
    assert f"the server's memory limit of {LIMIT} bytes is reached" in line


def test_the_one_that_added_most_is_cut(broker: Broker) -> None:
    most, least = broker.connect(), broker.connect()
    fill(broker, NEAR)
    put(least, 400_000)
    put(most, 900_000)
    broker.advance(SLOW_PUBLISHER_S)
    put(least, 400_000)
    assert error_of(most).startswith("too much: ")
    # The next one is closed only if it goes on adding.
    assert not least.is_closed
    broker.advance(SLOW_PUBLISHER_S)
    put(least, 1)
    assert error_of(least).startswith("too much: ")


def test_who_publishes_to_topics_only_is_not_cut(broker: Broker) -> None:
    full_of = broker.connect()
    put(full_of, LIMIT)
    assert full_of.is_closed
    publisher, subscriber = broker.connect(), broker.connect()
    subscriber.subscribe("/topic/news")
    put(publisher, 100_000, "/topic/news")
    assert len(subscriber.receive().body) == 100_000
    assert not publisher.is_closed


def test_a_consumer_is_not_cut_for_what_it_takes(broker: Broker) -> None:
    fill(broker, NEAR)
    publisher = broker.connect()
    put(publisher, LIMIT - NEAR + 300_000)
    assert publisher.is_closed
    consumer = broker.connect()
    consumer.stall()
    consumer.subscribe("/queue/filled", ack="client-individual")
    assert not consumer.is_closed
    consumer.read_on()
    for _ in range(broker.held_messages - 1):
        consumer.ack(consumer.receive())
    assert broker.held_messages == 1


def test_what_was_added_counts_until_memory_is_free_again(broker: Broker) -> None:
    early, late, consumer = broker.connect(), broker.connect(), broker.connect()
    fill(broker, NEAR)
    put(early, 1_000_000)
    consumer.subscribe("/queue/filled")
    put(late, 10)  # memory is free: what early added is forgotten
    consumer.drop()
    fill(broker, NEAR)
    put(late, 900_000)
    assert late.is_closed
    assert not early.is_closed


def test_who_has_gone_is_not_to_blame_any_more(broker: Broker) -> None:
    gone, left = broker.connect(), broker.connect()
    fill(broker, NEAR)
    put(gone, LIMIT - NEAR - 10_000)
    gone.drop()
    put(left, 200_000)
    assert error_of(left).startswith("too much: ")


def test_open_transactions_count_and_end_with_the_cut(broker: Broker) -> None:
    publisher, other = broker.connect(), broker.connect()
    publisher.transmit("BEGIN", {"transaction": "t"})
    put(publisher, NEAR, transaction="t")
    broker.advance(SLOW_PUBLISHER_S)
    put(publisher, LIMIT - NEAR, transaction="t")
    assert error_of(publisher).startswith("too much: ")
    put(other, NEAR - 100_000)
    assert not other.is_paused, "the transaction's memory is not free"


# ---------------------------------------------------------------- past it, because of backlogs


def lagging(broker: Broker, destination: str) -> Client:
    """Return a client that does not read, with a full socket."""
    client = broker.connect()
    client.subscribe(destination)
    client.stall()
    put(broker.connect(), 300_000, destination)
    return client


def test_the_client_with_the_largest_backlog_is_cut(broker: Broker, logs: Logs) -> None:
    small, large = lagging(broker, "/topic/s"), lagging(broker, "/topic/l")
    publisher = broker.connect()
    for _ in range(4):
        put(publisher, 1_000_000, "/topic/s")
    for _ in range(7):
        put(publisher, 1_000_000, "/topic/l")
        broker.advance(SLOW_PUBLISHER_S)
    large.read_on()
    assert "bytes wait for this client, more than for any other" in error_after(large)
    assert not publisher.is_closed
    small.read_on()
    assert [len(frame.body) for frame in small.received()] == [300_000] + [1_000_000] * 4
    [line] = logs.lines("warn")
    assert f"the server's memory limit of {LIMIT} bytes is reached" in line


def test_a_large_backlog_is_cut_rather_than_a_queue_within_the_limit(broker: Broker) -> None:
    fill(broker, NEAR - 500_000)
    publisher, slow = broker.connect(), lagging(broker, "/topic/a")
    for _ in range(4):
        put(publisher, 600_000, "/topic/a")
        broker.advance(SLOW_PUBLISHER_S)
    slow.read_on()
    assert "too slow" in error_after(slow)
    assert not publisher.is_closed
    assert broker.held_messages == (NEAR - 500_000) // 100_000 - 1


def error_after(client: Client) -> str:
    """Return the ERROR behind the messages that were on their way."""
    [error] = [frame for frame in client.received() if frame.command == "ERROR"]
    return error.headers["message"]


# ---------------------------------------------------------------- what one turn gathers

MIB = 1024 * 1024


def peak_while(broker: Broker, publisher: Client, destination: str, body: bytes) -> int:
    """Return by how much memory grows at most while a message is published, in bytes."""
    tracemalloc.start()
    try:
        publisher.send(destination, body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("destination", ["/topic/a", "/queue/a"])
def test_one_message_does_not_become_as_many_as_a_client_has_subscriptions(
    destination: str,
) -> None:
    broker = Broker(Limits(max_of_destination=1000))
    client = broker.connect()
    for number in range(400):
        client.subscribe(destination, str(number))
    client.stall()
    peak = peak_while(broker, broker.connect(), destination, b"x" * MIB)
    assert peak < 32 * MIB
    client.read_on()
    if destination == "/topic/a":
        assert "too slow" in error_after(client)


def test_nor_as_many_as_its_patterns() -> None:
    broker = Broker()
    client = broker.connect()
    for number in range(60):
        client.subscribe(f"/topic/{'*.' * number}#", str(number))
    client.stall()
    peak = peak_while(broker, broker.connect(), "/topic/" + "a." * 60 + "a", b"x" * MIB)
    assert peak < 32 * MIB
    client.read_on()
    assert "too slow" in error_after(client)


def test_nor_as_many_as_it_has_sends_in_a_commit() -> None:
    broker = Broker(Limits(max_transaction_actions=10_000))
    client, publisher = broker.connect(), broker.connect()
    client.subscribe("/topic/#")
    client.stall()
    names = ",".join(f"/topic/{number}" for number in range(16))
    publisher.transmit("BEGIN", {"transaction": "t"})
    for _ in range(500):
        publisher.send(names, b"x" * 8000, transaction="t")
    tracemalloc.start()
    try:
        publisher.transmit("COMMIT", {"transaction": "t"})
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()
    client.read_on()
    assert "too slow" in error_after(client)


def test_a_destination_has_at_most_16_names() -> None:
    broker = Broker()
    publisher = broker.connect()
    publisher.send(",".join(f"/topic/{number}" for number in range(16)))
    assert not publisher.is_closed
    publisher.send(",".join(f"/topic/{number}" for number in range(17)))
    assert error_of(publisher) == "more than 16 destinations in one SEND"


def test_subscribers_that_read_get_everything_however_many() -> None:
    broker = Broker(Limits(max_of_destination=20))
    clients = [broker.connect() for _ in range(3)]
    for client in clients:
        for number in range(20):
            client.subscribe("/topic/a", str(number))
    broker.connect().send("/topic/a", b"x" * MIB)
    for client in clients:
        frames = list(client.received())
        assert [len(frame.body) for frame in frames] == [MIB] * 20
        assert {frame.headers["subscription"] for frame in frames} == set(map(str, range(20)))


# ---------------------------------------------------------------- past it, because of what is held


def test_the_client_for_which_most_is_held_is_cut_rather_than_a_publisher(
    broker: Broker, logs: Logs
) -> None:
    publisher, harmless, worst = (broker.connect() for _ in range(3))
    put(publisher, LIMIT // 4)
    harmless.subscribe("/queue/other")
    length = LIMIT - 1
    worst.transmit_bytes(b"SEND\ndestination:/topic/a\ncontent-length:%d\n\n" % length)
    for _ in range(80):
        worst.transmit_bytes(bytes(100_000))
        if worst.is_closed:
            break
    assert error_of(worst).endswith(f"the server's memory limit of {LIMIT} bytes is reached")
    assert not publisher.is_closed
    assert not harmless.is_closed
    assert broker._core.budget.used < LIMIT // 3
    [line] = logs.lines("warn")
    assert "are held for this client, more than for any other" in line


def test_as_many_are_cut_as_it_takes_and_no_more() -> None:
    limits = Limits(max_backlog_bytes=MIB)
    broker = Broker(limits, BrokerLimits(max_bytes=4 * MIB))
    clients = [broker.connect() for _ in range(30)]
    for client in clients:
        client.transmit_bytes(
            b"SEND\ndestination:/topic/a\ncontent-length:999999\n\n" + bytes(200_000)
        )
    assert broker._core.budget.used <= 4 * MIB
    assert sum(client.is_closed for client in clients) == 10


def test_places_of_people_who_have_gone_do_not_let_others_take_more() -> None:
    """They are held for no session, and a new one has hardly anything yet."""
    broker = Broker(broker_limits=BrokerLimits(max_bytes=LIMIT), chat=ChatPolicy())
    budget, most, ends = broker._core.budget, 0, 0
    for person in range(30):
        who = {"nick": f"eve{person}", "x-presence-token": f"secret {person}"}
        client = broker.connect(headers=who)
        for number in range(0 if client.is_closed else 150):
            head = b"SUBSCRIBE\nid:%d\ndestination:/topic/%d.%d" % (number, person, number)
            client.transmit_bytes(head + b"x" * 8000 + b"\n\n\0")
            most = max(most, budget.used)
            if client.is_closed:
                break
        ends += client.is_closed
        if not client.is_closed:
            client.drop()
    assert most < LIMIT + 200_000
    assert ends > 15
    broker.advance(10)
    assert budget.used == 0
