"""Copies of a history file: whole, checked, and with new epochs when they are put back."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.history import batch, open_file

from rtchat import cli
from rtchat.errors import StoreUnusable
from rtchat.net.history.backup import back_up, restore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def others(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_copy_of_an_open_file_has_everything_and_leaves_it_as_it_was(path: Path) -> None:
    copy = path.with_name("copy.sqlite")
    file = open_file(path)
    file.write(batch(0, 100))
    assert back_up(path, copy) == 100
    assert stat.S_IMODE(copy.stat().st_mode) & 0o137 == 0
    file.write(batch(100, 5))
    file.close()
    assert back_up(path, path.with_name("second.sqlite")) == 105
    file = open_file(path)
    assert not file.is_copy
    assert file.snapshot.streams[0].epoch == "epoch"
    file.close()
    assert others(path.parent) == [
        "copy.sqlite",
        "history.sqlite",
        "history.sqlite-lock",
        "second.sqlite",
    ]


def test_a_copy_of_a_closed_file_leaves_nothing_beside_it(path: Path) -> None:
    file = open_file(path)
    file.write(batch(0, 3))
    file.close()
    before = path.stat()
    assert back_up(path, path.with_name("copy.sqlite")) == 3
    assert others(path.parent) == ["copy.sqlite", "history.sqlite", "history.sqlite-lock"]
    after = path.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


def test_a_copy_that_is_put_back_has_new_epochs_once(path: Path) -> None:
    copy = path.with_name("copy.sqlite")
    file = open_file(path)
    file.write(batch(0, 3))
    back_up(path, copy)
    file.write(batch(3, 3))
    file.close()
    path.with_name("history.sqlite-wal").write_bytes(b"left by a crash")
    assert restore(copy, path) == 3
    file = open_file(path)
    assert not file.is_copy
    [stream] = file.snapshot.streams
    assert stream.epoch == file.snapshot.epoch != "epoch"
    assert len(file.read(1, 0, 99)) == 3
    file.close()
    file = open_file(path)
    assert file.snapshot.streams[0].epoch == stream.epoch
    file.close()
    assert copy.exists()


def test_a_copy_may_be_put_where_there_is_no_file(path: Path, tmp_path: Path) -> None:
    file = open_file(path)
    file.write(batch(0, 3))
    file.close()
    assert restore(path, tmp_path / "new.sqlite") == 3
    assert len(open_file(tmp_path / "new.sqlite").read(1, 0, 9)) == 3


def test_what_is_put_back_may_be_used_by_who_used_the_file_before(path: Path) -> None:
    copy = path.with_name("copy.sqlite")
    open_file(path).close()
    back_up(path, copy)
    path.chmod(0o660)
    restore(copy, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_the_file_to_its_owner(path: Path) -> None:
    copy = path.with_name("copy.sqlite")
    open_file(path).close()
    back_up(path, copy)
    os.chown(path, 65534, 65534)
    restore(copy, path)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_link_to_the_file_stays_a_link(path: Path) -> None:
    disk = path.with_name("disk")
    disk.mkdir()
    path.symlink_to(disk / "history.sqlite")
    copy = path.with_name("copy.sqlite")
    file = open_file(path)
    file.write(batch(0, 3))
    back_up(path, copy)
    file.write(batch(3, 2))
    file.close()
    (disk / "history.sqlite-wal").write_bytes(b"left by a crash")
    restore(copy, path)
    assert path.is_symlink()
    assert others(disk) == ["history.sqlite"]
    file = open_file(path)
    assert len(file.read(1, 0, 9)) == 3
    file.close()


def test_nothing_is_created_where_nothing_can_be_put(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="no such file"):
        restore(tmp_path / "none", path)
    assert others(tmp_path) == []


def test_nothing_is_put_back_under_a_running_server(path: Path) -> None:
    copy = path.with_name("copy.sqlite")
    file = open_file(path)
    back_up(path, copy)
    with pytest.raises(StoreUnusable, match="another rtchat uses it"):
        restore(copy, path)
    file.write(batch(0, 1))
    file.close()


def test_what_is_no_copy_changes_nothing(path: Path, tmp_path: Path) -> None:
    file = open_file(path)
    file.write(batch(0, 300, body=b"x" * 300))
    file.close()
    before = path.read_bytes()
    strange = tmp_path / "strange"
    strange.write_text("This is no database, however long it is.\n" * 200)
    foreign = tmp_path / "foreign"
    with closing(sqlite3.connect(foreign)) as other:
        other.execute("CREATE TABLE x (y)")
    damaged = tmp_path / "damaged"
    data = bytearray(before)
    data[40960:49152] = b"\x5a" * 8192
    damaged.write_bytes(data)
    for name, reason in [
        (strange, "no SQLite database"),
        (foreign, "another program"),
        (damaged, "damaged"),
        (tmp_path / "none", "no such file"),
        (tmp_path, "no such file"),
    ]:
        with pytest.raises(StoreUnusable, match=reason) as error:
            restore(name, path)
        assert str(error.value).startswith(f"{name}: ")
        assert path.read_bytes() == before
    assert not [name for name in others(tmp_path) if "part" in name]


def test_a_backup_overwrites_nothing_and_names_the_file(path: Path, tmp_path: Path) -> None:
    open_file(path).close()
    for copy, reason in [(path, "exists already"), (tmp_path / "no" / "x", "No such file")]:
        with pytest.raises(StoreUnusable, match=reason) as error:
            back_up(path, copy)
        assert str(error.value).startswith(f"{copy}: ")


def test_the_commands(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = open_file(path)
    file.write(batch(0, 3))
    file.close()
    copy = tmp_path / "copy"
    cli.main(["backup", str(path), str(copy)])
    cli.main(["restore", str(copy), str(path)])
    assert capsys.readouterr().out == f"{copy}: 3 messages\n{path}: 3 messages\n"
    with pytest.raises(SystemExit) as end:
        cli.main(["backup", str(path), str(copy)])
    assert str(end.value) == f"rtchat: {copy}: it exists already; name a new file"


@pytest.mark.parametrize(
    "output, said", [(None, "standard output is closed"), ("/dev/full", "No space left on device")]
)
def test_output_that_cannot_be_written_is_said_in_a_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch, output: str | None, said: str
) -> None:
    open_file(path).close()
    file = None if output is None else open(output, "w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.setattr(sys, "stdout", file)
    with pytest.raises(SystemExit, match=said):
        cli.main(["backup", str(path), f"{path}-copy"])
    if file is not None:
        file.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_part_of_a_copy(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def check_kind(_: sqlite3.Connection) -> None:
        os.kill(os.getpid(), number)

    open_file(path).close()
    monkeypatch.setattr("rtchat.net.history.backup.check_kind", check_kind)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # it would end the tests
    try:
        with pytest.raises(SystemExit) as end:
            cli.main(["backup", str(path), f"{path}-copy"])
        assert end.value.code == 128 + number
        with pytest.raises(SystemExit):
            cli.main(["restore", str(path), f"{path}-new"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert others(path.parent) == ["history.sqlite", "history.sqlite-lock"]
