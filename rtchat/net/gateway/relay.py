"""WebSocket to TCP: two streams, each paused while the other side does not read.

Whether a target may be reached was decided before the upgrade (see :mod:`rtchat.net.web.site`).

A WebSocket has no half-close, so each end is carried through as far as it can be::

    target closes its direction  →  browser: its bytes, then close 1000; what the browser sent
                                    before it knew still goes to the target
    browser closes               →  target: its bytes, then a FIN; what the target sends after
                                    that is read and dropped, since a reset would take the
                                    browser's last bytes with it
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IReactorTime,
)
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.access.addresses import source_key
from rtchat.core.access.hosts import Target
from rtchat.core.access.proxy_protocol import write_header
from rtchat.core.flow.outbound import Cork
from rtchat.errors import AccessDenied
from rtchat.net.connection.client_address import ClientAddress
from rtchat.net.connection.limits import TRY_LATER, Caps
from rtchat.net.connection.splice import shared_pipes
from rtchat.net.connection.transport import PauseForwarder, as_stream, set_no_delay
from rtchat.net.connection.writer import ConnectionWriter
from rtchat.net.gateway.resolver import Endpoints
from rtchat.net.twisted_internals import (
    is_plain_socket,
    override_read,
    read_once,
    replace_protocol,
    restore_read,
    set_read_size,
)
from rtchat.net.websocket.transport import WebSocket

__all__ = ["ProxyFactory", "ProxyProtocol"]


LINGER_S = 30.0
"""How long either side may take for the last bytes of the other, which has gone."""

_READ_BYTES = 120 * 1024
"""How much is read at once: half as much again goes through for a CPU second as with Twisted's
64 KiB (see benchmarks/). With the 64 KiB that may wait before a pause it stays well below the
256 KiB that a stalled side may cost, and below the 128 KiB from which on malloc asks the kernel
for every buffer."""

_MUCH_BYTES = 32 * 1024
"""From a read of this size on what follows goes to the browser through a pipe, until there is
less: nearly twice as much goes through for a CPU second, and for small pieces a read costs less."""

_DONE = 1000

_IDLE = 1001

_UNREACHABLE = 1011


class ProxyProtocol(Protocol):
    """The browser's side; it connects to the target as soon as the WebSocket is open."""

    log = Logger(__package__)
    transport: WebSocket

    def __init__(self, client: ClientAddress, factory: ProxyFactory) -> None:
        self.factory = factory
        self.target = factory.target
        self._client = client
        self._way = f"{client} -> {factory.target}"
        self._source = source_key(client.host)
        self._holds_place = False
        self._linger: IDelayedCall | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._timeout: IDelayedCall | None = None
        self._idle: IDelayedCall | None = None
        self._active_s = 0.0
        self._has_timed_out = False
        self._is_closing = False  # from our side; the browser still has to answer
        self._is_lost = False
        self._outgoing: _TargetProtocol | None = None
        self._early: list[bytes] = []  # what the browser sent before the target answered

    # The browser

    @override
    def connectionMade(self) -> None:
        factory = self.factory
        # What the WebSocket has to say about this connection names the target, too.
        self.transport.peer = self._way
        set_read_size(self.transport.transport, _READ_BYTES)
        if (refused := factory.caps.refusal(self.target, self._source)) is not None:
            code, why = refused
            self._tell("refused", why, is_refusal=True)
            text = "too many connections"
            self._close(code, f"{text}, try later" if code == TRY_LATER else text)
            return
        factory.caps.enter(self.target, self._source)
        self._holds_place = True
        # Until the target is there, nothing more is read than what came with the request.
        self.transport.pauseProducing()
        # The look-up of a name takes its part of the time, too. (Not Deferred.addTimeout: it
        # knows a cancelled Deferred by its CancelledError, and endpoints fail with others.)
        self._timeout = factory.clock.callLater(factory.connect_timeout_s, self._timed_out)
        self._connecting = connecting = factory.endpoints(self.target).connect(factory.outgoing)
        connecting.addCallbacks(self._connected, self._failed)
        connecting.addErrback(self._bug)

    @override
    def dataReceived(self, data: bytes) -> None:
        outgoing = self._outgoing
        if outgoing is not None:
            if self._idle is not None:
                self._active_s = self.factory.clock.seconds()
            outgoing.writer.write_now(data)
        elif not self._is_closing:
            self._early.append(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self._early.clear()
        if self._connecting is not None:
            self._connecting.cancel()
        outgoing = self._outgoing
        if not self.transport.has_closed:
            self._tell("browser broke off", f"no close frame ({reason.getErrorMessage()})")
        elif self._is_closing and reason.check(ConnectionAborted) is not None:
            self._tell("browser cut", "it did not take the last bytes in time")
        if outgoing is None:
            self._end()
            return
        self._linger = self.factory.clock.callLater(LINGER_S, self._cut, outgoing)
        outgoing.finish()

    # The target

    def note_life(self) -> None:
        """The target has sent something, and there is a limit to its silence."""
        self._active_s = self.factory.clock.seconds()

    def target_finished(self) -> None:
        """The target sends no more; it may still read."""
        self.transport.unregisterProducer()
        # Until the browser has heard of it, what it sends is meant for the target.
        self.transport.delivers_late = True
        self._close(_DONE, "target closed the connection", LINGER_S)

    def target_lost(self, reason: Failure) -> None:
        """The target is gone: hand out what is left, then close."""
        self._outgoing = None
        if self._is_lost:
            self._end()
            return
        if reason.check(ConnectionDone) is None and not self._is_closing:
            self._tell("target broke off", reason.getErrorMessage())
        self.transport.unregisterProducer()
        # Nobody takes what the browser sends: its part of the close is all that is listened for.
        self.transport.delivers_late = False
        self.transport.resumeProducing()
        self._close(_DONE, "target closed the connection", LINGER_S)

    def _connected(self, outgoing: IProtocol) -> None:
        self._end_connecting()
        assert isinstance(outgoing, _TargetProtocol)
        self._outgoing = outgoing
        if self.factory.has_proxy_header:
            outgoing.writer.write_now(self._proxy_header())
        early, self._early = self._early, []
        for data in early:
            outgoing.writer.write_now(data)
        if self.factory.idle_timeout_s > 0:
            self._active_s = self.factory.clock.seconds()
            outgoing.is_timed = True
            self._idle = self.factory.clock.callLater(
                self.factory.idle_timeout_s, self._look_for_life
            )
        self.transport.resumeProducing()
        outgoing.pair_with(self)

    def _proxy_header(self) -> bytes:
        client, own = self._client, self.transport.getHost()
        own_host, own_port = getattr(own, "host", None), getattr(own, "port", 0)
        return write_header(
            None if client.host is None else (client.host, client.port),
            None if own_host is None else (own_host, own_port),
        )

    def _failed(self, reason: Failure) -> None:
        self._end_connecting()
        if self._is_lost:
            return  # nobody waits for it any more
        why = reason.getErrorMessage()
        if self._has_timed_out:
            why = f"no connection within {self.factory.connect_timeout_s:g} s"
        what = "refused" if reason.check(AccessDenied) else "cannot connect"
        self._tell(what, why, is_refusal=True)
        # The browser learns no more than that: it might be scanning.
        self._close(_UNREACHABLE, "target unreachable")

    def _bug(self, reason: Failure) -> None:
        self.log.failure("{way}: bug while connecting", reason, way=self._way)
        if self._outgoing is not None:
            self._outgoing.cut()
        self._close(_UNREACHABLE, "internal error")

    # Ends

    def _timed_out(self) -> None:
        self._has_timed_out = True
        if self._connecting is not None:
            self._connecting.cancel()

    def _end_connecting(self) -> None:
        self._connecting = None
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()

    def _look_for_life(self) -> None:
        if self.transport.has_closed:
            return  # it ends already, and was told why
        clock, timeout_s = self.factory.clock, self.factory.idle_timeout_s
        left_s = self._active_s + timeout_s - clock.seconds()
        if left_s > 0:
            self._idle = clock.callLater(left_s, self._look_for_life)
            return
        self._tell("idle", f"no byte in either direction for {timeout_s:g} s")
        self._close(_IDLE, f"idle for {timeout_s:g} s")

    def _tell(self, what: str, why: str, is_refusal: bool = False) -> None:
        """Write the one line about how this connection ended, if it did not end well."""
        if not self.transport.is_told:
            self.transport.is_told = True
            level = LogLevel.warn if is_refusal else LogLevel.info
            self.log.emit(level, "{way}: {what}: {why}", way=self._way, what=what, why=why)

    def _close(self, code: int, reason: str, grace_s: float | None = None) -> None:
        self._is_closing = True
        self._stop_idle()
        if grace_s is None:
            self.transport.close_with(code, reason)
        else:
            self.transport.close_with(code, reason, grace_s)

    def _cut(self, outgoing: _TargetProtocol) -> None:
        self._tell("target cut", f"it did not end within {LINGER_S:g} s after the browser")
        outgoing.cut()

    def _stop_idle(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.cancel()

    def _end(self) -> None:
        """Both sides are gone."""
        self._stop_idle()
        self._end_connecting()
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        if self._holds_place:
            self._holds_place = False
            self.factory.caps.leave(self.target, self._source)


@implementer(IHalfCloseableProtocol)
class _TargetProtocol(Protocol):
    """The target's side.

    Attributes:
        writer: The way out to the target.
        is_timed: Whether the browser's side has to know when something comes.
    """

    is_timed = False

    browser: ProxyProtocol | None = None
    _has_finished = False
    _is_gone = False
    _gone_because = Failure(ConnectionLost())
    _can_splice = False

    def __init__(self, cork: Cork) -> None:
        self._cork = cork

    @override
    def connectionMade(self) -> None:
        self._stream = as_stream(self.transport)
        self.writer = ConnectionWriter(self._stream, self._cork)
        self._is_draining = False

    def pair_with(self, browser: ProxyProtocol) -> None:
        """Pass everything on; what came earlier waits in the socket, but for an end."""
        self.browser = browser
        if self._is_gone:
            browser.target_lost(self._gone_because)
            return
        set_no_delay(self._stream)
        if is_plain_socket(self._stream):
            # The endpoint's wrapper has done its work: one call less for every read.
            replace_protocol(self._stream, self)
        # How much waits behind TLS is not known to the byte: two reads more may come before the
        # pause, and these have to be small.
        if is_plain_socket(browser.transport.transport):
            set_read_size(self._stream, _READ_BYTES)
            self._can_splice = is_plain_socket(self._stream)
        # Each side is the other's producer: one that does not read stops the other's reading.
        browser.transport.registerProducer(PauseForwarder(self._stream), True)
        self.writer.register_producer(PauseForwarder(browser.transport))
        if self._has_finished:
            browser.target_finished()

    def finish(self) -> None:
        """The browser has gone: send what is left, and tell the target that this was all."""
        self._is_draining = True
        self.writer.unregister_producer()
        self.writer.flush_all()
        self._stream.unregisterProducer()
        if self._has_finished:
            self._stream.loseConnection()
        else:
            self._stream.resumeProducing()
            self._stream.loseWriteConnection()

    def cut(self) -> None:
        """Close now."""
        self._stream.abortConnection()

    @override
    def dataReceived(self, data: bytes) -> None:
        browser = self.browser
        if browser is not None and not self._is_draining:
            if self.is_timed:
                browser.note_life()
            browser.transport.write(data)
            if len(data) >= _MUCH_BYTES and self._can_splice:
                override_read(self._stream, self._pass_on)

    def _pass_on(self) -> object:
        """Do what the transport's ``doRead`` does, without a copy, while much comes."""
        stream: Any = self._stream
        browser, size = self.browser, 0
        if browser is not None and not self._is_draining:
            room = browser.transport.splice_capacity_bytes
            pipe = shared_pipes().borrow() if room else None
            if pipe is not None:
                try:
                    size = pipe.fill(stream.fileno(), room)
                except OSError:
                    pipe.give_back()
                    restore_read(stream)
                    return CONNECTION_LOST
                if size:
                    if self.is_timed:
                        browser.note_life()
                    browser.transport.write_spliced(pipe, size)
                else:
                    pipe.give_back()
        if size < _MUCH_BYTES:
            restore_read(stream)
        return None if size else read_once(stream)

    def readConnectionLost(self) -> None:  # noqa: N802
        """The target has closed its direction."""
        self._has_finished = True
        if self._is_draining:
            self._stream.loseConnection()
        elif self.browser is not None:
            self.browser.target_finished()

    def writeConnectionLost(self) -> None:  # noqa: N802
        """Our direction is closed, as we wanted."""

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_gone = True
        self._gone_because = reason
        browser, self.browser = self.browser, None
        if browser is not None:
            browser.target_lost(reason)


class _TargetFactory(Factory):
    """Builds the target's side."""

    noisy = False

    def __init__(self) -> None:
        self._cork = Cork()

    @override
    def buildProtocol(self, addr: IAddress | None) -> _TargetProtocol:
        return _TargetProtocol(self._cork)


class ProxyFactory(Factory):
    """Builds the browser's side for one target.

    Args:
        target: Where the bytes go.
        endpoints: How to reach it.
        clock: Where timers run.
        connect_timeout_s: Seconds until the target has to be connected, look-up included.
        idle_timeout_s: Seconds without a byte in either direction until both sides are closed;
            0 waits for ever.
        caps: Counts the connections of every target together.
        has_proxy_header: Whether the target is told the browser's address first.
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
        caps: Caps | None = None,
        has_proxy_header: bool = False,
    ) -> None:
        self.target = target
        self.endpoints = endpoints
        self.clock = clock
        self.connect_timeout_s = connect_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.caps = caps or Caps()
        self.has_proxy_header = has_proxy_header
        self.outgoing = _TargetFactory()

    @override
    def buildProtocol(self, addr: IAddress | ClientAddress | None) -> ProxyProtocol:
        return ProxyProtocol(
            addr if isinstance(addr, ClientAddress) else ClientAddress.at(addr), self
        )
