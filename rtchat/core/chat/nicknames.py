"""Nicknames: validation and comparison, similar to the Nickname profile of RFC 8266."""

from __future__ import annotations

import unicodedata

from rtchat.errors import NotAllowed

__all__ = ["clean_nick", "nick_key"]

# Not allowed in a nick: control characters, surrogates, line and paragraph separators, and
# invisible format characters, which change how their neighbours are displayed (such as the
# direction of writing).
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# The two joiners are allowed: emoji and the writing systems of some languages need them.
_JOINERS = "\u200c\u200d"
_UNSEEN = frozenset({"Cf"})


def clean_nick(nick: str, max_chars: int) -> str:
    """Validate a nick; return it without leading and trailing whitespace.

    Args:
        nick: The nick as the client sent it.
        max_chars: The longest allowed length in characters.

    Raises:
        NotAllowed: The nick is too long, has a character that is not allowed, or nothing visible.
    """
    clean = nick.strip()
    if len(clean) > max_chars:
        raise NotAllowed(
            f"nick longer than {max_chars} characters",
            "The limit is nick.max_characters of the server.",
        )
    for character in clean:
        if unicodedata.category(character) in _REFUSED and character not in _JOINERS:
            raise NotAllowed(
                "nick with a character that cannot be seen",
                f"U+{ord(character):04X} cannot be part of a nick.",
            )
    if not nick_key(clean):
        raise NotAllowed("nick without a letter", "A nick needs something that can be seen.")
    return clean


def nick_key(nick: str) -> str:
    """Return the comparison key of a nick: nicks with equal keys are the same.

    Case, width of letters, the number of spaces and invisible characters do not matter (NFKC and
    case folding).
    """
    # They go first: between a letter and its accent they would keep the two from becoming one.
    seen = "".join(
        character
        for character in nick
        if unicodedata.category(character) not in _UNSEEN
        and not "\ufe00" <= character <= "\ufe0f"  # variation selectors, as after an emoji
    )
    text = unicodedata.normalize("NFKC", seen).casefold()
    return " ".join(unicodedata.normalize("NFKC", text).split())
