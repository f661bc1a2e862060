"""How many connections there may be at once: each takes file descriptors and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from rtchat.core.access.addresses import AddressList, source_key
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.transport import address_name

__all__ = ["ConnectionLimiter", "ReachedLimit", "SourceLimiter"]

_log = Logger(__package__)


class ReachedLimit(NamedTuple):
    """A limit that leaves no room for one more connection.

    Attributes:
        name: ``total``, ``per_target``, ``per_source`` or ``per_user``.
        maximum: How many connections it allows.
    """

    name: str
    maximum: int


class ConnectionLimiter:
    """Counts connections, in total and by what they have in common; 0 is no limit.

    Args:
        total: How many there may be at once.
        per_target: How many to one target.
        per_source: How many from one source, as
            :func:`~rtchat.core.access.addresses.source_key` names it. "" is no single source (a
            Unix socket, a front proxy), so this limit is not for it.
        per_user: How many of one user. With it, those of users do not count for their sources.

    Attributes:
        count: How many there are now.
    """

    def __init__(
        self, total: int = 0, per_target: int = 0, per_source: int = 0, per_user: int = 0
    ) -> None:
        self._per_user = per_user
        self._users: Counter[str] = Counter()
        self._total = total
        self._per_target = per_target
        self._per_source = per_source
        self._targets: Counter[Hashable] = Counter()
        self._sources: Counter[str] = Counter()
        self.count = 0

    def reached(self, source: str, target: Hashable = None, user: str = "") -> ReachedLimit | None:
        """Return the limit that is in the way of one more connection, or None."""
        if 0 < self._total <= self.count:
            return ReachedLimit("total", self._total)
        if 0 < self._per_target <= self._targets[target]:
            return ReachedLimit("per_target", self._per_target)
        if user and self._per_user:
            is_reached = self._per_user <= self._users[user]
            return ReachedLimit("per_user", self._per_user) if is_reached else None
        if source and 0 < self._per_source <= self._sources[source]:
            return ReachedLimit("per_source", self._per_source)
        return None

    def enter(self, source: str, target: Hashable = None, user: str = "") -> None:
        """Count one more."""
        self.count += 1
        self._targets[target] += 1
        if user and self._per_user:
            self._users[user] += 1
        else:
            self._sources[source] += 1

    def leave(self, source: str, target: Hashable = None, user: str = "") -> None:
        """Count one less; the arguments are those of :meth:`enter`."""
        self.count -= 1
        self._targets[target] -= 1
        if not self._targets[target]:
            del self._targets[target]
        if user and self._per_user:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]
            return
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]


class SourceLimiter:
    """Admits connections by the addresses they come from, and logs those that it refuses.

    Args:
        section: Where its two limits are in chat.ini, without the ends of their names.
        client_log: Where refusals are written.
        total: How many connections there may be at once; 0 is no limit.
        per_source: How many from one address (IPv6: from one /64 network); 0 is no limit.
        fronts: Front proxies, each of which passes many clients on: ``per_source`` is not for
            them.
        is_for_guests: Whether ``per_source`` is for clients without a user only; others have a
            limit of their own.
    """

    def __init__(
        self,
        section: str,
        client_log: ClientLog,
        total: int = 0,
        per_source: int = 0,
        fronts: AddressList | None = None,
        is_for_guests: bool = False,
    ) -> None:
        self._is_for_guests = is_for_guests
        self._section = section
        self._client_log = client_log
        self._connections = ConnectionLimiter(total, per_source=per_source)
        self._fronts = fronts or AddressList()

    @property
    def count(self) -> int:
        """How many there are now."""
        return self._connections.count

    def refused(self, address: IAddress | None) -> ReachedLimit | None:
        """Return the limit that is in the way of a connection, and log it; None if none is."""
        reached = self._connections.reached(self._source(address))
        if reached is not None:
            cure = "raise it"
            if reached.name == "per_source":
                cure += ", or if this is a front proxy, name it in [front] trusted"
            self._client_log.once(
                _log,
                "refused connections",
                "{peer}: refused: {section}.{name} = {maximum} is reached; {cure}",
                peer=address_name(address),
                section=self._section,
                name=reached.name,
                maximum=reached.maximum,
                cure=cure,
            )
        return reached

    def enter(self, address: IAddress | None) -> str:
        """Count one more; return the source it counts for, to be given to :meth:`leave`."""
        source = self._source(address)
        self._connections.enter(source)
        return source

    def leave(self, source: str) -> None:
        """Count one less."""
        self._connections.leave(source)

    def logged_in(self, source: str) -> str:
        """Note that a client has a user; return the source that it counts for from now on."""
        if not self._is_for_guests:
            return source
        self._connections.leave(source)
        self._connections.enter("")
        return ""

    def _source(self, address: IAddress | None) -> str:
        host: str | None = getattr(address, "host", None)
        return "" if self._fronts and host in self._fronts else source_key(host)
