"""Users with passwords, from the question to the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from support.in_memory import Reactor
from support.logs import captured_logs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock, LoopingCall
from twisted.python.failure import Failure

from rtchat.errors import AccessRefused, ConfigError, LimitExceeded
from rtchat.net.auth.checking import CheckThreads, PasswordChecks
from rtchat.net.auth.hashes import Scrypt, parse_hash
from rtchat.net.auth.password_file import PasswordFile
from rtchat.net.auth.passwords import Passwords, open_passwords
from rtchat.net.auth.strcred import CredChecker, WrongAnswer

_T = TypeVar("_T")

HERE, THERE = "192.0.2.1", "192.0.2.2"


def quick(password: str, r: int = 1) -> str:
    """Hash a password with little work."""
    return Scrypt.of(password, ln=4, r=r, p=1).text


class Hand(CheckThreads):
    """Threads whose work is done when the test says so, or at once."""

    def __init__(self, count: int = 1, *, is_prompt: bool = True) -> None:
        self.count = count
        self.is_prompt = is_prompt
        self.is_stopped = False
        self.jobs: list[Callable[[], None]] = []
        self.done = 0

    def __call__(self, work: Callable[[], _T]) -> Deferred[_T]:
        result: Deferred[_T] = Deferred()

        def job() -> None:
            self.done += 1
            try:
                value = work()
            except Exception:
                result.errback(Failure())
            else:
                result.callback(value)

        if self.is_prompt:
            job()
        else:
            self.jobs.append(job)
        return result

    def stop(self) -> None:
        self.is_stopped = True


class Plug:
    """A checker that is asked in the reactor's thread."""

    text = "plug"
    is_blocking = False

    def __init__(self, answer: Callable[[str, str], Deferred[bool]]) -> None:
        self.ask = answer


class Site:
    """Users, their log-ins, and the time."""

    def __init__(self, path: Path | None = None, checker: object = None, **more: object) -> None:
        self.clock = Clock()
        self.threads = Hand()
        self.passwords = Passwords(
            self.clock,
            self.threads,
            file=PasswordFile(path) if path is not None else None,
            checker=checker,  # type: ignore[arg-type]
            **more,  # type: ignore[arg-type]
        )

    def log_in(self, name: str, password: str, source: str = HERE) -> LogIn:
        return LogIn(self.passwords.check(name, password, source))


class LogIn:
    """A log-in.

    Attributes:
        result: What came of it; None is nothing yet.
    """

    def __init__(self, answer: Deferred[bool]) -> None:
        self.answer = answer
        self.result: object = None
        answer.addBoth(self._end)

    def _end(self, result: object) -> None:
        self.result = result.value if isinstance(result, Failure) else result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"ada:{quick('a')}\ngrace:{quick('g')}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file be old enough to be complete."""
    later = time.time() + 3600
    monkeypatch.setattr("rtchat.net.auth.password_file.time.time", lambda: later)


class TestAFile:
    def test_right_and_wrong(self, path: Path) -> None:
        site = Site(path)
        assert site.log_in("ada", "a").result is True
        assert site.log_in("grace", "g").result is True
        assert site.log_in("ada", "g").result is False
        assert site.log_in("joan", "a").result is False

    @pytest.mark.parametrize(
        "name, password",
        [("ada", ""), ("", "a"), ("ada ", "a"), ("ada", "x" * 1025), ("a\nb", "a")],
    )
    def test_what_can_be_no_name_or_password_costs_nothing(
        self, path: Path, name: str, password: str
    ) -> None:
        site = Site(path)
        for _ in range(100):
            assert site.log_in(name, password).result is False
        assert site.threads.done == 0

    def test_users_are_known(self, path: Path) -> None:
        site = Site(path)
        assert site.passwords.exists("ada") is True
        assert site.passwords.exists("joan") is False
        assert sorted(site.passwords.names()) == ["ada", "grace"]

    def test_no_password_is_that_of_an_unknown_user(self, path: Path) -> None:
        """Not even that of the user whose hash is compared for the time that it takes."""
        site = Site(path)
        for n in range(20):
            for password in "ag":
                answer = site.log_in(f"unknown {n}", password, f"198.51.100.{n}")
                assert answer.result is False

    def test_a_file_without_users_lets_no_one_in(self, tmp_path: Path) -> None:
        (tmp_path / "users").touch(0o600)
        site = Site(tmp_path / "users")
        assert site.log_in("ada", "a").result is False
        assert site.threads.done == 1

    def test_a_user_who_is_removed_during_the_check_is_not_let_in(self, path: Path) -> None:
        site = Site(path)
        site.threads.is_prompt = False
        removed, changed, kept = (
            site.log_in(name, name[0], source)
            for name, source in (("ada", HERE), ("grace", HERE), ("grace", THERE))
        )
        site.threads.jobs.pop(0)()
        assert removed.result is True
        path.write_text(f"ada:{quick('a')}\n", encoding="utf-8")
        site.passwords.reload()
        site.threads.jobs.pop(0)()
        site.threads.jobs.pop(0)()
        assert (changed.result, kept.result) == (False, False)

    def test_a_check_that_fails_is_logged_and_refused(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: object) -> bool:
            raise MemoryError("no room")

        site = Site(path)
        monkeypatch.setattr(Scrypt, "verify", fails)
        with captured_logs() as logs:
            answer = site.log_in("ada", "a")
        assert isinstance(answer.result, AccessRefused)
        assert "a password could not be checked: MemoryError: no room" in logs.text()
        assert str(answer.result) == "access refused"


class TestRightPasswordsAreRemembered:
    def test_so_further_requests_take_no_thread(self, path: Path) -> None:
        site = Site(path)
        for _ in range(50):
            assert site.log_in("ada", "a").result is True
        assert site.threads.done == 1

    def test_for_five_minutes(self, path: Path) -> None:
        site = Site(path)
        site.log_in("ada", "a")
        site.clock.advance(300)
        site.log_in("ada", "a")
        assert site.threads.done == 2

    def test_not_beyond_a_change_of_the_user(self, path: Path) -> None:
        site = Site(path)
        site.log_in("ada", "a")
        path.write_text(f"ada:{quick('b')}\n", encoding="utf-8")
        assert site.passwords.reload()
        assert site.log_in("ada", "a").result is False
        path.write_text("", encoding="utf-8")
        assert site.passwords.reload()
        assert site.log_in("ada", "a").result is False

    def test_wrong_ones_are_not(self, path: Path) -> None:
        site = Site(path)
        for _ in range(3):
            site.log_in("ada", "x")
        assert site.threads.done == 3

    def test_and_do_not_go_round_the_slow_down(self, path: Path) -> None:
        """Otherwise guesses were free for users who are logged in."""
        site = Site(path)
        site.log_in("ada", "a", HERE)
        for n in range(5):
            site.log_in("ada", f"x{n}", THERE)
        guess = site.log_in("ada", "a", THERE)
        assert guess.result is None
        site.clock.advance(1)
        assert guess.result is True


class TestUnknownUsers:
    def test_do_the_work_of_known_ones(self, path: Path) -> None:
        """Counted in the work of scrypt, for which the time is a poor measure here."""
        path.write_text(
            "".join(f"user{n}:{quick('x', r=1 + n % 2)}\n" for n in range(10)), encoding="utf-8"
        )
        file = PasswordFile(path)
        known = [file.users.hashes[f"user{n}"].cost for n in range(10)]
        site = Site(path)
        spent: list[tuple[str, int]] = []

        def verify(one: Scrypt, password: str) -> bool:
            spent.append(one.cost)
            return False

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Scrypt, "verify", verify)
            for n in range(200):
                site.log_in(f"unknown {n}", "x", f"source {n}")
        assert len(spent) == 200
        assert set(spent) == set(known)
        assert 70 < spent.count(known[0]) < 130

    def test_are_slowed_down_like_known_ones(self, path: Path) -> None:
        waits: list[object] = []
        for name in ("ada", "joan"):
            site = Site(path)
            for n in range(5):
                site.log_in(name, "x", f"source {n}")
            last = site.log_in(name, "x", HERE)
            assert last.result is None
            site.clock.advance(1)
            waits.append(last.result)
        assert waits == [False, False]


class TestTheSlowDown:
    def test_wrong_passwords_make_wait(self, path: Path) -> None:
        site = Site(path)
        for n in range(5):
            site.log_in(f"user{n}", "x")
        assert site.threads.done == 5
        waiting = [site.log_in("grace", "g"), site.log_in("joan", "x")]
        assert [one.result for one in waiting] == [None, None]
        assert site.passwords.waiting == 2
        site.clock.advance(1)
        assert waiting[0].result is True

    def test_its_refusals_are_answered(self, path: Path) -> None:
        site = Site(path)
        for n in range(200):
            last = site.log_in("ada", f"{n}")
        assert isinstance(last.result, AccessRefused)
        assert last.result.reason == f"too many wrong passwords from {HERE}"
        assert site.threads.done == 5

    def test_a_client_that_goes_in_the_middle_of_a_check_has_tried(self, path: Path) -> None:
        site = Site(path)
        site.threads.is_prompt = False
        for _ in range(5):
            site.log_in("ada", "x").answer.cancel()
            site.threads.jobs.pop(0)()
        assert site.log_in("ada", "x").result is None
        assert site.threads.jobs == []

    def test_one_that_goes_before_has_not(self, path: Path) -> None:
        site = Site(path)
        site.threads.is_prompt = False
        first = site.log_in("grace", "g", THERE)
        for _ in range(20):
            gone = site.log_in("ada", "x")
            gone.answer.cancel()
            assert isinstance(gone.result, CancelledError)
        site.threads.jobs.pop(0)()
        assert first.result is True
        site.threads.is_prompt = True
        assert site.log_in("ada", "x").result is False

    def test_a_full_line_is_no_fault_of_the_client(self, path: Path) -> None:
        threads = Hand(is_prompt=False)
        site = Site(path, checks=PasswordChecks(threads, at_once=1, max_waiting=1))
        answers = [site.log_in("ada", "a", f"source {n}") for n in range(3)]
        assert isinstance(answers[2].result, LimitExceeded)
        for _ in range(10):
            assert isinstance(site.log_in("joan", "x", HERE).result, LimitExceeded)
        while threads.jobs:
            threads.jobs.pop(0)()
        assert [one.result for one in answers[:2]] == [True, True]
        threads.is_prompt = True
        assert [site.log_in("joan", "x", HERE).result for _ in range(5)] == [False] * 5


class TestChangesOfTheFile:
    def test_are_seen_within_two_seconds(self, path: Path, settled: None) -> None:
        site = Site(path)
        changes: list[list[str]] = []
        site.passwords.watch(lambda: changes.append(sorted(site.passwords.names())))
        site.clock.advance(2)
        assert changes == []
        path.write_text(f"ada:{quick('a')}\n", encoding="utf-8")
        site.clock.advance(2)
        assert changes == [["ada"]]
        assert site.passwords.exists("grace") is False
        site.clock.advance(2)
        assert len(changes) == 1

    def test_are_waited_for_while_the_file_is_written(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise the users in the second half would be closed."""
        site = Site(path)
        changes: list[int] = []
        site.passwords.watch(lambda: changes.append(1))
        users = path.read_bytes()
        path.write_bytes(b"")
        site.clock.advance(2)
        site.clock.advance(0.5)
        assert site.passwords.exists("ada")
        path.write_bytes(users)
        later = time.time() + 3600
        monkeypatch.setattr("rtchat.net.auth.password_file.time.time", lambda: later)
        site.clock.pump([0.5] * 10)
        assert site.passwords.exists("ada")
        assert changes == []

    def test_are_not_waited_for_for_ever(self, path: Path) -> None:
        site = Site(path)
        site.passwords.watch(lambda: None)
        began_s = site.clock.seconds()
        path.write_bytes(b"")
        while site.passwords.exists("ada"):
            path.touch()
            site.clock.advance(0.25)
        assert site.clock.seconds() - began_s <= 4

    def test_mistakes_are_said_and_change_nothing(self, path: Path, settled: None) -> None:
        site = Site(path)
        changes: list[int] = []
        site.passwords.watch(lambda: changes.append(1))
        before = path.read_bytes()
        path.write_text("ada\n", encoding="utf-8")
        with captured_logs() as logs:
            site.clock.pump([2] * 5)
        assert logs.text().count("there is no colon") == 1
        assert "there is no colon" in site.passwords.problem
        assert site.passwords.exists("grace")
        path.write_bytes(before)
        site.clock.advance(2)
        assert (site.passwords.problem, changes) == ("", [])

    def test_one_look_at_a_time(self, path: Path) -> None:
        site = Site(path)
        site.threads.is_prompt = False
        site.passwords.watch(lambda: None)
        site.clock.pump([0.5] * 20)
        assert len(site.threads.jobs) == 1
        site.threads.jobs.pop()()
        site.clock.pump([0.5] * 8)
        assert len(site.threads.jobs) == 1

    def test_nothing_is_looked_at_after_the_end(self, path: Path, settled: None) -> None:
        site = Site(path)
        changes: list[int] = []
        site.threads.is_prompt = False
        site.passwords.watch(lambda: changes.append(1))
        path.write_text("", encoding="utf-8")
        site.clock.advance(2)
        site.passwords.close()
        site.threads.jobs.pop()()
        assert (changes, site.clock.getDelayedCalls()) == ([], [])
        assert site.threads.is_stopped


class TestAChecker:
    def test_is_asked(self) -> None:
        site = Site(None, CredChecker("memory:ada:secret", Clock()))
        assert site.log_in("ada", "secret").result is True
        assert site.passwords.exists("ada") is None
        assert list(site.passwords.names()) == []
        assert not site.passwords.reload()
        assert site.passwords.problem == ""

    def test_has_no_file_to_look_at_and_ends(self) -> None:
        site = Site(None, CredChecker("memory:ada:secret", Clock()))
        site.passwords.watch(lambda: None)
        site.clock.advance(10)
        site.passwords.close()
        assert site.threads.is_stopped
        assert site.clock.getDelayedCalls() == []

    def test_answers_are_not_remembered(self) -> None:
        site = Site(None, CredChecker("memory:ada:secret", Clock()))
        for _ in range(3):
            site.log_in("ada", "secret")
        assert site.threads.done == 3

    @pytest.mark.parametrize("takes_s, told_s", [(0.0, 1.0), (0.9, 1.0), (1.0, 1.0), (1.25, 2.0)])
    def test_its_refusals_are_told_at_whole_seconds(self, takes_s: float, told_s: float) -> None:
        answer: Deferred[bool] = Deferred()
        site = Site(None, Plug(lambda *_: answer))
        refused = site.log_in("ada", "x")
        site.clock.advance(takes_s)
        answer.callback(False)
        left_s = told_s - takes_s
        if left_s:
            site.clock.advance(left_s - 0.0625)
            assert refused.result is None
        site.clock.advance(0.0625 if left_s else 0)
        assert refused.result is False

    def test_its_faults_take_as_long(self) -> None:
        site = Site(None, Plug(lambda *_: fail(WrongAnswer("another name"))))
        with captured_logs() as logs:
            refused = site.log_in("ada", "x")
            assert refused.result is None
            site.clock.advance(1)
        assert isinstance(refused.result, AccessRefused)
        assert refused.result.reason == "the check has failed: WrongAnswer"
        assert "WrongAnswer: another name" in logs.text()

    def test_who_is_right_does_not_wait(self) -> None:
        site = Site(None, Plug(lambda *_: succeed(True)))
        assert site.log_in("ada", "x").result is True

    @pytest.mark.parametrize("is_cancelled", [False, True])
    def test_wrong_ones_are_slowed_down(self, is_cancelled: bool) -> None:
        asked: list[str] = []

        def ask(name: str, password: str) -> Deferred[bool]:
            asked.append(password)
            return Deferred() if is_cancelled else succeed(False)

        site = Site(None, Plug(ask))
        for n in range(6):
            answer = site.log_in("ada", f"{n}")
            if is_cancelled:
                answer.answer.cancel()
                assert isinstance(answer.result, CancelledError)
        assert asked == ["0", "1", "2", "3", "4"]
        assert site.threads.done == 0

    def test_its_faults_are_said_once_until_it_works_again(self) -> None:
        answers: list[Deferred[bool]] = []
        site = Site(None, Plug(lambda *_: answers.pop(0)))
        with captured_logs() as logs:
            for kind in (OSError("down"), OSError("down"), OSError("still down")):
                answers.append(fail(kind))
                site.log_in("ada", "x")
                assert site.passwords.problem == f"a password could not be checked: OSError: {kind}"
            answers.append(succeed(True))
            assert site.log_in("ada", "x").result is True
            assert site.passwords.problem == ""
            answers.append(fail(OSError("down")))
            site.log_in("ada", "x")
        assert [line.rpartition(": ")[2] for line in logs.lines()] == [
            "down",
            "still down",
            "Passwords can be checked again",
            "down",
        ]

    def test_a_fault_that_is_long_ago_says_nothing_of_now(self) -> None:
        site = Site(None, Plug(lambda *_: fail(OSError("down"))))
        for _ in range(2):
            site.log_in("ada", "x")
            site.clock.advance(100)
            assert site.passwords.problem
            site.clock.advance(20)
            assert site.passwords.problem == ""

    def test_its_faults_are_not_the_users(self) -> None:
        site = Site(None, Plug(lambda *_: fail(OSError("down"))))
        for _ in range(20):
            refused = site.log_in("ada", "x")
            site.clock.advance(1)
            assert isinstance(refused.result, AccessRefused)

    def test_a_client_that_goes_while_it_waits_for_its_refusal(self) -> None:
        site = Site(None, Plug(lambda *_: succeed(False)))
        site.log_in("ada", "x").answer.cancel()
        assert site.clock.getDelayedCalls() == []


class TestAFileAndAChecker:
    def test_users_of_the_file_are_checked_there_alone(self, path: Path) -> None:
        asked: list[str] = []

        def ask(name: str, password: str) -> Deferred[bool]:
            asked.append(name)
            return succeed(True)

        site = Site(path, Plug(ask))
        refused = site.log_in("ada", "x")
        site.clock.advance(1)
        assert refused.result is False
        assert site.log_in("ada", "a").result is True
        assert site.log_in("joan", "x").result is True
        assert asked == ["joan"]
        assert [site.passwords.exists(name) for name in ("ada", "joan")] == [True, None]

    def test_a_fault_of_the_checker_outlasts_log_ins_of_the_file(self, path: Path) -> None:
        site = Site(path, Plug(lambda *_: fail(OSError("down"))))
        with captured_logs() as logs:
            for _ in range(3):
                site.log_in("joan", "x")
                assert site.log_in("ada", "a").result is True
        assert len(logs.lines()) == 1
        assert site.passwords.problem == "a password could not be checked: OSError: down"

    @pytest.mark.parametrize("is_blocking", [False, True])
    def test_others_take_the_time_of_the_file_too(self, path: Path, is_blocking: bool) -> None:
        checker = (
            CredChecker("memory:joan:j", Clock()) if is_blocking else Plug(lambda *_: succeed(True))
        )
        site = Site(path, checker)
        verified: list[str] = []

        def verify(one: Scrypt, password: str) -> bool:
            verified.append(password)
            return True

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Scrypt, "verify", verify)
            assert site.log_in("joan", "j").result is True
            if is_blocking:
                refused = site.log_in("unknown", "x")
                site.clock.advance(1)
                assert refused.result is False
        assert verified == ["j", "x"][: 1 + is_blocking]

    def test_a_client_that_goes_between_the_two_leaves_nothing(self, path: Path) -> None:
        site = Site(path, Plug(lambda *_: succeed(False)))
        site.threads.is_prompt = False
        for _ in range(3):
            site.log_in("joan", "x").answer.cancel()
            site.threads.jobs.pop(0)()
        assert site.passwords.waiting == 0
        site.threads.is_prompt = True
        assert site.log_in("ada", "a").result is True


class TestRealThreads:
    @pytest.fixture
    def reactor(self) -> Iterator[SelectReactor]:
        reactor = SelectReactor()
        reactor.callLater(120, reactor.stop)  # in case that the test hangs
        yield reactor
        for call in reactor.getDelayedCalls():
            call.cancel()

    def test_a_flood_of_log_ins_does_not_stop_the_reactor(
        self, path: Path, reactor: SelectReactor
    ) -> None:
        """Counted in turns of the reactor: it has them while checks run, and not afterwards."""
        text = Scrypt.of("right", ln=10, r=8, p=1).text
        path.write_text(f"ada:{text}\n", encoding="utf-8")
        passwords = open_passwords(reactor, file=path, threads=1)
        turns = 0
        here: list[bool] = []
        results: list[object] = []

        def turn() -> None:
            nonlocal turns
            turns += 1

        compare = Scrypt.verify

        def verify(one: Scrypt, password: str) -> bool:
            here.append(threading.current_thread() is threading.main_thread())
            return compare(one, password)

        def end(result: object) -> None:
            results.append(result.value if isinstance(result, Failure) else result)
            if len(results) == 1000:
                reactor.stop()

        def flood() -> None:
            """Let 250 sources try four times each, and one of them be the user."""
            for n in range(1000):
                password = "right" if n == 100 else f"wrong {n}"
                name = "ada" if n % 2 == 0 else f"unknown {n}"
                passwords.check(name, password, f"source {n % 250}").addBoth(end)

        ticks = LoopingCall(turn)
        ticks.clock = reactor
        ticks.start(0.0005)
        reactor.callWhenRunning(flood)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Scrypt, "verify", verify)
            reactor.run(installSignalHandlers=False)
        ticks.stop()
        passwords.close()
        checked = len(here)
        refused = [one for one in results if isinstance(one, (AccessRefused, LimitExceeded))]
        assert len(results) == 1000
        assert results.count(True) == 1, "the user is let in in spite of the flood"
        assert checked + len(refused) == 1000
        assert 100 < checked < 600, "the line is limited"
        assert not any(here), "none runs in the reactor's thread"
        assert turns > checked / 2, "the reactor goes on"

    def test_the_plain_way(self, path: Path, reactor: SelectReactor) -> None:
        path.write_text(f"ada:{Scrypt.of('right').text}\n", encoding="utf-8")
        passwords = open_passwords(reactor, file=path, checker="memory:joan:j", threads=2)
        results: dict[str, object] = {}

        def note(result: object, label: str) -> None:
            results[label] = result
            if len(results) == 3:
                reactor.stop()

        def begin() -> None:
            for name, password in (("ada", "right"), ("joan", "j"), ("unknown", "x")):
                passwords.check(name, password, HERE).addBoth(note, name)

        reactor.callWhenRunning(begin)
        reactor.run(installSignalHandlers=False)
        passwords.close()
        assert results == {"ada": True, "joan": True, "unknown": False}


def test_mistakes_are_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        open_passwords(Reactor(), file=tmp_path / "none")
    with pytest.raises(ConfigError, match="there is no credentials checker 'none'"):
        open_passwords(Reactor(), checker="none:x")


def test_without_a_checker_nothing_of_it_is_loaded() -> None:
    import subprocess
    import sys

    program = (
        "import sys, rtchat.net.auth.passwords\n"
        "assert not {'bcrypt', 'twisted.cred.strcred', 'rtchat.net.auth.strcred'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_time_of_known_and_unknown_users_is_the_same(tmp_path: Path) -> None:
    """In processor time, with hashes of scrypt and of bcrypt: medians of interleaved rounds."""
    path = tmp_path / "users"
    lines = [f"user{n}:{Scrypt.of('x', ln=10, r=8, p=1).text}" for n in range(8)]
    path.write_text("\n".join(lines), encoding="utf-8")
    file = PasswordFile(path)

    def spent_s(name: str) -> float:
        began_s = time.thread_time()
        (file.hash_of(name) or file.users.stand_in(name)).verify("wrong")
        return time.thread_time() - began_s

    known, unknown = [], []
    for n in range(60):
        known.append(spent_s(f"user{n % 8}"))
        unknown.append(spent_s(f"nobody{n % 8}"))
    ratio = sorted(known)[30] / sorted(unknown)[30]
    assert 0.5 < ratio < 2
    assert parse_hash(lines[0].partition(":")[2]).cost == file.users.stand_in("nobody").cost
