"""Servers to measure, started on free loopback ports; and rtchat as one of them.

Each runs in its own temporary directory and leaves no files behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from typing_extensions import Self, override

from rtchat import __version__

__all__ = [
    "HOST",
    "STOP_TIMEOUT_S",
    "BenchError",
    "Rtchat",
    "Server",
    "Wire",
    "find_program",
    "free_ports",
]

HOST = "127.0.0.1"
STOP_TIMEOUT_S = 15.0
_POLL_S = 0.005
# Debian keeps servers where only root's PATH has them.
_MORE_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/rabbitmq/bin")


class BenchError(Exception):
    """The benchmark cannot continue; the text says why and what to do."""


@dataclass(frozen=True)
class Wire:
    """A protocol and port of a server.

    Attributes:
        kind: Its name for ``blast``: ``tcp``, ``ws``, ``nats`` or ``mqtt``.
        port: The port.
        settings: Further arguments of ``blast``: path, login, …
        topic: The prefix of topics.
        queue: The prefix of queues, or "" if the server has none.
    """

    kind: str
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    topic: str = "/topic/"
    queue: str = ""


def free_ports(count: int) -> list[int]:
    """Return free loopback ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def find_program(name: str) -> str | None:
    """Return a program's path: from PATH, Debian's folders of servers, or beside this Python."""
    places = [os.environ.get("PATH", os.defpath), *_MORE_PLACES, str(Path(sys.executable).parent)]
    return shutil.which(name, path=os.pathsep.join(places))


class Server(ABC):
    """A server that is started for the benchmark, as a context manager.

    Args:
        directory: The folder of its files; it is created.

    Attributes:
        wires: Its wires, by name.
        started_s: The time from its start until all its ports were open.
        started_cpu_s: The CPU time of its first process in that time.
    """

    name: str
    """Its name in tables."""
    program: str
    """The program or package that has to be installed."""
    remedy: str
    """How to install it."""
    start_timeout_s = 90.0

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.log_path = directory / "server.log"
        self.wires: dict[str, Wire] = {}
        self.started_s = 0.0
        self.started_cpu_s = 0.0
        self.process: subprocess.Popen[bytes]
        self.prepare()

    @classmethod
    def find(cls) -> str | None:
        """Return the program's path, or None when it is not installed."""
        return find_program(cls.program)

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the installed version."""

    @abstractmethod
    def prepare(self) -> None:
        """Write its configuration and fill ``wires``."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command line."""

    def environment(self) -> Mapping[str, str]:
        """Return additional environment variables."""
        return {}

    def __enter__(self) -> Self:
        start = time.monotonic()
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C does not reach it, and killpg stops its children.
                start_new_session=True,
            )
        try:
            for wire in self.wires.values():
                self._wait_for(wire.port, start + self.start_timeout_s)
        except BaseException:
            self.stop()
            raise
        self.started_s = time.monotonic() - start
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        self.started_cpu_s = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the server and all its descendants."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def pids(self) -> list[int]:
        """Return the process and all its descendants, itself first."""
        parents: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    stat = (entry / "stat").read_text()
                    parent = int(stat.rpartition(")")[2].split()[1])
                    parents.setdefault(parent, []).append(int(entry.name))
        tree = [self.process.pid]
        for pid in tree:
            tree.extend(parents.get(pid, []))
        return tree

    def last_words(self) -> str:
        """Return the end of the server's log."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def _wait_for(self, port: int, deadline: float) -> None:
        while True:
            if self.process.poll() is not None:
                raise BenchError(f"{self.name} did not start; it said:\n{self.last_words()}")
            try:
                socket.create_connection((HOST, port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise BenchError(
                        f"{self.name} did not open port {port} within "
                        f"{self.start_timeout_s:.0f} s; it said:\n{self.last_words()}"
                    ) from None
                time.sleep(_POLL_S)
            else:
                return


class Rtchat(Server):
    """``twistd -n rtchat`` of this source tree, with the current Python.

    Args:
        directory: The folder of its files.
        extra: Further lines of chat.ini.
    """

    name = "rtchat"
    program = "twistd"
    remedy = "make bench-peers installs what it needs into .venv"
    start_timeout_s = 20.0

    def __init__(self, directory: Path, extra: str = "") -> None:
        self.extra = extra
        super().__init__(directory)

    @classmethod
    @override
    def find(cls) -> str | None:
        return sys.executable

    @classmethod
    @override
    def version(cls) -> str:
        return __version__

    @override
    def environment(self) -> Mapping[str, str]:
        # Run this source tree, not an installed version, and compiled like an installation.
        source = str(Path(__file__).resolve().parent.parent)
        return {"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": ""}

    @override
    def prepare(self) -> None:
        http_port, stomp_port = free_ports(2)
        (self.directory / "chat.ini").write_text(
            f"[listen]\nhttp://{HOST}:{http_port}\nstomp://{HOST}:{stomp_port}\n"
            f"[access]\nself -> {HOST}:{stomp_port}\n"
            f"[broker]\nconnections.per_source = 0\n{self.extra}",
            encoding="utf-8",
        )
        self.wires = {
            "tcp": Wire("tcp", stomp_port, queue="/queue/"),
            "ws": Wire("ws", http_port, queue="/queue/"),
        }

    @override
    def command(self) -> Sequence[str]:
        start = "from twisted.scripts.twistd import run; run()"
        options = ["-n", "--pidfile=", "rtchat", "--config", "chat.ini"]
        return [sys.executable, "-c", start, *options]
