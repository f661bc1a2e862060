"""Any interleaving of publishers, subscribers that read or do not, and time: nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.calls import calls
from support.core import Server
from support.examples import examples
from support.work import each_turn

from rtchat.core.broker.broker import Broker as CoreBroker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.limits import Limits
from rtchat.testing import Broker, Client

KIB = 1024
LIMIT = 1024 * KIB
RATE = 16 * KIB
SIZES = [100, 5 * KIB, 64 * KIB]
TOPICS = ["/topic/a", "/topic/b", "/topic/a,/topic/b"]
WAYS = [
    ("/topic/a", {}),
    ("/topic/b", {}),
    ("/topic/#", {}),
    ("/topic/a", {"ack": "client", "prefetch_count": "3"}),
]
PUBLISHERS = 4

publishing = st.tuples(
    st.just("publish"),
    st.integers(0, PUBLISHERS - 1),
    st.sampled_from(TOPICS),
    st.sampled_from(SIZES),
    st.integers(1, 60),
)
reading = st.tuples(st.just("read"), st.integers(0, len(WAYS) - 1))
ticks = st.tuples(st.just("tick"))
actions = st.lists(st.one_of(publishing, publishing, reading, ticks), max_size=40)


class Reader:
    """A subscriber that does not read until it is told to."""

    def __init__(self, broker: Broker, destination: str, headers: dict[str, str]) -> None:
        self.client = broker.connect()
        self.client.subscribe(destination, "s", **headers)
        self.client.stall()
        self.destination = destination
        self.has_acks = bool(headers)
        self.got: list[tuple[int, int, str]] = []

    def read(self) -> None:
        """Read all that waits, and acknowledge it."""
        self.client.read_on()
        while frames := list(self.client.received()):
            for frame in frames:
                assert frame.command == "MESSAGE", frame
                publisher, number, _ = frame.body.split(b" ", 2)
                self.got.append((int(publisher), int(number), frame.headers["destination"]))
            if self.has_acks:
                self.client.ack(frames[-1])
        self.client.stall()

    def wants(self, topic: str) -> bool:
        """Return whether it is to get messages of a topic."""
        return self.destination in (topic, "/topic/#")


@pytest.mark.slow
@settings(
    max_examples=examples(60, 1000), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(actions)
def test_everything_arrives_in_order_and_no_backlog_exceeds_the_limit(
    steps: Sequence[tuple[str, ...]],
) -> None:
    limits = Limits(max_backlog_bytes=LIMIT, stalled_backlog_bytes=LIMIT)
    broker = Broker(limits, BrokerLimits(min_topic_rate=RATE))
    readers = [Reader(broker, destination, headers) for destination, headers in WAYS]
    publishers = [broker.connect() for _ in range(PUBLISHERS)]
    sent: list[tuple[int, int, str]] = []
    count = ticked = 0

    def check() -> None:
        for protocol in broker._factory.protocols:
            # Half of the limit, one message to two topics, and what time has let through.
            largest = 2 * (max(SIZES) + 2 * KIB)
            most = LIMIT // 2 + largest + ticked * (RATE + largest)
            costs = sum(one.cost_bytes for one in protocol.session.subscriptions)
            assert protocol.held_bytes - costs <= most

    for step in steps:
        if step[0] == "publish":
            publisher, topic, size, times = int(step[1]), step[2], int(step[3]), int(step[4])
            for _ in range(times):
                body = b"%d %d " % (publisher, count) + b"." * size
                publishers[publisher].send(topic, body)
                sent += [(publisher, count, name) for name in topic.split(",")]
                count += 1
        elif step[0] == "read":
            readers[int(step[1])].read()
        elif ticked < 5:
            ticked += 1
            broker.advance(1)
        check()
    while any(publisher.is_paused for publisher in publishers):
        for reader in readers:
            reader.read()
    for reader in readers:
        reader.read()
        expected = [one for one in sent if reader.wants(one[2])]
        for number in range(PUBLISHERS):
            own = [one for one in expected if one[0] == number]
            assert [one for one in reader.got if one[0] == number] == own
        assert not reader.client.is_closed
    _nothing_is_left(broker, publishers)


def _nothing_is_left(broker: Broker, publishers: Sequence[Client]) -> None:
    congestion = broker._core.congestion
    broker.advance(1)
    assert not congestion.active
    assert not congestion._flows
    assert not broker._core.waiting._places
    assert broker._core.budget.used == broker._core.budget.held
    for publisher in publishers:
        publisher.disconnect()


# ---------------------------------------------------------------- what it costs


def lagging_readers(broker: Broker, names: Sequence[str]) -> list[Reader]:
    """Return readers with a large backlog, each of a destination of its own."""
    readers = [Reader(broker, name, {}) for name in names]
    publisher = broker.connect()
    for name in names:
        for number in range(14):
            publisher.send(name.replace("#", "x"), b"0 %d %s" % (number, b"x" * 60 * KIB))
        broker.advance(1)
    return readers


def test_a_send_looks_at_no_lagging_subscribers_but_its_own() -> None:
    taken = []
    for count in (2, 30):
        broker = Broker(Limits(max_backlog_bytes=LIMIT), BrokerLimits(min_topic_rate=LIMIT))
        lagging_readers(broker, [f"/topic/t{number}.#" for number in range(count)])
        congestion = broker._core.congestion
        assert len(congestion.readers) == count
        other = broker.connect()
        other.send("/topic/other", b"x")
        taken.append(calls(lambda: other.send("/topic/other", b"x")))  # noqa: B023
    assert taken[1] < 1.2 * taken[0]


def test_topics_of_which_something_is_known_are_bounded() -> None:
    broker = Broker(Limits(max_backlog_bytes=LIMIT), BrokerLimits(min_topic_rate=LIMIT))
    lagging_readers(broker, ["/topic/#"])
    publisher = broker.connect()
    for number in range(3000):
        broker._core.congestion._spare_bytes = LIMIT
        publisher.send(f"/topic/{number}", b"x")
    assert not publisher.is_paused
    assert len(broker._core.congestion._flows) <= 1024


def test_the_part_of_a_topic_that_was_forgotten_resumes_nothing() -> None:
    """Another subscriber may lag by then, so there is a new flow of that name."""
    broker = Broker(Limits(max_backlog_bytes=LIMIT), BrokerLimits(min_topic_rate=RATE))
    [reader] = lagging_readers(broker, ["/topic/a"])
    congestion = broker._core.congestion
    publisher = broker.connect()
    congestion._spare_bytes = 0
    old = congestion._flow_of("/topic/a")
    assert old is not None
    congestion._close(old)
    publisher.send("/topic/a", b"0 15 x")
    assert publisher.is_paused
    new = congestion._flows["/topic/a"]
    assert new is not old
    old.lagging.clear()
    old.credit_bytes = LIMIT
    with broker._core.turn:
        congestion._resume_part(old)
        congestion._go_on(old)
    assert publisher.is_paused
    assert congestion._flows["/topic/a"] is new
    reader.read()
    broker.advance(2)
    assert not publisher.is_paused


def test_very_many_publishers_are_resumed_in_several_turns() -> None:
    server = Server(CoreBroker("run", BrokerLimits(min_topic_rate=RATE)))
    congestion, waiting = server.broker.congestion, server.broker.waiting
    reader = server.client()
    reader.subscribe("/topic/a")
    publishers = [server.client() for _ in range(2000)]
    congestion.begin(reader.session, reader.outbound, LIMIT)
    for publisher in publishers:
        publisher.publish("/topic/a", b"x")
    assert len(waiting.line("/topic/a")) == len(publishers)
    work = each_turn(server)
    congestion.review(reader.session)
    server.end_turn()
    assert len(reader.messages()) == len(publishers)
    assert max(work) < TURN_WORK + 500
    assert len(work) > 5
    assert not congestion.active
