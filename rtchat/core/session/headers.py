"""Parsing the headers of client frames, SUBSCRIBE, ACK and NACK in particular."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from rtchat.core.broker.subscription import (
    AckMode,
    SlowPolicy,
    StartAt,
    StreamStart,
    SubscribeOptions,
)
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits
from rtchat.errors import ProtocolError
from rtchat.text import parse_digits

if TYPE_CHECKING:
    from rtchat.core.selector.selector import Selector

__all__ = [
    "ack_id",
    "milliseconds",
    "required",
    "subscribe_options",
    "subscription_number",
    "wants_requeue",
]

_ACK_MODES = {mode.value: mode for mode in AckMode}
_SLOW_POLICIES = {policy.value: policy for policy in SlowPolicy}
_PLAIN_STARTS = {at.value: StreamStart(at) for at in (StartAt.NEXT, StartAt.FIRST, StartAt.LAST)}
_START = re.compile(
    r"(?:offset=(?P<offset>[0-9]{1,15})|timestamp=(?P<time>[0-9]{1,15}(\.[0-9]{1,9})?))"
)
_MAX_PREFETCH = 65535  # as in AMQP, whose prefetch-count this is


def required(frame: Frame, name: str) -> str:
    """Return the value of a required header.

    Raises:
        ProtocolError: The header is missing or empty.
    """
    value = frame.headers.get(name)
    if not value:
        raise ProtocolError(
            f"{frame.command} without {name}", f"{frame.command} needs the header {name}."
        )
    return value


def milliseconds(text: str) -> int:
    """Return a non-negative whole number of milliseconds.

    Raises:
        ValueError: The text is not such a number.
    """
    number = parse_digits(text.strip(), 18)
    if number is None:
        raise ValueError(text)
    return number


def subscribe_options(
    frame: Frame, limits: Limits, parse: Callable[[str], Selector]
) -> SubscribeOptions:
    """Return the options of a SUBSCRIBE.

    Args:
        frame: The SUBSCRIBE.
        limits: The limits of the session, for the default prefetch.
        parse: Parses a selector.

    Raises:
        ProtocolError: A header has an invalid value, or the selector cannot be parsed.
    """
    headers = frame.headers
    # "If the header is not set, it defaults to auto."
    ack = _ACK_MODES.get(headers.get("ack", "auto"))
    if ack is None:
        raise ProtocolError("unknown ack mode", f"ack is one of {', '.join(_ACK_MODES)}.")
    slow = _SLOW_POLICIES.get(headers.get("x-slow", "close"))
    if slow is None:
        raise ProtocolError("unknown x-slow", f"x-slow is one of {', '.join(_SLOW_POLICIES)}.")
    selector = parse(headers["selector"]) if headers.get("selector") else None
    return SubscribeOptions(
        ack,
        _prefetch(frame, limits),
        slow,
        selector,
        _start(headers["x-stream-offset"]) if "x-stream-offset" in headers else StreamStart(),
        headers.get("x-stream-epoch", ""),
        "browser" in headers and _flag(frame, "browser", "false"),
    )


def _start(text: str) -> StreamStart:
    """Return the position in a history that an ``x-stream-offset`` header stands for."""
    plain = _PLAIN_STARTS.get(text)
    if plain is not None:
        return plain
    match = _START.fullmatch(text)
    if match is None:
        raise ProtocolError(
            "unknown x-stream-offset",
            "x-stream-offset is first, last, next, offset=NUMBER, or timestamp=SECONDS since 1970.",
        )
    if match["offset"]:
        return StreamStart(StartAt.OFFSET, int(match["offset"]))
    return StreamStart(StartAt.TIMESTAMP, float(match["time"]))


def _prefetch(frame: Frame, limits: Limits) -> int:
    for name in ("prefetch-count", "activemq.prefetchSize"):
        text = frame.headers.get(name)
        if text is None:
            continue
        try:
            prefetch = milliseconds(text)
        except ValueError:
            prefetch = _MAX_PREFETCH + 1
        if prefetch > _MAX_PREFETCH:
            raise ProtocolError(
                f"{name} is not a number from 0 to {_MAX_PREFETCH}",
                "It says how many messages may be unacknowledged at once; 0 is no limit.",
            )
        return prefetch
    return limits.prefetch


def ack_id(frame: Frame, version: Version) -> str:
    """Return the ack id of an ACK or NACK: its ``id``, or ``message-id`` before STOMP 1.2.

    Raises:
        ProtocolError: A required header is missing.
    """
    if version is Version.V12:
        return frame.headers.get("id") or required(frame, "id")
    if version is Version.V11:
        # "ACK MUST have two REQUIRED headers: message-id ... and subscription" (1.1)
        required(frame, "subscription")
    return required(frame, "message-id")


def subscription_number(ack_id: str) -> int:
    """Return the subscription's number in an ack id; 0, which no subscription has, if invalid."""
    number = ack_id.rpartition("@")[2].partition(".")[0]
    # parse_digits(), inlined to save a call for each ACK.
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0


def wants_requeue(frame: Frame) -> bool:
    """Return whether the message of a NACK may be redelivered.

    Raises:
        ProtocolError: The header ``requeue`` is neither true nor false.
    """
    return _flag(frame, "requeue", "true")


def _flag(frame: Frame, name: str, default: str) -> bool:
    text = frame.headers.get(name, default).lower()
    if text not in ("true", "false"):
        raise ProtocolError(f"{name} is neither true nor false", f"Without it, it is {default}.")
    return text == "true"
