"""Turns: who has more to do than one allows gets the next ones, and others are served between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import ROUND_WORK, SHORT_TURN_WORK, TURN_WORK, Turns


class Rounds:
    """A reactor of which only the rounds matter."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.turns = Turns()
        self.turns.call_soon = lambda call: self.calls.append(call)
        self.log: list[str] = []

    def go(self) -> list[str]:
        """Go one round; return who had a turn."""
        calls, self.calls = self.calls, []
        self.log = []
        for call in calls:
            call()
        return self.log

    def worker(self, name: str, *works: int) -> Callable[[], int]:
        """Return someone with so much work in each of its turns."""
        left = list(works)

        def go_on() -> int:
            self.log.append(name)
            work = left.pop(0)
            if left:
                self.turns.join(go_on)
            return work

        return go_on


def test_a_round_has_one_long_turn_and_they_take_turns() -> None:
    rounds = Rounds()
    for name in "abc":
        rounds.turns.join(rounds.worker(name, TURN_WORK, TURN_WORK))
    assert [rounds.go() for _ in range(7)] == [["a"], ["b"], ["c"], ["a"], ["b"], ["c"], []]
    assert not rounds.turns
    assert not rounds.calls


def test_short_turns_share_a_round() -> None:
    rounds = Rounds()
    for name in "abcd":
        rounds.turns.join(rounds.worker(name, TURN_WORK // 2))
    assert [rounds.go(), rounds.go()] == [["a", "b"], ["c", "d"]]


def test_many_turns_without_work_still_end() -> None:
    rounds = Rounds()
    rounds.turns.join(rounds.worker("a", *[0] * (TURN_WORK + 10)))
    assert len(rounds.go()) == TURN_WORK
    assert len(rounds.go()) == 10


def test_who_leaves_has_no_turn() -> None:
    rounds = Rounds()
    first, second = rounds.worker("a", 1), rounds.worker("b", 1)
    rounds.turns.join(first)
    rounds.turns.join(second)
    rounds.turns.leave(first)
    rounds.turns.leave(first)
    assert rounds.go() == ["b"]


def test_a_fault_of_one_does_not_take_the_turn_of_others() -> None:
    rounds = Rounds()

    def broken() -> int:
        raise ZeroDivisionError

    rounds.turns.join(broken)
    rounds.turns.join(rounds.worker("b", 1))
    with contextlib.suppress(ZeroDivisionError):
        rounds.go()
    assert rounds.go() == ["b"]


def test_in_a_round_with_much_work_further_turns_are_short() -> None:
    rounds = Rounds()
    turns = rounds.turns
    assert turns.max_work == TURN_WORK
    turns.note(ROUND_WORK)
    assert turns.max_work == TURN_WORK
    turns.note(1)
    assert turns.max_work == SHORT_TURN_WORK
    rounds.go()
    assert turns.max_work == TURN_WORK
    assert turns.spent == 0
    assert not rounds.calls


def test_what_is_put_off_is_done_in_turns_of_its_own() -> None:
    rounds, cork = Rounds(), Cork()
    cork.turns = rounds.turns
    done: list[str] = []

    def job(name: str, left: int) -> None:
        done.append(name)
        cork.work += TURN_WORK // 2
        if left:
            cork.put_off(lambda: job(name, left - 1))

    with cork:
        for name in "ab":
            cork.put_off(lambda name=name: job(name, 2))  # type: ignore[misc]
    assert done == []
    seen = []
    while rounds.calls:
        rounds.go()
        seen.append("".join(done))
    assert seen == ["ab", "abab", "ababab"]


def test_a_bug_in_what_is_put_off_ends_nothing_else() -> None:
    rounds, cork = Rounds(), Cork()
    cork.turns = rounds.turns
    done: list[str] = []

    def bug() -> None:
        raise ValueError("bug")

    with cork:
        cork.put_off(bug)
        cork.put_off(lambda: done.append("other"))
    with contextlib.suppress(ValueError):
        rounds.go()
    while rounds.calls:
        rounds.go()
    assert done == ["other"]
