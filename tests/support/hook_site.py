"""A real HTTP server that plays the site of a hook, on a reactor of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

__all__ = ["HookSite", "Received", "run_on_reactor", "sleep"]

_T = TypeVar("_T")


def run_on_reactor(
    main: Callable[[Any], Coroutine[Deferred[Any], Any, _T]], timeout_s: float = 20
) -> _T:
    """Run a coroutine on a new reactor, and return its result."""
    reactor = SelectReactor()
    results: list[_T | Failure] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(main(reactor))
        done.addTimeout(timeout_s, reactor)
        done.addBoth(results.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


def sleep(reactor: Any, seconds: float) -> Deferred[None]:
    """Fire after a time."""
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


class Received(NamedTuple):
    """One request, as the site has got it.

    Attributes:
        method: GET or POST.
        path: The path, with the query.
        headers: Headers by their names in small letters.
        body: The body.
        port: The client's port: equal for requests on one connection.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


class HookSite(Resource):
    """Answers each request as a function says, and notes all of them.

    Args:
        reactor: Runs it.
        answer: Gets the request and what was received; returns the body, an object that is
            written as JSON, or None if it answers later itself.

    Attributes:
        received: What has come so far.
        url: Where it is, without a path.
    """

    isLeaf = True

    def __init__(
        self, reactor: Any, answer: Callable[[Request, Received], object] = lambda *_: {}
    ) -> None:
        super().__init__()
        self.received: list[Received] = []
        self.answer = answer
        site = Site(self, reactor=reactor)
        site.displayTracebacks = False
        self.port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"

    def render(self, request: Any) -> Any:
        """Answer one request."""
        received = Received(
            request.method.decode(),
            request.uri.decode(),
            {
                name.decode().lower(): values[-1].decode()
                for name, values in request.requestHeaders.getAllRawHeaders()
            },
            request.content.read(),
            request.transport.getPeer().port,
        )
        self.received.append(received)
        answer = self.answer(request, received)
        if answer is None:
            return NOT_DONE_YET
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()
