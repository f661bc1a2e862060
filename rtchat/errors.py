"""Every exception rtchat raises on purpose.

::

    RtchatError
    ├── ConfigError          chat.ini (or the machine) does not allow the start
    ├── AccessDenied         the access list or the Host check refuses a request
    ├── ProtocolError        the client broke STOMP; its text is safe to send
    │   ├── LimitExceeded    the client went over a configured limit
    │   └── NotAllowed       the client wants what this server does not let it do
    ├── StoreUnusable        the history's file cannot be opened, read or written
    └── ServerRefused        a STOMP server that we are a client of answered ERROR, left, or is away

A ``ProtocolError`` is turned into an ERROR frame by the session, so adapters need no
``except``. Anything else that is raised while a client is served is a bug: it is logged
and the client learns only that the server failed.
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "ConfigError",
    "LimitExceeded",
    "NotAllowed",
    "ProtocolError",
    "RtchatError",
    "ServerRefused",
    "StoreUnusable",
]


class RtchatError(Exception):
    """Base of every exception that rtchat raises on purpose."""


class ConfigError(RtchatError):
    """The configuration cannot be used; the text is one sentence with the remedy.

    Args:
        problem: What is wrong and what to do, without the place.
        file: The file the problem stands in, or "" when there is none.
        line: Its line, counted from 1, or 0 when no line is to blame.
    """

    def __init__(self, problem: str, *, file: str = "", line: int = 0) -> None:
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{place}{problem}")
        self.problem = problem
        self.file = file
        self.line = line


class AccessDenied(RtchatError):
    """A request was refused; the text is the reason for the log, never for the client."""


class ProtocolError(RtchatError):
    """The client broke the STOMP protocol.

    Args:
        message: A short sentence for the ERROR frame's ``message`` header.
        detail: What to do about it, for the ERROR frame's body.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class LimitExceeded(ProtocolError):
    """The client went over a limit; the message names the limit and its value."""


class NotAllowed(ProtocolError):
    """The frame is sound, but somebody else has the nick, or a room's rules forbid it."""


class ServerRefused(RtchatError):
    """A STOMP server answered ERROR, closed the connection or is not there; the text says why."""


class StoreUnusable(RtchatError):
    """The history's file cannot be used; the text says why and what to do."""
