"""A bounded number of places, and who waits for one: each source in its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

__all__ = ["Places", "Waiting"]


class Waiting:
    """One that waits for a place, or has it.

    Args:
        source: Who it belongs to; sources take turns.
        start: Called once, when there is a place.
    """

    __slots__ = ("source", "start")

    def __init__(self, source: str, start: Callable[[], None]) -> None:
        self.source = source
        self.start = start


class Places:
    """So many at a time, at most half of them for one source; the sources that wait take turns.

    So none waits behind a crowd of one source, and none finds all places taken by what is slow for
    one source.

    Args:
        count: How many places there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._max_of_source = (count + 1) // 2
        self._taken: Counter[str] = Counter()
        # In both the first one is next.
        self._lines: dict[str, dict[Waiting, None]] = {}
        self._is_serving = False

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    def enter(self, source: str, start: Callable[[], None]) -> Waiting:
        """Wait for a place; ``start`` is called when there is one, perhaps before this returns.

        The one that has a place calls :meth:`leave` at the end.
        """
        one = Waiting(source, start)
        self._lines.setdefault(source, {})[one] = None
        self._serve()
        return one

    def give_up(self, one: Waiting) -> None:
        """Take one out of the line. Nothing happens if it has its place already."""
        line = self._lines.get(one.source, {})
        if one in line:
            del line[one]
            if not line:
                del self._lines[one.source]

    def leave(self, source: str) -> None:
        """Leave a place of a source to the next one."""
        self._taken[source] -= 1
        if not self._taken[source]:
            del self._taken[source]
        self._serve()

    def _serve(self) -> None:
        # One that is started may leave at once, or enter others: that must not become a recursion.
        if self._is_serving:
            return
        self._is_serving = True
        try:
            while self.taken < self._count and (source := self._next()) is not None:
                line = self._lines.pop(source)
                one = next(iter(line))
                del line[one]
                if line:
                    self._lines[source] = line
                self._taken[source] += 1
                one.start()
        finally:
            self._is_serving = False

    def _next(self) -> str | None:
        """Return the source whose turn it is; at most two have all that they may have."""
        return next((one for one in self._lines if self._taken[one] < self._max_of_source), None)
