"""``[history]``: topics whose messages are stored and can be replayed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import GIB, MIB, key, lines
from rtchat.config.schema import ChatIni
from rtchat.core.history.history import History
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.errors import StoreUnusable
from rtchat.server.part import Check, Checks, Part, Server
from rtchat.server.process import process_user
from rtchat.server.stomp import BrokerPart
from rtchat.text import parse_digits

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.net.history.writer_thread import HistoryStore

__all__ = ["HistoryPart", "HistorySettings"]

_log = Logger(__package__)

_AGE = re.compile(r"(?P<count>[0-9]{1,9})\s*(?P<unit>[a-z]+)", re.I)
_AGE_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_MAX_AGE_S = 3660 * 86400
_MAX_KEPT = 1_000_000

_CHECK_EVERY_S = 5.0
_STALLED_S = 10.0
_SAY_EVICTIONS_EVERY_S = 60.0


def _read_rules(source_lines: Mapping[str, SourceLine]) -> tuple[HistoryRule, ...]:
    return tuple(map(_read_rule, source_lines.values()))


def _read_rule(source_line: SourceLine) -> HistoryRule:
    """Read ``PATTERN = COUNT, AGE``."""
    if not source_line.key.startswith("/topic/") or source_line.key == "/topic/":
        raise source_line.error("is not a topic; begin the line with /topic/, such as /topic/chat*")
    if "," in source_line.key:
        raise source_line.error("names several topics; write a line for each of them")
    count, comma, age = (part.strip() for part in source_line.value.partition(","))
    max_count = parse_digits(count, 9)
    if max_count is None or not 1 <= max_count <= _MAX_KEPT:
        raise source_line.error(
            f"says {count or 'nothing'} where a number of messages from 1 to {_MAX_KEPT} belongs; "
            f"write {source_line.key} = 1000, 7 days"
        )
    if not comma:
        return HistoryRule(source_line.key, max_count)
    match = _AGE.fullmatch(age)
    unit = _AGE_UNITS.get(match["unit"].lower().removesuffix("s")) if match else None
    if match is None or unit is None or not 1 <= int(match["count"]) * unit <= _MAX_AGE_S:
        raise source_line.error(
            f"says {age or 'nothing'} where an age up to 10 years belongs; write seconds, "
            f"minutes, hours, days or weeks, such as {source_line.key} = {count}, 7 days"
        )
    return HistoryRule(source_line.key, max_count, int(match["count"]) * unit)


def _read_sync(source_line: SourceLine) -> bool:
    kinds = {"normal": False, "full": True}
    if source_line.value.lower() not in kinds:
        raise source_line.error("cannot be used; write normal or full")
    return kinds[source_line.value.lower()]


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Which messages are kept, and where.

    Attributes:
        source_line: The line that names the file, or else the first rule.
        rules: What is kept; the first rule that matches a destination applies.
        file: The SQLite file as chat.ini names it, or ":memory:".
        is_power_safe: Whether what is written survives a power cut, too.
        max_file_bytes: How large the file may become.
        limits: How much is kept.
    """

    source_line: SourceLine
    rules: tuple[HistoryRule, ...] = lines("[history]", _read_rules, beginning="/")
    file: str = key(
        "[history] file",
        "rtchat-history.sqlite",
        unit="path, or `:memory:`",
        read=lambda source_line: str(source_line.value),
    )
    is_power_safe: bool = key("[history] sync", False, unit="`normal` or `full`", read=_read_sync)
    max_file_bytes: int = key(
        "[history] file.max_bytes", GIB, unit="bytes", low=MIB, high=1024 * GIB
    )
    limits: HistoryLimits = field(default_factory=HistoryLimits)

    @property
    def path(self) -> Path | None:
        """The SQLite file, or None for memory, which ends with the process."""
        return None if self.file == ":memory:" else self.source_line.folder / self.file


class HistoryPart(Part["HistorySettings | None"], Service):
    """Stores the messages of the topics that the configuration names, if any."""

    reads = (HistorySettings, HistoryLimits)

    def __init__(self, settings: HistorySettings | None, server: Server) -> None:
        super().__init__(settings, server)
        self._reactor = server.reactor
        self._broker = server.part(BrokerPart).broker
        self._store: HistoryStore | None = None
        self._history: History | None = None
        self._clock = server.clock
        self._timer: IDelayedCall | None = None
        self._asked_s: float | None = None  # when the file's thread was asked for a check
        self._is_closing = False
        self._evictions_said = 0
        self._removed_said = 0
        self._say_evictions_at_s = 0.0
        if settings is not None:
            # Import only if configured, but before privileges are dropped.
            import rtchat.net.history.writer_thread  # noqa: F401

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> HistorySettings | None:
        source_lines = ini.lines("history")
        rules = [line for name, line in source_lines.items() if name.startswith("/")]
        if not rules:
            for source_line in source_lines.values():
                raise source_line.error(
                    "has no effect without a rule; write a line such as /topic/chat* = 1000, 7 days"
                )
            return None
        settings = ini.read(
            HistorySettings,
            source_line=source_lines.get("file", rules[0]),
            limits=ini.read(HistoryLimits),
        )
        path, source_line = settings.path, settings.source_line
        if path is not None and path.is_dir():
            raise source_line.error(
                f"is a folder; write the path of a file in it ({path} was tried)"
            )
        if path is not None and not path.parent.is_dir():
            raise source_line.error(
                f"is in a folder that does not exist; create {path.parent} or change the path"
            )
        return settings

    @override
    def service(self) -> IService | None:
        return None if self.settings is None else self

    @override
    def startService(self) -> None:
        super().startService()
        from rtchat.net.history.writer_thread import HistoryStore

        settings = self.settings
        assert settings is not None
        path = settings.path
        try:
            store = self._store = HistoryStore(
                path,
                self._run_in_reactor,
                is_power_safe=settings.is_power_safe,
                max_bytes=settings.max_file_bytes,
            )
        except StoreUnusable as error:
            problem = f"cannot be used by {process_user()}: {path}: {error}."
            raise SystemExit(f"rtchat: {settings.source_line.error(problem)}") from None
        rules = HistoryRules(settings.rules)
        topics = HistoryTopics(self._broker, rules, settings.limits, store, store.snapshot)
        history = self._history = topics.history
        patterns = ", ".join(rule.pattern for rule in settings.rules)
        if path is None:
            _log.info(
                "history of {patterns} is kept in memory and ends with this process; "
                "a line file = PATH in [history] keeps it",
                patterns=patterns,
            )
        else:
            _log.info(
                "history of {patterns} is kept in {file}: {messages} messages now",
                patterns=patterns,
                file=path,
                messages=history.message_count,
            )
        self._plan_check()

    @override
    def checks(self) -> Checks:
        if self.settings is None:
            return {}
        return {
            "history_writable": Check(self._write_problem, is_vital=True),
            "history_readable": Check(self._read_problem),
            "disk": Check(lambda: self._store.disk_problem if self._store else ""),
        }

    def _write_problem(self) -> str:
        if self._store is None:
            return "not open yet"
        waited_s = 0.0 if self._asked_s is None else self._clock.seconds() - self._asked_s
        if waited_s > _STALLED_S:
            return f"the disk has not answered for {waited_s:.0f} s"
        problem = self._store.write_problem
        return f"cannot be written: {problem}" if problem else ""

    def _read_problem(self) -> str:
        names = self._history.damaged_names if self._history else []
        if self._store and self._store.read_problem:
            return f"cannot be read: {self._store.read_problem}"
        if not names:
            return ""
        return f"damaged: {len(names)} destinations have messages that cannot be read"

    def _plan_check(self) -> None:
        self._timer = self._clock.callLater(_CHECK_EVERY_S, self._check)

    def _check(self) -> None:
        self._timer = None
        assert self._store is not None
        self._asked_s = self._clock.seconds()
        self._store.check(self._checked)

    def _checked(self) -> None:
        self._asked_s = None
        self._say_evictions()
        if not self._is_closing:
            self._plan_check()

    def _say_evictions(self) -> None:
        """Log from time to time that destinations lost their history to new ones."""
        assert self._history is not None
        assert self.settings is not None
        now_s, evicted = self._clock.seconds(), self._history.evicted
        removed = self._history.retention.removed
        if now_s < self._say_evictions_at_s:
            return
        if removed > self._removed_said:
            _log.warn(
                "{count} messages were removed from the history before their time, because the "
                "file is nearly full: those of clients with more than an eighth of it, else the "
                "largest; file.max_bytes in [history] is the limit ({limit} bytes)",
                count=removed - self._removed_said,
                limit=self.settings.max_file_bytes,
            )
            self._removed_said = removed
            self._say_evictions_at_s = now_s + _SAY_EVICTIONS_EVERY_S
        if evicted > self._evictions_said:
            _log.warn(
                "{count} destinations lost their history, because more than {limit} had one; "
                "destinations.max_count in [history] is the limit",
                count=evicted - self._evictions_said,
                limit=self.settings.limits.max_destinations,
            )
            self._evictions_said = evicted
            self._say_evictions_at_s = now_s + _SAY_EVICTIONS_EVERY_S

    @override
    def close(self) -> Deferred[None] | None:
        """Finish all queued writes and close the file."""
        store, history = self._store, self._history
        if store is None or history is None:
            return None
        closed: Deferred[None] = Deferred()
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        def close() -> None:
            store.close().chainDeferred(closed)

        history.group_commit.when_idle(close)
        return closed

    def _run_in_reactor(self, turn: Callable[[], None]) -> None:
        """Run a callback of the writer thread in the reactor, as a turn of the broker."""

        def run() -> None:
            with self._broker.turn:
                try:
                    turn()
                except Exception:
                    _log.failure("bug while delivering kept messages")

        self._reactor.callFromThread(run)
