"""Selector values: text, numbers and conditions, each a closure over the headers.

A header's type stays open until an operator requires one; the functions at the end convert it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rtchat.core.selector.headers import numbers_of
from rtchat.core.selector.numbers import Operation, read_number
from rtchat.core.selector.tokens import Position

__all__ = [
    "Chain",
    "Condition",
    "Headers",
    "Number",
    "ReadCondition",
    "ReadNumber",
    "ReadText",
    "Text",
    "Value",
    "check_order",
    "compared_condition",
    "compared_number",
    "condition_of",
    "constant",
    "header_text",
    "number_of",
    "text_before",
    "value_of_name",
]

Headers = Mapping[str, str]
ReadCondition = Callable[[Headers], "bool | None"]
ReadNumber = Callable[[Headers], "int | float | None"]
ReadText = Callable[[Headers], "str | None"]

_BOOLEANS = {"true": True, "false": False}


def _read_boolean(text: str) -> bool | None:
    return _BOOLEANS.get(text.lower())


@dataclass(slots=True)
class Text:
    """Text, or a header whose type is still open.

    Attributes:
        position: Where it starts.
        read: Returns its value for the headers of a message.
        literal: The text, if it is a literal.
        header: The header's name, if it is a plain header.
    """

    position: Position
    read: ReadText
    literal: str | None = None
    header: str | None = None


@dataclass(slots=True)
class Number:
    """A number; ``literal`` is set if it is constant."""

    position: Position
    read: ReadNumber
    literal: int | float | None = None
    text: ReadText | None = None  # for a JMS name: the header's raw text
    chain: Chain | None = None


@dataclass(slots=True)
class Condition:
    """A condition."""

    position: Position
    read: ReadCondition
    text: ReadText | None = None  # for a JMS name: the header's raw text
    keyword: str = ""
    parts: list[ReadCondition] = field(default_factory=list)  # the operands of AND or OR


Value = Text | Number | Condition


def constant(position: Position, value: int | float) -> Number:
    """Return a number literal."""
    return Number(position, lambda headers: value, literal=value)


def header_text(name: str, default: str | None = None) -> ReadText:
    """Return a closure that reads a header, or the default if it is missing."""
    if default is None:
        return lambda headers: headers.get(name)
    return lambda headers: headers.get(name, default)


def _number_in(read: ReadText) -> ReadNumber:
    def number(headers: Headers) -> int | float | None:
        text = read(headers)
        return None if text is None else numbers_of(headers)[text]

    return number


def _boolean_in(read: ReadText) -> ReadCondition:
    def truth(headers: Headers) -> bool | None:
        text = read(headers)
        return None if text is None else _read_boolean(text)

    return truth


def _delivery_mode(headers: Headers) -> str:
    return "PERSISTENT" if _read_boolean(headers.get("persistent", "")) else "NON_PERSISTENT"


_JMS_HEADERS = {
    "JMSCorrelationID": "correlation-id",
    "JMSDestination": "destination",
    "JMSMessageID": "message-id",
    "JMSReplyTo": "reply-to",
    "JMSType": "type",
}
_JMS_NUMBERS = {
    "JMSExpiration": header_text("expires", "0"),
    "JMSPriority": header_text("priority", "4"),
    "JMSTimestamp": header_text("timestamp"),
}
_JMS_REDELIVERED = header_text("redelivered", "false")


def value_of_name(name: str, position: Position) -> Value:
    """Return the value that a name refers to: a JMS name or a header."""
    if name in _JMS_NUMBERS:
        text = _JMS_NUMBERS[name]
        return Number(position, _number_in(text), text=text)
    if name == "JMSRedelivered":
        return Condition(position, _boolean_in(_JMS_REDELIVERED), text=_JMS_REDELIVERED)
    if name == "JMSDeliveryMode":
        return Text(position, _delivery_mode)
    header = _JMS_HEADERS.get(name, name)
    return Text(position, header_text(header), header=header)


class Chain:
    """Operands and operators of one precedence, evaluated from left to right.

    A loop instead of a tree, which would nest a thousand calls for a thousand operands.
    """

    __slots__ = ("_first", "_rest")

    def __init__(self, first: ReadNumber) -> None:
        """Start with the leftmost operand."""
        self._first = first
        self._rest: list[tuple[Operation, ReadNumber]] = []

    def append(self, operation: Operation, operand: ReadNumber) -> None:
        """Add an operation."""
        self._rest.append((operation, operand))

    def read(self, headers: Headers) -> int | float | None:
        """Return the result for the headers of a message; None is unknown."""
        total = self._first(headers)
        for operation, operand in self._rest:
            if total is None:
                return None
            value = operand(headers)
            if value is None:
                return None
            total = operation(total, value)
        return total


# ---------------------------------------------------------------- conversions
#
# Each function raises a ProtocolError for a value that cannot be converted.


def condition_of(value: Value) -> Condition:
    """Convert a value to a condition."""
    if isinstance(value, Condition):
        return value
    if isinstance(value, Text) and value.header is not None:
        return Condition(value.position, _boolean_in(value.read))
    raise value.position.error(f"a condition was expected, and this is {_kind(value)}")


def number_of(value: Value) -> Number:
    """Convert a value to a number."""
    if isinstance(value, Number):
        return value
    if isinstance(value, Text) and value.header is not None:
        return Number(value.position, _number_in(value.read))
    raise value.position.error(f"a number was expected, and this is {_kind(value)}")


def text_before(value: Value, keyword: str) -> ReadText:
    """Convert the value before IN or LIKE to text."""
    read = value.read if isinstance(value, Text) else value.text
    if read is None:
        raise value.position.error(
            f"a header's name was expected before {keyword}, and this is {_kind(value)}"
        )
    return read


def check_order(value: Value) -> None:
    """Reject operands of ``<``, ``<=``, ``>`` and ``>=`` that ActiveMQ rejects, too."""
    if isinstance(value, Condition) or (isinstance(value, Text) and value.literal is not None):
        raise value.position.error(
            f"only numbers and headers have an order, and this is {_kind(value)}"
        )


def compared_number(value: Value) -> Number:
    """Convert to a number, including quoted text, since headers hold numbers as text."""
    if isinstance(value, Text) and value.literal is not None:
        literal = read_number(value.literal)
        if literal is None:
            raise value.position.error("a number was expected, and this is text")
        return constant(value.position, literal)
    return number_of(value)


def compared_condition(value: Value) -> Condition:
    """Convert to a condition, including the quoted texts 'true' and 'false'."""
    if isinstance(value, Text) and value.literal is not None:
        literal = _read_boolean(value.literal)
        if literal is None:
            raise value.position.error("this text is neither 'true' nor 'false'")
        return Condition(value.position, lambda headers: literal)
    return condition_of(value)


def _kind(value: Value) -> str:
    if isinstance(value, Condition):
        return "a condition"
    return "a number" if isinstance(value, Number) else "text"
