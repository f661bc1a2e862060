"""How cost grows: with subscribers, topics, the size of bodies, subscriptions of a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic

from benchmarks.contest import Field, say
from benchmarks.generator import Run
from benchmarks.plan import (
    ACTIVEMQ,
    MOSQUITTO,
    NATS,
    OURS,
    OURS_WS,
    RABBITMQ,
    RABBITMQ_WS,
    Contestant,
)
from benchmarks.servers import BenchError

__all__ = ["GROWTHS", "Curves", "Growth", "measure_growth"]

# RabbitMQ and ActiveMQ take many milliseconds for each connection: fewer points, and a lower top.
_SLOW = frozenset({RABBITMQ, RABBITMQ_WS, ACTIVEMQ})
_SLOW_TOP = 1000
# A contestant that takes longer for a run, connections included, is measured once per point.
_LONG_S = 8.0
# A contestant that takes longer than this is not measured at greater points.
_TOO_LONG_S = 30.0
_PACED_COPIES_PER_S = 10_000
_MAX_RATE = 100.0
_MIN_RATE = 2.0
_ENOUGH = 0.4
_MAX_WAIT = 3
# The first messages to a connection cost more (buffers and stacks grow), some servers ten times:
# so many connections need a run that is longer.
_MANY = 1000
_MANY_LONGER = 3
_FEW_POINTS = 4


@dataclass(frozen=True)
class Growth:
    """One parameter that grows while all others are constant.

    Attributes:
        name: Its name in files.
        title: The title of its picture.
        x_label: The parameter.
        points: The values of the parameter.
        contestants: The contestants.
        settings: Returns ``blast``'s arguments for a point.
        copies: Returns the number of copies of a message at a point.
        is_paced: Whether messages are sent at a constant rate, to measure latency.
        slow_top: The last point for servers that connect slowly; 0 means no such limit.
    """

    name: str
    title: str
    x_label: str
    points: tuple[int, ...]
    contestants: tuple[Contestant, ...]
    settings: Callable[[int], Mapping[str, float]]
    copies: Callable[[int], float]
    is_paced: bool = False
    slow_top: int = 0

    @property
    def note(self) -> str:
        """Return a note about points that slow servers skip, or ""."""
        slow = [one.label for one in self.contestants if one in _SLOW]
        if not slow or not self.slow_top:
            return ""
        return (
            f"Each connection costs {', '.join(slow)} milliseconds: they have fewer points, and "
            f"at most {self.slow_top:,} {self.x_label}."
        )


@dataclass
class Curves:
    """The results of a growth so far.

    Attributes:
        runs: For each contestant, the median run at each point.
        notes: Which contestants were left out, where, and why.
    """

    runs: dict[Contestant, list[tuple[int, Run]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


_EVERYBODY = (OURS, OURS_WS, NATS, MOSQUITTO, ACTIVEMQ, RABBITMQ, RABBITMQ_WS)
_SUBSCRIBERS = (1, 3, 10, 30, 100, 300, 1000, 3000, 5000)
# Runs at a constant rate take long: fewer points.
_PACED_SUBSCRIBERS = (1, 10, 100, 300, 1000, 3000, 5000)

GROWTHS: tuple[Growth, ...] = (
    Growth(
        "subscribers",
        "One publisher, flat out, bodies of 100 bytes",
        "subscribers",
        _SUBSCRIBERS,
        _EVERYBODY,
        lambda point: {"subscribers": point},
        float,
        slow_top=_SLOW_TOP,
    ),
    Growth(
        "latency",
        f"{_PACED_COPIES_PER_S:,} deliveries a second, {_MIN_RATE:g} to {_MAX_RATE:g} messages",
        "subscribers",
        _PACED_SUBSCRIBERS,
        _EVERYBODY,
        lambda point: {"subscribers": point},
        float,
        is_paced=True,
        slow_top=_SLOW_TOP,
    ),
    Growth(
        "topics",
        "Each topic one subscription, up to 100 sessions",
        "topics",
        (1, 10, 100, 1000, 10_000),
        (OURS, NATS, MOSQUITTO),
        lambda point: {
            "topics": point,
            "subscribers": min(point, 100),
            "subscriptions": max(1, point // 100),
        },
        lambda _: 1.0,
    ),
    Growth(
        "body",
        "One publisher, 10 subscribers",
        "bytes in a body",
        (20, 100, 1000, 10_000, 100_000, 1 << 20),
        (OURS, OURS_WS, NATS, MOSQUITTO, ACTIVEMQ, RABBITMQ),
        lambda point: {"body": point, "subscribers": 10},
        lambda _: 10.0,
    ),
    Growth(
        "subscriptions",
        "100 sessions, each subscribed to all topics",
        "subscriptions of each session",
        (1, 10, 100, 1000),
        (OURS, NATS, MOSQUITTO),
        lambda point: {"topics": point, "subscriptions": point, "subscribers": 100},
        lambda _: 100.0,
    ),
)
"""The growths, in the order of the pictures."""


def measure_growth(growth: Growth, field: Field, points: Sequence[int], curves: Curves) -> None:
    """Measure each contestant at each point, those of one point in turn.

    Args:
        growth: The growth.
        field: The contestants that take part.
        points: The points to measure.
        curves: Collects the results, point by point.

    Raises:
        BenchError: rtchat has failed. If a peer fails, a note has the reason.
    """
    guesses: dict[Contestant, float] = {}
    lost: set[Contestant] = set()

    def drop(contestant: Contestant, point: int, reason: str) -> None:
        lost.add(contestant)
        curves.notes.append(f"{contestant.label} at {point:,}: {reason}")
        say(f"  {curves.notes[-1]}")

    for place, point in enumerate(points):
        say(f"  {growth.x_label}: {point}")
        is_for_all = place % 2 == 0 or len(points) <= _FEW_POINTS
        is_for_slow = is_for_all and point <= (growth.slow_top or point)
        runs: dict[Contestant, list[Run]] = {
            one: []
            for one in field.present(growth.contestants)
            if one not in lost and (is_for_slow or one not in _SLOW)
        }
        waiting = list(runs)
        for _ in range(field.rounds):
            for contestant in list(waiting):
                start = monotonic()
                try:
                    runs[contestant].append(_run(growth, point, contestant, field, guesses))
                except BenchError as error:
                    if contestant.server == "rtchat":
                        raise
                    waiting.remove(contestant)
                    drop(contestant, point, str(error).splitlines()[0])
                    continue
                took_s = monotonic() - start
                if took_s > _LONG_S:
                    waiting.remove(contestant)
                if took_s > _TOO_LONG_S and point != points[-1]:
                    drop(contestant, point, f"a run took {took_s:.0f} s, so no greater one is done")
        for contestant, several in runs.items():
            if several:
                curves.runs.setdefault(contestant, []).append((point, _middle(several, growth)))


def _middle(runs: list[Run], growth: Growth) -> Run:
    """Return the median run, so that all of its figures belong together."""
    ordered = sorted(runs, key=lambda run: run.p99_ms if growth.is_paced else run.per_cpu_s)
    return ordered[(len(ordered) - 1) // 2]


def _run(
    growth: Growth,
    point: int,
    contestant: Contestant,
    field: Field,
    guesses: dict[Contestant, float],
) -> Run:
    settings = growth.settings(point)
    copies = growth.copies(point)
    if growth.is_paced:
        rate = max(_MIN_RATE, min(_MAX_RATE, _PACED_COPIES_PER_S / copies))
        messages = max(4, round(rate * field.seconds))
        return field.run(contestant, **settings, messages=messages, rate=rate)
    # The last point determines the approximate number of messages at this one.
    guess = guesses.get(contestant, 20_000.0)
    seconds = field.seconds * (_MANY_LONGER if copies >= _MANY else 1)
    start = monotonic()
    for _ in range(5):
        # A multiple of the number of topics, so that each topic gets as many messages.
        turns = settings.get("topics", 1)
        messages = max(2, int(turns * -(-guess / copies * seconds // turns)))
        run = field.run(contestant, **settings, messages=messages)
        # On a shared machine, a second of wall-clock time contains less work.
        busy_s = max(run.server_cpu_s, run.wall_s / _MAX_WAIT, 1e-3)
        guess = run.copies / busy_s
        if busy_s >= _ENOUGH * seconds or monotonic() - start > _TOO_LONG_S / 2:
            break
    guesses[contestant] = guess
    return run
