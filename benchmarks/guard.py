"""Counts what fixed work costs in calls and bytecode instructions, and compares with the record.

    python -m benchmarks.guard             # compare; exit code 1 if a job costs more
    python -m benchmarks.guard --record    # record the current counts
    python -m benchmarks.guard --table     # print the current counts

Nothing is timed and nothing is random: the counts of a source tree on a Python version are the same
on every machine, however busy. ``jobs.py`` has the jobs.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks.jobs import JOBS, Job, Work

__all__ = ["NO_RECORD", "RECORD", "VERSION", "Count", "compare", "count", "main"]

RECORD = Path(__file__).resolve().with_name("path_length.json")
ROOT = RECORD.parent.parent
LONGER = 0.02
"""The tolerated increase over the record: point releases of Python differ slightly."""
SHORTER = 0.10
"""A decrease by this factor has to be recorded; otherwise it could be lost unnoticed."""
UNUSED = 0.002
"""The tolerated cost of unused features: none, except for rounding."""
FEW = 0.005
"""Functions with a smaller share are not recorded by name."""
NO_RECORD = 3
"""The exit code when this version of Python is not in the record."""
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

# -- counting ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Count:
    """The cost of one job.

    Attributes:
        calls: Function calls, including those of C functions.
        instructions: Bytecode instructions.
        functions: The instructions by file and function, except for small shares.
    """

    calls: int
    instructions: int
    functions: dict[str, int]


def count(job: Job) -> Count:
    """Run the job twice: count calls, then instructions."""
    work = job.prepare()
    gc.collect()
    gc.disable()
    try:
        calls = _count_calls(work)
        functions = _count_instructions(work)
    finally:
        gc.enable()
    instructions = sum(functions.values())
    most = {name: n for name, n in functions.most_common() if n >= instructions * FEW}
    return Count(calls, instructions, most)


def _count_calls(work: Work) -> int:
    calls = 0

    def seen(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        if event == "call" or event == "c_call":
            calls += 1

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls - 2  # the work itself, and setprofile at the end


def _count_instructions(work: Work) -> Counter[str]:
    counts: Counter[CodeType] = Counter()
    watch = _watch_by_monitoring if sys.version_info >= (3, 12) else _watch_by_tracing
    watch(work, counts)
    functions: Counter[str] = Counter()
    for code, number in counts.items():
        path = Path(code.co_filename)
        if path.parent == RECORD.parent:
            continue
        place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(path.name)
        functions[f"{place.as_posix()}:{code.co_name}"] += number
    return functions


def _watch_by_tracing(work: Work, counts: Counter[CodeType]) -> None:
    def seen(frame: FrameType, event: str, _argument: object) -> Any:
        if event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            counts[frame.f_code] += 1
        return seen

    sys.settrace(seen)
    try:
        work()
    finally:
        sys.settrace(None)


def _watch_by_monitoring(work: Work, counts: Counter[CodeType]) -> None:
    # From 3.12 on: there, tracing misses the instructions of frames that are new to it.
    if sys.version_info < (3, 12):
        return
    monitoring = sys.monitoring

    def seen(code: CodeType, _offset: int) -> None:
        counts[code] += 1

    tool, events = monitoring.PROFILER_ID, monitoring.events
    monitoring.use_tool_id(tool, "guard")
    monitoring.register_callback(tool, events.INSTRUCTION, seen)
    monitoring.set_events(tool, events.INSTRUCTION)
    try:
        work()
    finally:
        monitoring.set_events(tool, events.NO_EVENTS)
        monitoring.free_tool_id(tool)


# -- comparing --------------------------------------------------------------------------------


def compare(counts: dict[str, Count], recorded: dict[str, Count]) -> list[str]:
    """Return the differences from the record, and unused features that have a cost."""
    complaints = []
    for title, now in counts.items():
        before = recorded.get(title)
        if before is None:
            complaints.append(f"{title}: there is no record of it")
            continue
        for name in ("calls", "instructions"):
            new, old = getattr(now, name), getattr(before, name)
            change = new / old - 1
            if change > LONGER:
                text = f"{title}: {new:,} {name}, recorded are {old:,} ({change:+.1%})"
                complaints.append(text + _what_grew(now, before))
            elif change < -SHORTER:
                complaints.append(
                    f"{title}: only {new:,} {name}, recorded are {old:,} ({change:+.1%}): "
                    "record it, so that it stays"
                )
    return complaints + _unused_that_cost(counts)


def _what_grew(now: Count, before: Count) -> str:
    changes = {
        name: number - before.functions.get(name, 0) for name, number in now.functions.items()
    }
    most = sorted(changes.items(), key=lambda item: -item[1])[:5]
    grown = [f"\n    {name}: {change:+,} instructions" for name, change in most if change > 0]
    return "; what grew most:" + "".join(grown) if grown else "; calls of C functions"


def _unused_that_cost(counts: dict[str, Count]) -> list[str]:
    complaints = []
    for job in JOBS:
        if job.same_as and {job.title, job.same_as} <= counts.keys():
            now, plain = counts[job.title], counts[job.same_as]
            if now.instructions > plain.instructions * (1 + UNUSED) + 1:
                complaints.append(
                    f"{job.title}: {now.instructions:,} instructions, without it "
                    f"{plain.instructions:,}" + _what_grew(now, plain)
                )
    return complaints


def _read(path: Path) -> dict[str, dict[str, Count]]:
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        version: {title: Count(**count) for title, count in counts.items()}
        for version, counts in kept.items()
    }


def _write(path: Path, all_counts: dict[str, dict[str, Count]]) -> None:
    """Write the record, one line per job, so that its diffs are readable."""
    versions = []
    for version in sorted(all_counts, key=lambda text: [int(part) for part in text.split(".")]):
        lines = [
            f"  {json.dumps(title, ensure_ascii=False)}: {json.dumps(vars(count))}"
            for title, count in all_counts[version].items()
        ]
        versions.append(f" {json.dumps(version)}: {{\n" + ",\n".join(lines) + "\n }")
    path.write_text("{\n" + ",\n".join(versions) + "\n}\n", encoding="utf-8")


def _table(counts: dict[str, Count]) -> str:
    lines = [f"Python {VERSION}; calls and instructions for each delivery"]
    for job in JOBS:
        one = counts.get(job.title)
        if one is None:
            continue
        each = (one.calls / job.deliveries, one.instructions / job.deliveries)
        lines.append(f"{each[0]:9.2f} {each[1]:10.1f}  {job.title}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, and compare or record; return the process's exit code."""
    parser = argparse.ArgumentParser(prog="guard.py", description=__doc__)
    parser.add_argument("--record", action="store_true", help="keep what is counted as the record")
    parser.add_argument("--table", action="store_true", help="print what is counted")
    parser.add_argument("--only", default="", metavar="TEXT", help="only jobs with this in them")
    parser.add_argument("--file", type=Path, default=RECORD, help="the record (path_length.json)")
    options = parser.parse_args(arguments)
    kept = _read(options.file)
    if VERSION not in kept and not (options.record or options.table):
        print(f"guard: no record of Python {VERSION}; python -m benchmarks.guard --record makes it")
        return NO_RECORD
    counts = {job.title: count(job) for job in JOBS if options.only in job.title}
    if options.table:
        print(_table(counts))
    if options.record:
        kept[VERSION] = {**kept.get(VERSION, {}), **counts} if options.only else counts
        _write(options.file, kept)
        complaints = _unused_that_cost(counts)
    elif VERSION not in kept:
        print(
            f"guard: no record for Python {VERSION}; python -m benchmarks.guard --record makes it"
        )
        return NO_RECORD
    else:
        complaints = compare(counts, kept[VERSION])
    for complaint in complaints:
        print(complaint)
    if complaints and not options.record:
        print(
            f"\nThe way of a message changed (Python {VERSION}). Make it as short as it was, or, "
            "if what it does more\nis worth it, record it and say in the commit what it costs:\n"
            "    python -m benchmarks.guard --record"
        )
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
