"""The command ``rtchat passwd``: what it asks, what it writes, and how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.needs import require
from support.process import environment, until

from rtchat.net.auth.password_file import PasswordFile

pytestmark = [pytest.mark.live]

COMMAND = Path(sys.executable).with_name("rtchat")
WITHIN_S = 30
HASH = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
FIRST, SECOND = "New password of ada: ", "The same again: "


def run(*words: str | bytes | Path, typed: bytes = b"") -> tuple[int, str, str]:
    """Run the command to its end; return exit code, output, and what it says to people."""
    done = subprocess.run(
        [COMMAND, "passwd", *words],
        input=typed,
        capture_output=True,
        env=environment(),
        timeout=WITHIN_S,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def is_password(path: Path, name: str, password: str) -> bool:
    """Return whether this is the password of a user of a file."""
    found = PasswordFile(path).hash_of(name)
    return found is not None and found.verify(password)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


class TestAPipe:
    def test_its_first_line_is_the_password(self, path: Path) -> None:
        assert run(path, "ada", typed=b"open sesame\nmore\n") == (0, f"{path}: ada was added\n", "")
        assert is_password(path, "ada", "open sesame")
        assert path.stat().st_mode & 0o777 == 0o600
        assert "open sesame" not in path.read_text(encoding="utf-8")

    def test_a_second_one_takes_the_place_of_the_first(self, path: Path) -> None:
        run(path, "ada", typed=b"one\n")
        run(path, "grace", typed=b"two\n")
        shown = f"{path}: ada has a new password\n"
        assert run(path, "ada", typed=b"three\n") == (0, shown, "")
        assert is_password(path, "ada", "three")
        assert is_password(path, "grace", "two")

    def test_a_closed_one(self, path: Path) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{COMMAND} passwd {path} ada <&-"],
            capture_output=True,
            env=environment(),
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith(b"rtchat: standard input is closed; there is no password;")


class Terminal:
    """The command on a terminal of its own."""

    def __init__(self, *words: str | Path) -> None:
        self.primary, secondary = pty.openpty()
        self.secondary = secondary

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        self.process = subprocess.Popen(
            [COMMAND, "passwd", *words],
            stdin=secondary,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        self.shown = ""

    def answer(self, prompt: str, line: str) -> None:
        """Wait for a prompt, and type a line."""
        deadline_s = time.monotonic() + WITHIN_S
        while not self.shown.endswith(prompt):
            assert time.monotonic() < deadline_s, self.shown
            if select.select([self.primary], [], [], 0.1)[0]:
                self.shown += os.read(self.primary, 4096).decode()
        os.write(self.primary, line.encode())

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return what :func:`run` does."""
        out, said = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, out.decode(), said.decode()

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.secondary)[3] & termios.ECHO)


@contextmanager
def terminal(*words: str | Path) -> Iterator[Terminal]:
    one = Terminal(*words)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate()
        os.close(one.primary)
        os.close(one.secondary)


class TestATerminal:
    def test_is_asked_twice_and_shows_nothing(self, path: Path) -> None:
        with terminal(path, "ada") as one:
            one.answer(FIRST, "grüße\n")
            one.answer(SECOND, "grüße\n")
            assert one.end() == (0, f"{path}: ada was added\n", "")
            assert one.echoes
        assert "grüße" not in one.shown
        assert is_password(path, "ada", "grüße")

    def test_two_different_answers_change_nothing(self, path: Path) -> None:
        with terminal(path, "ada") as one:
            one.answer(FIRST, "one\n")
            one.answer(SECOND, "two\n")
            said = "rtchat: the two are different; nothing was changed\n"
            assert one.end() == (1, "", said)
        assert not path.exists()

    def test_an_empty_answer_is_not_asked_for_again(self, path: Path) -> None:
        with terminal(path, "ada") as one:
            one.answer(FIRST, "\n")
            assert one.end() == (1, "", "rtchat: the password is empty; nothing was changed\n")

    def test_ctrl_d_is_no_password(self, path: Path) -> None:
        with terminal(path, "ada") as one:
            one.answer(FIRST, "\x04")
            assert one.end() == (1, "", "rtchat: there is no password; nothing was changed\n")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_leaves_the_terminal_as_it_was(
        self, path: Path, number: signal.Signals
    ) -> None:
        with terminal(path, "ada") as one:
            one.answer(FIRST, "")
            until("echo off", lambda: not one.echoes)
            one.process.send_signal(number)
            assert one.end() == (128 + number, "", "")
            assert one.echoes
        assert not path.exists()


class TestDelete:
    def test_a_user_is_removed(self, path: Path) -> None:
        path.write_text(f"ada:{HASH}\ngrace:{HASH}\n", encoding="utf-8")
        path.chmod(0o600)
        assert run(path, "ada", "--delete") == (0, f"{path}: ada was removed\n", "")
        assert list(PasswordFile(path).names) == ["grace"]


class TestFiles:
    def test_a_file_of_htpasswd_is_continued(self, path: Path) -> None:
        program = require("htpasswd")
        subprocess.run(
            [program, "-cbB", path, "ada", "one"], check=True, capture_output=True, timeout=WITHIN_S
        )
        path.chmod(0o640)
        assert run(path, "grace", typed=b"two\n")[0] == 0
        assert is_password(path, "ada", "one")
        assert is_password(path, "grace", "two")
        assert path.stat().st_mode & 0o777 == 0o640

    def test_a_folder_that_is_not_there(self, path: Path) -> None:
        code, shown, said = run(path / "users", "ada", typed=b"one\n")
        assert (code, shown) == (1, "")
        assert said.startswith(f"rtchat: {path}/users: its folder cannot be opened")
        assert len(said.splitlines()) == 1


def test_nothing_of_the_client_s_work_loads_it() -> None:
    program = (
        "import sys, rtchat.cli\n"
        "rtchat.cli._parse(['send', '/topic/a', 'x'])\n"
        "assert not {'rtchat.passwd', 'rtchat.net.auth'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=WITHIN_S)
