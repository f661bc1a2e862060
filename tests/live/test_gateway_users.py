"""The gateway of a real server lets in the users that its rules name, for as long as they may."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from support.passwords import quick_hash
from support.process import Server, free_port, get
from support.sockets import RealWebSocket, connect
from support.visitors import basic, bearer
from support.websocket import BINARY, CLOSE, read_answer, upgrade_request

from rtchat.net.auth.password_writing import remove_user, set_user

pytestmark = pytest.mark.live

WITHIN_S = 5.0

SECRET = "0123456789abcdef0123456789abcdef"

INI = """\
[access]
self @staff -> 127.0.0.1:TARGET
self * -> 127.0.0.1:{stomp}

[users]
file = users

[tokens]
secret.file = secret

[groups]
staff = GROUP
"""


class Echo:
    """A target that sends back what it gets.

    Attributes:
        port: Its port on 127.0.0.1.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            while data := client.recv(4096):
                client.sendall(data)

    def close(self) -> None:
        """Take no more clients."""
        self._listener.close()


class Place:
    """A server with users, and a target behind it."""

    def __init__(self, folder: Path, target: int) -> None:
        self.users = folder / "users"
        for name in ("ada", "bob"):
            set_user(self.users, name, quick_hash(name))
        (folder / "secret").write_text(SECRET)
        self.path = f"/tcp/127.0.0.1:{target}"
        self.server = Server.on_free_ports(
            folder, INI.replace("TARGET", str(target)).replace("GROUP", "ada")
        )

    def open(self, authorization: str, path: str = "") -> RealWebSocket:
        return RealWebSocket(self.server.http, path or self.path, authorization=authorization)

    def status(self, authorization: str | None, path: str = "") -> int:
        """Return how an upgrade is answered."""
        with connect(self.server.http) as client:
            client.settimeout(30)
            client.sendall(upgrade_request(path or self.path, authorization=authorization))
            data = b""
            while b"\r\n\r\n" not in data:
                data += client.recv(4096)
            return read_answer(data, has_body=False)[0].status

    def new_group(self, members: str) -> None:
        """Let the group have other members."""
        ini = self.server.folder / "chat.ini"
        text = ini.read_text().partition("staff =")[0]
        ini.write_text(f"{text}staff = {members}\n")
        self.server.send_signal(signal.SIGHUP)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    echo = Echo()
    place = Place(tmp_path, echo.port)
    try:
        with place.server:
            yield place
    finally:
        echo.close()


def token(user: str, seconds: float) -> str:
    return bearer(jwt.encode({"sub": user, "exp": time.time() + seconds}, SECRET, "HS256"))


def is_echoed(websocket: RealWebSocket) -> bool:
    websocket.send(BINARY, b"there?")
    return websocket.read().payload == b"there?"


def end_of(websocket: RealWebSocket) -> tuple[int, str]:
    """Wait for the close frame, and for the end of the connection, within the promised time."""
    begin_s = time.monotonic()
    frame = websocket.read()
    assert frame.opcode == CLOSE
    # It does not answer, so the server cuts it.
    websocket.socket.settimeout(WITHIN_S)
    with contextlib.suppress(ConnectionResetError):
        assert websocket.socket.recv(1) == b""
    assert time.monotonic() - begin_s < WITHIN_S
    return frame.code, frame.reason


def test_users_come_in_and_go_when_they_may_no_longer(place: Place) -> None:
    ada, bob = basic("ada", "ada"), basic("bob", "bob")
    assert place.status(None) == 401
    assert place.status(basic("ada", "wrong")) == 401
    assert place.status(bob) == 403
    assert place.status(token("ada", -10)) == 401
    place.server.until_logged("its rules let in @staff, not the user bob")
    place.server.until_logged("log-in refused: expired")

    listed = json.loads(get(place.server.http, "/tcp/", Authorization=bob)[2])
    assert listed["targets"] == [f"127.0.0.1:{place.server.stomp}"]
    listed = json.loads(get(place.server.http, "/tcp/", Authorization=ada)[2])
    assert len(listed["targets"]) == 2
    assert json.loads(get(place.server.http, "/tcp/")[2])["targets"] == []

    with place.open(token("ada", 2)) as short, place.open(ada) as first:
        assert is_echoed(short)
        assert is_echoed(first)
        assert end_of(short) == (3000, "token expired")
        place.new_group("bob")
        code, reason = end_of(first)
        assert code == 3502
        assert reason == f"not allowed: open {place.path}"
    assert place.status(ada) == 403

    with place.open(bob) as second, place.open(token("bob", 60)) as by_token:
        assert is_echoed(second)
        remove_user(place.users, "bob")
        assert end_of(second) == (3501, "access refused")
        assert is_echoed(by_token)  # the site's users are not those of the file
    assert place.status(bob) == 401


def test_ws_asks_for_a_user_if_the_rule_for_the_broker_does(place: Place) -> None:
    assert place.status(None, "/ws") == 401
    with place.open(basic("bob", "bob"), "/ws") as websocket:
        websocket.send(BINARY, b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        assert b"x-user:bob" in websocket.read().payload
        remove_user(place.users, "bob")
        while True:
            frame = websocket.read()
            if frame.opcode == CLOSE:
                break
        assert (frame.code, frame.reason) == (3501, "access refused")
