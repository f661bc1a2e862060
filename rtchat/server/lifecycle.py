"""Start and stop: signals, the greeting, the goodbye to clients."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from typing_extensions import override

from rtchat import __version__
from rtchat.core.access.rules import AccessList
from rtchat.server import settings as config
from rtchat.server.listeners import shown_address

__all__ = ["Goodbye", "Greeting", "Signals", "allow_many_connections"]


_log = Logger(__package__)


class Goodbye(Service):
    """Tells the clients that the server stops.

    Children of a MultiService stop in the reverse of their order, and a port closes a turn of the
    reactor later; then every port is closed, and a client that was told comes back to find
    nobody, not the old server.
    """

    def __init__(self, reactor: Any, say_goodbye: Callable[[], Deferred[Any]]) -> None:
        self._reactor = reactor
        self._say_goodbye = say_goodbye

    @override
    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return deferLater(self._reactor, 0, self._say_goodbye)


class Signals(Service):
    """SIGTERM and Ctrl-C end with exit code 0, SIGHUP makes the parts look at their files."""

    def __init__(
        self, reactor: Any, server: MultiService, on_hang_up: Sequence[Callable[[], None]]
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._on_hang_up = on_hang_up

    @override
    def startService(self) -> None:
        super().startService()
        # The reactor sets handlers of its own when it begins to run; ours come after them.
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._stop_once, signal.Signals(number).name)

    def _stop_once(self, name: str) -> None:
        if self._reactor.running and self._server.running:
            _log.info("{name} received: stopping", name=name)
            self._reactor.stop()

    def _hang_up(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._look_again)

    def _look_again(self) -> None:
        for look in self._on_hang_up:
            look()
        if not self._on_hang_up:
            _log.info("SIGHUP received: no message log and no certificate, nothing to do")


class Greeting(Service):
    """Says where the server is, and what deserves a second look."""

    def __init__(self, settings: config.Settings, access: AccessList, reactor: Any) -> None:
        self._settings = settings
        self._access = access
        self._reactor = reactor

    @override
    def startService(self) -> None:
        super().startService()
        # Whoever waits for these lines may send a signal at once: not before it is listened to.
        self._reactor.callWhenRunning(self._greet)

    def _greet(self) -> None:
        for rule in self._access.open_rules:
            _log.warn(
                "{source}: [access] {rule} lets every web page in the world reach {target} "
                "through a visitor's browser; name your page's host instead of * if you can",
                source=self._settings.source,
                rule=rule,
                target=rule.target,
            )
        for listener in self._settings.listeners:
            what = "open in a browser" if listener.kind.startswith("http") else "STOMP clients"
            _log.info("{what}: {where}", what=what, where=shown_address(listener))
        _log.info(
            "rtchat {version} is ready (settings: {source}); Ctrl-C stops it",
            version=__version__,
            source=self._settings.source,
        )


def allow_many_connections() -> None:
    """Raise the limit of open files as far as the system lets us: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # then the usual limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
