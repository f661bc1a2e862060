"""The values of a selector: text, numbers and conditions, each a closure over the headers.

A header's type is open until something asks for it; the functions at the end ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rtchat.core.selector.numbers import Operation, read_number
from rtchat.core.selector.tokens import Position

__all__ = [
    "Chain",
    "Headers",
    "Number",
    "ReadNumber",
    "ReadText",
    "ReadTruth",
    "Text",
    "Truth",
    "Value",
    "check_order",
    "compared_number",
    "compared_truth",
    "condition_of",
    "constant",
    "header_text",
    "named",
    "number_of",
    "text_before",
]

Headers = Mapping[str, str]
ReadTruth = Callable[[Headers], "bool | None"]
ReadNumber = Callable[[Headers], "int | float | None"]
ReadText = Callable[[Headers], "str | None"]

_TRUTHS = {"true": True, "false": False}


def _read_truth(text: str) -> bool | None:
    return _TRUTHS.get(text.lower())


@dataclass(slots=True)
class Text:
    """A header whose type is still open, or text.

    Attributes:
        place: Where it starts.
        read: Gives its value for a message.
        literal: The text itself when it stands in the selector.
        header: The header's name when it is nothing but a header.
    """

    place: Position
    read: ReadText
    literal: str | None = None
    header: str | None = None


@dataclass(slots=True)
class Number:
    """A number; ``literal`` when it is the same for every message."""

    place: Position
    read: ReadNumber
    literal: int | float | None = None
    text: ReadText | None = None  # of a JMS name: the header as it is
    chain: Chain | None = None


@dataclass(slots=True)
class Truth:
    """A condition."""

    place: Position
    read: ReadTruth
    text: ReadText | None = None  # of a JMS name: the header as it is
    keyword: str = ""
    parts: list[ReadTruth] = field(default_factory=list)  # what AND or OR joins


Value = Text | Number | Truth


def constant(place: Position, value: int | float) -> Number:
    """Give a number that stands in the selector."""
    return Number(place, lambda headers: value, literal=value)


def header_text(name: str, default: str | None = None) -> ReadText:
    """Read a header, or else the default."""
    if default is None:
        return lambda headers: headers.get(name)
    return lambda headers: headers.get(name, default)


def _number_in(read: ReadText) -> ReadNumber:
    def number(headers: Headers) -> int | float | None:
        text = read(headers)
        return None if text is None else read_number(text)

    return number


def _truth_in(read: ReadText) -> ReadTruth:
    def truth(headers: Headers) -> bool | None:
        text = read(headers)
        return None if text is None else _read_truth(text)

    return truth


def _delivery_mode(headers: Headers) -> str:
    return "PERSISTENT" if _read_truth(headers.get("persistent", "")) else "NON_PERSISTENT"


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


def named(name: str, place: Position) -> Value:
    """Give the value that a name stands for."""
    if name in _JMS_NUMBERS:
        text = _JMS_NUMBERS[name]
        return Number(place, _number_in(text), text=text)
    if name == "JMSRedelivered":
        return Truth(place, _truth_in(_JMS_REDELIVERED), text=_JMS_REDELIVERED)
    if name == "JMSDeliveryMode":
        return Text(place, _delivery_mode)
    header = _JMS_HEADERS.get(name, name)
    return Text(place, header_text(header), header=header)


class Chain:
    """Operands and operators of one precedence, worked off from left to right.

    A loop, not a tree: its thousand operands would be a thousand calls deep.
    """

    __slots__ = ("_first", "_rest")

    def __init__(self, first: ReadNumber) -> None:
        """Begin with the leftmost operand."""
        self._first = first
        self._rest: list[tuple[Operation, ReadNumber]] = []

    def append(self, operation: Operation, operand: ReadNumber) -> None:
        """Let one more operation follow."""
        self._rest.append((operation, operand))

    def read(self, headers: Headers) -> int | float | None:
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


# ---------------------------------------------------------------- as what they must be
#
# Each function raises a ProtocolError for a value that cannot be so.


def condition_of(value: Value) -> Truth:
    """Take a value as a condition."""
    if isinstance(value, Truth):
        return value
    if isinstance(value, Text) and value.header is not None:
        return Truth(value.place, _truth_in(value.read))
    raise value.place.fault(f"a condition was expected, and this is {_kind(value)}")


def number_of(value: Value) -> Number:
    """Take a value as a number."""
    if isinstance(value, Number):
        return value
    if isinstance(value, Text) and value.header is not None:
        return Number(value.place, _number_in(value.read))
    raise value.place.fault(f"a number was expected, and this is {_kind(value)}")


def text_before(value: Value, keyword: str) -> ReadText:
    """Take the value before IN or LIKE as text."""
    read = value.read if isinstance(value, Text) else value.text
    if read is None:
        raise value.place.fault(
            f"a header's name was expected before {keyword}, and this is {_kind(value)}"
        )
    return read


def check_order(value: Value) -> None:
    """Refuse what ActiveMQ refuses with ``<`` and its like."""
    if isinstance(value, Truth) or (isinstance(value, Text) and value.literal is not None):
        raise value.place.fault(
            f"only numbers and headers have an order, and this is {_kind(value)}"
        )


def compared_number(value: Value) -> Number:
    """Read a number, also from text in quotes, for it may stand in a header just so."""
    if isinstance(value, Text) and value.literal is not None:
        literal = read_number(value.literal)
        if literal is None:
            raise value.place.fault("a number was expected, and this is text")
        return constant(value.place, literal)
    return number_of(value)


def compared_truth(value: Value) -> Truth:
    """Read a truth, also from text in quotes."""
    if isinstance(value, Text) and value.literal is not None:
        literal = _read_truth(value.literal)
        if literal is None:
            raise value.place.fault("this text is neither 'true' nor 'false'")
        return Truth(value.place, lambda headers: literal)
    return condition_of(value)


def _kind(value: Value) -> str:
    if isinstance(value, Truth):
        return "a condition"
    return "a number" if isinstance(value, Number) else "text"
