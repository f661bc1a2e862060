"""One limit over everything that waits: queues, transactions and backlogs."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Budget"]

_NEAR_SHARE = 0.85


class Budget:
    """Counts the bytes a server holds for its clients.

    Args:
        max_bytes: The limit; 0 is none.

    Attributes:
        used: How much is held now.
        on_over: Called at the end of a turn that leaves more than the limit.
    """

    __slots__ = ("_near_bytes", "max_bytes", "on_over", "used")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0
        self.on_over: Callable[[], None] = _nothing
        self._near_bytes = int(max_bytes * _NEAR_SHARE)

    @property
    def is_near(self) -> bool:
        """Whether publishers should be slowed."""
        return 0 < self._near_bytes <= self.used

    @property
    def is_over(self) -> bool:
        """Whether somebody has to be cut."""
        return 0 < self.max_bytes < self.used


def _nothing() -> None:
    """What happens when nobody asked to know."""
