"""What claims say about a user, and what they may not say."""

from __future__ import annotations

import pytest
from support.tokens import NOW_S, claims

from rtchat.core.auth.identity import Identity
from rtchat.errors import AccessRefused
from rtchat.net.auth.claims import MAX_DESTINATIONS, MAX_GROUPS, identity_of


def identity(leeway_s: float = 0, **more: object) -> Identity:
    return identity_of(claims(**more), now_s=NOW_S, leeway_s=leeway_s)


def reason(leeway_s: float = 0, **more: object) -> str:
    with pytest.raises(AccessRefused) as error:
        identity(leeway_s, **more)
    assert str(error.value) == error.value.message == "access refused"
    return error.value.reason


def test_a_token_needs_no_more_than_a_user_and_an_end() -> None:
    assert identity() == Identity(user="alice", expires_s=NOW_S + 60)


def test_a_token_may_say_more() -> None:
    assert identity(
        nick="Alice",
        groups=["staff", "editors", "staff"],
        rtchat={"read": ["/topic/#"], "write": ["/topic/a", "/queue/{user}"]},
        iss="anyone",
        unknown={"a": 1},
    ) == Identity(
        user="alice",
        groups=frozenset({"staff", "editors"}),
        nick="Alice",
        read=("/topic/#",),
        write=("/topic/a", "/queue/{user}"),
        expires_s=NOW_S + 60,
    )


def test_what_is_null_or_empty_says_nothing() -> None:
    made = claims() | {"nick": None, "groups": None, "rtchat": None, "nbf": None, "iat": None}
    expected = Identity(user="alice", expires_s=NOW_S + 60)
    assert identity_of(made, now_s=NOW_S, leeway_s=0) == expected
    assert identity(nick="", groups=[], rtchat={"read": None}) == expected
    assert identity(rtchat={}) == expected


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("leeway_s", [0, 5.5])
def test_a_token_ends_at_its_second(leeway_s: float) -> None:
    made = claims(exp=NOW_S)
    end_s = NOW_S + leeway_s
    assert identity_of(made, now_s=NOW_S - 0.001, leeway_s=leeway_s).expires_s == NOW_S
    if leeway_s:
        for now_s in (NOW_S, end_s - 0.001):
            assert identity_of(made, now_s=now_s, leeway_s=leeway_s).expires_s == end_s
    for now_s in (end_s, end_s + 0.001, end_s + 1e6):
        with pytest.raises(AccessRefused) as error:
            identity_of(made, now_s=now_s, leeway_s=leeway_s)
        assert error.value.reason == "expired"


@pytest.mark.parametrize("leeway_s", [0, 5.5])
@pytest.mark.parametrize(
    "claim, refused", [("nbf", "not valid yet"), ("iat", "issued in the future")]
)
def test_a_token_begins_at_its_second(claim: str, refused: str, leeway_s: float) -> None:
    assert identity(leeway_s, **{claim: NOW_S + leeway_s}).user == "alice"
    assert reason(leeway_s, **{claim: NOW_S + leeway_s + 0.001}) == refused


@pytest.mark.parametrize("end", [NOW_S + 0.5, int(NOW_S) + 1])
def test_a_time_may_have_a_fraction(end: float) -> None:
    assert identity(exp=end).expires_s == end


NO_TIMES = [True, False, "1800000060", "", [], {}, -1, float("nan"), float("inf"), 10**400]


@pytest.mark.parametrize("value", NO_TIMES)
def test_what_is_no_time_is_refused(value: object) -> None:
    assert reason(exp=value) == "wrong expiry"
    assert reason(nbf=value) == "wrong start"
    assert reason(iat=value) == "wrong date"


def test_a_time_in_milliseconds_would_never_come() -> None:
    assert reason(exp=NOW_S * 1000) == "wrong expiry"


def test_a_token_without_an_end_is_refused() -> None:
    assert reason(exp=None) == "no expiry"
    with pytest.raises(AccessRefused):
        identity_of({"sub": "alice", "exp": None}, now_s=NOW_S, leeway_s=0)


# ---------------------------------------------------------------- the user


def test_a_token_without_a_user_is_refused() -> None:
    assert reason(sub=None) == "no subject"


@pytest.mark.parametrize("value", ["", " alice", "a\nb", "a" * 129, "\ud800", 7, True, ["alice"]])
def test_what_is_no_user_is_refused(value: object) -> None:
    assert reason(sub=value) == "wrong subject"


@pytest.mark.parametrize("value", [" alice", "a\x00", "a" * 129, "\udfff", 7, False, ["alice"], {}])
def test_what_is_no_nick_is_refused(value: object) -> None:
    assert reason(nick=value) == "wrong nick"


# ---------------------------------------------------------------- groups and rights


@pytest.mark.parametrize(
    "value", ["staff", 7, {"staff": 1}, [7], [["a"]], [""], [None], ["a\n"], ["a" * 129], True]
)
def test_what_are_no_groups_is_refused(value: object) -> None:
    assert reason(groups=value) == "wrong groups"


def test_groups_are_not_endless() -> None:
    names = [f"group-{number}" for number in range(MAX_GROUPS + 1)]
    assert identity(groups=names[1:]).groups == set(names[1:])
    assert reason(groups=names) == "too many groups"


@pytest.mark.parametrize(
    "value",
    [
        "read",
        7,
        True,
        [],
        ["/topic/a"],
        {"admin": ["#"]},
        {"read": ["a"], "reads": ["a"]},
        {"read": "/topic/a"},
        {"read": {"/topic/a": 1}},
        {"write": [7]},
        {"write": [""]},
        {"write": ["/topic/a\x00"]},
        {"write": ["/topic/\ud800"]},
        {"read": [["/topic/a"]]},
        {"read": False},
    ],
)
def test_what_are_no_rights_is_refused(value: object) -> None:
    assert reason(rtchat=value) == "wrong rights"


@pytest.mark.parametrize("verb", ["read", "write"])
def test_rights_are_not_endless(verb: str) -> None:
    names = [f"/topic/{number}" for number in range(MAX_DESTINATIONS + 1)]
    assert getattr(identity(rtchat={verb: names[1:]}), verb) == tuple(names[1:])
    assert reason(rtchat={verb: names}) == "too many rights"
