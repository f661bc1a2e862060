"""Visits: users who are let in to what no session stands for, such as a target of the gateway."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from typing_extensions import override

from rtchat.core.broker.authenticator import Identified, Visitor
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.errors import AccessRefused, NoRight, ProtocolError, TokenExpired
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.websocket.transport import WebSocket
from rtchat.net.websocket.visitors import Visit as AnyVisit
from rtchat.net.websocket.visitors import Visitors
from rtchat.text import escaped

__all__ = ["END_S", "Visits"]

_log = Logger(__package__)

END_S = 2.0
"""How long a WebSocket may take to close once its user may not have it any more."""

_CODES: Mapping[type[ProtocolError], int] = {
    TokenExpired: 3000,
    AccessRefused: 3501,
    NoRight: 3502,
}
"""The close codes; they are those of STOMP over WebSocket."""

_OTHER = 3501


class Login(Protocol):
    """Finds out who visitors are, and says when that changes."""

    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        """Ask who a visitor is; from now on, tell the principal what changes."""

    def is_any(self, principal: Principal, whos: Collection[str]) -> bool:
        """Return whether a principal is one of those whom lines are about."""

    def left(self, principal: Principal) -> None:
        """Forget a principal."""


class Visits(Visitors):
    """Lets users in to what rules of ``[access]`` give to some people only.

    Args:
        login: Finds out who they are.
        lines: Where lines about them are written.
        next_id: Returns the id of a visit.
    """

    def __init__(self, login: Login, lines: ClientLog, next_id: Callable[[], str]) -> None:
        self._login = login
        self._lines = lines
        self._next_id = next_id

    @override
    def visit(self, credentials: Mapping[str, str], source: str, path: str) -> Deferred[AnyVisit]:
        visit = Visit(self._next_id(), path, source, self._login, self._lines)
        return visit.ask(Visitor({}, credentials, source, path))


class Visit(AnyVisit):
    """A visitor who was let in; for the log-in, a visit is a session.

    Args:
        visit_id: Its id.
        path: What it asks for.
        source: Where it comes from.
        login: Finds out who it is.
        lines: Where lines about it are written.

    Attributes:
        id: Its id.
        source: As above.
        user: The user's name; "" for a visitor without one.
    """

    def __init__(
        self, visit_id: str, path: str, source: str, login: Login, lines: ClientLog
    ) -> None:
        self.id = visit_id
        self.source = source
        self.user = ""
        self._path = path
        self._login = login
        self._lines = lines
        self._question: Question[Identified] | None = None
        self._websocket: WebSocket | None = None
        self._whos: Collection[str] = ()
        self._is_over = False

    def ask(self, visitor: Visitor) -> Deferred[AnyVisit]:
        """Find out who it is; a hook gets the path as a header."""
        waiting: Deferred[AnyVisit] = Deferred(lambda _: self.leave())

        def answered() -> None:
            assert self._question is not None
            try:
                self.user = self._question.take().user
            except ProtocolError as problem:
                self.leave()
                waiting.errback(problem)
                return
            waiting.callback(self)

        self._question = question = self._login.identify(cast(Principal, self), visitor)
        if question.is_answered:
            answered()
        else:
            question.on_answer = answered
        return waiting

    @override
    def may(self, whos: Collection[str]) -> bool:
        return not self._is_over and self._login.is_any(cast(Principal, self), whos)

    @override
    def begin(self, whos: Collection[str], websocket: WebSocket) -> None:
        self._whos = whos
        self._websocket = websocket
        websocket.on_lost = self.leave

    @override
    def leave(self) -> None:
        if not self._is_over:
            self._is_over = True
            if self._question is not None:
                self._question.drop()
            self._websocket = None
            self._login.left(cast(Principal, self))

    # Called by the log-in

    def change_rights(self, rights: Rights) -> None:
        """End the visit if no line is about the visitor any more."""
        if self._websocket is not None and not self.may(self._whos):
            self.fail(NoRight("open", self._path))

    def fail(self, problem: ProtocolError) -> None:
        """End the visit, and its WebSocket."""
        websocket = self._websocket
        self.leave()
        if websocket is None:
            return
        if not websocket.is_end_logged:
            websocket.is_end_logged = True
            self._lines.warn(
                _log,
                "{peer}: ended for the user {user}: {reason}",
                peer=websocket.peer,
                user=escaped(self.user),
                reason=problem.reason if isinstance(problem, AccessRefused) else problem.message,
            )
        websocket.close_with(_CODES.get(type(problem), _OTHER), problem.message)
        websocket.end_within(END_S)
