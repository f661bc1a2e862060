"""The comparison: each server in turn, in several rounds, judged by ratios."""

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
# A probe of at least this duration determines the number of messages of a run.
_PROBE_S = 0.4
_LATE = 1.2
_MAX_WAIT = 3


def say(text: str) -> None:
    """Write progress to standard error; the results go to standard output."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Spread:
    """A figure of several rounds.

    Attributes:
        median: The median.
        low: The smallest value.
        high: The largest value.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of the figures of all rounds."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Series:
    """All rounds of one contestant with one load.

    Attributes:
        rate: Messages per second sent to it; 0 means as many as it accepts.
        runs: The results of each round.
        failure: Why it failed, or "".
    """

    rate: float = 0.0
    runs: list[Run] = field(default_factory=list)
    failure: str = ""

    def spread(self, of: Callable[[Run], float]) -> Spread:
        """Return the spread of one figure over all rounds."""
        return Spread.of([of(run) for run in self.runs])


@dataclass(frozen=True)
class Field:
    """The contestants that take part, and how they are measured.

    Attributes:
        servers: The running servers, by name.
        blast: The load generator.
        rounds: The number of rounds of each load.
        seconds: The approximate duration of a round.
    """

    servers: Mapping[str, Server]
    blast: Blast
    rounds: int
    seconds: float

    def present(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Return the contestants whose server runs."""
        return [one for one in contestants if one.server in self.servers]

    def run(self, contestant: Contestant, **settings: float) -> Run:
        """Load one contestant once."""
        server = self.servers[contestant.server]
        body = int(settings.pop("body", 100))
        return self.blast.run(server, contestant.wire, body=body, **settings)


def measure_work(work: Work, field: Field) -> dict[Contestant, Series]:
    """Measure each contestant in turn, round after round.

    Raises:
        BenchError: rtchat has failed. If a peer fails, its Series has the reason.
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
        # Rotate the order: the first contestant of a round comes later in the next one.
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
    """Lower ``series.rate`` until the server sustains it; return the messages of a round."""
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
        # On a shared machine, a second of wall-clock time contains less work.
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
        work: The load.
        target: The target.
        measured: The ratio.
        ours: The figure of rtchat.
        peer: The best peer's figure and name.
        is_met: Whether the target is met; None if it was not measured.
    """

    work: str
    target: str
    measured: str
    ours: str = "-"
    peer: str = "-"
    is_met: bool | None = None

    @property
    def word(self) -> str:
        """Return the verdict as one word."""
        return {True: "PASS", False: "SHORT", None: "not measured"}[self.is_met]

    def __str__(self) -> str:
        return f"{self.word}: {self.work}: {self.measured}, target {self.target}"


def judge(work: Work, target: Target, all_series: Mapping[Contestant, Series]) -> Verdict:
    """Compare round by round; the median of the ratios decides."""
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
    """Format a ratio with a sensible number of digits."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}" if value >= 5 else f"{value:.2f}"


def _figures(series: Series, measure: Measure) -> Spread:
    return series.spread(lambda run: float(getattr(run, measure)))


def _write(series: Series, measure: Measure) -> str:
    median = _figures(series, measure).median
    if measure == "per_cpu_s":
        return f"{median:,.0f} /CPU s"
    return f"{median:.2f} ms"
