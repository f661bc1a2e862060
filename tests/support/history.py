"""A server with a history, without reactor and threads: a test says when the file is written.

The file is the server's own, SQLite and all; only the thread is missing. :meth:`Keeper.kill` ends a
server as ``kill -9`` does: what was not written by then is gone, and the next one gets the files as
they lay there.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from support.core import Client, Server

from rtchat.core.history.history import History
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.store import Batch, Row, StreamDelta
from rtchat.core.history.topics import HistoryTopics
from rtchat.core.stomp.frames import Frame, Version
from rtchat.net.history.sqlite_file import HistoryFile
from rtchat.testing.disk import Disk, FileStore

__all__ = ["KEPT", "Keeper", "SteppedStore", "batch", "offsets", "open_file"]

T = TypeVar("T")

KEPT = (HistoryRule("/topic/chat*", 1000, 7 * 86400.0),)


class SteppedStore(FileStore):
    """Fulfils orders when the test lets it.

    Attributes:
        file: The file.
        broken: What SQLite says to every order, "" while it works.
        writes: How many messages each batch had that was written.
    """

    def __init__(self, file: HistoryFile, end_turn: Callable[[], None]) -> None:
        super().__init__(file, Disk())
        self.file = file
        self.broken = ""
        self.writes: list[int] = []
        self._end_turn = end_turn

    def write(self, batch: Batch, done: Callable[[str], None]) -> None:
        """Take a batch."""

        def written(problem: str) -> None:
            if not problem:
                self.writes.append(len(batch.rows))
            done(problem)

        super().write(batch, written)

    @property
    def waiting(self) -> int:
        """How many orders wait."""
        return len(self._orders)

    def step(self, *, crash: bool = False) -> bool:
        """Fulfil one order, if there is one; with ``crash`` its answer is lost."""
        if not self._orders:
            return False
        self.fulfil(crash=crash)
        if not crash:
            self._end_turn()
        return True

    def fulfil(self, *, crash: bool = False) -> None:
        """Fulfil the next order; the turn of its answer goes on."""
        answer = self._orders.popleft()()
        if not crash:
            answer()

    def _order(self, work: Callable[[], T], nothing: T, done: Callable[[T, str], None]) -> None:
        def fulfil() -> T:
            if self.broken:
                raise sqlite3.OperationalError(self.broken)
            return work()

        super()._order(fulfil, nothing, done)


class Keeper(Server):
    """A server that keeps messages.

    Args:
        path: Where the file is.
        rules: What it keeps.
        limits: How much.
        run: The number of the run.
        max_file_bytes: How large the file may become.
    """

    def __init__(
        self,
        path: Path,
        rules: Sequence[HistoryRule] = KEPT,
        limits: HistoryLimits | None = None,
        run: int = 1,
        max_file_bytes: int = 1 << 30,
    ) -> None:
        super().__init__(epoch=f"run{run}")
        self.path = path
        self.rules = rules
        self.history_limits = limits or HistoryLimits()
        self.run = run
        self.max_file_bytes = max_file_bytes
        file = HistoryFile(path, is_power_safe=False, max_bytes=max_file_bytes)
        self.store = SteppedStore(file, self.end_turn)
        self.history: History = HistoryTopics(
            self.broker, HistoryRules(rules), self.history_limits, self.store, file.snapshot
        ).history

    def settle(self) -> None:
        """Let the file catch up."""
        while self.store.step():
            pass

    def stop(self) -> Keeper:
        """End well, and start again."""
        for client in self.clients:
            client.drop()
        self.settle()
        self.store.file.close()
        return self._next(self.path)

    def kill(self, folder: Path) -> Keeper:
        """End as with kill -9, and start again with what lies on the disk."""
        path = folder / f"{self.path.stem.rstrip('0123456789')}{self.run + 1}.sqlite"
        for end in ("", "-wal", "-lock"):
            if Path(f"{self.path}{end}").exists():
                shutil.copy(f"{self.path}{end}", f"{path}{end}")
        self.store.file._db.close()
        self.store.file._unlock()
        return self._next(path)

    def client_from(self, source: str) -> Client:
        """Connect a client that comes from an address."""
        client = self.client()
        client.session.source = source
        return client

    def fill(self, destination: str, count: int, start: int = 0, source: str = "") -> None:
        """Publish messages with their numbers for bodies, and let the file catch up."""
        publisher = self.client_from(source)
        for number in range(start, start + count):
            publisher.say("SEND", str(number), destination=destination)
        self.settle()
        publisher.drop()

    def listen(
        self, destination: str, start: str = "first", version: Version = Version.V12, **more: str
    ) -> Client:
        """Connect a client that subscribes, and let the file catch up."""
        client = self.client(version)
        client.say("SUBSCRIBE", id="0", destination=destination, x_stream_offset=start, **more)
        self.settle()
        return client

    def _next(self, path: Path) -> Keeper:
        return Keeper(path, self.rules, self.history_limits, self.run + 1, self.max_file_bytes)


def offsets(frames: list[Frame]) -> list[int]:
    """Return the offsets of messages."""
    return [int(frame.headers["x-stream-offset"]) for frame in frames]


def open_file(
    path: Path | None, *, is_power_safe: bool = False, max_bytes: int = 1 << 20
) -> HistoryFile:
    """Open a history file; None keeps it in memory."""
    return HistoryFile(path, is_power_safe=is_power_safe, max_bytes=max_bytes)


def batch(first: int, count: int, stream: int = 1, body: bytes = b"x") -> Batch:
    """Return a batch of messages with the offsets ``first``, …, one second apart."""
    rows = [
        Row(stream, first + n, 100.0 + first + n, f"m-{first + n}", b"", body) for n in range(count)
    ]
    size = sum(row.size for row in rows)
    delta = StreamDelta(stream, f"/topic/{stream}", "epoch", first + count, size)
    return Batch(rows, [delta], (), "unknown")
