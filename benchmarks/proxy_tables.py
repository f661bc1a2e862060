"""The tables of the comparison with websockify, for the terminal and RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.contest import Spread, number
from benchmarks.gateway_tables import Figures, table
from benchmarks.proxy import PEER, Pairs, Row, kept_for

__all__ = ["EXPLANATION", "proxy_details"]

EXPLANATION = f"""\
Each row compares rtchat's `/tcp/HOST:PORT` with {PEER}, both before the same target. A ratio is
rtchat's figure divided by {PEER}'s (of memory, the other way round), round by round: the middle
one, and the range. A CPU second is one of all the gateway's processes together, those that have
ended included. Memory is proportional (PSS): what {PEER}'s processes share counts once."""

_NAMES = ("rtchat", PEER)


def proxy_details(measured: Mapping[Row, Pairs]) -> str:
    """Return the table of both gateways."""
    done = [(row, pairs) for row, pairs in measured.items() if pairs.ours]
    parts = []
    if rates := [(row, pairs) for row, pairs in done if row.load is not None]:
        parts += [_rates(rates), _times(rates)]
    parts += [_held(pairs) for row, pairs in done if row.load is None]
    notes = [
        f"{row.title}: {problem}" for row, pairs in measured.items() for problem in pairs.problems
    ]
    return "\n\n".join([*parts, *notes])


def _rates(rows: Sequence[tuple[Row, Pairs]]) -> str:
    head = ["", "ratio /CPU s", "range", *(f"{name} /CPU s" for name in _NAMES)]
    lines = [[*head, "ratio on the clock", "range", *(f"{name} /s" for name in _NAMES)]]
    for row, pairs in rows:
        lines.append(
            [
                f"{row.title} ({row.unit})",
                *_compare(pairs, lambda one: one.per_cpu_s),
                *_compare(pairs, lambda one: one.per_wall_s),
            ]
        )
    return table(lines)


def _compare(pairs: Pairs, figure: Callable[[Figures], float]) -> list[str]:
    """Return the ratio, its range, and both figures."""
    ratio = pairs.ratios(figure)
    return [
        number(ratio.median),
        f"{number(ratio.low)} .. {number(ratio.high)}",
        *(f"{value:,.0f}" for value in _middles(pairs, figure)),
    ]


def _middles(pairs: Pairs, figure: Callable[[Figures], float]) -> list[float]:
    return [
        Spread.of([figure(one) for one in several]).median for several in (pairs.ours, pairs.theirs)
    ]


def _times(rows: Sequence[tuple[Row, Pairs]]) -> str:
    head = ["", *(f"{name} p50, p99 ms" for name in _NAMES)]
    lines = [[*head, *(f"{name} CPU" for name in _NAMES), "generator CPU, beside each"]]
    for row, pairs in rows:
        p50, p99, busy, generator = (
            _middles(pairs, of)
            for of in (
                lambda one: one.p50_ms or 0.0,
                lambda one: one.p99_ms or 0.0,
                lambda one: 100 * one.cpu_s / one.wall_s,
                lambda one: one.generator_percent,
            )
        )
        times = [
            f"{low:.2f}, {high:.2f}" if high else "-" for low, high in zip(p50, p99, strict=True)
        ]
        lines.append(
            [
                row.title,
                *times,
                *(f"{percent:.0f}%" for percent in busy),
                ", ".join(f"{percent:.0f}%" for percent in generator),
            ]
        )
    return table(lines)


def _held(pairs: Pairs) -> str:
    """Return the table of held connections, with an echo of 64 bytes a second on each."""
    head = ["connections held", "how many", "seconds", "KB /connection", "range"]
    lines = [[*head, "echoes /CPU s", "p50 ms", "p99 ms"]]
    for name, several in zip(_NAMES, (pairs.ours, pairs.theirs), strict=True):
        kb = Spread.of([one.kb_per_connection or 0.0 for one in several])
        lines.append(
            [
                name,
                f"{several[0].connections:,}",
                f"{several[0].wall_s:.0f}",
                number(kb.median),
                f"{number(kb.low)} .. {number(kb.high)}",
                f"{Spread.of([one.per_cpu_s for one in several]).median:,.0f}",
                f"{Spread.of([one.p50_ms or 0.0 for one in several]).median:.2f}",
                f"{Spread.of([one.p99_ms or 0.0 for one in several]).median:.2f}",
            ]
        )
    ratio = pairs.ratios(kept_for)
    said = f"{number(ratio.median)} times less ({number(ratio.low)} .. {number(ratio.high)})"
    return f"{table(lines)}\n\nMemory a connection: {said}."
