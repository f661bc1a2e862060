"""Half-closed connections and stalled ends with a real server and real sockets."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import Server, free_port
from support.sockets import RealWebSocket
from support.websocket import BINARY, CLOSE, ws_frame

from rtchat.core.access.proxy_protocol import read_header


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.settimeout(10)
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        yield listener


@pytest.fixture
def server(listener: socket.socket, tmp_path: Path) -> Iterator[Server]:
    port = listener.getsockname()[1]
    rules = f"[access]\nself -> localhost:{port}\nself -> 127.0.0.1:{port} proxy\n"
    with Server.on_free_ports(tmp_path, rules) as server:
        yield server


def meet(
    server: Server, listener: socket.socket, host: str = "localhost"
) -> tuple[RealWebSocket, socket.socket]:
    browser = RealWebSocket(server.http, f"/tcp/{host}:{listener.getsockname()[1]}")
    target, _ = listener.accept()
    target.settimeout(10)
    return browser, target


def read_all(target: socket.socket) -> bytes:
    data = b""
    while read := target.recv(1 << 18):
        data += read
    return data


def test_a_target_that_has_half_closed_gets_what_was_under_way(
    server: Server, listener: socket.socket
) -> None:
    browser, target = meet(server, listener)
    with browser, target:
        target.sendall(b"the end")
        target.shutdown(socket.SHUT_WR)
        assert browser.read().payload == b"the end"
        assert browser.read().code == 1000
        # A browser that has not read the close yet goes on like this.
        browser.socket.sendall(ws_frame(BINARY, b"in flight") + ws_frame(CLOSE))
        assert read_all(target) == b"in flight"
    assert "broke" not in server.log()


def test_a_browsers_last_bytes_survive_a_target_that_still_sends(
    server: Server, listener: socket.socket
) -> None:
    browser, target = meet(server, listener)
    last = b"x" * 3_000_000
    with browser, target:
        browser.socket.sendall(
            b"".join(ws_frame(BINARY, last[i : i + 60_000]) for i in range(0, len(last), 60_000))
            + ws_frame(CLOSE)
        )
        # It talks while it is left: a server that just closed would answer with a reset.
        target.sendall(b"y" * 1_000_000)
        got = read_all(target)
        assert hashlib.sha256(got).digest() == hashlib.sha256(last).digest()


def test_a_target_is_told_the_real_address_of_the_browser(
    server: Server, listener: socket.socket
) -> None:
    browser, target = meet(server, listener, "127.0.0.1")
    with browser, target:
        header = read_header(target.recv(1000))
        assert header is not None
        assert header.source == browser.socket.getsockname()
