"""Where in a stream the messages of a time begin."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

__all__ = ["TimeIndex"]

_PAGE_MESSAGES = 256
_PAGES_AT_ONCE = 4


class TimeIndex:
    """The time of the latest message in each full page of a stream.

    A look-up reads a page or two instead of the whole stream. The index is learned by the first
    look-up, in parts: other operations of the file come between them. The clock may have been set
    back, so the times of a stream need not be in order.

    Args:
        latest: Returns the time of the latest message of a stream in a range of offsets, in seconds
            since 1970; None if it has none.
    """

    __slots__ = ("_known", "_latest")

    def __init__(self, latest: Callable[[int, int, int], object]) -> None:
        self._latest = latest
        # For each stream its first page that is known, and the times of that and those after it.
        self._known: dict[int, tuple[int, array[float]]] = {}

    def learn(self, stream: int, first: int, end: int) -> bool:
        """Learn the times of a few more pages; return whether all are known now.

        Args:
            stream: The stream.
            first: The offset of its first message.
            end: The offset after its last message.
        """
        known = self._known.get(stream)
        if known is None:
            known = self._known[stream] = first // _PAGE_MESSAGES, array("d")
        start, times = known
        full_end = end // _PAGE_MESSAGES
        for page in range(start + len(times), min(full_end, start + len(times) + _PAGES_AT_ONCE)):
            time_s = self._latest(stream, page * _PAGE_MESSAGES, (page + 1) * _PAGE_MESSAGES)
            if time_s is None:
                times.append(float("-inf"))
            else:  # damage may put anything in its place, and then the page is looked at
                times.append(time_s if isinstance(time_s, float) else float("inf"))
        return start + len(times) >= full_end

    def ranges(
        self, stream: int, since_s: float, first: int, end: int
    ) -> Iterator[tuple[int, int]]:
        """Return the ranges of offsets that may have messages of a time or later, in order.

        All pages are known. The last range, which is no full page, is always among them.
        """
        start, times = self._known[stream]
        page = max(start, first // _PAGE_MESSAGES)
        for time_s in times[page - start :]:
            if time_s >= since_s:
                yield max(first, page * _PAGE_MESSAGES), (page + 1) * _PAGE_MESSAGES
            page += 1
        if page * _PAGE_MESSAGES < end:
            yield max(first, page * _PAGE_MESSAGES), end

    def forget(self, stream: int) -> None:
        """Forget a stream that was deleted."""
        self._known.pop(stream, None)
