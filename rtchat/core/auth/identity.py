"""Who a session is, and what may be the name of a user."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

__all__ = ["MAX_USER_CHARS", "Identity", "is_user_name"]

MAX_USER_CHARS = 128
"""The largest length of a user's name, in characters."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session is.

    Attributes:
        user: The user's name; "" means anonymous.
        groups: The names of the groups that a token or hook gives.
        nick: The nick that a token or hook gives, or "".
        read: Destinations that a token or hook grants, besides those of ``[rights]``.
        write: The same to send to.
        admin: The same to administer.
        expires_s: When the session ends, in seconds since 1970, or None.
    """

    user: str = ""
    groups: frozenset[str] = frozenset()
    nick: str = ""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()
    expires_s: float | None = None


def is_user_name(text: str) -> bool:
    """Return whether a text may be the name of a user, whatever source it comes from.

    A name has 1 to 128 characters, no control characters and no white space at either end.
    """
    return (
        0 < len(text) <= MAX_USER_CHARS
        and text == text.strip()
        and not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    )
