"""What Twisted's logger gets while a test runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Logs", "captured_logs"]


@implementer(ILogObserver)
class Logs:
    """The lines that Twisted's logger gets while a test runs."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Take one."""
        self.events.append(event)

    def lines(self, level: str | None = None) -> list[str]:
        """Return the lines, of one level if it is named."""
        return [
            formatEvent(event)
            for event in self.events
            if level is None or event.get("log_level") is not None
            if level is None or event["log_level"].name == level
        ]

    def text(self, level: str | None = None) -> str:
        """Return the lines as one text."""
        return "\n".join(self.lines(level))

    def failures(self) -> list[Failure]:
        """Return what was logged with a traceback."""
        return [event["log_failure"] for event in self.events if "log_failure" in event]


@contextlib.contextmanager
def captured_logs() -> Iterator[Logs]:
    """Collect what is logged."""
    logs = Logs()
    globalLogPublisher.addObserver(logs)
    try:
        yield logs
    finally:
        globalLogPublisher.removeObserver(logs)
