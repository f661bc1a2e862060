"""Lines of the log about clients: so many of one source in a minute, each of a bounded length."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from rtchat.core.access.addresses import source_key

__all__ = ["ClientLog", "source_of"]

_log = Logger(__package__)

_WINDOW_S = 60.0
_MAX_SOURCES = 1024
"""So many sources are remembered; further ones share one count until the minute is over."""

_MAX_EARLY = 100

_OTHERS = "other sources"
_LINES = "lines"
_MAX_CHARACTERS = 1000
"""How much of one value is written: a path, a reason, an address."""


class _Source:
    """What was written about one source in this minute, and what was left out."""

    __slots__ = ("left_out", "written")

    def __init__(self) -> None:
        self.written: Counter[object] = Counter()
        self.left_out: Counter[str] = Counter()


class ClientLog:
    """Writes lines about clients, and says once a minute how many were left out for each source.

    A source is an address; for IPv6 it is a /64 network, and all Unix sockets are one. Warnings and
    other lines have a count each, so that a client cannot hide its end behind its beginnings.

    Args:
        clock: Tells the time, and runs a timer once something was left out.
        max_lines: How many lines of one source are written in a minute, of either kind; 0 is no
            limit.

    Attributes:
        room: How many lines may be written by the one for whom each call counts
            (:class:`~rtchat.net.stomp.session_log.SessionLog`): no source can have had its share
            by then. It takes one from this number, and notes the client at that place of
            ``early``.
        early: The clients of these lines.
    """

    def __init__(self, clock: IReactorTime, max_lines: int = 100) -> None:
        self.early: list[str] = [""] * _MAX_EARLY
        self.room = min(max_lines, _MAX_EARLY)
        self._max_lines = max_lines
        self._first_room = self.room  # what it was when ``early`` was empty
        self._clock = clock
        self._sources: dict[str, _Source] = {}
        self._began_s = clock.seconds()
        self._timer: IDelayedCall | None = None

    def limit(self, max_lines: int) -> None:
        """Set how many lines of one source are written in a minute; 0 is no limit."""
        self._max_lines = max_lines
        self._start()

    def info(self, log: Logger, text: str, /, *, peer: str, **fields: Any) -> None:
        """Write a line about what is usual.

        Args:
            log: The logger of the module that it is about.
            text: The format of the line.
            peer: The client, as its address is shown; a part of the line.
            fields: The other parts of the line.
        """
        self._write(log, LogLevel.info, text, {"peer": peer, **fields})

    def warn(self, log: Logger, text: str, /, *, peer: str, **fields: Any) -> None:
        """Write a line about what should not be; see :meth:`info`."""
        self._write(log, LogLevel.warn, text, {"peer": peer, **fields})

    def failure(
        self, log: Logger, text: str, failure: Failure | None = None, /, *, peer: str, **fields: Any
    ) -> None:
        """Write a line and a traceback; see :meth:`info`."""
        if self._admits(peer, LogLevel.critical):
            log.failure(text, failure, peer=_short(peer), **fields)

    def once(self, log: Logger, what: str, text: str, /, *, peer: str, **fields: Any) -> None:
        """Write a line that stands for all of its kind in this minute.

        Args:
            log: The logger of the module that it is about.
            what: The kind in the plural, for the count of those that follow.
            text: The format of the line.
            peer: The client, as its address is shown; a part of the line.
            fields: The other parts of the line.
        """
        source = self._source(peer)
        if self._max_lines and source.written[what]:
            self._leave_out(source, what)
            return
        source.written[what] += 1
        log.warn(text, peer=_short(peer), **{name: _short(one) for name, one in fields.items()})

    def close(self) -> None:
        """Say now what was left out: the minute is over, or the server stops."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._say()

    def _write(self, log: Logger, level: Any, text: str, fields: dict[str, Any]) -> None:
        if self._admits(fields["peer"], level):
            log.emit(level, text, **{name: _short(one) for name, one in fields.items()})

    def _admits(self, peer: str, level: object) -> bool:
        source = self._source(peer)
        count = source.written[level]
        if self._max_lines and count >= self._max_lines:
            self._leave_out(source, _LINES)
            return False
        self._count(source, level)
        return True

    def _count(self, source: _Source, level: object) -> None:
        source.written[level] += 1
        if level is LogLevel.info:
            left = max(self._max_lines - source.written[level], 0)
            self.room = self._first_room = min(self._first_room, left)

    def _source(self, peer: str) -> _Source:
        if self._clock.seconds() - self._began_s >= _WINDOW_S:
            self.close()
        elif self.room < self._first_room:
            early = self.early[self.room : self._first_room]
            self.room = self._first_room
            for one in early:
                self._count(self._remembered(one), LogLevel.info)
        return self._remembered(peer)

    def _remembered(self, peer: str) -> _Source:
        name = source_of(peer)
        source = self._sources.get(name)
        if source is None:
            if len(self._sources) >= _MAX_SOURCES:
                name = _OTHERS
            source = self._sources.setdefault(name, _Source())
        return source

    def _leave_out(self, source: _Source, what: str) -> None:
        source.left_out[what] += 1
        if self._timer is None:
            left_s = self._began_s + _WINDOW_S - self._clock.seconds()
            self._timer = self._clock.callLater(max(left_s, 0.0), self._say)

    def _start(self) -> None:
        """Begin a minute."""
        self._sources = {}
        self._began_s = self._clock.seconds()
        self.room = self._first_room = min(self._max_lines, _MAX_EARLY)

    def _say(self) -> None:
        self._timer = None
        sources = self._sources
        self._start()
        for name, source in sources.items():
            if source.left_out:
                _log.warn(
                    "{source}: left out of the log within {seconds:g} s: {what}",
                    source=name,
                    seconds=_WINDOW_S,
                    what=", ".join(f"{count} {what}" for what, count in source.left_out.items()),
                )


def source_of(peer: str) -> str:
    """Return the source that a line is about.

    Args:
        peer: How the log shows the client: its address, and what follows behind a space.
    """
    address = peer.partition(" ")[0]
    if address.startswith("["):
        return source_key(address[1:].partition("]")[0])
    return address.partition(":")[0]


def _short(value: Any) -> Any:
    """Return a value of a line, a long text cut off."""
    if isinstance(value, str) and len(value) > _MAX_CHARACTERS:
        return f"{value[:_MAX_CHARACTERS]}..."
    return value
