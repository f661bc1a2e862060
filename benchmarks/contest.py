"""The comparison itself: each server in turn, several rounds, and what the ratios say."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.generator import Blast, Run
from benchmarks.plan import Contestant, Measure, Target, Work
from benchmarks.servers import BenchError, Server

__all__ = ["Field", "Series", "Spread", "Verdict", "judge", "measure_work", "say"]

MIN_RATE = 5.0
_PROBE_COPIES = 20_000
# A probe that lasts at least this long tells how many messages fill a run.
_PROBE_S = 0.4
_LATE = 1.2
_MAX_WAIT = 3


def say(text: str) -> None:
    """Tell how far it is; the results go to standard output."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Spread:
    """A figure of several rounds.

    Attributes:
        median: The middle one.
        low: The least.
        high: The most.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Take the figures of all rounds."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Series:
    """All rounds of one contestant at one work.

    Attributes:
        rate: Messages a second it was given; 0 is flat out.
        runs: What each round measured.
        failure: Why it could not do the work; "" if it could.
    """

    rate: float = 0.0
    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    def spread(self, of: Callable[[Run], float]) -> Spread:
        """Give a figure of all rounds."""
        return Spread.of([of(run) for run in self.runs])


@dataclass(frozen=True)
class Field:
    """Who is here.

    Attributes:
        servers: The servers that run, by name.
        blast: The load generator.
        rounds: How often each work is done.
        seconds: How long each round takes, roughly.
    """

    servers: Mapping[str, Server]
    blast: Blast
    rounds: int
    seconds: float

    def present(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Give those whose server runs."""
        return [one for one in contestants if one.server in self.servers]

    def run(self, contestant: Contestant, **settings: float) -> Run:
        """Load one of them once."""
        server = self.servers[contestant.server]
        body = int(settings.pop("body", 100))
        return self.blast.run(server, contestant.wire, body=body, **settings)


def measure_work(work: Work, field: Field) -> dict[Contestant, Series]:
    """Let each contestant do the work in turn, round after round.

    Raises:
        BenchError: Ours could not do it. A peer that cannot has a Series that says why.
    """
    all_series: dict[Contestant, Series] = {}
    messages: dict[Contestant, int] = {}
    for contestant in field.present(work.contestants):
        series = all_series[contestant] = Series(work.rate)
        try:
            messages[contestant] = _warm_up(work, contestant, series, field)
        except BenchError as error:
            _give_up(contestant, series, error)
    for number in range(field.rounds):
        order = [one for one, series in all_series.items() if not series.failure]
        # Whoever comes first in one round comes later in the next.
        shift = number % len(order)
        for contestant in order[shift:] + order[:shift]:
            series = all_series[contestant]
            settings = {**work.settings, "rate": series.rate, "messages": messages[contestant]}
            try:
                series.runs.append(field.run(contestant, **settings))
            except BenchError as error:
                _give_up(contestant, series, error)
    return all_series


def _give_up(contestant: Contestant, series: Series, error: BenchError) -> None:
    if contestant.server == "rtchat":
        raise error
    reason = str(error).splitlines()[0]
    series.failure = reason.partition("blast: ")[2] or reason
    say(f"  {contestant.label}: {series.failure}")


def _warm_up(work: Work, contestant: Contestant, series: Series, field: Field) -> int:
    """Find a pace that the server can keep and give how many messages a round takes."""
    receivers = 1 if work.settings.get("prefetch") else work.settings["subscribers"]
    if not work.rate:
        messages = max(2, int(_PROBE_COPIES / receivers))
        # The first is slow by itself (a JVM compiles, caches fill) and much too short for the
        # fastest: the second fills the time.
        run = field.run(contestant, **work.settings, messages=messages)
        for _ in range(4):
            if run.wall_s > _PROBE_S:
                break
            messages = max(2 * messages, int(run.messages / run.wall_s * field.seconds / 2))
            run = field.run(contestant, **work.settings, messages=messages)
        run = field.run(contestant, **work.settings, messages=run.messages)
        # Where others use the machine as well, a second on the clock is less of a run.
        busy_s = max(run.server_cpu_s, run.wall_s / _MAX_WAIT)
        return max(2, round(run.messages / busy_s * field.seconds))
    while series.rate > MIN_RATE:
        length_s = min(field.seconds, 1.5)
        messages = max(2, round(series.rate * length_s))
        run = field.run(contestant, **work.settings, messages=messages, rate=series.rate)
        if run.wall_s < length_s * _LATE + 0.3:
            break
        series.rate /= 2
    return max(2, round(series.rate * field.seconds))


@dataclass(frozen=True)
class Verdict:
    """One line of the table of targets.

    Attributes:
        work: What was done.
        target: What is expected.
        measured: What came of it.
        ours: Our own figure.
        peer: Theirs, and whose.
        is_met: Whether it is as good as expected; None if it was not measured.
    """

    work: str
    target: str
    measured: str
    ours: str = "-"
    peer: str = "-"
    is_met: bool | None = None

    @property
    def word(self) -> str:
        """Say it in a word."""
        return {True: "PASS", False: "SHORT", None: "not measured"}[self.is_met]

    def __str__(self) -> str:
        return f"{self.word}: {self.work}: {self.measured}, target {self.target}"


def judge(work: Work, target: Target, all_series: Mapping[Contestant, Series]) -> Verdict:
    """Compare, round by round, and let the middle ratio decide."""
    ours = all_series[target.ours]
    peers = [one for one in target.peers if one in all_series and all_series[one].runs]
    peers = [one for one in peers if not all_series[one].failure]
    if not peers:
        names = ", ".join(one.label for one in target.peers)
        return Verdict(work.title, str(target), f"nothing to compare with: {names}")
    best_of = min if target.is_time else max
    best = best_of(peers, key=lambda one: _figures(all_series[one], target.measure).median)
    theirs = all_series[best]
    ratio = Spread.of(
        [
            getattr(run, target.measure) / getattr(other, target.measure)
            for run, other in zip(ours.runs, theirs.runs, strict=True)
        ]
    )
    is_met = ratio.median <= target.ratio if target.is_time else ratio.median >= target.ratio
    pace = f" at {theirs.rate:g}/s" if theirs.rate != work.rate else ""
    return Verdict(
        work.title,
        str(target),
        f"{number(ratio.median)} x ({number(ratio.low)} .. {number(ratio.high)})",
        _write(ours, target.measure),
        f"{_write(theirs, target.measure)}{pace} ({best.label})",
        is_met,
    )


def number(value: float) -> str:
    """Write a ratio with as many digits as it deserves."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 5 else f"{value:.2f}"


def _figures(series: Series, measure: Measure) -> Spread:
    return series.spread(lambda run: float(getattr(run, measure)))


def _write(series: Series, measure: Measure) -> str:
    median = _figures(series, measure).median
    if measure == "per_cpu_s":
        return f"{median:,.0f} /CPU s"
    return f"{median:.2f} ms"
