"""A cache of stored messages, in pages, with least-recently-used eviction."""

from __future__ import annotations

from collections import OrderedDict

from rtchat.core.history.stream import PAGE_MESSAGES, KeptMessage, Stream

__all__ = ["PageCache"]


class _Page:
    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages: dict[int, KeptMessage] = {}
        self.bytes = 0


class PageCache:
    """Pages of all streams, up to a number of bytes.

    The least recently used page is evicted first. The most recently used one always stays, even
    if it alone exceeds the limit.

    Args:
        max_bytes: The limit in bytes.

    Attributes:
        bytes: The size of all cached messages in bytes.
    """

    __slots__ = ("_max_bytes", "_pages", "bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pages: OrderedDict[tuple[int, int], _Page] = OrderedDict()
        self.bytes = 0

    def get(self, stream: Stream, offset: int) -> KeptMessage | None:
        """Return a message if it is cached, else None."""
        key = (stream.number, offset // PAGE_MESSAGES)
        page = self._pages.get(key)
        if page is None:
            return None
        self._pages.move_to_end(key)
        return page.messages.get(offset)

    def put(self, message: KeptMessage) -> None:
        """Add a message, unless the cache has one with its stream and offset."""
        stream, offset = message.stream, message.offset
        key = (stream.number, offset // PAGE_MESSAGES)
        page = self._pages.get(key)
        if page is None:
            page = self._pages[key] = _Page()
            # Messages before the stream's first one are never requested again.
            self._forget_page((stream.number, stream.first // PAGE_MESSAGES - 1))
        self._pages.move_to_end(key)
        if offset in page.messages:
            return
        page.messages[offset] = message
        size = message.held_size
        page.bytes += size
        self.bytes += size
        while self.bytes > self._max_bytes and len(self._pages) > 1:
            self._forget_page(next(iter(self._pages)))

    def forget(self, stream: Stream) -> None:
        """Evict all pages of a stream."""
        first, last = stream.stored_first // PAGE_MESSAGES, stream.next // PAGE_MESSAGES
        for page in range(first, last + 1):
            self._forget_page((stream.number, page))

    def _forget_page(self, key: tuple[int, int]) -> None:
        page = self._pages.pop(key, None)
        if page is not None:
            self.bytes -= page.bytes
