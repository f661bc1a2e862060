"""What a subscriber wants to see: SQL-92 message selectors, as JMS 1.1 and ActiveMQ define them.

A selector is read once, when a client subscribes, and becomes a tree of closures. It decides
over a message's headers only, and selects it when the condition is TRUE: neither FALSE nor
unknown will do::

    color IN ('red', 'blue') AND weight - 5 > 2500 AND (note IS NULL OR note LIKE 'a%')

    loosest   OR
              AND
              NOT
              = <> != < <= > >=   BETWEEN   IN   LIKE   IS NULL    (they do not chain)
              + -
              * / %
    tightest  + - before a value

**Words.** Keywords in any case, header names exactly as sent. A name is a Java identifier and
may have ``-``, ``.`` and ``:`` between its letters and digits, as STOMP's own headers do:
``x-key`` is one name, ``x - key`` a subtraction. Any other name goes into double quotes.
Numbers are written as in Java (``7``, ``7L``, ``0x1F``, ``017`` is octal, ``7.``, ``.5``,
``6.2E-3``), text in single quotes, a single quote in it twice. ``--`` to the end of the line
and ``/* */`` are comments. An empty selector selects everything.

**Types.** STOMP's headers are all text, so a header is what it is compared with. Beside a
number or in arithmetic it is read as a decimal number; beside TRUE, FALSE or a condition, or
alone as a condition, ``true`` and ``false`` (in any case) count; two headers are compared as
text, character by character. What cannot be read so is unknown, like a header that is missing.

**Arithmetic.** Integers are Java's longs, and go on as doubles where they would overflow.
Division and remainder give doubles; division by zero and what is not a number are unknown.

Where the two sources differ, and where we differ from both:

=============================  ==============================================================
``7 / 2``                      3.5 as in ActiveMQ; Java's promotion, which JMS asks for, says 3
``<`` and BETWEEN on text      header with header as text; a literal in quotes is an error, as
                               in ActiveMQ. JMS has ``=`` and ``<>`` for text only
``NOT a = 'b'``                ``NOT (a = 'b')`` as in SQL and JMS; ActiveMQ reads
                               ``(NOT a) = 'b'``
``age > 18``, header text      converted, always. ActiveMQ does it behind the prefix
                               ``convert_string_expressions:``, which is accepted and idle, like
                               Artemis's ``hyphenated_props:``
``a-b``                        one name, as in Artemis behind that prefix
``'x' <> 5``, a header         unknown; ActiveMQ says TRUE
``!=``, ``"quoted names"``     ours
overflow                       continues as a double; ActiveMQ wraps around
=============================  ==============================================================

JMS's own names stand for STOMP's headers (in double quotes they are names like any other):
JMSMessageID is ``message-id``, JMSDestination ``destination``, JMSReplyTo ``reply-to``,
JMSCorrelationID ``correlation-id``, JMSType ``type``; JMSPriority, a number, is ``priority``
or 4, JMSTimestamp ``timestamp``, JMSExpiration ``expires`` or 0; JMSRedelivered, a condition,
is ``redelivered`` or FALSE; JMSDeliveryMode is ``'PERSISTENT'`` when ``persistent`` is true,
else ``'NON_PERSISTENT'``. JMSXGroupID and the rest are headers of that name.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["Selector"]

_Headers = Mapping[str, str]
_ReadTruth = Callable[[_Headers], "bool | None"]
_ReadNumber = Callable[[_Headers], "int | float | None"]
_ReadText = Callable[[_Headers], "str | None"]
_Operation = Callable[["int | float", "int | float"], "int | float | None"]
_Any = TypeVar("_Any", str, float, bool)


class Selector:
    """A condition over a message's headers, ready to be asked many times.

    Attributes:
        text: The selector as the client wrote it.
    """

    # A STOMP header line has 8 KiB at most, so that no client meets this one unless the
    # server's owner raised max_header_bytes.
    MAX_CHARACTERS = 8 * 1024
    # Parentheses, NOTs and signs open at once. Each takes three Python calls at most when a
    # message is looked at, and Python allows about 1000 in all. People stay below ten.
    MAX_DEPTH = 64
    # Values and operators. Each costs a few tenths of a microsecond a message, and all
    # subscribers wait meanwhile.
    MAX_NODES = 1024

    __slots__ = ("_test", "text")

    def __init__(self, text: str, test: Callable[[Mapping[str, str]], bool | None]) -> None:
        """Use :meth:`parse`; this takes the text and its meaning as they are."""
        self.text = text
        self._test = test

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read a selector.

        Raises:
            ProtocolError: For a selector that cannot be understood. Its detail shows the
                selector with a caret under the place, and what is wrong there.
            LimitExceeded: For one that is too long, too deep or has too many parts, likewise.
        """
        if len(text) > cls.MAX_CHARACTERS:
            raise _fault(
                text,
                cls.MAX_CHARACTERS,
                f"a selector may have {cls.MAX_CHARACTERS} characters at most",
                LimitExceeded,
            )
        return cls(text, _Parser(text, cls.MAX_DEPTH, cls.MAX_NODES).parse())

    def matches(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a message with these headers is selected.

        Args:
            headers: The headers that a subscriber would see, those of the server included.
        """
        return self._test(headers) is True

    def __repr__(self) -> str:
        return f"<Selector {self.text!r}>"


# ---------------------------------------------------------------- faults

_SHOWN_BEFORE = 48
_SHOWN_AFTER = 24
_SHOWN_WORD = 24


def _fault(
    text: str, place: int, reason: str, kind: type[ProtocolError] = ProtocolError
) -> ProtocolError:
    """Make an error that shows the place, with as much around it as fits on a line."""
    start = max(0, place - _SHOWN_BEFORE)
    end = min(len(text), place + _SHOWN_AFTER)
    before = "…" if start else ""
    after = "…" if end < len(text) else ""
    column = len(before) + place - start
    return kind(
        f"selector, character {place + 1}: {reason}",
        f"{before}{_printable(text[start:end])}{after}\n{' ' * column}^\n"
        f"{reason[0].upper()}{reason[1:]}.",
    )


def _printable(text: str) -> str:
    """Put a blank for each character that would move what follows it."""
    return "".join(char if char.isprintable() else " " for char in text)


# ---------------------------------------------------------------- words

_PREFIX = re.compile(r"(?:convert_string_expressions:|hyphenated_props:)*")
_BLANK = re.compile(r"(?:[ \t\r\n\f]|--[^\r\n]*[\r\n]|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(
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


class _Word(NamedTuple):
    """One word of a selector.

    Attributes:
        kind: ``name``, ``int``, …; ``keyword``; ``end`` behind the last one.
        value: What it says: text without its quotes, keywords in upper case.
        place: Where it starts, counted from 0.
        shown: How it is called in an error.
    """

    kind: str
    value: str
    place: int
    shown: str

    def is_(self, *values: str) -> bool:
        """Whether it is one of these keywords and signs."""
        return self.value in values and self.kind in ("keyword", "sign")


class _Words:
    """The words of a selector, one after the other."""

    __slots__ = ("_place", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        prefix = _PREFIX.match(text)
        self._place = prefix.end() if prefix else 0

    def next(self) -> _Word:
        """Give the next word; behind the last one, a word of the kind ``end``."""
        blank = _BLANK.match(self.text, self._place)
        place = blank.end() if blank else self._place
        found = _WORD.match(self.text, place)
        if found is None:
            if place == len(self.text):
                return _Word("end", "", place, "the end")
            raise _fault(self.text, place, _why_no_word(self.text[place]))
        self._place = found.end()
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
        return _Word(kind, image, place, _printable(shown))


def _why_no_word(char: str) -> str:
    if char == "'":
        return "this text is never closed; a single quote inside it is written twice"
    if char == '"':
        return "this name is empty or never closed; text stands in single quotes"
    return f"the character {char!r} means nothing in a selector"


# ---------------------------------------------------------------- numbers

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
# int() and float() also read 1_000, ١٢, nan and blanks. Those are text.
_LOOKS_LIKE_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+(?P<rest>\.[0-9]*)?|(?P<point>\.[0-9]+))(?P<exponent>[eE][+-]?[0-9]+)?"
)
_SHORT = 18  # digits that always fit a long


def _read_number(text: str) -> int | float | None:
    """Read a decimal number, or give None for text that is none."""
    if len(text) <= _SHORT and text.isascii() and text.isdigit():
        return int(text)
    found = _LOOKS_LIKE_NUMBER.fullmatch(text)
    if found is None:
        return None
    if found.lastgroup is None:
        return _read_integer(text)
    return float(text)


def _read_integer(digits: str) -> int | float:
    # int() takes quadratic time for long digit strings, and refuses the longest.
    if len(digits) <= 2 * _SHORT:
        return _as_long(int(digits))
    return float(digits)


def _as_long(value: int) -> int | float:
    """Leave what fits a Java long; make a double of the rest."""
    if _LONG_MIN <= value <= _LONG_MAX:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _result(value: int | float) -> int | float | None:
    if isinstance(value, int):
        return _as_long(value)
    return None if value != value else value


def _plus(left: int | float, right: int | float) -> int | float | None:
    return _result(left + right)


def _minus(left: int | float, right: int | float) -> int | float | None:
    return _result(left - right)


def _times(left: int | float, right: int | float) -> int | float | None:
    return _result(left * right)


def _divided_by(left: int | float, right: int | float) -> int | float | None:
    return _result(left / right) if right else None


def _remainder(left: int | float, right: int | float) -> int | float | None:
    try:
        return _result(math.fmod(left, right))
    except ValueError:  # of infinity, or by zero
        return None


def _negative(value: int | float) -> int | float:
    # 9223372036854775808 fits no long and is a double by now; with its sign it does.
    if value == -_LONG_MIN:
        return _LONG_MIN
    return _as_long(-value) if isinstance(value, int) else -value


_TRUTHS = {"true": True, "false": False}


def _read_truth(text: str) -> bool | None:
    return _TRUTHS.get(text.lower())


# ---------------------------------------------------------------- values


@dataclass(slots=True)
class _Text:
    """A header whose type is still open, or text.

    Attributes:
        place: Where it starts.
        read: Gives its value for a message.
        literal: The text itself when it stands in the selector.
        header: The header's name when it is nothing but a header.
    """

    place: int
    read: _ReadText
    literal: str | None = None
    header: str | None = None


@dataclass(slots=True)
class _Number:
    """A number; ``literal`` when it is the same for every message."""

    place: int
    read: _ReadNumber
    literal: int | float | None = None
    text: _ReadText | None = None  # of a JMS name: the header as it is
    chain: _Chain | None = None


@dataclass(slots=True)
class _Truth:
    """A condition."""

    place: int
    read: _ReadTruth
    text: _ReadText | None = None  # of a JMS name: the header as it is
    keyword: str = ""
    parts: list[_ReadTruth] = field(default_factory=list)  # what AND or OR joins


_Value = _Text | _Number | _Truth


def _constant(place: int, value: int | float) -> _Number:
    return _Number(place, lambda headers: value, literal=value)


def _header(name: str, default: str | None = None) -> _ReadText:
    if default is None:
        return lambda headers: headers.get(name)
    return lambda headers: headers.get(name, default)


def _number_in(read: _ReadText) -> _ReadNumber:
    def number(headers: _Headers) -> int | float | None:
        text = read(headers)
        return None if text is None else _read_number(text)

    return number


def _truth_in(read: _ReadText) -> _ReadTruth:
    def truth(headers: _Headers) -> bool | None:
        text = read(headers)
        return None if text is None else _read_truth(text)

    return truth


def _delivery_mode(headers: _Headers) -> str:
    return "PERSISTENT" if _read_truth(headers.get("persistent", "")) else "NON_PERSISTENT"


_JMS_HEADERS = {
    "JMSCorrelationID": "correlation-id",
    "JMSDestination": "destination",
    "JMSMessageID": "message-id",
    "JMSReplyTo": "reply-to",
    "JMSType": "type",
}
_JMS_NUMBERS = {
    "JMSExpiration": _header("expires", "0"),
    "JMSPriority": _header("priority", "4"),
    "JMSTimestamp": _header("timestamp"),
}
_JMS_REDELIVERED = _header("redelivered", "false")


def _named(name: str, place: int) -> _Value:
    """Give the value that a name stands for."""
    if name in _JMS_NUMBERS:
        text = _JMS_NUMBERS[name]
        return _Number(place, _number_in(text), text=text)
    if name == "JMSRedelivered":
        return _Truth(place, _truth_in(_JMS_REDELIVERED), text=_JMS_REDELIVERED)
    if name == "JMSDeliveryMode":
        return _Text(place, _delivery_mode)
    header = _JMS_HEADERS.get(name, name)
    return _Text(place, _header(header), header=header)


# ---------------------------------------------------------------- what operators do
#
# "SQL treats a NULL value as unknown. Comparison or arithmetic with an unknown value always
# yields an unknown value." Unknown is None here.


def _any_of(parts: list[_ReadTruth]) -> _ReadTruth:
    def any_of(headers: _Headers) -> bool | None:
        answer: bool | None = False
        for part in parts:
            truth = part(headers)
            if truth:
                return True
            if truth is None:
                answer = None
        return answer

    return any_of


def _all_of(parts: list[_ReadTruth]) -> _ReadTruth:
    def all_of(headers: _Headers) -> bool | None:
        answer: bool | None = True
        for part in parts:
            truth = part(headers)
            if truth is None:
                answer = None
            elif not truth:
                return False
        return answer

    return all_of


def _not(part: _ReadTruth) -> _ReadTruth:
    def negation(headers: _Headers) -> bool | None:
        truth = part(headers)
        return None if truth is None else not truth

    return negation


def _negated(operand: _ReadNumber) -> _ReadNumber:
    def negated(headers: _Headers) -> int | float | None:
        value = operand(headers)
        return None if value is None else _negative(value)

    return negated


def _is_null(
    read: _ReadText | _ReadNumber | _ReadTruth, *, negated: bool
) -> Callable[[_Headers], bool]:
    if negated:
        return lambda headers: read(headers) is not None
    return lambda headers: read(headers) is None


class _Chain:
    """Operands and operators of one precedence, worked off from left to right.

    A loop, not a tree: its thousand operands would be a thousand calls deep.
    """

    __slots__ = ("_first", "_rest")

    def __init__(self, first: _ReadNumber) -> None:
        self._first = first
        self._rest: list[tuple[_Operation, _ReadNumber]] = []

    def append(self, operation: _Operation, operand: _ReadNumber) -> None:
        """Let one more operation follow."""
        self._rest.append((operation, operand))

    def read(self, headers: _Headers) -> int | float | None:
        """Give the result for a message."""
        total = self._first(headers)
        for operation, operand in self._rest:
            if total is None:
                return None
            value = operand(headers)
            if value is None:
                return None
            total = operation(total, value)
        return total


def _compare(
    compare: Callable[[_Any, _Any], bool],
    left: Callable[[_Headers], _Any | None],
    right: Callable[[_Headers], _Any | None],
) -> _ReadTruth:
    def compared(headers: _Headers) -> bool | None:
        one, other = left(headers), right(headers)
        return None if one is None or other is None else compare(one, other)

    return compared


# The commonest comparisons by far, without the calls in between: a header and a literal.


def _compare_header_with_text(
    compare: Callable[[str, str], bool], name: str, literal: str
) -> _ReadTruth:
    def compared(headers: _Headers) -> bool | None:
        text = headers.get(name)
        return None if text is None else compare(text, literal)

    return compared


def _compare_header_with_number(
    compare: Callable[[float, float], bool], name: str, literal: int | float
) -> _ReadTruth:
    def compared(headers: _Headers) -> bool | None:
        text = headers.get(name)
        if text is None:
            return None
        number = _read_number(text)
        return None if number is None else compare(number, literal)

    return compared


def _found_in(read: _ReadText, texts: frozenset[str], *, negated: bool) -> _ReadTruth:
    def found(headers: _Headers) -> bool | None:
        text = read(headers)
        return None if text is None else (text in texts) is not negated

    return found


def _like(read: _ReadText, pattern: _Pattern, *, negated: bool) -> _ReadTruth:
    matches = pattern.matches

    def like(headers: _Headers) -> bool | None:
        text = read(headers)
        return None if text is None else matches(text) is not negated

    return like


# ---------------------------------------------------------------- LIKE


class _Pattern:
    """A LIKE pattern: ``%`` is any number of characters, ``_`` is one.

    It is cut at each ``%`` into pieces of fixed length. The first and the last piece have
    their places; each of the others takes the leftmost one that is free. So nothing is ever
    tried twice, as it would be by a regular expression, and a hostile pattern of 8 KiB takes
    milliseconds for a header of 8 KiB.
    """

    __slots__ = ("_first", "_last", "_letters", "_middle")

    def __init__(self, pattern: str, escape: str = "") -> None:
        pieces: list[list[str]] = [[]]
        chars = iter(range(len(pattern)))
        for at in chars:
            char = pattern[at]
            # Before anything else the escape character stands for itself, as in ActiveMQ.
            if escape and char == escape and pattern[at + 1 : at + 2] in ("_", "%", escape):
                pieces[-1].append(pattern[at + 1])
                next(chars)
            elif char == "%":
                pieces.append([])
            else:
                pieces[-1].append("" if char == "_" else char)
        self._first = _Piece(pieces[0])
        self._last = _Piece(pieces[-1]) if len(pieces) > 1 else None
        self._middle = [_Piece(piece) for piece in pieces[1:-1] if piece]
        self._letters = frozenset().union(
            *(piece.letters for piece in self._middle if piece.is_sparse)
        )

    def matches(self, text: str) -> bool:
        """Tell whether the whole text is like the pattern."""
        first, last = self._first, self._last
        start, end = first.length, len(text)
        if last is None:
            return start == end and first.stands_at(text, 0)
        end -= last.length
        if start > end or not first.stands_at(text, 0) or not last.stands_at(text, end):
            return False
        letters = _letter_places(text, self._letters) if self._letters else {}
        for piece in self._middle:
            start = piece.find(text, start, end, letters)
            if start < 0:
                return False
            start += piece.length
        return True


class _Piece:
    """A part of a LIKE pattern without ``%``.

    Attributes:
        length: How many characters it covers.
        letters: The characters that stand in it.
        is_sparse: Whether there is a ``_`` between two of them.
    """

    __slots__ = ("_chars", "_runs", "is_sparse", "length", "letters")

    def __init__(self, chars: list[str]) -> None:
        """Take the characters; "" is for any."""
        self.length = len(chars)
        self.letters = frozenset(chars) - {""}
        self._chars = [(at, char) for at, char in enumerate(chars) if char]
        self._runs: list[tuple[int, str]] = []
        end = -1
        for at, char in self._chars:
            if at == end:
                start, run = self._runs.pop()
                self._runs.append((start, run + char))
            else:
                self._runs.append((at, char))
            end = at + 1
        self.is_sparse = len(self._runs) > 1

    def stands_at(self, text: str, place: int) -> bool:
        """Tell whether the text, which is long enough, has the piece at this place."""
        if len(self._runs) == 1:
            at, run = self._runs[0]
            return text.startswith(run, place + at)
        return all(text.startswith(run, place + at) for at, run in self._runs)

    def find(self, text: str, start: int, end: int, letters: Mapping[str, int]) -> int:
        """Give the leftmost place in ``text[start:end]``, or -1.

        Args:
            text: Where to look.
            start: The first place that is free.
            end: The first place behind it that is not.
            letters: Where each letter stands, for a sparse piece.
        """
        if start + self.length > end:
            return -1
        if not self._runs:
            return start
        if not self.is_sparse:
            at, run = self._runs[0]
            found = text.find(run, start + at, end - self.length + at + len(run))
            return found - at if found >= 0 else -1
        # All places at once: bit N is set while the piece can start at N.
        places = (1 << (end - self.length + 1)) - (1 << start)
        for at, char in self._chars:
            places &= letters.get(char, 0) >> at
            if not places:
                return -1
        return (places & -places).bit_length() - 1


def _letter_places(text: str, letters: frozenset[str]) -> dict[str, int]:
    """Map each letter to a number whose bit N is set when the letter is ``text[N]``."""
    marks: dict[str, bytearray] = {}
    size = len(text) // 8 + 1
    for place, char in enumerate(text):
        if char in letters:
            if char not in marks:
                marks[char] = bytearray(size)
            marks[char][place >> 3] |= 1 << (place & 7)
    return {char: int.from_bytes(bits, "little") for char, bits in marks.items()}


# ---------------------------------------------------------------- the parser

_OPEN, _OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT, _SIGN = range(8)

_ARITHMETIC: Mapping[str, tuple[int, _Operation]] = {
    "+": (_SUM, _plus),
    "-": (_SUM, _minus),
    "*": (_PRODUCT, _times),
    "/": (_PRODUCT, _divided_by),
    "%": (_PRODUCT, _remainder),
}
_COMPARISONS: Mapping[str, Callable[..., bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ORDERINGS = frozenset(_MIRRORED)


@dataclass(slots=True)
class _Operator:
    """An operator, or an open parenthesis, that waits for the end of its last value.

    Attributes:
        precedence: How tightly it binds.
        place: Where it starts.
        apply: Takes its values off the stack and puts its result there.
        is_nested: Whether it counts for the depth.
        lacks_and: Whether it is a BETWEEN before its AND.
    """

    precedence: int
    place: int
    apply: Callable[[], None]
    is_nested: bool = False
    lacks_and: bool = False


class _Parser:
    """Reads a selector with two stacks (Dijkstra's shunting yard), hence without recursion."""

    def __init__(self, text: str, max_depth: int, max_nodes: int) -> None:
        self._text = text
        self._max_depth = max_depth
        self._max_nodes = max_nodes
        self._depth = 0
        self._nodes = 0
        self._values: list[_Value] = []
        self._operators: list[_Operator] = []
        self._words = _Words(text)
        self._word = self._words.next()

    def parse(self) -> _ReadTruth:
        """Read all of it."""
        # "If the value of a message selector is an empty string, the value is treated as a
        # null and indicates that there is no message selector for the message consumer."
        if self._word.kind == "end":
            return lambda headers: True
        self._read_value()
        while self._read_operators():
            self._read_value()
        self._reduce(_OR)
        if self._operators:
            raise self._fault(self._operators[-1].place, "this parenthesis is never closed")
        return self._condition(self._values.pop()).read

    # -------------------------------------------------- words, limits, faults

    def _take(self) -> _Word:
        """Give the word that is looked at, and look at the next."""
        word = self._word
        self._word = self._words.next()
        return word

    def _take_if(self, *values: str) -> _Word | None:
        """Take the word if it is one of these keywords and signs."""
        return self._take() if self._word.is_(*values) else None

    def _take_text(self) -> str:
        if self._word.kind != "text":
            raise self._unexpected("text in single quotes")
        self._count(self._word)
        return self._take().value

    def _count(self, word: _Word) -> None:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            raise self._fault(
                word.place,
                f"a selector may have {self._max_nodes} values and operators at most",
                LimitExceeded,
            )

    def _fault(
        self, place: int, reason: str, kind: type[ProtocolError] = ProtocolError
    ) -> ProtocolError:
        return _fault(self._text, place, reason, kind)

    def _unexpected(self, wanted: str, word: _Word | None = None) -> ProtocolError:
        word = word or self._word
        if word.kind == "end":
            return self._fault(word.place, f"{wanted} was expected, but the selector ends")
        return self._fault(word.place, f"{wanted} was expected, not {word.shown}")

    # -------------------------------------------------- the stack of operators

    def _push(self, precedence: int, word: _Word, apply: Callable[[], None]) -> None:
        self._count(word)
        self._operators.append(_Operator(precedence, word.place, apply))

    def _push_nested(self, precedence: int, word: _Word, apply: Callable[[], None]) -> None:
        self._depth += 1
        if self._depth > self._max_depth:
            raise self._fault(
                word.place,
                f"parentheses, NOTs and signs may be {self._max_depth} deep at most",
                LimitExceeded,
            )
        self._operators.append(_Operator(precedence, word.place, apply, is_nested=True))

    def _reduce(self, precedence: int, word: _Word | None = None) -> None:
        """Apply the operators on top that bind at least as tightly as this.

        Args:
            precedence: How tightly.
            word: What comes behind their values, when it is taken already.
        """
        while self._operators and self._operators[-1].precedence >= precedence:
            top = self._operators.pop()
            if top.lacks_and:
                raise self._unexpected("the AND of BETWEEN", word)
            self._depth -= top.is_nested
            top.apply()

    def _begin_comparison(self, word: _Word) -> None:
        """Finish the left side of a comparison; there must be none before it."""
        self._reduce(_SUM)
        if self._operators and self._operators[-1].precedence == _COMPARISON:
            if self._operators[-1].lacks_and:
                raise self._unexpected("the AND of BETWEEN", word)
            raise self._fault(word.place, "comparisons do not chain; put one in parentheses")

    # -------------------------------------------------- where a value may stand

    def _read_value(self) -> None:
        """Take a value and all that stands before it: parentheses, NOT, signs."""
        while True:
            if word := self._take_if("("):
                self._push_nested(_OPEN, word, lambda: None)
            elif word := self._take_if("NOT"):
                if self._operators and self._operators[-1].precedence > _NOT:
                    raise self._fault(word.place, "NOT and its condition need parentheses here")
                self._count(word)
                self._push_nested(_NOT, word, partial(self._apply_not, word.place))
            elif word := self._take_if("+", "-"):
                self._count(word)
                self._push_nested(_SIGN, word, partial(self._apply_sign, word))
            else:
                break
        self._values.append(self._value_of(self._word))
        self._count(self._word)
        self._take()

    def _value_of(self, word: _Word) -> _Value:
        kind, image, place = word.kind, word.value, word.place
        if kind == "name":
            return _named(image, place)
        if kind == "quoted":
            return _Text(place, _header(image), header=image)
        if kind == "text":
            return _Text(place, lambda headers: image, literal=image)
        if kind == "float":
            return _constant(place, float(image))
        if kind == "hex":
            return _constant(place, _as_long(int(image, 16)))
        if kind == "int":
            return _constant(place, self._integer(word))
        if word.is_("TRUE", "FALSE"):
            truth = image == "TRUE"
            return _Truth(place, lambda headers: truth)
        if word.is_("NULL"):
            raise self._fault(place, "NULL stands behind IS and IS NOT only")
        raise self._unexpected("a value")

    def _integer(self, word: _Word) -> int | float:
        digits = word.value.rstrip("lL")
        if not digits.startswith("0"):
            return _read_integer(digits)
        if "8" in digits or "9" in digits:
            raise self._fault(word.place, "a number that begins with 0 is octal, without 8 and 9")
        return _as_long(int(digits, 8))

    # -------------------------------------------------- where an operator may stand

    def _read_operators(self) -> bool:
        """Take operators up to one that asks for another value; False at the end."""
        while self._word.kind != "end":
            if word := self._take_if(")"):
                self._close(word)
            elif word := self._take_if("IS"):
                self._read_is_null(word)
            elif word := self._take_if("NOT", "IN", "LIKE", "BETWEEN"):
                negated = word.value == "NOT"
                if negated:
                    word = self._take_if("IN", "LIKE", "BETWEEN")
                    if word is None:
                        raise self._unexpected("IN, LIKE or BETWEEN")
                self._begin_comparison(word)
                if word.value == "IN":
                    self._read_in(word, negated)
                elif word.value == "LIKE":
                    self._read_like(word, negated)
                else:
                    self._push(_COMPARISON, word, partial(self._apply_between, negated))
                    self._operators[-1].lacks_and = True
                    return True
            else:
                self._read_binary()
                return True
        return False

    def _close(self, word: _Word) -> None:
        self._reduce(_OR, word)
        if not self._operators:
            raise self._fault(word.place, "this parenthesis closes none")
        self._depth -= 1
        self._values[-1].place = self._operators.pop().place

    def _read_is_null(self, word: _Word) -> None:
        self._begin_comparison(word)
        negated = self._take_if("NOT") is not None
        if self._take_if("NULL") is None:
            raise self._unexpected("NULL" if negated else "NULL or NOT NULL")
        self._push(_COMPARISON, word, partial(self._apply_is_null, negated))

    def _read_in(self, word: _Word, negated: bool) -> None:
        if self._take_if("(") is None:
            raise self._unexpected("a list in parentheses")
        texts = {self._take_text()}
        while self._take_if(","):
            texts.add(self._take_text())
        if self._take_if(")") is None:
            raise self._unexpected("a comma or the end of the list")
        self._push(_COMPARISON, word, partial(self._apply_in, frozenset(texts), negated))

    def _read_like(self, word: _Word, negated: bool) -> None:
        pattern, escape = self._take_text(), ""
        if self._take_if("ESCAPE"):
            place = self._word.place
            escape = self._take_text()
            if len(escape) != 1:
                raise self._fault(place, "ESCAPE takes one character")
        apply = partial(self._apply_like, _Pattern(pattern, escape), negated)
        self._push(_COMPARISON, word, apply)

    def _read_binary(self) -> None:
        symbol = self._word.value
        if self._word.is_("OR"):
            self._reduce(_OR)
            self._push(_OR, self._word, partial(self._apply_logic, "OR", _any_of))
        elif self._word.is_("AND"):
            self._reduce(_SUM)
            if self._operators and self._operators[-1].lacks_and:
                self._operators[-1].lacks_and = False
            else:
                self._reduce(_AND)
                self._push(_AND, self._word, partial(self._apply_logic, "AND", _all_of))
        elif self._word.is_(*_COMPARISONS):
            self._begin_comparison(self._word)
            self._push(_COMPARISON, self._word, partial(self._apply_comparison, symbol))
        elif self._word.is_(*_ARITHMETIC):
            precedence, operation = _ARITHMETIC[symbol]
            self._reduce(precedence)
            self._push(precedence, self._word, partial(self._apply_arithmetic, operation))
        else:
            raise self._unexpected("AND, OR or an operator")
        self._take()

    # -------------------------------------------------- what operators make of their values

    def _apply_logic(self, keyword: str, join: Callable[[list[_ReadTruth]], _ReadTruth]) -> None:
        right, left = self._condition(self._values.pop()), self._condition(self._values.pop())
        # a AND (b AND c) AND d is one list, not a tree.
        parts = left.parts if left.keyword == keyword else [left.read]
        parts += right.parts if right.keyword == keyword else [right.read]
        self._values.append(_Truth(left.place, join(parts), keyword=keyword, parts=parts))

    def _apply_not(self, place: int) -> None:
        self._values.append(_Truth(place, _not(self._condition(self._values.pop()).read)))

    def _apply_sign(self, word: _Word) -> None:
        number = self._number(self._values.pop())
        if word.value == "-":
            number = _Number(
                word.place,
                _negated(number.read),
                literal=None if number.literal is None else _negative(number.literal),
            )
        self._values.append(_Number(word.place, number.read, literal=number.literal))

    def _apply_arithmetic(self, operation: _Operation) -> None:
        right, left = self._number(self._values.pop()), self._number(self._values.pop())
        if left.literal is not None and right.literal is not None:
            result = operation(left.literal, right.literal)
            if result is not None:
                self._values.append(_constant(left.place, result))
                return
        chain = left.chain or _Chain(left.read)
        chain.append(operation, right.read)
        self._values.append(_Number(left.place, chain.read, chain=chain))

    def _apply_is_null(self, negated: bool) -> None:
        value = self._values.pop()
        self._values.append(_Truth(value.place, _is_null(value.read, negated=negated)))

    def _apply_in(self, texts: frozenset[str], negated: bool) -> None:
        value = self._values.pop()
        if isinstance(value, _Text) and value.literal is not None:
            raise self._fault(value.place, "a header's name was expected before IN, not text")
        read = self._text_before(value, "IN")
        self._values.append(_Truth(value.place, _found_in(read, texts, negated=negated)))

    def _apply_like(self, pattern: _Pattern, negated: bool) -> None:
        value = self._values.pop()
        read = self._text_before(value, "LIKE")
        self._values.append(_Truth(value.place, _like(read, pattern, negated=negated)))

    def _apply_between(self, negated: bool) -> None:
        high, low, value = self._values.pop(), self._values.pop(), self._values.pop()
        below, above = ("<", ">") if negated else (">=", "<=")
        parts = [self._compared(below, value, low), self._compared(above, value, high)]
        join, keyword = (_any_of, "OR") if negated else (_all_of, "AND")
        self._values.append(_Truth(value.place, join(parts), keyword=keyword, parts=parts))

    def _apply_comparison(self, symbol: str) -> None:
        right, left = self._values.pop(), self._values.pop()
        self._values.append(_Truth(left.place, self._compared(symbol, left, right)))

    def _compared(self, symbol: str, left: _Value, right: _Value) -> _ReadTruth:
        if symbol in _ORDERINGS:
            self._check_order(left)
            self._check_order(right)
        kinds = {type(left), type(right)}
        if kinds == {_Number, _Truth}:
            raise self._fault(right.place, "a number and a condition cannot be compared")
        if isinstance(right, _Text) and right.header is not None:
            symbol, left, right = _MIRRORED.get(symbol, symbol), right, left
        compare = _COMPARISONS[symbol]
        if _Number in kinds:
            number = self._number_from(right)
            if isinstance(left, _Text) and left.header is not None and number.literal is not None:
                return _compare_header_with_number(compare, left.header, number.literal)
            return _compare(compare, self._number_from(left).read, number.read)
        if isinstance(left, _Text) and isinstance(right, _Text):
            if left.header is not None and right.literal is not None:
                return _compare_header_with_text(compare, left.header, right.literal)
            return _compare(compare, left.read, right.read)
        return _compare(compare, self._truth_from(left).read, self._truth_from(right).read)

    # -------------------------------------------------- values as what they must be

    def _condition(self, value: _Value) -> _Truth:
        if isinstance(value, _Truth):
            return value
        if isinstance(value, _Text) and value.header is not None:
            return _Truth(value.place, _truth_in(value.read))
        raise self._fault(value.place, f"a condition was expected, and this is {_kind(value)}")

    def _number(self, value: _Value) -> _Number:
        if isinstance(value, _Number):
            return value
        if isinstance(value, _Text) and value.header is not None:
            return _Number(value.place, _number_in(value.read))
        raise self._fault(value.place, f"a number was expected, and this is {_kind(value)}")

    def _text_before(self, value: _Value, keyword: str) -> _ReadText:
        read = value.read if isinstance(value, _Text) else value.text
        if read is None:
            raise self._fault(
                value.place,
                f"a header's name was expected before {keyword}, and this is {_kind(value)}",
            )
        return read

    def _check_order(self, value: _Value) -> None:
        """Refuse what ActiveMQ refuses with ``<`` and its like."""
        if isinstance(value, _Truth) or (isinstance(value, _Text) and value.literal is not None):
            raise self._fault(
                value.place,
                f"only numbers and headers have an order, and this is {_kind(value)}",
            )

    def _number_from(self, value: _Value) -> _Number:
        """Read a number, also from text in quotes, for it may stand in a header just so."""
        if isinstance(value, _Text) and value.literal is not None:
            literal = _read_number(value.literal)
            if literal is None:
                raise self._fault(value.place, "a number was expected, and this is text")
            return _constant(value.place, literal)
        return self._number(value)

    def _truth_from(self, value: _Value) -> _Truth:
        """Read a truth, also from text in quotes."""
        if isinstance(value, _Text) and value.literal is not None:
            literal = _read_truth(value.literal)
            if literal is None:
                raise self._fault(value.place, "this text is neither 'true' nor 'false'")
            return _Truth(value.place, lambda headers: literal)
        return self._condition(value)


def _kind(value: _Value) -> str:
    if isinstance(value, _Truth):
        return "a condition"
    return "a number" if isinstance(value, _Number) else "text"
