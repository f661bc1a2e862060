"""The memory budget: one limit on all bytes in queues, in backlogs and held for clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

__all__ = ["Budget", "Growing", "MemoryPressure"]

C = TypeVar("C")

_NEAR_SHARE = 0.85
_NO_LIMIT = 1 << 62
_MAX_PLACES = 64
"""Of one client, as many places to which it adds are told apart; what it adds to others counts in
full."""


class Growing(Protocol):
    """A place where clients' bytes stay, such as a queue. Places are compared by identity."""

    @property
    def bytes(self) -> int:
        """How many bytes it holds now."""

    @property
    def is_emptied(self) -> bool:
        """Whether something takes out what is put in."""


class Budget:
    """Counts the bytes that a server buffers for its clients.

    Args:
        max_bytes: The limit in bytes; 0 means no limit.

    Attributes:
        grown: While memory is near its limit: the places that have grown, and by how much, since
            :meth:`take_grown` was called last.
        held: Those among ``used`` that are held for single clients, beside what they have to read.
        used: The bytes buffered now.
        near_bytes: The threshold from which publishers are slowed down.
        over_bytes: The threshold above which a client has to be disconnected.
        on_over: Called at the end of a turn that leaves the budget exceeded.
    """

    __slots__ = ("grown", "held", "max_bytes", "near_bytes", "on_over", "over_bytes", "used")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = self.held = 0
        self.grown: dict[Growing, int] = {}
        self.on_over: Callable[[], None] = _nothing
        # Compared at the end of every read; without a limit the threshold is a huge number.
        self.near_bytes = int(max_bytes * _NEAR_SHARE) or _NO_LIMIT
        self.over_bytes = max_bytes or _NO_LIMIT

    @property
    def is_near(self) -> bool:
        """Whether publishers should be slowed down."""
        return self.used >= self.near_bytes

    @property
    def is_over(self) -> bool:
        """Whether a client has to be disconnected."""
        return self.used > self.over_bytes

    def note_grown(self, place: Growing, size: int) -> None:
        """Note that a place has grown while memory is near its limit."""
        self.grown[place] = self.grown.get(place, 0) + size

    def take_grown(self) -> dict[Growing, int]:
        """Return the places that have grown since the last call, and by how much."""
        grown, self.grown = self.grown, {}
        return grown


class MemoryPressure(Generic[C]):
    """Chooses the client to close when memory is used up.

    Two kinds of clients use it up: those that fill queues, and those for which much is held: they
    do not read what waits for them, do not acknowledge, or have large transactions, subscriptions
    or incomplete frames. What a client has added to a queue counts as long as the queue holds so
    much: a client whose queue is emptied has no part in it.

    Args:
        budget: The limit, and what is held.

    Attributes:
        growth: How many bytes each client has added to which places since memory came near its
            limit.
    """

    __slots__ = ("_budget", "growth")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.growth: dict[C, dict[Growing | None, int]] = {}

    def note_growth(self, client: C, grown: Mapping[Growing, int]) -> None:
        """Note what a client's turn has added while memory is near its limit."""
        places = self.growth.setdefault(client, {})
        for place, size in grown.items():
            key = place if place in places or len(places) < _MAX_PLACES else None
            places[key] = places.get(key, 0) + size

    def take_worst(self) -> tuple[C, int] | None:
        """Return the client to close because it fills memory, once the limit is exceeded.

        No accepted message is lost by closing a client: queues keep what they hold, and only
        consumers free memory.

        Returns:
            The client that has added most of what is still held, and how much that is.
        """
        if not self._budget.is_over or not self.growth:
            return None
        added = {client: _still_held(places) for client, places in self.growth.items()}
        worst = max(added, key=added.__getitem__)
        if not added[worst]:
            return None
        del self.growth[worst]
        return worst, added[worst]

    def at_fault(self, held: Mapping[C, int], harmless_bytes: int) -> list[C]:
        """Return the clients to close, if what is held for clients is why memory is used up.

        They are as many as it takes, those first for which most is held.

        Args:
            held: How many bytes are held for each client: its backlog, and all else.
            harmless_bytes: With less than that, a client may be one that empties full queues.
        """
        used, most = self._budget.used, self._budget.max_bytes
        left = sum(held.values())
        at_fault: list[C] = []
        for client in sorted(held, key=held.__getitem__, reverse=True):
            are_most = left * 2 >= used
            are_too_much = used - left <= most
            if used <= most or not (are_most or (are_too_much and held[client] > harmless_bytes)):
                break
            at_fault.append(client)
            used -= held[client]
            left -= held[client]
        return at_fault


def _still_held(places: Mapping[Growing | None, int]) -> int:
    """Return how much of what was added to some places is there at the most."""
    return sum(size if place is None else min(size, place.bytes) for place, size in places.items())


def _nothing() -> None:
    """Stand in for a callback that was not set."""
