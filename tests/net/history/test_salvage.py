"""Reading around damage: what cannot be read is found out once."""

from __future__ import annotations

import sqlite3

import pytest

from rtchat.core.history.store import Row
from rtchat.net.history.salvage import Salvage

DAMAGE = "database disk image is malformed"


class Damaged:
    """A stream of which some messages cannot be read.

    Attributes:
        lost: These.
        reason: What SQLite says to who reads them.
        reads: The ranges that were asked for.
    """

    def __init__(self, lost: set[int], reason: str = DAMAGE) -> None:
        self.lost = lost
        self.reason = reason
        self.reads: list[tuple[int, int]] = []

    def read(self, stream: int, first: int, end: int) -> list[Row]:
        self.reads.append((first, end))
        if self.lost & set(range(first, end)):
            raise sqlite3.DatabaseError(self.reason)
        return [Row(stream, n, 1.0, f"m-{n}", b"", b"") for n in range(first, end)]


def offsets(rows: list[Row]) -> list[int]:
    return [row.offset for row in rows]


def test_damage_is_searched_for_once() -> None:
    stream = Damaged({70, 71, 72, 200})
    salvage = Salvage(stream.read)
    expected = sorted(set(range(256)) - stream.lost)
    for _ in range(3):
        stream.reads.clear()
        rows, problem = salvage.read(1, 0, 256)
        assert (offsets(rows), problem) == (expected, DAMAGE)
    assert stream.reads == [(0, 70), (73, 200), (201, 256)]


def test_parts_and_new_messages_are_read_as_ever() -> None:
    stream = Damaged({70, 71})
    salvage = Salvage(stream.read)
    salvage.read(1, 0, 100)
    assert salvage.read(1, 0, 70) == (stream.read(1, 0, 70), "")
    assert offsets(salvage.read(1, 71, 120)[0]) == list(range(72, 120))
    assert salvage.read(1, 70, 72) == ([], DAMAGE)
    assert salvage.read(2, 100, 120)[1] == ""


def test_what_is_no_damage_may_pass() -> None:
    stream = Damaged({5}, "disk I/O error")
    salvage = Salvage(stream.read)
    assert offsets(salvage.read(1, 0, 9)[0]) == [0, 1, 2, 3, 4, 6, 7, 8]
    with pytest.raises(sqlite3.DatabaseError):
        salvage.read(1, 5, 6)
    stream.lost.clear()
    assert salvage.read(1, 0, 9)[1] == ""


def test_a_stream_that_was_deleted_is_forgotten() -> None:
    stream = Damaged({5})
    salvage = Salvage(stream.read)
    salvage.read(1, 0, 9)
    salvage.forget(1)
    stream.lost.clear()
    assert salvage.read(1, 0, 9)[1] == ""


def test_what_is_remembered_is_bounded() -> None:
    stream = Damaged(set(range(0, 8000, 2)))
    salvage = Salvage(stream.read)
    for first in range(0, 8000, 250):
        salvage.read(1, first, first + 250)
    assert len(salvage._lost[1]) <= 1024
    assert offsets(salvage.read(1, 7000, 7100)[0]) == list(range(7001, 7100, 2))
