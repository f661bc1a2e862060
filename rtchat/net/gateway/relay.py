"""Relaying between a WebSocket and TCP; each side is paused while the other does not read.

The access list was checked before the upgrade (see :mod:`rtchat.net.gateway.resource`).

A WebSocket has no half-close, so the end of each direction is passed on as far as possible::

    target half-closes  →  browser: remaining bytes, then close 1000; what the browser sent
                           before it learned of this still goes to the target
    browser closes      →  target: remaining bytes, then a FIN; what the target sends after that
                           is read and dropped, because a reset would discard the browser's
                           last bytes
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.core.access.addresses import source_key
from rtchat.core.access.hosts import Target
from rtchat.core.access.proxy_protocol import write_header
from rtchat.errors import AccessDenied
from rtchat.net.connection.client_address import ClientAddress
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.limits import ConnectionLimiter
from rtchat.net.connection.linger import Linger
from rtchat.net.connection.liveness import Liveness
from rtchat.net.connection.relayed import Relayed
from rtchat.net.connection.splice import PipePool
from rtchat.net.gateway.resolver import Endpoints
from rtchat.net.gateway.target_side import READ_BYTES, TargetFactory, TargetProtocol
from rtchat.net.twisted_internals import set_read_size
from rtchat.net.websocket.transport import WebSocket

__all__ = ["ProxyFactory", "ProxyProtocol"]

_log = Logger(__package__)


LINGER_S = 30.0
"""How long one side may take none of the last bytes of the other, which is gone."""

# Close codes (RFC 6455, 7.4.1, and its registry).
_DONE = 1000
_IDLE = 1001
_POLICY = 1008
_UNREACHABLE = 1011
_TRY_LATER = 1013


class ProxyProtocol(Protocol):
    """The browser's side of the gateway; connects to the target once the WebSocket is open."""

    transport: WebSocket

    def __init__(self, client: ClientAddress, factory: ProxyFactory) -> None:
        self.factory = factory
        self.target = factory.target
        self._client = client
        self._route = f"{client} -> {factory.target}"
        self._source = source_key(client.host)
        self._is_counted = False
        self._linger: Linger | None = None  # once the browser is gone
        self._connecting: Deferred[IProtocol] | None = None
        self._own_end: tuple[str, int] | None = None  # of a connection to this server itself
        self._connect_timer: IDelayedCall | None = None
        self._idle_timer: IDelayedCall | None = None
        self._active_s = 0.0
        self._has_timed_out = False
        self._is_closing = False  # by us; the browser still has to answer
        self._is_lost = False
        self._outgoing: TargetProtocol | None = None
        self._early_data: list[bytes] = []  # sent by the browser before the target was connected

    # The browser

    @override
    def connectionMade(self) -> None:
        factory = self.factory
        # The WebSocket's own log lines about this connection name the target, too.
        self.transport.peer = self._route
        self.transport.on_gone = self._gone
        set_read_size(self.transport.transport, READ_BYTES)
        user = self._client.user
        if (reached := factory.limiter.reached(self._source, self.target, user)) is not None:
            limit = f"[proxy] connections.{reached.name} = {reached.maximum}"
            self._log_end("refused", f"{limit} is reached", is_refusal=True)
            if reached.name in ("per_source", "per_user"):
                self._close(_POLICY, "too many connections")
            else:
                self._close(_TRY_LATER, "too many connections, try later")
            return
        factory.limiter.enter(self._source, self.target, user)
        self._is_counted = True
        # Until the target is connected, nothing is read beyond what came with the request.
        self.transport.pauseProducing()
        # The time-out includes the look-up of the name. (Not Deferred.addTimeout: it recognises
        # its own cancellation by CancelledError, and endpoints fail with other errors.)
        self._connect_timer = factory.clock.callLater(factory.connect_timeout_s, self._timed_out)
        self._connecting = connecting = factory.endpoints(self.target).connect(factory.outgoing)
        if factory.relayed is not None:
            factory.relayed.connecting += 1
        connecting.addCallbacks(self._connected, self._failed)
        connecting.addErrback(self._handle_bug)

    @override
    def dataReceived(self, data: bytes) -> None:
        outgoing = self._outgoing
        if outgoing is not None:
            if self._idle_timer is not None:
                self._active_s = self.factory.clock.seconds()
            outgoing.writer.write_now(data)
        elif not self._is_closing:
            self._early_data.append(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self._early_data.clear()
        if self._connecting is not None:
            self._connecting.cancel()
        outgoing = self._outgoing
        if not self.transport.has_closed:
            self._log_end("browser broke off", f"no close frame ({reason.getErrorMessage()})")
        elif self._is_closing and reason.check(ConnectionAborted) is not None:
            self._log_end("browser cut", "it did not take the last bytes in time")
        if outgoing is None:
            self._both_ended()
            return
        outgoing.finish()
        self._wait_for_target(outgoing)

    def _gone(self, is_broken: bool) -> None:
        """The browser is gone while it was not read: what it sent still goes to the target."""
        if self._outgoing is not None:
            self._wait_for_target(self._outgoing)
        elif is_broken or self._connecting is None:
            self.transport.abortConnection()

    # The target

    def note_activity(self) -> None:
        """The target has sent something: the idle time begins anew."""
        self._active_s = self.factory.clock.seconds()

    def target_finished(self) -> None:
        """The target has half-closed: close, but relay what the browser still sends."""
        self.transport.unregisterProducer()
        # Until the browser learns of it, what it sends is meant for the target.
        self.transport.receives_after_close = True
        if self._outgoing is not None:
            self.transport.other_progress = self._outgoing.progress
        self._close(_DONE, "target closed the connection", LINGER_S)

    def target_lost(self, reason: Failure) -> None:
        """The target is gone: send the browser what is left, then close."""
        outgoing, self._outgoing = self._outgoing, None
        if self.factory.relayed is not None and self._own_end is not None:
            self.factory.relayed.forget(self._own_end)
        if self._is_lost:
            self._both_ended()
            return
        if self._linger is not None:
            self._linger.stop()
        is_broken = reason.check(ConnectionDone) is None
        if is_broken and not self._is_closing:
            self._log_end("target broke off", reason.getErrorMessage())
        self.transport.unregisterProducer()
        # Nothing takes what the browser sends now; only its close frame is waited for.
        self.transport.receives_after_close = False
        self.transport.resumeProducing()
        if is_broken and outgoing is not None and outgoing.has_lost_bytes:
            self._close(_UNREACHABLE, "target broke off, bytes for it are lost", LINGER_S)
        else:
            self._close(_DONE, "target closed the connection", LINGER_S)

    def _connected(self, outgoing: IProtocol) -> None:
        self._end_connecting()
        assert isinstance(outgoing, TargetProtocol)
        self._outgoing = outgoing
        if self.factory.relayed is not None:
            assert outgoing.transport is not None
            self._own_end = self.factory.relayed.note(outgoing.transport.getHost(), self._client)
        if self.factory.has_proxy_header:
            outgoing.writer.write_now(self._own_proxy_header())
        early, self._early_data = self._early_data, []
        for data in early:
            outgoing.writer.write_now(data)
        if self.factory.idle_timeout_s > 0:
            self._active_s = self.factory.clock.seconds()
            outgoing.is_timed = True
            self._idle_timer = self.factory.clock.callLater(
                self.factory.idle_timeout_s, self._check_idle
            )
        self.transport.resumeProducing()
        outgoing.pair_with(self)

    def _own_proxy_header(self) -> bytes:
        client, own = self._client, self.transport.getHost()
        own_host, own_port = getattr(own, "host", None), getattr(own, "port", 0)
        return write_header(
            None if client.host is None else (client.host, client.port),
            None if own_host is None else (own_host, own_port),
        )

    def _failed(self, reason: Failure) -> None:
        self._end_connecting()
        if self._is_lost:
            return  # the browser is gone
        why = reason.getErrorMessage()
        if self._has_timed_out:
            why = f"no connection within {self.factory.connect_timeout_s:g} s"
        what = "refused" if reason.check(AccessDenied) else "cannot connect"
        self._log_end(what, why, is_refusal=True)
        # The reason is for the log only: the page might be scanning for targets.
        self._close(_UNREACHABLE, "target unreachable")

    def _handle_bug(self, reason: Failure) -> None:
        lines = self.factory.client_log
        lines.failure(_log, "{peer}: bug while connecting", reason, peer=self._route)
        if self._outgoing is not None:
            self._outgoing.abort()
        self._close(_UNREACHABLE, "internal error")

    # Ends

    def _timed_out(self) -> None:
        self._has_timed_out = True
        if self._connecting is not None:
            self._connecting.cancel()

    def _end_connecting(self) -> None:
        if self.factory.relayed is not None and self._connecting is not None:
            self.factory.relayed.connecting -= 1
        self._connecting = None
        if self._connect_timer is not None and self._connect_timer.active():
            self._connect_timer.cancel()

    def _check_idle(self) -> None:
        if self.transport.has_closed:
            return  # it is closing already, and the reason is logged
        clock, timeout_s = self.factory.clock, self.factory.idle_timeout_s
        left_s = self._active_s + timeout_s - clock.seconds()
        if left_s > 0:
            self._idle_timer = clock.callLater(left_s, self._check_idle)
            return
        self._log_end("idle", f"no byte in either direction for {timeout_s:g} s")
        self._close(_IDLE, f"idle for {timeout_s:g} s")

    def _log_end(self, what: str, why: str, is_refusal: bool = False) -> None:
        """Log how this connection ended, with one line per connection."""
        if not self.transport.is_end_logged:
            self.transport.is_end_logged = True
            lines = self.factory.client_log
            write = lines.warn if is_refusal else lines.info
            write(_log, "{peer}: {what}: {why}", peer=self._route, what=what, why=why)

    def _close(self, code: int, reason: str, grace_s: float | None = None) -> None:
        self._is_closing = True
        self._stop_idle_timer()
        if grace_s is None:
            self.transport.close_with(code, reason)
        else:
            self.transport.close_with(code, reason, grace_s)

    def _wait_for_target(self, outgoing: TargetProtocol) -> None:
        """Cut the target, which the browser has left, once it takes nothing any more."""
        if self._linger is None:
            self._linger = Linger(
                self.factory.clock, outgoing.progress, lambda: self._abort_target(outgoing)
            )
            self._linger.wait(LINGER_S)

    def _abort_target(self, outgoing: TargetProtocol) -> None:
        self._log_end("target cut", f"it did not end within {LINGER_S:g} s after the browser")
        outgoing.abort()
        if not self._is_lost:
            self.transport.abortConnection()

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None and self._idle_timer.active():
            self._idle_timer.cancel()

    def _both_ended(self) -> None:
        """Both sides are gone."""
        self._stop_idle_timer()
        self._end_connecting()
        if self._linger is not None:
            self._linger.stop()
        if self._is_counted:
            self._is_counted = False
            self.factory.limiter.leave(self._source, self.target, self._client.user)


class ProxyFactory(Factory):
    """Builds the browser's side for one target.

    Args:
        target: Where the bytes go.
        endpoints: Returns the endpoint of a target.
        clock: Runs the timers.
        connect_timeout_s: Seconds until the target must be connected, look-up included.
        idle_timeout_s: Seconds without a byte in either direction until both sides are closed;
            0 never closes.
        limiter: Counts the connections to all targets together.
        pipes: Lends pipes for splicing; all targets of a process should share a pool, which limits
            the open files.
        has_proxy_header: Whether the connection to the target begins with a PROXY protocol header
            that names the browser's address.
        client_log: Where lines about browsers are written; by default a log of its own.
        relayed: Learns for whom connections are made, if the target is a port of this server.
    """

    noisy = False

    def __init__(
        self,
        target: Target,
        endpoints: Endpoints,
        clock: IReactorTime,
        connect_timeout_s: float,
        *,
        idle_timeout_s: float = 0.0,
        limiter: ConnectionLimiter | None = None,
        pipes: PipePool | None = None,
        has_proxy_header: bool = False,
        client_log: ClientLog | None = None,
        relayed: Relayed | None = None,
    ) -> None:
        self.relayed = relayed
        self.target = target
        self.endpoints = endpoints
        self.clock = clock
        self.connect_timeout_s = connect_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.limiter = limiter or ConnectionLimiter()
        self.has_proxy_header = has_proxy_header
        self.client_log = client_log or ClientLog(clock)
        self.outgoing = TargetFactory(pipes or PipePool(), Liveness(clock))

    @override
    def buildProtocol(self, addr: IAddress | ClientAddress | None) -> ProxyProtocol:
        return ProxyProtocol(
            addr if isinstance(addr, ClientAddress) else ClientAddress.at(addr), self
        )
