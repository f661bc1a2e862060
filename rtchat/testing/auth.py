"""Log-in, rights and hooks of a broker in memory."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import Permissions
from rtchat.core.broker.broker import Broker
from rtchat.errors import AccessRefused
from rtchat.net.auth.hooked import HookedSessions
from rtchat.net.auth.hooks.answers import Answer, HookFailed, answer_from_python
from rtchat.net.auth.hooks.hooks import Hooks
from rtchat.net.auth.hooks.visitor import (
    EVENTS,
    Event,
    Facts,
    message_of,
    subscription_of,
    visitor_of,
)
from rtchat.net.auth.login import Login
from rtchat.net.auth.renewal import open_renewal
from rtchat.net.connection.client_log import ClientLog

__all__ = ["MemoryLogin"]


class MemoryLogin:
    """The users of a broker in memory.

    Args:
        clock: The simulated clock.
        users: The passwords by user; None if the hook gets passwords, or no one does.
        permissions: The rights.
        hooks: An object with the methods of a hook, or None.
    """

    def __init__(
        self,
        clock: Clock,
        users: Mapping[str, str] | None,
        permissions: Permissions,
        hooks: object | None,
    ) -> None:
        self._clock = clock
        self._has_passwords = not (users is None and hooks is not None)
        self._users = dict(users or {})
        self._permissions = permissions
        self._hook = None if hooks is None else _InlineHook(hooks)
        self._tokens: dict[str, Identity] = {}
        self._login: Login | None = None

    def open(self, broker: Broker) -> None:
        """Let a broker ask who its sessions are."""
        login = self._login = Login(
            broker,
            self._clock,
            self._clock.seconds,
            ClientLog(self._clock, 0),
            self._permissions,
            passwords=self if self._has_passwords else None,
            tokens=self,
        )
        broker.authenticator = login
        open_renewal(broker, login)
        if self._hook is not None:
            hooks = Hooks(
                self._hook,
                clock=self._clock,
                wall_s=self._clock.seconds,
                events=[event for event in EVENTS if event in self._hook.events],
            )
            login.hooked = HookedSessions(
                broker, hooks, lambda identity: login.permissions.groups_of(identity)
            )

    def token(self, identity: Identity) -> str:
        """Return a token that stands for an identity."""
        text = f"token-{len(self._tokens) + 1}"
        self._tokens[text] = identity
        return text

    def set_users(self, users: Mapping[str, str]) -> None:
        """Have other users; sessions of those who are gone end."""
        self._users = dict(users)
        if self._login is not None:
            self._login.users_changed()

    def set_permissions(self, permissions: Permissions) -> None:
        """Have other rights, for the sessions that are open, too."""
        self._permissions = permissions
        if self._login is not None:
            self._login.use_permissions(permissions)

    # In the place of the password file, and of the site's keys

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        """Return whether a password is right."""
        return succeed(name in self._users and self._users[name] == password)

    def stamp_of(self, name: str) -> str | None:
        """Return the password of a user; None if there is no such user."""
        return self._users.get(name)

    def names(self) -> Iterable[str]:
        """Return the names of all users."""
        return self._users

    def verify(self, text: str, now_s: float) -> Identity:
        """Return who a token stands for.

        Raises:
            AccessRefused: It is none of this broker, or its time is over.
        """
        identity = self._tokens.get(text)
        if identity is None:
            raise AccessRefused("not a token of this broker")
        if identity.expires_s is not None and identity.expires_s <= now_s:
            raise AccessRefused("expired")
        return identity


class _InlineCall:
    """A call of a method of a hook, which has returned or awaits something."""

    def __init__(self, answer: Deferred[Answer]) -> None:
        self.answer = answer

    def give_up(self) -> None:
        """Wait no longer."""
        self.answer.cancel()


class _InlineHook:
    """An object whose methods are the hook; plain methods are called at once, without a thread."""

    def __init__(self, target: object) -> None:
        self._target = target
        self.where = f"{type(target).__module__}:{type(target).__qualname__}"
        self.events = frozenset(event for event in EVENTS if hasattr(target, event))
        if not self.events:
            raise ValueError(f"{self.where} has no method of a hook: {', '.join(EVENTS)}")

    def call(self, event: Event, facts: Facts, session_id: str, delivery: str) -> _InlineCall:
        """Call the method of an event."""
        arguments: list[object] = [visitor_of(event, facts, session_id)]
        if event in ("subscribe", "unsubscribe"):
            arguments.append(subscription_of(facts))
        elif event == "send":
            arguments.append(message_of(facts))
        answer: Deferred[Any] = maybeDeferred(self._run, getattr(self._target, event), arguments)
        answer.addCallbacks(lambda value: answer_from_python(value, event), _failed)
        return _InlineCall(answer)

    def close(self) -> None:
        """Do nothing: there are no threads."""

    def _run(self, method: Any, arguments: list[object]) -> Any:
        result = method(*arguments)
        return Deferred.fromCoroutine(result) if inspect.iscoroutine(result) else result


def _failed(failure: Any) -> None:
    if failure.check(HookFailed):
        failure.raiseException()
    name = type(failure.value).__name__
    raise HookFailed("an exception", f"{name}: {failure.value}", cause=failure)
