"""Which processes are servers of Twisted's, and who we are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.process import until

from rtchat.server.process import is_server


@contextmanager
def process(name: str, *words: str) -> Iterator[int]:
    """Run a program that waits, under this name and with these words."""
    with subprocess.Popen(
        [name, "-c", "read line", *words], executable="/bin/sh", stdin=subprocess.PIPE
    ) as running:
        until("command line", Path(f"/proc/{running.pid}/cmdline").read_bytes)
        yield running.pid  # leaving closes its input, at which it ends


@pytest.mark.parametrize(
    "name, words",
    [
        ("python3", ["twistd", "-n", "rtchat"]),
        ("/usr/bin/python3", ["-m", "twisted"]),
        ("pypy3", ["/usr/bin/twist", "web"]),
        ("twistd", []),
    ],
)
def test_a_server_is_known_by_its_command(name: str, words: list[str]) -> None:
    with process(name, *words) as pid:
        assert is_server(pid)


@pytest.mark.parametrize(
    "name, words", [("sleep", []), ("sh", ["-c", "exec twistd -n rtchat"]), ("python3", ["serve"])]
)
def test_other_programs_are_none(name: str, words: list[str]) -> None:
    with process(name, *words) as pid:
        assert not is_server(pid)


def test_this_process_is_no_other_server() -> None:
    assert not is_server(os.getpid())


@pytest.mark.parametrize("pid", [4_194_305, 9_999_999_999])
def test_a_number_without_a_process_is_no_server(pid: int) -> None:
    assert not is_server(pid)
