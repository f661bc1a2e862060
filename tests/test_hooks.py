"""What authors of Python hooks import, and that the example they read does what it says."""

from __future__ import annotations

import re
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred

import rtchat.hooks
from rtchat.core.auth.identity import Identity
from rtchat.net.auth.hooks.answers import Answer
from rtchat.net.auth.hooks.python import PythonHook
from rtchat.net.auth.hooks.visitor import EVENTS, Event, Facts


@pytest.fixture
def hook() -> PythonHook:
    """The example of the module's docstring."""
    found = re.search(r"::\n\n((?:    .*\n|\n)+)", rtchat.hooks.__doc__ or "")
    assert found is not None
    names: dict[str, Any] = {"SESSIONS": {"c00kie": SimpleNamespace(name="anna", groups=["staff"])}}
    exec(textwrap.dedent(found[1]), names)
    return PythonHook(names["Site"](), reactor=None)  # type: ignore[arg-type]


def ask(hook: PythonHook, event: Event, **facts: Any) -> Answer:
    answer: Deferred[Answer] = hook.call(event, Facts("192.0.2.7", **facts), "s1", "d1").answer
    got: list[Answer] = []
    answer.addCallback(got.append)
    return got[0]


def test_all_that_authors_need_is_there() -> None:
    for name in rtchat.hooks.__all__:
        assert getattr(rtchat.hooks, name).__doc__, f"{name} is not documented"


def test_the_example_has_every_method(hook: PythonHook) -> None:
    assert hook.events == set(EVENTS)


def test_the_example_lets_in_who_is_logged_in(hook: PythonHook) -> None:
    answer = ask(hook, "connect", cookies={"sessionid": "c00kie"})
    assert answer.is_allowed
    assert answer.identity == Identity("anna", frozenset({"staff"}))
    assert ask(hook, "connect") == Answer(is_allowed=False, reason="not logged in")


def test_the_example_guards_a_topic_and_rewrites_messages(hook: PythonHook) -> None:
    staff = {"headers": {"destination": "/topic/staff"}}
    assert not ask(hook, "subscribe", **staff).is_allowed
    assert ask(hook, "subscribe", groups=frozenset({"staff"}), **staff).is_allowed
    assert ask(hook, "send", body=b"damn it").body == b"**** it"
    assert ask(hook, "unsubscribe") == Answer()
    assert ask(hook, "disconnect") == Answer()
