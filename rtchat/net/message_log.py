"""The message log: every message sent to a topic, one JSON object per line.

Lines are buffered in memory, and a thread of the reactor's pool writes them, so that a slow disk
never blocks the reactor. Before each write, the file is looked up by its path: once logrotate (or
anything else) has moved it away, the next line begins a new file.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from datetime import datetime, timezone
from io import FileIO
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from rtchat.core.broker.encoder import passed_on_headers
from rtchat.core.broker.message import Message
from rtchat.net.json_codec import json_line

__all__ = ["MessageLog"]

_log = Logger()

_MAX_WAITING_BYTES = 16 * 1024 * 1024
_WRITE_EVERY_S = 0.5

InThread = Callable[[Callable[[], None]], "Deferred[None]"]
"""Runs a function in another thread; fires when it is done."""


class MessageLog:
    """Writes messages to a file.

    Args:
        path: The file. It is appended to, and created with mode 0640 if it does not exist.
        clock: Tells the time, and runs the timer for the next write.
        in_thread: Runs a write without blocking the reactor.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, clock: IReactorTime, in_thread: InThread) -> None:
        self.path = path
        self._clock = clock
        self._in_thread = in_thread
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._lost = 0
        self._timer: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._file: FileIO | None = None
        self._is_torn = False  # the file ends in the middle of a line
        self._open()

    def record(self, message: Message) -> None:
        """Log a message; it is in the file within about a second.

        While more than 16 MiB wait for a slow disk, messages are dropped and counted.
        """
        if self._waiting_bytes > _MAX_WAITING_BYTES:
            self._lost += 1
            return
        line = _line(message, self._clock.seconds())
        self._lines.append(line)
        self._waiting_bytes += len(line)
        if self._timer is None and self._writing is None:
            self._timer = self._clock.callLater(_WRITE_EVERY_S, self._write_soon)

    def reopen(self) -> None:
        """Open the file again, because it may have been moved (SIGHUP)."""
        if self._writing is None:
            try:
                self._open()
            except OSError as error:
                self._report(error)

    def close(self) -> Deferred[None]:
        """Write what is buffered and close the file; fires when that is done."""
        done = self._writing if self._writing is not None else succeed(None)

        def finish(_: object) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                self._write(b"".join(self._lines))
            except OSError as error:
                self._report(error)
            self._lines.clear()
            if self._file is not None:
                self._file.close()
                self._file = None

        return done.addCallback(finish)

    def _write_soon(self) -> None:
        self._timer = None
        data = b"".join(self._lines)
        self._lines.clear()
        self._waiting_bytes = 0
        self._writing = self._in_thread(lambda: self._write(data))
        self._writing.addCallbacks(self._written, self._failed)

    def _written(self, _: object) -> None:
        self._writing = None
        if self._lost:
            _log.error(
                "{path}: {lost} messages were not logged, because the disk was too slow",
                path=self.path,
                lost=self._lost,
            )
            self._lost = 0
        if self._lines and self._timer is None:
            self._timer = self._clock.callLater(_WRITE_EVERY_S, self._write_soon)

    def _failed(self, failure: Failure) -> None:
        self._report(failure.value)
        self._written(None)

    def _report(self, error: BaseException | None) -> None:
        _log.error(
            "{path}: messages were not logged: {error}. Free disk space or correct the "
            "permissions; the next messages will be tried.",
            path=self.path,
            error=error,
        )

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._file = os.fdopen(descriptor, "ab", buffering=0)
        self._is_torn = self._is_torn and os.fstat(descriptor).st_size > 0

    def _write(self, data: bytes) -> None:
        """Append to the file; runs in a thread."""
        if not data:
            return
        if self._file is None or self._was_moved():
            self._open()
        assert self._file is not None
        if self._is_torn:
            data = b"\n" + data
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) or 0 :]
        finally:
            if len(view) < len(data):
                self._is_torn = not data[: len(data) - len(view)].endswith(b"\n")

    def _was_moved(self) -> bool:
        assert self._file is not None
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return True
        here = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def _line(message: Message, now_s: float) -> bytes:
    record: dict[str, object] = {
        "time": datetime.fromtimestamp(now_s, timezone.utc).isoformat(timespec="milliseconds"),
        "destination": message.destination,
        "message-id": message.id,
        "headers": passed_on_headers(message),
    }
    try:
        record["body"] = message.body.decode("utf-8")
    except UnicodeDecodeError:
        record["body-base64"] = base64.b64encode(message.body).decode("ascii")
    return json_line(record, is_ascii=False)
