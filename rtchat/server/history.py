"""``[history]``: topics whose messages are kept, and the service that opens their file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.schema import read_fields
from rtchat.config.values import GIB, KIB, MIB, Reader, filled_text, size_in_bytes, whole_number
from rtchat.core.broker.broker import Broker
from rtchat.core.history.history import History
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.errors import StoreUnusable
from rtchat.server.process import process_user

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.net.history.writer_thread import HistoryStore

__all__ = [
    "HISTORY_KEYS",
    "HISTORY_LIMIT_KEYS",
    "HistoryService",
    "HistorySettings",
    "read_history",
]

_log = Logger(__package__)


_AGE = re.compile(r"(?P<count>[0-9]{1,9})\s*(?P<unit>[a-z]+)", re.I)

_AGE_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}

_MAX_AGE_S = 3660 * 86400

_MAX_KEPT = 1_000_000

_HISTORY_FILE = "rtchat-history.sqlite"


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Which messages are kept, and where.

    Attributes:
        rules: What is kept; the first rule that matches a destination holds.
        source_line: The line of the file, or of the first rule.
        file: The SQLite file, or None for memory that ends with the process.
        is_power_safe: Whether what is written survives a power cut, too.
        max_file_bytes: How large the file may become.
        limits: How much is kept.
    """

    rules: tuple[HistoryRule, ...]
    source_line: SourceLine
    file: Path | None = None
    is_power_safe: bool = False
    max_file_bytes: int = GIB
    limits: HistoryLimits = field(default_factory=HistoryLimits)


def read_history(source_lines: Mapping[str, SourceLine], folder: Path) -> HistorySettings | None:
    """Read [history]: rules, which begin with a slash, and keys."""
    rules = {
        key: _history_rule(source_line)
        for key, source_line in source_lines.items()
        if key.startswith("/")
    }
    if not rules:
        for source_line in source_lines.values():
            raise source_line.error(
                "keeps nothing; write a line such as /topic/chat* = 1000, 7 days"
            )
        return None
    file = source_lines.get("file")
    source_line = file or source_lines[next(iter(rules))]
    path: Path | None = folder / _HISTORY_FILE
    if file is not None:
        path = None if filled_text(file) == ":memory:" else folder / file.value
    if path is not None and path.is_dir():
        raise source_line.error(f"is a folder; write the path of a file in it ({path} was tried)")
    if path is not None and not path.parent.is_dir():
        raise source_line.error(f"stands in no folder; create {path.parent} or change the path")
    return HistorySettings(
        tuple(rules.values()),
        source_line,
        path,
        limits=HistoryLimits(**read_fields(source_lines, HISTORY_LIMIT_KEYS)),
        **read_fields(source_lines, HISTORY_KEYS),
    )


def _history_rule(source_line: SourceLine) -> HistoryRule:
    """Read ``PATTERN = COUNT, AGE``."""
    if not source_line.key.startswith("/topic/") or source_line.key == "/topic/":
        raise source_line.error("keeps no topic; begin the line with /topic/, such as /topic/chat*")
    if "," in source_line.key:
        raise source_line.error("names several; write a line for each of them")
    count, comma, age = (part.strip() for part in source_line.value.partition(","))
    if not (count.isascii() and count.isdigit() and 1 <= int(count[:9]) <= _MAX_KEPT):
        raise source_line.error(
            f"says {count or 'nothing'} where a number of messages from 1 to {_MAX_KEPT} belongs; "
            f"write {source_line.key} = 1000, 7 days"
        )
    if not comma:
        return HistoryRule(source_line.key, int(count))
    match = _AGE.fullmatch(age)
    unit = _AGE_UNITS.get(match["unit"].lower().removesuffix("s")) if match else None
    if match is None or unit is None or not 1 <= int(match["count"]) * unit <= _MAX_AGE_S:
        raise source_line.error(
            f"says {age or 'nothing'} where an age up to 10 years belongs; write seconds, "
            f"minutes, hours, days or weeks, such as {source_line.key} = {count}, 7 days"
        )
    return HistoryRule(source_line.key, int(count), int(match["count"]) * unit)


def _sync(source_line: SourceLine) -> bool:
    kinds = {"normal": False, "full": True}
    if source_line.value.lower() not in kinds:
        raise source_line.error("is neither; write normal or full")
    return kinds[source_line.value.lower()]


HISTORY_KEYS: Mapping[str, tuple[str, Reader]] = {
    "sync": ("is_power_safe", _sync),
    "file.max_bytes": ("max_file_bytes", size_in_bytes(MIB, 1024 * GIB)),
}

HISTORY_LIMIT_KEYS: Mapping[str, tuple[str, Reader]] = {
    "destinations.max_count": ("max_destinations", whole_number(1, 1_000_000, "destinations")),
    "destination.max_bytes": ("max_destination_bytes", size_in_bytes(64 * KIB, 1024 * GIB)),
    "memory.max_bytes": ("max_memory_bytes", size_in_bytes(MIB, 1024 * GIB)),
}


class HistoryService(Service):
    """Messages that are kept. It is closed when the last client has gone."""

    def __init__(self, settings: HistorySettings, broker: Broker, reactor: Any) -> None:
        self._settings = settings
        self._broker = broker
        self._reactor = reactor
        self._store: HistoryStore | None = None
        self._history: History | None = None
        # Not everybody keeps messages; and later it might not be readable any more.
        from rtchat.net.history.writer_thread import HistoryStore

        self._open = HistoryStore

    @override
    def startService(self) -> None:
        super().startService()
        settings = self._settings
        try:
            store = self._store = self._open(
                settings.file,
                self._in_reactor,
                is_power_safe=settings.is_power_safe,
                max_bytes=settings.max_file_bytes,
            )
        except StoreUnusable as error:
            problem = f"cannot be used by {process_user()}: {settings.file}: {error}."
            raise SystemExit(f"rtchat: {settings.source_line.error(problem)}") from None
        rules = HistoryRules(settings.rules)
        topics = HistoryTopics(self._broker, rules, settings.limits, store, store.snapshot)
        history = self._history = topics.history
        patterns = ", ".join(rule.pattern for rule in settings.rules)
        if settings.file is None:
            _log.info(
                "history of {patterns} is kept in memory and ends with this process; "
                "a line file = PATH in [history] keeps it",
                patterns=patterns,
            )
        else:
            _log.info(
                "history of {patterns} is kept in {file}: {messages} messages now",
                patterns=patterns,
                file=settings.file,
                messages=history.message_count,
            )

    def close(self) -> Deferred[None] | None:
        """Write what is on its way and close the file."""
        store, history = self._store, self._history
        if store is None or history is None:
            return None
        closed: Deferred[None] = Deferred()

        def close() -> None:
            store.close().chainDeferred(closed)

        history.group_commit.when_idle(close)
        return closed

    def _in_reactor(self, turn: Callable[[], None]) -> None:
        """Take an answer of the file's thread as a turn."""

        def run() -> None:
            with self._broker.turn:
                try:
                    turn()
                except Exception:
                    _log.failure("bug while delivering kept messages")

        self._reactor.callFromThread(run)
