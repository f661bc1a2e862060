"""What the log says about STOMP sessions."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.session.connection import CloseReason
from rtchat.core.session.session import Session
from rtchat.net.connection.client_log import ClientLog
from rtchat.text import escaped

__all__ = ["SessionLog"]

_log = Logger(__package__)

_OPENED = "{peer}: session {id} opened, STOMP {version}"

_MAX_TEXT = 300
"""A text may have a destination in it, as the client wrote it."""

_USUAL = (CloseReason.DONE, CloseReason.SHUTDOWN)


class SessionLog:
    """Writes lines about sessions.

    Args:
        lines: Where they are written.
    """

    def __init__(self, lines: ClientLog) -> None:
        self._lines = lines

    def opened(self, peer: str, session: Session) -> None:
        """The client is logged in."""
        lines, session_id, version = self._lines, session.id, session.version.value
        if session.user:
            version = f"{version}, user {escaped(session.user)}"
        if lines.room:
            lines.room -= 1
            lines.early[lines.room] = peer
            _log.info(_OPENED, peer=peer, id=session_id, version=version)
        else:
            lines.info(_log, _OPENED, peer=peer, id=session_id, version=version)

    def is_over_rate(self, peer: str, session: Session) -> None:
        """The client sends too fast; said once for a session."""
        self._lines.info(
            _log,
            "{peer}: session {id} sends faster than [rate] allows to its source or user; "
            "it is read more slowly",
            peer=peer,
            id=session.id,
        )

    def closed(self, peer: str, session: Session, reason: CloseReason, text: str) -> None:
        """The session has ended, by either side."""
        if reason in _USUAL:
            self._lines.info(
                _log, "{peer}: session {id} {why}", peer=peer, id=session.id, why=reason.value
            )
        else:
            self._lines.warn(
                _log,
                "{peer}: session {id} closed by the server: {why} ({text})",
                peer=peer,
                id=session.id,
                why=reason.value,
                text=escaped(text, _MAX_TEXT),
            )

    def gone(self, peer: str, reason: Failure) -> None:
        """The connection has ended before the session."""
        why = "closed" if reason.check(ConnectionDone) else reason.getErrorMessage()
        self._lines.info(_log, "{peer}: gone without DISCONNECT ({why})", peer=peer, why=why)

    def bug(self, peer: str) -> None:
        """Log the exception that is being handled."""
        self._lines.failure(_log, "{peer}: bug while serving a STOMP client", peer=peer)
