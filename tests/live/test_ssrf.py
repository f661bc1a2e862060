"""No spelling of a target reaches what no rule names: over real HTTP, into a real server.

A canary listens on loopback, on the port that the one rule names. Each test spells its address
in a way that the rule does not, and nothing may come.
"""

# The odd characters below are the point of their tests.
# ruff: noqa: RUF001

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from support.process import ROOT, Server, free_port
from support.sockets import RealWebSocket

pytestmark = pytest.mark.live

INI = """\
[listen]
http://127.0.0.1:{http}
stomp://127.0.0.1:{stomp}

[access]
* -> 127.0.0.1:{allowed}
* -> unix:app = app.sock

[proxy]
connect.timeout = 3
"""


@contextlib.contextmanager
def speaking(listener: socket.socket) -> Iterator[None]:
    """Send the first who comes a banner."""

    def speak() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"banner")
            connection.recv(1)

    thread = threading.Thread(target=speak)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


class Canary:
    """Listens, and tells whether anybody came."""

    def __init__(self) -> None:
        self.port = free_port()
        self._listeners = []
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, self.port))
            listener.listen()
            self._listeners.append(listener)

    def was_reached(self) -> bool:
        return bool(select.select(self._listeners, [], [], 0)[0])

    @contextlib.contextmanager
    def speaks(self) -> Iterator[None]:
        with speaking(self._listeners[0]):
            yield

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    canary = Canary()
    yield canary
    canary.close()


@pytest.fixture(scope="module")
def server(canary: Canary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ssrf")
    http, stomp = free_port(), free_port()
    # The canary's port is the one that the rule names: only its address is spelled otherwise.
    ini = INI.format(http=http, stomp=stomp, allowed=canary.port)
    server = Server(folder, ini, http=http, stomp=stomp).start()
    yield server
    server.close()


def ask(server: Server, path: bytes) -> tuple[int, bytes]:
    """Ask for a WebSocket as no browser would; give the status and what follows the head."""
    key = base64.b64encode(os.urandom(16))
    with socket.create_connection(("127.0.0.1", server.http), 10) as connection:
        connection.sendall(
            b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
            + key
            + b"\r\n\r\n"
        )
        data = b""
        while not (data.startswith(b"HTTP/1.1 101") and b"banner" in data):
            read = connection.recv(4096)
            if not read:
                break
            data += read
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


SPELLINGS = {
    "decimal": "2130706433:{port}",
    "octal": "0177.0.0.1:{port}",
    "octal, whole": "017700000001:{port}",
    "hexadecimal": "0x7f.0.0.1:{port}",
    "hexadecimal, whole": "0x7f000001:{port}",
    "hexadecimal, capital": "0X7F.1:{port}",
    "short": "127.1:{port}",
    "three parts": "127.0.1:{port}",
    "a zero before": "127.0.0.01:{port}",
    "another loopback": "127.0.0.2:{port}",
    "unspecified": "0.0.0.0:{port}",
    "zero": "0:{port}",
    "unspecified, IPv6": "[::]:{port}",
    "IPv6": "[::1]:{port}",
    "IPv6, long": "[0:0:0:0:0:0:0:1]:{port}",
    "IPv4-mapped": "[::ffff:127.0.0.1]:{port}",
    "IPv4-mapped, hexadecimal": "[::ffff:7f00:1]:{port}",
    "IPv4-compatible": "[::127.0.0.1]:{port}",
    "NAT64": "[64:ff9b::7f00:1]:{port}",
    "6to4": "[2002:7f00:1::]:{port}",
    "zone": "[::1%25lo]:{port}",
    "zone, raw": "[::1%lo]:{port}",
    "IPv4 in brackets": "[127.0.0.1]:{port}",
    "a name": "localhost:{port}",
    "a name, mixed case": "LocalHost:{port}",
    "a name, trailing dot": "localhost.:{port}",
    "two dots": "127.0.0.1..:{port}",
    "only a dot": ".:{port}",
    "user name": "user@127.0.0.1:{port}",
    "user name and password": "user:word@127.0.0.1:{port}",
    "a target before": "127.0.0.1:{port}@127.0.0.1:{port}",
    "encoded slash": "127.0.0.1:{port}%2f",
    "encoded slash before": "%2f127.0.0.1:{port}",
    "encoded at": "user%40127.0.0.1:{port}",
    "encoded dot": "127%2e0.0.1:{port}",
    "encoded colon": "127.0.0.1%3a{port}",
    "encoded letter": "local%68ost:{port}",
    "encoded twice": "127%252e0.0.1:{port}",
    "encoded NUL": "127.0.0.1%00.example:{port}",
    "encoded line end": "127.0.0.1:{port}%0d%0aX:%20y",
    "slash": "127.0.0.1:{port}/",
    "slash before": "/127.0.0.1:{port}",
    "scheme": "http://127.0.0.1:{port}/",
    "backslash": "127.0.0.1:{port}\\",
    "up": "../tcp/127.0.0.1:{port}",
    "up, behind": "x:1/../127.0.0.1:{port}",
    "fullwidth digits": "１２７.0.0.1:{port}",
    "fullwidth dots": "127．0．0．1:{port}",
    "ideographic dots": "127。0。0。1:{port}",
    "circled digits": "①②⑦.0.0.1:{port}",
    "fullwidth letters": "ｌｏｃａｌｈｏｓｔ:{port}",
    "Arabic digits in the port": "127.0.0.1:٨٠",
    "no host": ":{port}",
    "nothing": "",
    "port 0": "127.0.0.1:0",
    "port 65536": "127.0.0.1:65536",
    "port and 2^16": "127.0.0.1:{wrapped}",
    "port with a plus": "127.0.0.1:+{port}",
    "port with a minus": "127.0.0.1:-{port}",
    "port with a space": "127.0.0.1:%20{port}",
    "port, encoded": "127.0.0.1:%3{first}{digits}",
    "port, hexadecimal": "127.0.0.1:0x{hex}",
    "no port": "127.0.0.1:",
    "two ports": "127.0.0.1:{port}:{port}",
    "metadata": "169.254.169.254:80",
    "metadata, decimal": "2852039166:80",
    "metadata, IPv4-mapped": "[::ffff:169.254.169.254]:80",
    "metadata, IPv6": "[fd00:ec2::254]:80",
    "Unix socket by path": "unix:/run/app.sock",
    "Unix socket by encoded path": "unix:%2frun%2fapp.sock",
    "Unix socket above": "unix:../app.sock",
    "another Unix socket": "unix:other",
    "Unix socket with a port": "unix:app:80",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_no_spelling_reaches_what_no_rule_names(
    server: Server, canary: Canary, spelling: str
) -> None:
    port = str(canary.port)
    target = spelling.format(
        port=port, digits=port[1:], first=port[0], wrapped=canary.port + 65536, hex=f"{int(port):x}"
    )
    before = len(server.log().splitlines())
    # Characters beyond ASCII stand in a path as every browser writes them.
    status, body = ask(server, quote(f"/tcp/{target}", safe=string.punctuation).encode())
    assert status == 403, body
    # One text for every refusal: who asks cannot tell a wrong target from a forbidden one.
    assert body.startswith(b"This server's access list does not allow this connection.")
    assert not canary.was_reached()
    (line,) = server.log().splitlines()[before:]
    assert ": refused /tcp/" in line
    assert "may not reach" in line or "not HOST:PORT" in line


def test_characters_beyond_ascii_are_no_http_at_all(server: Server, canary: Canary) -> None:
    status, _ = ask(server, f"/tcp/１２７.0.0.1:{canary.port}".encode())
    assert status == 400
    assert not canary.was_reached()


def test_the_spelling_that_the_rule_has_reaches_it(server: Server, canary: Canary) -> None:
    # Without this the test above would pass with a server that reaches nothing.
    with canary.speaks():
        status, data = ask(server, f"/tcp/127.0.0.1:{canary.port}".encode())
    assert status == 101
    assert b"banner" in data


def test_a_unix_socket_is_reached_by_its_name_alone(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(server.folder / "app.sock"))
        listener.listen()
        with speaking(listener):
            status, data = ask(server, b"/tcp/unix:APP")
    assert status == 101
    assert b"banner" in data


# ---------------------------------------------------------------- names that change their minds

# What the system says about the name: each look-up gets the next answer.
RESOLVER = """\
import pathlib, socket

answers = pathlib.Path(__file__).with_name("answers")
asked = socket.getaddrinfo

def getaddrinfo(host, *args, **kwargs):
    if host == "moves.example":
        host, *rest = answers.read_text().split()
        answers.write_text(" ".join(rest))
    return asked(host, *args, **kwargs)

socket.getaddrinfo = getaddrinfo
"""


def test_a_name_that_moves_is_followed_neither_at_once_nor_later(tmp_path: Path) -> None:
    http, stomp, port = free_port(), free_port(), free_port()
    # A name of this server's own may mean this machine, so that nothing but loopback is needed.
    ini = INI.format(http=http, stomp=stomp, allowed=port) + "[global]\nhosts = moves.example\n"
    ini = ini.replace(f"127.0.0.1:{port}", f"moves.example:{port}")
    (tmp_path / "sitecustomize.py").write_text(RESOLVER)
    answers = tmp_path / "answers"
    answers.write_text("127.0.0.2 169.254.169.254 127.0.0.3 127.0.0.3")
    with contextlib.ExitStack() as stack:
        first, other = (
            stack.enter_context(socket.create_server((host, port)))
            for host in ("127.0.0.2", "127.0.0.3")
        )
        prefix = ["env", f"PYTHONPATH={tmp_path}:{ROOT}"]
        server = Server(tmp_path, ini, http=http, stomp=stomp, prefix=prefix)
        stack.callback(server.close)
        server.start()
        path = f"/tcp/moves.example:{port}".encode()
        # Between the check and the connection the name is not resolved again.
        with speaking(first):
            status, data = ask(server, path)
        assert status == 101
        assert b"banner" in data
        assert answers.read_text() == "169.254.169.254 127.0.0.3 127.0.0.3"
        # The next connection is a new question, and the answer to it is checked as well.
        with RealWebSocket(http, path.decode()) as browser:
            frame = browser.read()
        assert (frame.code, frame.reason) == (1011, "target unreachable")
        assert answers.read_text() == "127.0.0.3 127.0.0.3"
        assert "moves.example resolves to 169.254.169.254, which is " in server.log()
        assert not select.select([first, other], [], [], 0)[0]
