"""How many HTTP connections there may be: each of them is a file of the process's."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger

from rtchat.core.access.addresses import AddressList, source_key
from rtchat.core.access.hosts import Target
from rtchat.net.connection.transport import address_name

__all__ = ["TRY_LATER", "Caps", "ConnectionLimiter"]

_QUIET_S = 60.0
"""After a line about a refusal, those that follow within this time share the next one."""


class ConnectionLimiter:
    """Counts the connections that are not WebSockets, or not yet; 0 is no limit.

    Args:
        clock: Where the time between two lines of the log runs.
        total: How many there may be at once.
        per_source: How many from one address (IPv6: from one /64 network).
        fronts: Front proxies, each of which speaks for many: ``per_source`` is not for them.
    """

    log = Logger(__package__)

    def __init__(
        self,
        clock: IReactorTime,
        total: int = 0,
        per_source: int = 0,
        fronts: AddressList | None = None,
    ) -> None:
        self._clock = clock
        self._total = total
        self._per_source = per_source
        self._fronts = fronts or AddressList()
        self._sources: Counter[str] = Counter()
        self._quiet: IDelayedCall | None = None
        self._untold = 0
        self._latest = ""
        self.count = 0

    def enter(self, address: IAddress | None) -> str | None:
        """Count one more, if there is a place for it.

        Returns:
            Whom it counts for, to be given to :meth:`leave`. None if there is no place; then the
            log says so, but not more than once a minute.
        """
        host: str | None = getattr(address, "host", None)
        source = "" if self._fronts and host in self._fronts else source_key(host)
        if 0 < self._total <= self.count:
            self._refuse(address, f"http.connections.total = {self._total}")
            return None
        if source and 0 < self._per_source <= self._sources[source]:
            self._refuse(address, f"http.connections.per_source = {self._per_source}")
            return None
        self.count += 1
        self._sources[source] += 1
        return source

    def leave(self, source: str) -> None:
        """Count one less."""
        self.count -= 1
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]

    def _refuse(self, address: IAddress | None, limit: str) -> None:
        self._latest = f"{address_name(address)}: refused: [proxy] {limit} is reached"
        if self._quiet is not None:
            self._untold += 1
            return
        self.log.warn("{latest}", latest=self._latest)
        self._quiet = self._clock.callLater(_QUIET_S, self._sum_up)

    def _sum_up(self) -> None:
        self._quiet = None
        if not self._untold:
            return
        self.log.warn(
            "HTTP connections: {count} more were refused in {seconds:g} s, the last one: {latest}",
            count=self._untold,
            seconds=_QUIET_S,
            latest=self._latest,
        )
        self._untold = 0
        self._quiet = self._clock.callLater(_QUIET_S, self._sum_up)


POLICY = 1008

TRY_LATER = 1013


class Caps:
    """Counts the connections and says when there are enough; 0 is no limit.

    Args:
        total: How many there may be at once.
        per_target: How many to one target.
        per_source: How many from one address (IPv6: from one /64 network).
    """

    def __init__(self, total: int = 0, per_target: int = 0, per_source: int = 0) -> None:
        self._total = total
        self._per_target = per_target
        self._per_source = per_source
        self._targets: Counter[Target] = Counter()
        self._sources: Counter[str] = Counter()
        self.count = 0

    def refusal(self, target: Target, source: str) -> tuple[int, str] | None:
        """Give a close code and a reason when there is no place for one more."""
        if 0 < self._total <= self.count:
            return TRY_LATER, f"[proxy] connections.total = {self._total} is reached"
        if 0 < self._per_target <= self._targets[target]:
            return TRY_LATER, f"[proxy] connections.per_target = {self._per_target} is reached"
        # Whoever comes over a Unix socket has no address, so all of them would be one source.
        if source and 0 < self._per_source <= self._sources[source]:
            return POLICY, f"[proxy] connections.per_source = {self._per_source} is reached"
        return None

    def enter(self, target: Target, source: str) -> None:
        """Count one more."""
        self.count += 1
        self._targets[target] += 1
        self._sources[source] += 1

    def leave(self, target: Target, source: str) -> None:
        """Count one less."""
        self.count -= 1
        self._targets[target] -= 1
        if not self._targets[target]:
            del self._targets[target]
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
