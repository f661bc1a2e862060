"""What a turn has no time for comes in turns of its own, and others come between them."""

from __future__ import annotations

from support.logs import captured_logs
from twisted.internet.task import Clock

from rtchat.core.flow.outbound import TURN_WORK, Cork
from rtchat.net.stomp.later import LaterTurns


def test_each_turn_does_what_it_has_time_for() -> None:
    clock, cork = Clock(), Cork()
    done: list[str] = []
    cork.on_later = LaterTurns(cork, clock).schedule

    def job(name: str, left: int) -> None:
        done.append(name)
        cork.work += TURN_WORK // 2
        if left:
            cork.put_off(lambda: job(name, left - 1))

    with cork:
        for name in "ab":
            cork.put_off(lambda name=name: job(name, 2))  # type: ignore[misc]
    assert done == []
    begun: list[list[str]] = []

    def seconds() -> float:
        begun.append(done.copy())
        return clock.seconds()

    cork.seconds = seconds
    clock.advance(0)  # a clock in memory goes on until nothing is due
    assert done == ["a", "b"] * 3
    assert [len(before) for before in begun] == [0, 2, 4]


def test_a_bug_is_logged_and_the_others_go_on() -> None:
    clock, cork = Clock(), Cork()
    done: list[str] = []
    cork.on_later = LaterTurns(cork, clock).schedule

    def bug() -> None:
        raise ValueError("bug")

    with cork:
        cork.put_off(bug)
        cork.put_off(lambda: done.append("other"))
    with captured_logs() as logs:
        clock.advance(0)
        clock.advance(0)
    assert done == ["other"]
    assert any("bug in work that was put off" in line for line in logs.lines())
