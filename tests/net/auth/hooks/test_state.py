"""Whether a hook answers, for people."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rtchat.net.auth.hooks.answers import HookFailed
from rtchat.net.auth.hooks.state import HookState


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> HookState:
    return HookState(clock, lambda: 1_796_731_200 + clock.seconds(), "the site", "It refuses.")


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def test_it_is_down_from_the_first_failure_to_the_next_answer(
    state: HookState, clock: Clock
) -> None:
    assert not state.is_down
    clock.advance(30)
    state.failed(HookFailed("status 500"))
    clock.advance(30)
    state.failed(HookFailed("connection refused"))
    assert state.problem() == "down since 2026-12-08 12:00:30 UTC: connection refused"
    state.succeeded()
    state.succeeded()
    assert state.problem() == ""
    assert state.failures == 2


def test_a_failure_that_is_long_ago_says_nothing_of_now(state: HookState, clock: Clock) -> None:
    state.failed(HookFailed("status 500"))
    clock.advance(119)
    assert state.problem()
    clock.advance(1)
    assert state.problem() == ""
    assert state.is_down  # what is to be told still waits
    state.failed(HookFailed("status 500"))
    assert state.problem() == "down since 2026-12-08 12:00:00 UTC: status 500"


def test_one_that_goes_up_and_down_does_not_fill_the_log(
    state: HookState, clock: Clock, logs: Logs
) -> None:
    for _ in range(100):
        state.failed(HookFailed("status 500"))
        state.succeeded()
    assert len(logs.lines()) == 20
    clock.advance(60)
    state.failed(HookFailed("status 500"))
    assert len(logs.lines()) == 21
    state.succeeded()
    assert logs.lines()[-1].endswith("after 0 s and 1 failed calls.")


def test_what_the_hook_said_cannot_forge_a_line(state: HookState, logs: Logs) -> None:
    state.failed(HookFailed("status 500", "it said \r\n2026-11-28 all is well " + "x" * 1000))
    (line,) = logs.lines()
    assert "\n" not in line
    assert len(line) < 500


def test_an_exception_has_its_traceback(state: HookState, logs: Logs) -> None:
    failure = Failure(ZeroDivisionError("division by zero"))
    state.failed(HookFailed("an exception in send", "send has raised", cause=failure))
    state.failed(HookFailed("an exception in send", "send has raised", cause=failure))
    assert logs.failures() == [failure]
    assert logs.lines() == ["The hook the site is down: send has raised. It refuses."]
