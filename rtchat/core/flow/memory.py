"""The memory budget: one limit over all bytes that wait in queues, transactions and backlogs."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Budget"]

_NEAR_SHARE = 0.85
_NO_LIMIT = 1 << 62


class Budget:
    """Counts the bytes that a server holds for its clients.

    Args:
        max_bytes: The limit; 0 is no limit.

    Attributes:
        used: How many bytes are held now.
        near_bytes: From here on publishers are slowed down.
        over_bytes: Above this a client has to be cut.
        on_over: Called at the end of a turn that leaves more than the limit.
    """

    __slots__ = ("max_bytes", "near_bytes", "on_over", "over_bytes", "used")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0
        self.on_over: Callable[[], None] = _nothing
        # Two comparisons of numbers at the end of every read; no limit is a number, too.
        self.near_bytes = int(max_bytes * _NEAR_SHARE) or _NO_LIMIT
        self.over_bytes = max_bytes or _NO_LIMIT

    @property
    def is_near(self) -> bool:
        """Whether publishers should be slowed down."""
        return self.used >= self.near_bytes

    @property
    def is_over(self) -> bool:
        """Whether a client has to be cut."""
        return self.used > self.over_bytes


def _nothing() -> None:
    """Stand in for a callback that was not set."""
