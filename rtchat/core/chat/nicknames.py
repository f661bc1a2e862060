"""What people may call themselves, and when two of them are called the same."""

from __future__ import annotations

import unicodedata

from rtchat.errors import NotAllowed

__all__ = ["clean_nick", "nick_key"]

# Not in a nick: controls, halves of characters, line and paragraph ends, and signs that are not
# seen but change how their neighbours are shown (a nick could be written from right to left).
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# These two join letters and emoji; there is no writing some languages without them.
_JOINERS = "\u200c\u200d"
_UNSEEN = frozenset({"Cf"})


def clean_nick(nick: str, max_chars: int) -> str:
    """Give a nick without spaces around it.

    Args:
        nick: As the client wrote it.
        max_chars: How long it may be.

    Raises:
        NotAllowed: Nobody can be called so.
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
    """Give what is the same for nicks that are one.

    Capitals, the width of letters, the number of spaces and what cannot be seen make no
    difference (NFKC and case folding).
    """
    text = unicodedata.normalize("NFKC", nick).casefold()
    text = unicodedata.normalize("NFKC", text)
    seen = "".join(
        character
        for character in text
        if unicodedata.category(character) not in _UNSEEN
        and not "\ufe00" <= character <= "\ufe0f"  # how an emoji is shown
    )
    return " ".join(seen.split())
