"""Identities: who a session is, as a password, a token or a hook says."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

__all__ = ["ANONYMOUS", "MAX_USER_CHARS", "Identity", "is_user_name"]

MAX_USER_CHARS = 128
"""The longest name of a user, in characters."""

_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session is.

    Attributes:
        user: The user's name; "" for an anonymous client.
        groups: The groups that a token or hook puts it in, besides those of ``[groups]``.
        nick: The nick that a token or hook gives, "" for none.
        read: Destinations and patterns that a token or hook lets it read, besides ``[rights]``.
        write: The same for sending.
        admin: The same for administration.
        expires_s: The time at which this ends, in seconds since 1970; None for never.
    """

    user: str = ""
    groups: frozenset[str] = frozenset()
    nick: str = ""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()
    expires_s: float | None = None


ANONYMOUS = Identity()


def is_user_name(text: str) -> bool:
    """Return whether a text can be the name of a user, wherever it comes from.

    It has 1 to :data:`MAX_USER_CHARS` characters, no white space at either end, and no control
    characters, line ends or surrogates.
    """
    if not 0 < len(text) <= MAX_USER_CHARS or text != text.strip():
        return False
    return not any(unicodedata.category(character) in _REFUSED for character in text)
