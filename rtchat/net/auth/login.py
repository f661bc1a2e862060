"""Log-in: finds out who each session is, and acts when that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.core.auth.credentials import PageSession, Password, Token, UnknownScheme, chosen
from rtchat.core.auth.identity import ANONYMOUS, Identity
from rtchat.core.auth.permissions import Permissions, Verb
from rtchat.core.auth.permissions import Rights as UserRights
from rtchat.core.broker.authenticator import Authenticator, Identified, Visitor
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.core.flow.turns import TURN_WORK
from rtchat.errors import AccessRefused, ProtocolError, TokenExpired
from rtchat.net.auth.open_session import OpenSession, PageSessions, Passwords, Tokens
from rtchat.net.connection.client_log import ClientLog

if TYPE_CHECKING:
    from rtchat.net.auth.hooked import HookedSessions

__all__ = ["Login", "PageSessions", "Passwords", "Tokens"]

_log = Logger(__package__)

_CHANGE_WORK = 50
"""The work of giving a session other rights; see :mod:`rtchat.core.flow.turns`."""

_GRANT_WORK = 4
"""The work of finding out which rights these are, for each of them."""


class Login(Authenticator):
    """Finds out who sessions are, with what is configured.

    Args:
        broker: The broker.
        clock: Runs timers.
        wall_s: Returns the time in seconds since 1970.
        lines: Where lines about clients are written.
        permissions: The rights of users.
        passwords: Checks names and passwords; None if there are none.
        tokens: Reads tokens; None if there are none.
        pages: Knows who has logged in on the page; None if that cannot be.
        token_cookie: The name of the cookie with a token; "" if there is none.

    Attributes:
        hooked: Asks and tells the hook; None without one.
        permissions: The rights of users; see :meth:`use_permissions`.
    """

    def __init__(
        self,
        broker: Broker,
        clock: IReactorTime,
        wall_s: Callable[[], float],
        lines: ClientLog,
        permissions: Permissions,
        *,
        passwords: Passwords | None = None,
        tokens: Tokens | None = None,
        pages: PageSessions | None = None,
        token_cookie: str = "",
    ) -> None:
        self.permissions = permissions
        self.hooked: HookedSessions | None = None
        self._broker = broker
        self._clock = clock
        self._wall_s = wall_s
        self._lines = lines
        self._passwords = passwords
        self._tokens = tokens
        self._pages = pages
        self._token_cookie = token_cookie
        self._sessions: dict[Principal, OpenSession] = {}
        self._rights: WeakValueDictionary[UserRights, Rights] = WeakValueDictionary()

    # Who a session is

    @override
    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        question: Question[Identified] = Question()
        session = self._sessions[principal] = OpenSession(visitor.source)
        self._ask(
            session,
            question,
            partial(self._who, principal, session, visitor),
            partial(self._found, principal, session, question),
        )
        return question

    def _who(
        self, principal: Principal, session: OpenSession, visitor: Visitor
    ) -> Identity | Deferred[Identity]:
        hooked = self.hooked
        decides = hooked is not None and hooked.decides
        try:
            shown = self._shown(visitor)
        except UnknownScheme:
            if not decides:
                raise
            shown = None
        if isinstance(shown, PageSession):
            session.cookie = shown.value
        ask = partial(self._known, shown, visitor) if decides else partial(self.who, visitor)
        found = _later(ask)
        if isinstance(shown, (Password, PageSession)):
            found.addCallback(self._stamped, session)
        elif isinstance(shown, Token):
            found.addCallback(_with_token, session)
        if hooked is not None and decides:
            found.addCallback(partial(hooked.ask_connect, principal, visitor))
            found.addCallback(self._admitted)
        elif hooked is not None:
            found.addCallback(partial(_noted, hooked, principal, visitor))
        return found

    def _stamped(self, identity: Identity, session: OpenSession) -> Identity:
        """Note whose password was right, before anything else is asked."""
        session.local_user = identity.user
        session.stamp = self._stamp_of(session)
        return identity

    def _stamp_of(self, session: OpenSession) -> str | None:
        passwords, user = self._passwords, session.local_user
        return None if passwords is None or not user else passwords.stamp_of(user)

    def _known(
        self, shown: Password | Token | PageSession | None, visitor: Visitor
    ) -> Identity | Deferred[Identity]:
        """Return who a visitor is, as far as it can be known before the hook is asked."""
        can_be_read = {
            Password: self._passwords,
            Token: self._tokens,
            PageSession: self._passwords,
            type(None): None,
        }
        return ANONYMOUS if can_be_read[type(shown)] is None else self._by(shown, visitor)

    def _admitted(self, identity: Identity) -> Identity:
        if not self.permissions.admits(identity):
            raise AccessRefused("no user, and no line of [rights] for anonymous")
        return identity

    def _shown(self, visitor: Visitor) -> Password | Token | PageSession | None:
        return chosen(visitor, self._token_cookie)

    def who(self, visitor: Visitor) -> Identity | Deferred[Identity]:
        """Return who a visitor is.

        Raises:
            AccessRefused: The credentials are missing or wrong; a Deferred may fail with it.
        """
        shown = self._shown(visitor)
        if shown is None:
            return self._admitted(ANONYMOUS)
        return self._by(shown, visitor)

    def _by(
        self, shown: Password | Token | PageSession | None, visitor: Visitor
    ) -> Identity | Deferred[Identity]:
        """Return who shows these credentials."""
        if isinstance(shown, Token):
            if self._tokens is None:
                raise AccessRefused("a token, and there is no section [tokens]")
            return self._tokens.verify(shown.text, self._wall_s())
        if isinstance(shown, PageSession):
            if self._pages is None:
                raise AccessRefused("a cookie of the page, and there is no section [users]")
            return self._pages.user_of(shown.value)
        if shown is None:
            return ANONYMOUS
        return self._by_password(shown, visitor.source)

    def _by_password(self, shown: Password, source: str) -> Deferred[Identity]:
        if self._passwords is None:
            raise AccessRefused("a password, and there is no section [users]")

        def checked(is_right: bool) -> Identity:
            if not is_right:
                raise AccessRefused("an unknown name or a wrong password")
            return Identity(shown.name)

        return self._passwords.check(shown.name, shown.password, source).addCallback(checked)

    def _ask(
        self,
        session: OpenSession,
        question: Question[Any],
        ask: Callable[[], Identity | Deferred[Identity]],
        found: Callable[[Identity], None],
    ) -> None:
        """Ask, and answer a question in a turn of the broker."""
        session.waits_for = waiting = _later(ask)
        question.on_dropped = waiting.cancel

        def answered(identity: Identity) -> None:
            session.waits_for = None
            if not question.is_answered:
                with self._broker.turn.part:
                    found(identity)

        def failed(failure: Failure) -> None:
            session.waits_for = None
            if question.is_answered:
                if not failure.check(CancelledError, ProtocolError):
                    _log.failure("bug while answering a log-in", failure)
                return  # otherwise the client has gone
            problem = failure.value
            if not isinstance(problem, ProtocolError):
                _log.failure("bug; a log-in failed", failure)
                problem = AccessRefused("internal error")
            reason = problem.reason if isinstance(problem, AccessRefused) else problem.message
            self._lines.warn(
                _log, "{peer}: log-in refused: {reason}", peer=session.source, reason=reason
            )
            with self._broker.turn.part:
                question.refuse(problem)

        # What goes wrong with the answer is a refusal as well: the session must not wait for ever.
        waiting.addCallback(answered).addErrback(failed)
        waiting.addErrback(lambda failure: _log.failure("bug while refusing a log-in", failure))

    def _found(
        self,
        principal: Principal,
        session: OpenSession,
        question: Question[Identified],
        identity: Identity,
    ) -> None:
        if identity.expires_s is not None and identity.expires_s <= self._wall_s():
            question.refuse(AccessRefused("expired"))
            return
        if self._stamp_of(session) != session.stamp:
            question.refuse(AccessRefused("the user was removed, or has a new password"))
            return
        session.identity = identity
        session.permissions = self.permissions
        self._watch_expiry(principal, session)
        question.answer(Identified(identity.user, self.rights_of(identity), identity.nick))

    def rights_of(self, identity: Identity) -> Rights:
        """Return what an identity may read and write: the same object for equal rights."""
        users = self.permissions.rights_of(identity)
        rights = self._rights.get(users)
        if rights is None:
            may_read, may_write = partial(users.may, Verb.READ), partial(users.may, Verb.WRITE)
            rights = Rights(may_read, may_write, 1 + users.size)
            self._rights[users] = rights
        return rights

    def is_any(self, principal: Principal, whos: Iterable[str]) -> bool:
        """Return whether a principal is one of those whom lines are about.

        Args:
            principal: The principal, which is known.
            whos: How lines of ``[rights]`` begin.
        """
        identity = self._sessions[principal].identity
        return any(self.permissions.is_meant(who, identity) for who in whos)

    @override
    def opened(self, principal: Principal) -> None:
        session = self._sessions.get(principal)
        if session is not None and session.permissions is not self.permissions:
            self._renew_rights(principal, session)  # they have changed since the answer
        if self.hooked is not None:
            self.hooked.opened(principal)

    @override
    def left(self, principal: Principal) -> None:
        if self.hooked is not None:
            self.hooked.left(principal)
        session = self._sessions.pop(principal, None)
        if session is not None and session.timer is not None:
            session.timer.cancel()
            session.timer = None

    # Tokens end, and are renewed

    def renew(self, principal: Principal, text: str) -> Question[None]:
        """Ask to replace the token of a session.

        Args:
            principal: The session.
            text: The new token.

        Returns:
            The question; it is refused if the token is not accepted, or is another user's.
        """
        question: Question[None] = Question()
        session = self._sessions[principal]

        def ask() -> Identity | Deferred[Identity]:
            if self._tokens is None or not session.token_user:
                raise AccessRefused("a new token, and the session did not begin with one")
            return self._tokens.verify(text, self._wall_s())

        def found(identity: Identity) -> None:
            if identity.user != session.token_user:
                self._lines.warn(
                    _log,
                    "{peer}: a new token refused: it is another user's",
                    peer=session.source,
                )
                question.refuse(AccessRefused("a token of another user"))
                return
            if self.hooked is not None:
                identity = self.hooked.renewed(principal, identity)
            session.identity = identity
            self._watch_expiry(principal, session)
            principal.change_rights(self.rights_of(identity))
            question.answer(None)

        self._ask(session, question, ask, found)
        return question

    def _watch_expiry(self, principal: Principal, session: OpenSession) -> None:
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        expires_s = session.identity.expires_s
        if expires_s is not None:
            left_s = max(0.0, expires_s - self._wall_s())
            session.timer = self._clock.callLater(left_s, self._look, principal, session)

    def _look(self, principal: Principal, session: OpenSession) -> None:
        """End a session whose token has expired; the time of day may have been set meanwhile."""
        session.timer = None
        expires_s = session.identity.expires_s
        if expires_s is not None and expires_s > self._wall_s():
            self._watch_expiry(principal, session)
            return
        with self._broker.turn.part:
            principal.fail(TokenExpired())

    # Changes while sessions are open

    def use_permissions(self, permissions: Permissions) -> None:
        """Use other rights, for the sessions that are open, too."""
        self.permissions = permissions
        self._in_parts(self._with_new_rights())

    def users_changed(self) -> None:
        """End the sessions of users that are there no more, or have another password."""
        self._in_parts(self._without_users())

    def end_page_session(self, cookie: str) -> None:
        """End the sessions that began with a cookie of the page, after a log-out."""
        self._in_parts(self._without_cookie(cookie))

    def _in_parts(self, steps: Iterator[None]) -> None:
        with self._broker.turn.part:
            self._broker.cork.in_parts(steps)

    def _with_new_rights(self) -> Iterator[None]:
        for principal, session in list(self._sessions.items()):
            is_known = session.waits_for is None or session.permissions is not None
            if principal in self._sessions and is_known:
                self._broker.cork.work += _CHANGE_WORK
                try:
                    self._renew_rights(principal, session)
                except Exception:  # the sessions after it get their new rights all the same
                    _log.failure("bug; session {id} has got no new rights", id=principal.id)
                    self._end(principal, "its rights are not known")
            if self._broker.cork.work >= TURN_WORK:
                yield

    def _renew_rights(self, principal: Principal, session: OpenSession) -> None:
        if self.permissions.admits(session.identity):
            rights = self.rights_of(session.identity)
            self._broker.cork.work += rights.work * _GRANT_WORK
            principal.change_rights(rights)
        else:
            self._end(principal, "no line of [rights] for anonymous any more")

    def _without_users(self) -> Iterator[None]:
        for principal, session in list(self._sessions.items()):
            if not session.local_user or principal not in self._sessions:
                continue
            self._broker.cork.work += 1
            stamp = self._stamp_of(session)
            if stamp != session.stamp:
                self._broker.cork.work += _CHANGE_WORK
                self._end(principal, "the user was removed" if stamp is None else "a new password")
            if self._broker.cork.work >= TURN_WORK:
                yield

    def _without_cookie(self, cookie: str) -> Iterator[None]:
        for principal, session in list(self._sessions.items()):
            self._broker.cork.work += 1
            if session.cookie == cookie and principal in self._sessions:
                self._broker.cork.work += _CHANGE_WORK
                self._end(principal, "logged out on the page")
            if self._broker.cork.work >= TURN_WORK:
                yield

    def _end(self, principal: Principal, reason: str) -> None:
        self._lines.warn(
            _log,
            "{peer}: session {id} ends: {reason}",
            peer=principal.source or "a client",
            id=principal.id,
            reason=reason,
        )
        principal.fail(AccessRefused(reason))


def _with_token(identity: Identity, session: OpenSession) -> Identity:
    """Note whose token was right, before anything else is asked."""
    session.token_user = identity.user
    return identity


def _noted(
    hooked: HookedSessions, principal: Principal, visitor: Visitor, identity: Identity
) -> Identity:
    hooked.note(principal, visitor, identity)
    return identity


def _later(call: Callable[[], Identity | Deferred[Identity]]) -> Deferred[Identity]:
    found: Deferred[Identity] = maybeDeferred(cast(Callable[[], Identity], call))
    return found
