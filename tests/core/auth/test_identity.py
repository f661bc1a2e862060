"""What may be the name of a user."""

from __future__ import annotations

import pytest

from rtchat.core.auth.identity import MAX_USER_CHARS, Identity, is_user_name


@pytest.mark.parametrize("name", ["a", "anna", "Anna Schmidt", "a:b", "日本", "x" * MAX_USER_CHARS])
def test_names(name: str) -> None:
    assert is_user_name(name)


@pytest.mark.parametrize(
    "name", ["", " ", " anna", "anna\n", "a\x00b", "a\x85b", "\ud800", "x" * (MAX_USER_CHARS + 1)]
)
def test_what_is_none(name: str) -> None:
    assert not is_user_name(name)


def test_by_default_one_is_anonymous() -> None:
    assert Identity() == Identity("", frozenset(), "", (), (), (), None)
