"""What holds without a word in chat.ini: sockets, TLS, the log."""

from __future__ import annotations

import re
import socket
import ssl
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.certificate import Certificate
from support.hostile import MIB, NO_END, GuardedServer, attack, times
from support.process import free_port
from support.stomp import frame_bytes
from support.websocket import http_request

pytestmark = [pytest.mark.live, pytest.mark.soak]

Serve = Callable[..., GuardedServer]

# ---------------------------------------------------------------- Unix sockets


def test_a_unix_socket_is_for_its_user_and_group(serve: Serve, tmp_path: Path) -> None:
    paths = [tmp_path / "page.sock", tmp_path / "stomp.sock"]
    listen = f"stomp://127.0.0.1:{{stomp}}\nhttp = unix:{paths[0]}\nstomp = unix:{paths[1]}"
    server = serve(listen=listen)
    with attack(server, NO_END):
        for path in paths:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660


# ---------------------------------------------------------------- TLS


@pytest.fixture
def sealed(serve: Serve, tmp_path: Path) -> tuple[GuardedServer, int]:
    """A server with TLS on a port of its own, and that port."""
    Certificate.for_browsers().write(tmp_path)
    port = free_port()
    listen = f"http://127.0.0.1:{{http}}\nstomp://127.0.0.1:{{stomp}}\nhttps://127.0.0.1:{port}"
    ssl_lines = f"[ssl]\ncrt = {tmp_path / 'cert.pem'}\nkey = {tmp_path / 'key.pem'}\n"
    return serve(f"{ssl_lines}[proxy]\nhandshake.timeout = 2\n", listen), port


WEAK = (
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "DHE-RSA-AES128-GCM-SHA256",
    "AES128-GCM-SHA256",
    "AES256-SHA",
)
"""For either kind of key: no ephemeral keys on a curve, or no authenticated encryption."""


def test_weak_ciphers_are_refused(sealed: tuple[GuardedServer, int]) -> None:
    server, port = sealed
    with attack(server, NO_END):
        taken = []
        for cipher in WEAK:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(f"{cipher}:@SECLEVEL=0")
            with socket.create_connection(("127.0.0.1", port), 10) as plain:
                try:
                    taken.append(context.wrap_socket(plain).cipher())
                except (ssl.SSLError, ConnectionError):
                    continue
        assert taken == []


def test_strong_ciphers_are_taken(sealed: tuple[GuardedServer, int]) -> None:
    server, port = sealed
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with attack(server, NO_END), socket.create_connection(("127.0.0.1", port), 10) as plain:
        chosen = context.wrap_socket(plain).cipher()
        assert chosen is not None
        assert re.match("ECDHE-.*(GCM|CHACHA20)", chosen[0])


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_tls_handshake_has_a_time(sealed: tuple[GuardedServer, int], first: bytes) -> None:
    server, port = sealed
    with attack(server, "no complete TLS handshake") as scene:
        eve = scene.raw(first, to=port)
        deadline_s = time.monotonic() + 6
        while not eve.is_closed:
            eve.look()
            assert time.monotonic() < deadline_s, "still open, three times as long as allowed"
            time.sleep(0.05)


# ---------------------------------------------------------------- the log


def test_one_source_cannot_fill_the_log_with_sessions(server: GuardedServer) -> None:
    with attack(server, ("unknown command", "connections.per_source"), holds=16 * MIB) as scene:
        for _ in range(times(400, 2000)):
            eve = scene.raw(frame_bytes("NONSENSE"), to=server.stomp)
            eve.close()
        time.sleep(1)
        assert len(scene.log().splitlines()) < 250


def test_each_session_has_its_own_line_though_ports_are_used_again(server: GuardedServer) -> None:
    with attack(server, "unknown command") as scene:
        port = 0
        for _ in range(2):
            eve = scene.raw(frame_bytes("NONSENSE"), to=server.stomp, port=port)
            port = eve.socket.getsockname()[1]
            eve.until_done()  # until the server has closed
            eve.reset()
        assert len(scene.lines("unknown command")) == 2


def test_one_source_cannot_fill_the_log_with_requests(server: GuardedServer) -> None:
    with attack(server, NO_END, holds=16 * MIB) as scene:
        host = {"Host": "evil.example", "Origin": "http://evil.example"}
        for _ in range(times(10, 60)):
            eve = scene.raw(http_request("GET", "/", host) * 50)
            eve.swallow(0.2)
        assert len(scene.log().splitlines()) < 250


def test_no_line_of_the_log_is_long(server: GuardedServer) -> None:
    with attack(server, ("refused /", "closed by the server")) as scene:
        eve = scene.stranger(nick="e" * 30)
        eve.say("SUBSCRIBE", id="x" * 8000, destination="/topic/" + "y" * 8000, selector="z" * 8000)
        eve.until_done()
        for header in ("Host", "Origin"):
            base = {"Host": f"localhost:{server.http}"}
            request = http_request("GET", "/ws", {**base, header: "h" * 8000})
            scene.raw(request).swallow(0.3)
        scene.raw(http_request("GET", "/tcp/" + "t" * 8000, {"Host": "x"})).swallow(0.3)
        assert max(map(len, scene.log().splitlines()), default=0) < 3000
