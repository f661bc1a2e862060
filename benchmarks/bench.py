"""Measures one real server on this machine and prints one table.

Starts ``twistd -n rtchat`` on free loopback ports, loads it with ``blast`` (compiled here from
``blast.c``), reads the server's processor time and memory from ``/proc``, and stops it again.
``benchmarks/README.md`` says how to read the table. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

__all__ = ["Load", "Memory", "Row", "main"]

Number = TypeVar("Number", int, float)

HOST = "127.0.0.1"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
BLAST_TIMEOUT_S = 120.0
# Connecting this many first loads what the server imports late, so that it is not counted.
WARM_UP_CONNECTIONS = 50
# Bytes a subscriber may be behind; half of the server's default send backlog of 1 MiB.
MAX_BEHIND_BYTES = 512 * 1024
# A MESSAGE's command, headers and WebSocket header, roughly.
FRAME_OVERHEAD_BYTES = 200


class BenchError(Exception):
    """The benchmark cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Load:
    """Messages through the broker.

    Attributes:
        name: The row's title.
        wire: ``tcp`` or ``ws``.
        subscribers: How many receive each message.
        rate: Messages a second, or 0 for as many as the server takes.
        history: ``on`` for a destination of which messages are kept, ``beside`` for another one of
            a server that keeps some, ``off`` for a server that keeps nothing.
    """

    name: str
    wire: str
    subscribers: int
    rate: float = 0.0
    history: str = "off"


@dataclass(frozen=True)
class Memory:
    """Idle connections, each logged in and subscribed.

    Attributes:
        name: The row's title.
        wire: ``tcp`` or ``ws``.
        connections: How many are open at once.
    """

    name: str
    wire: str
    connections: int


@dataclass(frozen=True)
class Row:
    """What one line of the table says; a figure that was not measured is None."""

    name: str
    per_cpu_s: float | None = None
    per_wall_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    kb_per_connection: float | None = None
    generator_cpu_percent: float | None = None


PLAN: tuple[Load | Memory, ...] = (
    Memory("idle STOMP over TCP, 1000 connections", "tcp", 1000),
    Memory("idle STOMP over WebSocket, 1000 connections", "ws", 1000),
    Load("1 -> 100 over TCP, flat out", "tcp", 100),
    Load("1 -> 100 over TCP, 300 messages/s", "tcp", 100, rate=300),
    Load("1 -> 1000 over TCP, flat out", "tcp", 1000),
    Load("1 -> 1 over TCP, flat out", "tcp", 1),
    Load("1 -> 100 over WebSocket, flat out", "ws", 100),
    Load("1 -> 100 over WebSocket, 300 messages/s", "ws", 100, rate=300),
    Load("1 -> 1, others have a history, flat out", "tcp", 1, history="beside"),
    Load("1 -> 1, history, flat out", "tcp", 1, history="on"),
    Load("1 -> 100, history, flat out", "tcp", 100, history="on"),
    Load("1 -> 100, history, 300 messages/s", "tcp", 100, rate=300, history="on"),
)


def free_ports(count: int) -> list[int]:
    """Find loopback ports that nobody listens on at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


class Server:
    """One ``twistd -n rtchat`` of our own, as a context manager."""

    def __init__(self, directory: Path, history: str = "off") -> None:
        """Prepare the configuration in ``directory``; nothing is started yet."""
        kept = "" if history == "off" else "[history]\n/topic/kept* = 1000, 7 days\n"
        self.directory = directory
        self.http_port, self.stomp_port = free_ports(2)
        (directory / "chat.ini").write_text(
            "[listen]\n"
            f"http://{HOST}:{self.http_port}\n"
            f"stomp://{HOST}:{self.stomp_port}\n"
            "[access]\n"
            f"self -> {HOST}:{self.stomp_port}\n{kept}",
            encoding="utf-8",
        )
        self.log_path = directory / "server.log"

    def __enter__(self) -> Server:
        twistd = Path(sys.executable).with_name("twistd")
        if not twistd.exists():
            raise BenchError(f"{twistd} is missing: install rtchat into this Python (make bench)")
        command = [str(twistd), "-n", "--pidfile=", "rtchat", "--config", "chat.ini"]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            for port in (self.http_port, self.stomp_port):
                self._wait_for(port)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop()

    def _wait_for(self, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.process.poll() is not None:
                raise BenchError(f"the server did not start; it said:\n{self.last_words()}")
            try:
                socket.create_connection((HOST, port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise BenchError(
                        f"the server did not open port {port} within {START_TIMEOUT_S:.0f} s; "
                        f"it said:\n{self.last_words()}"
                    ) from None
                time.sleep(0.05)
            else:
                return

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """Return the end of the server's log."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-15:])


class Blast:
    """The compiled load generator."""

    def __init__(self, directory: Path, body_bytes: int) -> None:
        """Compile ``blast.c`` into ``directory``."""
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            raise BenchError("a C compiler is needed for the load generator: install gcc or clang")
        self.program = directory / "blast"
        self.body_bytes = body_bytes
        source = Path(__file__).resolve().with_name("blast.c")
        subprocess.run([*compiler.split(), "-O2", "-o", self.program, source], check=True)

    def run(
        self, server: Server, wire: str, destination: str = "/topic/bench", **settings: float
    ) -> dict[str, float]:
        """Load the server once and return what was measured."""
        port = server.http_port if wire == "ws" else server.stomp_port
        window = max(1, MAX_BEHIND_BYTES // (self.body_bytes + FRAME_OVERHEAD_BYTES))
        settings = {
            "body": self.body_bytes,
            "window": window,
            "pid": server.process.pid,
            **settings,
        }
        command = [str(self.program), wire, HOST, str(port), f"destination={destination}"]
        command += [f"{name}={value}" for name, value in settings.items()]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=BLAST_TIMEOUT_S, check=True
            )
        except subprocess.CalledProcessError as error:
            raise BenchError(
                f"{' '.join(command)} failed: {error.stderr.strip()}\n"
                f"the server said:\n{server.last_words()}"
            ) from None
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"{' '.join(command)} took longer than {BLAST_TIMEOUT_S:.0f} s\n"
                f"the server said:\n{server.last_words()}"
            ) from None
        measured: dict[str, float] = json.loads(done.stdout)
        return measured


def measure_memory(memory: Memory, blast: Blast, directory: Path) -> Row:
    """Open idle connections to a fresh server and divide what it grew by."""
    with Server(directory) as server:
        blast.run(server, memory.wire, subscribers=WARM_UP_CONNECTIONS, publishers=0, messages=0)
        measured = blast.run(
            server,
            memory.wire,
            subscribers=memory.connections,
            publishers=0,
            messages=0,
            hold=1,
        )
    grown_kb = measured["rss_connected_kb"] - measured["rss_before_kb"]
    return Row(memory.name, kb_per_connection=grown_kb / memory.connections)


def measure_load(load: Load, blast: Blast, server: Server, rounds: int, seconds: float) -> Row:
    """Load the server several times and take the median of each figure."""
    destination = "/topic/kept" if load.history == "on" else "/topic/bench"
    if load.rate:
        messages = max(1, round(load.rate * seconds))
    else:
        # A short first run, not counted, warms up and tells how many messages fill the time.
        probe = blast.run(
            server,
            load.wire,
            destination,
            subscribers=load.subscribers,
            messages=min(30_000, 300_000 // load.subscribers),
        )
        messages = max(1, round(probe["messages"] / probe["wall_s"] * seconds))
    runs = [
        blast.run(
            server,
            load.wire,
            destination,
            subscribers=load.subscribers,
            messages=messages,
            rate=load.rate,
        )
        for _ in range(rounds)
    ]

    def median(top: str, bottom: str) -> float | None:
        if not all(run[bottom] for run in runs):
            return None
        return statistics.median(run[top] / run[bottom] for run in runs)

    share = median("generator_cpu_s", "wall_s")
    return Row(
        load.name,
        per_cpu_s=median("copies", "server_cpu_s"),
        per_wall_s=median("copies", "wall_s"),
        # Flat out, a message waits in the queue that the test itself keeps full.
        p50_ms=statistics.median(run["p50_ms"] for run in runs) if load.rate else None,
        p99_ms=statistics.median(run["p99_ms"] for run in runs) if load.rate else None,
        generator_cpu_percent=None if share is None else 100 * share,
    )


def measure(plan: Sequence[Load | Memory], options: argparse.Namespace) -> Iterator[Row]:
    """Run the plan: a fresh server for each memory row, one for all loads of a kind."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtchat-bench-")))
        blast = Blast(directory, options.body)
        for number, memory in enumerate(one for one in plan if isinstance(one, Memory)):
            own = directory / f"memory-{number}"
            own.mkdir()
            yield measure_memory(memory, blast, own)
        loads = [one for one in plan if isinstance(one, Load)]
        for history, some in itertools.groupby(loads, key=lambda load: load.history):
            own = directory / f"loads-{history}"
            own.mkdir()
            with Server(own, history) as server:
                for load in some:
                    yield measure_load(load, blast, server, options.rounds, options.seconds)


COLUMNS = (
    "deliveries /CPU s",
    "deliveries /s",
    "p50 ms",
    "p99 ms",
    "KB /connection",
    "generator CPU",
)


def figures(row: Row) -> list[str]:
    """Write a row's figures as the table shows them."""

    def cell(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return [
        cell(row.per_cpu_s, ",.0f"),
        cell(row.per_wall_s, ",.0f"),
        cell(row.p50_ms, ".2f"),
        cell(row.p99_ms, ".2f"),
        cell(row.kb_per_connection, ".1f"),
        "-" if row.generator_cpu_percent is None else f"{row.generator_cpu_percent:.0f} %",
    ]


def table(rows: Sequence[Row]) -> str:
    """Lay the rows out as a Markdown table that is readable as it stands."""
    lines = [["", *COLUMNS], *([row.name, *figures(row)] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def text(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [value.rjust(width) for value, width in zip(line[1:], widths[1:], strict=True)]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([text(lines[0]), text(rule), *(text(line) for line in lines[1:])])


def environment() -> str:
    """Say in one line what the figures were taken on."""
    versions = [f"{name} {metadata.version(name)}" for name in ("rtchat", "Twisted", "websockets")]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {', '.join(versions)}, {os.cpu_count()} cores, Linux {platform.release()}"


def positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    """Make an argparse type that takes numbers above zero."""

    def convert(text: str) -> Number:
        value = kind(text)
        if value <= 0:
            raise ValueError(text)
        return value

    convert.__name__ = "number above 0"
    return convert


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__)
    parser.add_argument(
        "--rounds", type=positive(int), default=3, help="runs of each row; the median counts (3)"
    )
    parser.add_argument(
        "--seconds", type=positive(float), default=3.0, help="length of a run, roughly (3)"
    )
    parser.add_argument(
        "--body", type=positive(int), default=100, help="bytes in a message, 40 to 65536 (100)"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="only the rows whose title has this in it"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the process's exit code."""
    options = parse(arguments)
    if sys.platform != "linux":
        print("bench: needs Linux: it reads the server's figures in /proc", file=sys.stderr)
        return 2
    plan = [one for one in PLAN if options.only in one.name]
    if not plan:
        titles = "\n".join(f"  {one.name}" for one in PLAN)
        print(f"bench: no row has {options.only!r} in its title:\n{titles}", file=sys.stderr)
        return 2
    # The server inherits this; 1000 connections and its own files need more than the usual 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    rows = []
    try:
        for row in measure(plan, options):
            print(f"measured {row.name}", file=sys.stderr)
            rows.append(row)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"bench: compiling the load generator failed: {error}", file=sys.stderr)
        return 1
    print(f"\n{environment()}; bodies of {options.body} bytes, one publisher\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
