"""``[log]``: every message sent to a topic is appended to a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import key
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.message import Message
from rtchat.server.part import Check, Checks, Part, Server
from rtchat.server.process import process_user
from rtchat.server.stomp import BrokerPart

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.net.message_log import MessageLog

__all__ = ["LogSettings", "MessageLogPart"]

_log = Logger(__package__)


def _read_file(source_line: SourceLine) -> SourceLine:
    """Check the file that a line names; the line is kept, for errors when the file is opened."""
    path = source_line.folder / source_line.value
    if os.path.isdir(path):
        raise source_line.error("is a folder; write the path of a file in it")
    if not os.path.isdir(path.parent):
        raise source_line.error(
            f"is in a folder that does not exist; create {path.parent} or change the path"
        )
    if not os.access(path if os.path.exists(path) else path.parent, os.W_OK):
        raise source_line.error("cannot be written; change the permissions or the path")
    return source_line


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where messages are logged, and how much about clients.

    Attributes:
        source_line: The line that names the file, or None if no message is logged.
        max_client_lines: How many lines of one source the server's own log has in a minute; 0 is
            no limit.
    """

    source_line: SourceLine | None = key("[log] messages", None, unit="path", read=_read_file)
    max_client_lines: int = key(
        "[log] client.max_lines", 100, unit="lines a minute", low=1, high=1_000_000, or_zero=True
    )

    @property
    def path(self) -> Path | None:
        """The file that every message is appended to, or None."""
        line = self.source_line
        return None if line is None else line.folder / line.value


class MessageLogPart(Part[LogSettings], Service):
    """The message log, if the configuration names a file."""

    reads = (LogSettings,)

    def __init__(self, settings: LogSettings, server: Server) -> None:
        super().__init__(settings, server)
        self._reactor = server.reactor
        self._wall_s = server.wall_s
        server.client_log.limit(settings.max_client_lines)
        self._broker = server.part(BrokerPart).broker
        self._messages: MessageLog | None = None
        if settings.path is not None:
            # Import only if configured, but before privileges are dropped.
            import rtchat.net.message_log  # noqa: F401

    @override
    def service(self) -> IService | None:
        return None if self.settings.path is None else self

    @override
    def startService(self) -> None:
        super().startService()
        from rtchat.net.message_log import MessageLog

        source_line, path, reactor = self.settings.source_line, self.settings.path, self._reactor
        assert source_line is not None
        assert path is not None
        try:
            self._messages = MessageLog(
                path,
                reactor,
                lambda write: deferToThreadPool(reactor, reactor.getThreadPool(), write),
                self._wall_s,
            )
        except OSError as error:
            problem = (
                f"cannot be written by {process_user()} ({error.strerror}: {path}); "
                "change the permissions or the path."
            )
            raise SystemExit(f"rtchat: {source_line.error(problem)}") from None
        self._broker.events.add(_Recording(self._messages))

    @override
    def checks(self) -> Checks:
        return {} if self.settings.path is None else {"message_log": Check(self._problem)}

    def _problem(self) -> str:
        messages = self._messages
        return f"cannot be written: {messages.problem}" if messages and messages.problem else ""

    @override
    def reload(self) -> bool:
        """Begin a new file if the old one was moved."""
        if self._messages is None:
            return False
        self._messages.reopen()
        _log.info("SIGHUP received: message log reopened")
        return True

    @override
    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return None if self._messages is None else self._messages.close()


class _Recording(BrokerEvents):
    """Records every message that goes to a topic."""

    def __init__(self, log: MessageLog) -> None:
        self._log = log

    @override
    def published(self, message: Message) -> None:
        self._log.record(message)
