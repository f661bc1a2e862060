"""The end of a client's connection: has it said DISCONNECT before, and what the log says."""

from __future__ import annotations

import re

from twisted.logger import Logger

from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import LimitExceeded
from rtchat.net.connection.liveness import peek

__all__ = ["gone_while_waiting", "has_said_goodbye", "log_end"]

_log = Logger(__package__)

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


def log_end(peer: str, session_id: str, reason: CloseReason, text: str) -> None:
    """Log the end of a session.

    Args:
        peer: The client's address.
        session_id: The id of the session.
        reason: Why it ended.
        text: A description, or "".
    """
    if reason is CloseReason.DONE or reason is CloseReason.SHUTDOWN:
        _log.info("{peer}: session {id} {why}", peer=peer, id=session_id, why=reason.value)
    else:
        _log.warn(
            "{peer}: session {id} closed by the server: {why} ({text})",
            peer=peer,
            id=session_id,
            why=reason.value,
            text=text,
        )
