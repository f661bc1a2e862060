"""Reading around a damaged place of the history file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from rtchat.core.history.store import Row

__all__ = ["is_damage", "read_around_damage"]

_DAMAGE = ("malformed", "not a database", "decode")
_LONGEST_S = 1.0


def is_damage(problem: str) -> bool:
    """Return whether what SQLite says is about the contents of the file."""
    return any(sign in problem for sign in _DAMAGE)


def read_around_damage(
    read: Callable[[int, int], list[Row]], first: int, end: int
) -> tuple[list[Row], str]:
    """Return what can be read of a range, and why the rest cannot be; "" if nothing is lost.

    Where reading fails, the range is halved until what cannot be read is left.

    Args:
        read: Reads a part of the range.
        first: The first offset.
        end: The offset after the last one.

    Raises:
        sqlite3.Error: Nothing can be read, but not because of damage; later it may be.
    """
    rows: list[Row] = []
    failure: sqlite3.Error | None = None
    stop_at_s = 0.0
    ranges = [(first, end)]
    while ranges:
        start, stop = ranges.pop()
        try:
            found = read(start, stop)
        except sqlite3.Error as error:
            failure = error.with_traceback(None)
            now_s = time.monotonic()
            stop_at_s = stop_at_s or now_s + _LONGEST_S
            if stop - start > 1 and now_s < stop_at_s:
                middle = (start + stop) // 2
                ranges += [(middle, stop), (start, middle)]
        else:
            rows += [row for row in found if _is_sound(row, start, stop)]
    if failure is not None:
        if not rows and not is_damage(str(failure)):
            raise failure
        return rows, str(failure)
    return rows, "" if len(rows) == end - first else "messages are missing or damaged"


def _is_sound(row: Row, first: int, end: int) -> bool:
    """Return whether a row can be what was written: damage may put anything in its place."""
    kinds = tuple(map(type, row[2:]))
    return first <= row.offset < end and kinds == (float, str, bytes, bytes)
