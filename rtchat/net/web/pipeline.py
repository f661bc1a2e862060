"""Requests that come before the answer to an earlier one: each waits for its turn.

Twisted handles them one by one, but as fast as they come while resources answer at once, and
whether or not the client takes the answers: it pauses reading only between two requests, and what
it has read it handles to the end. Here, a client that does not take its answers is not read, and
of what was read one request is answered in one turn of the reactor. In a round of the reactor that
has had many requests, also of other connections, what comes next waits for a later one.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from rtchat.net.connection.linger import Linger
from rtchat.net.connection.liveness import progress_of
from rtchat.net.connection.transport import as_stream
from rtchat.net.twisted_internals import HTTPConnection, waiting_bytes
from rtchat.net.web.backlogs import HttpBacklogs
from rtchat.net.web.rounds import LINE_WORK, READ_WORK, REQUEST_WORK, Rounds

__all__ = ["PipelinedConnection"]

_HEADER_BYTES = 300
"""What a header line takes in memory beside its bytes."""

_PIECE_BYTES = 4 * 1024
"""So much of what was read is handled at once: a body may come in chunks of a byte each."""

_READ_AHEAD_BYTES = 16 * 1024
"""So much of later requests is read while one is being answered: enough to notice a client that
goes."""


class _Site(Protocol):
    """What a connection needs of its site."""

    clock: IReactorTime
    backlogs: HttpBacklogs
    rounds: Rounds
    timeOut: float  # noqa: N815  # Twisted's name


@implementer(IHalfCloseableProtocol)
class PipelinedConnection(HTTPConnection):
    """An HTTP connection that answers one request a turn, and only while its client takes answers.

    A client may close its direction after its last request; it gets the whole answer.

    Attributes:
        is_answering: Whether a request is complete and its answer is not.
        is_full: Whether answers wait for the client to take them.
        has_client_ended: Whether the client has closed its direction.
    """

    site: _Site
    is_answering = False
    is_full = False
    has_client_ended = False
    _is_lost = False
    _work = 0  # of the present piece
    _rest = b""  # what was read, of which nothing is handled yet
    _linger: Linger | None = None  # once the client has closed its direction

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the client, or came from it and wait for their turn."""
        head = self.received_head_bytes + self.received_headers * _HEADER_BYTES
        bodies: int = sum(request.body_bytes for request in self.requests)
        return waiting_bytes(self.transport) + self.unhandled_bytes + head + bodies

    @property
    @override
    def unhandled_bytes(self) -> int:
        return super().unhandled_bytes + len(self._rest)

    @property
    def source(self) -> Hashable:
        """What it shares its place among those that wait with: here, nothing."""
        return self

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is answered."""
        return self._is_lost or bool(getattr(self.transport, "disconnecting", False))

    @override
    def dataReceived(self, data: bytes) -> None:
        rounds = self.site.rounds
        if self._rest:
            self._rest += data
            if self.unhandled_bytes > _READ_AHEAD_BYTES:
                as_stream(self.transport).pauseProducing()
        elif self.paused or self.is_answering:
            super().dataReceived(data)  # which keeps it
        elif rounds.is_over:
            self._rest = data
            self._wait()
        else:
            self._rest = data
            rounds.note(self.handle_piece())

    def handle_piece(self) -> int:
        """Handle a piece of what was read, with the end of one request at most.

        Returns:
            The work of that.
        """
        self._work = READ_WORK
        piece, self._rest = self._rest[:_PIECE_BYTES], self._rest[_PIECE_BYTES:]
        super().dataReceived(piece)
        if self._rest and not (self.paused or self.is_answering or self.is_closing):
            self._wait()
        return self._work

    def hand_over_rest(self) -> None:
        """Put all that was read behind the present piece, for the protocol that takes over."""
        rest, self._rest = self._rest, b""
        super().dataReceived(rest)  # which keeps it while a piece is being handled

    @override
    def take_unhandled(self) -> bytes:
        rest, self._rest = self._rest, b""
        return super().take_unhandled() + rest

    def _wait(self) -> None:
        """Handle what was read in a later round."""
        self.paused = True
        as_stream(self.transport).pauseProducing()
        self.site.backlogs.count(self)
        self.site.rounds.join(self)

    @override
    def setLineMode(self, extra: bytes = b"") -> None:
        """Go on with the lines behind a body; they come before what is not handled yet."""
        self.line_mode = 1
        if extra and not self.is_closing:
            super().dataReceived(extra)

    @override
    def lineReceived(self, line: bytes) -> None:
        self._work += LINE_WORK
        super().lineReceived(line)

    @override
    def allContentReceived(self) -> None:
        self._work += REQUEST_WORK
        self.is_answering = True
        super().allContentReceived()

    @override
    def rawDataReceived(self, data: bytes) -> None:
        if not self.is_answering:
            self._work += len(data)
        super().rawDataReceived(data)
        # Twisted's own limit holds only for clients that take what is written to them.
        if self.is_answering and self.unhandled_bytes > _READ_AHEAD_BYTES:
            as_stream(self.transport).pauseProducing()

    @override
    def requestDone(self, request: Any) -> None:
        self.is_answering = False
        self.paused = True  # the loop over what was read ends behind this request
        super().requestDone(request)
        if self._is_lost:
            return
        self.site.backlogs.note(self)
        if self.is_closing:
            self.paused = False
            self.setTimeout(self.site.timeOut)  # for a client that does not take the rest
        elif self.unhandled_bytes:
            as_stream(self.transport).pauseProducing()
            if not self.is_full:
                self.site.rounds.join(self)
        else:
            self.paused = False
            if self.has_client_ended:
                self.loseConnection()
            elif self.is_full:
                as_stream(self.transport).pauseProducing()

    @override
    def pauseProducing(self) -> None:
        """Answers wait for the client: answer nothing more.

        A plain socket says so with each write, and that there is room once. The producer of a file
        would have to hear the latter as often.
        """
        if not self.is_full:
            self.is_full = True
            self.site.backlogs.count(self)
            super().pauseProducing()

    @override
    def resumeProducing(self) -> None:
        """The client has taken its answers."""
        self.is_full = False
        super().resumeProducing()
        self.site.backlogs.note(self)
        if self.paused and not self.is_answering:
            as_stream(self.transport).pauseProducing()
            self.site.rounds.join(self)

    def go_on(self) -> int:
        """Handle a piece of what was read already, with the end of one request at most.

        Returns:
            The work of that.
        """
        if self.is_closing or self.is_full:
            return 0
        self.paused = False
        as_stream(self.transport).resumeProducing()
        work = self.handle_piece()
        if self.has_client_ended:
            self._close_if_idle()
        return work

    def readConnectionLost(self) -> None:  # noqa: N802
        """The client has closed its direction: close once it has the answers it waits for.

        It may have closed the whole connection; then it takes nothing any more.
        """
        self.has_client_ended = True
        self._close_if_idle()
        if not self.is_closing:
            quiet_s = self.site.timeOut
            self._linger = Linger(
                self.site.clock,
                lambda: progress_of(self.transport, 0),
                lambda: self.cut(f"it sends nothing more, and took nothing for {quiet_s} s"),
            )
            self._linger.wait(quiet_s)

    def writeConnectionLost(self) -> None:  # noqa: N802
        """Do nothing: this direction is never closed alone here."""

    def _close_if_idle(self) -> None:
        if not self.is_answering and not self.paused and not self.is_closing:
            as_stream(self.transport).loseConnection()

    def cut(self, why: str) -> None:
        """Close the connection at once.

        Args:
            why: The reason, for the log.
        """
        as_stream(self.transport).abortConnection()

    def close_for_memory(self, waiting_bytes: int, limit: int) -> None:
        """Cut the connection, because memory is used up and most of it waits here."""
        self.cut(
            f"{waiting_bytes} bytes wait for it to read, more than for any other, and "
            f"[broker] memory.max_bytes = {limit} is reached"
        )

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self.stop_counting()
        super().connectionLost(reason)

    def stop_counting(self) -> None:
        """Answer no more requests, and count no more bytes."""
        self.site.rounds.leave(self)
        if self._linger is not None:
            self._linger.stop()
        self.site.backlogs.forget(self)
