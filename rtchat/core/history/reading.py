"""What replays read: from the page cache, or else from the store, a few questions at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from rtchat.core.broker.subscription import Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.page_cache import PageCache
from rtchat.core.history.store import Row, Store
from rtchat.core.history.stream import PAGE_MESSAGES, KeptMessage, Stream, message_of
from rtchat.errors import ProtocolError

__all__ = ["MessageReader", "Reader"]

_AT_ONCE = 2
"""So many questions the store has at a time: what is to be written waits for no more of them."""

_PATIENCE_S = 10.0
"""How long subscribers are refused because a part of the store cannot be read."""

_ROW_WORK = 15
"""The work of a message that was read from the store."""


class Reader(Protocol):
    """A replay, as far as it asks questions; it has one at a time.

    Attributes:
        stream: The stream that it reads.
        subscription: Its subscription.
    """

    stream: Stream
    subscription: Subscription

    def loaded(self, found: int, problem: str) -> None:
        """Called in a later turn, when the page was read that contains a message.

        Args:
            found: The offset of the first message that could be read, from the one that was asked
                for on. If the rest of the page is damaged, it is the end of the page.
            problem: A description of the problem; "" on success.
        """

    def found(self, offset: int | None, problem: str) -> None:
        """Called in a later turn, when a time was looked up.

        Args:
            offset: The offset of the first message of that time or later; None if there is none.
            problem: A description of the problem; "" on success.
        """


class _Page:
    """A page that is being read, and who waits for it.

    Attributes:
        end: The offset at which the part ends that is being read.
        readers: The offset that each wants.
    """

    __slots__ = ("end", "readers")

    def __init__(self, end: int) -> None:
        self.end = end
        self.readers: dict[Reader, int] = {}

    def answer(self, readable: Collection[int] | None, problem: str) -> None:
        """Call each reader with the first offset that could be read; None is the one it wants."""
        while self.readers:
            reader = next(iter(self.readers))
            found = offset = self.readers.pop(reader)
            if readable is not None:
                found = min((one for one in readable if one >= offset), default=self.end)
            reader.loaded(found, problem)


class MessageReader:
    """Reads stored messages for replays.

    The store has a few questions at a time. The others wait here: those of one client in order, and
    the clients take turns. Those of a replay that has ended are forgotten.

    Args:
        store: The store.
        cork: The cork of the server.
        max_memory_bytes: The size of the page cache.

    Attributes:
        pages: The page cache.
    """

    __slots__ = ("_asked", "_cork", "_reading", "_store", "_waiting", "pages")

    def __init__(self, store: Store, cork: Cork, max_memory_bytes: int) -> None:
        self.pages = PageCache(max_memory_bytes)
        self._store = store
        self._cork = cork
        self._reading: dict[tuple[int, int], _Page] = {}
        self._asked = 0
        self._waiting: dict[object, dict[Reader, Callable[[], None]]] = {}

    def get(self, stream: Stream, offset: int) -> KeptMessage | None:
        """Return a message from the page cache, or None; :meth:`load` brings it there."""
        return self.pages.get(stream, offset)

    def load(self, reader: Reader, offset: int) -> None:
        """Read the page that contains a message into the page cache, once for all who wait for it.

        Args:
            reader: Who wants it; :meth:`Reader.loaded` is called.
            offset: The message's offset.
        """
        page = self._reading.get((reader.stream.number, offset // PAGE_MESSAGES))
        if page is not None and offset < page.end:
            page.readers[reader] = offset
        else:
            self._ask(reader, partial(self._load, reader, offset, reader.stream.number))

    def find_time(self, reader: Reader, since_s: float) -> None:
        """Look up the first message of a given time or later.

        Args:
            reader: Who asks; :meth:`Reader.found` is called.
            since_s: The time in seconds since 1970.
        """
        self._ask(reader, partial(self._find_time, reader, since_s))

    def forget(self, reader: Reader) -> None:
        """Forget what a replay has asked for, because it has ended."""
        client = reader.subscription.outbound
        waiting = self._waiting.get(client)
        if waiting is not None and waiting.pop(reader, None) is not None and not waiting:
            del self._waiting[client]
        for page in self._reading.values():
            page.readers.pop(reader, None)

    def _ask(self, reader: Reader, question: Callable[[], None]) -> None:
        """Ask a question now, or when it is its turn."""
        if self._asked < _AT_ONCE and not self._waiting:
            question()
        else:
            self._waiting.setdefault(reader.subscription.outbound, {})[reader] = question

    def _answered(self) -> None:
        """Ask the next question."""
        self._asked -= 1
        while self._waiting and self._asked < _AT_ONCE:
            client = next(iter(self._waiting))
            questions = self._waiting.pop(client)
            question = questions.pop(next(iter(questions)))
            if questions:
                self._waiting[client] = questions
            question()

    def _load(self, reader: Reader, offset: int, number: int) -> None:
        stream = reader.stream
        page = offset // PAGE_MESSAGES
        others = self._reading.get((number, page))
        if others is not None and offset < others.end:
            others.readers[reader] = offset
            return
        is_old = stream.number != number or offset < stream.first
        if is_old or self.get(stream, offset) is not None:
            reader.loaded(offset, "")  # evicted, trimmed, or read meanwhile
            return
        first = max(page * PAGE_MESSAGES, stream.first)
        end = min((page + 1) * PAGE_MESSAGES, stream.next)
        reading = self._reading[number, page] = _Page(end)
        reading.readers[reader] = offset
        self._asked += 1

        def take(rows: Sequence[Row], problem: str) -> None:
            if self._reading.get((number, page)) is reading:
                del self._reading[number, page]
            self._cork.work += _ROW_WORK * len(rows)
            try:
                self._take(stream, (number, page), first, reading, rows, problem)
            finally:
                self._answered()

        self._store.read(number, first, end, take)

    def _take(
        self,
        stream: Stream,
        place: tuple[int, int],
        first: int,
        reading: _Page,
        rows: Sequence[Row],
        problem: str,
    ) -> None:
        """Take what was read, and tell those who wait for it."""
        number, page = place
        if stream.number != number:  # evicted meanwhile: the rows are of the past
            reading.answer(None, "")
            return
        if problem:
            now = self._cork.ticks
            if now - stream.failed_pages.setdefault(page, now) < _PATIENCE_S:
                reading.answer(None, problem)
                return
            # It is no passing trouble: without this page the rest comes, and new messages.
        else:
            stream.failed_pages.pop(page, None)
        readable = set()
        for row in rows:
            try:
                self.pages.put(message_of(row, stream))
                readable.add(row.offset)
            except ProtocolError:
                continue
        if problem:
            stream.damaged_pages.add(page)
        else:
            stream.note_damage(page, max(first, stream.first), reading.end, readable)
        reading.answer(readable, "")

    def _find_time(self, reader: Reader, since_s: float) -> None:
        self._asked += 1

        def done(offset: int | None, problem: str) -> None:
            try:
                reader.found(offset, problem)
            finally:
                self._answered()

        self._store.find(reader.stream.number, since_s, done)
