"""The memory budget: one limit on all bytes in queues, in backlogs and held for clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

__all__ = ["Budget", "MemoryPressure"]

C = TypeVar("C")

_NEAR_SHARE = 0.85
_NO_LIMIT = 1 << 62


class Budget:
    """Counts the bytes that a server buffers for its clients.

    Args:
        max_bytes: The limit in bytes; 0 means no limit.

    Attributes:
        held: Those among ``used`` that are held for single clients, beside what they have to read.
        used: The bytes buffered now.
        near_bytes: The threshold from which publishers are slowed down.
        over_bytes: The threshold above which a client has to be disconnected.
        on_over: Called at the end of a turn that leaves the budget exceeded.
    """

    __slots__ = ("held", "max_bytes", "near_bytes", "on_over", "over_bytes", "used")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = self.held = 0
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


class MemoryPressure(Generic[C]):
    """Chooses the client to close when memory is used up.

    Two kinds of clients use it up: those that fill queues, and those for which much is held: they
    do not read what waits for them, do not acknowledge, or have large transactions, subscriptions
    or incomplete frames.

    Args:
        budget: The limit, and what is held.

    Attributes:
        growth: How many bytes each client has added to queues since memory came near its limit.
    """

    __slots__ = ("_budget", "growth")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.growth: dict[C, int] = {}

    def note_growth(self, client: C, size: int) -> tuple[C, int] | None:
        """Note how much a client's turn has added while memory is near its limit.

        No accepted message is lost by closing a client: queues keep what they hold, and only
        consumers free memory.

        Returns:
            Once the limit is exceeded, the client that has added most, and how much that is.
        """
        growth = self.growth
        growth[client] = growth.get(client, 0) + size
        if not self._budget.is_over:
            return None
        worst = max(growth, key=growth.__getitem__)
        return worst, growth.pop(worst)

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


def _nothing() -> None:
    """Stand in for a callback that was not set."""
