"""HTTP connections: the time-out for a request's head, answers to what is not HTTP, the upgrade."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from typing_extensions import override

from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.handshakes import HandshakeTimeout, is_handshake_done
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.connection.liveness import Liveness
from rtchat.net.connection.transport import address_name, as_stream
from rtchat.net.twisted_internals import replace_protocol
from rtchat.net.web.backlogs import HttpBacklogs
from rtchat.net.web.page_request import MAX_BODY_BYTES
from rtchat.net.web.pipeline import PipelinedConnection
from rtchat.net.web.requests import SHOWN_CHARACTERS
from rtchat.net.web.rounds import Rounds
from rtchat.text import escaped, printable

__all__ = ["UpgradableConnection"]

_log = Logger(__package__)


class _Site(Protocol):
    """What a connection needs of its site."""

    clock: IReactorTime
    timeOut: float  # noqa: N815  # Twisted's name
    backlogs: HttpBacklogs
    rounds: Rounds
    liveness: Liveness
    handshake_timeout_s: float
    limiter: SourceLimiter
    client_log: ClientLog


class UpgradableConnection(PipelinedConnection):
    """An HTTP connection that can be handed over to another protocol."""

    maxHeaders = 100  # noqa: N815  # Twisted's name
    site: _Site
    _upgraded: IProtocol | None = None
    _head_timer: IDelayedCall | None = None  # while a request is being received
    _has_request = False
    _is_end_logged = False
    _is_refused = False
    _head_line = b""  # the latest line of the head
    _source: str | None = None  # what the limiter counts it for

    @override
    def connectionMade(self) -> None:
        stream = as_stream(self.transport)
        limiter, peer = self.site.limiter, stream.getPeer()
        if limiter.refused(peer) is not None:
            stream.abortConnection()
        else:
            self._source = limiter.enter(peer)
            self.site.liveness.keep_alive(stream)
            super().connectionMade()

    @override
    def dataReceived(self, data: bytes) -> None:
        if not self.is_closing:  # else Twisted's time-out would begin anew
            super().dataReceived(data)

    @override
    def handle_piece(self) -> int:
        work = super().handle_piece()
        if self._head_timer is None and self._is_request_incomplete():
            # Twisted's own time-out restarts with every byte, so a byte a minute would keep it
            # open.
            self._head_timer = self.site.clock.callLater(
                self.site.handshake_timeout_s, self._head_timed_out
            )
            self.site.backlogs.note(self)
        return work

    @property
    @override
    def source(self) -> Hashable:
        """The address that it counts for; a connection of a front proxy is a source of its own."""
        return self._source or self

    def _is_request_incomplete(self) -> bool:
        if self.is_closing or self.is_answering or self.paused or self._upgraded is not None:
            return False
        return bool(self.requests or self.unhandled_bytes)

    @override
    def lineReceived(self, line: bytes) -> None:
        self._head_line = line
        super().lineReceived(line)

    @override
    def allHeadersReceived(self) -> None:
        self._stop_head_timer()
        self._has_request = True
        if self.length is not None and self.length > MAX_BODY_BYTES:
            self.body_too_large()
        else:
            super().allHeadersReceived()

    def body_too_large(self) -> None:
        """Refuse the body of a request; one in chunks is refused once too much has come."""
        self._refuse(413, f"its body is larger than {MAX_BODY_BYTES} bytes")

    @override
    def allContentReceived(self) -> None:
        if not self._is_refused:
            self._stop_head_timer()
            super().allContentReceived()

    @override
    def lineLengthExceeded(self, line: bytes) -> None:
        self._head_line = line
        self.bad_request_received()

    @override
    def bad_request_received(self) -> None:
        """Answer what is not HTTP; the log shows its beginning, but no query (it may be secret)."""
        if max(self.received_head_bytes, len(self._head_line)) > self.totalHeadersSize:
            self._refuse(400, f"its head is larger than {self.totalHeadersSize} bytes")
        elif self.received_headers > self.maxHeaders:
            self._refuse(400, f"its head has more than {self.maxHeaders} lines")
        elif self._path_for_log():
            self._refuse(400, "its head is not HTTP")
        else:
            begin = self._head_line.partition(b"?")[0].decode("latin-1")
            self._refuse(
                400, f"it does not begin as HTTP does: {printable(begin, SHOWN_CHARACTERS)}"
            )

    @override
    def timeoutConnection(self) -> None:
        # A browser may keep a connection for its next request; its end is not worth a line.
        if self.is_full:
            self._log_end("closed", f"its answers were not taken within {self.timeOut} s")
        elif not self._has_request:
            why = f"no request within {self.timeOut} s"
            self._log_end("closed", why, is_warning=False)
        self.close_or_abort()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reason.check(HandshakeTimeout) is not None:
            self._log_end("refused", reason.getErrorMessage())
        elif self._head_timer is not None:
            self._log_end("broke off", f"its request was incomplete ({reason.getErrorMessage()})")
        elif reason.check(SSL.Error) is not None:
            self._log_end("refused", f"the TLS handshake failed ({_tls_reason(reason.value)})")
        elif not self._has_request and _is_shaking_hands(self.transport):
            self._log_end("broke off", f"during the TLS handshake ({reason.getErrorMessage()})")
        self._stop_head_timer()
        self.site.liveness.windows.forget(as_stream(self.transport))
        try:
            super().connectionLost(reason)
        finally:  # a resource that is told of the end may fail
            self._leave_limiter()

    def _head_timed_out(self) -> None:
        self._head_timer = None
        self._log_end("refused", f"no complete request within {self.site.handshake_timeout_s:g} s")
        as_stream(self.transport).abortConnection()

    @override
    def cut(self, why: str) -> None:
        self._log_end("cut", why)
        super().cut(why)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None and self._head_timer.active():
            self._head_timer.cancel()
        self._head_timer = None

    def _refuse(self, status: int, why: str) -> None:
        """Answer without involving a resource, and close."""
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_head_timer()
        self._log_end("refused", why)
        phrase = RESPONSES[status]
        stream = as_stream(self.transport)
        stream.write(b"HTTP/1.1 %d %s\r\nConnection: close\r\n\r\n" % (status, phrase))
        self.loseConnection()

    def _log_end(self, what: str, why: str, is_warning: bool = True) -> None:
        """Log a request that no resource ever saw; one line per connection."""
        if self._is_end_logged:
            return
        self._is_end_logged = True
        lines = self.site.client_log
        write = lines.warn if is_warning else lines.info
        write(
            _log,
            "{peer}: {what}{path}: {why}",
            peer=address_name(as_stream(self.transport).getPeer()),
            what=what,
            path=self._path_for_log(),
            why=why,
        )

    def _path_for_log(self) -> str:
        """Return a space and the requested path, or "" before the request's first line."""
        text = self.requested_path.partition(b"?")[0].decode("latin-1")
        return f" {escaped(text, SHOWN_CHARACTERS)}" if text else ""

    def _leave_limiter(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            self.site.limiter.leave(source)

    def upgrade_to(self, protocol: IProtocol) -> None:
        """Hand the connection over to a protocol, with all bytes that were read already."""
        transport: Any = self.transport
        self.site.liveness.windows.forget(transport)
        self.stop_counting()
        self._leave_limiter()
        self.setTimeout(None)
        transport.unregisterProducer()
        self._upgraded = protocol
        replace_protocol(transport, protocol)
        self.requests.clear()
        self.hand_over_rest()
        # Before makeConnection(), in which the protocol may pause reading.
        transport.resumeProducing()
        protocol.makeConnection(transport)

    @override
    def rawDataReceived(self, data: bytes) -> None:
        if self._upgraded is not None:
            self._upgraded.dataReceived(data)
        else:
            super().rawDataReceived(data)


def _is_shaking_hands(transport: object) -> bool:
    """Return whether a client is in the middle of a TLS handshake."""
    if not isinstance(transport, TLSMemoryBIOProtocol):
        return False
    handle: SSL.Connection = transport.getHandle()
    return handle.client_random() is not None and not is_handshake_done(transport)


def _tls_reason(error: BaseException | None) -> str:
    """Return OpenSSL's reasons, of which there may be several, for a failed handshake."""
    causes = error.args[0] if error is not None and error.args else None
    if not isinstance(causes, list) or not causes:
        return "the connection was closed"
    return ", ".join(cause[-1] or "unknown" for cause in causes)
