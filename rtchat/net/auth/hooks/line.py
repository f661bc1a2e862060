"""A bounded number of places, and who waits for one: each source in its turn."""

from __future__ import annotations

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
    """So many at a time; the sources of the others take turns, so none waits behind a crowd.

    Args:
        count: How many places there are.

    Attributes:
        taken: How many of them are taken.
    """

    def __init__(self, count: int) -> None:
        self.taken = 0
        self._count = count
        # In both the first one is next.
        self._lines: dict[str, dict[Waiting, None]] = {}
        self._is_serving = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    def enter(self, source: str, start: Callable[[], None]) -> Waiting:
        """Wait for a place; ``start`` is called when there is one, perhaps before this returns.

        Who has a place calls :meth:`leave` at the end.
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

    def leave(self) -> None:
        """Leave a place to the next one."""
        self.taken -= 1
        self._serve()

    def _serve(self) -> None:
        # Who is started may leave at once, or enter others: that must not become a recursion.
        if self._is_serving:
            return
        self._is_serving = True
        try:
            while self.taken < self._count and self._lines:
                source, line = next(iter(self._lines.items()))
                one = next(iter(line))
                del line[one]
                del self._lines[source]
                if line:
                    self._lines[source] = line
                self.taken += 1
                one.start()
        finally:
            self._is_serving = False
