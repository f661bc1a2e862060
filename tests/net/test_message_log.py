"""The message log: one JSON object a line, whatever the disk does."""

from __future__ import annotations

import base64
import errno
import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import simplejson
from support.logs import Logs, captured_logs
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from rtchat.core.broker.message import Message, user_mark
from rtchat.core.stomp.frames import Frame
from rtchat.net import message_log as messagelog
from rtchat.net.message_log import MessageLog


class Disk:
    """Writes at once, or when the test lets it."""

    def __init__(self) -> None:
        self.is_stalled = False
        self.waiting: list[Callable[[], None]] = []

    def __call__(self, write: Callable[[], None]) -> Deferred[None]:
        if not self.is_stalled:
            return execute(write)
        done: Deferred[None] = Deferred()

        def go_on() -> None:
            execute(write).addBoth(done.callback)

        self.waiting.append(go_on)
        return done

    def go_on(self) -> None:
        """Write what waits."""
        self.is_stalled = False
        waiting, self.waiting = self.waiting, []
        for write in waiting:
            write()


class Journal:
    """A message log in a folder, and what is in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.clock.advance(1_800_000_000.25)  # 2027-01-15T08:00:00.25 UTC
        self.disk = Disk()
        self.log = MessageLog(path, self.clock, self.disk, self.clock.seconds)
        self.count = 0

    def record(self, body: bytes = b"hello", **headers: str) -> None:
        self.count += 1
        frame = Frame("SEND", {"destination": "/topic/chat", **headers}, body)
        self.log.record(Message(f"m-{self.count}", "/topic/chat", frame))

    def write(self) -> None:
        """Let the time pass after which lines are written."""
        self.clock.advance(1)

    def close(self) -> bool:
        """Close; tell whether that is done."""
        done: list[object] = []
        self.log.close().addBoth(done.append)
        return done == [None]

    def records(self, path: Path | None = None) -> list[dict[str, Any]]:
        lines = (path or self.path).read_bytes().split(b"\n")
        assert lines.pop() == b"", "the last line has no end"
        return [simplejson.loads(line) for line in lines]

    def bodies(self, path: Path | None = None) -> list[str]:
        return [record["body"] for record in self.records(path)]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "messages.jsonl")


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


# ---------------------------------------------------------------- lines


def test_a_message_is_one_json_object_on_a_line(journal: Journal) -> None:
    journal.record('Grüße\n"x"\u2028'.encode(), nick="a", receipt="r-1")
    journal.write()
    (record,) = journal.records()
    assert record == {
        "time": "2027-01-15T08:00:00.250+00:00",
        "destination": "/topic/chat",
        "message-id": "m-1",
        "headers": {"nick": "a"},
        "body": 'Grüße\n"x"\u2028',
    }


def test_a_message_of_a_user_names_the_user(journal: Journal) -> None:
    journal.log.record(Message("1", "/topic/a", Frame("SEND"), "", user_mark("a:b")))
    journal.write()
    assert journal.records()[0]["user"] == "a:b"


def test_the_time_has_a_zone(journal: Journal) -> None:
    journal.record()
    journal.write()
    time = datetime.fromisoformat(journal.records()[0]["time"])
    assert time.utcoffset() == timedelta(0)
    assert time.timestamp() == 1_800_000_000.25


def test_a_body_that_is_not_text_is_written_as_base64(journal: Journal) -> None:
    journal.record(b"\xff\x00binary")
    journal.write()
    (record,) = journal.records()
    assert base64.b64decode(record["body-base64"]) == b"\xff\x00binary"
    assert "body" not in record


def test_lines_keep_their_order_over_many_writes(journal: Journal) -> None:
    for number in range(100):
        journal.record(b"%d" % number)
        if number % 7 == 0:
            journal.write()
    journal.write()
    assert journal.bodies() == [str(number) for number in range(100)]


def test_lines_gather_and_are_written_together(journal: Journal) -> None:
    journal.disk.is_stalled = True
    for _ in range(10):
        journal.record()
    assert journal.disk.waiting == []
    journal.write()
    assert len(journal.disk.waiting) == 1


def test_an_existing_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text('{"body": "old"}\n')
    journal = Journal(path)
    journal.record(b"new")
    journal.write()
    assert journal.bodies() == ["old", "new"]


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_line_that_was_torn_before_the_start_spoils_no_other(
    tmp_path: Path, is_moved: bool
) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_text('{"body": "old"}\n{"body": "to')
    journal = Journal(path)
    if is_moved:
        path.rename(tmp_path / "messages.1")
    journal.record(b"new")
    journal.write()
    before = [] if is_moved else ['{"body": "old"}', '{"body": "to']
    *lines, last = path.read_text().splitlines()
    assert lines == before
    assert simplejson.loads(last)["body"] == "new"


def test_a_new_file_is_not_for_everybody_to_read(journal: Journal) -> None:
    assert stat.S_IMODE(journal.path.stat().st_mode) & 0o007 == 0


def test_a_file_that_cannot_be_opened_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "no" / "messages.jsonl")


# ---------------------------------------------------------------- rotation


def test_after_the_file_was_moved_the_next_line_begins_a_new_one(journal: Journal) -> None:
    journal.record(b"1")
    journal.write()
    old = journal.path.rename(journal.path.with_suffix(".1"))
    journal.record(b"2")
    journal.write()
    assert journal.bodies(old) == ["1"]
    assert journal.bodies() == ["2"]


def test_after_the_file_was_replaced_lines_go_to_the_new_one(journal: Journal) -> None:
    journal.record(b"1")
    journal.write()
    old = journal.path.rename(journal.path.with_suffix(".1"))
    journal.path.write_bytes(b"")
    journal.record(b"2")
    journal.write()
    assert journal.bodies(old) == ["1"]
    assert journal.bodies() == ["2"]


def test_a_file_that_was_truncated_goes_on_at_its_new_end(journal: Journal) -> None:
    journal.record(b"1")
    journal.write()
    os.truncate(journal.path, 0)
    journal.record(b"2")
    journal.write()
    assert journal.bodies() == ["2"]


def test_reopen_begins_a_new_file_at_once(journal: Journal) -> None:
    old = journal.path.rename(journal.path.with_suffix(".1"))
    journal.log.reopen()
    assert journal.path.exists()
    journal.record(b"2")
    journal.write()
    assert journal.bodies() == ["2"]
    assert journal.bodies(old) == []


def test_reopen_during_a_write_leaves_the_file_alone(journal: Journal) -> None:
    journal.disk.is_stalled = True
    journal.record(b"1")
    journal.write()
    journal.log.reopen()
    journal.disk.go_on()
    assert journal.bodies() == ["1"]


def test_reopen_that_fails_is_reported_and_later_lines_are_kept(
    journal: Journal, logs: Logs
) -> None:
    away = journal.path.parent.rename(journal.path.parent.with_name("away"))
    journal.log.reopen()
    assert "messages cannot be logged" in logs.text("error")
    assert "No such file" in journal.log.problem
    away.rename(journal.path.parent)
    journal.clock.advance(6)
    assert journal.log.problem == ""
    journal.record(b"2")
    journal.write()
    assert journal.bodies() == ["2"]


# ---------------------------------------------------------------- disks


class Full:
    """A file that takes so many bytes, then has no room."""

    def __init__(self, journal: Journal, room: int) -> None:
        self.file: Any = journal.log._file
        self.room = room
        journal.log._file = self  # type: ignore[assignment]

    def write(self, data: memoryview) -> int:
        size = min(self.room, len(data))
        if not size:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room -= size
        return int(self.file.write(data[:size]))

    def fileno(self) -> int:
        return int(self.file.fileno())

    def close(self) -> None:
        self.file.close()


def test_a_full_disk_is_reported_once_with_the_remedy_and_so_is_its_end(
    journal: Journal, logs: Logs
) -> None:
    full = Full(journal, 0)
    for _ in range(5):
        journal.record()
        journal.clock.advance(6)
    (line,) = logs.lines("error")
    assert line.startswith(f"{journal.path}: messages cannot be logged: ")
    assert "No space left on device" in line
    assert "Free disk space" in line
    assert "No space left on device" in journal.log.problem
    full.room = 1 << 20
    journal.clock.advance(6)
    assert journal.log.problem == ""
    assert "messages can be logged again" in logs.text("info")


def test_what_a_full_disk_does_not_take_waits_and_needs_no_later_message(
    journal: Journal,
) -> None:
    full = Full(journal, 0)
    journal.record(b"waits")
    journal.write()
    full.room = 1 << 20
    journal.clock.advance(6)
    assert journal.bodies() == ["waits"]
    journal.record(b"next")
    journal.write()
    assert journal.bodies() == ["waits", "next"]


def test_a_line_that_was_torn_by_a_full_disk_is_completed(journal: Journal) -> None:
    full = Full(journal, 10)
    journal.record(b"torn")
    journal.write()
    assert len(journal.path.read_bytes()) == 10
    journal.record(b"kept")
    full.room = 1 << 20
    journal.clock.advance(6)
    assert journal.bodies() == ["torn", "kept"]


@pytest.mark.parametrize("is_truncated", [False, True], ids=["moved", "copied and truncated"])
def test_a_torn_line_does_not_spoil_a_new_file(journal: Journal, is_truncated: bool) -> None:
    full = Full(journal, 10)
    journal.record(b"torn")
    journal.write()
    if is_truncated:
        os.truncate(journal.path, 0)
    else:
        journal.path.rename(journal.path.with_suffix(".1"))
    full.room = 1 << 20
    journal.record(b"kept")
    journal.clock.advance(6)
    assert journal.bodies() == ["kept"]


def test_while_the_disk_is_full_memory_is_bounded_and_the_loss_is_told(
    journal: Journal, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messagelog, "_MAX_WAITING_BYTES", 10_000)
    full = Full(journal, 0)
    for _ in range(500):
        journal.record(b"x" * 100)
        journal.clock.advance(1)
    assert journal.log._waiting_bytes < 11_000
    full.room = 1 << 20
    journal.clock.advance(6)
    kept = len(journal.records())
    assert 20 < kept < 100
    assert f"{500 - kept} messages were not logged" in logs.lines("error")[-1]


def test_a_file_that_takes_a_few_bytes_at_a_time_gets_them_all(journal: Journal) -> None:
    full = Full(journal, 1 << 20)
    write = full.write
    full.write = lambda data: write(data[:7])  # type: ignore[method-assign]
    for number in range(20):
        journal.record(b"%d" % number)
    journal.write()
    assert journal.bodies() == [str(number) for number in range(20)]


def test_while_the_disk_stalls_lines_wait_in_order(journal: Journal) -> None:
    journal.disk.is_stalled = True
    journal.record(b"1")
    journal.write()
    journal.record(b"2")
    journal.write()
    journal.record(b"3")
    assert len(journal.disk.waiting) == 1
    journal.disk.go_on()
    journal.write()
    assert journal.bodies() == ["1", "2", "3"]


def test_while_the_disk_stalls_memory_is_bounded_and_the_loss_is_told(
    journal: Journal, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messagelog, "_MAX_WAITING_BYTES", 10_000)
    journal.disk.is_stalled = True
    journal.record(b"first")
    journal.write()
    for _ in range(500):
        journal.record(b"x" * 100)
    waiting = sum(map(len, journal.log._lines))
    assert waiting < 11_000
    kept = len(journal.log._lines)
    journal.disk.go_on()
    journal.write()
    assert len(journal.records()) == 1 + kept
    assert logs.lines("error") == [
        f"{journal.path}: {500 - kept} messages were not logged, because the disk was full or too "
        "slow"
    ]
    journal.record(b"later")
    journal.write()
    assert journal.bodies()[-1] == "later"


# ---------------------------------------------------------------- the end


def test_closing_writes_the_rest(journal: Journal) -> None:
    journal.record(b"1")
    journal.record(b"2")
    assert journal.close()
    assert journal.bodies() == ["1", "2"]
    assert journal.clock.getDelayedCalls() == []


def test_closing_waits_for_a_write_that_is_on_its_way(journal: Journal) -> None:
    journal.disk.is_stalled = True
    journal.record(b"1")
    journal.write()
    journal.record(b"2")
    done: list[object] = []
    journal.log.close().addBoth(done.append)
    assert done == []
    journal.disk.go_on()
    assert done == [None]
    assert journal.bodies() == ["1", "2"]
    assert journal.clock.getDelayedCalls() == []


def test_closing_on_a_full_disk_is_reported_and_done(journal: Journal, logs: Logs) -> None:
    Full(journal, 0)
    journal.record()
    assert journal.close()
    assert "No space left on device" in logs.text("error")
    assert "1 messages were not logged" in logs.text("error")


def test_closing_with_nothing_to_write_is_done_at_once(journal: Journal) -> None:
    assert journal.close()
    assert journal.records() == []
