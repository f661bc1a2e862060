"""Rights on a real server, over both wires: what is refused, what a reload takes away."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from support.passwords import quick_hash
from support.process import Server, until
from support.sockets import WebSocketStream
from support.stomp import Frame, frame_bytes, message_bytes
from support.wire import WIRES, Wire, wire_to

pytestmark = [pytest.mark.live]

PASSWORD = "correct horse battery staple"
RIGHTS = """\
[groups]
staff = bob
[rights]
ada = read /topic/chat.#, write /topic/chat.tea, read /queue/{user}, write /topic/orders
@staff = all /#, all /queue/#
anonymous = read /topic/news
"""
CONFIG = f"""\
[access]
self -> localhost:{{stomp}}
[users]
file = users
[history]
/topic/chat* = 100
file = :memory:
[pubsub]
orders = /topic/orders, /queue/orders
{RIGHTS}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("rights")
    hashed = quick_hash(PASSWORD)
    (folder / "users").write_text(f"ada:{hashed}\nbob:{hashed}\n", encoding="utf-8")
    (folder / "users").chmod(0o600)
    with Server.on_free_ports(folder, CONFIG) as started:
        yield started


def wire_of(server: Server, kind: str, user: str = "") -> Wire:
    """Return a client that is logged in."""
    wire = wire_to(server, kind)
    login = {"login": user, "passcode": PASSWORD} if user else {}
    wire.send(frame_bytes("CONNECT", accept_version="1.2", host="test", **login))
    answer = wire.frame(40)
    assert answer.command == "CONNECTED", answer
    assert answer.get("x-user") == (user or None)
    return wire


def refusal(wire: Wire, data: bytes) -> tuple[str, str | None]:
    """Send something that ends the session; return what the ERROR says, and its receipt-id."""
    wire.send(data)
    *before, error = wire.rest()
    assert before == []
    return told(wire, error), error.get("receipt-id")


def told(wire: Wire, error: Frame) -> str:
    """Return what an ERROR about a right says."""
    assert error.command == "ERROR"
    assert not isinstance(wire.stream, WebSocketStream) or wire.close_code == 3502
    return error["message"].replace("\\c", ":")


def subscribe(destination: str, **headers: str) -> bytes:
    return frame_bytes("SUBSCRIBE", id="0", destination=destination, **headers)


REFUSED = [
    (message_bytes("/topic/chat", b"x"), "write /topic/chat"),
    (message_bytes("/topic/chat", b"x") * 20, "write /topic/chat"),
    (message_bytes("/topic/chat.tea,/topic/chat", b"x"), "write /topic/chat"),
    (message_bytes("/queue/ada", b"x", receipt="r"), "write /queue/ada"),
    (message_bytes("/pubsub/orders", b"x"), "write /pubsub/orders"),
    (message_bytes("/topic/typing.milk", b"x"), "write /topic/typing.milk"),
    (subscribe("/topic/other"), "read /topic/other"),
    (subscribe("/topic/#"), "read /topic/#"),
    (subscribe("#"), "read #"),
    (subscribe("/topic/*"), "read /topic/*"),
    (subscribe("/queue/bob"), "read /queue/bob"),
    (subscribe("/queue/bob", browser="true"), "read /queue/bob"),
    (subscribe("/queue/DLQ.ada"), "read /queue/DLQ.ada"),
    (subscribe("/presence/topic/other"), "read /presence/topic/other"),
    (subscribe("/topic/other", x_stream_offset="first"), "read /topic/other"),
]


@pytest.mark.parametrize("kind", WIRES)
def test_what_no_line_gives_is_refused(server: Server, kind: str) -> None:
    with wire_of(server, "TCP", "bob") as bob:
        bob.subscribe("/topic/chat")
        bob.subscribe("/queue/ada", "q")
        for data, what in REFUSED:
            with wire_of(server, kind, "ada") as ada:
                receipt = "r" if b"receipt:r" in data else None
                assert refusal(ada, data) == (f"not allowed: {what}", receipt)
        bob.ask("BEGIN", transaction="nothing has come")


@pytest.mark.parametrize("kind", WIRES)
def test_what_a_line_gives_is_served(server: Server, kind: str) -> None:
    with wire_of(server, kind, "bob") as bob, wire_of(server, kind, "ada") as ada:
        for name, destination in enumerate(("/topic/chat.#", "/queue/ada", "/presence/rooms")):
            ada.send(frame_bytes("SUBSCRIBE", id=str(name), destination=destination))
        assert ada.frame()["destination"] == "/presence/rooms"
        bob.publish("/topic/elsewhere", b"a secret")
        bob.publish("/topic/chat.tea", b"1")
        ada.publish("/topic/chat.tea", b"2", x_user="bob")
        bob.publish("/queue/ada", b"3")
        got = [ada.frame() for _ in range(3)]
        assert sorted((one.body, one["x-user"]) for one in got) == [
            (b"1", "bob"),
            (b"2", "ada"),
            (b"3", "bob"),
        ]


@pytest.mark.parametrize("kind", WIRES)
def test_without_a_name_one_gets_what_is_for_everyone(server: Server, kind: str) -> None:
    with wire_of(server, kind) as guest, wire_of(server, kind, "bob") as bob:
        guest.subscribe("/topic/news")
        bob.publish("/topic/news", b"news")
        assert guest.frame().body == b"news"
        assert refusal(guest, message_bytes("/topic/news", b"x"))[0] == (
            "not allowed: write /topic/news"
        )


@pytest.mark.parametrize("kind", WIRES)
def test_a_token_that_is_sent_by_mistake_reaches_nobody(server: Server, kind: str) -> None:
    """This server takes none, and a pattern over everything must not show it to its readers."""
    with wire_of(server, kind, "bob") as bob, wire_of(server, kind, "ada") as ada:
        bob.subscribe("#")
        ada.send(message_bytes("/session/token", b"a.real.token"))
        assert [frame["message"] for frame in ada.rest()] == ["access refused"]
        bob.publish("/topic/after", b"after")
        assert bob.frame().body == b"after"
    assert "a.real.token" not in server.log()


def test_a_reload_takes_rights_from_sessions_that_are_open(server: Server) -> None:
    path = server.folder / "chat.ini"
    text = path.read_text(encoding="utf-8")
    try:
        with (
            wire_of(server, "WebSocket", "ada") as reader,
            wire_of(server, "TCP", "ada") as writer,
            wire_of(server, "TCP", "bob") as bob,
        ):
            reader.subscribe("/topic/chat.tea")
            bob.subscribe("/topic/chat.tea")
            for _ in range(4):  # the head is known, and the right to it
                writer.publish("/topic/chat.tea", b"before")
                assert bob.frame().body == b"before"
                assert reader.frame().body == b"before"
            less = "ada = read /topic/other"
            path.write_text(
                "\n".join(less if one.startswith("ada =") else one for one in text.splitlines()),
                encoding="utf-8",
            )
            begun = len(server.log())
            server.send_signal(signal.SIGHUP)
            until("a reload", lambda: "rights and groups" in server.log()[begun:], 20)
            [error] = reader.rest()
            assert told(reader, error) == "not allowed: read /topic/chat.tea"
            assert refusal(writer, message_bytes("/topic/chat.tea", b"before"))[0] == (
                "not allowed: write /topic/chat.tea"
            )
            bob.publish("/topic/chat.tea", b"after")
            assert bob.frame().body == b"after"
    finally:
        path.write_text(text, encoding="utf-8")
        begun = len(server.log())
        server.send_signal(signal.SIGHUP)
        until("a reload", lambda: "rights and groups" in server.log()[begun:], 20)
