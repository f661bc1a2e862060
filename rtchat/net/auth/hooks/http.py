"""Hooks over HTTP: a site is asked and told with POST, and answers with JSON.

This module's client is treq, so only a server with such a hook imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.auth.identity import is_user_name
from rtchat.net.auth.hooks.addresses import (
    RESTQ,
    Addresses,
    FixedAddress,
    plain_url,
    restq_addresses,
)
from rtchat.net.auth.hooks.answers import Answer, BrokenAnswer, HookFailed, answer_from_json
from rtchat.net.auth.hooks.client import Client, ConnectionLost
from rtchat.net.auth.hooks.question import question, signature
from rtchat.net.auth.hooks.visitor import ASKED, Event, Facts
from rtchat.text import escaped

__all__ = ["HttpHook"]

_log = Logger(__package__)

_IDLE_S = 1.0
"""How long an idle connection is kept: shorter than servers do, so none is used as it is closed."""

_CONNECT_SHARE = 0.8
"""The part of the time-out in which a connection has to be made. What is told later on is known
not to have been told before."""

_MAX_UNKNOWN = 20

# 401 and 403 are what a site says that checks the visitor, or the secret, before its own code.
_REFUSALS = frozenset({401, 403})
# Said by a proxy whose site is being restarted, or before anything was done.
_NOT_NOW = frozenset({429, 502, 503})


class HttpHook:
    """A site that is asked and told over HTTP.

    Each event is a POST with one JSON object; see
    :func:`~rtchat.net.auth.hooks.question.question`. Connections are reused, redirects are not
    followed, and no cookie of an answer is kept. ``X-Rtchat-Signature`` proves who asks;
    ``X-Rtchat-Delivery`` is the event's own id. An answer has status 200 and a JSON object, or
    status 204, which allows; 401 and 403 refuse. For what is told each status of 2xx will do.

    Args:
        reactor: Makes connections.
        url: Where events go; ``{event}`` in it stands for the event's name. If it begins with
            ``restq+``, it is a controller of MorbidQ's RestQ: its answer to a GET says where each
            event goes, and a login that it lets in is the user, unless the server knows the user.
        secret: The key of the signature; b"" for none.
        timeout_s: The time-out of :class:`~rtchat.net.auth.hooks.hooks.Hooks`.
        max_connections: How many connections are kept for reuse.

    Attributes:
        where: The URL without its query, for the log.
        reactor: Makes connections.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        secret: bytes = b"",
        timeout_s: float = 5.0,
        max_connections: int = 20,
    ) -> None:
        self.where = plain_url(url)
        self._secret = secret
        self.reactor = reactor
        self._client = Client(
            reactor,
            connect_s=_CONNECT_SHARE * timeout_s,
            idle_s=_IDLE_S,
            max_connections=max_connections,
        )
        self._unknown: set[str] = set()
        self._is_restq = url.startswith(RESTQ)
        self._addresses: Addresses = (
            _Controller(self, url.removeprefix(RESTQ), timeout_s)
            if self._is_restq
            else FixedAddress(url)
        )

    def call(self, event: Event, facts: Facts, session_id: str, delivery: str) -> _HttpCall:
        """Send the request; see :class:`~rtchat.net.auth.hooks.calls.Hook`."""
        return _HttpCall(self, event, facts, session_id, delivery)

    def renew(self, secret: bytes) -> None:
        """Use another secret from now on, and ask a controller of RestQ again where events go."""
        self._secret = secret
        if isinstance(self._addresses, _Controller):
            self._addresses.forget()

    def close(self) -> None:
        """Close the connections that are kept for reuse."""
        self._client.close()

    async def addresses_of(self, event: Event) -> str | None:
        """Return where an event goes, or None if the site does not want it."""
        return await self._addresses.of(event)

    async def request(
        self, url: str, body: bytes | None = None, delivery: str = "", *, reuses: bool = True
    ) -> tuple[int, bytes]:
        """Send one request: POST with a body, otherwise GET.

        Args:
            url: Where it goes.
            body: The body.
            delivery: The event's own id.
            reuses: Whether it may go over a connection that was used before.

        Returns:
            The status, and the body of an answer with status 2xx.

        Raises:
            HookFailed: There is no answer, or too long a one.
        """
        if body is None:
            return await self._client.request("GET", url)
        headers = {"X-Rtchat-Delivery": delivery}
        if self._secret:
            headers["X-Rtchat-Signature"] = signature(self._secret, body)
        return await self._client.request("POST", url, headers, body, reuses=reuses)

    def answer(self, event: Event, facts: Facts, status: int, body: bytes) -> Answer:
        """Return what a response means.

        Raises:
            HookFailed: It is no valid answer.
        """
        if status in _REFUSALS and event in ASKED:
            return Answer(is_allowed=False, reason=f"the hook has answered with status {status}")
        if not 200 <= status < 300:
            detail = f"it has answered to {event} with status {status}"
            if 300 <= status < 400:
                detail += ", a redirect, which is not followed"
            raise HookFailed(f"status {status}", detail, is_untold=status in _NOT_NOW)
        if status == 204:
            answer = Answer()
        elif event in ASKED:
            if status != 200:
                raise HookFailed(
                    f"status {status}", f"it has answered to {event} with status {status}, not 200"
                )
            answer = answer_from_json(body, event, unknown=self._note_unknown)
        else:
            try:
                answer = answer_from_json(body, event, unknown=self._note_unknown)
            except BrokenAnswer:
                answer = Answer()  # it was told, whatever it says
        is_unknown = not (facts.user or answer.identity.user)
        if self._is_restq and event == "connect" and is_unknown:
            answer = _with_login(answer, facts.login)
        return answer

    def _note_unknown(self, key: str) -> None:
        if key in self._unknown or len(self._unknown) >= _MAX_UNKNOWN:
            return
        self._unknown.add(key)
        _log.warn(
            "An answer of the hook {where} has the key {key}, which means nothing; check its name.",
            where=self.where,
            key=escaped(key),
        )


def _with_login(answer: Answer, login: str) -> Answer:
    """Take the login that a controller of RestQ lets in for the user's name, as MorbidQ did."""
    if not answer.is_allowed or not is_user_name(login):
        return answer
    return replace(answer, identity=replace(answer.identity, user=login))


class _HttpCall:
    """One event on its way to the site."""

    def __init__(
        self, hook: HttpHook, event: Event, facts: Facts, session_id: str, delivery: str
    ) -> None:
        self._hook = hook
        self._event = event
        self._facts = facts
        self._delivery = delivery
        self._session_id = session_id
        self._is_given_up = False
        self.answer: Deferred[Answer] = Deferred.fromCoroutine(self._run())

    def give_up(self) -> None:
        """Close the connection, if it still waits for an answer."""
        self._is_given_up = True
        self.answer.cancel()

    async def _run(self) -> Answer:
        url = await self._hook.addresses_of(self._event)
        if url is None:
            return Answer()
        body = question(self._event, self._facts, self._session_id)
        # The site may close a connection just as it is used again. A question may be put twice;
        # what is told may not, so it has a connection of its own.
        is_asked = self._event in ASKED
        try:
            status, answer = await self._hook.request(url, body, self._delivery, reuses=is_asked)
        except ConnectionLost:
            if not is_asked or self._is_given_up:
                raise
            status, answer = await self._hook.request(url, body, self._delivery, reuses=False)
        return self._hook.answer(self._event, self._facts, status, answer)


class _Controller:
    """A controller of RestQ, which says where each event goes. It is asked before the first event.

    Args:
        hook: Sends the request.
        url: The controller.
        timeout_s: How long the answer may take.
    """

    def __init__(self, hook: HttpHook, url: str, timeout_s: float) -> None:
        self._hook = hook
        self._url = url
        self._timeout_s = timeout_s
        self._found: Mapping[str, str] | None = None
        self._is_asking = False
        self._waiting: list[Deferred[Mapping[str, str]]] = []

    def forget(self) -> None:
        """Ask again before the next event."""
        self._found = None

    async def of(self, event: Event) -> str | None:
        """Return where an event goes; all who ask meanwhile wait for one answer."""
        found = self._found
        if found is None:
            waiting: Deferred[Mapping[str, str]] = Deferred()
            self._waiting.append(waiting)
            if not self._is_asking:
                self._is_asking = True
                asking = Deferred.fromCoroutine(self._ask())
                asking.addTimeout(self._timeout_s, self._hook.reactor)
                asking.addBoth(self._answered)
            found = await waiting
        return found.get(event)

    async def _ask(self) -> Mapping[str, str]:
        status, body = await self._hook.request(self._url)
        if status != 200:
            raise HookFailed(
                f"status {status}",
                f"it has answered with status {status} to the question where events go",
                is_untold=True,
            )
        return restq_addresses(body, self._url)

    def _answered(self, result: Mapping[str, str] | Failure) -> None:
        self._is_asking = False
        waiting, self._waiting = self._waiting, []
        if isinstance(result, Failure):
            problem = result.value
            detail = problem.detail if isinstance(problem, HookFailed) else str(problem)
            kind = problem.kind if isinstance(problem, HookFailed) else "no answer"
            # Whatever the reason: no event was sent yet.
            failure = HookFailed(kind, detail or kind, is_untold=True)
            for one in waiting:
                one.errback(failure)
        else:
            self._found = result
            for one in waiting:
                one.callback(result)
