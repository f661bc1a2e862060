"""The way to a target: its name is looked up once, every address is checked, then connected.

What is connected is an address that was checked, never the name: there is no second look-up
that could give another answer.
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
"""How long an address has for itself before the next one is tried beside it (RFC 8305, 5)."""

_MAX_ADDRESSES = 16
_ENDPOINT_TIMEOUT_S = 3600
"""Whoever connects sets an end to it; the endpoint's own must not come first."""

Endpoints = Callable[[Target], IStreamClientEndpoint]
"""Gives the endpoint that reaches a target."""


def checked_endpoints(
    reactor: Any, policy: NamePolicy, rule_for: Callable[[Target], AccessRule]
) -> Endpoints:
    """Reach targets over TCP, by name or by address, and over Unix sockets.

    Args:
        reactor: Looks names up and connects.
        policy: Which addresses a name may stand for.
        rule_for: Gives the rule that a target stands in; it knows where a Unix socket is.
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
    """Ask for a name's addresses, each once and in the resolver's order."""
    addresses: list[str] = []

    @implementer(IResolutionReceiver)
    class Receiver:
        def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802,N803
            """Begin."""

        def addressResolved(self, address: IAddress) -> None:  # noqa: N802
            """Take an address."""
            host: str = getattr(address, "host", "")
            if host and host not in addresses:
                addresses.append(host)

        def resolutionComplete(self) -> None:  # noqa: N802
            """Answer, unless nobody waits any more: a look-up in a thread cannot be ended."""
            if not answer.called:
                answer.callback(addresses)

    answer: Deferred[list[str]] = Deferred()
    resolver.resolveHostName(Receiver(), name, port)
    return answer


class _SharedLookUps:
    """Look-ups under way, one for a name however many wait for it.

    The reactor looks up in a few threads, and none can be ended: a name server that is silent
    must not hold them all, or nobody else's name would be found.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: dict[str, dict[Deferred[list[str]], None]] = {}

    def addresses_of(self, name: str, port: int) -> Deferred[list[str]]:
        """Ask for a name's addresses, or join those who have asked and wait."""
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
    """Reach an address; an address is looked up by nobody."""
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, address, port, timeout=_ENDPOINT_TIMEOUT_S)
    return endpoint


@implementer(IStreamClientEndpoint)
class NamedHostEndpoint:
    """A host with a name."""

    def __init__(
        self, reactor: Any, target: Target, policy: NamePolicy, look_ups: _SharedLookUps
    ) -> None:
        self._reactor = reactor
        self._target = target
        self._policy = policy
        self._look_ups = look_ups

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Look the name up, check what it means, connect.

        The Deferred fails with AccessDenied when the name means an address that it may not.
        """
        name, port = self._target.host, self._target.port

        def check_and_connect(addresses: list[str]) -> Deferred[IProtocol]:
            if not addresses:
                return fail(DNSLookupError(f"the name {name} has no address"))
            # One address that may not be makes the answer suspect as a whole.
            for address in addresses:
                if refusal := self._policy.refusal(name, address):
                    return fail(AccessDenied(refusal))
            endpoints = [_at(self._reactor, address, port) for address in addresses]
            return NextAddress(endpoints[:_MAX_ADDRESSES], self._reactor).connect(protocolFactory)

        return self._look_ups.addresses_of(name, port).addCallback(check_and_connect)


class NextAddress:
    """Tries endpoints in order; the first that connects wins, the others are given up.

    Args:
        endpoints: At least one.
        clock: The next one is tried when one fails, or has not answered for a while.
    """

    def __init__(self, endpoints: Sequence[IStreamClientEndpoint], clock: IReactorTime) -> None:
        self._left = list(endpoints)
        self._clock = clock
        self._pending: list[Deferred[IProtocol]] = []
        self._delay: IDelayedCall | None = None
        self._won: Deferred[IProtocol] = Deferred(self._cancel)
        self._is_over = False

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Begin; the Deferred fails with the last failure when there is none left to try."""
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
            with suppress(Exception):  # an endpoint's canceller may fail; it is given up anyhow
                attempt.cancel()
