"""What a hook is asked or told about: the visitor, and what the visitor does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "ASKED",
    "EVENTS",
    "TOLD",
    "Event",
    "Facts",
    "Message",
    "Subscription",
    "Visitor",
    "message_of",
    "subscription_of",
    "visitor_of",
]

Event = Literal["connect", "subscribe", "send", "unsubscribe", "disconnect"]
"""What happens in a session."""

EVENTS: tuple[Event, ...] = ("connect", "subscribe", "send", "unsubscribe", "disconnect")
"""All of them, in the order of a session's life."""

ASKED: frozenset[Event] = frozenset({"connect", "subscribe", "send"})
"""These wait for an answer, which may refuse them."""

TOLD: frozenset[Event] = frozenset({"unsubscribe", "disconnect"})
"""These have happened; the hook is told of each of them once."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server knows about an event. Secrets are not part of its ``repr``.

    Attributes:
        source: The client's address, as the server trusts it; "" for a Unix socket.
        user: The user's name; "" is anonymous. For ``connect`` it is what the server has found out,
            and the hook decides.
        nick: The nickname, or "".
        groups: The user's groups.
        login: For ``connect``: what the client says its name is. Nothing has been checked.
        password: For ``connect``: the passcode.
        cookies: For ``connect``: the cookies of the request that opened the WebSocket.
        authorization: For ``connect``: the ``Authorization`` of that request, or "".
        headers: The headers of the frame.
        body: The body of a SEND.
    """

    source: str
    user: str = ""
    nick: str = ""
    groups: frozenset[str] = frozenset()
    login: str = ""
    password: str = field(default="", repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who does something: one session of a client.

    Credentials are there in ``connect`` only, where nothing about them has been checked. Secrets
    are not part of the visitor's ``repr``, so a visitor may be logged.

    Attributes:
        session: The session's id. It is never used again while the server runs.
        source: The client's address: that of the browser, also behind a trusted proxy. "" for a
            Unix socket.
        user: The user's name, as ``connect``, a token or a password has decided; "" is anonymous.
        nick: The nickname, or "".
        groups: The user's groups.
        login: In ``connect``: the header ``login`` of CONNECT.
        password: In ``connect``: the header ``passcode`` of CONNECT.
        cookies: In ``connect``: the cookies that the browser sent when it opened the WebSocket,
            so also those of your site if rtchat has the site's host name. Of two of one name it is
            the last one: another host of the same domain may have set one of them.
        authorization: In ``connect``: the ``Authorization`` of that request, or "".
        headers: In ``connect``: the other headers of CONNECT.
    """

    session: str
    source: str = ""
    user: str = ""
    nick: str = ""
    groups: frozenset[str] = frozenset()
    login: str = ""
    password: str = field(default="", repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a visitor subscribes to, or has unsubscribed from.

    Attributes:
        destination: The destination, perhaps with wildcards.
        headers: The headers of the frame, ``destination`` among them.
    """

    destination: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """What a visitor sends.

    Attributes:
        destination: Where it goes. A hook cannot change that.
        body: The body, as it was sent.
        headers: The headers of the frame, ``destination`` among them.
    """

    destination: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced by U+FFFD."""
        return self.body.decode("utf-8", "replace")


_CREDENTIALS = frozenset({"login", "passcode"})


def visitor_of(event: Event, facts: Facts, session_id: str) -> Visitor:
    """Return the visitor as a Python hook sees it."""
    visitor = Visitor(session_id, facts.source, facts.user, facts.nick, facts.groups)
    if event != "connect":
        return visitor
    return Visitor(
        visitor.session,
        visitor.source,
        visitor.user,
        visitor.nick,
        visitor.groups,
        facts.login,
        facts.password,
        facts.cookies,
        facts.authorization,
        {name: value for name, value in facts.headers.items() if name not in _CREDENTIALS},
    )


def subscription_of(facts: Facts) -> Subscription:
    """Return what a SUBSCRIBE or UNSUBSCRIBE is about."""
    return Subscription(facts.headers.get("destination", ""), facts.headers)


def message_of(facts: Facts) -> Message:
    """Return what a SEND is about."""
    return Message(facts.headers.get("destination", ""), facts.body, facts.headers)
