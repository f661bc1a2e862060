"""An older copy of the file that is put back is noticed; what the server left itself is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.history import batch, open_file

from rtchat.net.history import witness
from rtchat.net.history.sqlite_file import HistoryFile

_FILES = ("", "-wal", "-lock")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the copies of files appear an hour after what they say of themselves."""

    def sleep() -> None:
        monkeypatch.setattr(witness, "_TOLERANCE_NS", -1)

    return sleep


def written(path: Path, first: int, count: int) -> HistoryFile:
    file = open_file(path)
    file.write(batch(first, count))
    return file


def copied(path: Path, folder: str, *ends: str) -> Path:
    """Copy the files as a backup does."""
    target = path.parent / folder
    target.mkdir()
    for end in ends or ("",):
        if Path(f"{path}{end}").exists():
            shutil.copy2(f"{path}{end}", target)
    return target


def put_back(backup: Path, path: Path) -> None:
    """Bring the copies back, as ``cp -a backup/* .`` does: into the files that are there."""
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    for file in backup.iterdir():
        shutil.copy2(file, path.parent)


def epoch_after(path: Path) -> str:
    file = open_file(path)
    try:
        [stream] = file.snapshot.streams
        assert file.is_copy == (stream.epoch != "epoch")
        assert file.is_copy == (stream.epoch == file.snapshot.epoch)
        return stream.epoch
    finally:
        file.close()


def kill(file: HistoryFile) -> None:
    """Leave the files as kill -9 does; closing the last connection would tidy up."""
    path = file._path
    assert path is not None
    kept = {end: Path(f"{path}{end}").read_bytes() for end in ("", "-wal") if _is(path, end)}
    file._db.close()
    for end, data in kept.items():
        Path(f"{path}{end}").write_bytes(data)
    file._unlock()


def _is(path: Path, end: str) -> bool:
    return Path(f"{path}{end}").exists()


@pytest.mark.parametrize("is_closed", [False, True], ids=["killed", "closed"])
def test_a_restart_keeps_the_epoch(path: Path, is_closed: bool) -> None:
    file = written(path, 0, 3)
    file.trim([])
    for _ in range(3):
        if is_closed:
            file.close()
        else:
            kill(file)
        file = open_file(path)
        assert not file.is_copy
        assert file.snapshot.streams[0].epoch == "epoch"
    file.close()


@pytest.mark.parametrize("ends", [("",), _FILES], ids=["the file", "all files"])
@pytest.mark.parametrize("when", ["closed", "open"])
def test_a_copy_put_back_after_a_stop_has_a_new_epoch(
    path: Path, when: str, ends: tuple[str, ...], sleep: Callable[[], None]
) -> None:
    file = written(path, 0, 3)
    if when == "closed":
        file.close()
        backup = copied(path, "backup", *ends)
        file = open_file(path)
    else:
        backup = copied(path, "backup", *(ends if len(ends) > 1 else ("", "-wal")))
    file.write(batch(3, 2))
    file.close()
    put_back(backup, path)
    sleep()
    assert epoch_after(path) != "epoch"
    # That start is the file's own now.
    epoch = open_and_close(path)
    assert open_and_close(path) == epoch


def open_and_close(path: Path) -> str:
    file = open_file(path)
    file.close()
    return file.snapshot.streams[0].epoch


def test_a_copy_of_the_same_life_put_back_after_a_kill_has_a_new_epoch(path: Path) -> None:
    file = written(path, 0, 3)
    backup = copied(path, "backup", "", "-wal")
    file.write(batch(3, 2))
    kill(file)
    put_back(backup, path)
    assert epoch_after(path) != "epoch"


def test_all_files_put_back_after_a_kill_have_a_new_epoch(
    path: Path, sleep: Callable[[], None]
) -> None:
    file = written(path, 0, 3)
    backup = copied(path, "backup", *_FILES)
    file.write(batch(3, 2))
    kill(file)
    put_back(backup, path)
    sleep()
    assert epoch_after(path) != "epoch"


def test_a_copy_after_which_nothing_was_written_is_as_good_as_the_file(path: Path) -> None:
    file = written(path, 0, 3)
    backup = copied(path, "backup", "", "-wal")
    kill(file)
    put_back(backup, path)
    assert epoch_after(path) == "epoch"


def test_a_file_that_comes_from_elsewhere_has_a_new_epoch(path: Path, tmp_path: Path) -> None:
    written(path, 0, 3).close()
    elsewhere = tmp_path / "new.sqlite"
    shutil.move(path, elsewhere)
    assert epoch_after(elsewhere) != "epoch"


def test_a_file_of_an_older_rtchat_keeps_its_epoch_until_it_is_put_back(path: Path) -> None:
    file = written(path, 0, 3)
    file._db.execute("ALTER TABLE server DROP COLUMN life")
    file._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file._db.close()
    file._unlock()
    Path(f"{path}-lock").write_bytes(b"")
    backup = copied(path, "backup")
    assert epoch_after(path) == "epoch"
    put_back(backup, path)
    assert epoch_after(path) != "epoch"


def test_an_eviction_is_no_older_copy(path: Path) -> None:
    file = written(path, 0, 3)
    file.write(batch(0, 2, stream=2))
    file.write(batch(0, 0, stream=3)._replace(streams=(), forgotten=[2]))
    kill(file)
    assert epoch_after(path) == "epoch"


def test_a_record_that_is_no_record_is_a_reason_to_be_careful(path: Path) -> None:
    written(path, 0, 3).close()
    Path(f"{path}-lock").write_bytes(os.urandom(200))
    assert epoch_after(path) != "epoch"


def test_a_record_that_cannot_be_written_stops_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = open_file(path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    file.write(batch(0, 3))
    file.close()
    monkeypatch.undo()
    assert len(open_file(path).read(1, 0, 9)) == 3


def test_memory_has_no_witness() -> None:
    file = open_file(None)
    file.write(batch(0, 3))
    file.probe()
    assert file.is_in_place()
    assert file.free_bytes() is None
    file.close()
