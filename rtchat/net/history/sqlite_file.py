"""The history's SQLite file, with one row per message. Only one thread at a time may use it.

A message's row id combines the number of its stream and its offset, so a stream's messages are
contiguous in the file and in order. Statements of many steps are avoided when messages are written:
Python releases the interpreter's lock at every step, and may wait for it while the reactor is busy.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from secrets import token_hex

from rtchat.core.broker.message import STORED_OVERHEAD_BYTES
from rtchat.core.history.store import (
    Batch,
    Row,
    StoredStream,
    StoreSnapshot,
    Trim,
    Trimmed,
)
from rtchat.errors import StoreUnusable
from rtchat.net.history.opening import APPLICATION_ID, FORMAT, check_kind, lock_file, remedy
from rtchat.net.history.opening import boot_id as _boot_id
from rtchat.net.history.salvage import Salvage, is_damage
from rtchat.net.history.time_index import TimeIndex
from rtchat.net.history.witness import Witness

__all__ = ["NOT_YET", "HistoryFile"]

NOT_YET = -1
"""What :meth:`HistoryFile.find_soon` returns while there is no answer."""

_OFFSET_BITS = 40
_LOCK_WAIT_S = 5.0
_PROBE_PLACE = -1
_PROBE_BYTES = 64 * 1024
_DELETED_AT_ONCE = 1000  # of a stream
_ROWS_AT_ONCE = (128, 16, 1)  # with six values each; older SQLite allows 999 in a statement

_ADD_LIFE = "ALTER TABLE server ADD COLUMN life TEXT NOT NULL DEFAULT ''"
_TABLES = (
    "CREATE TABLE server (epoch TEXT NOT NULL, boot TEXT NOT NULL, is_open INTEGER NOT NULL)",
    _ADD_LIFE,
    """CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    first_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    bytes INTEGER NOT NULL)""",
    """CREATE TABLE message (
    place INTEGER PRIMARY KEY,
    time_s REAL NOT NULL,
    message_id TEXT NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL)""",
)
_GROW = """INSERT INTO stream VALUES (?, ?, ?, 0, ?, ?) ON CONFLICT (id) DO UPDATE
SET next_offset = excluded.next_offset, bytes = bytes + excluded.bytes"""
_INSERTS = {
    count: "INSERT INTO message VALUES " + ", ".join(["((? << 40) + ?, ?, ?, ?, ?)"] * count)
    for count in _ROWS_AT_ONCE
}
_STREAMS = "SELECT id, name, epoch, first_offset, next_offset, bytes FROM stream"
_TIME = "SELECT time_s FROM message WHERE place = ?"
_MESSAGES = """SELECT place, time_s, message_id, headers, body FROM message
WHERE place >= ? AND place < ? ORDER BY place"""
_LATEST = "SELECT max(time_s) FROM message WHERE place >= ? AND place < ?"
_EXTENT = "SELECT first_offset, next_offset FROM stream WHERE id = ?"
_PAGES = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
_SIZE = f"length(headers) + length(body) + {STORED_OVERHEAD_BYTES}"
_SIZES = f"SELECT coalesce(sum({_SIZE}), 0) FROM message WHERE place >= ? AND place < ?"
_SINCE = "SELECT min(place) FROM message WHERE place >= ? AND place < ? AND time_s >= ?"
_EXCEEDING = f"""SELECT min(place) + 1 FROM (
SELECT place, sum({_SIZE}) OVER (ORDER BY place) AS bytes
FROM message WHERE place >= ? AND place < ?) WHERE bytes >= ?"""


class HistoryFile:
    """An open history file.

    Args:
        path: The file; None is a database in memory, which ends with the process.
        is_power_safe: Whether writes must survive a power failure, too; that waits for the disk
            with every batch.
        max_bytes: The largest size of the file.

    Raises:
        StoreUnusable: The file cannot be opened, belongs to another program, or is in use; the text
            says which and what to do.

    Attributes:
        is_copy: Whether it was not the file as it was left, but an older copy or one from
            elsewhere; then all its streams have new epochs.
        max_bytes: As above.
        snapshot: Its contents when it was opened.
        used_bytes: The size of what is stored; pages that have become free do not count.
    """

    def __init__(self, path: Path | None, *, is_power_safe: bool, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._path = path
        self._lock: int | None = None
        self._witness: Witness | None = None
        self._damaged: set[int] = set()  # streams that cannot be trimmed
        self._times = TimeIndex(self._latest_s)
        self._salvage = Salvage(self.read)
        self.is_copy = False
        try:
            if path is not None:
                self._lock = lock_file(path)
                self._witness = Witness(self._lock, path)
            self._db = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=_LOCK_WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            self._unlock()
            raise StoreUnusable(remedy(error, path)) from None
        try:
            self.snapshot = self._open(is_power_safe, max_bytes)
            if self._witness is not None:
                self._witness.begin(self._life)
        except sqlite3.Error as error:
            self._db.close()
            self._unlock()
            raise StoreUnusable(remedy(error, path)) from None
        except StoreUnusable:
            self._db.close()
            self._unlock()
            raise

    def close(self) -> None:
        """Mark the file as complete, and close it."""
        try:
            self._db.execute("UPDATE server SET is_open = 0")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            self._db.close()
            raise
        else:
            self._db.close()
            if self._witness is not None:
                self._witness.seal()
        finally:
            self._unlock()

    # Operations of the store

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction: all of it, or nothing."""
        try:
            self._write(batch)
        except sqlite3.Error as error:
            if not (batch.forgotten and is_damage(str(error))):
                raise
            # A damaged stream that is deleted must not keep the others from being written.
            for number in batch.forgotten:
                self._forget(number, batch.epoch)
            self._write(Batch(batch.rows, batch.streams, (), batch.epoch))
        if batch.streams:
            self._note(batch.streams[0].number, batch.streams[0].next)
        elif batch.forgotten:
            self._note(0)

    def _write(self, batch: Batch) -> None:
        with _transaction(self._db) as execute:
            if batch.forgotten:
                self._delete(execute, batch.forgotten, batch.epoch)
            for delta in batch.streams:
                execute(_GROW, delta)
            start = 0
            for count in _ROWS_AT_ONCE:
                while len(batch.rows) - start >= count:
                    some = batch.rows[start : start + count]
                    execute(_INSERTS[count], tuple(chain.from_iterable(some)))
                    start += count

    def _forget(self, number: int, epoch: str) -> None:
        """Delete a stream. One that cannot be deleted loses its name, and keeps its number."""
        try:
            with _transaction(self._db) as execute:
                self._delete(execute, [number], epoch)
        except sqlite3.Error as error:
            if not is_damage(str(error)):
                raise
            with _transaction(self._db) as execute:
                execute("UPDATE stream SET name = ? WHERE id = ?", (f"damaged {number}", number))
                self._delete(execute, [], epoch)

    def _delete(self, execute: Callable[..., object], streams: Sequence[int], epoch: str) -> None:
        """Delete streams; destinations that are not in the file get another epoch from then on."""
        for number in streams:
            execute("DELETE FROM message WHERE place >= ? AND place < ?", _span(number))
            execute("DELETE FROM stream WHERE id = ?", (number,))
            self._times.forget(number)
            self._salvage.forget(number)
        execute("UPDATE server SET epoch = ?", (epoch,))

    def read(self, stream: int, first: int, end: int) -> list[Row]:
        """Return the messages of a stream with offsets from ``first`` to before ``end``."""
        base = stream << _OFFSET_BITS
        cursor = self._db.cursor()
        try:
            found = cursor.execute(_MESSAGES, (base + first, base + end)).fetchall()
        finally:
            cursor.close()  # one that is left at an error would keep the file from being tidied up
        return [Row(stream, place - base, *rest) for place, *rest in found]

    def read_what_can_be(self, stream: int, first: int, end: int) -> tuple[list[Row], str]:
        """Return what can be read of a stream, and why the rest cannot be; "" if nothing is lost.

        Raises:
            sqlite3.Error: Nothing can be read, but not because of damage; later it may be.
        """
        return self._salvage.read(stream, first, end)

    def find(self, stream: int, since_s: float) -> int | None:
        """Return the offset of the first message of this time or later, or None."""
        while (found := self.find_soon(stream, since_s)) is NOT_YET:
            pass
        return found

    def find_soon(self, stream: int, since_s: float) -> int | None:
        """Return the same, or ``NOT_YET`` if another call is needed: the first ones may only learn.

        Each statement may have to wait for the reactor's thread, so there are few.
        """
        extent = self._db.execute(_EXTENT, (stream,)).fetchone()
        if extent is None:
            return None
        if not self._times.learn(stream, *extent):
            return NOT_YET
        base = stream << _OFFSET_BITS
        for first, end in self._times.ranges(stream, since_s, *extent):
            place = self._read_number(_SINCE, (base + first, base + end, since_s))
            if place is not None:
                return place - base
        return None

    def _latest_s(self, stream: int, first: int, end: int) -> float | None:
        base = stream << _OFFSET_BITS
        return self._read_number(_LATEST, (base + first, base + end))

    def trim(self, trims: Sequence[Trim]) -> tuple[list[Trimmed], str]:
        """Delete the oldest messages of streams.

        Returns:
            What is left of each stream, and why others could not be trimmed; "" if all were.
        """
        sound = [trim for trim in trims if trim.stream not in self._damaged]
        results: list[Trimmed] = []
        problem = ""
        try:
            with _transaction(self._db):
                results = [self._trim(trim) for trim in sound]
        except sqlite3.Error as error:
            # Damage in one stream must not keep the others from being trimmed.
            problem = str(error)
            if not is_damage(problem):
                raise
            for trim in sound:
                try:
                    with _transaction(self._db):
                        results.append(self._trim(trim))
                except sqlite3.Error:
                    self._damaged.add(trim.stream)
        self._note()
        self.measure()
        return results, problem

    def probe(self) -> None:
        """Write and delete something, to see whether that works.

        Raises:
            sqlite3.Error: It does not.
        """
        with _transaction(self._db) as execute:
            execute(
                "INSERT OR REPLACE INTO message VALUES (?, 0, '', x'', zeroblob(?))",
                (_PROBE_PLACE, _PROBE_BYTES),
            )
        with _transaction(self._db) as execute:
            execute("DELETE FROM message WHERE place = ?", (_PROBE_PLACE,))
        self._note()

    def is_in_place(self) -> bool:
        """Return whether the path still leads to the file."""
        if self._path is None:
            return True
        try:
            return self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def free_bytes(self) -> int | None:
        """Return how much may still be written to the disk; None if there is no file."""
        if self._path is None:
            return None
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize

    def measure(self) -> None:
        """Bring :attr:`used_bytes` up to date; needed after :meth:`write`."""
        self.used_bytes = (self._read_number(_PAGES, ()) or 0) * self._page_bytes

    def _note(self, stream: int = -1, end: int = 0) -> None:
        if self._witness is not None:
            self._witness.note(stream, end)

    def _trim(self, trim: Trim) -> Trimmed:
        """Delete the oldest messages of a stream, or the first part of them if they are many."""
        execute = self._db.execute
        base = trim.stream << _OFFSET_BITS
        start, next_offset, size = execute(
            "SELECT first_offset, next_offset, bytes FROM stream WHERE id = ?", (trim.stream,)
        ).fetchone()
        start += base
        furthest = min(start + _DELETED_AT_ONCE, base + next_offset)
        place = min(max(start, base + trim.first), furthest)
        if trim.before_s:
            recent = self._read_number(_SINCE, (place, furthest, trim.before_s))
            place = furthest if recent is None else recent
        kept = size - (self._read_number(_SIZES, (start, place)) or 0)
        if kept > trim.max_bytes:
            exceeding = (place, furthest, kept - trim.max_bytes)
            place = self._read_number(_EXCEEDING, exceeding) or furthest
            kept = size - (self._read_number(_SIZES, (start, place)) or 0)
        execute("DELETE FROM message WHERE place >= ? AND place < ?", (start, place))
        execute(
            "UPDATE stream SET first_offset = ?, bytes = ? WHERE id = ?",
            (place - base, kept, trim.stream),
        )
        oldest = execute("SELECT time_s FROM message WHERE place = ?", (place,)).fetchone()
        return Trimmed(trim.stream, place - base, kept, oldest[0] if oldest else 0.0)

    # Opening

    def _open(self, is_power_safe: bool, max_bytes: int) -> StoreSnapshot:
        execute = self._db.execute
        # Nothing is written until the file is known to be ours.
        is_empty = not self._read_number("SELECT count(*) FROM sqlite_master", ())
        if not is_empty:
            check_kind(self._db)
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if is_power_safe else 'NORMAL'}")
        self._page_bytes = self._read_number("PRAGMA page_size", ()) or 4096
        execute(f"PRAGMA max_page_count = {max(1, max_bytes // self._page_bytes)}")
        execute("PRAGMA journal_size_limit = 67108864")
        self._inode = 0 if self._path is None else self._path.stat().st_ino
        with _transaction(self._db):
            if is_empty:
                execute(f"PRAGMA application_id = {APPLICATION_ID}")
                execute(f"PRAGMA user_version = {FORMAT}")
                for table in _TABLES:
                    execute(table)
                execute("INSERT INTO server VALUES (?, ?, 0, '')", (token_hex(8), _boot_id()))
            epoch = self._begin_life(is_power_safe)
        streams = [
            StoredStream(
                number, name, stream_epoch, first, end, size, self._oldest_s(number, first)
            )
            for number, name, stream_epoch, first, end, size in execute(_STREAMS).fetchall()
        ]
        self.measure()
        return StoreSnapshot(epoch, streams)

    def _begin_life(self, is_power_safe: bool) -> str:
        """Mark the file as open; give new epochs if messages may be gone that clients know.

        Returns:
            The epoch of destinations that are not in the file.
        """
        execute, boot, life = self._db.execute, _boot_id(), token_hex(8)
        if not any(name == "life" for _, name, *_ in execute("PRAGMA table_info(server)")):
            execute(_ADD_LIFE)  # written by an older rtchat
        epoch, last_boot, was_open, last_life = execute(
            "SELECT epoch, boot, is_open, life FROM server"
        ).fetchone()
        # The machine may have stopped before everything was on the disk.
        may_be_cut = was_open and not is_power_safe and (not boot or boot != last_boot)
        witness = self._witness
        self.is_copy = (
            witness is not None
            and not may_be_cut
            and not witness.agrees(last_life, self._next_offset)
            and bool(self._read_number("SELECT count(*) FROM stream", ()))
        )
        if may_be_cut or self.is_copy:
            # Offsets that clients have seen would be given to other messages; a new epoch tells
            # them.
            epoch = token_hex(8)
            execute("UPDATE stream SET epoch = ?", (epoch,))
        # This also shows that the file can be written.
        execute("UPDATE server SET epoch = ?, boot = ?, is_open = 1, life = ?", (epoch, boot, life))
        self._life = life
        return str(epoch)

    def _next_offset(self, stream: int) -> int:
        return self._read_number("SELECT next_offset FROM stream WHERE id = ?", (stream,)) or 0

    def _oldest_s(self, stream: int, first: int) -> float:
        """Return the time of a stream's first message; 0 if there is none, or it is damaged."""
        try:
            return float(self._read_number(_TIME, ((stream << _OFFSET_BITS) + first,)) or 0)
        except (sqlite3.Error, TypeError, ValueError):
            return 0.0

    def _read_number(self, statement: str, values: tuple[float, ...]) -> int | None:
        row = self._db.execute(statement, values).fetchone()
        number: int | None = None if row is None else row[0]
        return number

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[Callable[..., sqlite3.Cursor]]:
    """Run the statements inside as one transaction: all of them, or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db.execute
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _span(stream: int) -> tuple[int, int]:
    """Return the first row id of a stream, and the first of the next stream."""
    return stream << _OFFSET_BITS, (stream + 1) << _OFFSET_BITS
