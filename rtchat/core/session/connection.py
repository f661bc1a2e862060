"""What a session asks of the connection underneath."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

__all__ = ["CloseReason", "HeartBeat", "SessionTransport"]


class CloseReason(Enum):
    """Why the server closes a connection; adapters know its close code."""

    DONE = "disconnected"
    PROTOCOL = "protocol error"
    LIMIT = "over a limit"
    REFUSED = "not allowed"
    REPLACED = "replaced"
    LOGIN_TIMEOUT = "no login in time"
    SILENT = "no heart-beat"
    SLOW = "too slow"
    STORAGE = "history not available"
    SHUTDOWN = "server shutting down"
    BUG = "internal error"


class HeartBeat(NamedTuple):
    """What both sides agreed on; 0 means never.

    Attributes:
        send_ms: The server sends something at least this often.
        receive_ms: The client sends something at least this often.
    """

    send_ms: int
    receive_ms: int


class SessionTransport(Protocol):
    """What a session asks of the connection it is on."""

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """The client is logged in: end the login time-out, begin with heart-beats."""

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """Nothing follows: close once what was gathered is out. ``text`` is for people."""

    def pause_reading(self) -> None:
        """The client has to wait: read no more from it."""

    def resume_reading(self) -> None:
        """The client need not wait any longer."""

    def resume_after(self, delay_s: float) -> None:
        """The client sends faster than it may: call the session's ``resume`` after this time."""

    def resume_session(self) -> None:
        """What the client waits for has happened, in somebody else's turn: call the session's
        ``resume``, and answer for its bugs as for those of ``receive``."""
