"""Credentials: what a client shows to say who it is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import NamedTuple

from typing_extensions import override

from rtchat.core.broker.authenticator import Visitor
from rtchat.errors import AccessRefused

__all__ = [
    "SESSION_COOKIE",
    "PageSession",
    "Password",
    "Token",
    "UnknownScheme",
    "chosen",
    "cookie_pairs",
    "cookie_values",
]

SESSION_COOKIE = "rtchat_session"
"""The cookie of the page's own log-in."""

_TOKEN_LOGIN = "token"


class UnknownScheme(AccessRefused):
    """``Authorization`` has a scheme that this server does not know; a hook may know it."""

    def __init__(self) -> None:
        super().__init__("a scheme other than Bearer and Basic in Authorization")


class Password(NamedTuple):
    """A name and its password.

    Attributes:
        name: The name of the user.
        password: The password; it is never logged.
    """

    name: str
    password: str

    @override
    def __repr__(self) -> str:
        return f"Password(name={self.name!r})"


class Token(NamedTuple):
    """A JSON Web Token that the site has signed.

    Attributes:
        text: The token; it is never logged.
    """

    text: str

    @override
    def __repr__(self) -> str:
        return "Token()"


class PageSession(NamedTuple):
    """The cookie of the page's log-in.

    Attributes:
        value: Its value; it is never logged.
    """

    value: str

    @override
    def __repr__(self) -> str:
        return "PageSession()"


def chosen(visitor: Visitor, token_cookie: str = "") -> Password | Token | PageSession | None:
    """Return the credentials that count: the first ones that are there.

    They are looked for in CONNECT, in the header Authorization, in the cookie with a token, and in
    the cookie of the page.

    Args:
        visitor: What the client has shown.
        token_cookie: The name of the cookie with a token; "" if there is none.

    Raises:
        AccessRefused: They cannot be read, or there are several of a kind.
        UnknownScheme: They are in ``Authorization``, in a way that only a hook may know.
    """
    login = visitor.headers.get("login", "")
    passcode = visitor.headers.get("passcode", "")
    if passcode and (not login or login == _TOKEN_LOGIN):
        return Token(passcode)
    if login and "passcode" in visitor.headers:
        return Password(login, passcode)
    authorization = visitor.request.get("authorization", "")
    if authorization:
        return _authorized(authorization)
    cookies = visitor.request.get("cookie", "")
    if token_cookie and (token := _only(cookies, token_cookie)):
        return Token(token)
    if session := _only(cookies, SESSION_COOKIE):
        return PageSession(session)
    return None


def cookie_pairs(cookies: str) -> Iterator[tuple[str, str]]:
    """Return names and values of cookies, in the order of the header ``Cookie``.

    These are all that there are: many that another site of the domain has set must not hide one.
    """
    for pair in cookies.split(";"):
        key, equals, value = pair.partition("=")
        if equals or key.strip():
            yield key.strip(), value.strip().strip('"')


def cookie_values(cookies: str, name: str) -> list[str]:
    """Return the values of a cookie, which a browser may send more than once.

    Args:
        cookies: The header ``Cookie``.
        name: The cookie's name.
    """
    return [value for key, value in cookie_pairs(cookies) if key == name]


def _only(cookies: str, name: str) -> str:
    """Return the value of a cookie; "" without one.

    Raises:
        AccessRefused: There are several: another site of the domain may have set one.
    """
    values = dict.fromkeys(cookie_values(cookies, name))
    if len(values) > 1:
        raise AccessRefused(f"two different cookies {name}")
    return next(iter(values), "")


def _authorized(header: str) -> Password | Token:
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return Token(value)
    if scheme.lower() != "basic":
        raise UnknownScheme
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        raise AccessRefused("a Basic Authorization that is not base64 of UTF-8") from None
    name, colon, password = text.partition(":")
    if not colon or not name:
        raise AccessRefused("a Basic Authorization without a name and a colon")
    return Password(name, password)
