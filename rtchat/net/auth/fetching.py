"""Fetching one small document from the operator's own site, within limits.

Twisted's ``Agent`` does as much as is wanted here: it follows no redirect, sends no cookie and
unpacks nothing. What it cannot do is cut a connection while an answer is read, so the endpoints
below remember what they have connected.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, ResponseDone
from twisted.web.http import OK, PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS, IResponse
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.access.addresses import AddressList
from rtchat.text import escaped

__all__ = ["Fetcher", "check_url"]

_LOOPBACK = AddressList.parse(["127.0.0.0/8", "::1"])
_HEADERS = {b"Accept": [b"application/json, */*;q=0.5"], b"User-Agent": [b"rtchat"]}


def check_url(url: str) -> str:
    """Return an address if documents may be fetched from it: https, or http on this machine.

    Raises:
        ValueError: They may not; the text says why, and what to write.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL; write https://HOST/PATH") from None
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("has characters that a URL cannot have; escape them")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("is not a web address; write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user's name in it; remove it")
    if parts.fragment:
        raise ValueError("has a part after #; remove it")
    if parts.scheme == "http" and host != "localhost" and host not in _LOOPBACK:
        raise ValueError("is not encrypted: keys could be forged on the way; write https://…")
    return url


class Fetcher:
    """Fetches a document; each time over a connection of its own.

    Args:
        reactor: Resolves names and connects.
        clock: Runs the time-out.
        max_bytes: How large the document may be.
        timeout_s: How long everything may take, from the look-up of the name to the last byte.
        policy: Which certificates are trusted; those of the system, if None.
    """

    def __init__(
        self,
        reactor: Any,
        clock: IReactorTime,
        *,
        max_bytes: int,
        timeout_s: float,
        policy: IPolicyForHTTPS | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._policy = policy or BrowserLikePolicyForHTTPS()

    def fetch(self, url: str) -> Deferred[bytes]:
        """Fetch a document.

        Args:
            url: Its address, which :func:`check_url` has passed.

        Returns:
            A Deferred of its content. It fails with a ValueError whose text says why; it may be
            cancelled.
        """
        endpoints = _Endpoints(self._reactor, self._policy, self._timeout_s)
        agent = Agent.usingEndpointFactory(self._reactor, endpoints)
        answer: Deferred[Any] = agent.request(b"GET", url.encode("ascii"), Headers(_HEADERS))
        answer.addCallback(self._read)
        answer.addTimeout(self._timeout_s, self._clock, self._timed_out)
        is_cancelled = False

        def cancel(_: Deferred[bytes]) -> None:
            nonlocal is_cancelled
            is_cancelled = True
            answer.cancel()

        fetched: Deferred[bytes] = Deferred(cancel)

        def ended(result: bytes | Failure) -> None:
            endpoints.abort()
            # What is cancelled fails in many ways, with what it was doing; none is of interest.
            if is_cancelled:
                return
            if isinstance(result, Failure):
                fetched.errback(ValueError(_why(result)))
            else:
                fetched.callback(result)

        answer.addBoth(ended)
        return fetched

    def _read(self, response: IResponse) -> Deferred[bytes]:
        if 300 <= response.code < 400:
            raise ValueError(f"the site redirects ({response.code}); write the final address")
        if response.code != OK:
            raise ValueError(f"the site answers with status {response.code}")
        body = _Body(self._max_bytes)
        response.deliverBody(body)
        return body.done

    def _timed_out(self, result: object, timeout_s: float) -> object:
        raise ValueError(f"no complete answer within {timeout_s:g} s")


class _Body(Protocol):
    """The body of an answer, up to a size."""

    def __init__(self, max_bytes: int) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._max_bytes = max_bytes
        self._data = bytearray()

    @override
    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        self._data += data
        if len(self._data) > self._max_bytes:
            problem = f"the document has more than {self._max_bytes // 1024} KiB"
            self.done.errback(ValueError(problem))

    @override
    def connectionLost(self, reason: Failure = Failure(ResponseDone())) -> None:  # noqa: B008
        if self.done.called:
            return
        # Without a Content-Length the end of the connection is the end of the document; JSON that
        # was cut off is none.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(bytes(self._data))
        else:
            self.done.errback(reason)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """The endpoints of one request, and what they have connected."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, timeout_s: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout_s = timeout_s
        self._connected: list[Any] = []

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802
        """Return the endpoint that reaches a host."""
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, uri.host, uri.port, timeout=self._timeout_s
        )
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Remembering(endpoint, self._connected)

    def abort(self) -> None:
        """Close what is still connected, without waiting for the other side."""
        for protocol in self._connected:
            if protocol.transport is not None:
                protocol.transport.abortConnection()


@implementer(IStreamClientEndpoint)
class _Remembering:
    """An endpoint that keeps what it has connected."""

    def __init__(self, endpoint: IStreamClientEndpoint, connected: list[Any]) -> None:
        self._endpoint = endpoint
        self._connected = connected

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:  # noqa: N803
        """Connect, and keep the protocol; the log says nothing of it."""
        protocolFactory.noisy = False

        def keep(protocol: IProtocol) -> IProtocol:
            self._connected.append(protocol)
            return protocol

        connected: Deferred[IProtocol] = self._endpoint.connect(protocolFactory)
        return connected.addCallback(keep)


def _why(failure: Failure) -> str:
    """Return why a request failed, for a line of the log."""
    error = failure.value
    # A failure of HTTP is a list of what led to it.
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    return escaped(str(error) or type(error).__name__, 300)
