"""Which destinations are rooms."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["ROOMS", "RoomNames"]


ROOMS = "/presence/rooms"
"""Which rooms there are, and how many people are in each."""

_MAX_REMEMBERED = 4096


class RoomNames:
    """Tells rooms from other destinations.

    Args:
        patterns: ``*`` stands for any run of characters.
    """

    __slots__ = ("_pattern", "_remembered")

    def __init__(self, patterns: Iterable[str]) -> None:
        parts = [".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns]
        self._pattern = re.compile("|".join(parts) if parts else r"(?!)", re.DOTALL)
        self._remembered: dict[str, bool] = {}

    def __contains__(self, destination: str) -> bool:
        known = self._remembered.get(destination)
        if known is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            known = self._pattern.fullmatch(destination) is not None
            self._remembered[destination] = known
        return known
