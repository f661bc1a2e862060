"""A class of Python as a hook."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from support.hook_site import run_on_reactor
from support.logs import Logs, captured_logs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rtchat.errors import ConfigError
from rtchat.hooks import Allow, Message, Refuse, Reply, Subscription, Visitor
from rtchat.net.auth.hooks.answers import Answer, BrokenAnswer, HookFailed
from rtchat.net.auth.hooks.hooks import Hooks
from rtchat.net.auth.hooks.python import PythonHook, Threads, load_hook
from rtchat.net.auth.hooks.visitor import Event, Facts

FACTS = Facts(
    "192.0.2.7",
    user="anna",
    nick="Anna",
    groups=frozenset({"staff"}),
    headers={"destination": "/topic/chat", "id": "7"},
    body="grüße".encode(),
)
CONNECTING = Facts(
    "192.0.2.7",
    login="anna",
    password="secret",
    cookies={"sessionid": "c00kie"},
    authorization="Bearer t0ken",
    headers={"login": "anna", "passcode": "secret", "nick": "Anna"},
)


class TestThreads:
    """Takes what threads hand over, and runs it in the test's thread."""

    __test__ = False

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(  # noqa: N802
        self, function: Callable[..., object], *args: object
    ) -> None:
        self._waiting.put(functools.partial(function, *args))

    def run(self, count: int = 1) -> None:
        """Wait for so many results."""
        for _ in range(count):
            self._waiting.get(timeout=10)()

    def is_empty(self) -> bool:
        return self._waiting.empty()


@pytest.fixture
def reactor() -> TestThreads:
    return TestThreads()


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def call(
    target: object, event: Event, facts: Facts = FACTS, reactor: Any = None
) -> Answer | BaseException:
    """Call a method that answers at once, or in a thread."""
    reactor = reactor or TestThreads()
    hook = PythonHook(target, reactor)
    results: list[Answer | Failure] = []
    answer = hook.call(event, facts, "s1", "d1").answer
    answer.addBoth(results.append)
    if not results:
        reactor.run()
    hook.close()
    (result,) = results
    if isinstance(result, Failure):
        assert result.value is not None
        return result.value
    return result


class Site:
    """Notes what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[object, ...]] = []

    async def connect(self, visitor: Visitor) -> Reply:
        self.got.append(("connect", visitor))
        return Allow(user="anna", groups=["staff"])

    async def subscribe(self, visitor: Visitor, subscription: Subscription) -> Reply:
        self.got.append(("subscribe", visitor, subscription))
        return Refuse("not today")

    def send(self, visitor: Visitor, message: Message) -> Reply:
        self.got.append(("send", visitor, message, message.text, threading.current_thread()))
        return Allow(body=message.text.upper())

    async def disconnect(self, visitor: Visitor) -> None:
        self.got.append(("disconnect", visitor))


def test_connect_gets_the_credentials() -> None:
    site = Site()
    answer = call(site, "connect", CONNECTING)
    assert isinstance(answer, Answer)
    assert answer.identity.user == "anna"
    assert answer.identity.groups == {"staff"}
    ((_, visitor),) = site.got
    assert visitor == Visitor(
        session="s1",
        source="192.0.2.7",
        login="anna",
        password="secret",
        cookies={"sessionid": "c00kie"},
        authorization="Bearer t0ken",
        headers={"nick": "Anna"},
    )
    assert not any(secret in repr(visitor) for secret in ("secret", "c00kie", "t0ken"))


def test_later_events_get_the_user_and_no_credentials() -> None:
    site = Site()
    assert call(site, "subscribe") == Answer(is_allowed=False, reason="not today")
    visitor = Visitor("s1", "192.0.2.7", "anna", "Anna", frozenset({"staff"}))
    subscription = Subscription("/topic/chat", {"destination": "/topic/chat", "id": "7"})
    assert site.got == [("subscribe", visitor, subscription)]
    call(site, "disconnect")
    assert site.got[1] == ("disconnect", visitor)


def test_a_plain_method_runs_in_a_thread() -> None:
    site = Site()
    assert call(site, "send") == Answer(body="GRÜSSE".encode())
    ((_, _, message, text, thread),) = site.got
    assert message == Message("/topic/chat", "grüße".encode(), FACTS.headers)
    assert text == "grüße"
    assert thread is not threading.current_thread()


def test_a_method_that_is_not_there_allows() -> None:
    assert PythonHook(Site(), TestThreads()).events == {  # type: ignore[arg-type]
        "connect",
        "subscribe",
        "send",
        "disconnect",
    }
    assert call(Site(), "unsubscribe") == Answer()


@pytest.mark.parametrize("is_plain", [True, False])
def test_an_exception_is_a_failure_with_its_traceback(is_plain: bool) -> None:
    class Broken:
        if is_plain:

            def send(self, visitor: Visitor, message: Message) -> Reply:
                raise ZeroDivisionError("division by zero")
        else:

            async def send(self, visitor: Visitor, message: Message) -> Reply:  # type: ignore[misc]
                raise ZeroDivisionError("division by zero")

    failed = call(Broken(), "send")
    assert isinstance(failed, HookFailed)
    assert failed.kind == "an exception in send"
    assert failed.detail == "send has raised ZeroDivisionError: division by zero"
    assert failed.cause is not None
    assert "in send" in failed.cause.getTraceback()
    assert not failed.is_untold


def test_a_wrong_type_is_a_failure() -> None:
    class Wrong:
        async def send(self, visitor: Visitor, message: Message) -> bool:
            return False

        def subscribe(self, visitor: Visitor, subscription: Subscription) -> str:
            return "no"

        async def connect(self, visitor: Visitor) -> Reply:
            return Allow(groups=(1 // 0 for _ in range(3)))  # type: ignore[misc]

    failed = call(Wrong(), "send")
    assert isinstance(failed, BrokenAnswer)
    assert "type bool; return None, Allow(…) or Refuse(…)" in failed.detail
    assert isinstance(call(Wrong(), "subscribe"), BrokenAnswer)
    raised = call(Wrong(), "connect")
    assert isinstance(raised, HookFailed)
    assert "ZeroDivisionError" in raised.detail


def test_a_coroutine_of_a_plain_method_is_no_answer() -> None:
    async def answer() -> Reply:
        return None

    class Hidden:
        def send(self, visitor: Visitor, message: Message) -> object:
            return answer()

    assert isinstance(call(Hidden(), "send"), BrokenAnswer)


def test_a_coroutine_awaits_without_stopping_others() -> None:
    waiting: list[Deferred[str]] = []

    class Slow:
        async def connect(self, visitor: Visitor) -> Reply:
            waiting.append(Deferred())
            return Allow(user=await waiting[-1])

    clock = Clock()
    hook = PythonHook(Slow(), TestThreads())  # type: ignore[arg-type]
    hooks = Hooks(hook, clock=clock, wall_s=clock.seconds)
    got: list[Answer] = []
    for name in ("s1", "s2"):
        hooks.ask("connect", CONNECTING, name).addCallback(got.append)
    assert len(waiting) == 2
    waiting[1].callback("bert")
    waiting[0].callback("anna")
    assert [one.identity.user for one in got] == ["bert", "anna"]


def test_a_coroutine_that_takes_too_long_is_cancelled(logs: Logs) -> None:
    cleaned: list[bool] = []

    class Slow:
        async def connect(self, visitor: Visitor) -> Reply:
            try:
                await Deferred()
            finally:
                cleaned.append(True)
            return None

    clock = Clock()
    hooks = Hooks(
        PythonHook(Slow(), TestThreads()),  # type: ignore[arg-type]
        clock=clock,
        wall_s=clock.seconds,
        timeout_s=3,
    )
    got: list[Answer] = []
    hooks.ask("connect", CONNECTING, "s1").addCallback(got.append)
    clock.advance(3)
    assert not got[0].is_allowed
    assert cleaned == [True]
    assert "Slow is down: no answer to connect in 3 s" in logs.text()


def test_a_thread_that_never_returns_holds_its_place_only(reactor: TestThreads) -> None:
    release = threading.Event()
    begun: SimpleQueue[str] = SimpleQueue()

    class Blocking:
        def connect(self, visitor: Visitor) -> Reply:
            begun.put(visitor.session)
            if visitor.session == "stuck":
                release.wait(10)
            return None

    clock = Clock()
    hook = PythonHook(Blocking(), reactor)  # type: ignore[arg-type]
    hooks = Hooks(hook, clock=clock, wall_s=clock.seconds, timeout_s=3, max_calls=2)
    got: list[Answer] = []
    hooks.ask("connect", Facts("192.0.2.1"), "stuck").addCallback(got.append)
    assert begun.get(timeout=10) == "stuck"
    clock.advance(3)
    assert not got[0].is_allowed
    for number in range(5):
        hooks.ask("connect", Facts("192.0.2.2"), f"s{number}").addCallback(got.append)
        reactor.run()
        assert got[-1].is_allowed
    assert hook._threads.count == 2
    release.set()
    reactor.run()
    hooks.close()


def test_a_method_that_was_not_begun_in_time_is_not_called(reactor: TestThreads) -> None:
    class Blocking:
        def connect(self, visitor: Visitor) -> Reply:
            raise AssertionError("too late")

    hook = PythonHook(Blocking(), reactor)  # type: ignore[arg-type]
    hook._threads.count = 1  # no thread is started: it has not come to it yet
    one = hook.call("connect", CONNECTING, "s1", "d1")
    one.give_up()
    hook._threads.count = 0
    results: list[object] = []
    one.answer.addBoth(results.append)
    other = hook._threads.run(lambda: "other")
    reactor.run(2)
    assert results == [Answer()]
    assert other.called
    hook.close()


def test_threads_are_used_again_and_end(reactor: TestThreads) -> None:
    threads = Threads(reactor)  # type: ignore[arg-type]
    names: set[object] = set()
    for _ in range(20):
        threads.run(lambda: threading.get_ident()).addCallback(names.add)
        reactor.run()
    assert len(names) == 1
    (thread,) = [one for one in threading.enumerate() if one.ident in names]
    assert thread.daemon, "the process can end while a method hangs"
    before = threading.active_count()
    threads.close()
    until = time.monotonic() + 10
    while threading.active_count() >= before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before - 1


def test_with_a_real_reactor_and_real_threads() -> None:
    class Slow:
        def send(self, visitor: Visitor, message: Message) -> Reply:
            time.sleep(0.25)
            return Allow(body=f"{message.text} of {visitor.user}")

    async def main(reactor: Any) -> list[bytes | None]:
        hooks = Hooks(PythonHook(Slow(), reactor), clock=reactor, wall_s=reactor.seconds)
        began_s = time.monotonic()
        asked = [hooks.ask("send", FACTS, f"s{number}") for number in range(8)]
        answers = await gatherResults(asked)
        assert time.monotonic() - began_s < 8 * 0.25, "they ran side by side"
        hooks.close()
        return [one.body for one in answers]

    assert run_on_reactor(main) == ["grüße of anna".encode()] * 8


def test_a_coroutine_that_blocks_is_said_once_a_minute(logs: Logs) -> None:
    class Blocking:
        async def connect(self, visitor: Visitor) -> Reply:
            time.sleep(0.12)
            return None

    hook = PythonHook(Blocking(), TestThreads())  # type: ignore[arg-type]
    for _ in range(2):
        hook.call("connect", CONNECTING, "s1", "d1")
    (line,) = logs.lines()
    assert line.startswith("connect of the hook ")
    stopped = re.search(r"has stopped the whole server for ([\d.]+) s", line)
    assert stopped is not None
    assert 0.12 <= float(stopped[1]) < 5
    assert "plain def" in line


def test_a_class_without_methods_of_a_hook_is_a_mistake() -> None:
    class Typo:
        async def on_connect(self, visitor: Visitor) -> Reply:
            return None

    with pytest.raises(ConfigError, match="has no method of a hook; write one: connect"):
        PythonHook(Typo(), TestThreads())  # type: ignore[arg-type]


def test_a_method_with_other_arguments_is_a_mistake() -> None:
    class Odd:
        async def send(self, visitor: Visitor) -> Reply:
            return None

    with pytest.raises(ConfigError, match=r"write send\(self, visitor, message\)"):
        PythonHook(Odd(), TestThreads())  # type: ignore[arg-type]


def test_a_generator_is_no_method_of_a_hook() -> None:
    class Odd:
        async def connect(self, visitor: Visitor) -> Any:
            yield None

    with pytest.raises(ConfigError, match="not a method that returns an answer"):
        PythonHook(Odd(), TestThreads())  # type: ignore[arg-type]


SITE = """
from rtchat.hooks import Refuse, Visitor

class Site:
    class Inner:
        async def connect(self, visitor: Visitor):
            return Refuse("closed")

class Broken:
    def __init__(self):
        raise RuntimeError("no database")

class Demanding:
    def __init__(self, database):
        pass

value = 7
"""


def test_a_class_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "hooks_of_a_test.py").write_text(SITE)
    hook = load_hook("hooks_of_a_test:Site.Inner", tmp_path)
    assert call(hook, "connect") == Answer(is_allowed=False, reason="closed")
    for name, problem in {
        "hooks_of_a_test:Broken": r"Broken\(\) has failed: RuntimeError: no database",
        "hooks_of_a_test:Demanding": "TypeError",
        "hooks_of_a_test:value": "is not a class",
        "hooks_of_a_test:Sight": "has no Sight; check the name",
    }.items():
        with pytest.raises(ConfigError, match=problem):
            load_hook(name, tmp_path)


@pytest.mark.parametrize(
    "name, problem",
    [
        ("rtchat.hooks", "is no class; write package.module:Class"),
        (":Class", "is no class"),
        ("module:", "is no class"),
        ("no_such_module_here:Site", "cannot be imported: No module named .*PYTHONPATH"),
        ("rtchat.no_such_module:Site", "cannot be imported"),
    ],
)
def test_a_name_that_leads_nowhere(name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_hook(name)


def test_a_module_that_fails_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "broken_hooks_of_a_test.py").write_text("1 / 0\n")
    with pytest.raises(ConfigError, match="has failed: ZeroDivisionError"):
        load_hook("broken_hooks_of_a_test:Site", tmp_path)
    (tmp_path / "wrong_hooks_of_a_test.py").write_text("def\n")
    with pytest.raises(ConfigError, match="has failed: SyntaxError"):
        load_hook("wrong_hooks_of_a_test:Site", tmp_path)
