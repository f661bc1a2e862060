"""Requests to a site, by treq: bounded answers, no redirects, no cookies, nothing compressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IConsumer, IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from typing_extensions import override
from zope.interface import implementer

from rtchat.net.auth.hooks.addresses import plain_url
from rtchat.net.auth.hooks.answers import BrokenAnswer, HookFailed

__all__ = ["MAX_ANSWER_BYTES", "Client", "ConnectionLost"]

MAX_ANSWER_BYTES = 64 * 1024
"""How long an answer may be."""

_COMPRESSED = b"compressed"
"""An encoding that treq does not know, and so does not decode."""


class Client:
    """Sends requests to a site, and reuses its connections.

    Args:
        reactor: Makes connections.
        connect_s: How long making one may take, in seconds.
        idle_s: How long one is kept that is not used.
        max_connections: How many are kept.
    """

    def __init__(
        self, reactor: Any, *, connect_s: float, idle_s: float, max_connections: int
    ) -> None:
        self._reactor = reactor
        self._pool = _QuietPool(reactor)
        self._pool.maxPersistentPerHost = max_connections
        # An int in Twisted's own class; it is a delay for callLater.
        self._pool.cachedConnectionTimeout = idle_s  # type: ignore[assignment]
        self._agent = _PlainAgent(Agent(reactor, connectTimeout=connect_s, pool=self._pool))
        self._agent_without_pool = _PlainAgent(Agent(reactor, connectTimeout=connect_s))

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        reuses: bool = True,
    ) -> tuple[int, bytes]:
        """Send one request; a body is JSON.

        Args:
            method: GET or POST.
            url: Where it goes.
            headers: More headers.
            body: The body, if it has one.
            reuses: Whether it may go over a connection that was used before. The site may be
                closing that one: then it is not known whether the request has arrived.

        Returns:
            The status, and the body of an answer with status 2xx.

        Raises:
            HookFailed: There is no answer, or too long a one.
        """
        sent = Headers({"Accept": ["application/json"], "User-Agent": ["rtchat"]})
        for name, value in (headers or {}).items():
            sent.setRawHeaders(name, [value])
        if body is not None:
            sent.setRawHeaders("Content-Type", ["application/json"])
        # One for each request: it would bring the cookies of one visitor's answer to the next.
        client = HTTPClient(self._agent if reuses else self._agent_without_pool)
        try:
            response = await client.request(
                method,
                url,
                headers=sent,
                data=None if body is None else _Body(body),
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
        except Exception as problem:
            raise _failure_of(problem, url) from problem
        reader = _Reader(response.length)
        response.deliverBody(reader)
        is_good = 200 <= response.code < 300
        try:
            answer = await reader.done
        except Exception as problem:
            if not is_good:
                return response.code, b""
            if isinstance(problem, ResponseFailed):
                raise HookFailed(
                    "an answer that breaks off", f"the answer of {plain_url(url)} breaks off"
                ) from problem
            raise _failure_of(problem, url) from problem
        if is_good and response.headers.getRawHeaders(b"Content-Encoding") == [_COMPRESSED]:
            raise BrokenAnswer("it is compressed, which it must not be")
        return response.code, answer

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.closeCachedConnections()


class _QuietPool(HTTPConnectionPool):
    """Connections of which the log says nothing: there are new ones all the time."""

    @override
    def getConnection(self, key: object, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        connection: Deferred[Any] = super().getConnection(key, _QuietEndpoint(endpoint))
        return connection


@implementer(IStreamClientEndpoint)
class _QuietEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:  # noqa: N803
        """Connect."""
        protocolFactory.noisy = False
        return self._endpoint.connect(protocolFactory)


@implementer(IAgent)
class _PlainAgent:
    """Asks for an answer that is not compressed: a few bytes of one may be a gigabyte.

    Args:
        agent: Sends the requests.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803
    ) -> Deferred[IResponse]:
        """Send a request."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(self._check)

    @staticmethod
    def _check(response: IResponse) -> IResponse:
        coding = b",".join(response.headers.getRawHeaders(b"Content-Encoding", []))
        if coding.strip().lower() in (b"", b"identity"):
            response.headers.removeHeader(b"Content-Encoding")
        else:
            response.headers.setRawHeaders(b"Content-Encoding", [_COMPRESSED])
        return response


@implementer(IBodyProducer)
class _Body:
    """Writes the body of a request at once; treq's own way needs the global reactor.

    Args:
        data: The body.
    """

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802
        """Write it."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All was written."""

    def resumeProducing(self) -> None:
        """All was written."""

    def stopProducing(self) -> None:
        """All was written."""


class _Reader(Protocol):
    """Reads the body of an answer, and closes the connection if it is too long.

    Args:
        length: What ``Content-Length`` says, or Twisted's mark for no such header.

    Attributes:
        done: Fires with the body. Cancelling it closes the connection.
    """

    def __init__(self, length: object) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._close())
        self._is_too_long = isinstance(length, int) and length > MAX_ANSWER_BYTES
        self._parts: list[bytes] = []
        self._length = 0

    @override
    def connectionMade(self) -> None:
        if self._is_too_long:
            self._close()

    @override
    def dataReceived(self, data: bytes) -> None:
        self._length += len(data)
        if self._length > MAX_ANSWER_BYTES:
            self._is_too_long = True
            self._parts.clear()
            self._close()
        elif not self._is_too_long:
            self._parts.append(data)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if self._is_too_long:
            self.done.errback(BrokenAnswer(f"it is longer than {MAX_ANSWER_BYTES} bytes"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)

    def _close(self) -> None:
        transport = self.transport
        if transport is not None:
            transport.loseConnection()


class ConnectionLost(HookFailed):
    """The connection has ended before an answer came."""

    def __init__(self, url: str) -> None:
        super().__init__("connection lost", f"{plain_url(url)} has closed the connection")


def _failure_of(problem: Exception, url: str) -> HookFailed:
    """Return why there is no answer, and whether the request can have reached the site."""
    if isinstance(problem, HookFailed):
        return problem
    where = plain_url(url)
    if isinstance(problem, error.ConnectionRefusedError):
        return HookFailed("connection refused", f"{where} refuses connections", is_untold=True)
    if isinstance(problem, error.DNSLookupError):
        return HookFailed("name not found", f"the host of {where} is not found", is_untold=True)
    if isinstance(problem, error.TimeoutError | error.TCPTimedOutError):
        return HookFailed("no connection", f"no connection to {where} in time", is_untold=True)
    if isinstance(problem, error.ConnectError):
        return HookFailed("no connection", f"no connection to {where}: {problem}", is_untold=True)
    if isinstance(problem, ResponseFailed):
        reasons = [reason.value for reason in problem.reasons]
        for reason in reasons:
            if isinstance(reason, SSL.Error):
                return HookFailed(
                    "no TLS connection", f"TLS with {where}: {_tls_text(reason)}", is_untold=True
                )
        if all(isinstance(one, error.ConnectionDone | error.ConnectionLost) for one in reasons):
            return ConnectionLost(url)
        return HookFailed(
            "an answer that is not HTTP", f"{where}: {', '.join(map(_text, reasons))}"
        )
    if isinstance(problem, CancelledError):
        return HookFailed("no answer", f"no answer of {where} in time")
    return HookFailed("no answer", f"{where}: {_text(problem)}", cause=Failure(problem))


def _text(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"


def _tls_text(problem: SSL.Error) -> str:
    """Return OpenSSL's own words; an error holds a list of tuples with the words at their end."""
    try:
        return ", ".join(str(one[-1]) for one in problem.args[0]) or "no reason given"
    except (IndexError, TypeError):
        return str(problem)
