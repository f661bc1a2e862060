"""Servers in memory: no port is opened, no signal is caught, and time passes on request."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import twisted.internet
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, formatEvent

from rtchat import tap
from rtchat.server.part import Part, Server
from rtchat.tap import Options, makeService

__all__ = ["InMemory", "Log", "Reactor"]


class Reactor(MemoryReactorClock):
    """A reactor in memory that begins to run when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stopped = False
        self._from_threads: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:  # noqa: N802
        self._from_threads.put(partial(call, *args))

    def turn(self, seconds: float = 0) -> None:
        """Let time pass, then do what threads have asked for."""
        self.advance(seconds)
        while not self._from_threads.empty():
            self._from_threads.get()()

    def run_until(self, is_done: Callable[[], bool]) -> None:
        """Do what threads ask for until something is done; fail if they ask for nothing."""
        self.advance(0)
        while not is_done():
            self._from_threads.get(timeout=20)()

    def begin(self) -> None:
        """Begin to run."""
        self.running = True
        while self.whenRunningHooks:
            call, args, kwargs = self.whenRunningHooks.pop(0)
            call(*args, **kwargs)

    def stop(self) -> None:
        self.is_stopped = True


class Log:
    """What is logged while a test runs."""

    def __init__(self, events: Sequence[LogEvent]) -> None:
        self._events = events

    def lines(self, beginning: str = "") -> list[str]:
        """Return the lines that begin so."""
        lines = [formatEvent(event) for event in self._events]
        return [line for line in lines if line.startswith(beginning)]

    def failures(self) -> list[str]:
        """Return the texts of the exceptions that were logged."""
        return [str(one["log_failure"].value) for one in self._events if "log_failure" in one]


class InMemory:
    """Servers on one reactor in memory, made by ``makeService`` from the parts of a test."""

    def __init__(self, reactor: Reactor, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.reactor = reactor
        self.handlers: dict[int, Callable[[int, object], None]] = {}
        self.ini = folder / "chat.ini"
        self._patch = patch
        patch.setattr(twisted.internet, "reactor", reactor, raising=False)
        patch.setattr(signal, "signal", self.handlers.__setitem__)
        patch.setattr(resource, "setrlimit", lambda limit, values: None)

    def make(self, text: str, *more: type[Part[Any]]) -> Server:
        """Make a server that has not started, with further parts at the end."""
        made: list[Server] = []

        class Watched(Server):
            def __init__(self, reactor: Any, source: str) -> None:
                super().__init__(reactor, source)
                made.append(self)

        self.ini.write_text(text, encoding="utf-8")
        self._patch.setattr(tap, "PARTS", (*tap.PARTS, *more))  # the one line
        self._patch.setattr(tap, "Server", Watched)
        options = Options()
        options.parseOptions(["--config", str(self.ini)])
        assert makeService(options) is made[0].service
        return made[0]

    def start(self, text: str, *more: type[Part[Any]]) -> Server:
        """Make a server and start it."""
        server = self.make(text, *more)
        server.service.privilegedStartService()
        server.service.startService()
        self.reactor.begin()
        return server

    def signal(self, number: int) -> None:
        """Receive a signal."""
        self.handlers[number](number, None)
        self.reactor.turn()
