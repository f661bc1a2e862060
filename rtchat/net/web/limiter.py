"""How many HTTP connections there may be, and what the log says about those that are refused."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger

from rtchat.core.access.addresses import AddressList, source_key
from rtchat.net.connection.limits import ConnectionLimiter
from rtchat.net.connection.transport import address_name

__all__ = ["HttpLimiter"]

_log = Logger(__package__)

_QUIET_S = 60.0
"""After a line about a refusal, those that follow within this time share the next one."""


class HttpLimiter:
    """Admits connections that are not WebSockets, or not yet; 0 is no limit.

    Args:
        clock: Where the time between two lines of the log runs.
        total: How many there may be at once.
        per_source: How many from one address (IPv6: from one /64 network).
        fronts: Front proxies, each of which passes many clients on: ``per_source`` is not for
            them.
    """

    def __init__(
        self,
        clock: IReactorTime,
        total: int = 0,
        per_source: int = 0,
        fronts: AddressList | None = None,
    ) -> None:
        self._connections = ConnectionLimiter(total, per_source=per_source)
        self._fronts = fronts or AddressList()
        self._refusals = _RefusalLog(clock)

    @property
    def count(self) -> int:
        """How many there are now."""
        return self._connections.count

    def enter(self, address: IAddress | None) -> str | None:
        """Count one more if no limit is reached, else write it to the log.

        Returns:
            The source it counts for, to be given to :meth:`leave`, or None when it is refused.
        """
        host: str | None = getattr(address, "host", None)
        source = "" if self._fronts and host in self._fronts else source_key(host)
        reached = self._connections.reached(source)
        if reached is not None:
            limit = f"[proxy] http.connections.{reached.name} = {reached.maximum}"
            self._refusals.add(f"{address_name(address)}: refused: {limit} is reached")
            return None
        self._connections.enter(source)
        return source

    def leave(self, source: str) -> None:
        """Count one less."""
        self._connections.leave(source)


class _RefusalLog:
    """Writes the first refusal at once, and one line a minute about those that follow."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._quiet: IDelayedCall | None = None
        self._unwritten = 0
        self._latest = ""

    def add(self, line: str) -> None:
        self._latest = line
        if self._quiet is not None:
            self._unwritten += 1
            return
        _log.warn("{latest}", latest=line)
        self._quiet = self._clock.callLater(_QUIET_S, self._sum_up)

    def _sum_up(self) -> None:
        self._quiet = None
        if not self._unwritten:
            return
        _log.warn(
            "HTTP connections: {count} more were refused in {seconds:g} s, the last one: {latest}",
            count=self._unwritten,
            seconds=_QUIET_S,
            latest=self._latest,
        )
        self._unwritten = 0
        self._quiet = self._clock.callLater(_QUIET_S, self._sum_up)
