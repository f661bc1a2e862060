"""Identities, and what a user's name may be."""

from __future__ import annotations

import pytest

from rtchat.core.auth.identity import Identity, is_user_name


def test_an_identity_is_anonymous_and_has_nothing_unless_it_is_said() -> None:
    assert Identity() == Identity("", frozenset(), "", (), (), (), None)


def test_equal_identities_are_one_key() -> None:
    assert {Identity("a", frozenset({"x"})), Identity("a", frozenset({"x"}))} == {
        Identity("a", frozenset({"x"}))
    }


@pytest.mark.parametrize(
    "name",
    ["a", "alice", "alice@example.org", "https://id.example/users/7", "a b", "é" * 128, "李", "0"],
)
def test_a_name_may_be_any_plain_text(name: str) -> None:
    assert is_user_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 129,
        " a",
        "a ",
        "a\u00a0",
        "\u2003a",
        "a\nb",
        "a\x00",
        "a\x7fb",
        "a\x85b",
        "\ud800",
        "\t",
    ],
)
def test_what_could_forge_a_line_or_looks_like_another_name_is_none(name: str) -> None:
    assert not is_user_name(name)
