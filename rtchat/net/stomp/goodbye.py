"""The end of a client's connection: has it said DISCONNECT before."""

from __future__ import annotations

import re

from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import LimitExceeded
from rtchat.net.connection.liveness import peek

__all__ = ["gone_while_waiting", "has_said_goodbye"]

_END_BYTES = 1024

_DISCONNECT = re.compile(rb"(?:\A|\0)[\r\n]*DISCONNECT\r?\n[^\0]*\0[\r\n]*\Z")


def has_said_goodbye(parser: FrameParser, transport: object) -> bool:
    """Return whether the last frame that a client has sent is a DISCONNECT.

    Args:
        parser: Holds the frames that wait.
        transport: The connection, which holds what was not read. Inside TLS and WebSockets it
            cannot be looked at, so the answer is about what was read.
    """
    end = (parser.rest(_END_BYTES) + peek(transport)[-_END_BYTES:])[-_END_BYTES:]
    return _DISCONNECT.search(end) is not None


def gone_while_waiting(*, is_broken: bool) -> LimitExceeded:
    """Return the error for a client that has gone while a limit made it wait.

    Args:
        is_broken: Whether the connection broke, rather than being closed by the client.
    """
    how = "broke" if is_broken else "was closed by the client"
    return LimitExceeded(
        f"the connection {how} while frames waited",
        "What was sent and has no RECEIPT may have had no effect.",
    )
