"""Coalesced timers: many inexact timers share one timer of the reactor.

A reactor wakes up for each of its timers and keeps them in a heap. With one or two heart-beats for
each of 20,000 connections, that is thousands of wake-ups a second. Here, timers that are due within
the same twentieth of a second share a bucket, and the reactor wakes up once for each bucket
(benchmarks/RESULTS.md has the savings).
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

__all__ = ["TICK_S", "CoalescingClock"]

_log = Logger(__package__)

TICK_S = 0.05
"""Timers fire up to this much later than requested, never earlier."""

_STALL_S = 2 * TICK_S
"""If timers are later than this, the process was busy, or stopped: the sockets are read first."""

_EXACT_BELOW_S = 4 * TICK_S
_MANY_DEAD = 1000
"""Up to this many cancelled timers stay in their buckets; then they are removed."""

_ROUNDING = 1e-6  # of a tick: 0.3 / 0.05 is a little more than 6


@implementer(IReactorTime)
class CoalescingClock:
    """A clock whose timers fire in batches.

    Args:
        clock: The exact clock, usually the reactor. It runs timers of less than 0.2 seconds.

    Attributes:
        seconds: Returns the time of the exact clock.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        # The exact clock's own function, without a call between: it is called for every read.
        self.seconds = clock.seconds
        self._buckets: dict[int, list[_Timer]] = {}
        self._ticks: list[int] = []  # a heap of the buckets' keys
        self._entries = 0  # in all buckets
        self._dead = 0  # of them, those of timers that were cancelled or put off
        self._wakeup: IDelayedCall | None = None
        self._wakeup_tick = 0
        self._has_read = False  # since the wake-up came too late

    def callLater(  # noqa: N802
        self,
        delay: float,
        callable: Callable[..., Any],  # noqa: A002
        *args: object,
        **kwargs: object,
    ) -> IDelayedCall:
        """Call a function after a delay in seconds, or up to :data:`TICK_S` later."""
        if delay < _EXACT_BELOW_S:
            return self._clock.callLater(delay, callable, *args, **kwargs)
        timer = _Timer(self, self._clock.seconds() + delay, callable, args, kwargs)
        self.schedule(timer)
        return timer

    def getDelayedCalls(self) -> list[IDelayedCall]:  # noqa: N802
        """Return the timers that wait in buckets."""
        return [timer for bucket in self._buckets.values() for timer in bucket if timer.active()]

    def schedule(self, timer: _Timer) -> None:
        """Put a timer into the bucket of its time."""
        self._entries += 1
        timer.tick = tick = ceil(timer.due_s / TICK_S - _ROUNDING)
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.append(timer)
            return
        self._buckets[tick] = [timer]
        heappush(self._ticks, tick)
        if self._wakeup is None or tick < self._wakeup_tick:
            self._wake_at(tick)

    def note_dead(self) -> None:
        """Count an entry whose timer was cancelled or moved to another bucket.

        Searching for the entry costs more than leaving it; but with thousands of clients that come
        and go, thousands of dead login time-outs would pile up. So they are swept out at times.
        """
        self._dead += 1
        if self._dead > _MANY_DEAD and self._dead * 2 > self._entries:
            for tick, bucket in self._buckets.items():
                bucket[:] = [timer for timer in bucket if timer.tick == tick and timer.active()]
            self._entries = sum(map(len, self._buckets.values()))
            self._dead = 0

    def _wake_at(self, tick: int) -> None:
        if self._wakeup is not None and self._wakeup.active():
            self._wakeup.cancel()
        self._wakeup_tick = tick
        delay_s = max(0.0, tick * TICK_S - self._clock.seconds())
        self._wakeup = self._clock.callLater(delay_s, self._fire)

    def _fire(self) -> None:
        now_s = self._clock.seconds()
        if now_s > self._wakeup_tick * TICK_S + _STALL_S and not self._has_read:
            # What is late may be a judgement on someone whose answer came in time, and lies in a
            # socket. The reactor reads them all before it calls again.
            self._has_read = True
            self._wakeup = self._clock.callLater(0, self._fire)
            return
        self._has_read = False
        self._wakeup = None
        now = now_s / TICK_S + _ROUNDING
        while self._ticks and self._ticks[0] <= now:
            tick = heappop(self._ticks)
            bucket = self._buckets.pop(tick)
            self._entries -= len(bucket)
            for timer in bucket:
                # An earlier callback may have rescheduled or cancelled it.
                if timer.tick == tick and timer.active():
                    try:
                        timer.fire()
                    except Exception:
                        _log.failure("bug in a timer")
                else:
                    self._dead = max(0, self._dead - 1)
        # A callback may have armed the wake-up for a later tick.
        if self._ticks and (self._wakeup is None or self._ticks[0] < self._wakeup_tick):
            self._wake_at(self._ticks[0])


@implementer(IDelayedCall)
class _Timer:
    """A delayed call in a bucket."""

    __slots__ = ("_args", "_call", "_is_cancelled", "_kwargs", "_owner", "due_s", "tick")

    def __init__(
        self,
        owner: CoalescingClock,
        due_s: float,
        call: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.due_s = due_s
        self.tick = 0
        self._owner = owner
        self._call: Callable[..., object] | None = call
        self._args = args
        self._kwargs = kwargs or None  # an empty one is 64 bytes
        self._is_cancelled = False

    def fire(self) -> None:
        call, args, kwargs = self._call, self._args, self._kwargs
        self._clear()
        if call is not None:
            call(*args, **(kwargs or {}))

    def getTime(self) -> float:  # noqa: N802
        return self.due_s

    def active(self) -> bool:
        return self._call is not None

    def cancel(self) -> None:
        self._check()
        self._is_cancelled = True
        self._clear()
        self._owner.note_dead()

    def delay(self, secondsLater: float) -> None:  # noqa: N803
        self._check()
        self._reschedule(self.due_s + secondsLater)

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803
        self._check()
        self._reschedule(self._owner.seconds() + secondsFromNow)

    def _reschedule(self, due_s: float) -> None:
        self.due_s = due_s
        self._owner.note_dead()
        self._owner.schedule(self)

    def _check(self) -> None:
        if self._is_cancelled:
            raise AlreadyCancelled
        if self._call is None:
            raise AlreadyCalled

    def _clear(self) -> None:
        # The entry stays in its bucket until the bucket is due; its references need not.
        self._call = None
        self._args = ()
        self._kwargs = None
