"""Users, rights and page sessions of a real server: changes act while sessions are open."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, build_opener

import pytest
from support.passwords import quick_hash
from support.process import Server, free_port, until
from support.sockets import connect
from support.stomp import Frame, frame_bytes
from support.websocket import BINARY, upgrade_request, ws_frame
from support.wire import Wire

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

CLOSED = """\
[listen]
http://127.0.0.1:{http}
stomp://127.0.0.1:{stomp}
[access]
self -> localhost:{stomp}
[users]
file = users.txt
session.key = page.key
[groups]
staff = ada
[rights]
* = read /topic/news
@staff = all /topic/#
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the file; a test that changes its users or rights for good comes last."""
    folder = tmp_path_factory.mktemp("server")
    users = folder / "users.txt"
    users.write_text(f"ada:{quick_hash('secret')}\nbob:{quick_hash('b')}\n")
    users.chmod(0o600)
    http, stomp = free_port(), free_port()
    text = CLOSED.format(http=http, stomp=stomp)
    with Server(folder, text, http=http, stomp=stomp) as started:
        yield started


@pytest.fixture
def users(server: Server) -> Path:
    """The password file of that server."""
    return server.folder / "users.txt"


def logged_in(server: Server, login: str, passcode: str) -> Wire:
    wire = Wire(server.stomp)
    wire.connect(login=login, passcode=passcode)
    return wire


def error_of(wire: Wire) -> str:
    return next_of(wire, "ERROR").headers["message"].replace("\\c", ":")


def next_of(wire: Wire, command: str) -> Frame:
    """Return the next frame that is no RECEIPT, which has to have this command."""
    while (frame := wire.frame()).command == "RECEIPT":
        pass
    assert frame.command == command, frame
    return frame


def test_a_mistake_in_the_file_keeps_the_rights_that_were_there(server: Server) -> None:
    with logged_in(server, "ada", "secret") as ada:
        ada.subscribe("/topic/plans")
        ini = server.folder / "chat.ini"
        text = ini.read_text()
        ini.write_text(text.replace("@staff = all", "@staff = al"))
        server.send_signal(signal.SIGHUP)
        until("line about it", lambda: "the rights stay as they were" in server.log(), 5)
        ada.publish("/topic/plans", "x")
        assert next_of(ada, "MESSAGE").body == b"x"
        ini.write_text(text)


def closed_with(server: Server, **headers: str) -> tuple[bytes, int]:
    """Open /ws with headers of the request; return what CONNECT gets, and the close code."""
    with connect(server.http) as plain:
        request = upgrade_request("/ws", host=f"localhost:{server.http}", **headers)
        connects = frame_bytes("CONNECT", accept_version="1.2", host="x")
        plain.sendall(request + ws_frame(BINARY, connects))
        data = b""
        while b"CONNECTED\n" not in data and b"\x88" not in data[-60:]:
            piece = plain.recv(65536)
            if not piece:
                break
            data += piece
    at = data.rfind(b"\x88")
    code = int.from_bytes(data[at + 2 : at + 4], "big") if b"CONNECTED\n" not in data else 0
    return data, code


def test_a_browser_logs_in_and_its_cookie_opens_the_websocket(server: Server) -> None:
    jar = CookieJar()
    opener = build_opener(HTTPCookieProcessor(jar))
    opener.addheaders = [("Accept", "application/json")]
    base = f"http://localhost:{server.http}"
    form = json.load(opener.open(f"{base}/login"))["form"]
    fields = {"name": "ada", "password": "secret", "form": form}
    assert json.load(opener.open(f"{base}/login", urlencode(fields).encode()))["user"] == "ada"
    cookie = "; ".join(f"{one.name}={one.value}" for one in jar)
    data, _ = closed_with(server, cookie=cookie)
    assert b"x-user:ada" in data
    opener.open(f"{base}/logout", urlencode({"form": form}).encode()).close()
    data, code = closed_with(server, cookie=cookie)
    assert b"access refused" in data
    assert code == 3501
    # The key is in a file, so a log-in outlives a restart.
    fresh = json.load(opener.open(f"{base}/login", urlencode(fields).encode()))
    assert fresh["user"] == "ada"
    server.stop()
    server.start()
    assert json.load(opener.open(f"{base}/login"))["user"] == "ada"


def test_over_tls_the_cookies_are_for_tls_only(tmp_path: Path, users: Path) -> None:
    http, stomp = free_port(), free_port()
    text = CLOSED.replace("users.txt", str(users)).format(http=http, stomp=stomp)
    with Server(tmp_path, text, http=http, stomp=stomp, is_tls=True) as server:
        assert server.certificate is not None
        jar = CookieJar()
        opener = build_opener(
            HTTPCookieProcessor(jar), HTTPSHandler(context=server.certificate.trusted())
        )
        opener.addheaders = [("Accept", "application/json")]
        form = json.load(opener.open(f"{server.url}login"))["form"]
        fields = {"name": "ada", "password": "secret", "form": form}
        opener.open(f"{server.url}login", urlencode(fields).encode()).close()
        assert {one.name: one.secure for one in jar} == {
            "rtchat_form": True,
            "rtchat_session": True,
        }


def test_basic_authorization_of_the_request_counts(server: Server) -> None:
    good = base64.b64encode(b"bob:b").decode()
    data, _ = closed_with(server, authorization=f"Basic {good}")
    assert b"x-user:bob" in data
    bad = base64.b64encode(b"bob:x").decode()
    data, code = closed_with(server, authorization=f"Basic {bad}")
    assert code == 3501
    assert good not in server.log()


def test_a_password_in_an_address_is_none(server: Server) -> None:
    with pytest.raises(HTTPError) as caught:
        build_opener().open(f"http://localhost:{server.http}/login?name=ada&password=secret", b"x")
    assert caught.value.code == 403
    assert "secret" not in server.log()


def test_a_checker_of_twisted_knows_the_users(serve: Serve) -> None:
    server = serve(CLOSED.replace("file = users.txt", "checker = memory:ada:secret:eve:e"))
    with logged_in(server, "ada", "secret") as ada:
        ada.subscribe("/topic/plans")
    with Wire(server.stomp) as wire:
        wire.send(frame_bytes("CONNECT", accept_version="1.2", login="eve", passcode="secret"))
        assert error_of(wire) == "access refused"


def test_a_server_that_is_open_to_the_world_says_so(serve: Serve, users: Path) -> None:
    open_ini = CLOSED.partition("[users]")[0].replace("127.0.0.1", "")
    server = serve(open_ini)
    [line] = [line for line in server.log().splitlines() if "open to the world" in line]
    assert f"http://:{server.http}, stomp://:{server.stomp}" in line
    assert "rtchat passwd" in line
    closed = serve(CLOSED.replace("users.txt", str(users)).replace("127.0.0.1", ""))
    assert "open to the world" not in closed.log()
    assert "open to the world" not in serve(open_ini.replace("//:", "//127.0.0.1:")).log()


def test_users_and_rights_change_under_open_sessions(server: Server, users: Path) -> None:
    with logged_in(server, "ada", "secret") as ada, logged_in(server, "bob", "b") as bob:
        ada.subscribe("/topic/plans")
        bob.subscribe("/topic/news")
        ada.publish("/topic/news", "x")
        assert next_of(bob, "MESSAGE").headers["x-user"] == "ada"

        ini = server.folder / "chat.ini"
        ini.write_text(
            ini.read_text().replace("@staff = all /topic/#", "@staff = read /topic/news")
        )
        server.send_signal(signal.SIGHUP)
        assert error_of(ada) == "not allowed: read /topic/plans"

        begun_s = time.monotonic()
        users.write_text("".join(users.read_text().splitlines(True)[:1]))
        assert error_of(bob) == "access refused"
        assert time.monotonic() - begun_s < 5
        until("reason in the log", lambda: "the user was removed" in server.log(), 5)
    for name in ("bob", "nobody"):
        with Wire(server.stomp) as wire:
            wire.send(frame_bytes("CONNECT", accept_version="1.2", login=name, passcode="b"))
            assert error_of(wire) == "access refused"
