"""What can be the name of a user."""

from __future__ import annotations

import pytest

from rtchat.core.auth.identity import ANONYMOUS, MAX_USER_CHARS, Identity, is_user_name


@pytest.mark.parametrize("name", ["a", "ada@example.org", "auth0|12", "Ada L.", "世界", "a:b/c,#*"])
def test_names_from_anywhere(name: str) -> None:
    assert is_user_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a\nb", "a\0", "a\x7f", "a\u2028b", "\ud800"]
)
def test_what_is_no_name(name: str) -> None:
    assert not is_user_name(name)


def test_the_length_of_a_name() -> None:
    assert is_user_name("x" * MAX_USER_CHARS)
    assert not is_user_name("x" * (MAX_USER_CHARS + 1))


def test_identities_are_values() -> None:
    assert Identity("ada", frozenset({"staff"})) == Identity("ada", frozenset({"staff"}))
    assert ANONYMOUS.user == ""
    assert ANONYMOUS.expires_s is None
