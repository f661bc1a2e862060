"""HTTP as clients and front proxies speak it, on real sockets."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from support.certificate import write_certificate
from support.needs import require
from support.process import Server, free_port, until
from support.websocket import read_answer

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

MIB = 1024 * 1024
BIG = os.urandom(5_000_000)


@pytest.fixture
def mounted(serve: Serve, tmp_path: Path) -> Server:
    """A server with a large file at /files/big."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "big").write_bytes(BIG)
    (folder / "small").write_bytes(b"small")
    return serve(more=f"\n[static]\nfiles = {folder}\n")


def ask(server: Server, *requests: str, half_close: bool = True) -> bytes:
    """Send requests, close this direction as ``nc -N`` does, and return all that comes."""
    with socket.create_connection(("127.0.0.1", server.http), 10) as connection:
        connection.sendall("".join(requests).encode("latin-1"))
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
        return answer


def get(path: str, *headers: str) -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""])


def test_a_client_that_has_closed_its_direction_gets_the_whole_answer(mounted: Server) -> None:
    answer, rest = read_answer(ask(mounted, get("/files/big")))
    assert (answer.status, answer.body, rest) == (200, BIG, b"")


def test_it_gets_the_answers_to_all_that_it_asked(mounted: Server) -> None:
    data = ask(mounted, get("/files/big"), get("/files/small"), get("/health"))
    for body in (BIG, b"small", None):
        answer, data = read_answer(data)
        assert answer.status == 200
        assert body is None or answer.body == body
    assert data == b""


@pytest.mark.parametrize("begun", ["", "GET / HTT", "GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_one_that_asked_for_nothing_is_closed_at_once(mounted: Server, begun: str) -> None:
    assert ask(mounted, begun) == b""


def test_a_client_that_has_gone_altogether_is_let_go(mounted: Server) -> None:
    with socket.create_connection(("127.0.0.1", mounted.http), 10) as connection:
        connection.sendall(get("/files/big").encode())
    until("connection's end", lambda: not established(mounted.http), 20)


def established(port: int) -> bool:
    """Return whether a connection to a port is open on the server's side."""
    rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    states = [row.split()[3] for row in rows if row.split()[1].endswith(f":{port:04X}")]
    return any(state in ("01", "08") for state in states)  # ESTABLISHED, CLOSE_WAIT


@pytest.mark.parametrize(
    "ranges, status, length",
    [
        ("-" + "9" * 30, 206, len(BIG)),
        ("é-", 200, len(BIG)),
        (",".join(f"{at}-{at}" for at in range(1300)), 206, 1300),
        (",".join(f"{at}-{at}" for at in range(0, 130_000, 1000)), 200, len(BIG)),
        (",".join(["0-"] * 3000), 206, len(BIG)),
        (f"{len(BIG)}-", 416, 0),
    ],
)
def test_any_range_is_answered(mounted: Server, ranges: str, status: int, length: int) -> None:
    answer, rest = read_answer(ask(mounted, get("/files/big", f"Range: bytes={ranges}")))
    assert (answer.status, len(answer.body), rest) == (status, length, b"")


def test_a_download_goes_on_where_it_broke_off(mounted: Server, tmp_path: Path) -> None:
    first, _ = read_answer(ask(mounted, get("/files/big", "Range: bytes=0-999999")))
    again = f"If-Range: {first.headers['etag']}"
    rest, _ = read_answer(ask(mounted, get("/files/big", "Range: bytes=1000000-", again)))
    assert first.body + rest.body == BIG
    (tmp_path / "files" / "big").write_bytes(BIG[::-1])
    whole, _ = read_answer(ask(mounted, get("/files/big", "Range: bytes=1000000-", again)))
    assert (whole.status, whole.body) == (200, BIG[::-1])


HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend front
    bind 127.0.0.1:{front}
    default_backend back
backend back
    {check}
    server one 127.0.0.1:{http} check inter 200ms fall 1 rise 1
frontend about
    bind 127.0.0.1:{about}
    stats enable
    stats uri /about
"""


@pytest.mark.parametrize(
    "check",
    [
        "option httpchk",  # OPTIONS / HTTP/1.0
        "option httpchk GET /health",
        "option httpchk OPTIONS * HTTP/1.1\\r\\nHost:\\ localhost",
    ],
)
def test_haproxy_finds_the_server_alive(mounted: Server, tmp_path: Path, check: str) -> None:
    front, about = free_port(), free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(front=front, about=about, http=mounted.http, check=check))
    with subprocess.Popen([require("haproxy"), "-db", "-f", str(config)]) as process:
        try:
            until("check", lambda: check_status(about) not in ("", "INI"), 20)
            assert check_status(about) == "L7OK"
            with socket.create_connection(("127.0.0.1", front), 5) as connection:
                connection.sendall(get("/health", "Connection: close").encode())
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        finally:
            process.terminate()
    assert "refused" not in mounted.log()


def check_status(about: int) -> str:
    """Return what HAProxy's latest check found; "" before there is one."""
    try:
        with urlopen(f"http://127.0.0.1:{about}/about;csv", timeout=5) as answer:
            head, *lines = answer.read().decode().splitlines()
    except URLError:
        return ""
    [row] = [line.split(",") for line in lines if line.startswith("back,one,")]
    found: str = row[head.removeprefix("# ").split(",").index("check_status")].lstrip("* ")
    return found


def send_all_that_is_read(server: Server, deaf: socket.socket, request: bytes) -> None:
    """Send requests and read nothing; fail if the server takes them all, or holds much."""
    before = server.resident_bytes()
    sent, stream = 0, request * 2000
    deaf.settimeout(3)  # no longer read, if nothing goes for so long
    with suppress(TimeoutError, ConnectionError):
        while sent < 64 * MIB:
            sent += deaf.send(stream)
    assert sent < 16 * MIB  # what the system has room for
    assert server.resident_bytes() - before < 8 * MIB


@pytest.mark.parametrize("path", ["/health", "/", "/files/small", "/files/big", "/nothing"])
def test_one_that_asks_and_reads_nothing_is_not_read(mounted: Server, path: str) -> None:
    mounted.health()
    with socket.create_connection(("127.0.0.1", mounted.http)) as deaf:
        send_all_that_is_read(mounted, deaf, get(path).encode())
        assert mounted.health()["status"] == "ok"


@pytest.mark.parametrize("path", ["/health", "/", "/nothing"])
def test_nor_is_one_that_does_so_over_tls(tmp_path: Path, path: str) -> None:
    write_certificate(tmp_path)
    listen = "http://127.0.0.1:{http}\nhttps://127.0.0.1:{stomp}"
    with Server.on_free_ports(tmp_path, "[ssl]\ncrt = cert.pem\nkey = key.pem\n", listen) as server:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(socket.create_connection(("127.0.0.1", server.stomp))) as deaf:
            send_all_that_is_read(server, deaf, get(path).encode())
            assert server.health()["status"] == "ok"
