"""Sessions and their hook: what it is asked, what it is told, and what its answers do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.core.auth.credentials import cookie_pairs
from rtchat.core.auth.identity import ANONYMOUS, Identity
from rtchat.core.broker.authenticator import Visitor
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.gate import Check, Gate
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.subscription import Subscription
from rtchat.core.stomp.frames import Frame
from rtchat.errors import AccessRefused, NoRight, ProtocolError
from rtchat.net.auth.hooks.answers import Answer
from rtchat.net.auth.hooks.visitor import Event, Facts
from rtchat.text import printable

if TYPE_CHECKING:
    from rtchat.net.auth.hooks.hooks import Hooks

__all__ = ["HookedSessions"]

_log = Logger(__package__)

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_NOT_ASKED = "/session/"


class _Seen:
    """A session as the hook knows it.

    Attributes:
        identity: Who it is.
        source: Where it comes from.
        subscribe: What it is subscribed to once it has CONNECTED.
        subscriptions: Its open subscriptions.
        told: What the hook has said of who it is.
    """

    __slots__ = ("identity", "source", "subscribe", "subscriptions", "told")

    def __init__(
        self,
        source: str,
        identity: Identity,
        subscribe: Sequence[str] = (),
        told: Identity = ANONYMOUS,
    ) -> None:
        self.source = source
        self.identity = identity
        self.told = told
        self.subscribe = subscribe
        self.subscriptions: dict[Subscription, None] = {}


class HookedSessions(Gate, BrokerEvents):
    """Asks and tells a hook about sessions.

    Args:
        broker: The broker. The constructor adds the gate and the listener to it.
        hooks: Asks and tells the hook.
        groups_of: Returns the groups of an identity.
    """

    def __init__(
        self, broker: Broker, hooks: Hooks, groups_of: Callable[[Identity], frozenset[str]]
    ) -> None:
        asks_sends = "send" in hooks.events
        self.concerns = Glob(("*",) if asks_sends else ())
        self._broker = broker
        self._hooks = hooks
        self._groups_of = groups_of
        self._seen: dict[Principal, _Seen] = {}
        if asks_sends:
            broker.add_gate(self)
        if "subscribe" in hooks.events:
            broker.subscribe_checks.append(self._check_subscribe)
        broker.events.add(self)

    # Connecting

    @property
    def decides(self) -> bool:
        """Whether the hook says who a visitor is, and so gets credentials of any kind."""
        return "connect" in self._hooks.events

    def ask_connect(
        self, principal: Principal, visitor: Visitor, identity: Identity
    ) -> Deferred[Identity]:
        """Ask whether a session may connect, and as whom.

        Args:
            principal: The session.
            visitor: What it has shown.
            identity: Who it is, as far as the server has found out.

        Returns:
            Who it is. The Deferred fails with ``AccessRefused`` if it may not connect.
        """
        request, headers = visitor.request, dict(visitor.headers)
        headers.pop("path", None)  # the server says what a request asks for
        if visitor.path:
            headers["path"] = visitor.path
        facts = Facts(
            visitor.source,
            identity.user,
            identity.nick,
            self._groups_of(identity),
            login=headers.get("login", ""),
            password=headers.get("passcode", ""),
            cookies=dict(cookie_pairs(request.get("cookie", ""))),
            authorization=request.get("authorization", ""),
            headers=headers,
        )

        def answered(answer: Answer) -> Identity:
            if not answer.is_allowed:
                raise AccessRefused(printable(answer.reason) or "the hook refuses the visitor")
            who = _merged(identity, answer.identity)
            seen = _Seen(visitor.source, who, answer.autosubscribe, answer.identity)
            self._seen[principal] = seen
            return who

        return self._hooks.ask("connect", facts, principal.id).addCallback(answered)

    def note(self, principal: Principal, visitor: Visitor, identity: Identity) -> None:
        """Note a session that has connected without a question."""
        self._seen[principal] = _Seen(visitor.source, identity)

    def renewed(self, principal: Principal, identity: Identity) -> Identity:
        """Return who a session with a new token is: what the hook has said holds on.

        So its ``expires`` does as well: to be asked again, the client connects again.

        Args:
            principal: The session.
            identity: Who the new token says it is.
        """
        seen = self._seen.get(principal)
        if seen is None:
            return identity
        seen.identity = _merged(identity, seen.told)
        return seen.identity

    def opened(self, principal: Principal) -> None:
        """Subscribe a session that has got CONNECTED to what the hook has said."""
        seen = self._seen.get(principal)
        if seen is not None:
            self._subscribe(principal, seen.subscribe)

    def left(self, principal: Principal) -> None:
        """Note that a session has ended; the hook is told, if it had let it in."""
        seen = self._seen.pop(principal, None)
        if seen is not None:
            self._hooks.tell("disconnect", self._facts(seen), principal.id)

    # Subscribing

    def _check_subscribe(self, principal: Principal, frame: Frame) -> None:
        answer = self._answer(principal, "subscribe", frame)
        if not answer.is_allowed:
            raise NoRight("read", frame.headers.get("destination", ""))
        self._obey(principal, answer)

    @override
    def subscribed(self, subscription: Subscription) -> None:
        seen = self._seen.get(subscription.principal) if subscription.principal else None
        if seen is not None:
            seen.subscriptions[subscription] = None

    @override
    def unsubscribed(self, subscription: Subscription) -> None:
        principal = subscription.principal
        seen = None if principal is None else self._seen.get(principal)
        if principal is None or seen is None:
            return
        seen.subscriptions.pop(subscription, None)
        headers = {"destination": subscription.destination}
        if subscription.id:
            headers["id"] = subscription.id
        facts = self._facts(seen, headers)
        self._hooks.tell("unsubscribe", facts, principal.id, partial(self._later, principal))

    def _later(self, principal: Principal, answer: Answer) -> None:
        """Obey the answer to what was told, if the session is still there."""
        if principal in self._seen:
            with self._broker.turn.part:
                self._obey(principal, answer)

    def _obey(self, principal: Principal, answer: Answer) -> None:
        self._subscribe(principal, answer.autosubscribe)
        seen = self._seen.get(principal)
        if seen is None:
            return  # the first message of one has ended it
        for name in answer.autounsubscribe:
            for subscription in [one for one in seen.subscriptions if one.destination == name]:
                principal.end_subscription(subscription.id, name)

    def _subscribe(self, principal: Principal, names: Sequence[str]) -> None:
        for name in names:
            try:
                principal.subscribe_to(name)
            except ProtocolError as error:
                _log.warn(
                    "the hook subscribes session {id} to {name}, which is not possible: {reason}",
                    id=principal.id,
                    name=printable(name),
                    reason=printable(error.message),
                )

    # Sending

    @override
    def check_for(self, destinations: Sequence[str]) -> Check | None:
        if any(name.startswith(_NOT_ASKED) for name in destinations):
            return None  # a token is no message
        return self._check_send

    def _check_send(self, principal: Principal, frame: Frame) -> Frame | None:
        answer = self._answer(principal, "send", frame)
        if not answer.is_allowed:
            raise NoRight("write", frame.headers.get("destination", ""))
        self._obey(principal, answer)
        if answer.body is None and not answer.headers:
            return None
        headers = dict(frame.headers)
        for name, value in answer.headers.items():
            if value is None:
                headers.pop(name, None)
            else:
                headers[name] = value
        body = frame.body if answer.body is None else answer.body
        headers.pop("content-length", None)
        return Frame(frame.command, headers, body)

    # Small helpers

    def _answer(self, principal: Principal, event: Event, frame: Frame) -> Answer:
        """Return the hook's answer about a frame; the session waits for it."""
        seen = self._seen.get(principal)
        if seen is None:
            return Answer()
        facts = self._facts(seen, frame.headers, frame.body)

        def ask() -> Question[Answer]:
            question: Question[Answer] = Question()
            asked = self._hooks.ask(event, facts, principal.id)
            question.on_dropped = asked.cancel
            asked.addCallbacks(partial(self._answered, question), _cancelled)
            asked.addErrback(lambda failure: _log.failure("bug in a hook's answer", failure))
            return question

        return principal.answer_to(ask)

    def _answered(self, question: Question[Answer], answer: Answer) -> None:
        with self._broker.turn.part:
            question.answer(answer)

    def _facts(
        self, seen: _Seen, headers: Mapping[str, str] = _NO_HEADERS, body: bytes = b""
    ) -> Facts:
        who = seen.identity
        groups = self._groups_of(who)
        return Facts(seen.source, who.user, who.nick, groups, headers=headers, body=body)


def _merged(known: Identity, told: Identity) -> Identity:
    """Return who a session is, of what the server knows and what the hook says."""
    ends = [end for end in (known.expires_s, told.expires_s) if end is not None]
    return Identity(
        told.user or known.user,
        known.groups | told.groups,
        told.nick or known.nick,
        (*known.read, *told.read),
        (*known.write, *told.write),
        (*known.admin, *told.admin),
        min(ends, default=None),
    )


def _cancelled(failure: Failure) -> None:
    """Do nothing: the client has gone."""
