"""Starts servers from a process that has loaded Twisted and this project already.

A start loads seven hundred modules, which is nine tenths of its work, and tests start hundreds of
servers. Those that are called in the usual way are copies (``fork``) of one process, which has
loaded the modules and done nothing else: no reactor, no thread, no open file. A copy then runs the
``twistd`` script as Python would, in its own folder, with its own environment and log.

Servers that are started in another way, as those of the tests of starts and the attacks are, load
everything themselves. A copy begins with less memory of its own, so only growth can be measured.

As a program it reads orders, one line of JSON each, and tells of each copy's process and end.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["Copy", "Process", "start"]


class Copy:
    """A process that was copied; it is asked and ended like a :class:`subprocess.Popen`.

    Attributes:
        pid: The process.
        returncode: How it ended, or None; a negative number is that of the signal.
    """

    def __init__(self, source: _Source, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._source = source

    def poll(self) -> int | None:
        """Return how it ended, or None if it runs."""
        return self._ask(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return how it ended.

        Raises:
            subprocess.TimeoutExpired: It runs on.
        """
        code = self._ask(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a copied twistd", timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _ask(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self.returncode = self._source.end_of(self.pid, timeout)
        return self.returncode


Process: TypeAlias = "subprocess.Popen[bytes] | Copy"
"""A process that was started, in either way."""


class _Source:
    """The process that is copied, as its worker sees it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._ends: dict[int, int] = {}
        self._reading = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        atexit.register(self._process.communicate)

    def start(self, order: dict[str, Any]) -> Copy:
        """Have a copy made; return it."""
        assert self._process.stdin is not None
        with self._reading:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            while "pid" not in (told := self._told()):
                pass
        return Copy(self, told["pid"])

    def end_of(self, pid: int, timeout: float | None) -> int | None:
        """Return how a copy ended, or None if it has not by then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._reading:
                while pid not in self._ends and self._has_told(0):
                    self._told()
                if pid in self._ends:
                    return self._ends[pid]
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            self._has_told(left)

    def _has_told(self, within_s: float | None) -> bool:
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], within_s)[0])

    def _told(self) -> dict[str, int]:
        """Wait for one line, and keep what it tells of an end."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that servers are copied from has ended"
        told: dict[str, int] = json.loads(line)
        if "ended" in told:
            self._ends[told["ended"]] = told["code"]
        return told


@functools.cache
def _source(path: str) -> _Source:
    return _Source({**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"})


def start(
    command: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    log: Path,
    *,
    is_usual: bool,
) -> Process:
    """Start a program; what it says goes to the end of a file.

    Args:
        command: The program and its arguments.
        folder: Where it runs.
        environment: All of it; ``PYTHONPATH`` says which project is loaded.
        log: The file, which is made if need be.
        is_usual: Whether it is a ``twistd rtchat`` of this environment, which may be a copy. No
            copies are made by ``make coverage``, which measures from the first line on.
    """
    if is_usual and not any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
        order = {"command": list(command), "folder": str(folder), "log": str(log)}
        return _source(environment["PYTHONPATH"]).start({**order, "environment": environment})
    with log.open("ab") as said:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )


# ---------------------------------------------------------------- the process itself


def _load() -> None:
    """Load what a server loads; neither a reactor nor a thread may begin."""
    import twisted.internet.default  # noqa: F401
    from twisted.application.service import IServiceMaker
    from twisted.plugin import getPlugins
    from twisted.scripts import twistd  # noqa: F401

    [maker] = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "rtchat"]
    assert maker.options is not None, "this loads the server"
    assert "twisted.internet.reactor" not in sys.modules
    assert threading.active_count() == 1


def _serve() -> None:
    waking, woken = os.pipe()
    for end in (waking, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _load()
    while True:
        ready, _, _ = select.select([0, waking], [], [])
        if waking in ready:
            os.read(waking, 4096)
            _tell_ends()
        if 0 in ready:
            line = _line()
            if not line:
                return
            pid = os.fork()
            if pid == 0:
                _become(json.loads(line))
                return
            _tell(pid=pid)


def _become(order: dict[str, Any]) -> None:
    """Run the command in this process, which is a copy."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["folder"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number, target in enumerate((nothing, log, log)):
        os.dup2(target, number)
    os.closerange(3, 64)
    sys.argv = order["command"]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _line() -> bytes:
    """Return one order, b"" when there will be none."""
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(0, 65536)  # there is no second order before the first is answered
        if not data:
            return b""
        line += data
    return line


def _tell_ends() -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(ended=ended[0], code=os.waitstatus_to_exitcode(ended[1]))


def _tell(**what: int) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    sys.path[0] = str(Path(sys.executable).parent)  # as that of the twistd script
    _serve()
