"""Tables of the results, for the terminal and RESULTS.md."""

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
from benchmarks.plan import Contestant, Work
from benchmarks.servers import Server
from rtchat import __version__

__all__ = ["details", "environment", "growth_table", "summary", "table"]


def environment(servers: Sequence[type[Server]], more: Sequence[str] = ()) -> str:
    """Return a few lines about the machine and the versions.

    Args:
        servers: The peers.
        more: Other programs, with their versions.
    """
    packages = [f"{name} {metadata.version(name)}" for name in ("Twisted", "websockets")]
    ours = ", ".join([f"rtchat {__version__}", *packages])
    peers = ", ".join([*(f"{server.name} {server.version()}" for server in servers), *more])
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
    """Return lines as an aligned Markdown table.

    Args:
        lines: The cells; the first line is the head.
        left: The number of left-aligned columns; the others are figures.
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
    """Return the table of targets."""
    lines = [["work", "target", "measured", "rtchat", "peer", ""]]
    lines += [
        [one.work, one.target, one.measured, one.ours, one.peer, one.word] for one in verdicts
    ]
    return table(lines, left=6)


def details(work: Work, all_series: Mapping[Contestant, Series]) -> str:
    """Return the table of one load, with a line for each contestant."""
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
    """Return the table of a growth: CPU time of the server per delivery in µs, or p50 and p99."""
    growth = next(one for one in GROWTHS if one.name == name)
    points = sorted({point for curve in curves.runs.values() for point, _ in curve})
    lines = [[growth.x_label, *(f"{point:,}" for point in points)]]
    for contestant, curve in curves.runs.items():
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
    notes = [growth.note] if growth.note else []
    return "\n\n".join([table(lines), *notes, *curves.notes])
