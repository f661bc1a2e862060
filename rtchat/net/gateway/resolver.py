"""Connecting to a target: look its name up once, check every address, connect to those.

Connections go to checked addresses, never to the name, so there is no second look-up that could
return another answer (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessRule
from rtchat.core.access.ssrf import NamePolicy
from rtchat.errors import AccessDenied

__all__ = ["ATTEMPT_DELAY_S", "Endpoints", "NextAddress", "checked_endpoints", "look_up"]

ATTEMPT_DELAY_S = 0.3
"""How long one address is tried alone before the next is tried beside it (RFC 8305, 5)."""

_MAX_ADDRESSES = 16
_ENDPOINT_TIMEOUT_S = 3600
"""The caller sets the time-out; the endpoint's own must not come first."""

Endpoints = Callable[[Target], IStreamClientEndpoint]
"""Returns the endpoint that reaches a target."""


def checked_endpoints(
    reactor: Any, policy: NamePolicy, rule_for: Callable[[Target], AccessRule]
) -> Endpoints:
    """Return endpoints for targets over TCP, by name or by address, and over Unix sockets.

    Args:
        reactor: Resolves names and connects.
        policy: Decides which addresses a name may stand for.
        rule_for: Returns the rule that names a target; it holds the path of a Unix socket.
    """

    look_ups = _SharedLookUps(reactor)

    def endpoint(target: Target) -> IStreamClientEndpoint:
        if target.socket_name:
            path = rule_for(target).path
            unix: IStreamClientEndpoint = UNIXClientEndpoint(
                reactor, path, timeout=_ENDPOINT_TIMEOUT_S
            )
            return unix
        if target.is_address:
            return _at(reactor, target.host, target.port)
        return NamedHostEndpoint(reactor, target, policy, look_ups)

    return endpoint


def look_up(resolver: IHostnameResolver, name: str, port: int) -> Deferred[list[str]]:
    """Resolve a name to its addresses, without duplicates and in the resolver's order."""
    addresses: list[str] = []

    @implementer(IResolutionReceiver)
    class Receiver:
        def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802,N803
            """Do nothing."""

        def addressResolved(self, address: IAddress) -> None:  # noqa: N802
            """Add an address."""
            host: str = getattr(address, "host", "")
            if host and host not in addresses:
                addresses.append(host)

        def resolutionComplete(self) -> None:  # noqa: N802
            """Fire, unless the Deferred was cancelled: a look-up in a thread cannot be stopped."""
            if not answer.called:
                answer.callback(addresses)

    answer: Deferred[list[str]] = Deferred()
    resolver.resolveHostName(Receiver(), name, port)
    return answer


class _SharedLookUps:
    """Look-ups under way: one per name, however many callers wait for it.

    The reactor resolves names in a few threads, and no look-up can be stopped: many callers of one
    name whose server is silent must not occupy all threads, or no other name could be resolved.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: dict[str, dict[Deferred[list[str]], None]] = {}

    def addresses_of(self, name: str, port: int) -> Deferred[list[str]]:
        """Resolve a name, or wait with others for a look-up of it that is under way."""
        answer: Deferred[list[str]] = Deferred(lambda gone: self._forget(name, gone))
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting[answer] = None
            return answer
        self._waiting[name] = {answer: None}
        look_up(self._reactor.nameResolver, name, port).addBoth(
            lambda found: self._answer(name, found)
        )
        return answer

    def _answer(self, name: str, found: list[str] | Failure) -> None:
        for answer in self._waiting.pop(name):
            if isinstance(found, Failure):
                answer.errback(found)
            else:
                answer.callback(list(found))

    def _forget(self, name: str, gone: Deferred[list[str]]) -> None:
        self._waiting[name].pop(gone, None)


def _at(reactor: Any, address: str, port: int) -> IStreamClientEndpoint:
    """Return the endpoint of an IP address; nothing is resolved."""
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, address, port, timeout=_ENDPOINT_TIMEOUT_S)
    return endpoint


@implementer(IStreamClientEndpoint)
class NamedHostEndpoint:
    """The endpoint of a host that is known by name."""

    def __init__(
        self, reactor: Any, target: Target, policy: NamePolicy, look_ups: _SharedLookUps
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._policy = policy
        self._look_ups = look_ups

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Resolve the name, check all its addresses, connect.

        The Deferred fails with AccessDenied when the name may not stand for one of them.
        """
        name, port = self._target.host, self._target.port

        def check_and_connect(addresses: list[str]) -> Deferred[IProtocol]:
            if not addresses:
                return fail(DNSLookupError(f"the name {name} has no address"))
            # One forbidden address makes the whole answer suspect.
            for address in addresses:
                if refusal := self._policy.refusal(name, address):
                    return fail(AccessDenied(refusal))
            endpoints = [_at(self._reactor, address, port) for address in addresses]
            return NextAddress(endpoints[:_MAX_ADDRESSES], self._reactor).connect(protocolFactory)

        return self._look_ups.addresses_of(name, port).addCallback(check_and_connect)


class NextAddress:
    """Tries endpoints in order, staggered; the first that connects wins, the others are cancelled.

    When an endpoint fails, the next is tried at once. (Twisted's HostnameEndpoint waits for the
    rest of its delay instead, and takes no list of checked addresses.)

    Args:
        endpoints: At least one.
        clock: Runs the delay after which the next endpoint is tried beside the current ones.
    """

    def __init__(self, endpoints: Sequence[IStreamClientEndpoint], clock: IReactorTime) -> None:
        self._left = list(endpoints)
        self._clock = clock
        self._pending: list[Deferred[IProtocol]] = []
        self._delay: IDelayedCall | None = None
        self._won: Deferred[IProtocol] = Deferred(self._cancel)
        self._is_over = False

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Start; the Deferred fails with the last failure once every endpoint has failed."""
        self._factory = factory
        self._try_next()
        return self._won

    def _try_next(self) -> None:
        if self._delay is not None and self._delay.active():
            self._delay.cancel()
        attempt = self._left.pop(0).connect(self._factory)
        self._pending.append(attempt)
        if self._left:
            self._delay = self._clock.callLater(ATTEMPT_DELAY_S, self._try_next)
        attempt.addCallbacks(
            self._connected, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,)
        )

    def _connected(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._pending.remove(attempt)
        self._end()
        self._won.callback(protocol)

    def _failed(self, reason: Failure, attempt: Deferred[IProtocol]) -> None:
        self._pending.remove(attempt)
        if self._is_over:
            return
        if self._left:
            self._try_next()
        elif not self._pending:
            self._end()
            self._won.errback(reason)

    def _cancel(self, won: Deferred[IProtocol]) -> None:
        self._end()
        won.errback(Failure(ConnectingCancelledError(None)))

    def _end(self) -> None:
        self._is_over = True
        if self._delay is not None and self._delay.active():
            self._delay.cancel()
        for attempt in list(self._pending):
            with suppress(
                Exception
            ):  # an endpoint's canceller may fail; the attempt is over anyway
                attempt.cancel()
