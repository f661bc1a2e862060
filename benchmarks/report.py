"""The results of a comparison so far, and RESULTS.md with its pictures."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from benchmarks.proxy import Pairs, Row
from benchmarks.proxy_tables import EXPLANATION, proxy_details
from benchmarks.reasons import reason_of
from benchmarks.results import details, growth_table, summary

__all__ = ["Report"]

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
Each server runs by itself on loopback with the settings of `brokers.py`; all of a row's servers run
at the same time and are loaded one after the other, so each round of a ratio compares two runs that
are seconds apart. The middle round decides; the range is that of all rounds.

- **Deliveries a CPU second**: copies that arrived at subscribers, for each second of processor
  time, user and system, that all processes of the server used together.
- **Deliveries a second**: the same on the clock. Server and generator share the machine.
- **p50, p99**: from just before the publisher's write to just after the subscriber's read.
- **Server, generator**: how much of one core each used. The generator is one thread of C; where it
  comes near 100 %, the figure on the clock is its own, while the one a CPU second still holds.
- A server that cannot keep a pace is measured at half of it, and so on; the table says at which.
- A subscriber is at most half a MiB behind. Bodies have 100 bytes where nothing else is said.
- Where a process may not open enough files for 20,000 connections, as many as it may are opened.

`make bench-peers` does all of this again; [README.md](README.md) says how."""


@dataclass
class Report:
    """The results so far.

    Attributes:
        environment: The machine and the versions.
        rounds: The number of rounds of each row.
        seconds: The approximate duration of a round.
        works: The rows of brokers.
        proxy: The rows of the proxy.
        growths: The curves, by the name of the growth.
        verdicts: The verdicts on the targets.
        failures: What could not be measured, and why.
        is_complete: Whether all stages are done.
    """

    environment: str
    rounds: int
    seconds: float
    works: dict[Work, dict[Contestant, Series]] = field(default_factory=dict)
    proxy: dict[Row, Pairs] = field(default_factory=dict)
    growths: dict[str, Curves] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    is_complete: bool = False
    _start: float = field(default_factory=time.monotonic)

    def took(self) -> str:
        """Return how long the comparison has taken so far."""
        minutes, seconds = divmod(round(time.monotonic() - self._start), 60)
        return f"{minutes} min {seconds} s"

    def write(self, directory: Path) -> Path:
        """Write RESULTS.md and its pictures; return the path of RESULTS.md."""
        growths = {name: curves for name, curves in self.growths.items() if curves.runs}
        pictures = _pictures(growths)
        folder = directory / "results"
        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in pictures.items():
            (folder / name).write_text(svg, encoding="utf-8")
        parts = [*self._head(), *self._targets()]
        parts += ["## How it was measured", _METHOD]
        if self.works:
            parts.append("## Each load")
            for work, all_series in self.works.items():
                parts += [f"### {work.title}", details(work, all_series)]
        if self.proxy:
            parts += ["## The proxy, /tcp, beside websockify", EXPLANATION]
            parts.append(proxy_details(self.proxy))
        if growths:
            parts.append("## How cost grows")
            parts += [f"![{name.removesuffix('.svg')}](results/{name})" for name in pictures]
            parts += _tables(growths)
        path = directory / "RESULTS.md"
        path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
        return path

    def _head(self) -> list[str]:
        parts = ["# Results of `make bench-peers`", f"```\n{self.environment}\n```"]
        parts.append(
            f"{self.rounds} rounds of about {self.seconds:g} s for each row; {self.took()} in all."
        )
        if not self.is_complete:
            parts.append("**Not all of it was measured:** the run ended early, or a part failed.")
        parts += [f"Not measured: {failure}" for failure in self.failures]
        return parts

    def _targets(self) -> list[str]:
        if not self.verdicts:
            return []
        short = [one for one in self.verdicts if one.is_met is False]
        parts = ["## Targets", f"{len(short)} of {len(self.verdicts)} rows are SHORT."]
        parts.append(summary(self.verdicts))
        if short:
            parts.append("Why these are SHORT:")
            parts.append(
                "\n".join(f"- **{one.work}**, {one.target}: {reason_of(one)}" for one in short)
            )
        return parts

    def keep_figures(self, path: Path) -> None:
        """Write every single run to a file, as raw data for other evaluations."""
        figures = {
            "works": {
                work.title: {one.label: dataclasses.asdict(series) for one, series in each.items()}
                for work, each in self.works.items()
            },
            "proxy": {row.title: dataclasses.asdict(pairs) for row, pairs in self.proxy.items()},
            "growths": {
                name: {
                    one.label: [[point, dataclasses.asdict(run)] for point, run in curve]
                    for one, curve in curves.runs.items()
                }
                for name, curves in self.growths.items()
            },
        }
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _tables(growths: Mapping[str, Curves]) -> list[str]:
    parts = []
    for name, curves in growths.items():
        growth = next(one for one in GROWTHS if one.name == name)
        unit = "p50 / p99 in ms" if growth.is_paced else "µs of the server's CPU a delivery"
        parts += [f"### {growth.title}", f"{unit}:", growth_table(name, curves)]
    return parts


def _lines(curves: Curves, figure: Callable[[Run], float]) -> list[Line]:
    return [
        Line(
            contestant.label,
            _COLOURS[contestant],
            [(point, figure(run)) for point, run in curve if figure(run) > 0],
            is_dashed=contestant.wire == "ws",
            is_bold=contestant.server == "rtchat",
        )
        for contestant, curve in curves.runs.items()
    ]


def _pictures(growths: Mapping[str, Curves]) -> dict[str, str]:
    """Return the pictures as SVG, by file name."""

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
