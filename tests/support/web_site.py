"""A web application of a site: a process of its own, on a port of its own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.process import environment, until

__all__ = ["is_open", "run_command", "running_site"]

_START_S = 30.0


def is_open(port: int) -> bool:
    """Return whether something listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running_site(
    command: Sequence[str], folder: Path, port: int, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends.

    Args:
        command: The program and its arguments.
        folder: Where it runs; what it says goes to ``site.log`` there.
        port: Where it will listen; the block begins when it does.
        more: More for its environment.
    """
    said = folder / "site.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(**more), stdout=log, stderr=subprocess.STDOUT
        )

    def is_up() -> bool:
        assert process.poll() is None, said.read_text(encoding="utf-8")
        return is_open(port)

    try:
        until("page of the site", is_up, _START_S, lambda: said.read_text(encoding="utf-8"))
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_command(command: Sequence[str], folder: Path) -> None:
    """Run a command of a site to its end, which has to be a success."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
