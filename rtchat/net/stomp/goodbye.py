"""Whether a client that has closed its connection said DISCONNECT before."""

from __future__ import annotations

import re

from rtchat.core.stomp.parser import FrameParser
from rtchat.net.connection.liveness import peek

__all__ = ["has_said_goodbye"]

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
