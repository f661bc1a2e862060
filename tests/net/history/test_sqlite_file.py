"""The history's file, and the thread that uses it."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from netfakes import Logs, captured_logs
from twisted.internet.defer import Deferred

from rtchat.core.history.store import Batch, Row, StoredStream, StreamDelta, Trim, Trimmed
from rtchat.errors import StoreUnusable
from rtchat.net.history import sqlite_file as historyfile
from rtchat.net.history.sqlite_file import HistoryFile
from rtchat.net.history.writer_thread import HistoryStore

MIB = 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def opened(path: Path | None, *, is_power_safe: bool = False, max_bytes: int = MIB) -> HistoryFile:
    return HistoryFile(path, is_power_safe=is_power_safe, max_bytes=max_bytes)


def killed(file: HistoryFile) -> None:
    """End it without closing it."""
    file._db.close()
    file._unlock()


def batch(first: int, count: int, stream: int = 1, body: bytes = b"x") -> Batch:
    rows = [
        Row(stream, first + n, 100.0 + first + n, f"m-{first + n}", b"", body) for n in range(count)
    ]
    size = sum(row.size for row in rows)
    delta = StreamDelta(stream, f"/topic/{stream}", "epoch", first + count, size)
    return Batch(rows, [delta], (), "unknown")


def test_it_is_made_for_the_server_alone(path: Path) -> None:
    file = opened(path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    file.close()


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 127, 128, 129, 300])
def test_what_is_written_is_read(path: Path, count: int) -> None:
    file = opened(path)
    file.write(batch(0, count))
    file.write(batch(count, 1))
    killed(file)
    file = opened(path)
    assert file.read(1, 0, count + 1) == [*batch(0, count).rows, *batch(count, 1).rows]
    assert file.read(1, 1, 2) == list(batch(0, count + 1).rows)[1:2]
    assert file.snapshot.streams == [
        StoredStream(1, "/topic/1", "epoch", 0, count + 1, 513 * (count + 1), 100.0)
    ]
    file.close()


def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    file = opened(path)
    file.write(batch(0, 3))
    rows = [*batch(3, 150).rows, *batch(0, 1).rows]
    with pytest.raises(sqlite3.IntegrityError):
        file.write(Batch(rows, batch(3, 151).streams, (), ""))
    assert len(file.read(1, 0, 999)) == 3
    file.write(batch(3, 2))
    file.close()
    [stream] = opened(path).snapshot.streams
    assert (stream.next, stream.bytes) == (5, 5 * 513)


def test_streams_do_not_see_each_other(path: Path) -> None:
    file = opened(path)
    file.write(batch(0, 5, stream=1))
    file.write(batch(0, 3, stream=2))
    file.write(Batch((), (), (1,), "new"))
    assert file.read(1, 0, 99) == []
    assert len(file.read(2, 0, 99)) == 3
    file.close()
    snapshot = opened(path).snapshot
    assert snapshot.epoch == "new"
    assert [stream.number for stream in snapshot.streams] == [2]


def test_a_time_is_found_in_the_order_of_offsets(path: Path) -> None:
    file = opened(path)
    file.write(batch(0, 10))
    assert file.find(1, 104.5) == 5
    assert file.find(1, 0) == 0
    assert file.find(1, 999) is None
    assert file.find(2, 0) is None
    file.close()


@pytest.mark.parametrize(
    "trim, first, oldest_s",
    [
        (Trim(1, 0, 0, MIB), 0, 100),
        (Trim(1, 4, 0, MIB), 4, 104),
        (Trim(1, 0, 103.5, MIB), 4, 104),
        (Trim(1, 6, 103.5, MIB), 6, 106),
        (Trim(1, 10, 0, MIB), 10, 0),
        (Trim(1, 0, 999, MIB), 10, 0),
        (Trim(1, 0, 0, 3 * 513), 7, 107),
        (Trim(1, 0, 0, 3 * 513 - 1), 8, 108),
        (Trim(1, 9, 0, 3 * 513), 9, 109),
        (Trim(1, 0, 0, 5), 10, 0),
    ],
)
def test_a_trim_leaves_what_is_within_all_limits(
    path: Path, trim: Trim, first: int, oldest_s: float
) -> None:
    file = opened(path)
    file.write(batch(0, 10))
    file.write(batch(0, 2, stream=2))
    assert file.trim([trim]) == [Trimmed(1, first, 513 * (10 - first), oldest_s)]
    assert [row.offset for row in file.read(1, 0, 99)] == list(range(first, 10))
    assert len(file.read(2, 0, 99)) == 2
    file.close()
    stream = opened(path).snapshot.streams[0]
    assert (stream.first, stream.next, stream.bytes) == (first, 10, 513 * (10 - first))


# ---------------------------------------------------------------- the end of the machine


@pytest.mark.parametrize(
    "is_power_safe, is_closed, boot, is_new",
    [
        (False, False, "second", True),  # the disk may not have had everything
        (False, False, "", True),  # unknown
        (False, False, "first", False),  # kill -9: the system had it all
        (False, True, "second", False),  # it was closed well
        (True, False, "second", False),  # every batch had waited for the disk
    ],
)
def test_a_machine_that_stopped_without_warning_ends_all_epochs(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_power_safe: bool,
    is_closed: bool,
    boot: str,
    is_new: bool,
) -> None:
    monkeypatch.setattr(historyfile, "_boot_id", lambda: "first")
    file = opened(path, is_power_safe=is_power_safe)
    before = file.snapshot.epoch
    file.write(batch(0, 1))
    if is_closed:
        file.close()
    else:
        killed(file)
    monkeypatch.setattr(historyfile, "_boot_id", lambda: boot)
    snapshot = opened(path, is_power_safe=is_power_safe).snapshot
    assert (snapshot.epoch != before) == is_new
    assert (snapshot.streams[0].epoch != "epoch") == is_new


# ---------------------------------------------------------------- what cannot be opened


def reason(path: Path) -> str:
    with pytest.raises(StoreUnusable) as error:
        opened(path)
    return str(error.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    text = reason(tmp_path / "no" / "x.sqlite")
    assert text == "No such file or directory; change the permissions or the path"


def test_a_file_that_is_damaged(path: Path) -> None:
    file = opened(path)
    file.write(batch(0, 100))
    file.close()
    with path.open("r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xff" * 8192)
    assert reason(path) == "it is damaged; move it away, or bring back a copy of it"


def test_a_file_that_another_program_is_writing_to(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(historyfile, "_LOCK_WAIT_S", 0.01)
    opened(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    expected = "another program is writing to it; stop that one, or name another file"
    assert reason(path) == expected
    other.close()
    opened(path).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_may_only_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        opened(path).close()
        Path(folder).chmod(0o755)
        path.chmod(0o444)
        os.seteuid(65534)
        try:
            assert reason(path) == "Permission denied; change the permissions or the path"
        finally:
            os.seteuid(0)


def test_an_error_leaves_no_lock_behind(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    assert reason(path) == "it is no SQLite database; name another file"
    path.unlink()
    opened(path).close()


# ---------------------------------------------------------------- the thread


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
    assert len(opened(path).read(1, 0, 9)) == 1


def test_what_was_ordered_is_written_before_the_end(path: Path, turns: Turns) -> None:
    store = HistoryStore(path, turns)
    for number in range(50):
        store.write(batch(number, 1), lambda _: None)
    store.close()
    turns.run(51)
    assert len(opened(path).read(1, 0, 99)) == 50


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
    store.read(1, 0, 9, lambda rows, problem: heard.append((rows, problem)))
    turns.run()
    assert heard == [((), "no such table: message")]
    assert [text for text in logs.lines() if "history cannot be read" in text]
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
