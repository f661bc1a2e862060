"""Where the messages of a time begin: found without a look at all of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.history import open_file

from rtchat.core.history.store import Batch, Row, StreamDelta, Trim
from rtchat.net.history.sqlite_file import NOT_YET, HistoryFile

PAGE = 256


def keep(file: HistoryFile, times: list[float], first: int = 0) -> None:
    rows = [Row(1, first + n, time_s, f"m-{n}", b"", b"x") for n, time_s in enumerate(times)]
    delta = StreamDelta(1, "/topic/1", "epoch", first + len(times), 0)
    file.write(Batch(rows, [delta], (), "unknown"))


def steps(file: HistoryFile, work: Callable[[], object]) -> int:
    """Return how many thousands of instructions of SQLite some work takes."""
    count = 0

    def seen() -> int:
        nonlocal count
        count += 1
        return 0

    file._db.set_progress_handler(seen, 1000)
    try:
        work()
    finally:
        file._db.set_progress_handler(None, 1000)
    return count


def test_a_look_up_does_not_go_through_all_messages() -> None:
    file = open_file(None, max_bytes=1 << 30)
    keep(file, [float(n) for n in range(40 * PAGE)])
    assert file.find(1, 5000.0) == 5000
    for since_s, found in (
        (0.0, 0),
        (9999.5, 10000),
        (40 * PAGE - 1.0, 40 * PAGE - 1),
        (1e9, None),
    ):

        def look(since_s: float = since_s, found: int | None = found) -> None:
            assert file.find(1, since_s) == found

        assert steps(file, look) <= 6
    file.close()


def test_a_look_up_is_two_statements_once_the_times_are_known() -> None:
    """Each may have to wait for the reactor's thread."""
    file = open_file(None, max_bytes=1 << 30)
    keep(file, [float(n) for n in range(10 * PAGE + 5)])
    file.find(1, 0.0)
    statements: list[str] = []
    file._db.set_trace_callback(statements.append)
    assert file.find(1, 700.0) == 700
    assert file.find(1, 99_999.0) is None
    assert len(statements) == 4
    file.close()


def test_the_first_look_up_is_in_parts() -> None:
    file = open_file(None, max_bytes=1 << 30)
    keep(file, [float(n) for n in range(100 * PAGE)])
    parts = 1
    while file.find_soon(1, 5.0) == NOT_YET:
        parts += 1
    assert parts >= 6
    file.close()


def test_a_stream_that_was_trimmed_or_deleted(tmp_path: Path) -> None:
    file = open_file(tmp_path / "h.sqlite", max_bytes=1 << 30)
    keep(file, [float(n) for n in range(3 * PAGE)])
    assert file.find(1, 10.0) == 10
    file.trim([Trim(1, 300, 0.0, 1 << 30)])
    assert file.find(1, 10.0) == 300
    assert file.find(1, 700.0) == 700
    file.write(Batch((), (), (1,), "unknown"))
    assert file.find(1, 10.0) is None
    assert not file._times._known
    file.close()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 200)), min_size=1, max_size=8),
    st.lists(st.integers(-1, 6), min_size=1, max_size=6),
    st.integers(0, 700),
)
@settings(max_examples=examples(60, 2000), deadline=None)
def test_it_agrees_with_a_look_at_all(
    runs: list[tuple[int, int]], asked: list[int], trimmed: int
) -> None:
    """Also where the clock was set back."""
    file = open_file(None, max_bytes=1 << 30)
    times: list[float] = []
    for number, (time, count) in enumerate(runs):
        keep(file, [float(time)] * count, len(times))
        times += [float(time)] * count
        if number == len(runs) // 2:
            file.find(1, 3.0)
            file.trim([Trim(1, min(trimmed, len(times)), 0.0, 1 << 30)])
            first = min(trimmed, len(times))
    for since in asked:
        expected = next((n for n, at in enumerate(times) if n >= first and at >= since), None)
        assert file.find(1, float(since)) == expected
    file.close()


def test_a_time_that_is_damaged_is_no_bug() -> None:
    file = open_file(None, max_bytes=1 << 30)
    keep(file, [float(n) for n in range(3 * PAGE)])
    file._db.execute("UPDATE message SET time_s = 'text' WHERE place & 0xffff = 300")
    assert file.find(1, 100.0) == 100
    assert file.find(1, 700.0) == 300
    file._db.execute("DROP TABLE message")
    with pytest.raises(sqlite3.OperationalError):
        file.find(1, 1.0)
