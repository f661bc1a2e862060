"""The gateway, ``/tcp/HOST:PORT``, compared with websockify in ``make bench-peers``.

The loads are those of ``gateway.py``. Both gateways are loaded in turn, round after round, and the
ratios of the rounds are judged like those of the brokers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contest import Spread, Verdict, number, say
from benchmarks.gateway_tables import Figures, Load
from benchmarks.gateways import (
    RATES,
    REMEDY,
    SPARE_FILES,
    Gateway,
    Generator,
    find_websockify,
    hold,
    rtchat,
    websockify,
)
from benchmarks.generator import raise_open_files
from benchmarks.servers import BenchError

__all__ = [
    "PEER",
    "ROWS",
    "Held",
    "Pairs",
    "Row",
    "find_peer",
    "judge_row",
    "kept_for",
    "measure_proxy",
]

PEER = "websockify"
_TARGETS = {"open": 10.0, "hold": 10.0, "messages": 4.0, "up": 2.0, "down": 2.0}
_WARM_UP_S = 0.5


@dataclass(frozen=True)
class Held:
    """A load of held connections.

    Attributes:
        connections: Number of connections through rtchat.
        peer_connections: Number of connections through websockify, each of which is a process.
        seconds: Duration for which each gateway holds them.
        rounds: Number of rounds, each with newly started gateways.
    """

    connections: int
    peer_connections: int
    seconds: float
    rounds: int


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the comparison.

    Attributes:
        title: Its title.
        mode: The generator's mode, see ``gateway.c``.
        unit: The unit of the figure.
        load: The load; None to hold connections.
    """

    title: str
    mode: str
    unit: str
    load: Load | None

    @property
    def ratio(self) -> float:
        """The target: how many times better than websockify rtchat has to be."""
        return _TARGETS[self.mode]

    @property
    def target(self) -> str:
        """Say so."""
        return f"{self.ratio:g} x {PEER}"


ROWS: tuple[Row, ...] = (
    Row("/tcp proxy: memory a connection, theirs divided by ours", "hold", "KB /connection", None),
    *(Row(f"/tcp proxy: {load.name}", load.mode, load.unit, load) for load in RATES),
)
"""The rows, in the order of measurement."""


@dataclass
class Pairs:
    """The results of both gateways in each round of a row.

    Attributes:
        ours: rtchat, round by round.
        theirs: websockify, in the same rounds.
        failure: Why websockify failed, or "".
    """

    ours: list[Figures] = field(default_factory=list)
    theirs: list[Figures] = field(default_factory=list)
    failure: str = ""

    def ratios(self, figure: Callable[[Figures], float]) -> Spread:
        """Return the ratio of ours to theirs, round by round."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return Spread.of([figure(ours) / max(figure(theirs), 1e-9) for ours, theirs in pairs])

    @property
    def lost(self) -> int:
        """The number of connections that rtchat lost."""
        return sum(figures.lost for figures in self.ours)

    @property
    def problems(self) -> list[str]:
        """Return how many connections each gateway lost, and why."""
        texts = [f"{PEER}: {self.failure}"] if self.failure else []
        for name, several in (("rtchat", self.ours), (PEER, self.theirs)):
            if lost := sum(figures.lost for figures in several):
                why = next((one.problem for one in several if one.problem), "echoes are missing")
                texts.append(f"{name} lost {lost}: {why}")
        return texts


def find_peer(without: Sequence[str]) -> str | None:
    """Return websockify's path, or report how to install it."""
    if PEER in without:
        return None
    program = find_websockify(None)
    if program is None:
        say(f"{PEER} is not here: {REMEDY.replace('--websockify or ', '')}")
    return program


def kept_for(figures: Figures) -> float:
    """Return the number of connections per KB, so that more is better, as in the other rows."""
    return 1 / max(figures.kb_per_connection or 0.0, 1e-3)


def judge_row(row: Row, pairs: Pairs | None) -> Verdict:
    """Compare round by round; the median ratio decides. Lost connections fail the row."""
    if pairs is None or pairs.failure or not pairs.theirs:
        why = f": {pairs.failure}" if pairs is not None and pairs.failure else ""
        return Verdict(row.title, row.target, f"nothing to compare with: {PEER}{why}")

    def middle(several: Sequence[Figures], of: Callable[[Figures], float]) -> float:
        return Spread.of([of(figures) for figures in several]).median

    if row.mode == "hold":
        ratio = pairs.ratios(kept_for)
        ours, theirs = (
            f"{number(middle(several, lambda one: one.kb_per_connection or 0.0))} KB"
            for several in (pairs.ours, pairs.theirs)
        )
    else:
        ratio = pairs.ratios(lambda one: one.per_cpu_s)
        ours, theirs = (
            f"{middle(several, lambda one: one.per_cpu_s):,.0f} {row.unit} /CPU s"
            for several in (pairs.ours, pairs.theirs)
        )
    measured = f"{number(ratio.median)} x ({number(ratio.low)} .. {number(ratio.high)})"
    if pairs.lost:
        measured += f", but {pairs.lost} connections lost"
    is_met = ratio.median >= row.ratio and not pairs.lost
    return Verdict(row.title, row.target, measured, ours, f"{theirs} ({PEER})", is_met)


def measure_proxy(
    rows: Sequence[Row],
    program: str,
    directory: Path,
    rounds: int,
    seconds: float,
    held: Held,
) -> Iterator[tuple[Row, Pairs]]:
    """Measure the rows, one after the other.

    Raises:
        BenchError: rtchat has failed. If websockify fails, the row has the reason.
    """
    directory.mkdir(exist_ok=True)
    with Generator(directory) as generator:
        for row in rows:
            if row.load is None:
                say(row.title)
                yield row, _hold_in_turn(program, directory, generator, held)
        loads = [(row, row.load) for row in rows if row.load is not None]
        if not loads:
            return
        with contextlib.ExitStack() as stack:
            gateways = [
                stack.enter_context(gateway)
                for gateway in _both(program, directory / "rates", generator.target_port)
            ]
            for gateway in gateways:
                generator.run(gateway, "open", _WARM_UP_S, {"parallel": 32})
            for row, load in loads:
                say(row.title)
                yield row, _load_in_turn(load, gateways, generator, rounds, seconds)


def _both(program: str, directory: Path, target_port: int) -> list[Gateway]:
    directory.mkdir()
    return [
        rtchat(directory / "rtchat", target_port),
        websockify(program, directory / PEER, target_port),
    ]


def _load_in_turn(
    load: Load, gateways: Sequence[Gateway], generator: Generator, rounds: int, seconds: float
) -> Pairs:
    pairs = Pairs()
    for turn in range(rounds):
        done: dict[str, Figures] = {}
        # Alternate the order of the gateways between rounds.
        for gateway in gateways if turn % 2 == 0 else gateways[::-1]:
            try:
                done[gateway.name] = generator.run(gateway, load.mode, seconds, load.settings)
            except BenchError as error:
                _blame(gateway, pairs, error)
        if pairs.failure:
            break
        pairs.ours.append(done["rtchat"])
        pairs.theirs.append(done[PEER])
    return pairs


def _hold_in_turn(program: str, directory: Path, generator: Generator, held: Held) -> Pairs:
    pairs = Pairs()
    most = (raise_open_files() - SPARE_FILES) // 2  # each connection is two files
    for turn in range(held.rounds):
        folder = directory / f"held-{turn}"
        ours, theirs = _both(program, folder, generator.target_port)
        with ours:
            done = hold(generator, ours, min(held.connections, most), held.seconds)
        try:
            with theirs:
                pairs.theirs.append(hold(generator, theirs, held.peer_connections, held.seconds))
        except BenchError as error:
            _blame(theirs, pairs, error)
            break
        pairs.ours.append(done)
    return pairs


def _blame(gateway: Gateway, pairs: Pairs, error: BenchError) -> None:
    if gateway.name == "rtchat":
        raise error
    pairs.failure = str(error).splitlines()[0]
    say(f"  {gateway.name}: {pairs.failure}")
