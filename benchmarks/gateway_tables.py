"""Results of the gateway's benchmark, and their tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Figures", "Load", "hold_table", "median", "problems", "rate_table"]


@dataclass(frozen=True)
class Load:
    """One way to load a gateway.

    Attributes:
        name: The row's title.
        mode: The generator's mode, see ``gateway.c``.
        unit: The unit of the figure.
        settings: Further arguments of the generator.
    """

    name: str
    mode: str
    unit: str
    settings: Mapping[str, float]


@dataclass(frozen=True)
class Figures:
    """The result of one gateway under one load; a figure that was not measured is None."""

    connections: int
    lost: int
    cpu_s: float
    wall_s: float
    per_cpu_s: float
    per_wall_s: float
    p50_ms: float | None
    p99_ms: float | None
    kb_per_connection: float | None
    generator_percent: float
    problem: str


def median(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure, and the sum of lost connections."""

    def of(name: str) -> Any:
        values = [getattr(run, name) for run in runs]
        return None if values[0] is None else statistics.median(values)

    return Figures(
        connections=runs[0].connections,
        lost=sum(run.lost for run in runs),
        cpu_s=of("cpu_s"),
        wall_s=of("wall_s"),
        per_cpu_s=of("per_cpu_s"),
        per_wall_s=of("per_wall_s"),
        p50_ms=of("p50_ms"),
        p99_ms=of("p99_ms"),
        kb_per_connection=of("kb_per_connection"),
        generator_percent=of("generator_percent"),
        problem=next((run.problem for run in runs if run.problem), ""),
    )


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines as an aligned Markdown table; the first line is its head."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def text(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        cells += [value.rjust(width) for value, width in zip(line[1:], widths[1:], strict=True)]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([text(lines[0]), text(rule), *(text(line) for line in lines[1:])])


def hold_table(rows: Sequence[tuple[str, Figures]]) -> str:
    """Return the table of held connections."""
    head = ["gateway", "connections", "seconds", "lost", "KB /connection", "CPU", "echoes /CPU s"]
    lines = [[*head, "p50 ms", "p99 ms", "generator CPU"]]
    for name, row in rows:
        lines.append(
            [
                name,
                f"{row.connections:,}",
                f"{row.wall_s:.0f}",
                str(row.lost),
                f"{row.kb_per_connection:,.1f}",
                f"{100 * row.cpu_s / row.wall_s:.0f} %",
                f"{row.per_cpu_s:,.0f}",
                f"{row.p50_ms:.2f}",
                f"{row.p99_ms:.2f}",
                f"{row.generator_percent:.0f} %",
            ]
        )
    return table(lines)


def rate_table(rows: Sequence[tuple[Load, dict[str, Figures]]], names: Sequence[str]) -> str:
    """Return the table of maximum rates, the gateways side by side."""
    head = [""]
    for unit in ("/CPU s", "/s"):
        head += [f"{name} {unit}" for name in names]
        head += ["ratio"] if len(names) > 1 else []
    for what in ("p50 ms", "p99 ms"):
        head += [f"{name} {what}" for name in names]
    lines = [[*head, "generator CPU"]]
    for load, measured in rows:
        figures = [measured[name] for name in names]
        line = [f"{load.name} ({load.unit})"]
        for values in ([f.per_cpu_s for f in figures], [f.per_wall_s for f in figures]):
            line += [f"{value:,.0f}" for value in values]
            line += (
                [f"{values[0] / values[1]:.1f}" if values[1] else "-"] if len(values) > 1 else []
            )
        for times in ([f.p50_ms for f in figures], [f.p99_ms for f in figures]):
            line += ["-" if ms is None else f"{ms:.2f}" for ms in times]
        line.append(" ".join(f"{f.generator_percent:.0f} %" for f in figures))
        lines.append(line)
    return table(lines)


def problems(rows: Sequence[tuple[str, str, Figures]]) -> str:
    """Return how many connections broke, and the first reason for each load."""
    return "".join(
        f"{gateway} lost {row.lost} in {load!r}: {row.problem or 'echoes are missing'}\n"
        for load, gateway, row in rows
        if row.lost
    )
