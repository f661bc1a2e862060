"""The thread that reads and writes the history's file.

The reactor's thread queues operations; a worker thread runs them in that order and posts each
result to the reactor. A slow disk delays only what depends on the result.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.history.store import Batch, Row, StoreSnapshot, Trim, Trimmed
from rtchat.net.history.sqlite_file import NOT_YET, HistoryFile

__all__ = ["HistoryStore"]

_log = Logger(__package__)

_MIN_FREE_BYTES = 4 * 1024 * 1024
"""As much as may wait to be written at once."""

_SWITCH_S = 0.0005
"""After this time the reactor's thread lets the file's thread have the interpreter, if it is busy.

The file's thread needs the interpreter after each statement, and Python's own 5 ms add up.
"""

T = TypeVar("T")

InReactor = Callable[[Callable[[], None]], None]
"""Runs a function in the reactor's thread; may be called from any thread."""


class _NotYet(Exception):
    """An operation that takes long has done a part of its work."""


class HistoryStore:
    """Keeps messages in a file; implements :class:`rtchat.core.history.store.Store`.

    Args:
        path: The file. It is created with mode 0640 if it does not exist; None is in memory.
        in_reactor: Posts results to the reactor's thread.
        is_power_safe: Whether writes must survive a power failure, too.
        max_bytes: The largest size of the file.

    Raises:
        StoreUnusable: The file cannot be opened; the text says why and what to do.

    Attributes:
        write_problem: Why the last write failed; "" if it did not.
        read_problem: Why the last read failed; "" if it did not. Damage is no failure.
        disk_problem: What :meth:`check` has found wrong with the disk or the path; "" if nothing.
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
        if self._file.is_copy:
            _log.warn(
                "{file}: this is not the file as rtchat left it, but an older copy or one from "
                "elsewhere. Its messages have a new epoch: clients that resume are told that some "
                "may be missing.",
                file=self.name,
            )
        self.write_problem = ""
        self.read_problem = ""
        self.disk_problem = ""
        self._unread: tuple[int, int, int] | None = None  # stream, first, end of a failed read
        self._problem_said = ""
        self._is_closing = False
        self._operations: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._closed: Deferred[None] = Deferred()
        sys.setswitchinterval(min(_SWITCH_S, sys.getswitchinterval()))
        # A daemon: if the process ends without closing, what was written is safe.
        self._thread = Thread(target=self._run_thread, name="rtchat history", daemon=True)
        self._thread.start()

    @property
    def snapshot(self) -> StoreSnapshot:
        """The content of the file when it was opened."""
        return self._file.snapshot

    @property
    def max_bytes(self) -> int:
        """How large the file may become."""
        return self._file.max_bytes

    @property
    def used_bytes(self) -> int:
        """How much of that it needed after the latest operation."""
        return self._file.used_bytes

    def write(self, batch: Batch, done: Callable[[str], None]) -> None:
        """Write a batch; ``done`` is called with "" or the problem."""

        def answer(_: None, problem: str) -> None:
            self._written(problem)
            done(problem)

        self._submit(lambda: self._file.write(batch), None, answer, self._file.measure)

    def check(self, done: Callable[[], None]) -> None:
        """Look whether the file is in its place and the disk has room; try again what failed.

        ``done`` is called in a later turn; the attributes have the result.
        """
        is_failing, unread = bool(self.write_problem), self._unread

        def look() -> tuple[str, str, str]:
            write_problem = read_problem = ""
            if is_failing:
                write_problem = _problem_of(self._file.probe)
            if unread is not None:
                read_problem = _problem_of(lambda: self._file.read_what_can_be(*unread))
            return _disk_problem(self._file), write_problem, read_problem

        def answer(found: tuple[str, str, str], problem: str) -> None:
            self.disk_problem, write_problem, read_problem = found
            if is_failing:
                self._written(write_problem or problem)
            if unread is not None:
                self._read(read_problem or problem, unread)
            done()

        self._submit(look, ("", "", ""), answer)

    def _read(self, problem: str, place: tuple[int, int, int]) -> None:
        """Take the result of a read."""
        self.read_problem = problem
        self._unread = place if problem else None

    def _written(self, problem: str) -> None:
        """Take the result of a write; log when it is another than before."""
        if problem and not self.write_problem:
            _log.error(
                "{file}: history cannot be written: {problem}. Publishers get an ERROR until "
                "it can; every message is tried.",
                file=self.name,
                problem=problem,
            )
        elif self.write_problem and not problem:
            _log.info("{file}: history can be written again", file=self.name)
        self.write_problem = problem

    def read(
        self, stream: int, first: int, end: int, done: Callable[[Sequence[Row], str], None]
    ) -> None:
        """Read the messages of a stream with offsets from ``first`` to before ``end``."""
        nothing: tuple[Sequence[Row], str] = ((), "")

        def answer(rows: Sequence[Row], problem: str) -> None:
            self._read(problem, (stream, first, end))
            done(rows, problem)

        self._submit(
            lambda: self._file.read_what_can_be(stream, first, end),
            nothing,
            self._logging_damage(answer),
        )

    def find(self, stream: int, since_s: float, done: Callable[[int | None, str], None]) -> None:
        """Find the offset of the first message of a time or later."""

        def find() -> int | None:
            if self._is_closing:
                return self._file.find(stream, since_s)
            found = self._file.find_soon(stream, since_s)
            if found == NOT_YET:
                raise _NotYet
            return found

        self._submit(find, None, self._logging_problems(done))

    def trim(self, trims: Sequence[Trim], done: Callable[[Sequence[Trimmed], str], None]) -> None:
        """Delete the oldest messages of streams."""
        nothing: tuple[Sequence[Trimmed], str] = ((), "")
        self._submit(lambda: self._file.trim(trims), nothing, self._logging_damage(done))

    def close(self) -> Deferred[None]:
        """Finish all queued operations and close the file; fires when that is done."""
        self._is_closing = True
        self._operations.put(None)
        return self._closed

    def _logging_problems(self, done: Callable[[T, str], None]) -> Callable[[T, str], None]:
        """Return the callback with a log of each new problem; damage would fill the log."""

        def answer(result: T, problem: str) -> None:
            if problem and problem != self._problem_said:
                _log.error(
                    "{file}: history cannot be read or cleaned up: {problem}. Subscribers get "
                    "what can be read.",
                    file=self.name,
                    problem=problem,
                )
                self._problem_said = problem
            done(result, problem)

        return answer

    def _logging_damage(
        self, done: Callable[[T, str], None]
    ) -> Callable[[tuple[T, str], str], None]:
        """Return the callback for an operation that succeeds in part where there is damage."""
        log = self._logging_problems(lambda result, problem: None)

        def answer(result: tuple[T, str], problem: str) -> None:
            log(result[0], problem or result[1])
            done(result[0], problem)

        return answer

    def _submit(
        self,
        work: Callable[[], T],
        nothing: T,
        answer: Callable[[T, str], None],
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        """Queue an operation.

        Args:
            work: The operation.
            nothing: The result if it fails.
            answer: Takes the result and the problem in the reactor's thread.
            afterwards: What is left to be done in the file's thread, when the result is on its way.
        """

        def run() -> None:
            result, problem = nothing, ""
            try:
                result = work()
            except _NotYet:
                self._operations.put(run)  # after all that has come meanwhile
                return
            except sqlite3.Error as error:
                problem = str(error)
            except Exception:
                problem = "internal error"
                failure = Failure()
                self._in_reactor(lambda: _log.failure("bug in the history's thread", failure))
            self._in_reactor(partial(answer, result, problem))
            if afterwards is not None:
                with suppress(sqlite3.Error):
                    afterwards()

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


def _problem_of(operation: Callable[[], object]) -> str:
    """Return why an operation on the file fails; "" if it does not."""
    try:
        operation()
    except sqlite3.Error as error:
        return str(error)
    return ""


def _disk_problem(file: HistoryFile) -> str:
    """Return what is wrong with the file's disk or path; "" if nothing is."""
    try:
        free_bytes = file.free_bytes()
        if not file.is_in_place():
            return "the file was moved or deleted; start the server again"
    except OSError as error:
        return f"{error.strerror}"
    if free_bytes is not None and free_bytes < _MIN_FREE_BYTES:
        return "the disk is full"
    return ""
