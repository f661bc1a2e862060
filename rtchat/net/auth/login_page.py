"""``/login`` and ``/logout``: a form for people, and the same for the page's scripts.

A request of another site cannot log anyone in or out: the form carries a token that belongs to a
cookie of this browser, and a browser that says that the request comes from elsewhere is believed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from html import escape
from string import Template
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from rtchat.core.access.addresses import source_key
from rtchat.core.auth.credentials import SESSION_COOKIE, cookie_values
from rtchat.core.auth.identity import ANONYMOUS, Identity
from rtchat.core.broker.authenticator import Visitor
from rtchat.errors import AccessRefused, LimitExceeded, ProtocolError
from rtchat.net.auth.page_sessions import CookieSessions
from rtchat.net.json_codec import json_line
from rtchat.net.web.requests import (
    client_of,
    credentials_of,
    header_values,
    log_refusal,
    single_value,
)

__all__ = ["Forms", "LoginPage", "LogoutPage"]

_log = Logger(__package__)

FORM_COOKIE = "rtchat_form"
"""The cookie that the token of a form belongs to."""

_FORM_SECRET_CHARS = 43
_MAX_FIELD_BYTES = 1024
_HERE = ("same-origin", "none")

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/static/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/login.css">
</head>
<body>
<main>
<h1>Log in</h1>
$content
</main>
</body>
</html>
""")

_FORM = Template("""\
<form method="post" action="/login">
<input type="hidden" name="form" value="$token">
<p><label for="name">Name</label>
<input id="name" name="name" autocomplete="username" autocapitalize="none" required maxlength="128"
 aria-describedby="problem" value="$name"$first></p>
<p><label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
 aria-describedby="problem"$second></p>
<p id="problem" role="alert" class="problem">$problem</p>
<p><button>Log in</button></p>
</form>""")

_AT_SITE = (
    "<p>This chat is for people who have logged in at the site that it belongs to. Log in there, "
    'then come <a href="/">back to the chat</a>.</p>'
)


class WhoIs(Protocol):
    """Finds out who a visitor is, and ends sessions."""

    def who(self, visitor: Visitor) -> Identity | Deferred[Identity]:
        """Return who a visitor is, or raise AccessRefused."""

    def end_page_session(self, cookie: str) -> None:
        """End the sessions that began with a cookie of the page."""


class Passwords(Protocol):
    """Knows names and passwords."""

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        """Return whether a password is right."""


class Forms:
    """Makes and checks the tokens of forms.

    Args:
        key: Signs them.
        is_secure: Returns whether a request came over TLS, also through a front proxy.
    """

    def __init__(self, key: bytes, is_secure: Callable[[Request], bool]) -> None:
        self._key = key
        self.is_secure = is_secure

    def token_for(self, request: Request) -> str:
        """Return the token of a form; set the cookie that it belongs to, if there is none."""
        secret = self._secret_of(request)
        if secret is None:
            secret = secrets.token_urlsafe(32)
            self.set_cookie(request, FORM_COOKIE, secret, same_site="Strict")
        return self._token(secret)

    def problem_with(self, request: Request) -> str:
        """Return why a request does not come from a form of this server; "" if it does."""
        site = single_value(header_values(request, "Sec-Fetch-Site"))
        if site is not None and site not in _HERE:
            return "it comes from a page of another site"
        origin = single_value(header_values(request, "Origin"))
        host = single_value(header_values(request, "Host"))
        own = [f"https://{host}"]
        if not self.is_secure(request):  # over TLS, a page of http:// is a forged one
            own.append(f"http://{host}")
        if origin is not None and origin not in own:
            return "its Origin is another site"
        secret = self._secret_of(request)
        token = field_of(request, "form")
        if secret is None or not secrets.compare_digest(
            self._token(secret).encode(), token.encode()
        ):
            return "its form was not sent to this browser"
        return ""

    def set_cookie(
        self,
        request: Request,
        name: str,
        value: str,
        *,
        same_site: str,
        max_age_s: float | None = None,
    ) -> None:
        """Set a cookie that no script can read."""
        parts = [f"{name}={value}", "Path=/", "HttpOnly", f"SameSite={same_site}"]
        if max_age_s is not None:
            parts.append(f"Max-Age={int(max_age_s)}")
        # A front proxy with TLS may not tell of it; the browser that sends a form does.
        origin = single_value(header_values(request, "Origin")) or ""
        if self.is_secure(request) or origin.startswith("https://"):
            parts.append("Secure")
        request.responseHeaders.addRawHeader(b"Set-Cookie", "; ".join(parts).encode("ascii"))

    def _secret_of(self, request: Request) -> str | None:
        cookies = single_value(header_values(request, "Cookie")) or ""
        values = cookie_values(cookies, FORM_COOKIE)
        return values[0] if len(values) == 1 and len(values[0]) == _FORM_SECRET_CHARS else None

    def _token(self, secret: str) -> str:
        return hmac.new(self._key, b"form " + secret.encode("latin-1"), "sha256").hexdigest()


class _Form(Resource):
    """The part that both pages have."""

    isLeaf = True

    def __init__(self, forms: Forms, sessions: CookieSessions, login: WhoIs) -> None:
        super().__init__()
        self._login = login
        self._forms = forms
        self._sessions = sessions

    def _has_own_form(self, request: Request) -> bool:
        problem = self._forms.problem_with(request)
        if problem:
            log_refusal(request, f"{problem}, or cookies are turned off")
            request.setResponseCode(403)
        return not problem

    def _end_log_in(self, request: Request) -> None:
        """End the log-in that a browser has, and its sessions."""
        cookies = single_value(header_values(request, "Cookie")) or ""
        for cookie in cookie_values(cookies, SESSION_COOKIE):
            if self._sessions.close(cookie):
                self._login.end_page_session(cookie)


class LoginPage(_Form):
    """``/login``: the form, and who has logged in.

    Scripts say ``Accept: application/json``, and get ``{"user": …, "form": …}``: the name of the
    user, "" for none, and the token for the field ``form`` of a POST.

    Args:
        forms: Makes and checks the tokens of forms.
        sessions: Makes the cookies.
        login: Finds out who a visitor is.
        passwords: Checks the passwords; None if the page cannot log anyone in.
    """

    def __init__(
        self, forms: Forms, sessions: CookieSessions, login: WhoIs, passwords: Passwords | None
    ) -> None:
        super().__init__(forms, sessions, login)
        self._passwords = passwords

    def render_GET(self, request: Request) -> bytes | int:
        if not _wants_json(request):
            return self._page(request)
        source = source_key(getattr(client_of(request), "host", None))
        visitor = Visitor({}, credentials_of(request), source)
        asked = maybeDeferred(self._login.who, visitor)
        asked.addErrback(_refused_is_nobody)
        return _answer_with(request, asked, lambda who: self._facts(request, who.user))

    def render_POST(self, request: Request) -> bytes | int:
        if not self._has_own_form(request):
            return self._refusal(request, _NO_FORM)
        name, password = field_of(request, "name"), field_of(request, "password")
        if self._passwords is None or not name:
            request.setResponseCode(403)
            return self._refusal(request, _WRONG)
        source = source_key(getattr(client_of(request), "host", None))
        checked = self._passwords.check(name, password, source)
        asked = checked.addCallbacks(lambda is_right: "" if is_right else _WRONG, _problem_of)
        return _answer_with(request, asked, lambda problem: self._end(request, name, problem))

    def _end(self, request: Request, name: str, problem: str) -> bytes:
        if problem is _BUSY:
            request.setResponseCode(503)
            request.setHeader(b"Retry-After", b"10")
        elif problem:
            log_refusal(request, "an unknown name or a wrong password")
            request.setResponseCode(403)
        if problem:
            return self._refusal(request, problem)
        self._end_log_in(request)
        cookie = self._sessions.open(name)
        self._forms.set_cookie(
            request, SESSION_COOKIE, cookie, same_site="Lax", max_age_s=self._sessions.max_age_s
        )
        if _wants_json(request):
            return self._facts(request, name)
        return _redirect(request)

    def _facts(self, request: Request, user: str) -> bytes:
        has_form = self._passwords is not None
        form = self._forms.token_for(request) if has_form else ""
        return _json(request, {"user": user, "form": form})

    def _refusal(self, request: Request, problem: str) -> bytes:
        if _wants_json(request):
            reason = _REASONS[problem]
            return _json(request, {"user": "", "problem": problem, "reason": reason})
        return self._page(request, problem, field_of(request, "name"))

    def _page(self, request: Request, problem: str = "", name: str = "") -> bytes:
        """Return the page for people; without passwords it says where they log in."""
        if self._passwords is None:
            return _html(request, _AT_SITE)
        token = self._forms.token_for(request)
        first, second = ("", " autofocus") if name else (" autofocus", "")
        shown = {"token": token, "problem": escape(problem), "name": escape(name)}
        return _html(request, _FORM.substitute(shown, first=first, second=second))


class LogoutPage(_Form):
    """``/logout``: ends the log-in of this browser, and the user's sessions. It takes POST only.

    Args:
        forms: Checks the tokens of forms.
        sessions: Knows the cookies.
        login: Ends the sessions.
    """

    def render_GET(self, request: Request) -> bytes:
        """Refuse: a link or an image must not log anyone out. This is for HEAD, too."""
        request.setResponseCode(405)
        request.setHeader(b"Allow", b"POST")
        return _json(request, {"problem": "Log out with a POST of the form."})

    def render_POST(self, request: Request) -> bytes:
        if not self._has_own_form(request):
            return _json(request, {"problem": _NO_FORM, "reason": "form"})
        self._end_log_in(request)
        self._forms.set_cookie(request, SESSION_COOKIE, "", same_site="Lax", max_age_s=0)
        return _json(request, {"user": ""}) if _wants_json(request) else _redirect(request)


_NO_FORM = "Your browser did not send the form of this page; it has to keep cookies."

_WRONG = "The name or the password is wrong. After several wrong ones the answer takes longer."

_BUSY = "The server cannot check passwords at the moment. Please try again a little later."

_REASONS = {_NO_FORM: "form", _WRONG: "wrong", _BUSY: "busy"}
"""What scripts are told."""


def field_of(request: Request, name: str) -> str:
    """Return a field of a form; "" if it is missing, repeated, too long, or not UTF-8.

    What is in the address is no field: addresses get into logs, histories and links.
    """
    values = [] if b"?" in request.uri else request.args.get(name.encode(), [])
    if len(values) != 1 or len(values[0]) > _MAX_FIELD_BYTES:
        return ""
    try:
        text: str = values[0].decode()
    except UnicodeDecodeError:
        return ""
    return text


def _wants_json(request: Request) -> bool:
    return "application/json" in (single_value(header_values(request, "Accept")) or "")


def _json(request: Request, value: object) -> bytes:
    _set_private(request)
    request.setHeader(b"Content-Type", b"application/json")
    return json_line(value)


def _html(request: Request, content: str) -> bytes:
    _set_private(request)
    request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
    request.setHeader(
        b"Content-Security-Policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    )
    request.setHeader(b"Referrer-Policy", b"same-origin")
    return _PAGE.substitute(content=content).encode()


def _set_private(request: Request) -> None:
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"Vary", b"Accept, Cookie")


def _redirect(request: Request) -> bytes:
    _set_private(request)
    request.setResponseCode(303)
    request.setHeader(b"Location", b"/")
    return b""


def _answer_with(request: Request, asked: Deferred[Any], render: Callable[[Any], bytes]) -> int:
    """Answer a request once something is known."""
    gone = request.notifyFinish()
    is_there = [True]

    def left(_: object) -> None:
        is_there.clear()
        asked.cancel()

    def answer(found: Any) -> None:
        if is_there:
            body = render(found)
            gone.addErrback(lambda _: None)
            request.write(body)
            request.finish()

    def failed(failure: Failure) -> None:
        if is_there:
            _log.failure("bug while answering a log-in", failure)
            request.setResponseCode(500)
            request.finish()

    gone.addErrback(left)
    asked.addCallback(answer).addErrback(failed)
    return NOT_DONE_YET


def _refused_is_nobody(failure: Failure) -> Identity:
    failure.trap(ProtocolError)
    return ANONYMOUS


def _problem_of(failure: Failure) -> str:
    """Return what to say of a check without an answer."""
    return _BUSY if failure.trap(AccessRefused, LimitExceeded) is LimitExceeded else _WRONG
