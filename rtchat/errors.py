"""The exceptions that rtchat raises deliberately.

::

    RtchatError
    ├── ConfigError          chat.ini or the machine prevents the start
    ├── StartFailed          the start has failed, and the reason was said
    ├── AccessDenied         the access list or the Host check refused a request
    ├── ProtocolError        the client violated STOMP; the text is safe to send
    │   ├── LimitExceeded    the client exceeded a configured limit
    │   ├── NotAllowed       the client requested what the server does not permit
    │   ├── AccessRefused    the client's credentials are not accepted, or missing
    │   ├── NoRight          the user has no right to read or write a destination
    │   └── TokenExpired     the time of the client's token is over
    ├── StoreUnusable        the history file cannot be opened, read or written
    └── ServerRefused        as a client: the STOMP server sent ERROR, disconnected or is down

The session turns a ``ProtocolError`` into an ERROR frame, so adapters need no ``except``. Any
other exception raised while serving a client is a bug: it is logged, and the client learns only
that the server failed.
"""

from __future__ import annotations

__all__ = [
    "AccessDenied",
    "AccessRefused",
    "ConfigError",
    "LimitExceeded",
    "NoRight",
    "NotAllowed",
    "ProtocolError",
    "RtchatError",
    "ServerRefused",
    "StartFailed",
    "StoreUnusable",
    "TokenExpired",
]


class RtchatError(Exception):
    """Base class of the exceptions that rtchat raises deliberately."""


class ConfigError(RtchatError):
    """The configuration is not valid; the text is one sentence that includes the remedy.

    Args:
        problem: What is wrong and what to do, without file and line.
        file: The file with the problem, or "" if there is none.
        line: The line in the file, counted from 1, or 0 if there is none.
    """

    def __init__(self, problem: str, *, file: str = "", line: int = 0) -> None:
        source = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{source}{problem}")
        self.problem = problem
        self.file = file
        self.line = line


class StartFailed(RtchatError, SystemExit):
    """The start has failed, and the reason was said; the process ends with exit code 1.

    Twisted's runners clean up after an ``Exception`` only, and Python ends silently after a
    ``SystemExit`` only; so this is both.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


class AccessDenied(RtchatError):
    """A request was refused; the text is the reason for the log, never for the client."""


class ProtocolError(RtchatError):
    """The client violated the STOMP protocol.

    Args:
        message: A short sentence for the ``message`` header of the ERROR frame.
        detail: The explanation and remedy, for the body of the ERROR frame.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class LimitExceeded(ProtocolError):
    """The client exceeded a limit; the message names the limit and its value."""


class NotAllowed(ProtocolError):
    """The frame is valid, but the nick is taken or the rules of the room forbid it."""


class AccessRefused(ProtocolError):
    """The client may not connect as what it says it is.

    The client gets the same words for all reasons, so that it learns nothing by trying.

    Args:
        reason: Why, in a few words, for the log only.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            "access refused",
            "Log in with a user name and a password, or with a token that this server accepts.",
        )
        self.reason = reason


class NoRight(ProtocolError):
    """The user has no right to read or write a destination.

    Args:
        verb: ``read`` or ``write``.
        destination: The destination, as the client wrote it.
    """

    def __init__(self, verb: str, destination: str) -> None:
        super().__init__(
            f"not allowed: {verb} {destination}",
            "The section [rights] of the server's settings, or your site, has to give this right.",
        )


class TokenExpired(ProtocolError):
    """The time of the client's token is over."""

    def __init__(self) -> None:
        super().__init__("token expired", "Connect again with a new token.")


class ServerRefused(RtchatError):
    """A STOMP server sent ERROR, disconnected or cannot be reached; the text says which."""


class StoreUnusable(RtchatError):
    """The history file cannot be used; the text says why and what to do."""
