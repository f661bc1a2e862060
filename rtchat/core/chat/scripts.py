"""Writing systems: which letters may stand beside each other in a word.

This is the level "Highly Restrictive" of UTS 39, applied to each word: the letters are of one
script, or of Latin and those of Japanese, Chinese or Korean. A Latin word with one Cyrillic letter,
as in a name that imitates another, is none of these.
"""

from __future__ import annotations

import unicodedata

__all__ = ["mixed_word"]

_MAY_MIX = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)


def mixed_word(text: str) -> str:
    """Return the first word whose letters are of scripts that do not belong together, or ""."""
    if text.isascii():
        return ""
    for word in unicodedata.normalize("NFKC", text).split():
        scripts = {script for script in map(_script_of, word) if script}
        if len(scripts) > 1 and not any(scripts <= allowed for allowed in _MAY_MIX):
            return word
    return ""


def _script_of(character: str) -> str:
    """Return the script of a letter, or "" for a character that occurs in many.

    Unicode's name of a letter begins with its script; the property itself is not in unicodedata.
    """
    if unicodedata.category(character)[0] != "L":
        return ""
    first = unicodedata.name(character, "").partition(" ")[0]
    return _SCRIPTS.get(first, first)


# First words of names that are no script: those of letters that are used in many scripts ("") and
# of a few signs.
_SCRIPTS = {
    "IDEOGRAPHIC": "CJK",
    "KATAKANA-HIRAGANA": "",
    "MASCULINE": "LATIN",
    "FEMININE": "LATIN",
    "MODIFIER": "",
}
