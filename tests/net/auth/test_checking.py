"""Checks of passwords: how many at once, who waits, and whose turn it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from support.in_memory import Reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rtchat.errors import LimitExceeded
from rtchat.net.auth.checking import CheckThreads, PasswordChecks, default_threads

_T = TypeVar("_T")


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


class Threads:
    """Threads that work when they are told to."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], _T]) -> Deferred[_T]:
        done: Deferred[_T] = Deferred()

        def job() -> None:
            try:
                result = work()
            except Exception:
                done.errback(Failure())
            else:
                done.callback(result)

        self.jobs.append(job)
        return done

    def work(self) -> None:
        """Do what was begun first."""
        self.jobs.pop(0)()


class Checks:
    """The checks under test, and what came of each."""

    def __init__(self, **limits: int) -> None:
        self.threads = Threads()
        self.clock = Clock()
        self.checks = PasswordChecks(
            self.threads, **{"at_once": 1, **limits}, clock=self.clock, limit_s=20
        )
        self.worked: list[str] = []
        self.ended: dict[str, bool | None] = {}
        self.answers: dict[str, object] = {}

    def add(
        self, label: str, source: str, *, is_first: bool = False, result: bool = True
    ) -> Deferred[bool]:
        def work() -> bool:
            self.worked.append(label)
            return result

        def end(outcome: bool | None) -> None:
            assert label not in self.ended, "an end is told once"
            self.ended[label] = outcome

        answer = self.checks.check(work, source, end, is_first=is_first)
        answer.addBoth(lambda one: self.answers.__setitem__(label, getattr(one, "value", one)))
        return answer

    def work(self) -> list[str]:
        """Do all that there is to do; return it in its order."""
        while self.threads.jobs:
            self.threads.work()
        return self.worked


class TestHowManyAtOnce:
    def test_so_many_run_and_the_others_wait(self) -> None:
        checks = Checks(at_once=2)
        for n in range(5):
            checks.add(str(n), "here")
        assert (len(checks.threads.jobs), checks.checks.running, checks.checks.waiting) == (2, 2, 3)
        checks.threads.work()
        assert (len(checks.threads.jobs), checks.checks.running, checks.checks.waiting) == (2, 2, 2)
        assert checks.work() == ["0", "1", "2", "3", "4"]
        assert (checks.checks.running, checks.checks.waiting) == (0, 0)

    def test_results_are_told_and_answered(self) -> None:
        checks = Checks()
        checks.add("right", "here")
        checks.add("wrong", "here", result=False)
        checks.work()
        assert checks.answers == checks.ended == {"right": True, "wrong": False}

    def test_a_check_that_fails_has_no_result(self) -> None:
        ended: list[bool | None] = []
        checks = Checks()

        def fail() -> bool:
            raise MemoryError

        checks.checks.check(fail, "here", ended.append).addErrback(
            lambda failure: failure.trap(MemoryError)
        )
        checks.add("next", "here")
        checks.work()
        assert ended == [None]
        assert checks.answers == {"next": True}

    def test_checks_that_end_at_once_do_not_nest(self) -> None:
        """As they do when the threads have ended."""
        checks = Checks(max_waiting=2000, per_source=2000)
        for n in range(1500):
            checks.add(str(n), "here")
        checks.checks._in_thread = lambda work: fail(LimitExceeded("stopped"))
        checks.threads.work()
        assert (checks.checks.running, checks.checks.waiting) == (0, 0)
        assert len(checks.ended) == len(checks.answers) == 1500


class TestWhoWaits:
    def test_the_line_has_a_limit(self) -> None:
        checks = Checks(max_waiting=3, per_source=100)
        for n in range(5):
            checks.add(str(n), f"source {n}")
        assert isinstance(checks.answers["4"], LimitExceeded)
        assert str(checks.answers["4"]) == "too many log-ins at once"
        assert checks.ended == {"4": None}
        assert checks.work() == ["0", "1", "2", "3"]

    def test_a_full_line_has_room_for_a_source_that_has_none_in_it(self) -> None:
        checks = Checks(max_waiting=4)
        for label in ("a0", "b1", "a1", "a2", "b2"):
            checks.add(label, label[0])
        checks.add("c1", "c")
        assert list(checks.ended) == ["b2"]
        assert isinstance(checks.answers["b2"], LimitExceeded)
        checks.add("c2", "c")
        checks.add("d1", "d")
        checks.add("e1", "e")
        assert list(checks.ended) == ["b2", "c2", "a2", "e1"]
        assert checks.work() == ["a0", "b1", "a1", "c1", "d1"]

    def test_users_who_go_first_have_a_line_of_their_own(self) -> None:
        checks = Checks(max_waiting=2)
        for n in range(4):
            checks.add(str(n), f"source {n}")
        for n in range(4):
            checks.add(f"known {n}", f"source {n}", is_first=True)
        assert list(checks.ended) == ["3", "known 2", "known 3"]
        assert checks.work() == ["0", "known 0", "known 1", "1", "2"]

    def test_a_source_has_a_limit(self) -> None:
        checks = Checks(max_waiting=100, per_source=2)
        for n in range(4):
            checks.add(str(n), "here")
        checks.add("other", "there")
        assert isinstance(checks.answers["3"], LimitExceeded)
        assert checks.work() == ["0", "1", "other", "2"]

    def test_what_is_no_single_source_leaves_half_of_the_line_to_others(self) -> None:
        checks = Checks(max_waiting=8, per_source=2)
        for n in range(6):
            checks.add(str(n), "")
        assert list(checks.answers) == ["5"]
        checks.add("other", "there")
        assert "other" not in checks.answers

    def test_sources_take_turns(self) -> None:
        checks = Checks()
        for label in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
            checks.add(label, label[0])
        assert checks.work() == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]

    def test_users_who_have_logged_in_before_go_first(self) -> None:
        checks = Checks(per_source=2)
        for label in ("a1", "a2", "b1"):
            checks.add(label, label[0])
        checks.add("known", "a", is_first=True)
        assert checks.work() == ["a1", "known", "a2", "b1"]


class TestAClientThatHasGone:
    def test_leaves_the_line(self) -> None:
        checks = Checks()
        answers = [checks.add(label, "here") for label in ("1", "2", "3")]
        answers[1].cancel()
        assert isinstance(checks.answers["2"], CancelledError)
        assert checks.ended == {"2": None}
        assert checks.checks.waiting == 1
        assert checks.work() == ["1", "3"]

    def test_makes_room_for_others(self) -> None:
        checks = Checks(max_waiting=1, per_source=1)
        checks.add("1", "here")
        checks.add("2", "here").cancel()
        checks.add("3", "here")
        assert checks.work() == ["1", "3"]

    def test_does_not_free_the_thread_that_works_for_it(self) -> None:
        """The outcome counts all the same: otherwise a client could try for nothing."""
        checks = Checks()
        running = checks.add("1", "here", result=False)
        checks.add("2", "here")
        running.cancel()
        assert isinstance(checks.answers["1"], CancelledError)
        assert (checks.checks.running, checks.ended) == (1, {})
        checks.work()
        assert checks.ended == {"1": False, "2": True}


class TestACheckThatDoesNotReturn:
    def test_is_answered_in_time_and_keeps_its_thread(self) -> None:
        checks = Checks(at_once=2)
        checks.add("hangs", "a"), checks.add("other", "b"), checks.add("waits", "c")
        checks.threads.jobs.append(checks.threads.jobs.pop(0))
        checks.clock.advance(19)
        assert checks.answers == {}
        checks.threads.work()
        assert checks.worked == ["other"]
        checks.clock.advance(1)
        assert checks.answers["other"] is True
        assert isinstance(checks.answers["hangs"], TimeoutError)
        assert "hangs" not in checks.ended  # the thread works on
        assert (checks.checks.running, checks.checks.waiting) == (2, 0)
        assert checks.work() == ["other", "hangs", "waits"]
        assert checks.ended == {"other": True, "hangs": True, "waits": True}
        assert checks.answers["waits"] is True
        checks.clock.advance(100)

    def test_where_no_thread_is_left_nothing_waits_until_one_is_back(self) -> None:
        checks = Checks()
        for label in ("hangs", "waits"):
            checks.add(label, label)
        checks.add("known", "known", is_first=True)
        checks.clock.advance(20)
        checks.add("late", "late")
        assert all(isinstance(checks.answers[one], TimeoutError) for one in checks.answers)
        assert checks.answers.keys() == {"hangs", "waits", "known", "late"}
        assert checks.ended == {"waits": None, "known": None, "late": None}
        assert checks.work() == ["hangs"]
        checks.add("after", "a")
        assert checks.work() == ["hangs", "after"]
        assert checks.answers["after"] is True

    def test_a_client_that_has_gone_is_not_answered(self) -> None:
        checks = Checks()
        checks.add("hangs", "a").cancel()
        checks.clock.advance(20)
        assert isinstance(checks.answers["hangs"], CancelledError)
        assert checks.work() == ["hangs"]


class TestThreads:
    def test_the_work_is_done_elsewhere_and_the_answer_comes_back(self, reactor: Reactor) -> None:
        threads = CheckThreads(reactor, 2)
        try:
            names: list[str] = []
            threads(lambda: threading.current_thread().name).addCallback(names.append)
            failures: list[Failure] = []
            threads(lambda: 1 // 0).addErrback(failures.append)
            reactor.run_until(lambda: bool(names and failures))
            assert names[0] != threading.current_thread().name
            assert failures[0].check(ZeroDivisionError)
        finally:
            threads.stop()
        assert not [one for one in threading.enumerate() if "passwords" in one.name]

    def test_there_are_no_more_than_so_many(self, reactor: Reactor) -> None:
        threads = CheckThreads(reactor, 2)
        lock, running, most = threading.Lock(), 0, 0

        def work() -> int:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.002)
            with lock:
                running -= 1
            return threading.get_ident()

        idents: list[int] = []
        try:
            for _ in range(40):
                threads(work).addCallback(idents.append)
            reactor.run_until(lambda: len(idents) == 40)
        finally:
            threads.stop()
        assert most <= 2
        assert len(set(idents)) <= 2

    def test_they_are_nicer_than_the_reactor(self, reactor: Reactor) -> None:
        threads = CheckThreads(reactor, 1)
        here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        there: list[int] = []
        try:
            threads(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).addCallback(
                there.append
            )
            reactor.run_until(lambda: bool(there))
        finally:
            threads.stop()
        assert there == [min(here + 5, 19)]
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here

    def test_one_that_never_returns_keeps_nothing_alive(self, reactor: Reactor) -> None:
        threads = CheckThreads(reactor, 1, stop_s=0.05)
        began, go = threading.Event(), threading.Event()

        def hang() -> bool:
            began.set()
            return go.wait()

        threads(hang)
        assert began.wait(20)
        began_s = time.monotonic()
        threads.stop()
        assert time.monotonic() - began_s < 10
        ours = [one for one in threading.enumerate() if "passwords" in one.name]
        assert ours
        assert all(one.daemon for one in ours)
        go.set()
        for one in ours:
            one.join(20)

    def test_after_the_end_nothing_is_begun(self, reactor: Reactor) -> None:
        threads = CheckThreads(reactor, 1)
        threads.stop()
        failures: list[Failure] = []
        threads(lambda: 1).addErrback(failures.append)
        assert failures[0].check(LimitExceeded)

    def test_a_result_that_comes_too_late_is_dropped(self, reactor: Reactor) -> None:
        threads = CheckThreads(reactor, 1)
        go = threading.Event()
        try:
            threads(go.wait).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
            go.set()
            done: list[bool] = []
            threads(lambda: True).addCallback(done.append)
            reactor.run_until(lambda: bool(done))
        finally:
            threads.stop()


@pytest.mark.parametrize("cores, count", [(1, 1), (2, 1), (4, 2), (8, 4), (64, 4)])
def test_half_of_the_cores_check_passwords(
    monkeypatch: pytest.MonkeyPatch, cores: int, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert default_threads() == count
