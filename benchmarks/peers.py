"""Measures rtchat beside other brokers on this machine and says which targets it meets.

Installs nothing: takes what is there of RabbitMQ, ActiveMQ, NATS, Mosquitto and CoilMQ, and says
how to get what is not. Starts each on free loopback ports, loads them in turn, stops them. A full
run takes about twenty minutes and writes RESULTS.md. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.alone import measure_heartbeats, measure_memory, measure_start
from benchmarks.bench import positive
from benchmarks.brokers import PEERS
from benchmarks.contest import Field, Series, Verdict, judge, measure_work, say
from benchmarks.generator import Blast, raise_open_files
from benchmarks.growth import GROWTHS, Curves, measure_growth
from benchmarks.plan import PLAN, Contestant, Work
from benchmarks.results import details, environment, growth_table, summary, write_results
from benchmarks.servers import BenchError, Rtchat, Server

__all__ = ["main"]

_ALONE = ("start to listening", "memory", "heart-beats")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="peers.py", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: short rounds, few points, no file"
    )
    parser.add_argument("--rounds", type=positive(int), help="of each row (5; quick: 3)")
    parser.add_argument(
        "--seconds", type=positive(float), help="length of a round, roughly (2.5; quick: 1)"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="only rows and curves whose title has this in it; writes no file",
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="PEER", help="leave a peer out"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where RESULTS.md and results/ go (benchmarks/ of a full run)",
    )
    parser.add_argument(
        "--figures", type=Path, metavar="FILE", help="keep every single run there, as JSON"
    )
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 2.5)
    if options.output is None and not options.quick and not options.only:
        options.output = Path(__file__).resolve().parent
    return options


def find_peers(without: Sequence[str]) -> list[type[Server]]:
    """Find the peers that are installed, and say how to get the others."""
    found = []
    for peer in PEERS:
        if peer.name in without:
            continue
        if peer.find() is None:
            say(f"{peer.name} is not here: {peer.remedy}")
        else:
            found.append(peer)
    return found


def start(
    peers: Sequence[type[Server]], directory: Path, stack: contextlib.ExitStack
) -> dict[str, Server]:
    """Start ours and the peers; one that does not start is left out by name."""
    servers: dict[str, Server] = {"rtchat": stack.enter_context(Rtchat(directory / "rtchat"))}
    for peer in peers:
        try:
            servers[peer.name] = stack.enter_context(peer(directory / peer.name))
        except BenchError as error:
            say(f"{peer.name} is left out: {error}")
    return servers


def measure_alone(
    options: argparse.Namespace, directory: Path, blast: Blast, servers: Mapping[str, Server]
) -> list[Verdict]:
    """Measure what needs fresh servers."""
    verdicts = []
    quick = options.quick
    if options.only in _ALONE[0]:
        others = [server for name, server in servers.items() if name != "rtchat"]
        verdicts.append(measure_start(directory, options.rounds, others))
    if options.only in _ALONE[1]:
        connections, rounds = (1000, 1) if quick else (5000, 3)
        rabbitmq = servers.get("RabbitMQ")
        verdicts.append(measure_memory(directory, blast, connections, rounds, rabbitmq))
    if options.only in _ALONE[2]:
        connections, hold_s = (3000, 12.0) if quick else (20_000, 30.0)
        verdicts.extend(measure_heartbeats(directory, blast, connections, hold_s))
    return verdicts


def measure(options: argparse.Namespace, directory: Path) -> int:
    """Do all that was asked for; return the process's exit code."""
    blast = Blast(directory)
    peers = find_peers(options.without)
    works: dict[Work, dict[Contestant, Series]] = {}
    growths: dict[str, Curves] = {}
    verdicts: list[Verdict] = []
    print(environment(peers) + "\n", flush=True)
    with contextlib.ExitStack() as stack:
        servers = start(peers, directory, stack)
        field = Field(servers, blast, options.rounds, options.seconds)
        for work in PLAN:
            if options.only not in work.title:
                continue
            say(work.title)
            works[work] = measure_work(work, field)
            print(f"{work.title}\n\n{details(work, works[work])}\n", flush=True)
            judged = [judge(work, target, works[work]) for target in work.targets]
            print("".join(f"{one}\n" for one in judged), flush=True)
            verdicts += judged
        alone = measure_alone(options, directory, blast, servers)
        print("".join(f"{one}\n" for one in alone), flush=True)
        verdicts += alone
        rounds, seconds = (1, 0.4) if options.quick else (3, 0.7)
        for growth in GROWTHS:
            if options.only not in growth.title and options.only not in growth.name:
                continue
            say(growth.title)
            paced_s = seconds * (3 if growth.is_paced else 1)
            growths[growth.name] = measure_growth(
                growth,
                dataclasses.replace(field, rounds=rounds, seconds=paced_s),
                growth.points[::3] if options.quick else growth.points,
            )
            print(f"{growth.title}\n\n{growth_table(growth.name, growths[growth.name])}\n")
    print(summary(verdicts))
    print("\nThe proxy, /tcp, has a comparison of its own: see benchmarks/README.md")
    if options.output is not None:
        path = write_results(options.output, peers, verdicts, works, growths)
        say(f"written: {path}")
    if options.figures is not None:
        _keep_figures(options.figures, works, growths)
    return 0


def _keep_figures(
    path: Path,
    works: Mapping[Work, Mapping[Contestant, Series]],
    growths: Mapping[str, Curves],
) -> None:
    """Keep every single run, for whoever wants to compute something else."""
    figures = {
        "works": {
            work.title: {one.label: dataclasses.asdict(series) for one, series in all_of.items()}
            for work, all_of in works.items()
        },
        "growths": {
            name: {
                one.label: [[point, dataclasses.asdict(run)] for point, run in curve]
                for one, curve in curves.items()
            }
            for name, curves in growths.items()
        },
    }
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return the process's exit code."""
    options = parse(arguments)
    if sys.platform != "linux":
        print("peers: needs Linux: it reads the servers' figures in /proc", file=sys.stderr)
        return 2
    # So that whoever ends us ends the servers as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_open_files()
    try:
        with tempfile.TemporaryDirectory(prefix="rtchat-peers-") as directory:
            return measure(options, Path(directory))
    except BenchError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
