"""Who a session is, and what may be the name of a user."""

from __future__ import annotations

import pytest

from rtchat.core.auth.identity import Identity, is_user_name


@pytest.mark.parametrize(
    "name",
    ["a", "alice", "Ada Lovelace", "bob@example.com", "urn:x:7", "*", "@staff", "é", "x" * 128],
)
def test_names_of_users(name: str) -> None:
    assert is_user_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        "a\u3000",
        "\xa0a",
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "a\x85b",
        "\ud800",
        "x" * 129,
    ],
)
def test_what_is_no_name_of_a_user(name: str) -> None:
    assert not is_user_name(name)


def test_a_session_is_anonymous_if_nothing_is_said() -> None:
    assert Identity() == Identity("", frozenset(), "", (), (), (), None)
