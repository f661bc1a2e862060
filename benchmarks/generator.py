"""The load generator: ``blast``, compiled from ``blast/*.c``, and what one run of it measured."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import HOST, BenchError, Server

__all__ = ["Blast", "Run", "raise_open_files"]

TIMEOUT_S = 120.0
# Bytes a subscriber may be behind; half of the server's default send backlog of 1 MiB.
MAX_BEHIND_BYTES = 512 * 1024
# A MESSAGE's command, headers and WebSocket header, roughly.
FRAME_OVERHEAD_BYTES = 200
_MAX_SAID = 400


@dataclass(frozen=True)
class Run:
    """What one run measured; ``benchmarks/blast/blast.c`` prints these.

    Attributes:
        messages: Messages that were published.
        copies: Copies that arrived.
        copies_due: Copies that should have.
        wall_s: From the first message to the last copy.
        server_cpu_s: What all processes of the server used in that time, user and system.
        generator_cpu_s: What the generator used.
        p50_ms: Half the copies were faster.
        p99_ms: 99 in 100 copies were faster.
        max_ms: The slowest.
        connections: How many were open.
        connect_s: How long opening them took.
        connect_cpu_s: What that cost the server.
        hold_s: How long they were idle.
        hold_cpu_s: What that cost the server.
        hold_generator_cpu_s: And the generator.
        rss_before_kb: The server's memory before the first connection.
        rss_connected_kb: With all of them, after the idle time.
        rss_end_kb: At the end.
    """

    messages: int
    copies: int
    copies_due: int
    wall_s: float
    server_cpu_s: float
    generator_cpu_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    connections: int
    connect_s: float
    connect_cpu_s: float
    hold_s: float
    hold_cpu_s: float
    hold_generator_cpu_s: float
    rss_before_kb: int
    rss_connected_kb: int
    rss_end_kb: int

    @property
    def per_cpu_s(self) -> float:
        """Copies for each second of the server's processor time."""
        return self.copies / max(self.server_cpu_s, 1e-9)

    @property
    def per_wall_s(self) -> float:
        """Copies for each second on the clock."""
        return self.copies / max(self.wall_s, 1e-9)

    @property
    def generator_share(self) -> float:
        """How much of one core the generator used."""
        return self.generator_cpu_s / max(self.wall_s, 1e-9)

    @property
    def server_share(self) -> float:
        """How much of one core the server used; more than 1 is more than one core."""
        return self.server_cpu_s / max(self.wall_s, 1e-9)


class Blast:
    """The compiled load generator.

    Args:
        directory: Where to put the program.

    Raises:
        BenchError: There is no C compiler, or it fails.
    """

    def __init__(self, directory: Path) -> None:
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise BenchError("a C compiler is needed for the load generator: install gcc or clang")
        self.program = directory / "blast"
        self._destinations = itertools.count(1)
        sources = sorted(Path(__file__).resolve().with_name("blast").glob("*.c"))
        command = [*compiler.split(), "-O2", "-o", str(self.program), *map(str, sources)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"compiling the load generator failed: {done.stderr.strip()}")

    def run(self, server: Server, wire: str, *, body: int = 100, **settings: float | str) -> Run:
        """Load the server once, on a destination that no run before has used.

        Args:
            server: Which; it is running.
            wire: Which of its wires.
            body: Bytes in a message.
            settings: More of ``blast``'s arguments; ``prefetch`` makes it a queue.

        Raises:
            BenchError: Not all copies arrived, or the server closed a connection.
        """
        way = server.wires[wire]
        prefix = way.queue if settings.get("prefetch") else way.topic
        arguments: dict[str, object] = {
            "body": body,
            "window": max(1, MAX_BEHIND_BYTES // (body + FRAME_OVERHEAD_BYTES)),
            "pids": ",".join(map(str, server.pids())),
            "destination": f"{prefix}bench{next(self._destinations)}",
            **way.settings,
            **settings,
        }
        command = [str(self.program), way.kind, HOST, str(way.port)]
        command += [f"{name}={value}" for name, value in arguments.items()]
        said = f"the server said:\n{server.last_words()}"
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"{' '.join(command)} took longer than {TIMEOUT_S:.0f} s\n{said}"
            ) from None
        if done.returncode:
            raise BenchError(f"{' '.join(command)} failed: {_printable(done.stderr)}\n{said}")
        return Run(**json.loads(done.stdout))


def _printable(text: str) -> str:
    """Give what a program said; it may quote a server's bytes."""
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return " ".join(shown.split())[:_MAX_SAID]


def raise_open_files() -> int:
    """Let this process and what it starts open as many files as they may; give how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
