"""Selector operators: each combines closures over the headers into a new closure.

"SQL treats a NULL value as unknown. Comparison or arithmetic with an unknown value always
yields an unknown value." None represents unknown here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TypeVar

from rtchat.core.selector.headers import numbers_of
from rtchat.core.selector.like import LikePattern
from rtchat.core.selector.numbers import negate, read_number
from rtchat.core.selector.values import (
    Condition,
    Headers,
    Number,
    ReadCondition,
    ReadNumber,
    ReadText,
    Text,
    Value,
    check_order,
    compared_condition,
    compared_number,
)

__all__ = [
    "COMPARISONS",
    "all_of",
    "any_of",
    "comparison",
    "in_list",
    "is_null",
    "like",
    "negate_number",
    "negation",
]

_Any = TypeVar("_Any", str, float, bool)

COMPARISONS: Mapping[str, Callable[..., bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MAX_LIKE_CHARACTERS = 8 * 1024
_LONG = 16  # from there on it takes longer to read a number than to look whether it was read
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ORDERINGS = frozenset(_MIRRORED)


def any_of(parts: list[ReadCondition]) -> ReadCondition:
    """Join conditions with OR."""

    def disjunction(headers: Headers) -> bool | None:
        answer: bool | None = False
        for part in parts:
            truth = part(headers)
            if truth:
                return True
            if truth is None:
                answer = None
        return answer

    return disjunction


def all_of(parts: list[ReadCondition]) -> ReadCondition:
    """Join conditions with AND."""

    def conjunction(headers: Headers) -> bool | None:
        answer: bool | None = True
        for part in parts:
            truth = part(headers)
            if truth is None:
                answer = None
            elif not truth:
                return False
        return answer

    return conjunction


def negation(part: ReadCondition) -> ReadCondition:
    """Negate a condition with NOT."""

    def negation(headers: Headers) -> bool | None:
        truth = part(headers)
        return None if truth is None else not truth

    return negation


def negate_number(operand: ReadNumber) -> ReadNumber:
    """Apply a unary minus to a number."""

    def negated(headers: Headers) -> int | float | None:
        value = operand(headers)
        return None if value is None else negate(value)

    return negated


def is_null(
    read: ReadText | ReadNumber | ReadCondition, *, negated: bool
) -> Callable[[Headers], bool]:
    """Build IS NULL, or IS NOT NULL if negated."""
    if negated:
        return lambda headers: read(headers) is not None
    return lambda headers: read(headers) is None


def _compare(
    compare: Callable[[_Any, _Any], bool],
    left: Callable[[Headers], _Any | None],
    right: Callable[[Headers], _Any | None],
) -> ReadCondition:
    def compared(headers: Headers) -> bool | None:
        one, other = left(headers), right(headers)
        return None if one is None or other is None else compare(one, other)

    return compared


# By far the most common comparisons, a header with a literal, skip the intermediate calls.


def _compare_header_with_text(
    compare: Callable[[str, str], bool], name: str, literal: str
) -> ReadCondition:
    def compared(headers: Headers) -> bool | None:
        text = headers.get(name)
        return None if text is None else compare(text, literal)

    return compared


def _compare_header_with_number(
    compare: Callable[[float, float], bool], name: str, literal: int | float
) -> ReadCondition:
    def compared(headers: Headers) -> bool | None:
        text = headers.get(name)
        if text is None:
            return None
        number = read_number(text) if len(text) < _LONG else numbers_of(headers)[text]
        return None if number is None else compare(number, literal)

    return compared


def in_list(read: ReadText, texts: frozenset[str], *, negated: bool) -> ReadCondition:
    """Build IN over a list of texts, or NOT IN if negated."""

    def found(headers: Headers) -> bool | None:
        text = read(headers)
        return None if text is None else (text in texts) is not negated

    return found


def like(read: ReadText, pattern: LikePattern, *, negated: bool) -> ReadCondition:
    """Build LIKE, or NOT LIKE if negated."""
    matches = pattern.matches

    def fits(headers: Headers) -> bool | None:
        text = read(headers)
        if text is None or len(text) > _MAX_LIKE_CHARACTERS:
            return None
        return matches(text, headers) is not negated

    return fits


def comparison(symbol: str, left: Value, right: Value) -> ReadCondition:
    """Build a comparison of two values, converted to a type that both can have.

    Args:
        symbol: One of :data:`COMPARISONS`.
        left: The left operand.
        right: The right operand.

    Raises:
        ProtocolError: The values cannot be compared, or not with this operator.
    """
    if symbol in _ORDERINGS:
        check_order(left)
        check_order(right)
    kinds = {type(left), type(right)}
    if kinds == {Number, Condition}:
        raise right.position.error("a number and a condition cannot be compared")
    if isinstance(right, Text) and right.header is not None:
        symbol, left, right = _MIRRORED.get(symbol, symbol), right, left
    compare = COMPARISONS[symbol]
    if Number in kinds:
        number = compared_number(right)
        if isinstance(left, Text) and left.header is not None and number.literal is not None:
            return _compare_header_with_number(compare, left.header, number.literal)
        return _compare(compare, compared_number(left).read, number.read)
    if isinstance(left, Text) and isinstance(right, Text):
        if left.header is not None and right.literal is not None:
            return _compare_header_with_text(compare, left.header, right.literal)
        return _compare(compare, left.read, right.read)
    return _compare(compare, compared_condition(left).read, compared_condition(right).read)
