"""The history file: what is written is read, in whatever way the server ended."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest
from support.history import batch, open_file

from rtchat.core.history.store import Batch, StoredStream, Trim, Trimmed
from rtchat.errors import StoreUnusable
from rtchat.net.history import salvage
from rtchat.net.history import sqlite_file as historyfile
from rtchat.net.history.sqlite_file import HistoryFile

MIB = 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def killed(file: HistoryFile) -> None:
    """End it without closing it."""
    file._db.close()
    file._unlock()


def test_it_is_made_for_the_server_alone(path: Path) -> None:
    file = open_file(path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    file.close()


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 127, 128, 129, 300])
def test_what_is_written_is_read(path: Path, count: int) -> None:
    file = open_file(path)
    file.write(batch(0, count))
    file.write(batch(count, 1))
    killed(file)
    file = open_file(path)
    assert file.read(1, 0, count + 1) == [*batch(0, count).rows, *batch(count, 1).rows]
    assert file.read(1, 1, 2) == list(batch(0, count + 1).rows)[1:2]
    assert file.snapshot.streams == [
        StoredStream(1, "/topic/1", "epoch", 0, count + 1, 513 * (count + 1), 100.0)
    ]
    file.close()


def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    file = open_file(path)
    file.write(batch(0, 3))
    rows = [*batch(3, 150).rows, *batch(0, 1).rows]
    with pytest.raises(sqlite3.IntegrityError):
        file.write(Batch(rows, batch(3, 151).streams, (), ""))
    assert len(file.read(1, 0, 999)) == 3
    file.write(batch(3, 2))
    file.close()
    [stream] = open_file(path).snapshot.streams
    assert (stream.next, stream.bytes) == (5, 5 * 513)


def test_streams_do_not_see_each_other(path: Path) -> None:
    file = open_file(path)
    file.write(batch(0, 5, stream=1))
    file.write(batch(0, 3, stream=2))
    file.write(Batch((), (), (1,), "new"))
    assert file.read(1, 0, 99) == []
    assert len(file.read(2, 0, 99)) == 3
    file.close()
    snapshot = open_file(path).snapshot
    assert snapshot.epoch == "new"
    assert [stream.number for stream in snapshot.streams] == [2]


def test_a_time_is_found_in_the_order_of_offsets(path: Path) -> None:
    file = open_file(path)
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
    file = open_file(path)
    file.write(batch(0, 10))
    file.write(batch(0, 2, stream=2))
    assert file.trim([trim]) == ([Trimmed(1, first, 513 * (10 - first), oldest_s)], "")
    assert [row.offset for row in file.read(1, 0, 99)] == list(range(first, 10))
    assert len(file.read(2, 0, 99)) == 2
    file.close()
    stream = open_file(path).snapshot.streams[0]
    assert (stream.first, stream.next, stream.bytes) == (first, 10, 513 * (10 - first))


@pytest.mark.parametrize(
    "trim", [Trim(1, 2500, 0, MIB), Trim(1, 0, 2600.0, MIB), Trim(1, 0, 0, 500 * 513)]
)
def test_many_messages_of_a_stream_are_deleted_in_parts(path: Path, trim: Trim) -> None:
    file = open_file(path, max_bytes=1 << 30)
    file.write(batch(0, 3000))
    parts = [file.trim([trim])[0][0] for _ in range(3)]
    assert [part.first for part in parts] == [1000, 2000, 2500]
    assert [part.bytes for part in parts] == [513 * 2000, 513 * 1000, 513 * 500]
    assert [row.offset for row in file.read(1, 0, 9999)] == list(range(2500, 3000))
    file.close()


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
    file = open_file(path, is_power_safe=is_power_safe)
    before = file.snapshot.epoch
    file.write(batch(0, 1))
    if is_closed:
        file.close()
    else:
        killed(file)
    monkeypatch.setattr(historyfile, "_boot_id", lambda: boot)
    snapshot = open_file(path, is_power_safe=is_power_safe).snapshot
    assert (snapshot.epoch != before) == is_new
    assert (snapshot.streams[0].epoch != "epoch") == is_new


# ---------------------------------------------------------------- what cannot be opened


def reason(path: Path) -> str:
    with pytest.raises(StoreUnusable) as error:
        open_file(path)
    return str(error.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    text = reason(tmp_path / "no" / "x.sqlite")
    assert text == "No such file or directory; change the permissions or the path"


def test_a_file_that_is_damaged(path: Path) -> None:
    file = open_file(path)
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
    open_file(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    expected = "another program is writing to it; stop that one, or name another file"
    assert reason(path) == expected
    other.close()
    open_file(path).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_may_only_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        open_file(path).close()
        Path(folder).chmod(0o755)
        path.chmod(0o444)
        os.seteuid(65534)
        try:
            assert reason(path) == "Permission denied; change the permissions or the path"
        finally:
            os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("companion", ["-lock", "-wal", "-shm"])
def test_a_file_beside_it_that_cannot_be_written_is_named(companion: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        file = open_file(path)  # while it is open, all its companions are there
        for one in (Path(folder), *Path(folder).iterdir()):
            shutil.copy(one, f"{one}.copy") if one.is_file() else None
            os.chown(one, 65534, 65534)
        copies = sorted(Path(folder).glob("*.copy"))
        file.close()
        for one in copies:  # as kill -9 leaves them
            one = one.rename(str(one).removesuffix(".copy"))
            os.chown(one, 65534, 65534)
        other = Path(f"{path}{companion}")
        os.chown(other, 0, 0)
        other.chmod(0o600)
        os.seteuid(65534)
        try:
            assert reason(path) == (
                f"{other} beside it cannot be opened for writing (Permission denied); change the "
                "owner or the permissions of that file, too"
            )
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("companion", ["-lock", "-wal"])
def test_a_folder_in_the_place_of_a_file_beside_it_is_named(path: Path, companion: str) -> None:
    open_file(path).close()
    other = Path(f"{path}{companion}")
    other.unlink(missing_ok=True)
    other.mkdir()
    assert reason(path) == f"{other} beside it is a folder; move it away"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("has_lock", [True, False])
def test_a_folder_that_cannot_be_written_is_named(has_lock: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        open_file(path).close()
        lock = Path(f"{path}-lock")
        for one in (path, lock):
            os.chown(one, 65534, 65534)
        if not has_lock:
            lock.unlink()
        Path(folder).chmod(0o755)
        os.seteuid(65534)
        try:
            assert reason(path) == (
                f"its folder {folder} cannot be written; change its permissions or the path"
                if has_lock
                else f"{lock} beside it cannot be created (Permission denied); change the "
                "permissions of the folder or the path"
            )
        finally:
            os.seteuid(0)


def test_an_error_leaves_no_lock_behind(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    assert reason(path) == "it is no SQLite database; name another file"
    path.unlink()
    open_file(path).close()


# ---------------------------------------------------------------- damage


def damaged(path: Path, first: int, pages: int = 1) -> None:
    """Overwrite the pages of the closed file from the one on that has a message's body."""
    data = bytearray(path.read_bytes())
    start = data.index(b"body %06d" % first) // 4096 * 4096
    data[start : start + 4096 * pages] = b"\x5a" * 4096 * pages
    path.write_bytes(data)


def filled(path: Path, count: int = 256) -> None:
    file = open_file(path)
    for number in range(count):
        file.write(batch(number, 1, body=b"body %06d %s" % (number, b"x" * 300)))
    file.close()


def test_around_a_damaged_page_all_messages_are_read(path: Path) -> None:
    filled(path)
    damaged(path, 100)
    file = open_file(path)
    rows, problem = file.read_what_can_be(1, 0, 256)
    assert "malformed" in problem
    found = [row.offset for row in rows]
    lost = sorted(set(range(256)) - set(found))
    assert found == sorted(found)
    assert 5 < len(lost) < 15
    assert 100 in lost
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert file.read_what_can_be(1, 0, lost[0]) == (rows[: lost[0]], "")
    # New messages are written as ever.
    file.write(batch(256, 3))
    assert file.read_what_can_be(1, 256, 259) == (list(batch(256, 3).rows), "")
    file.close()


def test_a_file_that_is_damaged_at_the_first_messages_opens(path: Path) -> None:
    filled(path)
    damaged(path, 0)
    file = open_file(path)
    [stream] = file.snapshot.streams
    assert (stream.first, stream.next, stream.oldest_s) == (0, 256, 0.0)
    file.close()


def test_a_row_that_damage_has_made_is_no_message(path: Path) -> None:
    file = open_file(path)
    file.write(batch(0, 3))
    file._db.execute("UPDATE message SET body = 'text' WHERE place & 0xff = 1")
    rows, problem = file.read_what_can_be(1, 0, 3)
    assert [row.offset for row in rows] == [0, 2]
    assert problem == "messages are missing or damaged"
    file._db.execute("UPDATE message SET message_id = CAST(x'ff' AS TEXT) WHERE place & 0xff = 2")
    rows, problem = file.read_what_can_be(1, 0, 3)
    assert [row.offset for row in rows] == [0]
    assert "decode" in problem
    file.close()


def test_what_fails_for_another_reason_is_an_error(path: Path) -> None:
    file = open_file(path)
    file._db.execute("DROP TABLE message")
    with pytest.raises(sqlite3.OperationalError):
        file.read_what_can_be(1, 0, 3)


def test_reading_around_damage_has_an_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    damaged(path, 100)
    monkeypatch.setattr(salvage, "_LONGEST_S", 0.0)
    file = open_file(path)
    assert file.read_what_can_be(1, 0, 256)[0] == []
    file.close()


def test_damage_in_one_stream_keeps_no_other_from_being_trimmed(path: Path) -> None:
    filled(path)
    file = open_file(path)
    file.write(batch(0, 10, stream=2))
    file.close()
    damaged(path, 100)
    file = open_file(path)
    results, problem = file.trim([Trim(1, 200, 0, MIB), Trim(2, 4, 0, MIB)])
    assert results == [Trimmed(2, 4, 513 * 6, 104.0)]
    assert "malformed" in problem
    file.close()
    assert len(open_file(path).read(2, 0, 10)) == 6


# ---------------------------------------------------------------- whether it can be written


def test_a_damaged_stream_that_loses_its_place_keeps_no_other_from_being_written(
    path: Path,
) -> None:
    filled(path)
    damaged(path, 100)
    file = open_file(path, max_bytes=1 << 30)
    file.write(batch(0, 3, stream=2)._replace(forgotten=[1], epoch="later"))
    # Its name may be that of a new stream; its number is that of no other.
    new = batch(0, 3, stream=3)
    file.write(new._replace(streams=[new.streams[0]._replace(name="/topic/1")]))
    assert len(file.read(2, 0, 9)) == len(file.read(3, 0, 9)) == 3
    file.close()
    file = open_file(path, max_bytes=1 << 30)
    assert {stream.number: stream.name for stream in file.snapshot.streams} == {
        1: "damaged 1",
        2: "/topic/2",
        3: "/topic/1",
    }
    file.close()


def test_a_probe_says_whether_the_file_takes_messages_and_leaves_nothing(path: Path) -> None:
    file = open_file(path, max_bytes=MIB)
    number = 40
    file.write(batch(0, number, body=bytes(20_000)))
    with pytest.raises(sqlite3.OperationalError, match="is full"):
        file.write(batch(number, 20, body=bytes(20_000)))
    file.write(batch(number, 7, body=bytes(20_000)))
    number += 7
    with pytest.raises(sqlite3.OperationalError, match="is full"):
        file.probe()
    file.trim([Trim(1, number, 0, MIB)])
    file.probe()
    assert file._read_number("SELECT count(*) FROM message", ()) == 0
    file.close()


def test_a_file_that_was_moved_away_is_not_in_place(path: Path) -> None:
    file = open_file(path)
    assert file.is_in_place()
    assert (file.free_bytes() or 0) > 0
    path.rename(path.with_name("away"))
    assert not file.is_in_place()
    path.write_bytes(b"")
    assert not file.is_in_place()
    file.close()
