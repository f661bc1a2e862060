"""Measures one real server on this machine, and prints a table.

Starts ``twistd -n rtchat`` on free loopback ports, loads it with ``blast`` (compiled here from
``blast/``), reads the server's processor time and memory from ``/proc``, and stops it.
``benchmarks/README.md`` explains the table. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from benchmarks.generator import Blast, Run, raise_open_files
from benchmarks.servers import BenchError, Rtchat, Server
from rtchat import __version__

__all__ = ["Load", "Memory", "Row", "main"]

Number = TypeVar("Number", int, float)

# Connect this many first: the server then imports what it loads lazily, and that is not counted.
WARM_UP_CONNECTIONS = 50


@dataclass(frozen=True)
class Load:
    """Messages through the broker.

    Attributes:
        name: The row's title.
        wire: ``tcp`` or ``ws``.
        subscribers: The number of subscribers that receive each message.
        rate: Messages per second, or 0 for as many as the server accepts.
        history: ``on`` for a destination with a history, ``beside`` for another destination of a
            server with a history, ``off`` for a server without one.
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
        connections: The number of open connections.
    """

    name: str
    wire: str
    connections: int


@dataclass(frozen=True)
class Row:
    """One line of the table; a figure that was not measured is None."""

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


def measure_memory(memory: Memory, blast: Blast, directory: Path) -> Row:
    """Open idle connections to a fresh server; return its growth per connection."""
    idle = {"publishers": 0, "messages": 0}
    with Rtchat(directory) as server:
        blast.run(server, memory.wire, subscribers=WARM_UP_CONNECTIONS, **idle)
        run = blast.run(server, memory.wire, subscribers=memory.connections, hold=1, **idle)
    grown_kb = run.rss_connected_kb - run.rss_before_kb
    return Row(memory.name, kb_per_connection=grown_kb / memory.connections)


def measure_load(load: Load, blast: Blast, server: Server, options: argparse.Namespace) -> Row:
    """Load the server several times; return the median of each figure."""
    settings: dict[str, float | str] = {"subscribers": load.subscribers}
    if load.history == "on":
        settings["destination"] = "/topic/kept"
    if load.rate:
        messages = max(1, round(load.rate * options.seconds))
    else:
        # A short first run, not counted, warms up and determines the number of messages.
        few = min(30_000, 300_000 // load.subscribers)
        probe = blast.run(server, load.wire, body=options.body, messages=few, **settings)
        messages = max(1, round(probe.messages / probe.wall_s * options.seconds))
    runs = [
        blast.run(
            server, load.wire, body=options.body, messages=messages, rate=load.rate, **settings
        )
        for _ in range(options.rounds)
    ]

    def median(of: Callable[[Run], float]) -> float:
        return statistics.median(of(run) for run in runs)

    return Row(
        load.name,
        per_cpu_s=median(lambda run: run.per_cpu_s),
        per_wall_s=median(lambda run: run.per_wall_s),
        # Without a rate, latency would measure the queue that the test itself keeps full.
        p50_ms=median(lambda run: run.p50_ms) if load.rate else None,
        p99_ms=median(lambda run: run.p99_ms) if load.rate else None,
        generator_cpu_percent=100 * median(lambda run: run.generator_share),
    )


def measure(plan: Sequence[Load | Memory], options: argparse.Namespace) -> Iterator[Row]:
    """Run the plan: a fresh server for each memory row, one for all loads of a kind."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtchat-bench-")))
        blast = Blast(directory)
        for number, memory in enumerate(one for one in plan if isinstance(one, Memory)):
            yield measure_memory(memory, blast, directory / f"memory-{number}")
        loads = [one for one in plan if isinstance(one, Load)]
        for history, some in itertools.groupby(loads, key=lambda load: load.history):
            kept = "" if history == "off" else "[history]\n/topic/kept* = 1000, 7 days\n"
            with Rtchat(directory / f"loads-{history}", kept) as server:
                for load in some:
                    yield measure_load(load, blast, server, options)


COLUMNS = (
    "deliveries /CPU s",
    "deliveries /s",
    "p50 ms",
    "p99 ms",
    "KB /connection",
    "generator CPU",
)


def figures(row: Row) -> list[str]:
    """Format the figures of a row for the table."""

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
    """Return the rows as an aligned Markdown table."""
    lines = [["", *COLUMNS], *([row.name, *figures(row)] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def text(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [value.rjust(width) for value, width in zip(line[1:], widths[1:], strict=True)]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([text(lines[0]), text(rule), *(text(line) for line in lines[1:])])


def environment() -> str:
    """Return one line about the machine and the versions that were measured."""
    versions = [f"{name} {metadata.version(name)}" for name in ("Twisted", "websockets")]
    versions.insert(0, f"rtchat {__version__}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {', '.join(versions)}, {os.cpu_count()} cores, Linux {platform.release()}"


def positive(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    """Return an argparse type that accepts numbers above zero."""

    def convert(text: str) -> Number:
        value = kind(text)
        if value <= 0:
            raise ValueError(text)
        return value

    convert.__name__ = "number above 0"
    return convert


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__)
    parser.add_argument(
        "--rounds", type=positive(int), default=3, help="runs of each row; the median counts (3)"
    )
    parser.add_argument(
        "--seconds", type=positive(float), default=3.0, help="length of a run, roughly (3)"
    )
    parser.add_argument(
        "--body", type=positive(int), default=100, help="bytes in a message, 20 to 1048576 (100)"
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
    raise_open_files()

    rows = []
    try:
        for row in measure(plan, options):
            print(f"measured {row.name}", file=sys.stderr)
            rows.append(row)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\n{environment()}; bodies of {options.body} bytes, one publisher\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
