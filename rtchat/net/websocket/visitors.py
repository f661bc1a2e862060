"""Who uses a page: a request waits until that is known, if a rule of the access list asks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from rtchat.core.access.addresses import source_key
from rtchat.errors import ProtocolError
from rtchat.net.connection.transport import as_stream
from rtchat.net.web.requests import (
    RefusalPage,
    client_of,
    credentials_of,
    log_refusal,
    printable_path,
)
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.transport import WebSocket

__all__ = [
    "ASK_TIMEOUT_S",
    "UserNeeded",
    "Visit",
    "Visitors",
    "ask_who",
    "finish_with",
    "log_in_page",
]

_log = Logger(__package__)

ASK_TIMEOUT_S = 30.0
"""How long a request waits until it is known who sends it."""

_TRY_LATER = "It takes too long to find out who you are; try again later.\n"
_RETRY_AFTER_S = "30"

_FAILED = "The server failed; its log says why.\n"

_LOG_IN = (
    "This connection is for users of this server: log in on its page, or send a token or a name "
    "and a password in the header Authorization.\n"
)


class Visit(Protocol):
    """A visitor whose credentials were accepted, those of one request.

    Attributes:
        user: The user's name; "" for a visitor without one.
    """

    user: str

    def may(self, whos: Collection[str]) -> bool:
        """Return whether rules name the visitor.

        Args:
            whos: Whom they name; see :attr:`~rtchat.core.access.rules.AccessRule.who`.
        """

    def begin(self, whos: Collection[str], websocket: WebSocket) -> None:
        """Watch a WebSocket, and end it when the rules name the visitor no more.

        Args:
            whos: Whom they name.
            websocket: It will be open at once.
        """

    def leave(self) -> None:
        """End the visit, unless it has ended."""


class Visitors(Protocol):
    """Finds out who sends requests."""

    def visit(self, credentials: Mapping[str, str], source: str, path: str) -> Deferred[Visit]:
        """Find out who sends a request.

        Args:
            credentials: The headers ``authorization`` and ``cookie``, those that are there.
            source: Where it comes from, as
                :func:`~rtchat.core.access.addresses.source_key` names it.
            path: What it asks for, as the log shows it; a hook gets it as the header ``path``.

        Returns:
            The visit; the caller lets it begin, or leaves it. It fails with ``ProtocolError`` if
            the credentials are wrong or missing; why is in the log. To cancel it is to leave.
        """


class UserNeeded(Exception):
    """It matters who opens a WebSocket.

    Attributes:
        websockets: Serves it.
        whos: Who may open it.
    """

    def __init__(self, websockets: WebSockets, whos: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(whos)))
        self.websockets = websockets
        self.whos = whos


class _Site(Protocol):
    clock: IReactorTime


def ask_who(
    request: Request, visitors: Visitors, answer: Callable[[Visit | RefusalPage], object]
) -> None:
    """Find out who sends a request.

    Args:
        request: The request, which waits.
        visitors: Finds it out.
        answer: Called in a later turn of the reactor, with the visit, or with the page that
            refuses the request. It is not called if the client has gone by then.
    """
    _Wait(request, answer).begin(visitors)


def log_in_page() -> RefusalPage:
    """Return the page that refuses a visitor who has to be a user."""
    # Not Basic as well: for that one, browsers ask for a password by themselves.
    return RefusalPage(401, _LOG_IN, {"WWW-Authenticate": 'Bearer realm="rtchat"'})


def finish_with(request: Request, body: bytes) -> None:
    """Answer a request that has waited."""
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


class _Wait:
    """A request that waits until it is known who sends it."""

    def __init__(self, request: Request, answer: Callable[[Visit | RefusalPage], object]) -> None:
        self._request = request
        self._answer = answer
        self._clock = cast(_Site, request.site).clock
        self._asked: Deferred[Visit] | None = None
        self._visit: Visit | None = None
        self._timer: IDelayedCall | None = None

    def begin(self, visitors: Visitors) -> None:
        request = self._request
        request.notifyFinish().addErrback(self._gone)
        self._timer = self._clock.callLater(ASK_TIMEOUT_S, self._timed_out)
        self._asked = asked = visitors.visit(
            credentials_of(request),
            source_key(getattr(client_of(request), "host", None)),
            printable_path(request),
        )
        asked.addCallbacks(self._known, self._refused)

    def _known(self, visit: Visit) -> None:
        self._visit = visit
        self._answer_with(visit)

    def _refused(self, failure: Failure) -> None:
        if failure.check(ProtocolError) is not None:
            self._answer_with(log_in_page())
        elif failure.check(CancelledError) is None:
            _log.failure("bug while asking who sends a request", failure)
            self._answer_with(RefusalPage(500, _FAILED))

    def _timed_out(self) -> None:
        log_refusal(self._request, f"it was not known within {ASK_TIMEOUT_S:g} s who sends it")
        self._cancel()
        self._answer_with(RefusalPage(503, _TRY_LATER, {"Retry-After": _RETRY_AFTER_S}))

    def _answer_with(self, what: Visit | RefusalPage) -> None:
        """Answer in a turn of its own: this one may be in the middle of other work."""
        self._stop_timer()
        self._timer = self._clock.callLater(0, self._tell, what)

    def _tell(self, what: Visit | RefusalPage) -> None:
        try:
            self._answer(what)
        except Exception:
            _log.failure("bug while answering a request that has waited")
            as_stream(self._request.channel.transport).abortConnection()

    def _gone(self, failure: Failure) -> None:
        """The client has gone."""
        self._stop_timer()
        self._cancel()
        if self._visit is not None:
            self._visit.leave()

    def _cancel(self) -> None:
        if self._asked is not None:
            self._asked.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
