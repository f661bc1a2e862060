"""Every message sent is a line of JSON in the message log, for every sender, and none is lost."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.browser import Window
from support.process import Server, until
from support.stompy import StompPy
from support.wire import Wire

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

WITHIN_S = 2.0
_LOG = "\n[log]\nmessages = messages.jsonl\n"


def records(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a log."""
    if not path.exists():
        return []
    *lines, rest = path.read_text(encoding="utf-8").split("\n")
    assert rest == "", f"half a line: {rest!r}"
    return [json.loads(line) for line in lines]


def logged(server: Server) -> list[dict[str, Any]]:
    """Read the server's log, without the page's typing notices."""
    found = records(server.folder / "messages.jsonl")
    return [record for record in found if record["destination"] != "/topic/typing"]


@pytest.mark.browser
def test_what_the_page_and_programs_send_is_logged_within_two_seconds(
    serve: Serve, open_window: Callable[..., Window]
) -> None:
    server = serve(more=_LOG)
    ada = open_window(server.url, "Ada")
    with StompPy(server.stomp) as program:
        ada.say("Grüße aus 東京\u2028👋")
        until("first line", lambda: len(logged(server)) == 1, WITHIN_S)
        program.send("/topic/chat", "plain", headers={"reply-to": "/temp-queue/x", "mood": "a:b"})
        program.send("/topic/elsewhere", b"\xff\0\n", content_type="image/png")
        until("third line", lambda: len(logged(server)) == 3, WITHIN_S)
    page, plain, binary = logged(server)

    said = json.loads(page["body"])
    assert (said["nick"], said["text"]) == ("Ada", "Grüße aus 東京\u2028👋")
    assert page["destination"] == "/topic/chat"
    assert page["headers"]["content-type"] == "application/json"
    assert plain["body"] == "plain"
    assert plain["headers"]["mood"] == "a:b"
    assert binary["destination"] == "/topic/elsewhere"
    assert "body" not in binary
    assert base64.b64decode(binary["body-base64"]) == b"\xff\0\n"

    assert len({record["message-id"] for record in (page, plain, binary)}) == 3
    for record in (page, plain, binary):
        at = datetime.fromisoformat(record["time"])
        assert at.utcoffset() == timedelta(0)
        assert abs(datetime.now(timezone.utc) - at) < timedelta(seconds=60)


def test_a_rotation_with_sighup_loses_nothing(serve: Serve) -> None:
    server = serve(more=_LOG)
    current = server.folder / "messages.jsonl"
    rotated = [server.folder / f"messages.{number}.jsonl" for number in range(3)]
    sent = 0
    with Wire(server.stomp) as wire:
        wire.connect()

        def publish_for(seconds: float) -> None:
            nonlocal sent
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                wire.publish("/topic/chat", f"{sent}")
                sent += 1
                if sent % 50 == 0:
                    wire.send(f"SEND\ndestination:/topic/sync\nreceipt:{sent}\n\n\0")
                    wire.frame()

        for old in rotated:
            publish_for(0.7)
            current.rename(old)
            publish_for(0.1)
            server.send_signal(signal.SIGHUP)
            until("new file", current.exists)
            publish_for(0.7)
        wire.send("DISCONNECT\nreceipt:bye\n\n\0")
        assert wire.frame().headers["receipt-id"] == "bye"
    # What is not written yet is, when the server stops.
    server.stop()
    all_records = [record for path in (*rotated, current) for record in records(path)]
    bodies = [record["body"] for record in all_records if record["destination"] == "/topic/chat"]
    assert bodies == [str(number) for number in range(sent)]
    assert all(records(path) for path in rotated)
    assert server.log().count("SIGHUP received: message log reopened") == 3


def test_sighup_makes_the_new_file_at_once(serve: Serve) -> None:
    server = serve(more=_LOG)
    current = server.folder / "messages.jsonl"
    assert current.stat().st_mode & 0o777 == 0o640 & ~_umask()
    current.unlink()
    server.send_signal(signal.SIGHUP)
    until("new file", current.exists)
    assert current.read_bytes() == b""


def test_sighup_without_a_message_log_does_no_harm(serve: Serve) -> None:
    server = serve()
    server.send_signal(signal.SIGHUP)
    until("line in the log", lambda: "SIGHUP received" in server.log())
    assert server.health()["status"] == "ok"


def test_the_log_goes_on_after_a_restart(serve: Serve) -> None:
    server = serve(more=_LOG)
    for text in ("before", "after"):
        with Wire(server.stomp) as wire:
            wire.connect()
            wire.publish("/topic/chat", text)
            wire.send("DISCONNECT\nreceipt:bye\n\n\0")
            assert wire.frame().command == "RECEIPT"
        server.stop()
        server.start()
    before, after = logged(server)
    assert (before["body"], after["body"]) == ("before", "after")
    assert before["message-id"] != after["message-id"]


def test_a_full_disk_is_told_and_the_chat_goes_on(serve: Serve) -> None:
    server = serve(more="\n[log]\nmessages = /dev/full\n")
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.subscribe("/topic/chat")
        for number in range(3):
            wire.publish("/topic/chat", f"{number}")
            assert wire.frame().body == f"{number}".encode()
        until(
            "line about the disk",
            lambda: "/dev/full: messages cannot be logged: " in server.log(),
            details=server.log,
        )
        assert "No space left on device" in server.log()
        wire.publish("/topic/chat", "still here")
        assert wire.frame().body == b"still here"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
