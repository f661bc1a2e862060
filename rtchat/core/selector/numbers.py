"""Numbers in selectors: Java longs that overflow to doubles, and their arithmetic.

An operation returns None when its result is not a number, as in a division by zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

__all__ = [
    "Operation",
    "add",
    "as_long",
    "divide",
    "multiply",
    "negate",
    "read_integer",
    "read_number",
    "remainder",
    "subtract",
]

Operation = Callable[["int | float", "int | float"], "int | float | None"]

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
# int() and float() also accept 1_000, ١٢, nan and surrounding blanks. Those are text here.
_LOOKS_LIKE_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+(?P<rest>\.[0-9]*)?|(?P<point>\.[0-9]+))(?P<exponent>[eE][+-]?[0-9]+)?"
)
_SHORT = 18  # digits that always fit into a long
_MAX_CHARACTERS = 40
"""A header with more characters is no number. A Java long has 20, a double at most 26; to read a
number of 8 KiB would take as long as a hundred comparisons."""


def read_number(text: str) -> int | float | None:
    """Parse a decimal number; return None if the text is none, or has over 40 characters."""
    if len(text) <= _SHORT and text.isascii() and text.isdigit():
        return int(text)
    if len(text) > _MAX_CHARACTERS:
        return None
    found = _LOOKS_LIKE_NUMBER.fullmatch(text)
    if found is None:
        return None
    if found.lastgroup is None:
        return read_integer(text)
    return float(text)


def read_integer(digits: str) -> int | float:
    """Parse decimal digits with an optional sign."""
    # int() takes quadratic time for long digit strings and rejects the longest.
    if len(digits) <= 2 * _SHORT:
        return as_long(int(digits))
    return float(digits)


def as_long(value: int) -> int | float:
    """Return a value that fits into a Java long unchanged, and any other as a double."""
    if _LONG_MIN <= value <= _LONG_MAX:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _result(value: int | float) -> int | float | None:
    if isinstance(value, int):
        return as_long(value)
    return None if value != value else value


def add(left: int | float, right: int | float) -> int | float | None:
    """Add."""
    return _result(left + right)


def subtract(left: int | float, right: int | float) -> int | float | None:
    """Subtract."""
    return _result(left - right)


def multiply(left: int | float, right: int | float) -> int | float | None:
    """Multiply."""
    return _result(left * right)


def divide(left: int | float, right: int | float) -> int | float | None:
    """Divide; the result is a double, None for a division by zero."""
    return _result(left / right) if right else None


def remainder(left: int | float, right: int | float) -> int | float | None:
    """Return the remainder as a double with the sign of the left operand."""
    try:
        return _result(math.fmod(left, right))
    except ValueError:  # remainder of infinity, or division by zero
        return None


def negate(value: int | float) -> int | float:
    """Change the sign."""
    # 9223372036854775808 does not fit into a long and was read as a double; negated, it fits.
    if value == -_LONG_MIN:
        return _LONG_MIN
    return as_long(-value) if isinstance(value, int) else -value
