"""Hooks of a real server, over HTTP and in Python: asked, told, down and back again."""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGHUP, SIGTERM
from typing import Any

import pytest
from support.process import Server, environment, free_port, get, until
from support.stomp import frame_bytes, message_bytes
from support.wire import Wire

pytestmark = [pytest.mark.live]

SECRET = "the secret that signs questions"
RIGHTS = "[rights]\n* = all /#, all /queue/#\n"

CLIENT = """
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(bytes.fromhex(sys.argv[2]))
data = b""
while b"receipt-id:last" not in data:
    data += client.recv(65536)
print("ready", flush=True)
sys.stdin.read()
"""
"""A program that sends frames, waits for the receipt of the last one, and stays."""


class AskedSite:
    """A web site that is asked and told, and may be down for a while.

    Attributes:
        answers: What it answers, by event; another event is allowed.
        events: The questions, in the order in which they came.
        secrets: Which of the secrets that :attr:`known` has has signed each of them.
        known: Secrets that may sign.
    """

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.secrets: list[str] = []
        self.known = [SECRET]
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        site = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                data = site.take(body, self.headers["X-Rtchat-Signature"])
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, body: bytes, signature: str) -> bytes:
        event = json.loads(body)
        self.secrets += [
            secret
            for secret in self.known
            if signature == "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
        ]
        self.events.append(event)
        return json.dumps(self.answers.get(event["event"], {})).encode()

    def told(self, session: str) -> list[str]:
        """Return what was asked and told about a session, as short words."""
        return [
            " ".join([event["event"], *([event["destination"]] if "destination" in event else [])])
            for event in self.events
            if event["session"] == session
        ]

    def until_told(self, session: str, last: str) -> list[str]:
        """Wait for an event of a session; return all of them so far."""
        until(f"{last!r}", lambda: last in self.told(session), 20, lambda: f"{self.events}")
        return self.told(session)


@pytest.fixture(scope="module")
def site() -> Iterator[AskedSite]:
    site = AskedSite()
    site.start()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, site: AskedSite) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hooks")
    (folder / "hook.secret").write_text(f"{SECRET}\n")
    hooks = f"[hooks]\nurl = http://127.0.0.1:{site.port}/hook\nsecret.file = hook.secret\n"
    with Server.on_free_ports(folder, hooks + RIGHTS) as started:
        yield started


@pytest.fixture(autouse=True)
def everyone_is_ada(site: AskedSite) -> None:
    site.answers = {"connect": {"user": "ada"}}


def test_a_killed_client_is_told_about_once_and_in_order(server: Server, site: AskedSite) -> None:
    frames = [
        frame_bytes("CONNECT", accept_version="1.2", host="x", note="killed"),
        frame_bytes("SUBSCRIBE", id="1", destination="/topic/a"),
        message_bytes("/topic/b", b"x"),
        frame_bytes("UNSUBSCRIBE", id="1"),
        frame_bytes("SUBSCRIBE", id="2", destination="/queue/c", receipt="last"),
    ]
    program = [sys.executable, "-I", "-S", "-c", CLIENT, str(server.stomp), b"".join(frames).hex()]
    with subprocess.Popen(
        program, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        client.kill()
    session = next(one["session"] for one in site.events if one.get("note") == "killed")
    expected = [
        "connect",
        "subscribe /topic/a",
        "send /topic/b",
        "unsubscribe /topic/a",
        "subscribe /queue/c",
        "unsubscribe /queue/c",
        "disconnect",
    ]
    assert site.until_told(session, "disconnect") == expected
    with Wire(server.stomp) as other:  # by the time that others are dealt with, no more has come
        other.connect()
        other.ask("SUBSCRIBE", id="1", destination="/topic/a")
        other.ask("DISCONNECT")
        site.until_told(site.events[-1]["session"], "disconnect")
    assert site.told(session) == expected
    assert len(site.secrets) == len(site.events), "a question was not signed"
    assert {event["username"] for event in site.events if event["event"] != "connect"} == {"ada"}


def test_the_site_refuses_rewrites_and_subscribes(server: Server, site: AskedSite) -> None:
    site.answers["connect"]["autosubscribe"] = ["/topic/own"]
    site.answers["send"] = {"body": "rewritten", "headers": {"note": "by the site"}}
    with Wire(server.stomp) as ada:
        assert ada.connect()["x-user"] == "ada"
        ada.publish("/topic/own", "as it was")
        message = ada.frame()
        assert (message.body, message["note"]) == (b"rewritten", "by the site")
        site.answers["subscribe"] = {"allow": "no"}
        ada.send(frame_bytes("SUBSCRIBE", id="1", destination="/topic/a", receipt="r"))
        [error] = ada.rest()
        assert error["message"].replace("\\c", ":") == "not allowed: read /topic/a"
        assert error["receipt-id"] == "r"
    site.answers["connect"] = {"allow": "no", "reason": "not today"}
    with Wire(server.stomp) as ada:
        ada.send(frame_bytes("CONNECT", accept_version="1.2", host="x"))
        assert [frame["message"] for frame in ada.rest()] == ["access refused"]
    server.until_logged("not today")


def test_a_new_secret_signs_after_sighup(server: Server, site: AskedSite) -> None:
    site.known.append("another secret, for the time after it")
    (server.folder / "hook.secret").write_text(site.known[-1])
    server.send_signal(SIGHUP)
    server.until_logged("rights and groups have been read again")
    with Wire(server.stomp) as ada:
        ada.connect()
    assert site.secrets[-1] == site.known[-1]


def test_a_site_that_is_down_refuses_and_health_and_log_say_so(
    server: Server, site: AskedSite
) -> None:
    with Wire(server.stomp) as ada:
        ada.connect()
        ada.subscribe("/topic/a", "1")
        session = site.events[-1]["session"]
        site.stop()
        ada.ask("UNSUBSCRIBE", id="1")
        with Wire(server.stomp) as bob:
            bob.send(frame_bytes("CONNECT", accept_version="1.2", host="x"))
            assert [frame["message"] for frame in bob.rest()] == ["access refused"]
        assert get(server.http, "/health")[0] == 503
        assert server.health()["checks"]["hooks"].startswith("down since ")
        server.until_logged(" is down: ")
        site.start()
        # What could not be told is told now, and nothing of it twice.
        assert site.until_told(session, "unsubscribe /topic/a")[-1] == "unsubscribe /topic/a"
        server.until_logged("answers again")
        assert get(server.http, "/health")[0] == 200
        ada.ask("DISCONNECT")
    assert site.until_told(session, "disconnect")[-3:] == [
        "subscribe /topic/a",
        "unsubscribe /topic/a",
        "disconnect",
    ]


DOOR = """
from pathlib import Path
from rtchat.hooks import Allow, Refuse

class Door:
    async def connect(self, visitor):
        if visitor.login == "boom":
            raise RuntimeError("the door is broken")
        return Allow(user=visitor.login) if visitor.password == "right" else Refuse("wrong")

    def send(self, visitor, message):
        return Allow(body=message.text.upper())

    async def disconnect(self, visitor):
        with Path("told").open("a") as told:
            told.write(f"{visitor.user or 'somebody'} has gone\\n")
"""


def test_a_class_beside_the_file_is_a_hook(tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text(DOOR)
    hooks = "[hooks]\npython = door:Door\non_failure = allow\n"
    server = Server.on_free_ports(tmp_path, f"{hooks}{RIGHTS}anonymous = read /topic/a\n")
    server.is_expected_to_complain = True
    with server, Wire(server.stomp) as ada:
        assert ada.connect(login="ada", passcode="right")["x-user"] == "ada"
        ada.subscribe("/topic/a")
        ada.publish("/topic/a", "loud")
        assert ada.frame().body == b"LOUD"
        with Wire(server.stomp) as eve:
            eve.send(frame_bytes("CONNECT", accept_version="1.2", login="eve", passcode="x"))
            assert [frame["message"] for frame in eve.rest()] == ["access refused"]
        with Wire(server.stomp) as guest:
            # It fails, and then those come in who may do so without a user.
            assert guest.connect(login="boom").get("x-user") is None
            assert get(server.http, "/health")[0] == 503
            guest.ask("DISCONNECT")
        server.until_logged("the door is broken")
        until("end of the guest", lambda: (tmp_path / "told").exists())
        server.send_signal(SIGTERM)
        assert ada.rest() == []
        ada.close()
        assert server.wait() == 0
    # Those who were there when the server stopped have gone, too.
    told = (tmp_path / "told").read_text().splitlines()
    assert told == ["somebody has gone", "ada has gone"]
