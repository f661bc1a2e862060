"""Reading around a damaged place of the history file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from rtchat.core.history.store import Row

__all__ = ["Salvage", "is_damage"]

_DAMAGE = ("malformed", "not a database", "decode")
_LONGEST_S = 1.0
_MAX_RANGES = 1024

_Range = tuple[int, int]


def is_damage(problem: str) -> bool:
    """Return whether what SQLite says is about the contents of the file."""
    return any(sign in problem for sign in _DAMAGE)


class Salvage:
    """Reads what can be read, and remembers what cannot: damage does not go away by itself.

    Args:
        read: Reads a range of a stream.
    """

    __slots__ = ("_lost", "_read", "_reasons")

    def __init__(self, read: Callable[[int, int, int], list[Row]]) -> None:
        self._read = read
        self._lost: dict[int, list[_Range]] = {}  # for each stream, in no order
        self._reasons: dict[int, str] = {}

    def forget(self, stream: int) -> None:
        """Forget a stream that was deleted."""
        self._lost.pop(stream, None)
        self._reasons.pop(stream, None)

    def read(self, stream: int, first: int, end: int) -> tuple[list[Row], str]:
        """Return what can be read of a range, and why the rest cannot be; "" if nothing is lost.

        Where reading fails, the range is halved until what cannot be read is left.

        Args:
            stream: The stream.
            first: The first offset.
            end: The offset after the last one.

        Raises:
            sqlite3.Error: Nothing can be read, but not because of damage; later it may be.
        """
        rows: list[Row] = []
        failure: sqlite3.Error | None = None
        stop_at_s = 0.0
        ranges = self._without_lost(stream, first, end)
        reason = "" if ranges == [(first, end)] else self._reasons[stream]
        while ranges:
            start, stop = ranges.pop()
            try:
                found = self._read(stream, start, stop)
            except sqlite3.Error as error:
                failure = error.with_traceback(None)
                now_s = time.monotonic()
                stop_at_s = stop_at_s or now_s + _LONGEST_S
                if stop - start == 1:
                    self._note_lost(stream, start, str(failure))
                elif now_s < stop_at_s:
                    middle = (start + stop) // 2
                    ranges += [(middle, stop), (start, middle)]
            else:
                rows += [row for row in found if _is_sound(row, start, stop)]
        if failure is not None:
            reason = str(failure)
            if not rows and not is_damage(reason):
                raise failure
        if reason or len(rows) == end - first:
            return rows, reason
        return rows, "messages are missing or damaged"

    def _without_lost(self, stream: int, first: int, end: int) -> list[_Range]:
        """Return the parts of a range that are not known to be lost, the last part first."""
        parts = []
        for start, stop in sorted(self._lost.get(stream, ())):
            if first < stop and start < end:
                if first < start:
                    parts.append((first, start))
                first = stop
        if first < end:
            parts.append((first, end))
        return parts[::-1]

    def _note_lost(self, stream: int, offset: int, reason: str) -> None:
        """Remember that a message cannot be read because of damage."""
        if not is_damage(reason):
            return
        lost = self._lost.setdefault(stream, [])
        self._reasons[stream] = reason
        # A range is salvaged from its beginning on, so neighbours follow each other.
        if lost and lost[-1][1] == offset:
            lost[-1] = (lost[-1][0], offset + 1)
        elif len(lost) < _MAX_RANGES:
            lost.append((offset, offset + 1))


def _is_sound(row: Row, first: int, end: int) -> bool:
    """Return whether a row can be what was written: damage may put anything in its place."""
    kinds = tuple(map(type, row[2:]))
    return first <= row.offset < end and kinds == (float, str, bytes, bytes)
