"""What a hook may answer, and what is no valid answer."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.auth.identity import Identity
from rtchat.net.auth.hooks.answers import (
    MAX_NAMES,
    Allow,
    Answer,
    BrokenAnswer,
    Refuse,
    answer_from_json,
    answer_from_python,
)
from rtchat.net.auth.hooks.visitor import EVENTS, Event


def read(event: Event = "send", **said: Any) -> Answer:
    """Read a JSON object as an answer."""
    return answer_from_json(json.dumps(said).encode(), event)


def returned(event: Event = "send", **said: Any) -> Answer:
    """Take an ``Allow`` as an answer."""
    return answer_from_python(Allow(**said), event)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("said", [{}, {"allow": "yes"}, {"allow": True}])
def test_no_word_is_an_allowing_one(event: Event, said: dict[str, Any]) -> None:
    assert read(event, **said) == Answer()
    assert answer_from_python(None, event) == Answer()
    assert answer_from_python(Allow(), event) == Answer()


@pytest.mark.parametrize("said", ["no", False])
def test_a_refusal_counts_whatever_else_is_said(said: object) -> None:
    answer = read(allow=said, reason="banned", body=7, rights="all")
    assert answer == Answer(is_allowed=False, reason="banned")
    assert answer_from_python(Refuse("banned"), "send") == answer


@pytest.mark.parametrize("reason", [7, None, ["x"], "x" * 1000])
def test_a_refusal_needs_no_valid_reason(reason: object) -> None:
    answer = read(allow="no", reason=reason)
    assert not answer.is_allowed
    assert len(answer.reason) <= 200
    assert not answer_from_python(Refuse(reason), "send").is_allowed  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["", "No", "maybe", 0, 1, None, [], {}])
def test_a_doubtful_word_is_none(said: object) -> None:
    with pytest.raises(BrokenAnswer, match='neither "yes" nor "no"'):
        read(allow=said)


def test_a_new_body() -> None:
    assert read(body="häuser").body == "häuser".encode()
    assert read(body="AP8=", encoding="base64").body == b"\x00\xff"
    assert read(body="").body == b""
    assert returned(body="häuser").body == "häuser".encode()
    assert returned(body=b"\x00\xff").body == b"\x00\xff"


@pytest.mark.parametrize(
    "said",
    [{"body": 7}, {"body": {}}, {"body": "A", "encoding": "base64"}, {"body": "", "encoding": "x"}],
)
def test_a_body_that_is_none(said: dict[str, Any]) -> None:
    with pytest.raises(BrokenAnswer):
        read(**said)


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(BrokenAnswer, match="surrogate"):
        answer_from_json(b'{"body": "\\ud800"}', "send")
    with pytest.raises(BrokenAnswer, match="surrogate"):
        returned(body="\ud800")


def test_headers_are_set_and_removed() -> None:
    said = {"color": "red", "size": 7, "x-spam": None, "destination": "/topic/b", "x-user": "b"}
    for answer in (read(headers=said), returned(headers=said)):
        assert answer.headers == {"color": "red", "size": "7", "x-spam": None}


@pytest.mark.parametrize(
    "said",
    [
        "a: b",
        ["a"],
        {"": "x"},
        {"a\n": "x"},
        {"a": 1.5},
        {"a": True},
        {"a": ["x"]},
        {"a": "x" * 5000},
        {"a" * 200: "x"},
        {"a": 10**30},
        {str(number): "x" for number in range(51)},
    ],
)
def test_headers_that_are_none(said: object) -> None:
    with pytest.raises(BrokenAnswer):
        read(headers=said)
    with pytest.raises(BrokenAnswer):
        returned(headers=said)


def test_who_a_visitor_is() -> None:
    identity = Identity(
        "anna",
        frozenset({"staff", "men"}),
        "Anna",
        ("/topic/a",),
        ("/topic/b",),
        ("/queue/#",),
        1_800_000_000,
    )
    assert (
        read(
            "connect",
            user="anna",
            nick="Anna",
            groups=["staff", "men", "men"],
            rights={"read": ["/topic/a"], "write": ["/topic/b"], "admin": ["/queue/#"]},
            expires=1_800_000_000,
        ).identity
        == identity
    )
    assert (
        returned(
            "connect",
            user="anna",
            nick="Anna",
            groups={"staff", "men"},
            read=["/topic/a"],
            write=["/topic/b"],
            admin=("/queue/#",),
            expires=1_800_000_000,
        ).identity
        == identity
    )


@pytest.mark.parametrize(
    "said",
    [
        {"user": 7},
        {"user": " anna"},
        {"user": "a" * 129},
        {"user": "a\nb"},
        {"nick": []},
        {"nick": "a\x00"},
        {"nick": "a" * 257},
        {"groups": "staff"},
        {"groups": [7]},
        {"groups": [""]},
        {"groups": ["x" * 129]},
        {"groups": [str(number) for number in range(MAX_NAMES + 1)]},
        {"expires": "tomorrow"},
        {"expires": True},
        {"expires": 0},
        {"expires": -1},
        {"expires": 1_800_000_000_000},
        {"autosubscribe": "/topic/a"},
        {"autosubscribe": [["/topic/a"]]},
        {"autounsubscribe": ["/topic/\n"]},
    ],
)
def test_what_is_not_valid_for_a_visitor(said: dict[str, Any]) -> None:
    with pytest.raises(BrokenAnswer):
        read("connect", **said)
    with pytest.raises(BrokenAnswer):
        returned("connect", **said)


@pytest.mark.parametrize("said", ["all", ["read"], {"reed": []}, {"read": "/topic/a"}])
def test_rights_that_are_none(said: object) -> None:
    with pytest.raises(BrokenAnswer):
        read("connect", rights=said)


@pytest.mark.parametrize("expires", [float("nan"), float("inf")])
def test_a_time_is_finite(expires: float) -> None:
    with pytest.raises(BrokenAnswer):
        returned("connect", expires=expires)


@pytest.mark.parametrize("user", ["", None])
def test_a_visitor_may_stay_anonymous(user: str | None) -> None:
    assert read("connect", user=user).identity == Identity()


def test_what_means_nothing_for_an_event_is_left_out() -> None:
    said: dict[str, Any] = {
        "body": "x",
        "headers": {"a": "b"},
        "autosubscribe": ["/topic/a"],
        "autounsubscribe": ["/topic/b"],
        "user": "anna",
    }
    sub, unsub = ("/topic/a",), ("/topic/b",)
    assert read("send", **said) == Answer(
        body=b"x", headers={"a": "b"}, autosubscribe=sub, autounsubscribe=unsub
    )
    assert read("subscribe", **said) == Answer(autosubscribe=sub, autounsubscribe=unsub)
    assert read("unsubscribe", **said) == Answer(autosubscribe=sub, autounsubscribe=unsub)
    assert read("disconnect", **said) == Answer()
    assert read("connect", **said).identity.user == "anna"
    assert returned("disconnect", **said) == Answer()


def test_where_events_go_is_no_answer_that_allows() -> None:
    with pytest.raises(BrokenAnswer, match=r"write restq\+ before the URL"):
        read("connect", connect="http://site/connect", send="http://site/send")


def test_unknown_keys_are_noted() -> None:
    noted: list[str] = []
    answer = answer_from_json(b'{"alow": "no", "body": "x"}', "send", unknown=noted.append)
    assert answer.is_allowed
    assert noted == ["alow"]


@pytest.mark.parametrize(
    "value", [True, False, "yes", {"allow": "no"}, 7, [], Allow, Refuse, Answer()]
)
def test_another_type_is_no_answer(value: object) -> None:
    with pytest.raises(BrokenAnswer, match=r"send returned an object of type .*return None"):
        answer_from_python(value, "send")


@pytest.mark.parametrize("body", [7, bytearray(b"x"), ["x"]])
def test_nor_is_another_type_of_body(body: object) -> None:
    with pytest.raises(BrokenAnswer, match="body"):
        returned(body=body)


_TEXT = st.text(max_size=5)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | _TEXT
    | st.sampled_from(["yes", "no"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_KEYS = ["allow", "body", "encoding", "headers", "autosubscribe", "user", "nick", "groups"]
_KEYS += ["rights", "expires", "reason", "autounsubscribe"]


@given(st.dictionaries(st.sampled_from(_KEYS), _VALUES), st.sampled_from(EVENTS))
def test_whatever_is_said_is_read_or_refused(said: dict[str, Any], event: Event) -> None:
    """A valid answer can be used as it is: all of its texts can be written as UTF-8."""
    try:
        answer = read(event, **said)
    except BrokenAnswer:
        return
    assert answer.is_allowed == (said.get("allow", "yes") in ("yes", True))
    identity = answer.identity
    texts = [identity.user, identity.nick, *identity.groups, *identity.read]
    texts += [*answer.autosubscribe, *answer.headers, *filter(None, answer.headers.values())]
    assert "".join(texts).encode("utf-8") is not None


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(BrokenAnswer):
        answer_from_json(data, "connect")
