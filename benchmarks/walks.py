"""Counts the files that the processing of a frame involves, and its function calls.

    python -m benchmarks.walks

Connections are simulated, everything else is real, as in ``jobs.py``. A chat and a history are
open, as with the built-in settings. In the server a separate thread reads and writes the history's
file, so its work is not part of a walk.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from benchmarks.jobs import Place
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.net.history.writer_thread import HistoryStore
from rtchat.net.json_codec import JSON

__all__ = ["WALKS", "Walk", "walk"]

_PACKAGE = Path(__file__).resolve().parent.parent / "rtchat"


@dataclass(frozen=True)
class Walk:
    """The calls and files of a walk.

    Attributes:
        calls: The number of calls of functions of rtchat.
        files: The files of these functions, relative to the package.
    """

    calls: int
    files: tuple[str, ...]


def walk(work: Callable[[], object]) -> Walk:
    """Do the work once; return its calls of functions of rtchat, and their files."""
    entered: list[str] = []

    def seen(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(_PACKAGE):
                entered.append(path.relative_to(_PACKAGE).as_posix())

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return Walk(len(entered), tuple(sorted(set(entered))))


class _Server(Place):
    """A server with a chat and a history, and two clients: one subscribes, one publishes."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.store = HistoryStore(
            None, self._answers.put, is_power_safe=False, max_bytes=1024 * 1024
        )
        rules = HistoryRules([HistoryRule("/topic/kept", 1000)])
        HistoryTopics(self.broker, rules, HistoryLimits(), self.store, self.store.snapshot)
        open_chat(self.broker, ChatPolicy(), JSON)
        self.subscriber = self.client()
        for name in ("/topic/plain", "/topic/kept"):
            self.subscriber.subscribe(name, name=name)
        self.publisher = self.client()

    def send(self, destination: str, note: str, *, is_kept: bool = False) -> None:
        """Publish a message, and wait until it is stored if the topic has a history."""
        body = b"hello"
        head = f"SEND\ndestination:{destination}\nnote:{note}\ncontent-length:{len(body)}\n\n"
        self.publisher.receive(head.encode() + body + b"\0")
        if is_kept:
            answer = self._answers.get(timeout=10)
            with self.broker.turn:
                answer()
        self.sent += 1
        assert self.subscriber.messages == self.sent

    sent = 0


@contextmanager
def _server() -> Iterator[_Server]:
    server = _Server()
    try:
        yield server
    finally:
        server.store.close()


def _cold_send() -> Walk:
    with _server() as server:
        return walk(lambda: server.send("/topic/plain", "first"))


def _repeated_send() -> Walk:
    with _server() as server:
        for _ in range(2):
            server.send("/topic/plain", "again")
        return walk(lambda: server.send("/topic/plain", "again"))


def _kept_send() -> Walk:
    with _server() as server:
        server.send("/topic/kept", "before", is_kept=True)
        return walk(lambda: server.send("/topic/kept", "first", is_kept=True))


WALKS: dict[str, Callable[[], Walk]] = {
    "first SEND to a plain topic": _cold_send,
    "third SEND with the same head": _repeated_send,
    "SEND to a topic with a history": _kept_send,
}
"""The walks, by name."""


def main() -> None:
    """Print every walk."""
    for name, measure in WALKS.items():
        one = measure()
        print(f"{name}: {one.calls} calls, {len(one.files)} files")
        for file in one.files:
            print(f"    {file}")


if __name__ == "__main__":
    main()
