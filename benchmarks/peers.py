"""Compares rtchat with other servers on this machine, and reports which targets it meets.

Uses those of RabbitMQ, ActiveMQ, NATS, Mosquitto, CoilMQ and websockify that are installed, and
reports how to install the others. Starts each on free loopback ports, loads them in turn, and
stops them. A full run takes about 25 minutes and writes RESULTS.md. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.alone import measure_heartbeats, measure_memory, measure_start
from benchmarks.bench import positive
from benchmarks.brokers import PEERS
from benchmarks.contest import Field, Verdict, judge, measure_work, say
from benchmarks.gateways import version_of
from benchmarks.generator import Blast, raise_open_files
from benchmarks.growth import GROWTHS, Curves, Growth, measure_growth
from benchmarks.plan import PLAN, Work
from benchmarks.proxy import ROWS, Held, Row, find_peer, judge_row, measure_proxy
from benchmarks.proxy_tables import proxy_details
from benchmarks.report import Report
from benchmarks.results import details, environment, growth_table, summary
from benchmarks.servers import BenchError, Rtchat, Server

__all__ = ["main"]

_START, _MEMORY, _HEARTBEATS = "start to listening", "memory", "heart-beats"
# Runs of this duration are long enough for a gateway's rate to be stable.
_PROXY_S = 1.5
TITLES: tuple[tuple[str, ...], ...] = (
    *((work.title,) for work in PLAN),
    *((title,) for title in (_START, _MEMORY, _HEARTBEATS)),
    *((row.title,) for row in ROWS),
    *((growth.title, growth.name) for growth in GROWTHS),
)
"""The choices of ``--only``."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="peers.py", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes: short rounds, few points, no file"
    )
    parser.add_argument("--rounds", type=positive(int), help="of each row (5; quick: 3)")
    parser.add_argument(
        "--seconds", type=positive(float), help="length of a round, roughly (2; quick: 1)"
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
    options.seconds = options.seconds or (1.0 if options.quick else 2.0)
    if options.output is None and not options.quick and not options.only:
        options.output = Path(__file__).resolve().parent
    return options


def find_peers(without: Sequence[str]) -> list[type[Server]]:
    """Return the installed peers, and report how to install the others."""
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
    """Start rtchat and the peers; report and leave out a peer that does not start."""
    servers: dict[str, Server] = {"rtchat": stack.enter_context(Rtchat(directory / "rtchat"))}
    for peer in peers:
        try:
            servers[peer.name] = stack.enter_context(peer(directory / peer.name))
        except BenchError as error:
            say(f"{peer.name} is left out: {error}")
    return servers


def is_wanted(options: argparse.Namespace, *names: str) -> bool:
    """Return whether ``--only`` selects something with these names."""
    return any(options.only in name for name in names)


def needed(options: argparse.Namespace) -> set[str]:
    """Return the names of the servers that the selected stages need."""
    names = {
        one.server for work in PLAN if is_wanted(options, work.title) for one in work.contestants
    }
    for growth in GROWTHS:
        if is_wanted(options, growth.title, growth.name):
            names.update(one.server for one in growth.contestants)
    if is_wanted(options, _START):
        names.update(peer.name for peer in PEERS)
    if is_wanted(options, _MEMORY):
        names.add("RabbitMQ")
    return names


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison, stage by stage; results go into the report.

    Attributes:
        options: The command line.
        directory: A folder for temporary files.
        field: The contestants, and the duration of a round.
        websockify: The path of websockify; None if it is not installed.
        report: The results so far.
    """

    options: argparse.Namespace
    directory: Path
    field: Field
    websockify: str | None
    report: Report

    def stages(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the title of each selected stage, and a function that runs it."""
        for work in PLAN:
            if is_wanted(self.options, work.title):
                yield work.title, partial(self.do_work, work)
        for title, measure in (
            (_START, self._start),
            (_MEMORY, self._memory),
            (_HEARTBEATS, self._heartbeats),
        ):
            if is_wanted(self.options, title):
                yield title, partial(self._do_alone, measure)
        rows = [row for row in ROWS if is_wanted(self.options, row.title)]
        if rows:
            yield "the proxy, /tcp", partial(self.do_proxy, rows)
        for growth in GROWTHS:
            if is_wanted(self.options, growth.title, growth.name):
                yield growth.title, partial(self.do_growth, growth)

    def do_work(self, work: Work) -> None:
        """Measure and judge a row."""
        say(work.title)
        all_series = self.report.works[work] = measure_work(work, self.field)
        print(f"{work.title}\n\n{details(work, all_series)}\n", flush=True)
        self._judged([judge(work, target, all_series) for target in work.targets])

    def do_proxy(self, rows: Sequence[Row]) -> None:
        """Measure and judge the proxy beside websockify."""
        if self.websockify is None:
            self._judged([judge_row(row, None) for row in rows])
            return
        pairs_of_rows = measure_proxy(
            rows,
            self.websockify,
            self.directory / "proxy",
            self.options.rounds,
            min(self.options.seconds, _PROXY_S),
            Held(1000, 50, 3.0, 1) if self.options.quick else Held(5000, 200, 5.0, 3),
        )
        for row, pairs in pairs_of_rows:
            self.report.proxy[row] = pairs
            self._judged([judge_row(row, pairs)])
        print(f"{proxy_details(self.report.proxy)}\n", flush=True)

    def do_growth(self, growth: Growth) -> None:
        """Measure a growth."""
        say(growth.title)
        rounds, seconds = (1, 0.4) if self.options.quick else (3, 0.7)
        if growth.is_paced:
            seconds *= 2
        field = dataclasses.replace(self.field, rounds=rounds, seconds=seconds)
        points = growth.points[::3] if self.options.quick else growth.points
        curves = self.report.growths[growth.name] = Curves()
        measure_growth(growth, field, points, curves)
        print(f"{growth.title}\n\n{growth_table(growth.name, curves)}\n", flush=True)

    def _do_alone(self, measure: Callable[[], list[Verdict]]) -> None:
        self._judged(measure())

    def _judged(self, verdicts: Sequence[Verdict]) -> None:
        print("".join(f"{one}\n" for one in verdicts), flush=True)
        self.report.verdicts.extend(verdicts)

    def _start(self) -> list[Verdict]:
        others = [server for name, server in self.field.servers.items() if name != "rtchat"]
        return [measure_start(self.directory, self.options.rounds, others)]

    def _memory(self) -> list[Verdict]:
        connections, rounds = (1000, 1) if self.options.quick else (5000, 3)
        rabbitmq = self.field.servers.get("RabbitMQ")
        blast = self.field.blast
        return [measure_memory(self.directory, blast, connections, rounds, rabbitmq)]

    def _heartbeats(self) -> list[Verdict]:
        connections, hold_s = (3000, 12.0) if self.options.quick else (20_000, 30.0)
        return list(measure_heartbeats(self.directory, self.field.blast, connections, hold_s))


def measure(options: argparse.Namespace, directory: Path) -> int:
    """Run all selected stages; return the process's exit code.

    The report is written after each stage, so that a failure later on does not lose results.
    """
    blast = Blast(directory)
    wanted = needed(options)
    peers = find_peers([*options.without, *(p.name for p in PEERS if p.name not in wanted)])
    has_proxy = any(is_wanted(options, row.title) for row in ROWS)
    websockify = find_peer(options.without) if has_proxy else None
    more = [version_of(websockify)] if websockify else []
    report = Report(environment(peers, more), options.rounds, options.seconds)
    print(report.environment + "\n", flush=True)
    try:
        with contextlib.ExitStack() as stack:
            servers = start(peers, directory, stack)
            field = Field(servers, blast, options.rounds, options.seconds)
            comparison = Comparison(options, directory, field, websockify, report)
            for title, stage in comparison.stages():
                try:
                    stage()
                except BenchError as error:
                    report.failures.append(f"{title}: {str(error).splitlines()[0]}")
                    say(f"{title}: {error}")
                if options.output is not None:
                    report.write(options.output)
        report.is_complete = not report.failures
    finally:
        if report.verdicts:
            print(summary(report.verdicts), flush=True)
        if options.output is not None:
            say(f"written: {report.write(options.output)}")
        if options.figures is not None:
            report.keep_figures(options.figures)
        say(f"took {report.took()}")
    return 1 if report.failures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return the process's exit code."""
    options = parse(arguments)
    if sys.platform != "linux":
        print("peers: needs Linux: it reads the servers' figures in /proc", file=sys.stderr)
        return 2
    # Exit on SIGTERM through the context managers, which stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_open_files()
    if not any(is_wanted(options, *names) for names in TITLES):
        lines = "\n".join(f"  {names[0]}" for names in TITLES)
        print(
            f"peers: no row or curve has {options.only!r} in its title:\n{lines}", file=sys.stderr
        )
        return 2
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
