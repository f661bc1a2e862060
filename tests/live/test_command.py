"""The command ``rtchat``: what a shell sends and shows, and how it ends."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.process import Server, environment, free_port, until
from support.wire import Wire

from rtchat import __version__

pytestmark = [pytest.mark.live]

COMMAND = Path(sys.executable).with_name("rtchat")
WITHIN_S = 20


def run(*words: str | bytes, typed: bytes = b"") -> tuple[int, bytes, str]:
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
def listening(
    server: Server, *words: str, before: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``rtchat listen`` and wait until it has subscribed."""
    count = server.health()["subscriptions"]
    with subprocess.Popen(
        [str(COMMAND), "--port", str(server.stomp), *before, "listen", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        # A shell that runs the tests in the background lets its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            until(
                "subscription",
                lambda: process.poll() is not None or server.health()["subscriptions"] > count,
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
        _, said = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, said) == (0, b"")


def test_a_server_that_stops_ends_listening_with_a_sentence(tmp_path: Path) -> None:
    with (
        Server.on_free_ports(tmp_path) as server,
        listening(server, "/topic/shown") as process,
    ):
        server.stop()
        _, said = process.communicate(timeout=WITHIN_S)
    assert_says(server, process.returncode, said)
    assert b"the server closed the connection" in said


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_vanishes_ends_listening_with_a_sentence(
    tmp_path: Path, number: signal.Signals
) -> None:
    server = Server.on_free_ports(tmp_path).start()
    try:
        with listening(server, "/topic/shown", before=("--timeout", "4")) as process:
            server.send_signal(number)
            _, said = process.communicate(timeout=WITHIN_S)
        assert_says(server, process.returncode, said)
        if number == signal.SIGSTOP:
            assert said.endswith(b"the server has sent nothing for 4 seconds\n")
    finally:
        server.kill()


def assert_says(server: Server, code: int, said: bytes) -> None:
    """Check that one sentence names the server."""
    assert code == 1
    assert said.startswith(f"rtchat: 127.0.0.1:{server.stomp}: ".encode())
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


# Queues


def fill(server: Server, queue: str, *bodies: str) -> None:
    """Put messages into a queue."""
    with Wire(server.stomp) as wire:
        wire.connect()
        for body in bodies:
            wire.publish(queue, body)
        wire.send("DISCONNECT\nreceipt:filled\n\n\0")
        assert wire.frame().command == "RECEIPT"


def rest(server: Server, queue: str, count: int) -> list[tuple[bytes, bool]]:
    """Take messages from a queue; return the bodies and whether they were delivered before."""
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.send(f"SUBSCRIBE\nid:rest\ndestination:{queue}\n\n\0")
        frames = [wire.frame() for _ in range(count)]
    return [(frame.body, "redelivered" in frame.headers) for frame in frames]


def test_counted_messages_of_a_queue_are_taken_and_the_rest_stays(server: Server) -> None:
    fill(server, "/queue/counted", *"abcde")
    port = ("--port", str(server.stomp))
    assert run(*port, "listen", "--count", "2", "/queue/counted") == (0, b"a\nb\n", "")
    assert run(*port, "listen", "--count", "1", "/queue/counted") == (0, b"c\n", "")
    assert rest(server, "/queue/counted", 2) == [(b"d", False), (b"e", False)]


def test_a_message_that_could_not_be_printed_stays_in_the_queue(server: Server) -> None:
    fill(server, "/queue/full-disk", "a", "b")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [COMMAND, "--port", str(server.stomp), "listen", "--count", "2", "/queue/full-disk"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=WITHIN_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        b"rtchat: standard output cannot be written: No space left on device\n",
    )
    assert rest(server, "/queue/full-disk", 2) == [(b"a", True), (b"b", False)]


# What a shell may do


@pytest.mark.parametrize("port", ["0", "65536", "86537", "-1", "x", "\uff11"])
def test_a_port_that_does_not_exist_is_refused(port: str) -> None:
    code, shown, said = run(f"--port={port}", "send", "/topic/a", "x")
    assert (code, shown) == (2, b"")
    assert said.endswith(" is not a port; use a number from 1 to 65535\n")


@pytest.mark.parametrize(
    "words",
    [
        ("--timeout", "0", "send", "/topic/a", "x"),
        ("--timeout", "nan", "send", "/topic/a", "x"),
        ("listen", "/topic/a", "--count", "0"),
        ("listen", "/topic/a", "--count", "-1"),
        ("send", b"/topic/\xff", "x"),
        ("--login", b"\xff", "send", "/topic/a", "x"),
    ],
)
def test_values_that_cannot_be_used_are_refused(words: tuple[str | bytes, ...]) -> None:
    code, shown, said = run(*words)
    assert (code, shown) == (2, b"")
    assert said.startswith("usage: rtchat ")
    assert "Traceback" not in said


def test_bytes_that_are_not_utf8_are_sent_as_they_are(server: Server) -> None:
    port = ("--port", str(server.stomp))
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.subscribe("/topic/bytes")
        assert run(*port, "send", "/topic/bytes", b"gr\xfc\xdfe") == (0, b"", "")
        frame = wire.frame()
        assert frame.body == b"gr\xfc\xdfe"
        assert "content-type" not in frame.headers


def test_bytes_that_are_not_utf8_go_to_a_pipe_as_they_are(server: Server) -> None:
    fill(server, "/queue/bytes", "x")
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.send(b"SEND\ndestination:/queue/bytes\ncontent-length:2\n\n\xff\x1b\0")
        words = ("--port", str(server.stomp), "listen", "--count", "2", "/queue/bytes")
        assert run(*words) == (0, b"x\n\xff\x1b\n", "")


def test_a_terminal_is_shown_text_that_cannot_control_it(server: Server) -> None:
    primary, secondary = pty.openpty()
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.send(b"SEND\ndestination:/queue/shown\n\ngr\xc3\xbc\xc3\x9fe \xff\x1b[2J\tb\0")
        done = subprocess.run(
            [COMMAND, "--port", str(server.stomp), "listen", "--count", "1", "/queue/shown"],
            stdout=secondary,
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=WITHIN_S,
            check=False,
        )
    os.close(secondary)
    shown = os.read(primary, 4096)
    os.close(primary)
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.decode().expandtabs(1).split() == ["grüße", "\ufffd\ufffd[2J", "b"]


def shell(script: str, server: Server) -> tuple[int, str]:
    """Run a script in which RTCHAT is the command; return the exit code and all that is said."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(RTCHAT=f"{COMMAND} --port {server.stomp}"),
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "script, code, said",
    [
        ("$RTCHAT send /topic/a - <&-", 1, "rtchat: standard input is closed; there is no "),
        ("$RTCHAT listen /topic/a >&-", 1, "rtchat: standard output is closed; there is no"),
        ("$RTCHAT send /topic/a - <&- 2>&-", 1, ""),
        ("$RTCHAT shout 2>&-", 2, ""),
        ("$RTCHAT --help | true", 0, ""),
        ("$RTCHAT listen /queue/piped | head -n 1", 141, "a\n"),
        ("$RTCHAT listen /topic/silent | true", 141, ""),
    ],
)
def test_closed_files_end_the_command_without_a_traceback(
    server: Server, script: str, code: int, said: str
) -> None:
    fill(server, "/queue/piped", "a")
    got = shell(script, server)
    assert (got[0], got[1][: len(said)] if said else got[1]) == (code, said), got
    assert len(got[1].splitlines()) <= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_is_done_is_told_by_the_exit_code(
    server: Server, number: signal.Signals
) -> None:
    with listening(server, "/topic/shown", "--count", "1") as process:
        process.send_signal(number)
        shown, said = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, shown, said) == (128 + number, b"", b"")


def test_ctrl_c_while_standard_input_is_read_is_no_traceback(server: Server) -> None:
    with subprocess.Popen(
        [COMMAND, "--port", str(server.stomp), "send", "/topic/a", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        stack = Path(f"/proc/{process.pid}/syscall")
        until("wait for input", lambda: stack.read_text().startswith("0 0x0 "))
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, shown, said) == (130, b"", b"")


# Servers that do not answer


@pytest.mark.parametrize("answers", [b"", b"CONNECTED\nversion:1.1\n\n\0"])
@pytest.mark.parametrize("words", [("send", "/topic/a", "x"), ("listen", "/topic/a")])
def test_a_server_that_does_not_answer_is_a_time_out(
    answers: bytes, words: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with subprocess.Popen(
            [COMMAND, "--port", str(port), "--timeout", "1", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as process:
            client, _ = listener.accept()
            with client:
                client.sendall(answers)
                shown, said = process.communicate(timeout=WITHIN_S)
    what = f"{'the message' if words[0] == 'send' else 'SUBSCRIBE'}" if answers else "CONNECT"
    assert (process.returncode, shown) == (1, b"")
    assert said.startswith(
        f"rtchat: 127.0.0.1:{port}: no answer within 1 seconds to {what}".encode()
    )
    assert len(said.splitlines()) == 1
