"""The message log: every message sent to a topic, one JSON object per line.

Lines are buffered in memory, and a thread of the reactor's pool writes them, so that a slow disk
never blocks the reactor. Before each write, the file is looked up by its path: once logrotate (or
anything else) has moved it away, the next line begins a new file. What a full or broken disk does
not take waits in memory and is tried again.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.broker.encoder import passed_on_headers
from rtchat.core.broker.message import Message, user_of
from rtchat.net.json_codec import json_line

__all__ = ["MessageLog"]

_log = Logger()

_MAX_WAITING_BYTES = 16 * 1024 * 1024
_WRITE_EVERY_S = 0.5
_RETRY_EVERY_S = 5.0

InThread = Callable[[Callable[[], None]], "Deferred[None]"]
"""Runs a function in another thread; fires when it is done."""


class MessageLog:
    """Writes messages to a file.

    Args:
        path: The file. It is appended to, and created with mode 0640 if it does not exist.
        clock: Runs the timer for the next write.
        in_thread: Runs a write without blocking the reactor.
        wall_s: Returns the time in seconds since 1970.

    Raises:
        OSError: The file cannot be opened.

    Attributes:
        problem: Why nothing can be written now; "" as long as it works.
    """

    def __init__(
        self,
        path: Path,
        clock: IReactorTime,
        in_thread: InThread,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.problem = ""
        self._clock = clock
        self._in_thread = in_thread
        self._wall_s = wall_s
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._timer: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._file: FileIO | None = None
        self._rest = b""  # what the last write did not take
        self._is_torn = False  # the file ends in the middle of a line, which the rest goes on with
        self._open()
        if _is_torn(path):
            # The process before was killed, or the disk was full when it ended.
            self._rest, self._is_torn = b"\n", True

    def record(self, message: Message) -> None:
        """Log a message; it is in the file within about a second.

        While more than 16 MiB wait for the disk, messages are dropped and counted.
        """
        if self._waiting_bytes > _MAX_WAITING_BYTES:
            self._lost += 1
            return
        line = _line(message, self._wall_s())
        self._lines.append(line)
        self._waiting_bytes += len(line)
        self._plan_write()

    def reopen(self) -> None:
        """Open the file again, because it may have been moved (SIGHUP)."""
        if self._writing is None:
            try:
                self._open()
            except OSError as error:
                self._report(error)
                self._plan_write()

    def close(self) -> Deferred[None]:
        """Write what is buffered and close the file; fires when that is done."""
        done = self._writing if self._writing is not None else succeed(None)

        def finish(_: object) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                if self._rest or self._lines:
                    self._write(self._rest + b"".join(self._lines))
            except OSError as error:
                self._report(error)
            self._lines.clear()
            self._report_lost(self._lost + self._rest.count(b"\n"))
            if self._file is not None:
                self._file.close()
                self._file = None

        return done.addCallback(finish)

    def _plan_write(self) -> None:
        if self._timer is None and self._writing is None and (self._lines or self.problem):
            delay_s = _RETRY_EVERY_S if self.problem else _WRITE_EVERY_S
            self._timer = self._clock.callLater(delay_s, self._write_soon)

    def _write_soon(self) -> None:
        self._timer = None
        data = self._rest + b"".join(self._lines)
        self._lines.clear()
        self._writing = self._in_thread(lambda: self._write(data))
        self._writing.addCallbacks(self._written, self._failed)

    def _written(self, _: object) -> None:
        self._writing = None
        if self.problem:
            self.problem = ""
            _log.info("{path}: messages can be logged again", path=self.path)
        self._report_lost(self._lost)
        self._settle()

    def _failed(self, failure: Failure) -> None:
        self._writing = None
        self._report(failure.value)
        self._settle()

    def _settle(self) -> None:
        self._waiting_bytes = len(self._rest) + sum(map(len, self._lines))
        self._plan_write()

    def _report(self, error: BaseException | None) -> None:
        """Log why messages cannot be logged, once until they can be again."""
        if not self.problem:
            _log.error(
                "{path}: messages cannot be logged: {error}. Free disk space or correct the "
                "permissions; up to 16 MiB of messages wait for that.",
                path=self.path,
                error=error,
            )
        self.problem = str(getattr(error, "strerror", None) or error)

    def _report_lost(self, lost: int) -> None:
        self._lost = 0
        if lost:
            _log.error(
                "{path}: {lost} messages were not logged, because the disk was full or too slow",
                path=self.path,
                lost=lost,
            )

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._file = os.fdopen(descriptor, "ab", buffering=0)

    def _write(self, data: bytes) -> None:
        """Append to the file; runs in a thread. What the file does not take is the new rest."""
        view = memoryview(data)
        try:
            if self._file is None or self._was_moved():
                self._open()
            assert self._file is not None
            if self._is_torn and not os.fstat(self._file.fileno()).st_size:
                # The line began in the file that was moved away.
                view = view[data.index(b"\n") + 1 :]
            while view:
                view = view[self._file.write(view) or 0 :]
        finally:
            if len(view) < len(data):
                self._is_torn = not data[: len(data) - len(view)].endswith(b"\n")
            self._rest = bytes(view)

    def _was_moved(self) -> bool:
        assert self._file is not None
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return True
        here = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _is_torn(path: Path) -> bool:
    """Return whether a file ends in the middle of a line."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return False
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:  # it may be written only
        return False


def _line(message: Message, now_s: float) -> bytes:
    record: dict[str, object] = {
        "time": datetime.fromtimestamp(now_s, timezone.utc).isoformat(timespec="milliseconds"),
        "destination": message.destination,
        "message-id": message.id,
        "headers": passed_on_headers(message),
    }
    user = user_of(message)
    if user:
        record["user"] = user
    try:
        record["body"] = message.body.decode("utf-8")
    except UnicodeDecodeError:
        record["body-base64"] = base64.b64encode(message.body).decode("ascii")
    return json_line(record, is_ascii=False)
