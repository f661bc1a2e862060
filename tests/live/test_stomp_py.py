"""stomp.py takes part in the room that the page shows, in every version of STOMP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from support.browser import Window
from support.process import Server, until
from support.stompy import VERSIONS, StompPy
from support.wire import Wire

pytestmark = [pytest.mark.live]

every_version = pytest.mark.parametrize("version", VERSIONS)

_UNICODE = "Grüße, 世界! 👋 € “quoted” \\ and : too"
_BINARY = bytes(range(256)) * 8 + b"\0\n\0\r\n\n" + "ä".encode("latin-1")


@pytest.mark.browser
@every_version
def test_the_page_and_a_program_chat(
    server: Server, open_window: Callable[..., Window], version: str
) -> None:
    nick = f"Ada {version}"  # the one of the test before is not free yet
    ada = open_window(server.url, nick)
    with StompPy(server.stomp, version) as program:
        program.subscribe("/topic/chat")
        ada.say(_UNICODE)
        frame = program.message()
        said = json.loads(frame.body)
        assert (said["nick"], said["text"]) == (nick, _UNICODE)
        assert frame.headers["destination"] == "/topic/chat"
        assert frame.headers["content-type"] == "application/json"

        body = json.dumps({"nick": f"Robot {version}", "text": _UNICODE[::-1]})
        program.send("/topic/chat", body, content_type="application/json")
        assert ada.nick_of(_UNICODE[::-1]) == f"Robot {version}"
        program.send("/topic/chat", f"plain text, {_UNICODE}")
        plain = ada.line(f"plain text, {_UNICODE}")
        expect(plain).to_contain_text("Message without a nickname")
        program.send("/topic/chat", b"\xff\0\xfe")
        expect(ada.page.locator("#log")).to_contain_text("3 bytes that are not text")


@every_version
def test_what_it_is_told_at_the_start(server: Server, version: str) -> None:
    with StompPy(server.stomp, version) as program:
        assert program.connected["version"] == version
        assert program.connected["server"].startswith("rtchat/")
        assert program.connected["session"]
        assert program.connected["heart-beat"] == "10000,10000"


@every_version
@pytest.mark.parametrize(
    "body",
    [_BINARY, bytes(100), _UNICODE.encode(), b"x" * (1 << 20), b"\0" * (4 << 20)],
    ids=["every byte", "NULs only", "UTF-8", "1 MiB", "4 MiB of NULs"],
)
def test_bodies_arrive_byte_for_byte(server: Server, version: str, body: bytes) -> None:
    destination = f"/topic/bytes-{version}"
    with (
        StompPy(server.stomp, version, auto_decode=False) as one,
        StompPy(server.stomp, version, auto_decode=False) as other,
    ):
        other.subscribe(destination)
        one.send(destination, body, content_type="application/octet-stream")
        frame = other.message()
        assert frame.body == body
        assert frame.headers["content-length"] == str(len(body))
        assert frame.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_header_values_may_hold_anything(server: Server, version: str) -> None:
    value = "a:b\\c\nd \\n é 世"
    with StompPy(server.stomp, version) as program:
        program.subscribe("/topic/headers")
        program.send("/topic/headers", "x", headers={"subject": value})
        frame = program.message()
    assert frame.headers["subject"] == value


@every_version
def test_every_frame_with_a_receipt_gets_one(server: Server, version: str) -> None:
    with StompPy(server.stomp, version) as program:
        program.subscribe("/topic/receipts")
        program.send("/topic/receipts", "x", receipt="sent")
        assert program.receipts.get(timeout=10) == "sent"
        program.connection.unsubscribe(
            destination="/topic/receipts", id="1", headers={"receipt": "unsubscribed"}
        )
        assert program.receipts.get(timeout=10) == "unsubscribed"
        program.send("/topic/receipts", "nobody hears this", receipt="still open")
        assert program.receipts.get(timeout=10) == "still open"
        program.connection.disconnect(receipt="bye")
        assert program.receipts.get(timeout=10) == "bye"
        assert program.ends.get(timeout=10)
    assert program.messages.qsize() == 1


@every_version
def test_a_mistake_is_answered_with_an_error_that_says_what(server: Server, version: str) -> None:
    with StompPy(server.stomp, version) as program:
        program.connection.subscribe("/reply-queue/x", id="1", receipt="never")
        error = program.errors.get(timeout=10)
        assert error.headers["message"] == "/reply-queue/ cannot be subscribed to"
        assert error.headers["receipt-id"] == "never"
        assert error.headers["content-type"] == "text/plain"
        assert "/topic/NAME" in str(error.body)
        assert program.ends.get(timeout=10)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_heart_beats_keep_a_quiet_client_alive(server: Server, version: str) -> None:
    begun_s = time.monotonic()
    with StompPy(server.stomp, version, heartbeats=(1000, 1000)) as program:
        # stomp.py hangs up when it misses two of ours; the server cuts after two of its.
        until("third heart-beat", lambda: program.heartbeats >= 3, 8)
        assert time.monotonic() - begun_s > 2, "heart-beats came faster than was agreed"
        assert program.connection.is_connected()
        program.subscribe("/topic/heart")
        program.send("/topic/heart", "still there")
        assert program.message().body == "still there"


def test_a_client_that_promised_heart_beats_and_is_silent_is_cut(server: Server) -> None:
    with Wire(server.stomp) as wire:
        connected = wire.connect(heart_beat="1000,0")
        assert connected.headers["heart-beat"] == "10000,1000"
        begun_s = time.monotonic()
        error = wire.frame()
        assert error.command == "ERROR"
        assert error.headers["message"] == "nothing received for 2 seconds"
        assert wire.rest() == []
        assert 1.5 < time.monotonic() - begun_s < 5
