"""The selector tokenizer, and how errors point at a position."""

from __future__ import annotations

import re
from typing import NamedTuple

from rtchat.core.selector.numbers import as_long, read_integer
from rtchat.errors import ProtocolError

__all__ = ["Position", "Token", "Tokens"]

_SHOWN_BEFORE = 48
_SHOWN_AFTER = 24
_SHOWN_TOKEN = 24


class Position(NamedTuple):
    """A position in a selector.

    Attributes:
        text: The selector.
        start: The index of the character, counted from 0.
    """

    text: str
    start: int

    def error(self, reason: str, kind: type[ProtocolError] = ProtocolError) -> ProtocolError:
        """Build an error that shows the position with as much context as fits on a line."""
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
    """Replace unprintable characters with blanks, so that the caret stays aligned."""
    return "".join(char if char.isprintable() else " " for char in text)


_PREFIX = re.compile(r"(?:convert_string_expressions:|hyphenated_props:)*")
_BLANKS = tuple(
    # What would be a comment that never ends must not be searched to the end again and again.
    re.compile(rf"(?:[ \t\r\n\f]{line}{block})*", re.DOTALL)
    for line in ("", r"|--[^\r\n]*[\r\n]")
    for block in ("", r"|/\*.*?\*/")
)
"""Blanks and comments: without comments, with those in ``/* */``, with those after ``--``, all."""
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
    """A token of a selector.

    Attributes:
        kind: A group name of the token pattern (``name``, ``int``, …), ``keyword``, or ``end``
            after the last token.
        value: The value: text without its quotes, keywords in upper case.
        position: Where it starts.
        shown: How errors show it.
    """

    kind: str
    value: str
    position: Position
    shown: str

    def is_(self, *values: str) -> bool:
        """Return whether the token is one of these keywords and signs."""
        return self.value in values and self.kind in ("keyword", "sign")

    def integer(self) -> int | float:
        """Return the value of an ``int`` token, which is decimal or octal.

        Raises:
            ProtocolError: An octal number has an 8 or a 9.
        """
        digits = self.value.rstrip("lL")
        if not digits.startswith("0"):
            return read_integer(digits)
        if "8" in digits or "9" in digits:
            raise self.position.error("a number that begins with 0 is octal, without 8 and 9")
        return as_long(int(digits, 8))

    def unexpected(self, wanted: str) -> ProtocolError:
        """Build the error for this token, found where something else was expected."""
        if self.kind == "end":
            return self.position.error(f"{wanted} was expected, but the selector ends")
        return self.position.error(f"{wanted} was expected, not {_printable(self.shown)}")


class Tokens:
    """Splits a selector into tokens."""

    __slots__ = ("_last_break", "_last_close", "_next", "_text")

    def __init__(self, text: str) -> None:
        """Start before the first token."""
        self._text = text
        prefix = _PREFIX.match(text)
        self._next = prefix.end() if prefix else 0
        self._last_break = max(text.rfind("\n"), text.rfind("\r"))
        self._last_close = text.rfind("*/")

    def next(self) -> Token:
        """Return the next token; after the last one, a token of kind ``end``.

        Raises:
            ProtocolError: The text does not continue with a token.
        """
        text, start = self._text, self._next
        blank = _BLANKS[2 * (start <= self._last_break) + (start <= self._last_close)]
        found_blank = blank.match(text, start)
        start = found_blank.end() if found_blank else start
        found = _TOKEN.match(text, start)
        if found is None:
            if start == len(text):
                return Token("end", "", Position(text, start), "the end")
            raise Position(text, start).error(_no_token_reason(text[start]))
        self._next = found.end()
        kind, image = str(found.lastgroup), found.group()
        shown = image if len(image) <= _SHOWN_TOKEN else f"{image[:_SHOWN_TOKEN]}…"
        if kind == "sign":
            shown = f"'{image}'"
        if kind == "name" and image.upper() in _KEYWORDS:
            kind, image = "keyword", image.upper()
        elif kind == "text":
            image = image[1:-1].replace("''", "'")
        elif kind == "quoted":
            image = image[1:-1].replace('""', '"')
        return Token(kind, image, Position(text, start), shown)


def _no_token_reason(char: str) -> str:
    if char == "'":
        return "this text is never closed; a single quote inside it is written twice"
    if char == '"':
        return "this name is empty or never closed; text stands in single quotes"
    return f"the character {char!r} means nothing in a selector"
