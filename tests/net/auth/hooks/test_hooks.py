"""The order of events, bounded work, failures, and what is told once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.logs import Logs, captured_logs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from rtchat.core.auth.identity import Identity
from rtchat.net.auth.hooks.answers import Answer, HookFailed
from rtchat.net.auth.hooks.hooks import Hooks
from rtchat.net.auth.hooks.visitor import Event, Facts

NOON = 1_796_731_200.0  # 2026-12-08 12:00:00 UTC

REFUSED = HookFailed("connection refused", "http://site refuses connections", is_untold=True)
BROKEN = HookFailed("status 500")


class FakeCall:
    """A call that a test answers."""

    def __init__(self, event: Event, facts: Facts, session_id: str, delivery: str) -> None:
        self.event = event
        self.facts = facts
        self.session_id = session_id
        self.delivery = delivery
        self.is_given_up = False
        self.answer: Deferred[Answer] = Deferred()

    def give_up(self) -> None:
        self.is_given_up = True

    def says(self, answer: Answer | None = None) -> None:
        """Answer it."""
        self.answer.callback(answer or Answer())

    def fails(self, failure: Exception = BROKEN) -> None:
        """Let it fail."""
        self.answer.errback(failure)


class FakeHook:
    """Notes calls; a test answers them, or ``at_once`` does."""

    where = "http://site/hook"

    def __init__(self) -> None:
        self.calls: list[FakeCall] = []
        self.at_once: Answer | Exception | None = None
        self.is_closed = False

    def call(self, event: Event, facts: Facts, session_id: str, delivery: str) -> FakeCall:
        if self.at_once is not None and not isinstance(self.at_once, HookFailed | Answer):
            raise self.at_once
        call = FakeCall(event, facts, session_id, delivery)
        self.calls.append(call)
        if isinstance(self.at_once, Answer):
            call.says(self.at_once)
        elif self.at_once is not None:
            call.fails(self.at_once)
        return call

    def close(self) -> None:
        self.is_closed = True

    def names(self) -> list[str]:
        """Return the calls so far, as ``SESSION EVENT``."""
        return [f"{call.session_id} {call.event}" for call in self.calls]


@pytest.fixture
def hook() -> FakeHook:
    return FakeHook()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def new_hooks(hook: FakeHook, clock: Clock, **options: Any) -> Hooks:
    return Hooks(hook, clock=clock, wall_s=lambda: NOON + clock.seconds(), **options)


@pytest.fixture
def hooks(hook: FakeHook, clock: Clock) -> Hooks:
    return new_hooks(hook, clock)


def facts(source: str = "192.0.2.1", **more: Any) -> Facts:
    return Facts(source, **more)


def answers(reply: Deferred[Answer]) -> list[Answer]:
    """Return the list that gets an answer when it is there."""
    got: list[Answer] = []
    reply.addCallback(got.append)
    return got


def test_an_answer_reaches_the_one_who_asks(hooks: Hooks, hook: FakeHook, clock: Clock) -> None:
    got = answers(hooks.ask("connect", facts(), "s1"))
    assert got == []
    hook.calls[0].says(Answer(identity=Identity("anna")))
    assert got == [Answer(identity=Identity("anna"))]
    assert clock.getDelayedCalls() == [], "no time-out is left"
    assert (hooks.counters.asked, hooks.counters.refused) == (1, 0)


def test_an_event_that_the_hook_does_not_want_is_allowed_at_once(
    hook: FakeHook, clock: Clock
) -> None:
    hooks = new_hooks(hook, clock, events=["send"])
    assert answers(hooks.ask("connect", facts(), "s1")) == [Answer()]
    hooks.tell("disconnect", facts(), "s1")
    assert hook.calls == []


def test_what_is_told_is_not_asked_and_the_other_way_round(hooks: Hooks) -> None:
    with pytest.raises(ValueError, match="told, not asked"):
        hooks.ask("disconnect", facts(), "s1")
    with pytest.raises(ValueError, match="asked, not told"):
        hooks.tell("send", facts(), "s1")


def test_events_of_a_session_come_one_after_the_other(hooks: Hooks, hook: FakeHook) -> None:
    hooks.ask("subscribe", facts(), "s1")
    hooks.tell("unsubscribe", facts(), "s1")
    hooks.ask("send", facts(), "s1")
    hooks.tell("disconnect", facts(), "s1")
    for number, expected in enumerate(["subscribe", "unsubscribe", "send", "disconnect"], 1):
        assert hook.names()[-1] == f"s1 {expected}"
        assert len(hook.calls) == number
        hook.calls[-1].says()
    assert len(hook.calls) == 4
    assert hooks.counters.told == 2


def test_a_slow_answer_holds_its_own_session_only(hooks: Hooks, hook: FakeHook) -> None:
    hooks.ask("send", facts(), "slow")
    hooks.ask("send", facts(), "slow")
    got = answers(hooks.ask("send", facts(), "quick"))
    hook.calls[1].says()
    assert got == [Answer()]
    assert hook.names() == ["slow send", "quick send"]


def test_so_many_calls_at_a_time(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_calls=3)
    sources = [f"192.0.2.{number}" for number in range(10)]
    got = [answers(hooks.ask("send", facts(source), f"of {source}")) for source in sources]
    assert len(hook.calls) == 3
    assert hooks.waiting == 7
    hook.calls[1].says()
    assert len(hook.calls) == 4
    while any(not one for one in got):
        next(call for call in hook.calls if not call.answer.called).says()
    assert len(hook.calls) == 10


def test_a_crowd_of_one_source_does_not_hold_up_another(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_calls=1)
    for number in range(100):
        hooks.ask("connect", facts("198.51.100.66"), f"crowd{number}")
    hooks.ask("connect", facts("192.0.2.1"), "anna")
    hook.calls[0].says()
    hook.calls[1].says()
    assert "anna connect" in hook.names()[:3]


def test_a_source_for_which_the_hook_is_slow_leaves_places_to_others(
    hook: FakeHook, clock: Clock
) -> None:
    hooks = new_hooks(hook, clock, max_calls=10)
    for number in range(100):
        hooks.ask("connect", facts("198.51.100.66"), f"crowd{number}")
    assert len(hook.calls) == 5
    got = answers(hooks.ask("connect", facts("192.0.2.1"), "anna"))
    hook.calls[-1].says()
    assert got == [Answer()]


def test_all_of_an_ipv6_network_is_one_source(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_calls=1)
    for number in range(100):
        hooks.ask("connect", facts(f"2001:db8::{number:x}"), f"crowd{number}")
    hooks.ask("connect", facts("192.0.2.1"), "anna")
    hook.calls[0].says()
    hook.calls[1].says()
    assert "anna connect" in hook.names()[:3]


@pytest.mark.parametrize("allows", [False, True])
def test_a_failure_is_decided_as_configured(hook: FakeHook, clock: Clock, allows: bool) -> None:
    hooks = new_hooks(hook, clock, allows_on_failure=allows)
    got = answers(hooks.ask("send", facts(), "s1"))
    hook.calls[0].fails(BROKEN)
    assert [one.is_allowed for one in got] == [allows]
    assert got[0].is_failure
    assert got[0].reason == "the hook has failed: status 500"
    assert got[0].identity == Identity()
    assert hooks.counters.failed == 1


@pytest.mark.parametrize("allows", [False, True])
def test_no_answer_in_time_is_a_failure(hook: FakeHook, clock: Clock, allows: bool) -> None:
    hooks = new_hooks(hook, clock, allows_on_failure=allows, timeout_s=5)
    got = answers(hooks.ask("send", facts(), "s1"))
    clock.advance(4.9)
    assert got == []
    clock.advance(0.1)
    assert [one.is_allowed for one in got] == [allows]
    assert hook.calls[0].is_given_up
    assert hooks.problem() == "down since 2026-12-08 12:00:05 UTC: no answer in 5 s"
    hook.calls[0].says(Answer(is_allowed=not allows))
    assert len(got) == 1, "an answer that comes too late is none"


def test_the_wait_for_a_place_counts(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_calls=1, timeout_s=5)
    hooks.ask("send", facts(), "s1")
    clock.advance(1)
    got = answers(hooks.ask("send", facts(), "s2"))
    hook.calls[0].give_up()
    clock.advance(4)
    assert hook.names() == ["s1 send"], "its place is taken until the call has ended"
    clock.advance(1)
    assert "busy with others" in got[0].reason
    assert hooks.waiting == 0
    hook.calls[0].fails()
    assert hook.names() == ["s1 send"]
    hooks.ask("send", facts(), "s3")
    assert hook.names() == ["s1 send", "s3 send"]


def test_after_a_failure_the_next_event_is_asked_all_the_same(hooks: Hooks, hook: FakeHook) -> None:
    hooks.ask("send", facts(), "s1")
    second = answers(hooks.ask("send", facts(), "s1"))
    hook.calls[0].fails(REFUSED)
    hook.calls[1].says()
    assert second == [Answer()]
    assert hooks.problem() == ""


def test_an_exception_of_the_hook_itself_is_a_failure(
    hooks: Hooks, hook: FakeHook, logs: Logs
) -> None:
    hook.at_once = ZeroDivisionError("division by zero")
    got = answers(hooks.ask("send", facts(), "s1"))
    assert not got[0].is_allowed
    assert hooks.problem().endswith(": an exception")
    assert "ZeroDivisionError" in logs.text()
    hook.at_once = Answer()
    assert answers(hooks.ask("send", facts(), "s1")) == [Answer()], "its place is free again"


def test_answers_that_come_at_once_need_no_depth(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_calls=1)
    hooks.ask("send", facts(), "s0")
    hook.at_once = Answer()
    got = [answers(hooks.ask("send", facts(), f"s{number % 7}")) for number in range(5000)]
    for _ in range(5000):
        hooks.tell("unsubscribe", facts(), "s8")
    hook.calls[0].says()
    assert all(one == [Answer()] for one in got)
    assert hooks.counters.told == 5000


def test_what_was_not_told_is_told_later_in_order(
    hooks: Hooks, hook: FakeHook, clock: Clock
) -> None:
    hook.at_once = REFUSED
    hooks.tell("unsubscribe", facts(headers={"id": "1"}), "s1")
    hooks.tell("unsubscribe", facts(headers={"id": "2"}), "s1")
    hooks.tell("disconnect", facts(), "s1")
    hooks.tell("disconnect", facts(), "s2")
    assert hooks.untold == 4
    assert hook.names() == ["s1 unsubscribe"]
    delivery = hook.calls[0].delivery
    tried: list[int] = []
    for second in range(70):
        clock.advance(1)
        if len(hook.calls) > len(tried) + 1:
            tried.append(second + 1)
    assert tried == [1, 3, 7, 15, 31, 61], "after 1, 2, 4, 8, 16 and 30 s"
    hook.calls.clear()
    hook.at_once = Answer()
    clock.advance(30)
    assert sorted(hook.names()) == ["s1 disconnect"] + ["s1 unsubscribe"] * 2 + ["s2 disconnect"]
    of_s1 = [call for call in hook.calls if call.session_id == "s1"]
    assert [call.facts.headers.get("id") for call in of_s1] == ["1", "2", None]
    assert of_s1[0].delivery == delivery, "it can be recognised"
    assert len({call.delivery for call in hook.calls}) == 4
    assert (hooks.untold, hooks.counters.told, hooks.counters.lost) == (0, 4, 0)
    assert clock.getDelayedCalls() == []
    hook.at_once = REFUSED
    hooks.tell("disconnect", facts(), "s3")
    hook.calls.clear()
    clock.advance(1)
    assert hook.names() == ["s3 disconnect"], "the next time begins with 1 s again"


def test_an_answer_to_another_session_shows_that_the_hook_is_back(
    hooks: Hooks, hook: FakeHook, clock: Clock
) -> None:
    hook.at_once = REFUSED
    hooks.tell("disconnect", facts(), "s1")
    hooks.tell("disconnect", facts(), "s2")
    hook.at_once = Answer()
    hooks.ask("connect", facts(), "s3")
    assert hooks.untold == 0
    assert sorted(hook.names()[1:]) == ["s1 disconnect", "s2 disconnect", "s3 connect"]
    assert clock.getDelayedCalls() == []


def test_what_may_have_been_heard_is_not_told_again(
    hooks: Hooks, hook: FakeHook, clock: Clock
) -> None:
    hooks.tell("disconnect", facts(), "s1")
    hook.calls[0].fails(BROKEN)
    hooks.tell("disconnect", facts(), "s2")
    clock.advance(5)
    assert hook.calls[1].is_given_up
    clock.advance(100)
    assert hook.names() == ["s1 disconnect", "s2 disconnect"]
    assert hooks.counters.lost == 2
    assert hooks.untold == 0


def test_the_time_of_what_is_told_begins_with_its_place(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_calls=1, timeout_s=5)
    for number in range(3):
        hooks.tell("disconnect", facts(), f"s{number}")
    for number in range(3):
        clock.advance(4)
        hook.calls[number].says()
    assert hooks.counters.told == 3


def test_a_question_behind_what_cannot_be_told_is_not_put(
    hooks: Hooks, hook: FakeHook, clock: Clock
) -> None:
    """The hook would hear of the later event first."""
    hook.at_once = REFUSED
    hooks.tell("unsubscribe", facts(), "s1")
    got = answers(hooks.ask("subscribe", facts(), "s1"))
    assert not got[0].is_allowed
    assert hook.names() == ["s1 unsubscribe"] * 2, "it was tried again for the question"
    hook.at_once = Answer()
    assert answers(hooks.ask("subscribe", facts(), "s1")) == [Answer()]
    assert hook.names()[2:] == ["s1 unsubscribe", "s1 subscribe"]
    clock.advance(100)
    assert len(hook.calls) == 4


def test_the_oldest_of_the_largest_source_is_given_up_when_too_many_wait(
    hook: FakeHook, clock: Clock, logs: Logs
) -> None:
    hooks = new_hooks(hook, clock, max_untold=10)
    hook.at_once = REFUSED
    hooks.tell("disconnect", facts("192.0.2.1"), "anna")
    for number in range(30):
        hooks.tell("disconnect", facts("198.51.100.66"), f"crowd{number}")
    assert hooks.untold == 10
    assert hooks.counters.given_up == 21
    (line,) = [line for line in logs.lines() if "more than 10 wait" in line]
    assert "is not told of some events" in line
    hook.calls.clear()
    hook.at_once = Answer()
    clock.advance(1)
    told = [call.session_id for call in hook.calls]
    assert sorted(told) == sorted(["anna", *(f"crowd{number}" for number in range(21, 30))])


def test_giving_up_does_not_try_again(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_untold=1)
    hook.at_once = REFUSED
    for number in range(30):
        hooks.tell("unsubscribe", facts(), f"s{number % 3}")
    assert len(hook.calls) == 1
    hook.at_once = Answer()
    clock.advance(1)
    assert len(hook.calls) == 2
    assert hooks._lines == {}
    assert clock.getDelayedCalls() == []


def test_later_events_of_a_session_survive_one_that_is_given_up(
    hook: FakeHook, clock: Clock
) -> None:
    hooks = new_hooks(hook, clock, max_untold=3)
    hook.at_once = REFUSED
    for number in range(5):
        hooks.tell("unsubscribe", facts(headers={"id": str(number)}), "s1")
    hook.calls.clear()
    hook.at_once = Answer()
    clock.advance(2)
    told = [call.facts.headers["id"] for call in hook.calls]
    assert told == sorted(told)
    assert len(told) == 3
    assert "4" in told


def test_a_question_in_line_is_not_put_when_the_client_has_gone(
    hooks: Hooks, hook: FakeHook
) -> None:
    hooks.ask("send", facts(), "s1")
    waiting = hooks.ask("send", facts(), "s1")
    failed: list[Any] = []
    waiting.addErrback(failed.append)
    waiting.cancel()
    hooks.tell("disconnect", facts(), "s1")
    hook.calls[0].says()
    assert failed[0].check(CancelledError)
    assert hook.names() == ["s1 send", "s1 disconnect"]


def test_one_that_waits_for_a_place_can_go_as_well(hook: FakeHook, clock: Clock) -> None:
    hooks = new_hooks(hook, clock, max_calls=1)
    hooks.ask("send", facts(), "s1")
    waiting = hooks.ask("send", facts(), "s2").addErrback(lambda _: None)
    waiting.cancel()
    assert hooks.waiting == 0
    hook.calls[0].says()
    assert hook.names() == ["s1 send"]


def test_a_question_that_is_being_asked_keeps_later_events_behind_it(
    hooks: Hooks, hook: FakeHook
) -> None:
    hooks.ask("send", facts(), "s1").addErrback(lambda _: None).cancel()
    hooks.tell("disconnect", facts(), "s1")
    assert hook.names() == ["s1 send"]
    hook.calls[0].says()
    assert hook.names() == ["s1 send", "s1 disconnect"]


def test_a_visitor_who_has_left_while_connecting_is_disconnected(
    hooks: Hooks, hook: FakeHook
) -> None:
    connecting = facts(login="anna", password="secret", cookies={"sessionid": "1"})
    hooks.ask("connect", connecting, "s1").addErrback(lambda _: None).cancel()
    hook.calls[0].says(Answer(identity=Identity("anna", frozenset({"staff"}), "Anna")))
    assert hook.names() == ["s1 connect", "s1 disconnect"]
    assert hook.calls[1].facts == facts(user="anna", nick="Anna", groups=frozenset({"staff"}))


@pytest.mark.parametrize("answer", [Answer(is_allowed=False), BROKEN])
def test_one_who_was_not_let_in_is_not(
    hooks: Hooks, hook: FakeHook, answer: Answer | HookFailed
) -> None:
    hooks.ask("connect", facts(), "s1").addErrback(lambda _: None).cancel()
    if isinstance(answer, Answer):
        hook.calls[0].says(answer)
    else:
        hook.calls[0].fails(answer)
    assert hook.names() == ["s1 connect"]


def test_the_answer_to_unsubscribe_is_handed_on(hooks: Hooks, hook: FakeHook, logs: Logs) -> None:
    got: list[Answer] = []
    hooks.tell("unsubscribe", facts(), "s1", got.append)
    answer = Answer(autounsubscribe=("/topic/a",))
    hook.calls[0].says(answer)
    assert got == [answer]
    hooks.tell("unsubscribe", facts(), "s1", got.append)
    hook.calls[1].fails()
    assert got == [answer]
    hooks.tell("unsubscribe", facts(), "s1", lambda _: [][1])
    hook.calls[2].says()
    assert isinstance(logs.failures()[0].value, IndexError)


def test_down_and_back_are_a_line_each(
    hooks: Hooks, hook: FakeHook, clock: Clock, logs: Logs
) -> None:
    hook.at_once = REFUSED
    for _ in range(20):
        hooks.ask("send", facts(), "s1")
        clock.advance(1)
    assert hooks.problem() == "down since 2026-12-08 12:00:00 UTC: connection refused"
    hook.at_once = Answer()
    for _ in range(20):
        hooks.ask("send", facts(), "s1")
    assert hooks.problem() == ""
    assert hooks.failures == 20
    assert logs.lines() == [
        "The hook http://site/hook is down: http://site refuses connections."
        " What it is asked is refused.",
        "The hook http://site/hook answers again, after 20 s and 20 failed calls.",
    ]


def test_the_problem_says_how_much_is_untold(hooks: Hooks, hook: FakeHook) -> None:
    hook.at_once = REFUSED
    hooks.tell("disconnect", facts(), "s1")
    hooks.tell("disconnect", facts(), "s2")
    assert hooks.problem().endswith("connection refused; events still to be told: 2")


def test_the_server_stops_when_all_is_told(hooks: Hooks, hook: FakeHook) -> None:
    drained: list[None] = []
    hooks.drain().addCallback(drained.append)
    assert len(drained) == 1, "there is nothing to wait for"
    hooks.tell("disconnect", facts(), "s1")
    hooks.tell("disconnect", facts(), "s2")
    hooks.drain().addCallback(drained.append)
    hook.calls[0].says()
    assert len(drained) == 1
    hook.calls[1].says()
    assert len(drained) == 2


def test_what_cannot_be_told_is_given_up_at_the_end(
    hooks: Hooks, hook: FakeHook, clock: Clock, logs: Logs
) -> None:
    asked = answers(hooks.ask("send", facts(), "s1"))
    hooks.tell("disconnect", facts(), "s1")
    hook.at_once = REFUSED
    hooks.tell("disconnect", facts(), "s2")
    drained: list[None] = []
    hooks.drain().addCallback(drained.append)
    hooks.close()
    hooks.close()
    assert drained == [None]
    assert hook.is_closed
    assert hook.calls[0].is_given_up
    assert not asked[0].is_allowed
    assert "was not told of 2 events, because the server stops" in logs.text()
    assert clock.getDelayedCalls() == []
    hook.calls[0].fails(CancelledError())
    assert not answers(hooks.ask("send", facts(), "s3"))[0].is_allowed
    hooks.tell("disconnect", facts(), "s3")
    assert hooks.counters.given_up == 3
    assert len(hook.calls) == 2


def test_nothing_is_kept_of_a_session_that_has_ended(hooks: Hooks, hook: FakeHook) -> None:
    hook.at_once = Answer()
    for number in range(100):
        hooks.ask("connect", facts(), f"s{number}")
        hooks.tell("disconnect", facts(), f"s{number}")
    assert hooks._lines == {}
