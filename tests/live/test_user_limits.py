"""Limits of a real server: those of users hold for users, those of guests for addresses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.passwords import quick_hash
from support.process import Server
from support.stomp import frame_bytes
from support.wire import Wire

from rtchat.net.auth.password_writing import set_user

pytestmark = pytest.mark.live

INI = """\
[access]
self -> 127.0.0.1:{stomp}

[users]
file = users

[rights]
* = read write /topic/#
anonymous = read write /topic/#

"""

Open = Callable[[], Wire]


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    """The hashes of the passwords."""
    return {name: quick_hash(name) for name in ("ada", "bob")}


@pytest.fixture
def serve(tmp_path: Path, hashes: dict[str, str]) -> Iterator[Callable[[str], Open]]:
    """Start a server with more settings; return what opens a connection to it."""
    with ExitStack() as opened:

        def start(more: str) -> Open:
            for name, text in hashes.items():
                set_user(tmp_path / "users", name, text)
            server = opened.enter_context(Server.on_free_ports(tmp_path, INI + more))
            return lambda: opened.enter_context(Wire(server.stomp))

        yield start


def log_in(wire: Wire, name: str) -> Wire:
    wire.connect(login=name, passcode=name)
    return wire


def refusal_of(wire: Wire, name: str = "") -> str:
    """Try to connect; return the words of the refusal."""
    headers = {"login": name, "passcode": name} if name else {}
    wire.send(frame_bytes("CONNECT", accept_version="1.2", host="test", **headers))
    [frame] = wire.rest()
    wire.close()
    assert frame.command == "ERROR"
    return frame.headers["message"]


def test_users_have_connections_of_their_own_and_guests_those_of_their_address(
    serve: Callable[[str], Open],
) -> None:
    open_one = serve("[broker]\nconnections.per_source = 4\nconnections.per_user = 3\n")
    users = [log_in(open_one(), name) for name in ("ada", "ada", "ada", "bob", "bob", "bob")]
    assert refusal_of(open_one(), "ada") == "too many connections of one user, 3 are allowed"
    users.pop(0).ask("DISCONNECT")
    log_in(open_one(), "ada")
    guests = [open_one() for _ in range(4)]
    for guest in guests:
        guest.connect()
    [frame] = open_one().rest()
    assert frame.headers["message"] == "too many connections from one address, 4 are allowed"
    users[0].ask("SUBSCRIBE", id="1", destination="/topic/a")


def test_bytes_of_a_user_and_messages_of_guests_are_slowed_down(
    serve: Callable[[str], Open],
) -> None:
    open_one = serve(
        "[rate]\nbytes_per_second = 5 KiB\nbytes_burst = 20 KiB\n"
        "guest.messages_per_second = 1\nguest.burst = 2\nguest.bytes_per_second = 0\n"
    )
    ada, bob, guest = log_in(open_one(), "ada"), log_in(open_one(), "bob"), open_one()
    guest.connect()
    body = b"x" * 20_000

    begin_s = time.monotonic()
    for wire in (ada, ada):
        wire.publish("/topic/a", body, receipt="1")
    assert ada.frame().command == "RECEIPT"
    bob.publish("/topic/a", body, receipt="1")
    assert bob.frame().command == "RECEIPT"
    assert time.monotonic() - begin_s < 3
    assert ada.frame().command == "RECEIPT"
    assert time.monotonic() - begin_s > 3.7

    begin_s = time.monotonic()
    for _ in range(4):
        guest.publish("/topic/a", body, receipt="1")
    for _ in range(4):
        assert guest.frame().command == "RECEIPT"
    assert 1.8 < time.monotonic() - begin_s < 5


def test_connects_of_an_address_are_slowed_down_and_then_refused(
    serve: Callable[[str], Open],
) -> None:
    open_one = serve("[rate]\nguest.connects_per_second = 1\nguest.connects_burst = 2\n")
    begin_s = time.monotonic()
    waiting = [open_one() for _ in range(3)]
    for wire in waiting:
        wire.send(frame_bytes("CONNECT", accept_version="1.2", host="test"))
    for wire in waiting:
        assert wire.frame().command == "CONNECTED"
    assert 0.9 < time.monotonic() - begin_s < 4
    many = [open_one() for _ in range(12)]
    for wire in many:
        wire.send(frame_bytes("CONNECT", accept_version="1.2", host="test"))
    refused = many[-1].rest()[0]
    assert refused.headers["message"] == "too many connects of one address"
    assert b"connects_per_second" in refused.body
