"""Nicknames: validation and comparison, similar to the Nickname profile of RFC 8266.

Two nicks are the same if they differ in nothing that people see (:func:`nick_key`). One that looks
the same as another (:func:`nick_look`, with the confusable characters of UTS 39) is in use, too.
"""

from __future__ import annotations

import re
import unicodedata

from rtchat.core.chat.lookalikes import PROTOTYPES
from rtchat.core.chat.scripts import mixed_word
from rtchat.errors import NotAllowed

__all__ = ["clean_nick", "nick_key", "nick_look"]

# Not allowed in a nick: control characters, surrogates, line and paragraph separators, invisible
# format characters, which change how their neighbours are displayed (such as the direction of
# writing), and private characters, of which nothing is known.
_REFUSED = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_UNASSIGNED = "Cn"
# Browsers know emoji that are newer than this Python.
_FIRST_EMOJI, _LAST_EMOJI = "\U0001f000", "\U0001faff"

# Unicode's property Default_Ignorable_Code_Point, which is not in unicodedata, and signs whose
# picture is empty: the Braille pattern blank, fillers of Khitan and Egyptian, the null notehead.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\u2800\U00013441\U00013442\U00016fe4\U0001d159]"
)
# Allowed in a nick, but no difference: emoji and the writing systems of some languages need the
# two joiners and the variation selectors.
_UNSEEN_BUT_ALLOWED = re.compile(
    "[\u200c\u200d\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]"
)
# Characters that :func:`nick_key` drops as well, should they get there: a nick has none.
_DROPPED = frozenset({"Cf", "Cs"})
# The dot of "i" and "j" is drawn once, also if another one is added.
_SECOND_DOT = re.compile("(?<=[ij])\u0307")


def clean_nick(nick: str, max_chars: int) -> str:
    """Validate a nick; return it without leading and trailing whitespace.

    Whatever a page would drop or not show is refused, so what is displayed is what was compared.

    Args:
        nick: The nick as the client sent it.
        max_chars: The longest allowed length in characters.

    Raises:
        NotAllowed: The nick is too long, has a character that is not allowed, mixes writing
            systems within a word, or has nothing visible.
    """
    clean = nick.strip()
    if len(clean) > max_chars:
        raise NotAllowed(
            f"nick longer than {max_chars} characters",
            "The limit is nick.max_characters of the server.",
        )
    for character in "" if _is_plain(clean) else clean:
        if not _is_allowed(character):
            raise NotAllowed(
                "nick with a character that cannot be seen",
                f"U+{ord(character):04X} cannot be part of a nick.",
            )
    if not nick_key(clean):
        raise NotAllowed("nick without a letter", "A nick needs something that can be seen.")
    if mixed_word(clean):
        raise NotAllowed(
            "nick with letters of different scripts",
            "All letters of a word have to be of one writing system: a Cyrillic and a Latin letter "
            "may look the same.",
        )
    return clean


def nick_key(nick: str) -> str:
    """Return the comparison key of a nick: nicks with equal keys are the same.

    Case, width of letters, the number of spaces and invisible characters do not matter (NFKC and
    case folding).
    """
    # They go first: between a letter and its accent they would keep the two from becoming one.
    if _is_plain(nick):
        return " ".join(nick.casefold().split())
    seen = "".join(map(_as_seen, nick))
    text = unicodedata.normalize("NFKC", seen).casefold()
    return " ".join(unicodedata.normalize("NFKC", text).split())


def nick_look(nick: str) -> str:
    """Return the same text for nicks that look the same, whatever their letters are.

    It is the skeleton of UTS 39 with compatibility forms and case folded, so that ``Bill`` and
    ``BiII``, ``modem`` and ``modern``, a Latin and a Cyrillic ``coca`` have one look.
    """
    seen = nick if _is_plain(nick) else "".join(map(_as_seen, nick))
    letters = unicodedata.normalize("NFKD", seen).translate(PROTOTYPES)
    return nick_key(_SECOND_DOT.sub("", unicodedata.normalize("NFD", letters)))


def _is_plain(nick: str) -> bool:
    """Return whether a nick is of ASCII alone, and so has nothing to look for."""
    return nick.isascii() and nick.isprintable()


def _is_allowed(character: str) -> bool:
    category = unicodedata.category(character)
    if category in _REFUSED or _UNSEEN.match(character):
        return _UNSEEN_BUT_ALLOWED.match(character) is not None
    return category != _UNASSIGNED or _FIRST_EMOJI <= character <= _LAST_EMOJI


def _as_seen(character: str) -> str:
    """Return what a page makes of a character of a nick: itself, a space, or nothing."""
    if character.isascii():
        return character if character.isprintable() else " "
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category in _DROPPED or _UNSEEN.match(character) else character
