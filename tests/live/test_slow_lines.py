"""Healthy clients on slow lines: not cut while they take what was sent to them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import Server, free_port
from support.slow_line import SlowLine
from support.sockets import RealWebSocket
from support.stomp import Frame, StompReader, frame_bytes, message_bytes
from support.websocket import CLOSE, PING, PONG, WebSocketReader
from support.wire import Wire

pytestmark = [pytest.mark.live]

_TIMEOUT_S = 1.0
_BYTES_PER_S = 500_000
_PIECE_BYTES = 20_000
_BULK_BYTES = 3_500_000
"""At that speed, seven times as long as an answer may take."""

_CONFIG = f"""
[access]
* -> localhost:{{target}}
* -> localhost:{{stomp}}

[global]
session.ping_interval = 0.5
session.ping_timeout = {_TIMEOUT_S}

[broker]
heartbeat.min_ms = 100
"""


@pytest.fixture(scope="module")
def target() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        listener.settimeout(10)
        yield listener


@pytest.fixture(scope="module")
def server(target: socket.socket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = _CONFIG.replace("{target}", str(target.getsockname()[1]))
    with Server.on_free_ports(tmp_path_factory.mktemp("server"), config) as server:
        yield server


def open_browser(
    server: Server, target: socket.socket, port: int = 0
) -> tuple[RealWebSocket, socket.socket]:
    browser = RealWebSocket(
        port or server.http,
        f"/tcp/localhost:{target.getsockname()[1]}",
        receive_buffer_bytes=65536,
        host=f"localhost:{server.http}",
    )
    connection, _ = target.accept()
    return browser, connection


def read_slowly(browser: RealWebSocket, size: int) -> None:
    """Read at the speed of the line, and answer pings as they come."""
    reader = WebSocketReader()
    got = 0
    while got < size:
        data = browser.socket.recv(_PIECE_BYTES)
        assert data, f"cut after {got} bytes"
        for frame in reader.feed(data):
            assert frame.opcode != CLOSE, frame
            if frame.opcode == PING:
                browser.send(PONG, frame.payload)
            else:
                got += len(frame.payload)
        time.sleep(len(data) / _BYTES_PER_S)


def test_a_browser_that_takes_bulk_data_slowly_is_not_cut(
    server: Server, target: socket.socket
) -> None:
    browser, connection = open_browser(server, target)
    with browser, connection:
        connection.sendall(bytes(_BULK_BYTES))
        read_slowly(browser, _BULK_BYTES)
        # And it is at home afterwards.
        connection.sendall(b"more")
        read_slowly(browser, 4)


def test_a_browser_behind_a_front_that_has_taken_all_is_not_cut(
    server: Server, target: socket.socket
) -> None:
    with SlowLine(server.http, _BYTES_PER_S) as line:
        browser, connection = open_browser(server, target, line.port)
        with browser, connection:
            connection.sendall(bytes(_BULK_BYTES))
            read_slowly(browser, _BULK_BYTES)
            connection.sendall(b"more")
            read_slowly(browser, 4)


def test_a_browser_behind_a_front_on_a_unix_socket_is_not_cut(
    target: socket.socket, tmp_path: Path
) -> None:
    path = tmp_path / "page.sock"
    config = _CONFIG.replace("{target}", str(target.getsockname()[1]))
    # Such a socket holds little and is taken from in steps: a slower line, and more time.
    config = config.replace(f"ping_timeout = {_TIMEOUT_S}", "ping_timeout = 2.5")
    listen = f"http = unix:{path}\nhttp://127.0.0.1:{{http}}\nstomp://127.0.0.1:{{stomp}}"
    with (
        Server.on_free_ports(tmp_path, config, listen) as server,
        SlowLine(path, _BYTES_PER_S // 5, 100_000) as line,
    ):
        browser, connection = open_browser(server, target, line.port)
        with browser, connection:
            connection.sendall(bytes(_BULK_BYTES // 3))
            read_slowly(browser, _BULK_BYTES // 3)
            connection.sendall(b"more")
            read_slowly(browser, 4)


def test_a_browser_that_takes_nothing_is_cut(server: Server, target: socket.socket) -> None:
    browser, connection = open_browser(server, target)
    with browser, connection:
        begun_s = time.monotonic()
        connection.sendall(bytes(_BULK_BYTES))
        connection.settimeout(20)
        with connection.makefile("rb") as end:
            end.read()
        assert time.monotonic() - begun_s < 15
    server.until_logged("no answer to a WebSocket ping")


def test_a_browser_that_has_taken_little_and_answers_nothing_is_cut(
    server: Server, target: socket.socket
) -> None:
    browser, connection = open_browser(server, target)
    with browser, connection:
        connection.sendall(b"hello")
        connection.settimeout(10)
        assert connection.recv(1) == b""  # the server has cut the browser, and left


def test_a_subscriber_that_takes_a_message_slowly_is_not_silent(server: Server) -> None:
    body = bytes(_BULK_BYTES)
    with Wire(server.stomp, receive_buffer_bytes=65536) as subscriber:
        # It has one thread, which reads now and sends no heart-beats meanwhile.
        subscriber.connect(heart_beat="500,0")
        subscriber.send(frame_bytes("SUBSCRIBE", id="1", destination="/topic/bulk", receipt="r"))
        assert subscriber.frame().command == "RECEIPT"
        with Wire(server.stomp) as publisher:
            publisher.connect()
            publisher.send(message_bytes("/topic/bulk", body))
            message = read_frame_slowly(subscriber.socket)
        assert (message.command, len(message.body)) == ("MESSAGE", len(body))
        subscriber.send(b"\n")
        subscriber.ask("SEND", destination="/topic/nothing")


def read_frame_slowly(connection: socket.socket) -> Frame:
    reader = StompReader()
    while (frame := reader.next()) is None:
        data = connection.recv(_PIECE_BYTES)
        assert data, "cut"
        reader.feed(data)
        time.sleep(len(data) / _BYTES_PER_S)
    return frame
