"""A log-in with passwords and tokens that a test makes up, and answers when it likes."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from support.net import FakeBrowser
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import Permissions
from rtchat.core.broker.broker import Broker
from rtchat.errors import AccessRefused
from rtchat.net.auth.login import Login
from rtchat.net.auth.page_sessions import KEY_BYTES, CookieSessions
from rtchat.net.auth.visits import Visits
from rtchat.net.connection.client_log import ClientLog

__all__ = ["Door", "Passwords", "Tokens", "basic", "bearer", "by_hand"]


class Passwords:
    """Users whose password is their name.

    Attributes:
        users: The users, and what changes with their passwords.
        is_slow: Whether a test answers.
        waiting: The checks that have no answer.
        cancelled: How many checks were given up.
    """

    def __init__(self, *users: str) -> None:
        self.users = dict.fromkeys(users, "1")
        self.is_slow = False
        self.waiting: list[Deferred[bool]] = []
        self.cancelled = 0

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        """Return whether a password is right."""
        if not self.is_slow:
            return succeed(name == password and name in self.users)
        waiting: Deferred[bool] = Deferred(self._cancel)
        self.waiting.append(waiting)
        return waiting

    def exists(self, name: str) -> bool:
        """Return whether there is a user of this name."""
        return name in self.users

    def stamp_of(self, name: str) -> str | None:
        """Return what changes with a password; None for an unknown user."""
        return self.users.get(name)

    def _cancel(self, waiting: Deferred[bool]) -> None:
        self.cancelled += 1


class Tokens:
    """Tokens that are ``USER`` or ``USER:SECONDS``, the time when they end, or ``USER@GROUP``."""

    def verify(self, text: str, now_s: float) -> Identity:
        """Return who a token is about."""
        user, _, end = text.partition(":")
        user, _, group = user.partition("@")
        if user == "wrong":
            raise AccessRefused("a wrong signature")
        groups = frozenset({group} if group else ())
        return Identity(user, groups, expires_s=float(end) if end else None)


class Door:
    """Visits, with a clock of their own or that of a site.

    Attributes:
        clock: Runs the timers; it is also the time of day.
        login: Finds out who it is.
        pages: The log-ins on the page.
        passwords: Its users with passwords: ada and bob.
        visits: Lets them in.
    """

    def __init__(
        self, groups: dict[str, Iterable[str]] | None = None, clock: Clock | None = None
    ) -> None:
        self.clock = clock or Clock()
        self.broker = Broker("epoch")
        self.passwords = Passwords("ada", "bob")
        lines = ClientLog(self.clock)
        self.pages = CookieSessions(
            b"k" * KEY_BYTES, 3600, self.clock.seconds, self.passwords.stamp_of
        )
        self.login = Login(
            self.broker,
            self.clock,
            self.clock.seconds,
            lines,
            Permissions(None, groups),
            passwords=self.passwords,
            tokens=Tokens(),
            pages=self.pages,
        )
        self.visits = Visits(self.login, lines, self.broker.next_session_id)


def basic(name: str, password: str) -> str:
    """Return the header ``Authorization`` of a name and a password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def bearer(token: str) -> str:
    """Return the header ``Authorization`` of a token."""
    return f"Bearer {token}"


def by_hand(browser: FakeBrowser, request: bytes) -> bytes:
    """Send a request, let the site go on, and return what came."""
    browser.socket.receive(request)
    browser.clock.advance(0)
    return browser.socket.taken()
