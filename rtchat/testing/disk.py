"""The file of a history in memory or in a test's folder, used without a thread."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from rtchat.core.flow.outbound import Cork
from rtchat.core.history.store import Batch, Row, Trim, Trimmed
from rtchat.net.history.sqlite_file import HistoryFile

__all__ = ["Disk", "FileStore"]

_T = TypeVar("_T")


@dataclass
class Disk:
    """How the disk behaves that has the history. A test may change it at any time.

    Attributes:
        is_slow: Whether what is to be stored or read waits for the next ``Broker.advance()``.
            Until then no subscriber has the message, and its publisher no RECEIPT.
        problem: Why nothing can be written, such as ``"disk is full"``; "" while it can.
            Publishers get the ERROR ``history cannot be written``.
    """

    is_slow: bool = False
    problem: str = ""


class FileStore:
    """Keeps messages in a file; implements :class:`rtchat.core.history.store.Store`.

    What it is asked for waits until :meth:`carry_out`, so no callback comes from within a call.

    Args:
        file: The file.
        disk: How the disk behaves.
    """

    def __init__(self, file: HistoryFile, disk: Disk) -> None:
        self._file = file
        self._disk = disk
        self._orders: deque[Callable[[], Callable[[], None]]] = deque()

    @property
    def max_bytes(self) -> int:
        """How large the file may become, in bytes."""
        return self._file.max_bytes

    @property
    def used_bytes(self) -> int:
        """How much of that it needed after the latest operation."""
        return self._file.used_bytes

    def write(self, batch: Batch, done: Callable[[str], None]) -> None:
        """Write a batch; ``done`` is called with "" or the problem."""

        def write() -> None:
            if self._disk.problem:
                raise sqlite3.OperationalError(self._disk.problem)
            self._file.write(batch)
            self._file.measure()

        self._order(write, None, lambda _, problem: done(problem))

    def read(
        self, stream: int, first: int, end: int, done: Callable[[Sequence[Row], str], None]
    ) -> None:
        """Read the messages of a stream with offsets from ``first`` to before ``end``."""
        nothing: Sequence[Row] = ()
        self._order(lambda: self._file.read_what_can_be(stream, first, end)[0], nothing, done)

    def find(self, stream: int, since_s: float, done: Callable[[int | None, str], None]) -> None:
        """Find the offset of the first message of a time or later."""
        self._order(lambda: self._file.find(stream, since_s), None, done)

    def trim(self, trims: Sequence[Trim], done: Callable[[Sequence[Trimmed], str], None]) -> None:
        """Delete the oldest messages of streams."""
        nothing: Sequence[Trimmed] = ()
        self._order(lambda: self._file.trim(trims)[0], nothing, done)

    def carry_out(self, turn: Cork) -> bool:
        """Carry out all that was asked for, each answer in a turn of its own.

        Returns:
            Whether anything was.
        """
        is_busy = bool(self._orders)
        while self._orders:
            answer = self._orders.popleft()()
            with turn:
                answer()
        return is_busy

    def close(self) -> None:
        """Close the file; what was not carried out is forgotten."""
        self._orders.clear()
        with suppress(sqlite3.Error):  # closed already
            self._file.close()

    def _order(self, work: Callable[[], _T], nothing: _T, done: Callable[[_T, str], None]) -> None:
        """Note an operation, the result if it fails, and what takes result and problem."""

        def carry_out() -> Callable[[], None]:
            result, problem = nothing, ""
            try:
                result = work()
            except sqlite3.Error as error:
                problem = str(error)
            return lambda: done(result, problem)

        self._orders.append(carry_out)
