"""The thread that reads and writes the history's file.

The reactor's thread queues operations; a worker thread runs them in that order and posts each
result to the reactor. A slow disk delays only what depends on the result.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.history.store import Batch, Row, StoreSnapshot, Trim, Trimmed
from rtchat.net.history.sqlite_file import HistoryFile

__all__ = ["HistoryStore"]

_log = Logger(__package__)

T = TypeVar("T")

InReactor = Callable[[Callable[[], None]], None]
"""Runs a function in the reactor's thread; may be called from any thread."""


class HistoryStore:
    """Keeps messages in a file; implements :class:`rtchat.core.history.store.Store`.

    Args:
        path: The file. It is created with mode 0640 if it does not exist; None is in memory.
        in_reactor: Posts results to the reactor's thread.
        is_power_safe: Whether writes must survive a power failure, too.
        max_bytes: The largest size of the file.

    Raises:
        StoreUnusable: The file cannot be opened; the text says why and what to do.
    """

    def __init__(
        self,
        path: Path | None,
        in_reactor: InReactor,
        *,
        is_power_safe: bool = False,
        max_bytes: int = 1024**3,
    ) -> None:
        self.name = ":memory:" if path is None else str(path)
        self._in_reactor = in_reactor
        self._file = HistoryFile(path, is_power_safe=is_power_safe, max_bytes=max_bytes)
        self._is_failing = False
        self._operations: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed: Deferred[None] = Deferred()
        # A daemon: if the process ends without closing, what was written is safe.
        self._thread = Thread(target=self._run_thread, name="rtchat history", daemon=True)
        self._thread.start()

    @property
    def snapshot(self) -> StoreSnapshot:
        """The content of the file when it was opened."""
        return self._file.snapshot

    def write(self, batch: Batch, done: Callable[[str], None]) -> None:
        """Write a batch; ``done`` is called with "" or the problem."""

        def answer(_: None, problem: str) -> None:
            if problem and not self._is_failing:
                _log.error(
                    "{file}: history cannot be written: {problem}. Publishers get an ERROR until "
                    "it can; every message is tried.",
                    file=self.name,
                    problem=problem,
                )
            elif self._is_failing and not problem:
                _log.info("{file}: history can be written again", file=self.name)
            self._is_failing = bool(problem)
            done(problem)

        self._submit(lambda: self._file.write(batch), None, answer)

    def read(
        self, stream: int, first: int, end: int, done: Callable[[Sequence[Row], str], None]
    ) -> None:
        """Read the messages of a stream with offsets from ``first`` to before ``end``."""
        nothing: Sequence[Row] = ()
        self._submit(
            lambda: self._file.read(stream, first, end), nothing, self._logging_problems(done)
        )

    def find(self, stream: int, since_s: float, done: Callable[[int | None, str], None]) -> None:
        """Find the offset of the first message of a time or later."""
        self._submit(lambda: self._file.find(stream, since_s), None, self._logging_problems(done))

    def trim(self, trims: Sequence[Trim], done: Callable[[Sequence[Trimmed], str], None]) -> None:
        """Delete the oldest messages of streams."""
        nothing: Sequence[Trimmed] = ()
        self._submit(lambda: self._file.trim(trims), nothing, self._logging_problems(done))

    def close(self) -> Deferred[None]:
        """Finish all queued operations and close the file; fires when that is done."""
        self._operations.put(None)
        return self._closed

    def _logging_problems(self, done: Callable[[T, str], None]) -> Callable[[T, str], None]:
        def answer(result: T, problem: str) -> None:
            if problem:
                _log.error(
                    "{file}: history cannot be read or cleaned up: {problem}",
                    file=self.name,
                    problem=problem,
                )
            done(result, problem)

        return answer

    def _submit(self, work: Callable[[], T], nothing: T, answer: Callable[[T, str], None]) -> None:
        def run() -> None:
            result, problem = nothing, ""
            try:
                result = work()
            except sqlite3.Error as error:
                problem = str(error)
            except Exception:
                problem = "internal error"
                failure = Failure()
                self._in_reactor(lambda: _log.failure("bug in the history's thread", failure))
            self._in_reactor(partial(answer, result, problem))

        self._operations.put(run)

    def _run_thread(self) -> None:
        while (operation := self._operations.get()) is not None:
            operation()
        try:
            self._file.close()
        except sqlite3.Error as error:
            problem = str(error)
            self._in_reactor(
                lambda: _log.warn(
                    "{file}: not closed well: {problem}", file=self.name, problem=problem
                )
            )
        self._in_reactor(lambda: self._closed.callback(None))
