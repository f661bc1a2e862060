"""Kept messages in memory: those that were written or read last, up to a limit."""

from __future__ import annotations

from collections import OrderedDict

from rtchat.core.history.stream import KeptMessage, Stream

__all__ = ["PAGE_MESSAGES", "PageCache"]

PAGE_MESSAGES = 256
"""How many offsets a page has; so many messages at most are read from the file at once."""


class _Page:
    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages: dict[int, KeptMessage] = {}
        self.bytes = 0


class PageCache:
    """The pages of all streams that are in memory.

    A page that nobody has looked at for longest goes first, except the one that was touched last.

    Args:
        max_bytes: How much there may be.

    Attributes:
        bytes: How much there is.
    """

    __slots__ = ("_max_bytes", "_pages", "bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pages: OrderedDict[tuple[int, int], _Page] = OrderedDict()
        self.bytes = 0

    def get(self, stream: Stream, offset: int) -> KeptMessage | None:
        """Give a message if it is in memory."""
        key = (stream.number, offset // PAGE_MESSAGES)
        page = self._pages.get(key)
        if page is None:
            return None
        self._pages.move_to_end(key)
        return page.messages.get(offset)

    def put(self, message: KeptMessage) -> None:
        """Take a message; one that is there already stays as it is."""
        stream, offset = message.stream, message.offset
        key = (stream.number, offset // PAGE_MESSAGES)
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = _Page()
            # Everything before the stream's first message will never be asked for again.
            self._forget_page((stream.number, stream.first // PAGE_MESSAGES - 1))
        self._pages.move_to_end(key)
        if offset in page.messages:
            return
        page.messages[offset] = message
        size = message.row_size
        page.bytes += size
        self.bytes += size
        while self.bytes > self._max_bytes and len(self._pages) > 1:
            self._forget_page(next(iter(self._pages)))

    def forget(self, stream: Stream) -> None:
        """Drop what there is of a stream."""
        for key in [key for key in self._pages if key[0] == stream.number]:
            self._forget_page(key)

    def _forget_page(self, key: tuple[int, int]) -> None:
        page = self._pages.pop(key, None)
        if page is not None:
            self.bytes -= page.bytes
