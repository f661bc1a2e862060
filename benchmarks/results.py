"""Writes what was measured: tables for the terminal, and RESULTS.md with its pictures."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.contest import Series, Verdict
from benchmarks.generator import Run
from benchmarks.growth import GROWTHS, Curves
from benchmarks.picture import Line, Panel, draw
from benchmarks.plan import (
    ACTIVEMQ,
    COILMQ,
    MOSQUITTO,
    NATS,
    OURS,
    OURS_WS,
    RABBITMQ,
    RABBITMQ_WS,
    Contestant,
    Work,
)
from benchmarks.servers import Server
from rtchat import __version__

__all__ = ["details", "environment", "growth_table", "summary", "table", "write_results"]

_COLOURS: Mapping[Contestant, str] = {
    OURS: "#0a7d4f",
    OURS_WS: "#0a7d4f",
    NATS: "#2563c9",
    MOSQUITTO: "#8a4fbf",
    ACTIVEMQ: "#c2413b",
    RABBITMQ: "#e08a00",
    RABBITMQ_WS: "#e08a00",
    COILMQ: "#7a7a7a",
}

_METHOD = """\
Each server runs by itself on loopback with the settings of `benchmarks/servers.py`; all of a row's
servers run at the same time and are loaded one after the other, so each round of a ratio compares
two runs that are seconds apart. The middle round decides; the range is that of all rounds.

- **Deliveries a CPU second**: copies that arrived at subscribers, for each second of processor
  time, user and system, that all processes of the server used together.
- **Deliveries a second**: the same on the clock. Server and generator share the machine.
- **p50, p99**: from just before the publisher's write to just after the subscriber's read.
- **Server, generator**: how much of one core each used. The generator is one thread of C; where it
  comes near 100 %, the figure on the clock is its own, while the one a CPU second still holds.
- A server that cannot keep a pace is measured at half of it, and so on; the table says at which.
- A subscriber is at most half a MiB behind. Bodies have 100 bytes where nothing else is said.

`make bench-peers` does all of this again.
"""


def environment(servers: Sequence[type[Server]]) -> str:
    """Say in a few lines what the figures were taken on."""
    packages = [f"{name} {metadata.version(name)}" for name in ("Twisted", "websockets")]
    ours = ", ".join([f"rtchat {__version__}", *packages])
    peers = ", ".join(f"{server.name} {server.version()}" for server in servers)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{time.strftime('%Y-%m-%d')}: {_processor()}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}\n"
        f"{python}, {ours}\n{peers or 'no peers'}"
    )


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def table(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Lay lines out as a Markdown table that is readable as it stands.

    Args:
        lines: The cells; the first line is the head.
        left: So many columns are words, the others figures.
    """
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def text(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [
        "-" * width if column < left else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    return "\n".join([text(lines[0]), text(rule), *(text(line) for line in lines[1:])])


def summary(verdicts: Sequence[Verdict]) -> str:
    """Lay out the table of targets."""
    lines = [["work", "target", "measured", "rtchat", "peer", ""]]
    lines += [
        [one.work, one.target, one.measured, one.ours, one.peer, one.word] for one in verdicts
    ]
    return table(lines, left=6)


def details(work: Work, all_series: Mapping[Contestant, Series]) -> str:
    """Lay out what each contestant did at one work."""
    lines = [
        [
            "",
            "deliveries /CPU s",
            "range",
            "deliveries /s",
            "p50 ms",
            "p99 ms",
            "server",
            "generator",
        ]
    ]
    notes = []
    for contestant, series in all_series.items():
        if series.failure or not series.runs:
            notes.append(f"{contestant.label}: {series.failure}")
            continue
        pace = f" at {series.rate:g}/s" if series.rate != work.rate else ""
        per_cpu = series.spread(lambda run: run.per_cpu_s)

        def median(of: Callable[[Run], float], series: Series = series) -> float:
            return series.spread(of).median

        lines.append(
            [
                contestant.label + pace,
                f"{per_cpu.median:,.0f}",
                f"{per_cpu.low:,.0f} .. {per_cpu.high:,.0f}",
                f"{median(lambda run: run.per_wall_s):,.0f}",
                f"{median(lambda run: run.p50_ms):.2f}" if work.rate else "-",
                f"{median(lambda run: run.p99_ms):.2f}" if work.rate else "-",
                f"{median(lambda run: run.server_share):.0%}",
                f"{median(lambda run: run.generator_share):.0%}",
            ]
        )
    text = table(lines)
    if notes:
        text += "\n\n" + "\n".join(notes)
    return text


def growth_table(name: str, curves: Curves) -> str:
    """Lay out microseconds of the server's processor time for each delivery."""
    growth = next(one for one in GROWTHS if one.name == name)
    points = sorted({point for curve in curves.values() for point, _ in curve})
    lines = [[growth.x_label, *(f"{point:,}" for point in points)]]
    for contestant, curve in curves.items():
        runs = dict(curve)
        cells = []
        for point in points:
            run = runs.get(point)
            if run is None:
                cells.append("-")
            elif growth.is_paced:
                cells.append(f"{run.p50_ms:.1f} / {run.p99_ms:.1f}")
            else:
                cells.append(f"{1e6 / run.per_cpu_s:,.2f}")
        lines.append([contestant.label, *cells])
    return table(lines)


def _lines(curves: Curves, figure: Callable[[Run], float]) -> list[Line]:
    return [
        Line(
            contestant.label,
            _COLOURS[contestant],
            [(point, figure(run)) for point, run in curve if figure(run) > 0],
            is_dashed=contestant.wire == "ws",
            is_bold=contestant.server == "rtchat",
        )
        for contestant, curve in curves.items()
    ]


def _pictures(growths: Mapping[str, Curves]) -> dict[str, str]:
    """Draw what was measured; by file name."""

    def panel(name: str, y_label: str, figure: Callable[[Run], float], title: str = "") -> Panel:
        growth = next(one for one in GROWTHS if one.name == name)
        lines = _lines(growths[name], figure)
        return Panel(title or growth.title, growth.x_label, y_label, lines)

    pictures = {}
    if "subscribers" in growths:
        pictures["fan-out.svg"] = draw(
            "Deliveries for each second of the server's processor time",
            [
                panel("subscribers", "deliveries a CPU second", lambda run: run.per_cpu_s),
                panel(
                    "subscribers",
                    "deliveries a second",
                    lambda run: run.per_wall_s,
                    "The same load, on the clock",
                ),
            ],
        )
    if "latency" in growths:
        pictures["latency.svg"] = draw(
            "How long a message is under way",
            [
                panel("latency", "p50, milliseconds", lambda run: run.p50_ms),
                panel("latency", "p99, milliseconds", lambda run: run.p99_ms, "The slowest in 100"),
            ],
        )
    rest = [name for name in ("topics", "body", "subscriptions") if name in growths]
    if rest:
        cost = [
            panel(name, "µs of CPU a delivery", lambda run: 1e6 / run.per_cpu_s) for name in rest
        ]
        pictures["growth.svg"] = draw("What a delivery costs", cost)
    return pictures


def write_results(
    directory: Path,
    servers: Sequence[type[Server]],
    verdicts: Sequence[Verdict],
    works: Mapping[Work, Mapping[Contestant, Series]],
    growths: Mapping[str, Curves],
) -> Path:
    """Write RESULTS.md and its pictures; give its path."""
    pictures = _pictures(growths)
    folder = directory / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for name, svg in pictures.items():
        (folder / name).write_text(svg, encoding="utf-8")
    parts = ["# Results", "```\n" + environment(servers) + "\n```", "## Targets"]
    short = sum(one.is_met is False for one in verdicts)
    parts += [f"{short} of {len(verdicts)} are short.", summary(verdicts)]
    parts += ["## How it was measured", _METHOD.strip(), "## Each load"]
    for work, all_series in works.items():
        parts += [f"### {work.title}", details(work, all_series)]
    parts.append("## How cost grows")
    parts += [f"![{name.removesuffix('.svg')}](results/{name})" for name in pictures]
    for name, curves in growths.items():
        growth = next(one for one in GROWTHS if one.name == name)
        unit = "p50 / p99 in ms" if growth.is_paced else "µs of the server's CPU a delivery"
        parts += [f"### {growth.title}", f"{unit}:", growth_table(name, curves)]
    path = directory / "RESULTS.md"
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path
