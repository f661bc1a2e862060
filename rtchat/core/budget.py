"""One limit over everything that waits: queues, transactions and backlogs."""

from __future__ import annotations

__all__ = ["Budget"]

_NEAR_SHARE = 0.85


class Budget:
    """Counts the bytes a server holds for its clients.

    Args:
        max_bytes: The limit; 0 is none.

    Attributes:
        used: How much is held now.
    """

    __slots__ = ("_near_bytes", "max_bytes", "used")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0
        self._near_bytes = int(max_bytes * _NEAR_SHARE)

    @property
    def is_near(self) -> bool:
        """Whether publishers should be slowed."""
        return 0 < self._near_bytes <= self.used

    @property
    def is_over(self) -> bool:
        """Whether somebody has to be cut."""
        return 0 < self.max_bytes < self.used
