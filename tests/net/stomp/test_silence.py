"""A server that promised heart-beats and is silent, on a simulated clock."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from rtchat.net.stomp.silence import Silence


class Watch:
    """A watch over a server that may be silent for four seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.reports: list[float] = []
        self.silence = Silence(self.clock, 4, self.reports.append)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_heartbeats_are_asked_for_twice_as_often(watch: Watch) -> None:
    assert watch.silence.wanted_ms == 2000


@pytest.mark.parametrize("granted", ["", "0,0", "0,9000", "x,1", ",", "-5,0"])
def test_a_server_that_promises_nothing_is_not_watched(watch: Watch, granted: str) -> None:
    watch.silence.start(granted)
    assert watch.clock.getDelayedCalls() == []


def test_a_server_is_heard_as_long_as_it_sends(watch: Watch) -> None:
    watch.silence.start("2000,0")
    for _ in range(30):
        watch.clock.advance(1)
        watch.silence.heard()
    for _ in range(3):
        watch.clock.advance(1)
    assert watch.reports == []
    watch.clock.advance(1)
    assert watch.reports == [4]
    assert watch.clock.getDelayedCalls() == []


def test_a_server_that_beats_slowly_has_two_of_its_intervals(watch: Watch) -> None:
    watch.silence.start("10000,0")
    for _ in range(19):
        watch.clock.advance(1)
    assert watch.reports == []
    watch.clock.advance(1)
    assert watch.reports == [20]


def test_a_pause_of_this_process_is_no_silence_of_the_server(watch: Watch) -> None:
    watch.silence.start("2000,0")
    watch.clock.advance(60)  # nothing ran meanwhile
    assert watch.reports == []
    for _ in range(4):
        watch.clock.advance(1)
    assert watch.reports == [4]


def test_it_ends(watch: Watch) -> None:
    watch.silence.start("2000,0")
    watch.silence.stop()
    watch.silence.stop()
    assert watch.clock.getDelayedCalls() == []
