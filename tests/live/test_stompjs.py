"""@stomp/stompjs takes part in the room, over /ws and through the proxy to the broker's port.

All of it in the clear and over TLS.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

import pytest
from support.browser import Window
from support.process import Server, free_port, tutorial_ini
from support.stompjs import stompjs
from support.stompy import StompPy

pytestmark = [pytest.mark.live]


@pytest.fixture(scope="module", params=["http", "https"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The tutorial's file on free ports."""
    http, stomp = free_port(), free_port()
    server = Server(
        tmp_path_factory.mktemp("server"),
        tutorial_ini(http, stomp),
        http=http,
        stomp=stomp,
        is_tls=request.param == "https",
    )
    try:
        yield server.start()
    finally:
        server.close()


def place(server: Server, path: str) -> str:
    """Return a way into the broker."""
    return path.replace("PORT", str(server.stomp))


ways = pytest.mark.parametrize("path", ["/ws", "/stomp", "/tcp/localhost:PORT"])
modes = pytest.mark.parametrize("mode", ["text", "binary"])


@pytest.mark.browser
@modes
@pytest.mark.parametrize("path", ["/ws", "/tcp/localhost:PORT"])
def test_stompjs_and_the_page_chat(
    server: Server, open_window: Callable[..., Window], path: str, mode: str
) -> None:
    scheme = "tls" if server.certificate else "tcp"
    nick = f"Ada {path[1:3]} {mode} {scheme}"  # the one of the test before is not free yet
    ada = open_window(server.url, nick)
    with stompjs(server, place(server, path), "/topic/chat", mode) as client:
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
        stompjs(server, place(server, path), destination, mode) as client,
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
    with stompjs(server, place(server, path), "/topic/leaving", "text") as client:
        client.order(stop=True)
        assert client.expect("closed")["code"] in (1000, 1005)
    server.until_empty()
