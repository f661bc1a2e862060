"""How many clients a real server lets in, and what it tells the others."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from support.process import Server, until
from support.sockets import RealWebSocket
from support.stomp import CONNECT, StompReader, frame_bytes
from support.websocket import TEXT, read_answer, upgrade_request
from support.wire import Wire

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

LIMIT = "\n[broker]\nconnections.per_source = 3\n"


def refusal(server: Server, data: bytes = CONNECT) -> str:
    """Connect over TCP, say something, and return the message of the only frame that comes."""
    with socket.create_connection(("127.0.0.1", server.stomp), 10) as client:
        client.sendall(data)
        received = b""
        while piece := client.recv(4096):
            received += piece
    [frame] = StompReader("1.2").read(received)
    assert frame.command == "ERROR"
    return frame.headers["message"]


def test_one_client_more_is_told_why_and_one_line_says_so(serve: Serve) -> None:
    server = serve(more=LIMIT)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(Wire(server.stomp)).connect()
        browser = stack.enter_context(RealWebSocket(server.http, "/ws", subprotocols="v12.stomp"))
        browser.send(TEXT, CONNECT)
        assert browser.read().payload.startswith(b"CONNECTED\n")
        for _ in range(20):
            # Its own frames, which are not read, do not lose it the answer.
            said = refusal(server, CONNECT + frame_bytes("SEND", b"x" * 10_000, destination="/a"))
            assert said == "too many connections from one address, 3 are allowed"
        with socket.create_connection(("127.0.0.1", server.http), 10) as page:
            page.sendall(upgrade_request(host=f"localhost:{server.http}"))
            assert read_answer(page.recv(65536))[0].status == 503
        assert server.health()["stomp_sessions"] == 3
    lines = [line for line in server.log().splitlines() if "connections.per_source" in line]
    assert len(lines) == 1
    until("a free place", lambda: server.health()["stomp_sessions"] == 0)
    with Wire(server.stomp) as wire:
        wire.connect()


def test_by_default_one_address_has_256(server: Server) -> None:
    with ExitStack() as stack:
        for _ in range(256):
            stack.enter_context(Wire(server.stomp)).connect()
        assert refusal(server) == "too many connections from one address, 256 are allowed"


def test_through_the_gateway_each_browser_is_its_own_source(serve: Serve) -> None:
    server = serve(more=LIMIT)
    path = f"/tcp/localhost:{server.stomp}"
    with ExitStack() as stack:
        for number in range(8):
            source = f"127.5.0.{number // 2 + 1}"
            browser = stack.enter_context(RealWebSocket(server.http, path, source=source))
            browser.send(TEXT, CONNECT)
            assert browser.read().payload.startswith(b"CONNECTED\n")
        for source in ("127.5.0.1", "127.5.0.1"):
            browser = stack.enter_context(RealWebSocket(server.http, path, source=source))
            browser.send(TEXT, CONNECT)
            last = browser.read().payload
        assert last.startswith(b"ERROR\nmessage:too many connections from one address")
        # A program of this machine is not one of them.
        stack.enter_context(Wire(server.stomp)).connect()
        assert server.health()["stomp_sessions"] == 10
        assert "127.5.0.4:" in server.log()
