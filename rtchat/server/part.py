"""The seam between the server and its features: each feature is a part.

::

    @dataclass(frozen=True, slots=True)
    class EchoSettings:
        delay_s: float = key("[echo] delay", 1.0, unit="seconds", low=0.1, high=60)

    class EchoPart(Part[EchoSettings]):
        reads = (EchoSettings,)

A part owns its keys in chat.ini, its service, its gauges, and what happens on SIGHUP and on
shutdown. A class like the one above and a line in ``rtchat.tap.PARTS`` are a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

from twisted.application.service import IService
from twisted.internet.defer import Deferred

from rtchat.config.schema import ChatIni
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.coalescing_clock import CoalescingClock
from rtchat.net.twisted_internals import use_monotonic_clock
from rtchat.server.start import StartService

__all__ = ["Check", "Checks", "Gauges", "Part", "Server"]

_S = TypeVar("_S")

Gauges = Mapping[str, Callable[[], float]]
"""Numbers about the running server by name, each with what returns it now."""


class Check(NamedTuple):
    """A promise of the server that it may be unable to keep at times.

    Attributes:
        problem: Returns why it cannot be kept now; "" if it can. The text is public: it
            names no path.
        is_vital: Whether messages are refused meanwhile.
    """

    problem: Callable[[], str]
    is_vital: bool = False


Checks = Mapping[str, Check]
"""The promises of a part by name."""


class Part(Generic[_S]):
    """A feature of the server. A subclass overrides what it needs; by default nothing happens.

    Args:
        settings: What :meth:`read` returned.
        server: What all parts share, and the parts before this one.

    Attributes:
        reads: The dataclasses whose fields are this part's keys of chat.ini, declared with
            ``rtchat.config.keys``.
        settings: What chat.ini says about this part.
    """

    reads: ClassVar[tuple[type, ...]] = ()

    def __init__(self, settings: _S, server: Server) -> None:
        self.settings = settings

    @classmethod
    def read(cls, ini: ChatIni) -> _S:
        """Return this part's settings; it runs before any part is built.

        Override it if there is more than one dataclass, or a rule about several keys.

        Raises:
            ConfigError: The file cannot be used.
        """
        return cast(_S, ini.read(cls.reads[0]) if cls.reads else None)

    def service(self) -> IService | None:
        """Return the service that runs with the server. Called once, after the part is built.

        Services start in the order of the parts. ``privilegedStartService`` runs before the
        server gives up root, ``startService`` after it.
        """
        return None

    def load_late(self) -> None:
        """Import modules that only some requests need, while the first clients connect.

        Called when the ports are open and before the server gives up root: the new user may not
        be able to read Python's files, and an update may replace them under a running server.
        """

    def gauges(self) -> Gauges:
        """Return the numbers that ``/health`` shows."""
        return {}

    def checks(self) -> Checks:
        """Return the promises that ``/health`` looks at."""
        return {}

    def reload(self) -> bool:
        """Read files again because of SIGHUP.

        Returns:
            Whether this part has files to read again.
        """
        return False

    def drain(self) -> Deferred[Any] | None:
        """End all connections because the server stops; the ports are closed already.

        Returns:
            Fires when the clients have gone. None if there is nothing to wait for.
        """
        return None

    def close(self) -> Deferred[Any] | None:
        """Flush and close files; all clients are gone.

        Returns:
            Fires when it is closed. None if there is nothing to wait for.
        """
        return None


_P = TypeVar("_P", bound=Part[Any])


class Server:
    """What the parts of one server share.

    Args:
        reactor: Runs everything.
        source: Where the settings come from, for the log.

    Attributes:
        reactor: Runs everything.
        client_log: Where lines about clients are written.
        clock: Runs timers. Timers that end at about the same time end together: nothing that
            runs on it has to be exact to a twentieth of a second. It is not the time of day, which
            an administrator may set: intervals do not depend on that.
        source: Where the settings come from.
        parts: The parts that are built, in the order in which they start.
        service: Contains the services of all parts.
        wall_s: Returns the time in seconds since 1970.
    """

    def __init__(self, reactor: Any, source: str) -> None:
        self.reactor = reactor
        self.wall_s = use_monotonic_clock(reactor)
        self.clock = CoalescingClock(reactor)
        self.client_log = ClientLog(self.clock)
        self.source = source
        self.parts: list[Part[Any]] = []
        self.service = StartService()

    def add(self, kind: type[Part[_S]], settings: _S) -> None:
        """Build a part from those that are there already."""
        part = kind(settings, self)
        self.parts.append(part)
        service = part.service()
        if service is not None:
            service.setServiceParent(self.service)

    def part(self, kind: type[_P]) -> _P:
        """Return the part of a class.

        Raises:
            LookupError: There is none yet: it comes later in ``PARTS``, or not at all.
        """
        for part in self.parts:
            if isinstance(part, kind):
                return part
        raise LookupError(f"{kind.__name__} has to come first in the list of parts")
