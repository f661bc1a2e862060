"""Coalesced timers: as exact as the reactor's own, but for the last twentieth of a second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from rtchat.net.connection.coalescing_clock import TICK_S, CoalescingClock

__all__: list[str] = []


class Told(list[str]):
    """What was called, in order."""

    def later(self, name: str) -> None:
        """Be called."""
        self.append(name)


@pytest.fixture
def clock() -> Clock:
    """Return the exact clock underneath, at a time that is no multiple of anything."""
    clock = Clock()
    clock.advance(1_000_000_000.123)
    return clock


@pytest.fixture
def coalescing(clock: Clock) -> CoalescingClock:
    """Return a coalescing clock on it."""
    return CoalescingClock(clock)


def test_it_is_a_clock_and_its_timers_are_timers(coalescing: CoalescingClock) -> None:
    assert verifyObject(IReactorTime, coalescing)
    assert verifyObject(IDelayedCall, coalescing.callLater(1, int))


def test_the_time_is_that_of_the_clock(coalescing: CoalescingClock, clock: Clock) -> None:
    assert coalescing.seconds() == clock.seconds()


@pytest.mark.parametrize("delay_s", [0.2, 0.31, 1, 7.77, 20, 3600])
def test_a_timer_fires_once_not_early_and_at_most_a_tick_late(
    coalescing: CoalescingClock, clock: Clock, delay_s: float
) -> None:
    told = Told()
    coalescing.callLater(delay_s, told.later, name="x")
    clock.advance(delay_s - 0.001)
    assert told == []
    clock.advance(TICK_S + 0.002)
    assert told == ["x"]
    clock.advance(7200)
    assert told == ["x"]


@pytest.mark.parametrize("delay_s", [0, 0.05, 0.1])
def test_a_short_timer_is_exact(coalescing: CoalescingClock, clock: Clock, delay_s: float) -> None:
    told = Told()
    coalescing.callLater(delay_s, told.later, "x")
    clock.advance(delay_s)
    assert told == ["x"]


class Reactor(Clock):
    """A clock that reads sockets after the timers of each round, as reactors do."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()
        self.advance(1000)

    def round(self, seconds: float) -> None:
        """Let time pass, run what is due, then read."""
        self.rightNow += seconds
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.rightNow]
        for call in due:
            self.calls.remove(call)  # type: ignore[arg-type]
            call.called = 1  # type: ignore[attr-defined]
            call.func(*call.args, **call.kw)  # type: ignore[attr-defined]
        self.told.append("read")


def test_after_a_stall_the_sockets_are_read_before_a_timer_fires() -> None:
    reactor = Reactor()
    coalescing = CoalescingClock(reactor)
    coalescing.callLater(2, reactor.told.later, "timer")
    coalescing.callLater(4, reactor.told.later, "timer")
    reactor.round(60)
    assert reactor.told == ["read"]
    reactor.round(0)
    assert reactor.told == ["read", "timer", "timer", "read"]


def test_a_timer_that_is_stopped_by_what_was_read_does_not_fire() -> None:
    reactor = Reactor()
    coalescing = CoalescingClock(reactor)
    timer = coalescing.callLater(2, reactor.told.later, "timer")
    reactor.round(60)
    timer.reset(2)
    reactor.round(0)
    reactor.round(1)
    assert reactor.told == ["read"] * 3
    reactor.round(1.05)
    assert reactor.told == ["read"] * 3 + ["timer", "read"]


def test_without_a_stall_a_timer_fires_at_once() -> None:
    reactor = Reactor()
    coalescing = CoalescingClock(reactor)
    coalescing.callLater(2, reactor.told.later, "timer")
    reactor.round(2.05)
    assert reactor.told == ["timer", "read"]


def test_timers_of_one_tick_cost_the_clock_one(coalescing: CoalescingClock, clock: Clock) -> None:
    told = Told()
    for number in range(1000):
        coalescing.callLater(10, told.later, str(number))
    assert len(clock.getDelayedCalls()) == 1
    assert len(coalescing.getDelayedCalls()) == 1000
    clock.advance(11)
    assert told == [str(number) for number in range(1000)]
    assert clock.getDelayedCalls() == []


def test_a_sooner_timer_is_not_kept_waiting_by_a_later_one(
    coalescing: CoalescingClock, clock: Clock
) -> None:
    told = Told()
    coalescing.callLater(10, told.later, "late")
    coalescing.callLater(1, told.later, "soon")
    clock.advance(1 + TICK_S)
    assert told == ["soon"]
    clock.advance(9)
    assert told == ["soon", "late"]


def test_a_timer_may_set_another(coalescing: CoalescingClock, clock: Clock) -> None:
    told = Told()

    def again() -> None:
        told.append("again")
        coalescing.callLater(1, again)

    again()
    for _ in range(5):
        clock.advance(1 + TICK_S)
    assert len(told) == 6
    assert len(clock.getDelayedCalls()) == 1


def test_a_timer_set_by_another_keeps_nobody_waiting(
    coalescing: CoalescingClock, clock: Clock
) -> None:
    told = Told()
    coalescing.callLater(1, lambda: coalescing.callLater(8, told.later, "late"))
    coalescing.callLater(2, told.later, "soon")
    clock.advance(1 + TICK_S)
    clock.advance(1 + TICK_S)
    assert told == ["soon"]
    clock.advance(8)
    assert told == ["soon", "late"]


@given(delays=st.lists(st.floats(0, 3), min_size=1, max_size=30), more=st.floats(0.2, 2))
def test_every_timer_fires_in_time_whatever_the_others_do(delays: list[float], more: float) -> None:
    clock = Clock()
    coalescing = CoalescingClock(clock)
    late: list[float] = []

    def due(at_s: float) -> None:
        late.append(clock.seconds() - at_s)
        if clock.seconds() < 4:
            coalescing.callLater(more, due, clock.seconds() + more)

    for delay in delays:
        coalescing.callLater(delay, due, delay)
    for _ in range(700):
        clock.advance(0.01)
    assert len(late) >= 2 * len(delays)
    assert min(late) > -0.001
    assert max(late) < TICK_S + 0.011
    assert coalescing.getDelayedCalls() == []


def test_cancelled_timers_do_not_pile_up(coalescing: CoalescingClock, clock: Clock) -> None:
    told = Told()
    coalescing.callLater(3600, told.later, "x")
    for _ in range(100_000):
        coalescing.callLater(3600, int).cancel()
    assert sum(map(len, coalescing._buckets.values())) < 3000
    clock.advance(3601)
    assert told == ["x"]


def test_a_cancelled_timer_does_not_fire(coalescing: CoalescingClock, clock: Clock) -> None:
    told = Told()
    timer = coalescing.callLater(1, told.later, "x")
    other = coalescing.callLater(1, told.later, "y")
    timer.cancel()
    assert not timer.active()
    assert coalescing.getDelayedCalls() == [other]
    clock.advance(2)
    assert told == ["y"]
    with pytest.raises(AlreadyCancelled):
        timer.cancel()


def test_a_timer_cancelled_by_one_of_its_own_bucket_does_not_fire(
    coalescing: CoalescingClock, clock: Clock
) -> None:
    told = Told()
    coalescing.callLater(1, lambda: second.cancel())
    second = coalescing.callLater(1, told.later, "x")
    clock.advance(2)
    assert told == []


def test_a_timer_that_fired_can_be_neither_cancelled_nor_moved(
    coalescing: CoalescingClock, clock: Clock
) -> None:
    timer = coalescing.callLater(1, int)
    clock.advance(2)
    assert not timer.active()
    for change in (timer.cancel, lambda: timer.reset(1), lambda: timer.delay(1)):
        with pytest.raises(AlreadyCalled):
            change()


@pytest.mark.parametrize("move", ["reset", "delay"])
def test_a_timer_that_is_put_off_fires_then(
    coalescing: CoalescingClock, clock: Clock, move: str
) -> None:
    told = Told()
    timer = coalescing.callLater(1, told.later, "x")
    getattr(timer, move)(4)
    due_s = 4 if move == "reset" else 5
    assert timer.getTime() == pytest.approx(clock.seconds() + due_s)
    clock.advance(due_s - 0.01)
    assert told == []
    clock.advance(TICK_S + 0.02)
    assert told == ["x"]


class TestFailure(SynchronousTestCase):
    """What a timer raises is logged, as by the reactor."""

    def test_a_timer_that_fails_is_logged_and_stops_no_other(self) -> None:
        clock, told = Clock(), Told()
        coalescing = CoalescingClock(clock)
        coalescing.callLater(1, lambda: 1 // 0)
        coalescing.callLater(1, told.later, "x")
        clock.advance(2)
        assert told == ["x"]
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
