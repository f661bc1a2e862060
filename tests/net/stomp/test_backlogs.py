"""Slow subscribers: their publishers are slowed down within a bound, and they get everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.stomp.limits import Limits
from rtchat.testing import Broker, Client

KIB = 1024
LIMIT = 1024 * KIB
ROOM = LIMIT // 2
SOCKET = 256 * KIB  # what the simulated socket takes of a client that does not read
RATE = 64 * KIB
SIZE = 16 * KIB
TOPIC = "/topic/news"


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def broker_with(limit: int = LIMIT, stalled: int = 100 * LIMIT) -> Broker:
    limits = Limits(
        max_backlog_bytes=limit, stalled_backlog_bytes=stalled, max_frame_bytes=4 * LIMIT
    )
    return Broker(limits, BrokerLimits(min_topic_rate=RATE))


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = broker_with()
    yield broker
    congestion = broker._core.congestion
    for client in list(broker._factory.protocols):
        client.connectionLost()
    broker.advance(2)
    assert not congestion.active
    assert not congestion._flows
    assert not broker._core.waiting._places
    assert broker._core.budget.used == 0
    assert broker.clock.getDelayedCalls() == []


def subscriber(broker: Broker, destination: str = TOPIC, **headers: str) -> Client:
    """Return a client that subscribes and does not read."""
    client = broker.connect()
    client.subscribe(destination, "s", **headers)
    client.stall()
    return client


def publish(client: Client, count: int, destination: str = TOPIC, size: int = SIZE) -> None:
    """Send numbered messages."""
    for number in range(count):
        client.send(destination, b"%06d" % number + b"." * (size - 6))


def numbers(client: Client) -> list[int]:
    """Return the numbers of the messages that a client has got."""
    return [int(frame.body[:6]) for frame in client.received() if frame.command == "MESSAGE"]


def waiting(broker: Broker) -> int:
    """Return how much waits for all clients."""
    return sum(protocol.held_bytes for protocol in broker._factory.protocols)


# ---------------------------------------------------------------- a burst


def test_a_publisher_waits_until_the_subscriber_has_read_and_nothing_is_lost(
    broker: Broker,
) -> None:
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 200)
    assert publisher.is_paused
    assert ROOM < waiting(broker) < LIMIT
    got: list[int] = []
    while publisher.is_paused:
        slow.read_on()
        got += numbers(slow)
        slow.stall()
    slow.read_on()
    assert got + numbers(slow) == list(range(200))
    assert not slow.is_closed


def test_a_message_that_waits_has_no_effect_yet(broker: Broker) -> None:
    slow, publisher, other = subscriber(broker), broker.connect(), broker.connect()
    other.subscribe(TOPIC)
    publish(publisher, 100)
    got = len(numbers(other))
    assert 0 < got < 100
    publisher.send(TOPIC, b"000100", receipt="r")
    assert list(publisher.received()) == []
    slow.read_on()
    assert len(numbers(other)) + got == 101
    publisher.receive("RECEIPT")


@pytest.mark.parametrize("pattern", ["/topic/#", "/topic/*", "/topic/>"])
def test_a_pattern_is_as_good_as_a_name(broker: Broker, pattern: str) -> None:
    slow, publisher = subscriber(broker, pattern), broker.connect()
    publish(publisher, 100)
    assert publisher.is_paused
    publish(other := broker.connect(), 1, "/other/topic")
    assert not other.is_paused
    slow.read_on()
    assert numbers(slow) == list(range(100))


def test_one_target_of_a_composite_is_enough(broker: Broker) -> None:
    subscriber(broker)
    publisher = broker.connect()
    publish(publisher, 100, f"/topic/other,{TOPIC}")
    assert publisher.is_paused


def test_who_publishes_to_other_topics_does_not_wait(broker: Broker) -> None:
    subscriber(broker)
    publish(broker.connect(), 100)
    other, listener = broker.connect(), broker.connect()
    listener.subscribe("/topic/other")
    publish(other, 100, "/topic/other")
    other.subscribe("/queue/a")
    other.send("/queue/a", b"")
    assert not other.is_paused
    assert numbers(listener) == list(range(100))


def test_a_commit_waits_before_any_effect(broker: Broker) -> None:
    slow, publisher, worker = subscriber(broker), broker.connect(), broker.connect()
    worker.subscribe("/queue/a", ack="client-individual")
    worker.send("/queue/a", b"job")
    job = worker.receive()
    publish(publisher, 100)
    worker.transmit("BEGIN", {"transaction": "t"})
    worker.send(TOPIC, b"999999", transaction="t")
    worker.ack(job, transaction="t")
    worker.transmit("COMMIT", {"transaction": "t", "receipt": "r"})
    assert worker.is_paused
    assert broker.held_messages == 1
    slow.read_on()
    worker.receive("RECEIPT")
    assert broker.held_messages == 0
    assert sorted(numbers(slow)) == [*range(100), 999999]


def test_answers_wait_for_who_asked(broker: Broker) -> None:
    asking, responder = broker.connect(), broker.connect()
    responder.subscribe("/queue/questions")
    asking.send("/queue/questions", b"?", reply_to="/temp-queue/mine")
    address = responder.receive().headers["reply-to"]
    asking.stall()
    publish(responder, 100, address)
    assert responder.is_paused
    asking.read_on()
    assert numbers(asking) == list(range(100))


def test_many_publishers_go_on_a_part_at_a_time(broker: Broker) -> None:
    slow = subscriber(broker)
    publishers = [broker.connect() for _ in range(40)]
    for publisher in publishers:
        publish(publisher, 5, size=64 * KIB)
    assert sum(publisher.is_paused for publisher in publishers) > 30
    count = 0
    for _ in range(100):
        slow.read_on()
        count += len(numbers(slow))
        slow.stall()
        assert waiting(broker) < LIMIT
    assert count == 200
    assert not slow.is_closed


@pytest.mark.parametrize("size", [LIMIT - 100, 2 * LIMIT])
def test_messages_as_large_as_the_limit_arrive(broker: Broker, size: int) -> None:
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 5, size=size)
    for _ in range(5):
        slow.read_on()
        slow.stall()
    slow.read_on()
    assert numbers(slow) == list(range(5))


def test_below_one_mebibyte_nobody_waits_and_the_limit_cuts() -> None:
    broker = broker_with(LIMIT - 1)
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 100)
    assert not publisher.is_paused
    assert slow.is_closed


def test_the_log_says_once_who_is_slow(broker: Broker, logs: Logs) -> None:
    slow, publisher = subscriber(broker), broker.connect()
    for _ in range(3):
        publish(publisher, 50)
        slow.read_on()
        slow.stall()
    lines = [line for line in logs.lines("info") if "more slowly" in line]
    assert len(lines) == 1
    assert f"session {slow.session} reads more slowly than others publish" in lines[0]


# ---------------------------------------------------------------- the bound


def test_a_topic_takes_so_much_each_second_however_slow_its_subscribers_are(
    broker: Broker,
) -> None:
    subscriber(broker)
    subscriber(broker)
    healthy, publisher = broker.connect(), broker.connect()
    healthy.subscribe(TOPIC)
    publish(publisher, 100)
    before = len(numbers(healthy))
    for _ in range(5):
        broker.advance(1)
    per_message = SIZE + 1000
    took = len(numbers(healthy)) * per_message
    assert 5 * RATE <= took <= 5 * RATE + 5 * per_message
    assert before * SIZE <= ROOM + SOCKET + 2 * SIZE


def test_a_large_message_takes_the_time_of_many(broker: Broker) -> None:
    subscriber(broker)
    healthy, publisher = broker.connect(), broker.connect()
    healthy.subscribe(TOPIC)
    publish(publisher, 60)
    publisher.drop()
    other = broker.connect()
    numbers(healthy)
    other.send(TOPIC, b"000001" + b"x" * 4 * RATE)
    other.send(TOPIC, b"000002")
    broker.advance(1)
    assert numbers(healthy) == [1]
    for _ in range(3):
        broker.advance(1)
    assert numbers(healthy) == []
    broker.advance(1)
    broker.advance(1)
    assert numbers(healthy) == [2]


def test_who_never_reads_is_cut_by_the_limit_of_its_backlog(broker: Broker) -> None:
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 100)
    for _ in range(60):
        broker.advance(1)
    assert not publisher.is_paused
    slow.read_on()
    assert list(slow.received())[-1].headers["message"] == (
        f"too slow: more than {LIMIT} bytes wait to be read"
    )


def test_publishers_go_on_at_once_when_the_subscriber_goes(broker: Broker) -> None:
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 100)
    assert publisher.is_paused
    slow.drop()
    assert not publisher.is_paused


def test_publishers_go_on_when_the_subscription_ends(broker: Broker) -> None:
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 100)
    slow.unsubscribe("s")
    broker.advance(1)
    assert not publisher.is_paused


def test_a_publisher_that_goes_waits_no_longer(broker: Broker) -> None:
    slow, gone, other = subscriber(broker), broker.connect(), broker.connect()
    publish(gone, 100)
    publish(other, 1)
    gone.drop()
    slow.read_on()
    assert not other.is_paused


# ---------------------------------------------------------------- nothing is read


def test_who_reads_nothing_for_ten_seconds_is_cut(logs: Logs) -> None:
    broker = broker_with(16 * LIMIT, LIMIT)
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 100)
    assert not publisher.is_paused
    broker.advance(9)
    assert not slow.is_closed
    broker.advance(2)
    assert slow.is_closed
    [line] = [line for line in logs.lines("warn") if "too slow" in line]
    assert "bytes wait, and nothing was read for 10 seconds" in line
    assert broker.clock.getDelayedCalls() == []


def test_who_reads_a_little_is_not() -> None:
    broker = broker_with(16 * LIMIT, LIMIT)
    slow, publisher = subscriber(broker), broker.connect()
    got: list[int] = []
    for _ in range(5):
        publish(publisher, 100)
        broker.advance(8)
        slow.read_on()
        got += numbers(slow)
        slow.stall()
    assert got == [*range(100)] * 5
    assert not slow.is_closed


def test_with_less_than_a_mebibyte_it_may_take_its_time() -> None:
    broker = broker_with(16 * LIMIT, LIMIT)
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 60)
    broker.advance(100)
    assert not slow.is_closed


# ---------------------------------------------------------------- acknowledgements


def test_who_only_does_not_acknowledge_is_told_so(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe(TOPIC, ack="client-individual", prefetch_count="3")
    publisher = broker.connect()
    publish(publisher, 100)
    assert publisher.is_paused
    for _ in range(60):
        broker.advance(1)
    frames = list(client.received())
    assert [frame.command for frame in frames] == ["MESSAGE"] * 3 + ["ERROR"]
    assert frames[-1].headers["message"] == (
        f"too slow: 3 messages wait for your ACK, and more than {LIMIT} bytes behind them"
    )


def test_who_acknowledges_gets_everything(broker: Broker) -> None:
    client, publisher = broker.connect(), broker.connect()
    client.subscribe(TOPIC, ack="client-individual", prefetch_count="3")
    publish(publisher, 100)
    assert publisher.is_paused
    for number in range(100):
        frame = client.receive()
        assert int(frame.body[:6]) == number
        client.ack(frame)
    assert not publisher.is_paused


@pytest.mark.parametrize("policy", ["drop-oldest", "latest"])
def test_who_may_lose_messages_slows_nobody(broker: Broker, policy: str) -> None:
    subscriber(broker, x_slow=policy)
    publisher = broker.connect()
    publish(publisher, 200)
    assert not publisher.is_paused


# ---------------------------------------------------------------- publishers that are subscribers


def test_a_subscriber_that_reads_waits_for_itself(broker: Broker) -> None:
    client = subscriber(broker)
    publish(client, 200)
    assert client.is_paused
    got: list[int] = []
    while client.is_paused:
        client.read_on()
        got += numbers(client)
        client.stall()
    client.read_on()
    assert got + numbers(client) == list(range(200))


def test_a_subscriber_that_only_reads_when_it_has_sent_all_does_not() -> None:
    broker = broker_with(2 * LIMIT, LIMIT // 2)
    client = subscriber(broker)
    publish(client, 110)
    assert client.is_paused
    broker.advance(1)
    broker.advance(1)
    assert not client.is_paused
    client.read_on()
    assert numbers(client) == list(range(110))


def test_two_of_that_kind_do_not_wait_for_each_other() -> None:
    broker = broker_with(2 * LIMIT, LIMIT // 2)
    one, two = subscriber(broker, "/topic/one"), subscriber(broker, "/topic/two")
    publish(one, 110, "/topic/two")
    publish(two, 110, "/topic/one")
    assert one.is_paused
    assert two.is_paused
    broker.advance(1)
    broker.advance(1)
    assert not one.is_paused
    assert not two.is_paused
    for client in (one, two):
        client.read_on()
        assert numbers(client) == list(range(110))


# ---------------------------------------------------------------- one COMMIT


def commit(publisher: Client, count: int) -> None:
    """Publish messages in a transaction."""
    publisher.transmit("BEGIN", {"transaction": "t"})
    for number in range(count):
        body = b"%06d" % number + b"." * SIZE
        publisher.send(TOPIC, body, transaction="t")
    publisher.transmit("COMMIT", {"transaction": "t", "receipt": "r"})


def test_a_commit_may_be_larger_than_the_limit(broker: Broker) -> None:
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 20)
    commit(publisher, 200)
    assert waiting(broker) > 2 * LIMIT
    slow.read_on()
    assert numbers(slow) == [*range(20), *range(200)]
    assert not slow.is_closed


def test_the_next_one_waits_until_it_is_read(broker: Broker) -> None:
    slow, publisher, other = subscriber(broker), broker.connect(), broker.connect()
    commit(publisher, 200)
    commit(other, 200)
    assert other.is_paused
    slow.read_on()
    slow.stall()
    other.receive("RECEIPT")
    slow.read_on()
    assert numbers(slow) == [*range(200)] * 2


def test_it_excuses_nobody_who_was_slow_before() -> None:
    broker = broker_with(LIMIT - 1)
    slow, publisher = subscriber(broker), broker.connect()
    publish(publisher, 60)
    commit(publisher, 200)
    assert slow.is_closed


def test_one_that_reads_a_little_waits_for_itself_as_long_as_it_has_to() -> None:
    broker = broker_with(2 * LIMIT, LIMIT // 2)
    client = subscriber(broker)
    publish(client, 400)
    got: list[int] = []
    for _ in range(20):
        client.read_on()
        got += numbers(client)
        client.stall()
        broker.advance(1)
        assert not client.is_closed
    client.read_on()
    assert got + numbers(client) == list(range(400))


# ---------------------------------------------------------------- many topics


def test_a_slow_subscriber_of_all_topics_does_not_hold_up_one_message_a_second(
    broker: Broker,
) -> None:
    subscriber(broker, "/topic/#")
    flood, sensors = broker.connect(), broker.connect()
    publish(flood, 60)
    assert flood.is_paused
    for number in range(50):
        publish(sensors, 1, f"/topic/sensor{number}", 100)
    broker.advance(2)
    # Beside its own rate, each topic has a share in one more for first messages.
    assert not sensors.is_paused


def test_first_messages_to_topics_share_one_rate(broker: Broker) -> None:
    subscriber(broker, "/topic/#")
    flood, other = broker.connect(), broker.connect()
    publish(flood, 60)
    broker.advance(1.1)
    before = broker._core.publishing.message_count
    for number in range(20):
        publish(other, 1, f"/topic/t{number}")
    taken = (broker._core.publishing.message_count - before) * SIZE
    assert RATE - SIZE <= taken <= RATE + SIZE


def test_topics_that_take_nothing_any_more_are_forgotten(broker: Broker) -> None:
    subscriber(broker, "/topic/#")
    flood, other = broker.connect(), broker.connect()
    publish(flood, 60)
    broker.advance(1.1)
    for number in range(20):
        publish(other, 1, f"/topic/t{number}", 100)
    flood.drop()
    for _ in range(15):
        broker.advance(1)
    congestion = broker._core.congestion
    assert congestion.readers
    assert not congestion._flows
