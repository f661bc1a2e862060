"""Identities, and what the name of a user may be."""

from __future__ import annotations

import dataclasses

import pytest

from rtchat.core.auth.identity import MAX_NAME_CHARACTERS, Identity, is_user_name


@pytest.mark.parametrize(
    "name",
    ["a", "ada", "Ada Lovelace", "ada@example.org", "auth0|1:2", "Ådä 世界", "a.b/c", "x" * 128],
)
def test_a_name_of_a_user(name: str) -> None:
    assert is_user_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a ", "a\u3000", "\ta", "a\nb", "a\0", "a\x7f", "a\x85b", "\ud800", "x" * 129],
)
def test_no_name_of_a_user(name: str) -> None:
    assert not is_user_name(name)


def test_the_length_counts_characters() -> None:
    assert is_user_name("世" * MAX_NAME_CHARACTERS)
    assert not is_user_name("世" * (MAX_NAME_CHARACTERS + 1))


def test_an_identity_is_anonymous_without_rights_unless_said_otherwise() -> None:
    identity = Identity()
    assert (identity.user, identity.nick, identity.groups) == ("", "", frozenset())
    assert (identity.read, identity.write, identity.admin) == ((), (), ())
    assert identity.expires_s is None


def test_an_identity_is_a_value() -> None:
    assert Identity("ada", frozenset({"staff"})) == Identity("ada", frozenset({"staff"}))
    assert len({Identity("ada"), Identity("ada"), Identity("grace")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Identity("ada").user = "grace"  # type: ignore[misc]
