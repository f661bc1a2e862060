"""The end of a WebSocket: close frames both ways, and how long the other side may take for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from typing_extensions import override

from rtchat.core.websocket.framing import close_frame
from rtchat.net.connection.linger import Linger
from rtchat.net.connection.liveness import progress_of
from rtchat.net.connection.transport import StreamTransport
from rtchat.net.connection.writer import ConnectionWriter
from rtchat.net.websocket.txws_adapter import TxwsConnection

__all__ = ["CLOSE_GRACE_S", "ClosingConnection"]

CLOSE_GRACE_S = 5.0
"""How long the other side may take nothing, or not answer a close frame, before it is cut."""


class _Factory(Protocol):
    clock: IReactorTime


class ClosingConnection(TxwsConnection):
    """The part of a WebSocket that ends it.

    Attributes:
        other_progress: While ``receives_after_close`` holds, returns what changes as the wrapped
            protocol disposes of what still comes.
        on_lost: Called once the connection is gone.
    """

    factory: _Factory
    transport: StreamTransport
    writer: ConnectionWriter
    disconnecting: bool
    other_progress: Callable[[], object] | None = None
    on_lost: Callable[[], object] | None = None

    receives_after_close = False
    """Whether data that arrives between our close frame and the other side's is still passed up,
    and may be paused: for a wrapped protocol that closes only its own direction."""

    has_closed = False
    """Whether either side has begun the closing handshake; otherwise the connection broke off."""

    is_open = False
    """Whether the handshake is done and no close frame was sent."""

    _is_answered = False
    _is_lost = False
    _is_reading = True
    _early_close: tuple[int, str, float] | None = None  # asked for before the handshake
    _linger: Linger | None = None  # while it is closing

    def resumeProducing(self) -> None:
        """Resume reading."""
        raise NotImplementedError

    @override
    def loseConnection(self) -> None:
        """Close with the code 1000."""
        self.close_with(1000, "")

    def close_with(self, code: int, reason: str, grace_s: float = CLOSE_GRACE_S) -> None:
        """Send what was written, then a close frame; abort if the other side does not answer.

        Of several calls, the first one's code and reason are sent, and the shortest time counts.

        Args:
            code: A close code of RFC 6455 or of this server.
            reason: A text for people.
            grace_s: Seconds that the other side may take none of the bytes that wait for it, and
                then for its answer.
        """
        if self._is_lost:
            return
        if self.disconnecting:
            self._abort_after(grace_s)
            return
        self.disconnecting = True
        if self._is_answered:
            self._send_close(code, reason, grace_s)
        else:
            self._early_close = (code, reason, grace_s)

    def _send_close(self, code: int, reason: str, grace_s: float) -> None:
        self.has_closed = True
        if self.is_open:
            self.is_open = False
            self.writer.write_now(close_frame(code, reason))
        if not self.receives_after_close:
            self._resume_reading()
        self._abort_after(grace_s)

    def abortConnection(self) -> None:
        """Close TCP at once; unsent bytes are lost."""
        self.transport.abortConnection()

    def _close_transport(self, *, linger: bool) -> None:
        """Close TCP once everything is sent; abort if the other side does not read."""
        self._resume_reading()
        self.writer.close(linger=linger)
        self._abort_after(CLOSE_GRACE_S)

    def _resume_reading(self) -> None:
        """Read on while closing, even if reading was paused, to receive the close frame."""
        if not self._is_reading:
            self.resumeProducing()

    def end_within(self, limit_s: float) -> None:
        """Abort if the connection, which is closing, is still there after this time."""
        if not self._is_lost:
            self._lingering().end_within(limit_s)

    def _abort_after(self, grace_s: float) -> None:
        if not self._is_lost:
            self._lingering().wait(grace_s)

    def _lingering(self) -> Linger:
        if self._linger is None:
            self._linger = Linger(self.factory.clock, self._progress, self.abortConnection)
        return self._linger

    def _progress(self) -> object:
        """Return what changes while the other side takes bytes, or its own last ones are taken."""
        taken = progress_of(self.transport, self.writer.waiting_bytes)
        if self.receives_after_close and self.other_progress is not None:
            return taken, self.other_progress()
        return taken
