"""A closing connection has its time from the last progress on, not from the beginning."""

from __future__ import annotations

from twisted.internet.task import Clock

from rtchat.net.connection.linger import Linger


class Closing:
    """Something that closes, with a number that is its progress."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.progress = 0
        self.has_expired = False
        self.linger = Linger(self.clock, lambda: self.progress, self._expire)

    def _expire(self) -> None:
        assert not self.has_expired
        self.has_expired = True

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


def test_without_progress_it_expires_in_time() -> None:
    closing = Closing()
    closing.linger.wait(30)
    closing.advance(29.5)
    assert not closing.has_expired
    closing.advance(1)
    assert closing.has_expired
    assert closing.clock.getDelayedCalls() == []


def test_with_progress_it_does_not() -> None:
    closing = Closing()
    closing.linger.wait(30)
    for _ in range(10):
        closing.advance(20)
        closing.progress += 1
    closing.advance(29)
    assert not closing.has_expired
    closing.advance(7)
    assert closing.has_expired


def test_of_several_times_the_shortest_counts() -> None:
    closing = Closing()
    closing.linger.wait(30)
    closing.linger.wait(5)
    closing.linger.wait(30)
    closing.advance(5.5)
    assert closing.has_expired


def test_a_limit_holds_whatever_the_progress() -> None:
    closing = Closing()
    closing.linger.wait(30)
    closing.linger.end_within(5)
    for _ in range(10):
        closing.progress += 1
        closing.advance(0.6)
    assert closing.has_expired


def test_a_limit_may_stand_alone_and_the_earliest_counts() -> None:
    closing = Closing()
    closing.linger.end_within(5)
    closing.linger.end_within(50)
    closing.advance(5.2)
    assert closing.has_expired


def test_what_is_stopped_does_not_expire() -> None:
    closing = Closing()
    closing.linger.wait(1)
    closing.linger.stop()
    assert closing.clock.getDelayedCalls() == []
