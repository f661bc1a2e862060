"""What the log-in asks to find out who a session is, and what it keeps about each."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from rtchat.core.auth.identity import ANONYMOUS, Identity
from rtchat.core.auth.permissions import Permissions

__all__ = ["OpenSession", "PageSessions", "Passwords", "Tokens"]


class Passwords(Protocol):
    """Knows names and passwords."""

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        """Return whether a password is right; fires with False for an unknown name, too."""

    def stamp_of(self, name: str) -> str | None:
        """Return a text that changes with a user's password; None if there is no such user."""


class Tokens(Protocol):
    """Reads the tokens of a site."""

    def verify(self, text: str, now_s: float) -> Identity | Deferred[Identity]:
        """Return who a token is about.

        Raises:
            AccessRefused: It is not accepted.
        """


class PageSessions(Protocol):
    """Knows who has logged in on the page."""

    def user_of(self, cookie: str) -> Identity:
        """Return who a cookie is about.

        Raises:
            AccessRefused: It is not accepted.
        """


class OpenSession:
    """What is known about a session.

    Attributes:
        cookie: The cookie of the page that it began with, or "".
        identity: Who it is, once that is known.
        local_user: The user of this server that it logged in as, by a password or on the page,
            whatever a hook says then; "" for none.
        permissions: The rights of users at the time when it was found out who it is, or None.
        source: Where it comes from, for the log.
        stamp: Changes with the user's password; None if it has not logged in with one.
        timer: Runs until its token expires, if it has one.
        token_user: The user of the token that it began with, whatever a hook says then; "" for no
            token.
        waits_for: What it waits for, if anything.
    """

    __slots__ = (
        "cookie",
        "identity",
        "local_user",
        "permissions",
        "source",
        "stamp",
        "timer",
        "token_user",
        "waits_for",
    )

    def __init__(self, source: str) -> None:
        self.source = source or "a client"
        self.identity = ANONYMOUS
        self.cookie = ""
        self.local_user = ""
        self.permissions: Permissions | None = None
        self.stamp: str | None = None
        self.timer: IDelayedCall | None = None
        self.token_user = ""
        self.waits_for: Deferred[Any] | None = None
