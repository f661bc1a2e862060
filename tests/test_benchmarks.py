"""The benchmarks measure what they say: copies are counted, ratios judged, peers named."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.needs import require

from benchmarks import growth
from benchmarks.brokers import PEERS, Nats
from benchmarks.contest import Field, Series, judge
from benchmarks.generator import Blast, Run
from benchmarks.growth import GROWTHS, Curves, measure_growth
from benchmarks.peers import find_peers
from benchmarks.picture import Line, Panel, draw
from benchmarks.plan import (
    ACTIVEMQ,
    NATS,
    OURS,
    OURS_WS,
    RABBITMQ,
    RABBITMQ_WS,
    Contestant,
    Target,
    Work,
)
from benchmarks.results import details, table
from benchmarks.servers import BenchError, Rtchat

PLAIN = Run(
    messages=100,
    copies=100,
    copies_due=100,
    wall_s=1.0,
    server_cpu_s=0.5,
    generator_cpu_s=0.2,
    p50_ms=1.0,
    p99_ms=3.0,
    max_ms=4.0,
    connections=2,
    connect_s=0.1,
    connect_cpu_s=0.1,
    hold_s=0.0,
    hold_cpu_s=0.0,
    hold_generator_cpu_s=0.0,
    rss_before_kb=1000,
    rss_connected_kb=1010,
    rss_end_kb=1010,
)
"""200 deliveries a CPU second."""


def series(*copies: int, p99_ms: float = 3.0) -> Series:
    """Return rounds with so many copies each, in half a CPU second."""
    runs = [dataclasses.replace(PLAIN, copies=one, p99_ms=p99_ms) for one in copies]
    return Series(runs=runs)


def work(*targets: Target) -> Work:
    """Return a row with these targets."""
    return Work("a row", (OURS, NATS), targets)


class TestJudging:
    def test_the_middle_ratio_of_the_rounds_decides(self) -> None:
        target = Target(OURS, (NATS,), 2, "NATS")
        measured = {OURS: series(100, 300, 210), NATS: series(100, 100, 100)}

        verdict = judge(work(target), target, measured)

        assert verdict.word == "PASS"
        assert verdict.measured == "2.10 x (1.00 .. 3.00)"

    def test_a_smaller_ratio_is_short(self) -> None:
        target = Target(OURS, (NATS,), 2, "NATS")

        verdict = judge(work(target), target, {OURS: series(199), NATS: series(100)})

        assert verdict.word == "SHORT"

    @pytest.mark.parametrize("ours_ms, word", [(3.9, "PASS"), (4.0, "SHORT")])
    def test_of_times_the_smaller_is_better(self, ours_ms: float, word: str) -> None:
        target = Target(OURS, (NATS,), 1.3, "NATS", "p99_ms")
        measured = {OURS: series(100, p99_ms=ours_ms), NATS: series(100)}

        assert judge(work(target), target, measured).word == word

    def test_the_best_peer_counts_and_one_that_failed_does_not(self) -> None:
        target = Target(OURS, (RABBITMQ, ACTIVEMQ, NATS), 1, "the best")
        broken = Series(runs=series(9000).runs, failure="it closed the connection")
        measured = {
            OURS: series(300),
            RABBITMQ: series(100),
            ACTIVEMQ: series(200),
            NATS: broken,
        }

        verdict = judge(work(target), target, measured)

        assert verdict.measured.startswith("1.50 x")
        assert "ActiveMQ" in verdict.peer

    def test_without_a_peer_nothing_is_claimed(self) -> None:
        target = Target(OURS, (NATS,), 2, "NATS")

        verdict = judge(work(target), target, {OURS: series(300)})

        assert verdict.word == "not measured"

    def test_the_table_shows_who_failed_and_why(self) -> None:
        shown: dict[Contestant, Series] = {OURS: series(300), NATS: Series(failure="it fell over")}

        text = details(work(), shown)

        assert "NATS: it fell over" in text
        assert "| rtchat |" in text


LONG_ENOUGH = dataclasses.replace(PLAIN, server_cpu_s=10.0)
"""A run that needs no second one to fill its time."""


def grow(
    monkeypatch: pytest.MonkeyPatch,
    took_s: Callable[[Contestant, int], float],
    curves: Curves | None = None,
) -> tuple[Curves, list[tuple[Contestant, int]]]:
    """Grow subscribers on a clock that the runs turn; give the curves, and who ran where."""
    now = 0.0
    ran: list[tuple[Contestant, int]] = []

    def run(field: Field, contestant: Contestant, **settings: float) -> Run:
        nonlocal now
        point = int(settings["subscribers"])
        now += took_s(contestant, point)
        ran.append((contestant, point))
        return LONG_ENOUGH

    monkeypatch.setattr(Field, "run", run)
    monkeypatch.setattr(growth, "monotonic", lambda: now)
    names = {"rtchat", "RabbitMQ", "NATS"}
    field = Field(dict.fromkeys(names), None, 3, 1.0)  # type: ignore[arg-type]
    curves = Curves() if curves is None else curves
    measure_growth(GROWTHS[0], field, GROWTHS[0].points, curves)
    return curves, ran


class TestGrowth:
    def test_who_connects_slowly_stops_at_a_thousand_and_the_table_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        curves, _ = grow(monkeypatch, lambda *_: 0.1)

        last = {one: curve[-1][0] for one, curve in curves.runs.items()}
        assert last == {OURS: 5000, OURS_WS: 5000, NATS: 5000, RABBITMQ: 1000, RABBITMQ_WS: 1000}
        assert "RabbitMQ Web STOMP" in GROWTHS[0].note
        assert "at most 1,000 subscribers" in GROWTHS[0].note

    def test_who_takes_long_for_a_point_does_it_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, ran = grow(monkeypatch, lambda one, at: 10.0 if (one, at) == (NATS, 300) else 0.1)

        assert ran.count((NATS, 300)) == 1
        assert ran.count((NATS, 5000)) == 3

    def test_who_takes_too_long_does_no_greater_point(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        curves, ran = grow(monkeypatch, lambda one, at: 31.0 if (one, at) == (NATS, 300) else 0.1)

        assert max(at for one, at in ran if one == NATS) == 300
        assert curves.runs[NATS][-1] == (300, LONG_ENOUGH)
        assert curves.notes == ["NATS at 300: a run took 31 s, so no greater one is done"]

    def test_what_was_measured_before_ours_failed_stays(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(one: Contestant, at: int) -> float:
            if at == 30:
                raise BenchError("it fell over")
            return 0.1

        kept = Curves()
        with pytest.raises(BenchError):
            grow(monkeypatch, fail, curves=kept)

        assert [at for at, _ in kept.runs[OURS]] == [1, 3, 10]


def test_a_peer_that_is_not_there_is_named_with_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Nats, "find", classmethod(lambda cls: None))

    found = find_peers([peer.name for peer in PEERS if peer is not Nats])

    assert found == []
    assert "NATS is not here: apt-get install" in capsys.readouterr().err


def test_a_table_can_be_read_as_it_stands() -> None:
    assert table([["", "value"], ["long name", "1"]]) == (
        "|           | value |\n| --------- | ----: |\n| long name |     1 |"
    )


def test_a_picture_has_every_line_and_is_xml() -> None:
    lines = [
        Line("a & b", "#000", [(1, 10), (1000, 5000)], is_bold=True),
        Line("c", "#111", [(10, 0.5)], is_dashed=True),
    ]

    svg = ElementTree.fromstring(draw("title <1>", [Panel("p", "x", "y", lines)] * 2))

    texts = [element.text for element in svg.iter() if element.tag.endswith("text")]
    assert {"title <1>", "a & b", "c", "1 k"} <= set(texts)
    assert len([one for one in svg.iter() if one.tag.endswith("polyline")]) == 4


@pytest.fixture(scope="module")
def blast(tmp_path_factory: pytest.TempPathFactory) -> Blast:
    require("cc")
    return Blast(tmp_path_factory.mktemp("blast"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rtchat]:
    with Rtchat(tmp_path_factory.mktemp("rtchat")) as server:
        yield server


@pytest.mark.live
class TestGenerator:
    @pytest.mark.parametrize("wire", ["tcp", "ws"])
    def test_every_copy_is_counted(self, blast: Blast, server: Rtchat, wire: str) -> None:
        run = blast.run(server, wire, subscribers=7, messages=20_000)

        assert (run.messages, run.copies, run.copies_due) == (20_000, 140_000, 140_000)
        assert run.server_cpu_s > 0

    def test_topics_and_subscriptions_multiply(self, blast: Blast, server: Rtchat) -> None:
        run = blast.run(server, "tcp", subscribers=4, subscriptions=5, topics=10, messages=30)

        assert run.copies == run.copies_due == 30 * 2

    def test_large_bodies_arrive_whole(self, blast: Blast, server: Rtchat) -> None:
        run = blast.run(server, "ws", subscribers=2, messages=3, body=1 << 20)

        assert run.copies == 6

    def test_a_queue_gives_each_message_to_one_consumer_who_acknowledges_it(
        self, blast: Blast, server: Rtchat
    ) -> None:
        run = blast.run(server, "tcp", subscribers=4, publishers=4, prefetch=10, messages=400)

        assert run.copies == run.copies_due == 400

    def test_idle_connections_are_kept_alive_by_heart_beats(
        self, blast: Blast, server: Rtchat
    ) -> None:
        # The server accepts a second at least and cuts after two of silence.
        run = blast.run(
            server, "ws", subscribers=3, publishers=0, messages=0, heartbeat=1000, hold=2.5
        )

        assert run.hold_cpu_s > 0

    def test_what_the_generator_says_is_passed_on(self, blast: Blast, server: Rtchat) -> None:
        with pytest.raises(BenchError, match="must be a multiple of topics"):
            blast.run(server, "tcp", subscribers=3, topics=2, messages=10)

    def test_the_server_is_named_with_all_its_processes(self, server: Rtchat) -> None:
        assert server.pids()[0] == server.process.pid
        assert all(Path(f"/proc/{pid}").exists() for pid in server.pids())
