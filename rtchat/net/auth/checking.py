"""Checks of passwords: in a few threads, in a line of a limited length, in turn by source.

A check takes a core for a fraction of a second, so none runs in the reactor's thread, and never
more than a few at once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from rtchat.errors import LimitExceeded
from rtchat.net.auth.slowdown import BUSY

__all__ = ["CheckThreads", "InThread", "PasswordChecks", "default_threads"]

_T = TypeVar("_T")

_MAX_WAITING = 256
_MAX_PER_SOURCE = 64
_MAX_THREADS = 4
_NICE = 5
_NICEST = 19
_STOP_S = 3.0
_LIMIT_S = 20.0
"""A hash takes a second, on a slow and busy machine a few."""


class InThread(Protocol):
    """Runs a function in another thread; fires with its result."""

    def __call__(self, work: Callable[[], _T]) -> Deferred[_T]: ...


def default_threads() -> int:
    """Return how many threads check passwords: half of the cores, one to four."""
    return max(1, min(_MAX_THREADS, len(os.sched_getaffinity(0)) // 2))


class _Thread(Thread):
    """A thread that does not keep the process alive: a checker of others may never return."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(daemon=True, **arguments)


class CheckThreads:
    """The threads of the checks; they are started with the first one.

    Args:
        reactor: Takes the results (``callFromThread``).
        count: How many there are.
        stop_s: How long the end waits for what runs.
    """

    def __init__(self, reactor: Any, count: int, *, stop_s: float = _STOP_S) -> None:
        self.count = count
        self._stop_s = stop_s
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._is_stopped = False
        self._nice = min(_NICEST, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)

    def __call__(self, work: Callable[[], _T]) -> Deferred[_T]:
        """Run a function in one of them; what waits for a thread is not limited here."""
        if self._is_stopped:
            return fail(LimitExceeded(*BUSY))
        if self._pool is None:
            self._pool = ThreadPool(0, self.count, "passwords")
            self._pool.threadFactory = _Thread  # type: ignore[assignment]
            self._pool.start()
        done: Deferred[_T] = Deferred()

        def politely() -> _T:
            # Linux: for this thread alone. The reactor goes first where cores are few.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
            return work()

        def ended(is_good: bool, result: _T | Failure) -> None:
            self._reactor.callFromThread(_fire, done, result)

        self._pool.callInThreadWithCallback(ended, politely)
        return done

    def stop(self) -> None:
        """End the threads; wait some seconds at most for the checks that run."""
        self._is_stopped = True
        if self._pool is not None:
            # A hash takes a second. How long a checker of others takes, it alone knows.
            stopping = Thread(target=self._pool.stop, name="end of passwords", daemon=True)
            stopping.start()
            stopping.join(self._stop_s)
            self._pool = None


def _fire(done: Deferred[_T], result: _T | Failure) -> None:
    if done.called:  # cancelled meanwhile
        return
    if isinstance(result, Failure):
        done.errback(result)
    else:
        done.callback(result)


class _Check:
    """One check that waits, or runs."""

    __slots__ = ("answer", "is_overdue", "on_end", "source", "timer", "work")

    def __init__(
        self,
        checks: PasswordChecks,
        source: str,
        work: Callable[[], bool],
        on_end: Callable[[bool | None], None],
    ) -> None:
        self.source = source
        self.work = work
        self.on_end = on_end
        self.timer: IDelayedCall | None = None
        self.is_overdue = False
        self.answer: Deferred[bool] = Deferred(lambda _: checks.give_up(self))


class _Lane:
    """Checks that wait, in turn by source."""

    def __init__(self) -> None:
        self.count = 0
        self._sources: OrderedDict[str, deque[_Check]] = OrderedDict()

    def count_of(self, source: str) -> int:
        """Return how many of a source wait."""
        return len(self._sources.get(source, ()))

    def add(self, check: _Check) -> None:
        """Append one to those of its source."""
        self.count += 1
        self._sources.setdefault(check.source, deque()).append(check)

    def take(self) -> _Check:
        """Remove and return the next one."""
        self.count -= 1
        source, line = self._sources.popitem(last=False)
        check = line.popleft()
        if line:
            self._sources[source] = line  # at the end
        return check

    def drop(self) -> _Check | None:
        """Remove and return the last one of the source with the most, if that has several."""
        source = max(self._sources, key=self.count_of, default="")
        if self.count_of(source) < 2:
            return None
        self.count -= 1
        return self._sources[source].pop()

    def remove(self, check: _Check) -> bool:
        """Remove one; return whether it was there."""
        line = self._sources.get(check.source)
        if line is None or check not in line:
            return False
        self.count -= 1
        line.remove(check)
        if not line:
            del self._sources[check.source]
        return True


class PasswordChecks:
    """Runs checks, so many at once; the others wait in turn by source.

    Args:
        in_thread: Runs one.
        at_once: How many run at once.
        max_waiting: How many may wait, and as many again of users who go first. If the line is
            full, a source that has none in it takes the place of one of the source with the most.
        per_source: How many of one source. "" is no single source, and half of ``max_waiting`` is
            for it.
        clock: Runs the time-outs; without it there are none.
        limit_s: How long a check may run. One that takes longer, as a checker of others may, keeps
            its thread, and if all threads are kept so, nothing waits for them.
    """

    def __init__(
        self,
        in_thread: InThread,
        *,
        at_once: int,
        max_waiting: int = _MAX_WAITING,
        per_source: int = _MAX_PER_SOURCE,
        clock: IReactorTime | None = None,
        limit_s: float = _LIMIT_S,
    ) -> None:
        self._in_thread = in_thread
        self._at_once = at_once
        self._max_waiting = max_waiting
        self._per_source = per_source
        self._clock = clock
        self._limit_s = limit_s
        self._running = 0
        self._overdue = 0
        self._is_beginning = False
        self._first, self._others = _Lane(), _Lane()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._first.count + self._others.count

    @property
    def running(self) -> int:
        """How many run."""
        return self._running

    def check(
        self,
        work: Callable[[], bool],
        source: str,
        on_end: Callable[[bool | None], None],
        *,
        is_first: bool = False,
    ) -> Deferred[bool]:
        """Run a check in a thread.

        Args:
            work: The check.
            source: For whom it is; "" is no single source.
            on_end: Is called once, also if the client has gone meanwhile: with the result, or
                with None if there is none.
            is_first: Whether it goes before all others: those of users who have logged in from
                there before.

        Returns:
            Fires with the result, or fails as the work does. Cancel it when the client has gone.

        Raises:
            LimitExceeded: Too many wait (in the Deferred).
            TimeoutError: It takes too long, or no thread has come back in time (in the Deferred).
        """
        if self._overdue >= self._at_once:
            on_end(None)
            return fail(self._late())
        lane = self._first if is_first else self._others
        room = self._per_source if source else self._max_waiting // 2
        if self._running >= self._at_once:
            count = lane.count_of(source)
            is_full = lane.count >= self._max_waiting
            if count >= room or (is_full and (count or not self._drop(lane))):
                on_end(None)
                return fail(LimitExceeded(*BUSY))
        check = _Check(self, source, work, on_end)
        lane.add(check)
        self._run()
        return check.answer

    def give_up(self, check: _Check) -> None:
        """Remove a check that waits; one that runs comes to its end."""
        if self._first.remove(check) or self._others.remove(check):
            check.on_end(None)

    def _drop(self, lane: _Lane) -> bool:
        """Refuse one of a source that has several in the line."""
        check = lane.drop()
        if check is None:
            return False
        check.on_end(None)
        check.answer.errback(LimitExceeded(*BUSY))
        return True

    def _run(self) -> None:
        if self._is_beginning:
            return  # a check has ended at once, in the loop below, which goes on
        self._is_beginning = True
        while self._running < self._at_once and self.waiting:
            check = self._first.take() if self._first.count else self._others.take()
            self._running += 1
            if self._clock is not None:
                check.timer = self._clock.callLater(self._limit_s, self._give_up_on, check)
            self._in_thread(check.work).addBoth(self._end, check)
        self._is_beginning = False

    def _end(self, result: bool | Failure, check: _Check) -> None:
        self._running -= 1
        self._overdue -= check.is_overdue
        if check.timer is not None and check.timer.active():
            check.timer.cancel()
        # Before the answer, which may bring the next check of the same client.
        check.on_end(None if isinstance(result, Failure) else result)
        if not check.answer.called:
            check.answer.callback(result)
        self._run()

    def _give_up_on(self, check: _Check) -> None:
        """Answer a check that runs for too long, and all that wait if there is no thread left."""
        check.is_overdue = True
        self._overdue += 1
        if not check.answer.called:
            check.answer.errback(self._late())
        while self._overdue >= self._at_once and self.waiting:
            one = self._first.take() if self._first.count else self._others.take()
            one.on_end(None)
            one.answer.errback(self._late())

    def _late(self) -> TimeoutError:
        return TimeoutError(f"it has not ended within {self._limit_s:g} s")
