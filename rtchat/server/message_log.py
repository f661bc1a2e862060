"""``[log]``: the message log and its service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.values import filled_text
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.message import Message
from rtchat.server.process import process_user

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.net.message_log import MessageLog

__all__ = ["MessageLogService", "read_message_log"]

_log = Logger(__package__)


def read_message_log(source_line: SourceLine | None, folder: Path) -> Path | None:
    if source_line is None:
        return None
    path = folder / filled_text(source_line)
    if os.path.isdir(path):
        raise source_line.error("is a folder; write the path of a file in it")
    if not os.path.isdir(path.parent):
        raise source_line.error(f"stands in no folder; create {path.parent} or change the path")
    if not os.access(path if os.path.exists(path) else path.parent, os.W_OK):
        raise source_line.error("cannot be written; change the permissions or the path")
    return path


class MessageLogService(Service):
    """The message log."""

    def __init__(self, path: Path, source_line: SourceLine, broker: Broker, reactor: Any) -> None:
        self._path = path
        self._source_line = source_line
        self._broker = broker
        self._reactor = reactor
        self.messages: MessageLog | None = None
        # Not everybody has this log; and later it might not be readable any more.
        from rtchat.net.message_log import MessageLog

        self._open = MessageLog

    @override
    def startService(self) -> None:
        super().startService()
        reactor = self._reactor
        try:
            self.messages = self._open(
                self._path,
                reactor,
                lambda write: deferToThreadPool(reactor, reactor.getThreadPool(), write),
            )
        except OSError as error:
            problem = (
                f"cannot be written by {process_user()} ({error.strerror}: {self._path}); "
                "change the permissions or the path."
            )
            raise SystemExit(f"rtchat: {self._source_line.error(problem)}") from None
        self._broker.events.add(_Recording(self.messages))

    def reopen(self) -> None:
        """Begin a new file if the old one was moved."""
        if self.messages is not None:
            self.messages.reopen()
            _log.info("SIGHUP received: message log reopened")

    @override
    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return None if self.messages is None else self.messages.close()


class _Recording(BrokerEvents):
    """Records every message that goes to a topic."""

    def __init__(self, log: MessageLog) -> None:
        self._log = log

    @override
    def published(self, message: Message) -> None:
        self._log.record(message)
