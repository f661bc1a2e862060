"""The command ``rtchat passwd`` in this process: what it refuses, and what it says.

On terminals and in shells it is tried in ``tests/live/test_passwd.py``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rtchat.cli import main
from rtchat.net.auth.hashes import Scrypt
from rtchat.net.auth.password_file import PasswordFile

HASH = Scrypt.of("x", ln=4, r=1, p=1).text

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command; return the exit code, the output, and what it says to people."""

    def run_it(*words: object, typed: bytes = b"") -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
        code: object = 0
        try:
            main(["passwd", *map(str, words)])
        except SystemExit as end:
            code = end.code
        shown, said = capfd.readouterr()
        return code, shown, said

    monkeypatch.setattr("rtchat.passwd.hash_password", _quick)
    return run_it


def _quick(password: str) -> str:
    return Scrypt.of(password, ln=4, r=1, p=1).text


def is_password(path: Path, name: str, password: str) -> bool:
    """Return whether this is the password of a user of a file."""
    found = PasswordFile(path).hash_of(name)
    return found is not None and found.verify(password)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\nmore\n"])
def test_the_end_of_the_line_is_no_part_of_the_password(path: Path, run: Run, end: str) -> None:
    run(path, "jörg", typed=f" grüße {end}".encode())
    assert is_password(path, "jörg", " grüße ")


def test_the_longest_password(path: Path, run: Run) -> None:
    run(path, "ada", typed=b"x" * 1024 + b"\r\n")
    assert is_password(path, "ada", "x" * 1024)


@pytest.mark.parametrize(
    "typed, said",
    [
        (b"", "the password is empty"),
        (b"\n", "the password is empty"),
        (b"a\tb\n", "the password has control characters"),
        (b"a\0b\n", "the password has control characters"),
        (b"\xff\n", "the password is not UTF-8"),
        (b"x" * 1025 + b"\n", "the password is longer than 1024 bytes"),
        (b"x" * 100_000, "the password is longer than 1024 bytes"),
    ],
)
def test_what_is_no_password_changes_nothing(path: Path, run: Run, typed: bytes, said: str) -> None:
    assert run(path, "ada", typed=typed) == (f"rtchat: {said}; nothing was changed", "", "")
    assert not path.exists()


def test_an_input_that_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/proc/self/mem", encoding="utf-8") as unreadable:  # nothing is at its beginning
        monkeypatch.setattr(sys, "stdin", unreadable)
        with pytest.raises(SystemExit, match="standard input cannot be read: Input/output error"):
            main(["passwd", str(path), "ada"])
    assert not path.exists()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("users",),
        ("users", ""),
        ("users", "a:b"),
        ("users", "#a"),
        ("users", "@staff"),
        ("users", "anonymous"),
        ("users", " a"),
        ("users", "\udcff"),
        ("users", "x" * 129),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    words: tuple[str, ...], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, shown, said = run(*words, typed=b"one\n")
    assert (code, shown) == (2, "")
    assert said.startswith("usage: rtchat passwd ")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_user_cannot_be_removed(path: Path, run: Run) -> None:
    path.write_text(f"ada:{HASH}\n", encoding="utf-8")
    said = f"rtchat: {path}: there is no user grace; nothing was changed"
    assert run(path, "grace", "--delete") == (said, "", "")


def test_a_user_of_a_missing_file_cannot_be_removed(path: Path, run: Run) -> None:
    code, shown, _ = run(path, "ada", "--delete")
    assert str(code).startswith(f"rtchat: {path}: there is no such file")
    assert shown == ""
    assert not path.exists()


def test_what_the_server_could_not_read_is_said(path: Path, run: Run) -> None:
    path.write_text("ada:$apr1$x$y\n", encoding="utf-8")
    path.chmod(0o600)
    code, shown, said = run(path, "grace", typed=b"two\n")
    assert (code, shown) == (0, f"{path}: grace was added\n")
    assert said.startswith(f"rtchat: {path}:1: this is an MD5 hash of htpasswd -m")


def test_a_file_that_everyone_may_read_is_said(path: Path, run: Run) -> None:
    path.touch()
    path.chmod(0o644)
    code, _, said = run(path, "grace", typed=b"two\n")
    assert code == 0
    assert said.startswith(f"rtchat: {path}: every user of this machine may read")
