"""Measures the gateway, ``/tcp/HOST:PORT``, beside websockify, and prints tables.

Starts ``twistd -n rtchat`` and, where it is found, ``websockify`` on free loopback ports, and
loads both in turn with ``gateway`` (compiled here from ``gateway.c``), which is the target
behind them as well. ``benchmarks/README.md`` explains the tables. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.bench import environment, positive
from benchmarks.gateway_tables import Figures, Load, hold_table, median, problems, rate_table
from benchmarks.gateways import (
    HOLD_NAME,
    RATES,
    REMEDY,
    SPARE_FILES,
    Gateway,
    Generator,
    find_websockify,
    hold,
    rtchat,
    version_of,
    websockify,
)
from benchmarks.servers import BenchError

__all__ = ["main"]

NO_PEER = f"websockify was not found, so there is nothing to compare with: {REMEDY}"


def measure_hold(
    generator: Generator, gateways: Sequence[Gateway], options: argparse.Namespace
) -> Iterator[tuple[str, Figures]]:
    """Measure many connections that echo once a second, on one gateway after the other."""
    for gateway in gateways:
        is_own = gateway.name == "rtchat"
        count = options.connections if is_own else options.peer_connections
        seconds = options.hold if is_own else min(options.hold, options.peer_hold)
        yield gateway.name, hold(generator, gateway, count, seconds)


def measure_rate(
    load: Load, generator: Generator, gateways: Sequence[Gateway], options: argparse.Namespace
) -> dict[str, Figures]:
    """Load the gateways in turn, in several rounds; return the medians."""
    runs: dict[str, list[Figures]] = {gateway.name: [] for gateway in gateways}
    for _ in range(options.rounds):
        for gateway in gateways:
            figures = generator.run(gateway, load.mode, options.seconds, load.settings)
            runs[gateway.name].append(figures)
    return {name: median(figures) for name, figures in runs.items()}


# The command


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="gateway.py", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=positive(int), default=2, help="runs of each rate; medians count (2)")
    add("--seconds", type=positive(float), default=2.0, help="length of a run (2)")
    add("--connections", type=positive(int), default=5000, help="how many to hold (5000)")
    add("--hold", type=positive(float), default=60.0, help="seconds to hold them (60)")
    add(
        "--peer-connections",
        type=positive(int),
        default=200,
        help="how many websockify has to hold: each is a process of its own (200)",
    )
    add("--peer-hold", type=positive(float), default=10.0, help="for so many seconds (10)")
    add("--websockify", metavar="PROGRAM", help="where it is; otherwise WEBSOCKIFY or the path")
    add("--alone", action="store_true", help="measure rtchat only")
    add("--only", default="", metavar="TEXT", help="only the rows whose title has this in it")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> tuple[list[str], bool]:
    """Measure; return the tables, and whether rtchat has lost no connection."""
    held: list[tuple[str, Figures]] = []
    rates: list[tuple[Load, dict[str, Figures]]] = []
    loads = [load for load in RATES if options.only in load.name]
    program = None if options.alone else find_websockify(options.websockify)
    if program is None and not options.alone:
        print(NO_PEER, file=sys.stderr)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtchat-gateway-")))
        generator = stack.enter_context(Generator(directory))
        port = generator.target_port
        gateways = [stack.enter_context(rtchat(directory / "rtchat", port))]
        if program is not None:
            peer = websockify(program, directory / "websockify", port)
            gateways.append(stack.enter_context(peer))
        names = [gateway.name for gateway in gateways]
        if options.only in HOLD_NAME:
            for name, figures in measure_hold(generator, gateways, options):
                print(f"measured {HOLD_NAME}: {name}", file=sys.stderr)
                held.append((name, figures))
        for load in loads:
            rates.append((load, measure_rate(load, generator, gateways, options)))
            print(f"measured {load.name}", file=sys.stderr)
    versions = environment() + (f"; {version_of(program)}" if program else "")
    parts = [f"The gateway: {versions}; CPU s are the gateway's own, of all its processes"]
    if held:
        parts.append(hold_table(held))
    if rates:
        parts.append(rate_table(rates, names))
    rows = [(HOLD_NAME, name, row) for name, row in held]
    rows += [(load.name, name, row) for load, each in rates for name, row in each.items()]
    if text := problems(rows):
        parts.append(text.rstrip())
    return parts, not any(row.lost for _, name, row in rows if name == "rtchat")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the process's exit code."""
    options = parse(arguments)
    if sys.platform != "linux":
        print("gateway: needs Linux: it reads the gateway's figures in /proc", file=sys.stderr)
        return 2
    titles = [HOLD_NAME, *(load.name for load in RATES)]
    if not any(options.only in title for title in titles):
        lines = "\n".join(f"  {title}" for title in titles)
        print(f"gateway: no row has {options.only!r} in its title:\n{lines}", file=sys.stderr)
        return 2
    # The gateways inherit this: each proxied connection is two open files.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    needed = 2 * options.connections + SPARE_FILES
    if most != resource.RLIM_INFINITY and most < needed and options.only in HOLD_NAME:
        print(
            f"gateway: {options.connections} connections need {needed} open files, and the "
            f"limit is {most} (ulimit -Hn): raise it, or take fewer with --connections",
            file=sys.stderr,
        )
        return 2
    try:
        parts, is_well = measure(options)
    except (BenchError, subprocess.CalledProcessError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1
    print("\n" + "\n\n".join(parts))
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
