"""Events of which a hook is still to be told: how many are kept, and which are given up."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Untold"]

_T = TypeVar("_T")


class Untold(Generic[_T]):
    """Events that wait until the hook has heard of them, in a bounded number.

    When there are too many, the oldest of the source with the most is given up: a flood of one
    client costs the events of that client.

    Args:
        max_count: How many are kept.
    """

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        self._of_source: dict[str, dict[_T, None]] = {}
        # Sources by how many each has: looking for the one with the most takes no time.
        self._with: dict[int, dict[str, None]] = {}
        self._most = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, source: str, one: _T) -> _T | None:
        """Keep one more, and return the one that has to be given up for it, if any."""
        line = self._of_source.setdefault(source, {})
        line[one] = None
        self._count += 1
        self._move(source, len(line) - 1, len(line))
        if self._count <= self._max_count:
            return None
        crowd = next(iter(self._with[self._most]))
        oldest = next(iter(self._of_source[crowd]))
        self.remove(crowd, oldest)
        return oldest

    def remove(self, source: str, one: _T) -> None:
        """Forget one: it was told, or given up. Nothing happens if it is not there."""
        line = self._of_source.get(source, {})
        if one in line:
            del line[one]
            self._count -= 1
            self._move(source, len(line) + 1, len(line))
            if not line:
                del self._of_source[source]

    def _move(self, source: str, before: int, now: int) -> None:
        """Note that a source has one more, or one less."""
        if before:
            del self._with[before][source]
            if not self._with[before]:
                del self._with[before]
        if now:
            self._with.setdefault(now, {})[source] = None
        if now > self._most or self._most not in self._with:
            self._most = now
