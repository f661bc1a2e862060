"""One stranger does not stop the server: others are served while it has much to do for that one.

No clock that is set or stands still ends a connection that is alive.
"""

from __future__ import annotations

import signal
import sys
import time
import zlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from support.process import Server, free_port, until
from support.sockets import RealWebSocket
from support.stomp import CONNECT, frame_bytes, message_bytes
from support.websocket import BINARY, TEXT, ws_frame
from support.wire import Wire

pytestmark = [pytest.mark.live]

MOST_S = 1.0
"""How long a question may take while a stranger floods. A loaded machine is slow by itself."""


def slowest_answer(server: Server, seconds: float) -> float:
    """Ask again and again as an honest client; return how long the slowest answer took."""
    slowest = 0.0
    with Wire(server.stomp) as honest:
        honest.connect()
        honest.subscribe("/topic/honest")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            start = time.monotonic()
            honest.publish("/topic/honest", "x")
            assert honest.frame().body == b"x"
            slowest = max(slowest, time.monotonic() - start)
    return slowest


# ---------------------------------------------------------------- floods


def test_hundreds_of_patterns_of_wildcards_and_new_names(server: Server) -> None:
    words = [".".join(letters) for letters in product("*#a", repeat=7)][:500]
    before = server.resident_bytes()
    with Wire(server.stomp) as stranger:
        stranger.connect()
        for number, some in enumerate(words):
            pattern = "/topic/" + ".".join([some] * 8)
            stranger.send(frame_bytes("SUBSCRIBE", id=str(number), destination=pattern))
        stranger.ask("BEGIN", transaction="all-is-in-place")
        name = "/topic/" + ".".join("a" * 55)
        stranger.send(b"".join(message_bytes(f"{name}.{number}", b"") for number in range(20)))
        assert slowest_answer(server, 3) < MOST_S
        assert server.resident_bytes() - before < 64 * 1024 * 1024


def test_transactions_without_end_in_a_compressed_message(server: Server) -> None:
    pair = frame_bytes("BEGIN", transaction="t") + frame_bytes("ABORT", transaction="t")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(pair * (12 * 1024 * 1024 // len(pair)))
    data += packer.flush(zlib.Z_SYNC_FLUSH)
    with RealWebSocket(
        server.http, "/ws", sec_websocket_extensions="permessage-deflate"
    ) as stranger:
        stranger.send(BINARY, CONNECT)
        stranger.read()
        stranger.socket.sendall(ws_frame(BINARY, data[:-4], reserved=4))
        assert slowest_answer(server, 3) < MOST_S
    server.until_empty(60)


def test_websocket_messages_without_content(server: Server) -> None:
    with RealWebSocket(server.http, "/ws") as stranger:
        try:
            for _ in range(2000):
                stranger.socket.sendall(ws_frame(TEXT) * 1000)
        except OSError:
            pass  # it was closed
    server.until_logged("more than 100 pings, pongs or empty messages a second")
    assert server.log_since_start().count("pings, pongs or empty messages") == 1
    assert slowest_answer(server, 0.5) < MOST_S


# ---------------------------------------------------------------- time


def test_after_a_stop_those_who_are_alive_are_heard_first(server: Server) -> None:
    with Wire(server.stomp) as honest, Wire(server.stomp) as dead:
        for client in (honest, dead):
            client.connect(heart_beat="1000,0")
        server.send_signal(signal.SIGSTOP)
        try:
            for _ in range(7):
                time.sleep(0.5)
                honest.send("\n")
        finally:
            server.send_signal(signal.SIGCONT)
        honest.ask("BEGIN", transaction="t")
        frame = dead.frame()
        assert frame.command == "ERROR"
        assert frame.headers["message"] == "nothing received for 2 seconds"
        honest.ask("ABORT", transaction="t")


CLOCK = """
import os, runpy, sys, time
real = time.time
time.time = lambda: real() - 3600 * os.path.exists("an-hour-ago")
del sys.argv[0]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Starts a program whose time of day is an hour less as long as there is a file of that name."""


@pytest.fixture
def turned_back(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "clock.py").write_text(CLOCK)
    http, stomp = free_port(), free_port()
    server = Server(
        tmp_path,
        f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n[log]\nmessages = log\n",
        http=http,
        stomp=stomp,
        prefix=(sys.executable, "clock.py"),
    )
    with server:
        yield server


def test_heart_beats_go_on_when_the_time_of_day_is_set_back(turned_back: Server) -> None:
    server = turned_back
    with Wire(server.stomp) as client, Wire(server.stomp) as dead:
        client.connect(heart_beat="0,1000")
        dead.connect(heart_beat="1000,0")
        (server.folder / "an-hour-ago").touch()
        for _ in range(4):
            assert client.stream.receive(5) == b"\n"
        assert dead.frame().headers["message"] == "nothing received for 2 seconds"


def test_the_time_of_messages_is_the_time_of_day(turned_back: Server) -> None:
    server = turned_back
    (server.folder / "an-hour-ago").touch()
    now_s = time.time()

    def said_s() -> float:
        with Wire(server.stomp) as client:
            return int(client.connect(nick="anna")["timestamp"]) / 1000

    until("time of an hour ago", lambda: abs(said_s() - (now_s - 3600)) < 60)
    with Wire(server.stomp) as client:
        client.connect()
        client.publish("/topic/chat", "x")
    log = server.folder / "log"
    until("line in the message log", lambda: log.exists() and log.read_text())
    hour = time.strftime("%Y-%m-%dT%H:", time.gmtime(now_s - 3600))
    assert hour in log.read_text()
