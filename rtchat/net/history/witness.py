"""A record beside the history file that tells whether the file is the one that was left there.

A copy that is put back looks like the file itself. But clients may have seen messages that are not
in it, and their offsets will be given to other messages. So the record says what the file has to
contain at least, and when it was last changed. It is kept in the lock file, which is no part of
the database: copying the database alone does not copy it. If it is copied, too, the times of the
files give that away, for the time of the last change of an inode cannot be set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["Witness"]

_MARK = "rtchat-history-1"
_SIZE = 160
_OPEN = "open"
_TOLERANCE_NS = 10 * 10**9
"""A disk may take so long to write a batch; the record is written after it."""


class Witness:
    """The record of one history file.

    It is read when it is created, before the database is opened.

    Args:
        descriptor: The lock file, open for reading and writing.
        path: The history file.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path.resolve()  # SQLite keeps its own files there
        self._stream = 0
        self._next = 0
        self._found = _read(descriptor)
        self._is_untouched = len(self._found) == 6 and self._looks_untouched()

    def agrees(self, life: str, next_of: Callable[[int], int]) -> bool:
        """Return whether the database is the one that the record is about.

        Args:
            life: What the database says about its last life; "" if it says nothing.
            next_of: Returns the next offset of a stream in the database, 0 if it has none.
        """
        if not self._found and not life:
            return True  # it is new, or was written before there were records
        if not self._is_untouched or self._found[1] != life:
            return False
        return next_of(int(self._found[2])) >= int(self._found[3])

    def begin(self, life: str) -> None:
        """Record that a life of the database has begun."""
        self._life = life
        self.note()
        with suppress(OSError):
            os.fsync(self._descriptor)

    def note(self, stream: int = -1, end: int = 0) -> None:
        """Record a change that is in the database now.

        Args:
            stream: The number of a stream that has grown; -1 if none has.
            end: The stream's next offset.
        """
        if stream >= 0:
            self._stream, self._next = stream, end
        self._write(_OPEN)

    def seal(self) -> None:
        """Record that the database is closed and how it was left."""
        with suppress(OSError):
            self._write(_seal(self._path))

    def _write(self, state: str) -> None:
        text = f"{_MARK} {self._life} {self._stream} {self._next} {time.time_ns()} {state}"
        # The change itself is done; without the record the next start is careful, no more.
        with suppress(OSError):
            os.pwrite(self._descriptor, f"{text:<{_SIZE - 1}}\n".encode("ascii"), 0)

    def _looks_untouched(self) -> bool:
        """Return whether no file was changed by anything else since the record was written."""
        state, latest_ns = self._found[5], int(self._found[4]) + _TOLERANCE_NS
        try:
            if state != _OPEN:
                return state == _seal(self._path)
            changes = [os.fstat(self._descriptor).st_ctime_ns]
            for path in (self._path, Path(f"{self._path}-wal")):
                if path.exists():
                    changes.append(path.stat().st_ctime_ns)
        except OSError:
            return False
        return max(changes) <= latest_ns


def _seal(path: Path) -> str:
    """Return what changes with every change of a file, and with every copy."""
    there = path.stat()
    return f"{there.st_ino}:{there.st_ctime_ns}:{there.st_size}"


def _read(descriptor: int) -> list[str]:
    """Return the words of the record, or none if there is no record."""
    try:
        words = os.pread(descriptor, _SIZE, 0).decode("ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
    is_record = len(words) == 6 and words[0] == _MARK
    return words if is_record and all(map(str.isdecimal, words[2:5])) else []
