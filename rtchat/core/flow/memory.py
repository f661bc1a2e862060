"""The memory budget: one limit on all bytes in queues, transactions and backlogs."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Budget"]

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


def _nothing() -> None:
    """Stand in for a callback that was not set."""
