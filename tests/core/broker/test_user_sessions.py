"""How many sessions a user has at once."""

from __future__ import annotations

from typing import cast

import pytest

from rtchat.core.broker.principal import Principal
from rtchat.core.broker.user_sessions import UserSessions
from rtchat.errors import LimitExceeded


class _Session:
    def __init__(self, user: str) -> None:
        self.user = user


def a_session(user: str) -> Principal:
    return cast(Principal, _Session(user))


def test_a_user_has_as_many_as_the_limit_says_and_others_theirs() -> None:
    gate = UserSessions(2)
    for _ in range(2):
        gate.admit(a_session("ada"), {}, 0)
    with pytest.raises(LimitExceeded) as error:
        gate.admit(a_session("ada"), {}, 0)
    assert error.value.message == "too many connections of one user, 2 are allowed"
    assert "connections.per_user" in error.value.detail
    gate.admit(a_session("bob"), {}, 0)


def test_one_that_ends_makes_room_and_one_that_was_refused_does_not() -> None:
    gate = UserSessions(1)
    first, refused = a_session("ada"), a_session("ada")
    gate.admit(first, {}, 0)
    with pytest.raises(LimitExceeded):
        gate.admit(refused, {}, 0)
    gate.leave(refused, 0)
    with pytest.raises(LimitExceeded):
        gate.admit(a_session("ada"), {}, 0)
    gate.leave(first, 0)
    gate.leave(first, 0)
    gate.admit(a_session("ada"), {}, 0)


def test_those_without_a_user_do_not_count() -> None:
    gate = UserSessions(1)
    guests = [a_session("") for _ in range(5)]
    for guest in guests:
        gate.admit(guest, {}, 0)
        gate.leave(guest, 0)
    assert not gate._counts
    assert not gate._users
