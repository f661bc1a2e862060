"""The benchmarks measure what they say: copies are counted, ratios judged, peers named."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import growth, peers, proxy
from benchmarks.alone import HEARTBEAT_TARGET, HEARTBEAT_TITLE, START_TARGET_S, START_TITLE
from benchmarks.brokers import PEERS, Nats
from benchmarks.contest import Field, Series, Verdict, judge
from benchmarks.gateway_tables import Figures
from benchmarks.gateways import Gateway, rtchat
from benchmarks.generator import Blast, Run
from benchmarks.growth import GROWTHS, Curves, measure_growth
from benchmarks.peers import Comparison, find_peers
from benchmarks.picture import Line, Panel, draw
from benchmarks.plan import (
    ACTIVEMQ,
    NATS,
    OURS,
    OURS_WS,
    PLAN,
    RABBITMQ,
    RABBITMQ_WS,
    Contestant,
    Target,
    Work,
)
from benchmarks.proxy import PEER, ROWS, Held, Pairs, Row, find_peer, judge_row, measure_proxy
from benchmarks.proxy_tables import proxy_details
from benchmarks.reasons import REASONS, reason_of
from benchmarks.report import Report
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
    """Give rounds with so many copies each, in half a CPU second."""
    runs = [dataclasses.replace(PLAIN, copies=one, p99_ms=p99_ms) for one in copies]
    return Series(runs=runs)


def work(*targets: Target) -> Work:
    """Give a row with these targets."""
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


PASSED_ON = Figures(
    connections=50,
    lost=0,
    cpu_s=1.0,
    wall_s=2.0,
    per_cpu_s=100.0,
    per_wall_s=50.0,
    p50_ms=1.0,
    p99_ms=2.0,
    kb_per_connection=None,
    generator_percent=10.0,
    problem="",
)
"""100 a CPU second, 50 a second."""


def row_of(mode: str) -> Row:
    """Give the first row of the proxy that is of this mode."""
    return next(row for row in ROWS if row.mode == mode)


def pairs_of(ours: list[float], theirs: list[float]) -> Pairs:
    """Give rounds in which the gateways did so much for each CPU second."""
    return Pairs(
        [dataclasses.replace(PASSED_ON, per_cpu_s=one) for one in ours],
        [dataclasses.replace(PASSED_ON, per_cpu_s=one) for one in theirs],
    )


class TestProxy:
    def test_each_target_of_the_proxy_has_a_row(self) -> None:
        ratios = {(row.mode, row.ratio) for row in ROWS}

        assert ratios == {("hold", 10), ("open", 10), ("messages", 4), ("up", 2), ("down", 2)}
        assert len({row.title for row in ROWS}) == len(ROWS)

    @pytest.mark.parametrize("ours, word", [(400.0, "PASS"), (399.0, "SHORT")])
    def test_the_middle_ratio_of_the_rounds_decides(self, ours: float, word: str) -> None:
        pairs = pairs_of([ours, 900, 100], [100, 100, 100])

        verdict = judge_row(row_of("messages"), pairs)

        assert verdict.word == word
        assert verdict.measured.endswith("x (1.00 .. 9.0)")
        assert verdict.target == "4 x websockify"

    @pytest.mark.parametrize("theirs_kb, word", [(100.0, "PASS"), (99.0, "SHORT")])
    def test_of_memory_the_smaller_is_better(self, theirs_kb: float, word: str) -> None:
        ours = dataclasses.replace(PASSED_ON, kb_per_connection=10.0)
        theirs = dataclasses.replace(PASSED_ON, kb_per_connection=theirs_kb)

        assert judge_row(row_of("hold"), Pairs([ours], [theirs])).word == word

    def test_whoever_loses_connections_is_short(self) -> None:
        pairs = pairs_of([900], [100])
        pairs.ours = [dataclasses.replace(PASSED_ON, per_cpu_s=900, lost=3)]

        verdict = judge_row(row_of("messages"), pairs)

        assert verdict.word == "SHORT"
        assert "3 connections lost" in verdict.measured

    def test_a_websockify_that_is_not_there_or_fails_proves_nothing(self) -> None:
        broken = Pairs(failure="it did not start")

        assert judge_row(row_of("up"), None).word == "not measured"
        assert judge_row(row_of("up"), broken).word == "not measured"
        assert "it did not start" in proxy_details({row_of("up"): broken})

    def test_the_tables_have_the_clock_beside_the_cpu_second(self) -> None:
        pairs = pairs_of([400], [100])
        pairs.ours = [dataclasses.replace(pairs.ours[0], per_wall_s=75.0)]

        line = next(
            line for line in proxy_details({row_of("up"): pairs}).splitlines() if "(MB)" in line
        )

        cells = [cell.strip() for cell in line.split("|")[2:-1]]
        assert cells[0::4] == ["4.00", "1.50"]
        assert cells[2:4] + cells[6:8] == ["400", "100", "75", "50"]

    def test_a_websockify_that_is_missing_is_named_with_how_to_get_it(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("WEBSOCKIFY", raising=False)
        monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

        assert find_peer([]) is None
        assert "websockify is not here: apt-get install websockify" in capsys.readouterr().err
        assert find_peer([PEER]) is None
        assert capsys.readouterr().err == ""


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
        return PLAIN

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
        assert curves.runs[NATS][-1] == (300, PLAIN)
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


class TestReport:
    def test_a_reason_belongs_to_a_row_and_the_manual_has_its_section(self) -> None:
        rows = {(work.title, str(target)) for work in PLAN for target in work.targets}
        rows |= {(row.title, row.target) for row in ROWS}
        rows.add((START_TITLE, f"at most {START_TARGET_S:g} s"))
        rows.add((HEARTBEAT_TITLE, f"at most {HEARTBEAT_TARGET:.0%} of a core"))
        manual = Path(__file__).parent.parent / "docs" / "performance.md"
        headings = [
            line.lstrip("# ").lower().replace(",", "").replace(" ", "-")
            for line in manual.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        ]

        assert set(REASONS) <= rows
        text = reason_of(Verdict("no such row", "2 x", "1 x", is_met=False))
        assert text.partition("performance.md#")[2].rstrip(")") in headings

    def test_only_a_short_row_says_why(self, tmp_path: Path) -> None:
        (title, target), reason = next(iter(REASONS.items()))
        report = Report("a machine", 3, 2.0)
        report.verdicts = [Verdict(title, target, "0.8 x", is_met=True)]
        passed = report.write(tmp_path).read_text(encoding="utf-8")
        report.verdicts = [Verdict(title, target, "0.8 x", is_met=False)]
        short = report.write(tmp_path).read_text(encoding="utf-8")

        assert reason not in passed
        assert f"- **{title}**, {target}: {reason}; see [docs/performance.md]" in short

    def test_a_full_run_writes_every_picture_and_links_it(self, tmp_path: Path) -> None:
        report = Report("a machine", 3, 2.0, is_complete=True)
        for one in GROWTHS:
            report.growths[one.name] = Curves({OURS: [(1, PLAIN), (10, PLAIN)]}, ["NATS: a note"])
        report.proxy[row_of("up")] = pairs_of([400], [100])

        text = report.write(tmp_path).read_text(encoding="utf-8")

        for name in ("fan-out.svg", "latency.svg", "growth.svg"):
            ElementTree.parse(tmp_path / "results" / name)
            assert f"(results/{name})" in text
        assert "## The proxy, /tcp, beside websockify" in text
        assert text.count("NATS: a note") == len(GROWTHS)
        assert "Not all of it" not in text

    @pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
    def test_what_was_measured_is_written_whatever_comes_next(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: type[BaseException]
    ) -> None:
        def stages(comparison: Comparison) -> Iterator[tuple[str, Callable[[], None]]]:
            def fall() -> None:
                raise BenchError("it fell over\nand more")

            def leave() -> None:
                raise end

            row = Verdict("a row", "2 x", "3 x", is_met=True)
            yield "a failure", fall
            yield "a row", lambda: comparison.report.verdicts.append(row)
            yield "the end", leave

        monkeypatch.setattr(Comparison, "stages", stages)
        monkeypatch.setattr(peers, "Blast", lambda _: None)
        monkeypatch.setattr(peers, "start", lambda *_: {})
        options = peers.parse(["--output", str(tmp_path), "--figures", str(tmp_path / "f.json")])
        options.without = [PEER, *(peer.name for peer in PEERS)]

        with pytest.raises(end):
            peers.measure(options, tmp_path)

        text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
        assert "| a row | 2 x    | 3 x" in text
        assert "Not measured: a failure: it fell over\n" in text
        assert "Not all of it was measured" in text
        assert json.loads((tmp_path / "f.json").read_text())["works"] == {}


def test_only_what_the_chosen_rows_need_is_started() -> None:
    def names(only: str) -> set[str]:
        return peers.needed(argparse.Namespace(only=only))

    assert names("/tcp") == set()
    assert names("queue") == {"rtchat", "RabbitMQ", "ActiveMQ"}
    assert names("") >= {peer.name for peer in PEERS}


def test_a_title_that_does_not_exist_is_refused_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert peers.main(["--only", "tpyo"]) == 2

    said = capsys.readouterr().err
    assert "no row or curve has 'tpyo' in its title" in said
    assert ROWS[0].title in said
    assert PLAN[0].title in said


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
    if shutil.which("cc") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("a C compiler is missing, and with CI=true no test may be skipped")
        pytest.skip("needs a C compiler")
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


@pytest.mark.live
def test_a_proxy_row_is_measured_with_two_gateways_that_run(
    blast: Blast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # rtchat itself takes websockify's place, so that nothing has to be installed.
    def second(_: str, directory: Path, port: int) -> Gateway:
        gateway = rtchat(directory, port)
        gateway.name = PEER
        return gateway

    monkeypatch.setattr(proxy, "websockify", second)
    rows = [row_of("hold"), row_of("open")]

    done = dict(measure_proxy(rows, "-", tmp_path / "proxy", 2, 0.3, Held(20, 10, 0.5, 1)))

    assert list(done) == rows
    held, opened = (done[row] for row in rows)
    assert [len(held.ours), len(opened.ours), len(opened.theirs)] == [1, 2, 2]
    assert (held.ours[0].connections, held.theirs[0].connections) == (20, 10)
    assert all(one.per_cpu_s > 0 and not one.lost for one in [*opened.ours, *opened.theirs])
