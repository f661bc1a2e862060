"""The numbers of selectors: Java's longs, which go on as doubles, and their arithmetic.

The result of an operation is None where it is no number, such as that of a division by zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

__all__ = [
    "Operation",
    "as_long",
    "divided_by",
    "minus",
    "negative",
    "plus",
    "read_integer",
    "read_number",
    "remainder",
    "times",
]

Operation = Callable[["int | float", "int | float"], "int | float | None"]

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
# int() and float() also read 1_000, ١٢, nan and blanks. Those are text.
_LOOKS_LIKE_NUMBER = re.compile(
    r"[+-]?(?:[0-9]+(?P<rest>\.[0-9]*)?|(?P<point>\.[0-9]+))(?P<exponent>[eE][+-]?[0-9]+)?"
)
_SHORT = 18  # digits that always fit a long


def read_number(text: str) -> int | float | None:
    """Read a decimal number, or give None for text that is none."""
    if len(text) <= _SHORT and text.isascii() and text.isdigit():
        return int(text)
    found = _LOOKS_LIKE_NUMBER.fullmatch(text)
    if found is None:
        return None
    if found.lastgroup is None:
        return read_integer(text)
    return float(text)


def read_integer(digits: str) -> int | float:
    """Read decimal digits, which may have a sign."""
    # int() takes quadratic time for long digit strings, and refuses the longest.
    if len(digits) <= 2 * _SHORT:
        return as_long(int(digits))
    return float(digits)


def as_long(value: int) -> int | float:
    """Leave what fits a Java long; make a double of the rest."""
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


def plus(left: int | float, right: int | float) -> int | float | None:
    """Add."""
    return _result(left + right)


def minus(left: int | float, right: int | float) -> int | float | None:
    """Subtract."""
    return _result(left - right)


def times(left: int | float, right: int | float) -> int | float | None:
    """Multiply."""
    return _result(left * right)


def divided_by(left: int | float, right: int | float) -> int | float | None:
    """Divide; the result is a double."""
    return _result(left / right) if right else None


def remainder(left: int | float, right: int | float) -> int | float | None:
    """Give what a division leaves, with the sign of the left side; it is a double."""
    try:
        return _result(math.fmod(left, right))
    except ValueError:  # of infinity, or by zero
        return None


def negative(value: int | float) -> int | float:
    """Change the sign."""
    # 9223372036854775808 fits no long and is a double by now; with its sign it does.
    if value == -_LONG_MIN:
        return _LONG_MIN
    return as_long(-value) if isinstance(value, int) else -value
