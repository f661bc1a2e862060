"""A FastAPI site whose users have a chat: it signs tokens, which rtchat reads from a cookie.

docs/security.md explains how to run it.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jwt
import uvicorn
from fastapi import Cookie, Depends, FastAPI, Form, HTTPException, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

LOG_IN = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Log in</title><h1>Log in</h1>
<form method="post" action="/login"><p><label>Name <input name="name" required></label></p>
<p><label>Password <input name="password" type="password" required></label></p>
<p><button>Log in</button></p></form></html>"""

# Half-way to its end, the page asks for the next token.
PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>The team</title>
<form method="post" action="/logout"><p>You are {user}. <button>Log out</button></p></form>
<script src="{chat}/static/embed.js" data-title="The team's chat"></script>
<script>setInterval(() => fetch("/renew", {{ method: "POST" }}), {every_ms})</script></html>"""

COOKIE = "chat_token"


class Settings(NamedTuple):
    """What the command line says."""

    chat: str
    secret: bytes
    seconds: int
    passwords: dict[str, bytes]  # hashed; a site of yours has them in its database


class Account(NamedTuple):
    """What the site knows about a user."""

    nick: str
    groups: list[str]


ACCOUNTS = {"ada": Account("Ada", ["staff"]), "grace": Account("Grace", [])}

app = FastAPI()


def hashed(name: str, password: str) -> bytes:
    return hashlib.scrypt(password.encode(), salt=name.encode(), n=2**14, r=8, p=1)


def logged_in(name: str, password: str) -> str:
    """Return the user's name if the password is right."""
    known = app.state.settings.passwords.get(name, b"")
    if not hmac.compare_digest(hashed(name, password), known):
        raise HTTPException(401, "The name or the password is not right.")
    return name


def token_for(user: str) -> str:
    """Return a token that lets a user into the chat."""
    account, now = ACCOUNTS[user], int(time.time())
    ends = now + app.state.settings.seconds
    who = {"sub": user, "nick": account.nick, "groups": account.groups}
    claims = {"iss": "team-site", "aud": "team-chat", "iat": now, "exp": ends, **who}
    return jwt.encode(claims, app.state.settings.secret, "HS256")


def user_of(token: str | None) -> str | None:
    """Return who a token of this site is about, or None."""
    if token is None:
        return None
    try:
        claims: dict[str, Any] = jwt.decode(
            token, app.state.settings.secret, ["HS256"], audience="team-chat", issuer="team-site"
        )
    except jwt.InvalidTokenError:
        return None
    return str(claims["sub"])


def give_token(response: Response, user: str) -> None:
    # "secure" belongs here as soon as the site is https.
    response.set_cookie(COOKIE, token_for(user), httponly=True, samesite="lax")


Token = Annotated[str | None, Cookie(alias=COOKIE)]


@app.get("/", response_class=HTMLResponse)
def page(token: Token = None) -> str:
    user, settings = user_of(token), app.state.settings
    if user is None:
        return LOG_IN
    return PAGE.format(user=user, chat=settings.chat, every_ms=settings.seconds * 500)


@app.post("/login")
def log_in(name: Annotated[str, Form()], password: Annotated[str, Form()]) -> Response:
    response = RedirectResponse("/", 303)
    give_token(response, logged_in(name, password))
    return response


@app.post("/logout")
def log_out() -> Response:
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE)
    return response


@app.post("/renew")
def renew(response: Response, token: Token = None) -> None:
    user = user_of(token)
    if user is None:
        raise HTTPException(401)
    give_token(response, user)


@app.post("/token")
def token_for_a_program(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
    return token_for(logged_in(given.username, given.password))


@app.get("/chat-auth", status_code=204)
def chat_auth(response: Response, token: Token = None) -> None:
    """nginx asks (auth_request) whether a request may go on, and as whom."""
    user = user_of(token)
    if user is None:
        raise HTTPException(401)
    response.headers["X-Chat-Token"] = token_for(user)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--chat", default="http://localhost:9000")
    parser.add_argument("--secret", type=Path, default=Path("chat.secret"))
    parser.add_argument("--seconds", type=int, default=600, help="how long a token is good")
    parser.add_argument("--password", default=secrets.token_urlsafe(9), help="of ada and grace")
    options = parser.parse_args()
    app.state.settings = Settings(
        options.chat,
        options.secret.read_bytes().strip(),
        options.seconds,
        {name: hashed(name, options.password) for name in ACCOUNTS},
    )
    print(f"The password of {' and '.join(ACCOUNTS)} is {options.password}")
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")
