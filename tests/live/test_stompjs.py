"""@stomp/stompjs takes part in the room, over /ws and through the proxy to the broker's port."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live.browser import Window, require
from live.server import ROOT, Server
from live.stompy import StompPy

pytestmark = [pytest.mark.live]

_SCRIPT = Path(__file__).with_name("stompjs_client.mjs")
_PACKAGES = ROOT / "tests" / "js" / "node_modules"
_WITHIN_S = 15.0


class StompJs:
    """A Node process with one stompjs client."""

    def __init__(
        self, url: str, destination: str, mode: str, headers: dict[str, str] | None = None
    ) -> None:
        if not (_PACKAGES / "@stomp" / "stompjs").is_dir():
            text = "stompjs is missing; run 'npm ci' in tests/js to run this test"
            if os.environ.get("CI") == "true":
                pytest.fail(text)
            pytest.skip(text)
        self._process = subprocess.Popen(
            [require("node"), str(_SCRIPT), url, destination, mode, json.dumps(headers or {})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._news: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def order(self, **words: Any) -> None:
        """Tell the script what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def expect(self, event: str) -> dict[str, Any]:
        """Give the next news, which have to be of this kind."""
        try:
            news = self._news.get(timeout=_WITHIN_S)
        except queue.Empty:
            pytest.fail(f"stompjs did not tell of {event!r} within {_WITHIN_S:g} s")
        assert news["event"] == event, news
        return news

    def body(self) -> bytes:
        """Give the body of the next message."""
        return base64.b64decode(self.expect("message")["base64"])

    def close(self) -> None:
        """End the process if the script has not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._news.put(json.loads(line))


@contextlib.contextmanager
def stompjs(url: str, destination: str, mode: str) -> Iterator[StompJs]:
    client = StompJs(url, destination, mode)
    try:
        assert client.expect("ready")["version"] == "1.2"
        yield client
    finally:
        client.close()


def url_of(server: Server, path: str) -> str:
    """Give the WebSocket's address for a way into the broker."""
    return f"ws://localhost:{server.http}{path.replace('PORT', str(server.stomp))}"


ways = pytest.mark.parametrize("path", ["/ws", "/stomp", "/tcp/localhost:PORT"])
modes = pytest.mark.parametrize("mode", ["text", "binary"])


@pytest.mark.browser
@modes
@pytest.mark.parametrize("path", ["/ws", "/tcp/localhost:PORT"])
def test_stompjs_and_the_page_chat(
    server: Server, open_window: Callable[..., Window], path: str, mode: str
) -> None:
    nick = f"Ada {path[1:3]} {mode}"  # the one of the test before is not free yet
    ada = open_window(server.url, nick)
    with stompjs(url_of(server, path), "/topic/chat", mode) as client:
        ada.say("Grüße, 世界 👋")
        said = json.loads(client.body())
        assert (said["nick"], said["text"]) == (nick, "Grüße, 世界 👋")
        client.order(body=json.dumps({"nick": "Node", "text": "Zurück, 世界 🤖"}))
        assert ada.nick_of("Zurück, 世界 🤖") == "Node"


@ways
@modes
def test_bodies_arrive_byte_for_byte(server: Server, path: str, mode: str) -> None:
    destination = f"/topic/stompjs-{path.count('/')}-{mode}"
    binary = bytes(range(256)) * 4 + b"\0\0\n\r\n\xff"
    with (
        stompjs(url_of(server, path), destination, mode) as client,
        StompPy(server.stomp, auto_decode=False) as program,
    ):
        program.subscribe(destination)
        for body in (binary, "Grüße\0 👋".encode(), b"", b"\0", b"y" * 300_000):
            client.order(base64=base64.b64encode(body).decode())
            assert program.message().body == body
            assert client.body() == body
            program.send(destination, body, content_type="application/octet-stream")
            assert client.body() == body
            assert program.message().body == body
        client.order(body="text äöü €")
        assert client.body() == "text äöü €".encode()
        assert program.message().body == "text äöü €".encode()


@ways
def test_it_leaves_without_a_complaint(server: Server, path: str) -> None:
    with stompjs(url_of(server, path), "/topic/leaving", "text") as client:
        client.order(stop=True)
        assert client.expect("closed")["code"] in (1000, 1005)
    server.until_empty()
