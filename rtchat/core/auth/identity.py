"""Who a session is: the user, the groups, and what a token or hook grants."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

__all__ = ["MAX_NAME_CHARACTERS", "Identity", "is_user_name"]

MAX_NAME_CHARACTERS = 128
"""How long the name of a user may be."""

_UNUSABLE = frozenset({"Cc", "Cs"})  # control characters; halves of surrogate pairs


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session is.

    Attributes:
        user: The user's name; "" is anonymous.
        groups: The names of the user's groups.
        nick: The nick that a token or hook gives; "" is none.
        read: Destinations that a token or hook lets the session read, besides ``[rights]``.
        write: The same for writing.
        admin: The same for administration.
        expires_s: When it ends, in seconds since 1970; None is never.
    """

    user: str = ""
    groups: frozenset[str] = frozenset()
    nick: str = ""
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()
    expires_s: float | None = None


def is_user_name(text: str) -> bool:
    """Return whether a text may be the name of a user.

    It has 1 to 128 characters, none of them a control character, and no white space at either
    end. Files, tokens, hooks and checkers are held to the same rule.
    """
    return (
        0 < len(text) <= MAX_NAME_CHARACTERS
        and text.strip() == text
        and not any(unicodedata.category(one) in _UNUSABLE for one in text)
    )
