"""Wrong passwords make further tries wait, and not for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rtchat.errors import AccessRefused, LimitExceeded
from rtchat.net.auth.slowdown import Attempt, SlowDown

HERE, THERE, ELSEWHERE = "192.0.2.1", "192.0.2.2", "2001:db8::/64"


class Door:
    """A slow-down, and what has become of the tries."""

    def __init__(self, **limits: float) -> None:
        self.clock = Clock()
        self.slow = SlowDown(self.clock, **limits)  # type: ignore[arg-type]

    def enter(self, source: str = HERE, name: str = "ada") -> Try:
        return Try(self.slow.enter(source, name), self.clock)

    def fail(self, count: int, source: str = HERE, name: str = "ada") -> None:
        """Have so many wrong tries, however long that takes."""
        for _ in range(count):
            one = self.enter(source, name)
            while one.attempt is None:
                self.clock.advance(1)
            one.attempt.wrong()


class Try:
    """One try."""

    def __init__(self, begun: Deferred[Attempt], clock: Clock) -> None:
        self.begun = begun
        self.attempt: Attempt | None = None
        self.failure: BaseException | None = None
        begun.addCallbacks(self._begin, self._fail)

    def _begin(self, attempt: Attempt) -> None:
        self.attempt = attempt

    def _fail(self, failure: Failure) -> None:
        self.failure = failure.value

    @property
    def now(self) -> Attempt:
        """The attempt, which has begun."""
        assert self.attempt is not None
        return self.attempt

    @property
    def waits(self) -> bool:
        """Whether it has neither begun nor failed."""
        return self.attempt is None and self.failure is None


def wait_of(door: Door, source: str = HERE, name: str = "ada") -> float:
    """Return how long one more wrong try has to wait, in quarters of a second."""
    one = door.enter(source, name)
    began = door.clock.seconds()
    while one.waits:
        door.clock.advance(0.25)
    one.now.wrong()
    return door.clock.seconds() - began


class TestASource:
    def test_has_five_tries_and_then_waits_longer_and_longer(self) -> None:
        door = Door()
        names = [f"user{n}" for n in range(13)]
        waits = [wait_of(door, name=name) for name in names]
        assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 16, 16, 16]

    def test_time_that_has_passed_counts(self) -> None:
        door = Door()
        door.fail(7)
        door.clock.advance(3)
        assert wait_of(door, name="grace") == 1

    def test_others_do_not_wait(self) -> None:
        door = Door()
        door.fail(9, HERE, "mallory")
        assert wait_of(door, THERE, "ada") == 0

    def test_all_is_forgotten_after_a_quarter_of_an_hour(self) -> None:
        door = Door()
        door.fail(20)
        door.clock.advance(899)
        assert not door.enter(THERE, "grace").waits
        slowed = [door.enter(HERE, f"user{n}") for n in range(2)]
        assert [one.waits for one in slowed] == [False, True]
        slowed[0].now.void()
        slowed[1].now.void()
        door.clock.advance(1)
        assert [door.enter(HERE, f"user{n}").waits for n in range(5)] == [False] * 5

    def test_tries_at_the_same_time_count_before_they_have_an_outcome(self) -> None:
        door = Door()
        tries = [door.enter(name=f"user{n}") for n in range(20)]
        assert [one.waits for one in tries] == [False] * 5 + [True] * 15
        for one in tries[:5]:
            one.now.wrong()
        assert all(one.waits for one in tries[5:])
        door.clock.advance(1)
        assert [one.waits for one in tries[5:]] == [False] + [True] * 14

    def test_many_right_ones_at_the_same_time_do_not_wait_for_a_clock(self) -> None:
        """A pool of connections that are opened at once, for one user or for many."""
        door = Door()
        tries = [door.enter(name=f"user{n % 3}") for n in range(60)]
        for one in tries:
            one.now.right()
        assert door.clock.getDelayedCalls() == []

    def test_a_wrong_one_among_right_ones_stops_none(self) -> None:
        door = Door()
        tries = [door.enter(name=f"user{n}") for n in range(30)]
        tries[0].now.wrong()
        for one in tries[1:]:
            one.now.right()
        assert door.clock.seconds() == 0

    def test_no_single_source_has_no_line(self) -> None:
        door = Door()
        tries = [door.enter("", f"user{n}") for n in range(100)]
        for one in tries:
            one.now.wrong()
        assert not door.enter("", "ada").waits


class TestAName:
    def test_that_is_tried_from_everywhere_makes_every_source_wait(self) -> None:
        door = Door()
        for n in range(5):
            door.fail(1, f"198.51.100.{n}")
        waits = [wait_of(door, f"203.0.113.{n}") for n in range(6)]
        assert waits == [1, 2, 4, 8, 8, 8]

    def test_then_leaves_a_source_one_try_at_a_time(self) -> None:
        door = Door()
        for n in range(20):
            door.fail(1, f"198.51.100.{n}")
        door.clock.advance(60)
        tries = [door.enter(THERE) for _ in range(5)]
        assert [one.waits for one in tries] == [False, True, True, True, True]
        tries[0].now.wrong()
        door.clock.advance(7.5)
        assert tries[1].waits
        door.clock.advance(0.5)
        assert not tries[1].waits

    def test_the_user_waits_eight_seconds_at_most_while_the_attack_goes_on(self) -> None:
        door = Door()
        for n in range(50):
            door.fail(1, f"198.51.100.{n}")
        user = door.enter(THERE)
        for n in range(8):
            assert user.waits
            for m in range(5):
                door.slow.enter(f"203.0.113.{n * 5 + m}", "ada").addCallback(Attempt.wrong)
            door.clock.advance(1)
        assert not user.waits

    def test_unknown_names_are_treated_alike(self) -> None:
        """The slow-down is told of outcomes only."""
        door = Door()
        for n in range(5):
            door.fail(1, f"198.51.100.{n}", "no such user")
        assert wait_of(door, THERE, "no such user") == 1

    def test_counts_without_a_source_too(self) -> None:
        door = Door()
        for _ in range(5):
            door.enter("", "ada").now.wrong()
        waiting = door.enter("", "ada")
        assert waiting.waits
        door.clock.advance(1)
        assert not waiting.waits


class TestAUserWhoHasLoggedIn:
    def test_does_not_wait_for_the_name_at_the_same_source(self) -> None:
        door = Door()
        door.enter(HERE).now.right()
        for n in range(50):
            door.fail(1, f"198.51.100.{n}")
        assert not door.enter(HERE).waits
        assert door.enter(THERE).waits

    def test_does_not_wait_for_others_at_the_same_source(self) -> None:
        door = Door()
        door.enter(HERE, "ada").now.right()
        door.fail(20, HERE, "grace")
        assert not door.enter(HERE, "ada").waits
        assert door.enter(HERE, "joan").waits

    def test_is_slowed_down_by_wrong_tries_in_their_name_there(self) -> None:
        door = Door()
        door.enter(HERE).now.right()
        assert [wait_of(door) for _ in range(8)] == [0, 0, 0, 0, 0, 1, 2, 4]

    def test_those_are_of_no_concern_to_others(self) -> None:
        door = Door()
        door.enter(HERE).now.right()
        door.fail(20, HERE)
        assert not door.enter(HERE, "grace").waits
        assert not door.enter(THERE, "ada").waits

    def test_their_own_mistakes_are_forgotten_with_the_right_password(self) -> None:
        door = Door()
        door.fail(6)
        last = door.enter()
        door.clock.advance(2)
        last.now.right()
        assert [door.enter(HERE, "grace").waits for _ in range(5)] == [False] * 5
        assert not door.enter(THERE, "ada").waits

    def test_the_mistakes_of_others_are_not(self) -> None:
        """Who has an account must not be free to try the passwords of others."""
        door = Door()
        door.fail(5, HERE, "ada")
        own = door.enter(HERE, "mallory")
        door.clock.advance(1)
        own.now.right()
        door.enter(HERE, "mallory").now.right()
        assert wait_of(door, HERE, "ada") == 0
        assert wait_of(door, HERE, "ada") == 2

    def test_wrong_ones_of_long_ago_are_not_taken_off_new_ones(self) -> None:
        door = Door()
        door.fail(4, HERE, "mallory")
        door.clock.advance(900)
        door.fail(5, HERE, "ada")
        own = door.enter(HERE, "mallory")
        door.clock.advance(1)
        own.now.right()
        assert wait_of(door, HERE, "grace") == 0
        assert wait_of(door, HERE, "grace") == 2


class TestThereIsAnEnd:
    def test_a_try_that_waited_for_thirty_seconds_is_refused(self) -> None:
        door = Door()
        door.fail(12)
        tries = [door.enter(name=f"user{n}") for n in range(4)]
        door.clock.advance(16)
        tries[0].now.wrong()
        door.clock.advance(13.5)
        assert tries[1].waits
        door.clock.advance(0.5)
        for one in tries[1:]:
            assert isinstance(one.failure, AccessRefused)
            assert str(one.failure) == "access refused"
            assert one.failure.reason == f"too many wrong passwords from {HERE}"
        assert door.slow.waiting == 0
        assert not door.enter(THERE, "grace").waits

    def test_waiting_for_outcomes_alone_is_no_fault_of_the_client(self) -> None:
        door = Door()
        tries = [door.enter(name=f"user{n}") for n in range(6)]
        door.clock.advance(30)
        assert isinstance(tries[5].failure, LimitExceeded)

    def test_a_line_is_of_a_limited_length(self) -> None:
        door = Door(max_in_line=3)
        tries = [door.enter(name=f"user{n}") for n in range(9)]
        assert [one.waits for one in tries] == [False] * 5 + [True] * 3 + [False]
        assert isinstance(tries[8].failure, LimitExceeded)
        door = Door(max_in_line=3)
        door.fail(5)
        tries = [door.enter(name=f"user{n}") for n in range(4)]
        assert isinstance(tries[3].failure, AccessRefused)

    def test_all_lines_together_are_as_well(self) -> None:
        door = Door(max_waiting=4, max_in_line=3, free=1)
        tries = [door.enter(f"198.51.100.{n % 2}", f"user{n}") for n in range(6)]
        assert [one.waits for one in tries] == [False, False, True, True, True, True]
        assert isinstance(door.enter(THERE, "ada").failure, LimitExceeded)
        tries[0].now.right()
        assert not door.enter(THERE, "ada").waits

    def test_those_that_wait_for_a_name_without_a_source_are_counted(self) -> None:
        door = Door(max_waiting=2, free=1)
        door.enter("", "ada").now.wrong()
        tries = [door.enter("", "ada") for _ in range(3)]
        assert [one.waits for one in tries] == [True, True, False]
        door.clock.advance(1)
        assert door.slow.waiting == 0

    def test_memory_is_bounded(self) -> None:
        door = Door(max_kept=100)
        for n in range(1000):
            door.enter(f"source {n}", f"name {n}").now.wrong()
        assert door.slow.kept <= 200
        door.clock.advance(900)
        for n in range(200):
            door.enter(f"new source {n}", f"new name {n}").now.void()
        assert door.slow.kept <= 100

    def test_log_ins_are_remembered_in_a_limited_number(self) -> None:
        door = Door(max_known=10)
        for n in range(30):
            door.enter(f"source {n}", "ada").now.right()
        door.enter("source 20", "ada").now.right()
        assert door.slow.kept == 10
        for n in range(5):
            door.fail(1, f"198.51.100.{n}")
        assert [door.enter(f"source {n}", "ada").waits for n in (19, 20, 29)] == [
            True,
            False,
            False,
        ]

    def test_a_source_remembers_the_mistakes_of_a_few_names(self) -> None:
        """All count; those of further names are not taken off when such a user logs in."""
        for name, waits in (("user0", [0, 2]), ("user8", [0, 1])):
            door = Door(free=9)
            for n in range(9):
                door.fail(1, HERE, f"user{n}")
            last = door.enter(HERE, name)
            door.clock.advance(1)
            last.now.right()
            assert [wait_of(door, HERE, "x"), wait_of(door, HERE, "y")] == waits

    def test_what_waits_is_not_forgotten(self) -> None:
        door = Door(max_kept=2, free=1)
        door.fail(1, HERE, "ada")
        waiting = door.enter(HERE, "grace")
        for n in range(10):
            door.enter(f"source {n}", f"name {n}").now.wrong()
        assert waiting.waits
        door.clock.advance(1)
        assert not waiting.waits

    def test_right_passwords_leave_no_lines(self) -> None:
        door = Door()
        for n in range(100):
            door.enter(f"source {n}", f"name {n}").now.right()
        assert door.slow.kept == 100  # that they have logged in
        assert door.clock.getDelayedCalls() == []


class TestAClientThatHasGone:
    def test_leaves_its_place_in_the_line(self) -> None:
        door = Door()
        door.fail(5)
        tries = [door.enter(name=f"user{n}") for n in range(3)]
        tries[0].begun.cancel()
        assert isinstance(tries[0].failure, CancelledError)
        assert door.slow.waiting == 2
        door.clock.advance(1)
        assert [one.waits for one in tries[1:]] == [False, True]

    def test_leaves_its_place_while_it_waits_for_the_name(self) -> None:
        door = Door()
        for n in range(5):
            door.fail(1, f"198.51.100.{n}")
        tries = [door.enter(HERE) for _ in range(2)]
        tries[0].begun.cancel()
        assert isinstance(tries[0].failure, CancelledError)
        assert door.slow.waiting == 1
        door.clock.advance(1)
        tries[1].now.void()
        assert door.clock.getDelayedCalls() == []

    def test_leaves_no_timer_behind(self) -> None:
        door = Door()
        door.fail(5)
        door.enter(name="x").begun.cancel()
        assert door.clock.getDelayedCalls() == []


def test_an_outcome_counts_once() -> None:
    door = Door()
    attempt = door.enter().now
    for _ in range(10):
        attempt.wrong()
    attempt.right()
    assert [door.enter().waits for _ in range(5)] == [False] * 4 + [True]


@pytest.mark.parametrize("count", [64])
def test_outcomes_within_outcomes_do_not_nest(count: int) -> None:
    """Each try has its outcome at once, as it has for a password that is remembered."""
    door = Door()
    first = [door.enter(name="ada") for _ in range(5)]
    depths: list[int] = []

    def at_once(attempt: Attempt) -> None:
        depths.append(1)
        assert sum(depths) == 1, "one has begun within another"
        attempt.right()
        depths.pop()

    for _ in range(count):
        door.slow.enter(HERE, "ada").addCallback(at_once)
    for one in first:
        one.now.right()
    assert door.slow.waiting == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "right", "wrong", "void", "cancel", "time"]),
        st.integers(0, 3),
        st.integers(0, 9),
    ),
    max_size=150,
)


@given(STEPS)
def test_whatever_happens_each_try_comes_to_an_end(steps: list[tuple[str, int, int]]) -> None:
    """None is lost, what waits is counted, and in the end nothing is left."""
    door = Door(free=2, max_in_line=4, max_waiting=8, max_kept=4, max_known=3)
    tries: list[Try] = []
    settled: list[Try] = []

    def running() -> list[Try]:
        return [one for one in tries if one.attempt is not None and one not in settled]

    for kind, where, n in steps:
        waiting = [one for one in tries if one.waits]
        assert door.slow.waiting == len(waiting) <= 8
        if kind == "enter":
            tries.append(door.enter(("", HERE, THERE, ELSEWHERE)[where], f"user{n % 3}"))
        elif kind == "time":
            door.clock.advance((0.5, 1, 4, 20)[where])
        elif kind == "cancel" and waiting:
            waiting[n % len(waiting)].begun.cancel()
        elif running() and kind in ("right", "wrong", "void"):
            one = running()[n % len(running())]
            settled.append(one)
            getattr(one.now, kind)()
    for _ in range(8 * 39):
        for one in running():
            settled.append(one)
            one.now.void()
        door.clock.advance(1)
    assert not [one for one in tries if one.waits]
    assert (door.slow.waiting, door.clock.getDelayedCalls()) == (0, [])
