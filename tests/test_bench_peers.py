"""``make bench-peers`` judges the proxy, writes what it has, and starts what it needs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.needs import require
from test_benchmarks import PLAIN

from benchmarks import peers, proxy
from benchmarks.alone import HEARTBEAT_TARGET, HEARTBEAT_TITLE, START_TARGET_S, START_TITLE
from benchmarks.brokers import PEERS
from benchmarks.contest import Verdict
from benchmarks.gateway_tables import Figures
from benchmarks.gateways import Gateway, rtchat
from benchmarks.growth import GROWTHS, Curves
from benchmarks.peers import Comparison
from benchmarks.plan import OURS, PLAN
from benchmarks.proxy import PEER, ROWS, Held, Pairs, Row, find_peer, judge_row, measure_proxy
from benchmarks.proxy_tables import proxy_details
from benchmarks.reasons import REASONS, reason_of
from benchmarks.report import Report
from benchmarks.servers import BenchError

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
    """Return the first row of the proxy that is of this mode."""
    return next(row for row in ROWS if row.mode == mode)


def pairs_of(ours: list[float], theirs: list[float]) -> Pairs:
    """Return rounds in which the gateways did so much for each CPU second."""
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
            comparison.report.growths["latency"] = Curves()  # begun, and nothing measured
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
        assert "How cost grows" not in text
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


@pytest.mark.live
def test_a_proxy_row_is_measured_with_two_gateways_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("cc")

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
