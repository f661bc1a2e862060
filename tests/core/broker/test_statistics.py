"""What /health asks for costs a bounded turn, however many queues and topics there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.calls import calls
from support.core import Server, clean_server
from support.work import each_turn

from rtchat.core.broker import statistics as statistics_module
from rtchat.core.flow.turns import TURN_WORK


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def fill(server: Server, count: int) -> None:
    publisher = server.client()
    for number in range(count):
        publisher.publish(f"/queue/{number}", "x")


def test_few_are_counted_at_once(server: Server) -> None:
    fill(server, 10)
    statistics = server.broker.statistics
    assert statistics.queued_count == 10
    fill(server, 20)
    assert statistics.queued_count == 30
    server.client().subscribe("/topic/a")
    assert statistics.subscription_count == 1


def empty(server: Server) -> None:
    """Take all that is in queues."""
    taker = server.client()
    for name in list(server.broker.queues):
        taker.subscribe(name, name)
        taker.unsubscribe(name)


def test_many_are_counted_in_turns_of_their_own(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics_module, "_COUNT_WORK", 1000)  # for each hundred
    fill(server, 1600)
    for number in range(50):
        server.client().subscribe(f"/topic/{number % 20}")
    statistics = server.broker.statistics
    assert statistics.queued_count == 1600
    assert statistics.subscription_count == 50
    fill(server, 1600)
    assert calls(lambda: statistics.queued_count) < 10
    assert statistics.queued_count == 1600
    server.advance(1)
    work = each_turn(server)
    assert calls(lambda: statistics.queued_count) < 20
    server.end_turn()
    assert statistics.queued_count == 3200
    assert len([one for one in work if one >= TURN_WORK]) >= 3
    assert max(work) <= TURN_WORK + 1000
    empty(server)
    assert statistics.queued_count == 0


def test_a_count_in_progress_is_not_begun_again(server: Server) -> None:
    fill(server, 1100)
    statistics = server.broker.statistics
    assert statistics.queued_count == 1100
    server.advance(2)
    assert statistics.queued_count == 1100
    server.advance(2)
    assert statistics.queued_count == 1100
    assert len(server.broker.cork.later) == 1
    server.end_turn()
    empty(server)
    assert statistics.queued_count == 0


def test_the_subscriptions_of_a_topic_are_not_summed_up(server: Server) -> None:
    for _ in range(40):
        client = server.client()
        for number in range(16):
            client.subscribe("/topic/a", f"{number}.{client.session.id}")
    topic = server.broker.router.topics["/topic/a"]
    assert len(topic) == 640
    assert calls(lambda: len(topic)) < 5
