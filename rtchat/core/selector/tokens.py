"""The words of a selector, where each of them stands, and how an error shows the place."""

from __future__ import annotations

import re
from typing import NamedTuple

from rtchat.core.selector.numbers import as_long, read_integer
from rtchat.errors import ProtocolError

__all__ = ["Position", "Token", "Tokens"]

_SHOWN_BEFORE = 48
_SHOWN_AFTER = 24
_SHOWN_WORD = 24


class Position(NamedTuple):
    """A place in a selector, where something may be wrong.

    Attributes:
        text: The selector.
        start: The place, counted from 0.
    """

    text: str
    start: int

    def fault(self, reason: str, kind: type[ProtocolError] = ProtocolError) -> ProtocolError:
        """Make an error that shows the place, with as much around it as fits on a line."""
        text, start = self
        first = max(0, start - _SHOWN_BEFORE)
        end = min(len(text), start + _SHOWN_AFTER)
        before = "…" if first else ""
        after = "…" if end < len(text) else ""
        column = len(before) + start - first
        return kind(
            f"selector, character {start + 1}: {reason}",
            f"{before}{_printable(text[first:end])}{after}\n{' ' * column}^\n"
            f"{reason[0].upper()}{reason[1:]}.",
        )


def _printable(text: str) -> str:
    """Put a blank for each character that would move what follows it."""
    return "".join(char if char.isprintable() else " " for char in text)


_PREFIX = re.compile(r"(?:convert_string_expressions:|hyphenated_props:)*")
_BLANK = re.compile(r"(?:[ \t\r\n\f]|--[^\r\n]*[\r\n]|/\*.*?\*/)*", re.DOTALL)
_TOKEN = re.compile(
    r"""
      (?P<name>   [^\W\d] [\w$]* (?: [-.:] [\w$]+ )*
               |  \$      [\w$]* (?: [-.:] [\w$]+ )* )
    | (?P<float>  (?: [0-9]+ \. [0-9]* | \. [0-9]+ ) (?: [eE] [+-]? [0-9]+ )?
               |  [0-9]+ [eE] [+-]? [0-9]+ )
    | (?P<hex>    0 [xX] [0-9a-fA-F]+ )
    | (?P<int>    [0-9]+ [lL]? )
    | (?P<text>   ' (?: [^'] | '' )* ' (?!') )
    | (?P<quoted> " (?: [^"] | "" )+ " (?!") )
    | (?P<sign>   <> | != | <= | >= | [-+*/%=<>(),] )
    """,
    re.VERBOSE,
)
_KEYWORDS = frozenset(
    {"AND", "BETWEEN", "ESCAPE", "FALSE", "IN", "IS", "LIKE", "NOT", "NULL", "OR", "TRUE"}
)


class Token(NamedTuple):
    """One word of a selector.

    Attributes:
        kind: ``name``, ``int``, …; ``keyword``; ``end`` behind the last one.
        value: What it says: text without its quotes, keywords in upper case.
        place: Where it starts.
        shown: How it is called in an error.
    """

    kind: str
    value: str
    place: Position
    shown: str

    def is_(self, *values: str) -> bool:
        """Whether it is one of these keywords and signs."""
        return self.value in values and self.kind in ("keyword", "sign")

    def integer(self) -> int | float:
        """Read a decimal or octal number."""
        digits = self.value.rstrip("lL")
        if not digits.startswith("0"):
            return read_integer(digits)
        if "8" in digits or "9" in digits:
            raise self.place.fault("a number that begins with 0 is octal, without 8 and 9")
        return as_long(int(digits, 8))

    def unexpected(self, wanted: str) -> ProtocolError:
        """Make the error of a word that stands where something else should."""
        if self.kind == "end":
            return self.place.fault(f"{wanted} was expected, but the selector ends")
        return self.place.fault(f"{wanted} was expected, not {_printable(self.shown)}")


class Tokens:
    """The words of a selector, one after the other."""

    __slots__ = ("_next", "_text")

    def __init__(self, text: str) -> None:
        """Begin in front of the first one."""
        self._text = text
        prefix = _PREFIX.match(text)
        self._next = prefix.end() if prefix else 0

    def next(self) -> Token:
        """Give the next word; behind the last one, a word of the kind ``end``."""
        text = self._text
        blank = _BLANK.match(text, self._next)
        start = blank.end() if blank else self._next
        found = _TOKEN.match(text, start)
        if found is None:
            if start == len(text):
                return Token("end", "", Position(text, start), "the end")
            raise Position(text, start).fault(_why_no_word(text[start]))
        self._next = found.end()
        kind, image = str(found.lastgroup), found.group()
        shown = image if len(image) <= _SHOWN_WORD else f"{image[:_SHOWN_WORD]}…"
        if kind == "sign":
            shown = f"'{image}'"
        if kind == "name" and image.upper() in _KEYWORDS:
            kind, image = "keyword", image.upper()
        elif kind == "text":
            image = image[1:-1].replace("''", "'")
        elif kind == "quoted":
            image = image[1:-1].replace('""', '"')
        return Token(kind, image, Position(text, start), shown)


def _why_no_word(char: str) -> str:
    if char == "'":
        return "this text is never closed; a single quote inside it is written twice"
    if char == '"':
        return "this name is empty or never closed; text stands in single quotes"
    return f"the character {char!r} means nothing in a selector"
