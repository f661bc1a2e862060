"""The load generator: ``blast``, compiled from ``blast/*.c``, and the results of a run."""

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
# The largest lag of a subscriber in bytes: so little that no server slows or cuts anything.
MAX_BEHIND_BYTES = 512 * 1024
# The approximate size of a MESSAGE's command, headers and WebSocket header.
FRAME_OVERHEAD_BYTES = 200
_MAX_SAID = 400


@dataclass(frozen=True)
class Run:
    """The results of one run, as printed by ``benchmarks/blast/blast.c``.

    Attributes:
        messages: Messages that were published.
        copies: Copies that arrived.
        copies_due: Copies that should have arrived.
        wall_s: Time from the first message to the last copy.
        server_cpu_s: CPU time of all processes of the server in that time, user and system.
        generator_cpu_s: CPU time of the generator in that time.
        p50_ms: Median latency.
        p99_ms: 99th percentile of the latency.
        max_ms: Largest latency.
        connections: Number of open connections.
        connect_s: Time to open them.
        connect_cpu_s: CPU time of the server for that.
        hold_s: Time during which they were idle.
        hold_cpu_s: CPU time of the server in that time.
        hold_generator_cpu_s: CPU time of the generator in that time.
        rss_before_kb: Memory of the server before the first connection.
        rss_connected_kb: Memory of the server with all connections, after the idle time.
        rss_end_kb: Memory of the server at the end.
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
        """Copies per second of the server's CPU time."""
        return self.copies / max(self.server_cpu_s, 1e-9)

    @property
    def per_wall_s(self) -> float:
        """Copies per second of wall-clock time."""
        return self.copies / max(self.wall_s, 1e-9)

    @property
    def generator_share(self) -> float:
        """The share of one core that the generator used."""
        return self.generator_cpu_s / max(self.wall_s, 1e-9)

    @property
    def server_share(self) -> float:
        """The share of one core that the server used; may be more than 1."""
        return self.server_cpu_s / max(self.wall_s, 1e-9)


class Blast:
    """The compiled load generator.

    Args:
        directory: The folder for the program.

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
        """Load the server once, on a destination that no earlier run has used.

        Args:
            server: The running server.
            wire: The name of one of its wires.
            body: The size of a message's body in bytes.
            settings: Further arguments of ``blast``; with ``prefetch`` the destination is a queue.

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
    """Return a program's output as text; it may contain arbitrary bytes of a server."""
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return " ".join(shown.split())[:_MAX_SAID]


def raise_open_files() -> int:
    """Raise the limit on open files for this process and its children; return the limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
