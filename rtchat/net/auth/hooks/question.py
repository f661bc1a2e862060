"""The JSON that a site gets: what MorbidQ's RestQ sent, and who asks."""

from __future__ import annotations

import base64
import hmac

from rtchat.net.auth.hooks.visitor import Event, Facts
from rtchat.net.json_codec import json_line

__all__ = ["question", "signature"]

_RESERVED = frozenset(
    {"authorization", "body", "cookies", "encoding", "event", "password", "session", "source"}
    | {"username"}
)
"""Keys that are the server's: a client's header of such a name is left out."""

_CREDENTIALS = frozenset({"login", "passcode"})
"""Headers of CONNECT that are ``username`` and ``password`` in the JSON."""


def question(event: Event, facts: Facts, session_id: str) -> bytes:
    """Return the body of the request about an event.

    It is one object: the frame's headers, and the server's own keys, which no header can forge.
    A body that is not UTF-8 is in base64, and ``encoding`` says so.
    """
    left_out = _RESERVED | _CREDENTIALS if event == "connect" else _RESERVED
    found: dict[str, object] = {
        name: value for name, value in facts.headers.items() if name not in left_out
    }
    found["event"] = event
    found["session"] = session_id
    found["source"] = facts.source
    # What a client says its name is counts only where the server does not know better.
    found["username"] = facts.user or facts.login if event == "connect" else facts.user
    if event == "connect":
        found["password"] = facts.password
        found["cookies"] = dict(facts.cookies)
        found["authorization"] = facts.authorization
    elif event == "send":
        try:
            found["body"] = facts.body.decode("utf-8")
        except UnicodeDecodeError:
            found["body"] = base64.b64encode(facts.body).decode("ascii")
            found["encoding"] = "base64"
    return json_line(found)[:-1]


def signature(secret: bytes, body: bytes) -> str:
    """Return the value of ``X-Rtchat-Signature``: an HMAC of the body with SHA-256, in hex."""
    return f"sha256={hmac.new(secret, body, 'sha256').hexdigest()}"
