"""Heart-beats without a connection: when one is sent, and who counts as silent."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from rtchat.core.session.connection import HeartBeat
from rtchat.net.connection.liveness import Taken
from rtchat.net.stomp.heartbeats import HeartBeats

KIB = 1024


class Client:
    """A client that agreed on heart-beats."""

    def __init__(self, send_ms: int, receive_ms: int) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.heard_s = self.clock.seconds()
        self.can_be_heard = True
        self.has_taken: Taken | None = Taken(0, 0)
        self.sent = 0
        self.silences: list[float] = []
        self.heartbeats = HeartBeats(self, HeartBeat(send_ms, receive_ms), self.clock)

    def taken(self) -> Taken | None:
        return self.has_taken

    def send_heartbeat(self) -> None:
        self.sent += 1

    def fell_silent(self, allowed_s: float) -> None:
        self.silences.append(allowed_s)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


def test_heart_beats_are_sent_somewhat_early() -> None:
    client = Client(10_000, 0)
    client.advance(7.9)
    assert client.sent == 0
    client.advance(0.2)
    assert client.sent == 1
    client.advance(82)  # in steps of a tenth
    assert client.sent == 11
    assert client.silences == []


def test_a_client_may_be_silent_for_twice_its_interval() -> None:
    client = Client(0, 10_000)
    client.advance(10)
    client.heard_s = client.clock.seconds()
    client.advance(19.5)
    assert client.silences == []
    client.advance(1)
    assert client.silences == [20]
    assert client.clock.getDelayedCalls() == []


def test_a_client_that_takes_what_waits_is_not_silent() -> None:
    client = Client(0, 10_000)
    for step in range(1, 20):
        client.has_taken = Taken(step * 500 * KIB, 1000 * KIB)
        client.advance(10)
    assert client.silences == []
    client.advance(40 + 1)
    assert client.silences == [20]


def test_a_client_that_takes_nothing_of_what_waits_is_silent() -> None:
    client = Client(0, 10_000)
    client.has_taken = Taken(0, 1000 * KIB)
    client.advance(21)
    assert client.silences == [20]


@pytest.mark.parametrize("has_taken", [None, Taken(0, 0)])
def test_a_client_that_is_not_read_is_not_judged(has_taken: Taken | None) -> None:
    client = Client(0, 10_000)
    client.has_taken = has_taken
    client.can_be_heard = False
    client.advance(100)
    assert client.silences == []
    client.can_be_heard, client.heard_s = True, client.clock.seconds()
    client.advance(19)
    assert client.silences == []
    client.advance(21)
    assert client.silences == [20]


def test_after_the_stop_nothing_runs() -> None:
    client = Client(10_000, 10_000)
    client.heartbeats.stop()
    assert client.clock.getDelayedCalls() == []
