"""A Flask page whose users have a chat: a log-in sets a cookie with a token for rtchat.

docs/security.md has the chat.ini.
"""

from __future__ import annotations

import argparse
import secrets
import time
from pathlib import Path

import jwt
from flask import Flask, abort, redirect, render_template_string, request
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>The team</title>
<form method="post"><p><label>Name <input name="name" required></label></p>
<p><label>Password <input name="password" type="password" required></label></p>
<p><button>Log in</button></p></form>
<script src="{{ chat }}/static/embed.js" data-title="The team's chat"></script></html>"""

# An unknown name takes as long as a known one.
NO_HASH = generate_password_hash(secrets.token_urlsafe())

app = Flask(__name__)


@app.get("/")
def page() -> str:
    return render_template_string(PAGE, chat=app.config["CHAT"])


def set_chat_cookie(response: Response, user: str) -> None:
    """Let the browser of a user into the chat for ten minutes."""
    claims = {"sub": user, "iss": "team-site", "aud": "team-chat", "exp": int(time.time()) + 600}
    token = jwt.encode(claims, app.config["CHAT_SECRET"], "HS256")
    response.set_cookie(
        "chat_token", token, httponly=True, samesite="Lax", secure=request.is_secure
    )


@app.post("/")
def log_in() -> Response:
    name = request.form["name"]
    known = app.config["HASHES"].get(name, NO_HASH)
    if not check_password_hash(known, request.form["password"]):
        abort(403)
    response = redirect("/", 303)
    set_chat_cookie(response, name)
    return response


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--chat", default="http://localhost:9000")
    parser.add_argument("--secret", type=Path, default=Path("chat.secret"))
    parser.add_argument("--password", default=secrets.token_urlsafe(9), help="of ada")
    options = parser.parse_args()
    hashes = {"ada": generate_password_hash(options.password)}
    app.config.update(
        CHAT=options.chat, CHAT_SECRET=options.secret.read_bytes().strip(), HASHES=hashes
    )
    print(f"The password of ada is {options.password}")
    app.run("127.0.0.1", options.port)
