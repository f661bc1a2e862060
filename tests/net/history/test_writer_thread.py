"""One other thread fulfils orders to the history file, in their order."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from support.history import batch, open_file
from support.logs import Logs, captured_logs
from twisted.internet.defer import Deferred

from rtchat.core.history.store import Trim
from rtchat.net.history.writer_thread import HistoryStore

MIB = 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


class Turns:
    """Runs answers in the test's thread."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def __call__(self, turn: Callable[[], None]) -> None:
        self._waiting.put(turn)

    def run(self, count: int = 1) -> None:
        """Wait for so many answers."""
        for _ in range(count):
            self._waiting.get(timeout=10)()

    def is_quiet(self) -> bool:
        """Return whether no answer comes."""
        try:
            self._waiting.get(timeout=0.05)
        except Empty:
            return True
        return False


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def test_a_look_up_of_a_time_lets_others_pass(path: Path, turns: Turns) -> None:
    store = HistoryStore(path, turns, max_bytes=1 << 30)
    answers: list[str] = []
    for first in range(0, 25_600, 5_120):
        store.write(batch(first, 5_120), lambda problem: answers.append(problem))
    turns.run(5)
    hold = threading.Event()

    def wait() -> None:
        hold.wait(10)

    store._operations.put(wait)
    for _ in range(3):
        store.find(1, 25_000.0, lambda offset, _: answers.append(f"at {offset}"))
    store.read(1, 0, 1, lambda rows, _: answers.append(f"{len(rows)} row"))
    hold.set()
    turns.run(4)
    assert answers[5:] == ["1 row", "at 24900", "at 24900", "at 24900"]
    store.close()


def test_a_busy_reactor_lets_the_thread_have_the_interpreter_soon(path: Path, turns: Turns) -> None:
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.005)
        HistoryStore(path, turns).close()
        assert sys.getswitchinterval() < 0.001
        sys.setswitchinterval(0.0001)  # a host may want less
        HistoryStore(None, turns).close()
        assert sys.getswitchinterval() < 0.0002
    finally:
        sys.setswitchinterval(before)


def test_a_batch_is_durable_before_the_file_is_measured(path: Path, turns: Turns) -> None:
    store = HistoryStore(path, turns)
    happened: list[str] = []
    measure = store._file.measure

    def measured() -> None:
        happened.append("measured")
        measure()

    store._file.measure = measured  # type: ignore[method-assign]
    store._in_reactor = lambda call: happened.append("answer")
    store.write(batch(0, 3), lambda _: None)
    store._operations.put(None)
    store._thread.join(10)
    assert happened == ["answer", "measured", "answer"]
    assert store.used_bytes > 0


def test_orders_are_fulfilled_in_order_by_one_other_thread(path: Path, turns: Turns) -> None:
    store = HistoryStore(path, turns)
    assert store.snapshot.streams == []
    heard: list[object] = []
    store.write(batch(0, 3), heard.append)
    store.read(1, 1, 9, lambda rows, problem: heard.append((len(rows), problem)))
    store.find(1, 102, lambda offset, problem: heard.append((offset, problem)))
    store.trim([Trim(1, 2, 0, MIB)], lambda done, problem: heard.append((done[0].first, problem)))
    assert heard == [], "an answer is a turn of its own"
    turns.run(4)
    assert heard == ["", (2, ""), (2, ""), (2, "")]
    assert [thread for thread in threading.enumerate() if thread.name == "rtchat history"]
    closed: list[object] = []
    store.close().addBoth(closed.append)
    turns.run()
    assert closed == [None]
    store._thread.join(10)
    assert not Path(f"{path}-wal").exists()
    assert len(open_file(path).read(1, 0, 9)) == 1


def test_what_was_ordered_is_written_before_the_end(path: Path, turns: Turns) -> None:
    store = HistoryStore(path, turns)
    for number in range(50):
        store.write(batch(number, 1), lambda _: None)
    store.close()
    turns.run(51)
    assert len(open_file(path).read(1, 0, 99)) == 50


def test_a_full_disk_is_logged_once_and_so_is_its_end(
    turns: Turns, logs: Logs, tmp_path: Path
) -> None:
    store = HistoryStore(tmp_path / "x.sqlite", turns, max_bytes=MIB)
    problems: list[str] = []
    for number in range(3):
        store.write(batch(number, 1, body=bytes(2 * MIB)), problems.append)
    turns.run(3)
    assert problems == ["database or disk is full"] * 3
    store.write(batch(0, 1), problems.append)
    turns.run()
    assert problems[-1] == ""
    said = [text for text in logs.lines() if "history c" in text]
    assert len(said) == 2
    assert "cannot be written: database or disk is full" in said[0]
    assert "can be written again" in said[1]
    store.close()
    turns.run()


def test_what_cannot_be_read_is_logged(turns: Turns, logs: Logs, path: Path) -> None:
    store = HistoryStore(path, turns)
    store._file._db.execute("DROP TABLE message")
    heard: list[object] = []
    for _ in range(2):
        store.read(1, 0, 9, lambda rows, problem: heard.append((rows, problem)))
    turns.run(2)
    assert heard == [((), "no such table: message")] * 2
    assert len([text for text in logs.lines() if "history cannot be read" in text]) == 1
    store.close()
    turns.run()


def test_a_bug_ends_no_thread(
    turns: Turns, logs: Logs, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HistoryStore(path, turns)
    heard: list[str] = []
    monkeypatch.setattr(store._file, "write", lambda _: 1 / 0)
    store.write(batch(0, 1), heard.append)
    turns.run(2)
    assert heard == ["internal error"]
    monkeypatch.undo()
    store.write(batch(0, 1), heard.append)
    turns.run()
    assert heard == ["internal error", ""]
    closed: Deferred[None] = store.close()
    turns.run()
    assert closed.called
    assert turns.is_quiet()
