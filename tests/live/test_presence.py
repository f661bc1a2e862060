"""People at a real server: who is there, without ghosts; private messages; a rate."""

from __future__ import annotations

import json
import queue
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.process import ROOT, Server, environment, until
from support.sockets import WebSocketStream
from support.stomp import Frame, message_bytes
from support.stompy import VERSIONS, StompPy
from support.wire import WIRES, Wire, open_wire, wire_to

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

GRACE_S = 1
_MORE = f"\n[presence]\ngrace = {GRACE_S}\n[broker]\nheartbeat.min_ms = 100\n"
_WATCHED = "/presence/topic/chat"

# A client in a process of its own, to be stopped and killed: it enters the room and waits.
_CLIENT = """\
import socket, sys
wire = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
wire.sendall(
    b"CONNECT\\naccept-version:1.2\\nheart-beat:%b\\nnick:%b\\nx-presence-token:%b\\n\\n\\0"
    % tuple(argument.encode() for argument in sys.argv[2:5])
)
wire.sendall(b"SUBSCRIBE\\nid:0\\ndestination:/topic/chat\\nreceipt:in\\n\\n\\0")
data = b""
while b"receipt-id:in" not in data:
    data += wire.recv(4096)
print("in", flush=True)
while True:
    wire.settimeout(0.3)
    try:
        wire.recv(4096)
    except TimeoutError:
        if sys.argv[2] != "0,0":
            wire.sendall(b"\\n")
"""


@pytest.fixture
def place(serve: Serve) -> Server:
    return serve(more=_MORE)


@pytest.fixture
def start_client(place: Server) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start clients in processes of their own, each in the room already."""
    processes: list[subprocess.Popen[str]] = []

    def start(nick: str, token: str = "", heartbeat: str = "0,0") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _CLIENT, str(place.stomp), heartbeat, nick, token],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


class Watcher:
    """stomp.py, asking who is in a room."""

    def __init__(self, server: Server, destination: str = _WATCHED) -> None:
        self.program = StompPy(server.stomp)
        self.program.subscribe(destination)
        self.heard: list[str] = []
        self.people: dict[str, str] = {}

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.__exit__()

    def hear(self, within_s: float = 10.0) -> str:
        """Return the next event, as short words; it has to fit to those before."""
        frame = self.program.messages.get(timeout=within_s)
        value: dict[str, Any] = json.loads(frame.body)
        kind = frame.headers["x-presence"]
        assert kind == value["event"]
        assert frame.headers["destination"] == _WATCHED
        if kind == "here":
            assert not self.heard
            self.people = {one["id"]: one["nick"] for one in value["people"]}
            words = f"here {' '.join(self.people.values())}".strip()
        else:
            one = value["person"]
            if kind == "join":
                assert one["id"] not in self.people
                self.people[one["id"]] = one["nick"]
            elif kind == "leave":
                assert self.people.pop(one["id"]) == one["nick"]
            else:
                self.people[one["id"]] = one["nick"]
            words = f"{kind} {one['nick']}"
        self.heard.append(words)
        return words

    def hears_nothing(self, seconds: float) -> bool:
        """Return whether all is quiet for a while."""
        try:
            self.hear(seconds)
        except queue.Empty:
            return True
        return False


def enter(server: Server, kind: str, nick: str, token: str = "") -> Wire:
    """Connect and go to the room."""
    wire = wire_to(server, kind)
    wire.connect(nick=nick, **({"x_presence_token": token} if token else {}))
    wire.ask("SUBSCRIBE", id="0", destination="/topic/chat")
    return wire


# ---------------------------------------------------------------- no ghosts


@pytest.mark.parametrize("kind", WIRES)
def test_people_come_and_go(place: Server, kind: str) -> None:
    with Watcher(place) as watcher, Watcher(place) as other:
        assert watcher.hear() == "here"
        anna = enter(place, kind, "anna", "t1")
        bob = enter(place, kind, "Bob 世")
        anna.ask("UNSUBSCRIBE", id="0")
        bob.ask("DISCONNECT")
        heard = [watcher.hear() for _ in range(4)]
        assert heard == ["join anna", "join Bob 世", "leave anna", "leave Bob 世"]
        assert [other.hear() for _ in range(5)] == watcher.heard
        anna.close()
        bob.close()


def test_a_client_that_is_killed_leaves_after_the_grace(
    place: Server, start_client: Callable[..., subprocess.Popen[str]]
) -> None:
    with Watcher(place) as watcher:
        process = start_client("anna", "t1")
        assert [watcher.hear() for _ in range(2)] == ["here", "join anna"]
        process.kill()
        begun_s = time.monotonic()
        assert watcher.hear() == "leave anna"
        assert time.monotonic() - begun_s > GRACE_S / 2


def test_a_client_that_hangs_leaves_within_its_heart_beats_and_the_grace(
    place: Server, start_client: Callable[..., subprocess.Popen[str]]
) -> None:
    with Watcher(place) as watcher:
        process = start_client("anna", "t1", "500,500")
        assert [watcher.hear() for _ in range(2)] == ["here", "join anna"]
        assert watcher.hears_nothing(2)
        # The connection is open and the system accepts bytes, but the process does nothing.
        process.send_signal(signal.SIGSTOP)
        assert watcher.hear(2 * 0.5 + GRACE_S + 5) == "leave anna"
        assert "no heart-beat" in place.log()


def test_who_is_killed_and_comes_back_with_the_token_was_never_away(
    place: Server, start_client: Callable[..., subprocess.Popen[str]]
) -> None:
    with Watcher(place) as watcher:
        for _ in range(4):
            start_client("anna", "t1").kill()
        stays = start_client("anna", "t1")
        assert [watcher.hear() for _ in range(2)] == ["here", "join anna"]
        assert watcher.hears_nothing(GRACE_S + 2)
        stays.kill()
        assert watcher.hear() == "leave anna"


@pytest.mark.parametrize("kind", WIRES)
def test_a_reload_of_the_page_replaces_the_old_connection(place: Server, kind: str) -> None:
    with Watcher(place) as watcher:
        old = enter(place, kind, "anna", "t1")
        new = enter(place, kind, "anna", "t1")
        error = old.frame()
        assert error.headers["message"] == "replaced by a newer connection"
        if isinstance(old.stream, WebSocketStream):
            until("close", lambda: _has_closed(old))
            assert old.close_code == 3500
        assert [watcher.hear() for _ in range(2)] == ["here", "join anna"]
        assert watcher.hears_nothing(GRACE_S + 2)
        new.close()
        assert watcher.hear() == "leave anna"
        old.close()


def _has_closed(wire: Wire) -> bool:
    """Read what is here; tell whether the close was in it."""
    if wire.close_code is None and wire.has_data:
        wire.take()
    return wire.close_code is not None


@pytest.mark.parametrize("kind", WIRES)
def test_a_nick_in_use_is_an_error(place: Server, kind: str) -> None:
    anna = enter(place, kind, "anna", "t1")
    other = wire_to(place, kind)
    other.send("CONNECT\naccept-version:1.2\nnick:ANNA\nx-presence-token:t2\n\n\0")
    error = other.frame()
    assert (error.command, error.headers["message"]) == ("ERROR", "nick in use")
    if isinstance(other, WebSocketStream):
        until("close", lambda: _has_closed(other))
        assert other.close_code == 1008
    anna.close()
    other.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_stomp_py_is_a_person_if_it_wants_to_be(place: Server, version: str) -> None:
    headers = {"nick": "program", "x-presence-token": "t"}
    with Watcher(place) as watcher, StompPy(place.stomp, version) as plain:
        plain.subscribe("/topic/chat")  # without a name: not listed, served as ever
        with StompPy(place.stomp, version, headers) as named:
            assert named.connected["nick"] == "program"
            assert named.connected["x-presence-id"] not in headers.values()
            named.subscribe("/topic/chat")
            plain.send("/topic/chat", '{"nick": "anybody", "text": "hello"}')
            assert named.message().body == plain.message().body
            assert [watcher.hear() for _ in range(2)] == ["here", "join program"]
        assert watcher.hear() == "leave program"


def test_the_manuals_example_runs(place: Server) -> None:
    text = (ROOT / "docs" / "presence.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "61613" in example
    assert example.count("input(") == 1
    with Watcher(place) as watcher:
        ended = subprocess.run(
            [
                sys.executable,
                "-c",
                "import time\n"
                + re.sub(
                    r"input\(.*\)", "time.sleep(1)", example.replace("61613", str(place.stomp))
                ),
            ],
            capture_output=True,
            text=True,
            timeout=30,
            env=environment(),
        )
        assert ended.returncode == 0, ended.stderr
        heard = [watcher.hear() for _ in range(3)]
    assert heard == ["here", "join robot", "leave robot"]
    lines = ended.stdout.splitlines()
    assert sorted(line.split()[0] for line in lines) == ["here", "join", "message"]
    assert any("Good morning" in line for line in lines)


# ---------------------------------------------------------------- private messages


def test_private_messages(place: Server) -> None:
    wires = {}
    for nick in ("anna", "bob", "eve"):
        wires[nick] = wire_to(place, "WebSocket" if nick == "bob" else "TCP")
        wires[nick].connect(nick=nick)
        wires[nick].ask("SUBSCRIBE", id="u", destination="/user/queue/private")
    anna, bob, eve = wires["anna"], wires["bob"], wires["eve"]
    eve.ask("SUBSCRIBE", id="all", destination="#")
    anna.send(
        "SEND\ndestination:/user/bob/queue/private\nx-sender:eve\nx-sender-id:0\n"
        "x-undelivered:true\n\npsst\0"
    )
    letter = bob.frame()
    assert letter.body == b"psst"
    assert letter.headers["x-sender"] == "anna"
    assert len(letter.headers["x-sender-id"]) == 20
    assert "x-undelivered" not in letter.headers
    anna.send("SEND\ndestination:/user/nobody/queue/private\n\nlost\0")
    back = anna.frame()
    assert (back.body, back.headers["x-undelivered"]) == (b"lost", "true")
    # Had it seen any of that, it would be here before the receipt.
    eve.ask("UNSUBSCRIBE", id="all")
    with StompPy(place.stomp) as program:
        program.send("/user/bob/queue/private", "who am I?")
        assert program.errors.get(timeout=10).headers["message"] == "private messages need a nick"
    for wire in wires.values():
        wire.close()


# ---------------------------------------------------------------- names are true


@pytest.mark.parametrize("kind", WIRES)
def test_no_stranger_passes_as_another_person(place: Server, kind: str) -> None:
    anna, bob = enter(place, kind, "anna", "t1"), enter(place, kind, "bob", "t2")
    bob.ask("SUBSCRIBE", id="u", destination="/user/queue/private")
    with Watcher(place) as watcher:
        assert watcher.hear() == "here anna bob"
        eve = wire_to(place, kind)
        assert "nick" not in eve.connect(login="anna", passcode="x")
        eve.subscribe("/topic/chat")
        eve.send("SEND\ndestination:/user/bob/queue/private\nx-sender:anna\n\nit is me\0")
        assert eve.frame().headers["message"] == "private messages need a nick"
        eve.close()
        for nick in (
            "ann\u0430",
            "\u0391\u039d\u039d\u0391",
            "an\u034fna",
            "anna\u3164",
            "\u2800anna",
        ):
            other = wire_to(place, kind)
            other.send(f"CONNECT\naccept-version:1.2\nnick:{nick}\n\n\0")
            assert other.frame().command == "ERROR"
            other.close()
        for nick in ("anna\\u0000", "anna\\ud800", "\\u0430nna", "an\\u034fna", "anna\\u2800"):
            other = open_wire(place, kind)
            other.publish("/topic/chat", b'{"nick":"%b","text":"x"}' % nick.encode())
            assert other.frame().command == "ERROR"
            other.close()
        # Neither a second anna nor a message from one has come.
        anna.ask("DISCONNECT")
        assert watcher.hear() == "leave anna"
    bob.ask("SUBSCRIBE", id="last", destination="/topic/none")
    eve = wire_to(place, kind)
    eve.connect(login="anna", passcode="x")
    bob.send("SEND\ndestination:/user/anna/queue/private\n\npsst\0")
    assert bob.frame().headers["x-undelivered"] == "true"
    for wire in (anna, bob, eve):
        wire.close()


# ---------------------------------------------------------------- rules of rooms


@pytest.mark.parametrize("kind", WIRES)
def test_a_text_is_as_long_as_it_may_be_and_no_longer(place: Server, kind: str) -> None:
    with Wire(place.stomp) as listener:
        listener.connect()
        listener.subscribe("/topic/chat")
        anna = enter(place, kind, "anna")
        for length in (3999, 4000, 4001):
            body = json.dumps({"nick": "anna", "text": "ü" * length}).encode()
            anna.send(message_bytes("/topic/chat", body))
            if length <= 4000:
                assert listener.frame().body == anna.frame().body == body
        error = anna.frame()
        assert error.headers["message"] == "text longer than 4000 characters"
        other = enter(place, kind, "bob")
        other.send(message_bytes("/topic/chat", b'{"nick":"anna","text":"forged"}'))
        assert other.frame().headers["message"] == "not your nick"
        other.close()
        anna.close()


# ---------------------------------------------------------------- rate


@pytest.mark.parametrize("kind", WIRES)
def test_a_rate_delays_and_loses_nothing(serve: Serve, kind: str) -> None:
    server = serve(more="\n[rate]\nmessages_per_second = 100\nburst = 20\n")
    count = 200
    with Wire(server.stomp) as listener:
        listener.connect()
        listener.subscribe("/topic/a")
        fast, calm = open_wire(server, kind), open_wire(server, kind)
        begun_s = time.monotonic()
        fast.send(b"".join(message_bytes("/topic/a", b"%d" % number) for number in range(count)))
        calm.send(message_bytes("/topic/a", b"calm"))
        frames: list[Frame] = [listener.frame() for _ in range(count + 1)]
        took_s = time.monotonic() - begun_s
        bodies = [frame.body for frame in frames]
        # Another client does not wait behind the fast one.
        assert bodies.index(b"calm") < count
        bodies.remove(b"calm")
        assert bodies == [b"%d" % number for number in range(count)]
        # Never faster than the rate; how much slower says the machine.
        assert took_s > (count - 20) / 100 * 0.95
        fast.ask("SUBSCRIBE", id="0", destination="/topic/b")
        # Once for a session; the calm one may have had to wait for its turn, too.
        assert server.log().count("faster than [rate] allows") in (1, 2)
        fast.close()
        calm.close()


def test_whoever_goes_while_it_is_too_fast_leaves_nothing_behind(serve: Serve) -> None:
    server = serve(more="\n[rate]\nmessages_per_second = 1\nburst = 1\n")
    fast = open_wire(server, "TCP")
    fast.send(message_bytes("/topic/a", b"x") * 3)
    fast.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    fast.close()
    server.until_empty()
