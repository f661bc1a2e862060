"""Names of rooms."""

from __future__ import annotations

from collections.abc import Iterable

from rtchat.core.broker.destinations import Glob

__all__ = ["ROOMS", "TYPING", "RoomNames"]

ROOMS = "/presence/rooms"
"""The destination with the list of rooms and the number of people in each."""

TYPING = ("/topic/typing", "/topic/typing.*")
"""Patterns of the destinations of notices that a person is typing, which bear a nick as well."""

_MAX_CACHED = 4096
_MAX_CACHED_CHARS = 256


class RoomNames:
    """The set of destinations that are rooms; results for names that are not long are cached.

    Args:
        patterns: Patterns of the names; ``*`` stands for any run of characters.
    """

    __slots__ = ("_cache", "_glob")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._glob = Glob(patterns)
        self._cache: dict[str, bool] = {}

    def __contains__(self, destination: str) -> bool:
        known = self._cache.get(destination)
        if known is None:
            known = destination in self._glob
            if len(destination) <= _MAX_CACHED_CHARS:
                if len(self._cache) >= _MAX_CACHED:
                    self._cache.clear()
                self._cache[destination] = known
        return known
