"""The way of a message is not longer than recorded, and what is not used costs it nothing.

``benchmarks/guard.py`` counts calls and bytecode instructions, which depend on nothing but the
source and the version of Python. It runs in a process of its own: coverage's tracing would be
counted, and would end.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.guard import NO_RECORD, RECORD, VERSION

ROOT = Path(__file__).resolve().parent.parent


def guard(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the guard in the source tree."""
    command = [sys.executable, "-m", "benchmarks.guard", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def altered_record(tmp_path: Path) -> Callable[[float], Path]:
    """Return a record in which everything was shorter or longer by a factor."""

    def alter(factor: float) -> Path:
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        for counts in record.values():
            for count in counts.values():
                count["calls"] = round(count["calls"] * factor)
                count["instructions"] = round(count["instructions"] * factor)
                count["functions"] = {
                    name: round(number * factor) for name, number in count["functions"].items()
                }
        path = tmp_path / "record.json"
        path.write_text(json.dumps(record), encoding="utf-8")
        return path

    return alter


needs_record = pytest.mark.skipif(
    f'"{VERSION}"' not in RECORD.read_text(encoding="utf-8"),
    reason=f"nothing is recorded for Python {VERSION}",
)


@needs_record
def test_a_message_takes_no_more_calls_or_instructions_than_recorded() -> None:
    done = guard()

    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


@needs_record
def test_a_longer_way_is_named_with_what_grew_and_how_to_record_it(
    altered_record: Callable[[float], Path],
) -> None:
    done = guard("--only", "1 → 100 over TCP", "--file", str(altered_record(0.9)))

    assert done.returncode == 1
    assert re.search(r"1 → 100 over TCP.*: [\d,]+ instructions, recorded are [\d,]+ ", done.stdout)
    assert re.search(r"rtchat/core/[\w/]+\.py:\w+: \+[\d,]+ instructions", done.stdout)
    assert "python -m benchmarks.guard --record" in done.stdout


@needs_record
def test_a_much_shorter_way_has_to_be_recorded(altered_record: Callable[[float], Path]) -> None:
    done = guard("--only", "1 → 1 over TCP", "--file", str(altered_record(1.2)))

    assert done.returncode == 1
    assert "record it, so that it stays" in done.stdout


def test_what_was_recorded_is_compared_the_next_time(tmp_path: Path) -> None:
    where = ("--only", "1 → 1 over TCP", "--file", str(tmp_path / "record.json"))

    nothing_there = guard(*where)
    recorded = guard("--record", *where)
    compared = guard(*where)

    assert (nothing_there.returncode, "--record" in nothing_there.stdout) == (NO_RECORD, True)
    assert recorded.returncode == 0, recorded.stdout
    assert compared.returncode == 0, compared.stdout
