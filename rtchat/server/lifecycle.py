"""Start and stop: signals, the order of the shutdown, the last line of the start."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat import __version__
from rtchat.server.part import Part, Server

__all__ = ["DrainPart", "LateModulesPart", "ReadyPart", "SignalsPart"]

_log = Logger(__package__)


class _ServicePart(Part[None], Service):
    """A part without settings that is a service itself."""

    def __init__(self, settings: None, server: Server) -> None:
        super().__init__(settings, server)
        self._server = server
        self._reactor = server.reactor

    @override
    def service(self) -> IService:
        return self


class SignalsPart(_ServicePart):
    """SIGTERM and Ctrl-C stop the server with exit code 0; SIGHUP reloads the parts."""

    @override
    def startService(self) -> None:
        super().startService()
        # The reactor sets its own handlers when it begins to run; these have to come after them.
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop_on_signal)
        signal.signal(signal.SIGHUP, self._reload_on_signal)

    def _stop_on_signal(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _stop(self, name: str) -> None:
        if self._reactor.running and self._server.service.running:
            _log.info("{name} received: stopping", name=name)
            self._reactor.stop()

    def _reload_on_signal(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        has_reloaded = False
        for part in self._server.parts:
            try:
                has_reloaded |= part.reload()
            except Exception:
                has_reloaded = True
                _log.failure("bug in {part} on SIGHUP", part=type(part).__name__)
        if not has_reloaded:
            _log.info(
                "SIGHUP received: there is no file to read again (a changed chat.ini needs a "
                "restart)"
            )


class DrainPart(_ServicePart):
    """Stops the parts in two steps: first the clients go, then files are closed.

    Children of a MultiService stop in the reverse of their order, and a port closes a turn of the
    reactor later. Once the clients are told, every port is closed: a client that comes back at
    once finds no server, rather than this one.
    """

    @override
    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return deferLater(self._reactor, 0, self._drain)

    def _drain(self) -> Deferred[Any]:
        parts = self._server.parts
        drained = _all_done(part.drain for part in parts)
        drained.addCallback(lambda _: _all_done(part.close for part in parts))
        return drained.addCallback(lambda _: self._server.client_log.close())


class LateModulesPart(_ServicePart):
    """Lets the parts load modules that can wait until the ports are open."""

    @override
    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        for part in self._server.parts:
            part.load_late()


class ReadyPart(_ServicePart):
    """Logs that the server is ready; the last part."""

    @override
    def startService(self) -> None:
        super().startService()
        # A program that waits for this line may send a signal at once: the handlers have to be
        # in place.
        self._reactor.callWhenRunning(self._log_ready)

    def _log_ready(self) -> None:
        _log.info(
            "rtchat {version} is ready (settings: {source}); Ctrl-C stops it",
            version=__version__,
            source=self._server.source,
        )


def _all_done(steps: Iterable[Callable[[], Deferred[Any] | None]]) -> Deferred[Any]:
    """Take all steps at once; fires when each is done. One that fails holds up no other."""
    return DeferredList([maybeDeferred(step).addErrback(_log_bug) for step in steps])


def _log_bug(failure: Failure) -> None:
    _log.failure("bug while stopping", failure)
