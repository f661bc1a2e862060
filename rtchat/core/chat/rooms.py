"""Which destinations are rooms."""

from __future__ import annotations

from collections.abc import Iterable

from rtchat.core.broker.destinations import Glob

__all__ = ["ROOMS", "RoomNames"]

ROOMS = "/presence/rooms"
"""Which rooms there are, and how many people are in each."""

_MAX_REMEMBERED = 4096


class RoomNames:
    """Tells rooms from other destinations, and remembers the answers.

    Args:
        patterns: ``*`` stands for any run of characters.
    """

    __slots__ = ("_glob", "_remembered")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._glob = Glob(patterns)
        self._remembered: dict[str, bool] = {}

    def __contains__(self, destination: str) -> bool:
        known = self._remembered.get(destination)
        if known is None:
            if len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[destination] = destination in self._glob
        return known
