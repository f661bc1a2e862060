"""The interface between a session and the connection underneath."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple, Protocol

__all__ = ["CloseReason", "HeartBeat", "SessionTransport"]


class CloseReason(Enum):
    """Why the server closes a connection; adapters map it to a WebSocket close code."""

    DONE = "disconnected"
    PROTOCOL = "protocol error"
    LIMIT = "over a limit"
    REFUSED = "not allowed"
    ACCESS = "access refused"
    NO_RIGHT = "no right"
    EXPIRED = "token expired"
    REPLACED = "replaced"
    LOGIN_TIMEOUT = "no login in time"
    SILENT = "no heart-beat"
    SLOW = "too slow"
    STORAGE = "history not available"
    SHUTDOWN = "server shutting down"
    BUG = "internal error"


class HeartBeat(NamedTuple):
    """The negotiated heart-beat intervals; 0 means no heart-beats.

    Attributes:
        send_ms: The longest interval between two transmissions of the server, in milliseconds.
        receive_ms: The longest interval between two transmissions of the client, in milliseconds.
    """

    send_ms: int
    receive_ms: int


class SessionTransport(Protocol):
    """The connection of a session."""

    @property
    def source(self) -> str:
        """Where the client comes from, as :func:`~rtchat.core.access.addresses.source_key` names
        it; "" if that is unknown."""

    @property
    def request_headers(self) -> Mapping[str, str]:
        """The headers ``authorization`` and ``cookie`` of the WebSocket's request, if any."""

    def session_opened(self, heartbeat: HeartBeat) -> None:
        """The client is logged in: cancel the login timeout and start heart-beats."""

    def session_closed(self, reason: CloseReason, text: str) -> None:
        """The session has ended: send the pending output, then close the connection.

        Args:
            reason: Why it closes.
            text: A description in plain English, or "".
        """

    def frame_incomplete(self) -> None:
        """A large frame has begun; it has to be complete in time."""

    def pause_reading(self) -> None:
        """Stop reading: the client has to wait."""

    def resume_reading(self) -> None:
        """Continue reading: the wait is over."""

    def resume_after(self, delay_s: float) -> None:
        """Call ``Session.resume()`` after a delay: the client has exceeded its rate limit."""

    def end_turn(self) -> None:
        """Stop reading, and call ``Session.resume()`` in a later turn: this one had much work."""

    def resume_session(self) -> None:
        """The wait is over. Call ``Session.resume()``, handling exceptions as ``dataReceived()``
        does. Called in a turn that another connection may have caused."""
