"""What a site is sent."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from rtchat.net.auth.hooks.question import question, signature
from rtchat.net.auth.hooks.visitor import EVENTS, Event, Facts


def sent(event: Event, facts: Facts) -> dict[str, Any]:
    body = question(event, facts, "s1")
    assert body.isascii(), "a reader that takes it for Latin-1 reads the same"
    found = json.loads(body)
    assert isinstance(found, dict)
    return found


def test_connect_has_the_credentials_under_the_names_of_restq() -> None:
    facts = Facts(
        "192.0.2.7",
        login="anna",
        password="secret",
        cookies={"sessionid": "c"},
        authorization="Bearer t",
        headers={"login": "anna", "passcode": "secret", "host": "x", "nick": "Anna"},
    )
    assert sent("connect", facts) == {
        "event": "connect",
        "session": "s1",
        "source": "192.0.2.7",
        "username": "anna",
        "password": "secret",
        "cookies": {"sessionid": "c"},
        "authorization": "Bearer t",
        "host": "x",
        "nick": "Anna",
    }
    assert "secret" not in repr(facts)


@pytest.mark.parametrize("event", EVENTS)
def test_a_header_cannot_forge_what_the_server_says(event: Event) -> None:
    names = ["event", "session", "source", "username", "password", "cookies", "authorization"]
    forged = dict.fromkeys([*names, "body", "encoding", "color"], "forged")
    found = sent(event, Facts("192.0.2.7", user="anna", headers=forged, body=b"x"))
    assert [name for name, value in found.items() if value == "forged"] == ["color"]
    assert found["event"] == event
    assert found.get("body") == ("x" if event == "send" else None)


def test_later_events_name_the_user_and_show_no_secret() -> None:
    facts = Facts("", user="anna", login="x", password="secret", cookies={"a": "secret"})
    for event in EVENTS[1:]:
        found = sent(event, facts)
        assert found["username"] == "anna"
        assert "secret" not in json.dumps(found)


def test_a_body_of_bytes_is_in_base64() -> None:
    found = sent("send", Facts("", body=b"\xff\x00"))
    assert (base64.b64decode(found["body"]), found["encoding"]) == (b"\xff\x00", "base64")
    assert "encoding" not in sent("send", Facts("", body="grüße".encode()))


def test_the_signature_is_that_of_others() -> None:
    """The second case of RFC 4231."""
    assert signature(b"Jefe", b"what do ya want for nothing?") == (
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
