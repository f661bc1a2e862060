"""How many connections there may be at once: each takes file descriptors and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple

__all__ = ["ConnectionLimiter", "ReachedLimit"]


class ReachedLimit(NamedTuple):
    """A limit that leaves no room for one more connection.

    Attributes:
        name: ``total``, ``per_target`` or ``per_source``.
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

    Attributes:
        count: How many there are now.
    """

    def __init__(self, total: int = 0, per_target: int = 0, per_source: int = 0) -> None:
        self._total = total
        self._per_target = per_target
        self._per_source = per_source
        self._targets: Counter[Hashable] = Counter()
        self._sources: Counter[str] = Counter()
        self.count = 0

    def reached(self, source: str, target: Hashable = None) -> ReachedLimit | None:
        """Return the limit that is in the way of one more connection, or None."""
        if 0 < self._total <= self.count:
            return ReachedLimit("total", self._total)
        if 0 < self._per_target <= self._targets[target]:
            return ReachedLimit("per_target", self._per_target)
        if source and 0 < self._per_source <= self._sources[source]:
            return ReachedLimit("per_source", self._per_source)
        return None

    def enter(self, source: str, target: Hashable = None) -> None:
        """Count one more."""
        self.count += 1
        self._targets[target] += 1
        self._sources[source] += 1

    def leave(self, source: str, target: Hashable = None) -> None:
        """Count one less; the arguments are those of :meth:`enter`."""
        self.count -= 1
        self._targets[target] -= 1
        if not self._targets[target]:
            del self._targets[target]
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
