"""The command ``rtchat``: what a shell sends and shows, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.process import Server, environment, free_port, until
from support.wire import Wire

from rtchat import __version__

pytestmark = [pytest.mark.live]

COMMAND = Path(sys.executable).with_name("rtchat")
WITHIN_S = 20


def run(*words: str, typed: bytes = b"") -> tuple[int, bytes, str]:
    """Run the command to its end; return exit code, output, and what it says to people."""
    done = subprocess.run(
        [str(COMMAND), *words],
        input=typed,
        capture_output=True,
        env=environment(),
        timeout=WITHIN_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr.decode()


@contextmanager
def listening(server: Server, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``rtchat listen`` and wait until it has subscribed."""
    before = server.health()["subscriptions"]
    with subprocess.Popen(
        [str(COMMAND), "--port", str(server.stomp), "listen", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        # A shell that runs the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            until(
                "subscription",
                lambda: process.poll() is not None or server.health()["subscriptions"] > before,
            )
            yield process
        finally:
            process.kill()


def test_version_says_the_version() -> None:
    assert run("--version") == (0, f"rtchat {__version__}\n".encode(), "")


@pytest.mark.parametrize("words", [(), ("send",), ("send", "/topic/a"), ("shout", "/topic/a")])
def test_what_it_does_not_understand_is_said_with_its_usage(words: tuple[str, ...]) -> None:
    code, shown, said = run(*words)
    assert (code, shown) == (2, b"")
    assert said.startswith("usage: rtchat ")


def test_a_message_from_the_command_line_and_one_from_standard_input(server: Server) -> None:
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.subscribe("/topic/command")
        port = ("--port", str(server.stomp))
        assert run(*port, "send", "/topic/command", "grüße") == (0, b"", "")
        assert wire.frame().body == "grüße".encode()
        assert run(*port, "send", "/topic/command", "-", typed=b"a\0b\n") == (0, b"", "")
        assert wire.frame().body == b"a\0b\n"


def test_so_many_messages_are_shown_and_then_it_ends(server: Server) -> None:
    with listening(server, "/topic/shown", "--count", "2") as process, Wire(server.stomp) as wire:
        wire.connect()
        for body in ("one", "grüße"):
            wire.publish("/topic/shown", body)
        shown, said = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, shown.decode(), said) == (0, "one\ngrüße\n", b"")


def test_ctrl_c_ends_listening(server: Server) -> None:
    with listening(server, "/topic/shown") as process, Wire(server.stomp) as wire:
        wire.connect()
        wire.publish("/topic/shown", "one")
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=WITHIN_S)


def test_a_server_that_stops_ends_listening_with_a_sentence(tmp_path: Path) -> None:
    with (
        Server.on_free_ports(tmp_path) as server,
        listening(server, "/topic/shown") as process,
    ):
        server.stop()
        _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 1
    assert said.startswith(f"rtchat: 127.0.0.1:{server.stomp}: ".encode())
    assert b"the server closed the connection" in said
    assert len(said.splitlines()) == 1


def test_a_server_that_is_not_there_is_said_in_a_sentence() -> None:
    port = free_port()
    code, shown, said = run("--port", str(port), "send", "/topic/a", "x")
    assert (code, shown) == (1, b"")
    assert said.startswith(f"rtchat: cannot connect to 127.0.0.1:{port}: ")
    assert len(said.splitlines()) == 1


def test_what_the_server_refuses_is_said_in_its_words(server: Server) -> None:
    code, shown, said = run("--port", str(server.stomp), "send", "/presence/topic/chat", "x")
    assert (code, shown) == (1, b"")
    assert said.startswith(f"rtchat: 127.0.0.1:{server.stomp}: ")
    assert len(said.splitlines()) == 1
