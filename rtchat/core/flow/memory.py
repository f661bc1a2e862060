"""The memory budget: one limit on all bytes in queues, transactions and backlogs."""

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
        used: The bytes buffered now.
        near_bytes: The threshold from which publishers are slowed down.
        over_bytes: The threshold above which a client has to be disconnected.
        on_over: Called at the end of a turn that leaves the budget exceeded.
    """

    __slots__ = ("max_bytes", "near_bytes", "on_over", "over_bytes", "used")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0
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

    Two kinds of clients use it up: those that fill queues and transactions, and those that do not
    read what waits for them.

    Args:
        budget: The limit, and what is held.

    Attributes:
        growth: How many bytes each client has added to queues and transactions since memory came
            near its limit.
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

    def largest_backlog(self, backlogs: Mapping[C, int], harmless_bytes: int) -> C | None:
        """Return the client with the largest backlog, if backlogs are why memory is used up.

        Args:
            backlogs: How many bytes wait for each client.
            harmless_bytes: With less than that, a client may be one that empties full queues.
        """
        worst = max(backlogs, key=backlogs.__getitem__, default=None)
        if worst is None:
            return None
        used, waiting = self._budget.used, sum(backlogs.values())
        are_most = waiting * 2 >= used
        are_too_much = used - waiting <= self._budget.max_bytes
        if are_most or (are_too_much and backlogs[worst] > harmless_bytes):
            return worst
        return None


def _nothing() -> None:
    """Stand in for a callback that was not set."""
