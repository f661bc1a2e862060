"""WebSocket to TCP: two streams, each paused while the other side does not read.

Whether a target may be reached was decided before the upgrade (see :mod:`rtchat.net.web`).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.access import Target
from rtchat.net.transport import Stream, as_stream, peer_name, set_no_delay
from rtchat.net.websocket import WebSocket

__all__ = ["Endpoints", "ProxyFactory", "ProxyProtocol", "tcp_endpoints"]

LINGER_S = 30.0
"""How long either side may take for the last bytes of the other, which has gone."""

_DONE = 1000
_UNREACHABLE = 1011

Endpoints = Callable[[Target], IStreamClientEndpoint]
"""Gives the endpoint that reaches a target."""


def tcp_endpoints(reactor: object) -> Endpoints:
    """Reach targets over TCP, by name or by address."""

    def endpoint(target: Target) -> IStreamClientEndpoint:
        return _HostnameEndpoint(reactor, target.host, target.port)

    return endpoint


class _HostnameEndpoint(HostnameEndpoint):
    """Twisted's, but with the names of containers and Windows machines.

    They may have an underscore, which Twisted refuses as it follows IDNA; a :class:`Target` has
    made sure already that its host is a name in ASCII or an address.
    """

    @staticmethod
    @override
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host if isinstance(host, str) else host.decode("ascii")
        return False, text.encode("ascii"), text


class ProxyProtocol(Protocol):
    """The browser's side; it connects to the target as soon as the WebSocket is open."""

    log = Logger()
    transport: WebSocket

    def __init__(self, target: Target, factory: ProxyFactory) -> None:
        self.target = target
        self.factory = factory
        self._linger: IDelayedCall | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._timeout: IDelayedCall | None = None
        self._has_timed_out = False
        self._is_lost = False
        self._outgoing: _TargetProtocol | None = None
        self._early: list[bytes] = []  # what the browser sent before the target answered

    @override
    def connectionMade(self) -> None:
        self._peer = peer_name(self.transport)
        # Until the target is there, nothing more is read than what came with the request.
        self.transport.pauseProducing()
        factory = Factory.forProtocol(_TargetProtocol)
        factory.noisy = False
        self._connecting = connecting = self.factory.endpoints(self.target).connect(factory)
        # The look-up of a name takes its part of the time, too. (Not Deferred.addTimeout: it
        # knows a cancelled Deferred by its CancelledError, and endpoints fail with others.)
        self._timeout = self.factory.clock.callLater(
            self.factory.connect_timeout_s, self._timed_out
        )
        connecting.addCallbacks(self._connected, self._failed)
        connecting.addErrback(self._bug)

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._outgoing is None:
            self._early.append(data)
        else:
            self._outgoing.send(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._outgoing is not None:
            self._linger = self.factory.clock.callLater(LINGER_S, self._outgoing.cut)
            self._outgoing.finish()

    def target_lost(self, reason: Failure) -> None:
        """The target closed: hand out what is left, then close."""
        self._outgoing = None
        if self._linger is not None:
            if self._linger.active():
                self._linger.cancel()
            return
        if reason.check(ConnectionDone) is None:
            self.log.info(
                "{peer}: target {target} broke off: {why}",
                peer=self._peer,
                target=self.target,
                why=reason.getErrorMessage(),
            )
        self.transport.close_with(_DONE, "target closed the connection", LINGER_S)

    def _timed_out(self) -> None:
        self._has_timed_out = True
        if self._connecting is not None:
            self._connecting.cancel()

    def _end_connecting(self) -> None:
        self._connecting = None
        if self._timeout is not None and self._timeout.active():
            self._timeout.cancel()

    def _connected(self, outgoing: IProtocol) -> None:
        self._end_connecting()
        assert isinstance(outgoing, _TargetProtocol)
        self._outgoing = outgoing
        outgoing.pair_with(self)
        self.log.info("{peer}: connected to {target}", peer=self._peer, target=self.target)
        self.transport.resumeProducing()
        early, self._early = self._early, []
        for data in early:
            outgoing.send(data)

    def _failed(self, reason: Failure) -> None:
        self._end_connecting()
        if self._is_lost:
            return  # nobody waits for it any more
        why = reason.getErrorMessage()
        if self._has_timed_out:
            why = f"no connection within {self.factory.connect_timeout_s:g} s"
        self.log.warn(
            "{peer}: cannot reach {target}: {why}",
            peer=self._peer,
            target=self.target,
            why=why,
        )
        self.transport.close_with(_UNREACHABLE, "target unreachable")

    def _bug(self, reason: Failure) -> None:
        self.log.failure("bug while connecting to {target}", reason, target=self.target)
        self.transport.close_with(_UNREACHABLE, "internal error")


class _TargetProtocol(Protocol):
    """The target's side."""

    browser: ProxyProtocol | None = None
    _is_gone = False

    @override
    def connectionMade(self) -> None:
        self._stream = as_stream(self.transport)

    def pair_with(self, browser: ProxyProtocol) -> None:
        self.browser = browser
        if self._is_gone:
            browser.target_lost(Failure(ConnectionLost()))
            return
        set_no_delay(self._stream)
        # Each side is the other's producer: one that does not read stops the other's reading.
        incoming, outgoing = browser.transport, self._stream
        outgoing.registerProducer(_OneWay(incoming), True)
        incoming.registerProducer(_OneWay(outgoing), True)

    def send(self, data: bytes) -> None:
        self._stream.write(data)

    def finish(self) -> None:
        self._stream.unregisterProducer()
        self._stream.resumeProducing()
        self._stream.loseConnection()

    def cut(self) -> None:
        self._stream.abortConnection()

    @override
    def dataReceived(self, data: bytes) -> None:
        if self.browser is not None:
            self.browser.transport.write(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_gone = True
        browser, self.browser = self.browser, None
        if browser is not None:
            browser.transport.unregisterProducer()
            browser.target_lost(reason)


@implementer(IPushProducer)
class _OneWay:
    """Passes pauses on; the end of a connection is told by ``connectionLost`` alone."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._stream.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._stream.resumeProducing()

    def stopProducing(self) -> None:
        """Do nothing: the other side still has to be sent what is left."""


class ProxyFactory(Factory):
    """Builds the browser's side for one target.

    Args:
        target: Where the bytes go.
        endpoints: How to reach it.
        clock: Where timers run.
        connect_timeout_s: Seconds until the target has to be connected, look-up included.
    """

    noisy = False

    def __init__(
        self,
        target: Target,
        endpoints: Endpoints,
        clock: IReactorTime,
        connect_timeout_s: float,
    ) -> None:
        self.target = target
        self.endpoints = endpoints
        self.clock = clock
        self.connect_timeout_s = connect_timeout_s

    @override
    def buildProtocol(self, addr: IAddress | None) -> ProxyProtocol:
        return ProxyProtocol(self.target, self)
