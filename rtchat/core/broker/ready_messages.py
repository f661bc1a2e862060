"""The messages of a queue that are ready for delivery."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from operator import attrgetter

from rtchat.core.broker.message import Message
from rtchat.core.broker.selection import LOOK_WORK
from rtchat.core.broker.subscription import Entry, Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.frames import Frame

__all__ = ["ReadyMessages"]

_seq_of = attrgetter("seq")
_MANY = 16
_TAKEN = Entry(Message("", "", Frame("")), 0)


class ReadyMessages:
    """Messages that are ready for delivery, by priority, then in their original order.

    Attributes:
        count: The number of messages.
    """

    __slots__ = ("_levels", "count")

    def __init__(self) -> None:
        self._levels: list[_Level] = []  # none of them empty, the highest priority first
        self.count = 0

    def append(self, entries: list[Entry]) -> None:
        """Append messages of the same priority."""
        self._level(entries[0].message.priority).entries += entries
        self.count += len(entries)

    def restore(self, entries: Sequence[Entry]) -> None:
        """Put messages back into their original positions."""
        by_priority: dict[int, list[Entry]] = {}
        for entry in entries:
            by_priority.setdefault(entry.message.priority, []).append(entry)
        for priority, returned in by_priority.items():
            self._level(priority).restore(returned)
            self.count += len(returned)

    def look_again(self, consumer: Subscription, entries: Sequence[Entry]) -> None:
        """Let a consumer with a selector look at restored messages that it has passed."""
        for entry in entries:
            priority = entry.message.priority
            if entry.seq <= consumer.cursors.get(priority, 0):
                heappush(consumer.returned.setdefault(priority, []), entry.seq)
        for priority in [one for one, seqs in consumer.returned.items() if len(seqs) > self.count]:
            # It may not have looked for long. To look at all messages is less now.
            del consumer.returned[priority], consumer.cursors[priority]

    def take_first(self, consumer: Subscription, cork: Cork) -> Entry | None:
        """Remove and return the first message that a consumer wants, or None.

        None also if a selector has to look at more messages than the turn has time for; then it
        goes on where it stopped.
        """
        is_choosy = consumer.options.selector is not None
        for level in self._levels:
            entry = level.search(consumer, cork) if is_choosy else level.take_oldest()
            if entry is not None:
                self.count -= 1
                if level.head == len(level.entries):
                    self._levels.remove(level)
                return entry
            if cork.work >= TURN_WORK:
                return None  # it may not have looked at all of this priority
        return None

    def take_oldest(self) -> Entry | None:
        """Remove and return the message that was sent first, whatever its priority, or None."""
        if not self._levels:
            return None
        level = min(self._levels, key=_Level.oldest_seq)
        entry = level.take_oldest()
        self.count -= 1
        if not len(level):
            self._levels.remove(level)
        return entry

    def take(self, priority: int, seq: int) -> Entry | None:
        """Remove and return a message, or return None if it is not ready."""
        for level in self._levels:
            if level.priority == priority:
                entry = level.take(seq)
                if entry is not None:
                    self.count -= 1
                    if not len(level):
                        self._levels.remove(level)
                return entry
        return None

    def all(self) -> Iterator[Entry]:
        """Return all messages."""
        for level in self._levels:
            yield from islice(level.entries, level.head, None)

    def first_after(self, place: tuple[int, int], last_seq: int) -> Entry | None:
        """Return the first message after a place; the arguments are those of ``Queue``."""
        for level in self._levels:
            if -level.priority >= place[0]:
                seq = place[1] if -level.priority == place[0] else 0
                index = bisect_right(level.entries, seq, level.head, key=_seq_of)
                if index < len(level.entries) and level.entries[index].seq <= last_seq:
                    return level.entries[index]
        return None

    def _level(self, priority: int) -> _Level:
        """Return the level of a priority. A new one is empty: the caller adds a message to it."""
        index = 0
        for level in self._levels:
            if level.priority == priority:
                return level
            index += level.priority > priority
        new = _Level(priority)
        self._levels.insert(index, new)
        return new


class _Level:
    """The ready messages of one priority, in order of ``seq``.

    A list with a moving head: taking the first message is fast, and a consumer with a selector
    finds by bisection where its last search ended.
    """

    __slots__ = ("entries", "head", "priority")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.entries: list[Entry] = []
        self.head = 0

    def __len__(self) -> int:
        return len(self.entries) - self.head

    def restore(self, returned: list[Entry]) -> None:
        # Both lists are sorted; returned messages are usually older than all others.
        entries, head, count = self.entries, self.head, len(returned)
        if not len(self):
            self.entries, self.head = returned, 0
        elif returned[-1].seq < entries[head].seq:
            self.head = max(0, head - count)
            entries[self.head : head] = returned
        elif count * _MANY < len(self):
            for entry in returned:
                insort(entries, entry, head, key=_seq_of)
        else:
            self.entries, self.head = sorted(returned + entries[head:], key=_seq_of), 0

    def oldest_seq(self) -> int:
        return self.entries[self.head].seq

    def take_oldest(self) -> Entry:
        entries, head = self.entries, self.head
        entry = entries[head]
        # Drop the reference: the memory of a removed message is no longer accounted for.
        entries[head] = _TAKEN
        self.head = head = head + 1
        if head > 64 and head * 2 > len(entries):
            del entries[:head]
            self.head = 0
        return entry

    def search(self, consumer: Subscription, cork: Cork) -> Entry | None:
        """Remove and return the first message that a consumer's selector selects, or None."""
        # The messages up to the cursor do not match this consumer's selector, except for returned
        # ones: those did not stand here then, or have another x-delivery-count now.
        returned = consumer.returned.get(self.priority)
        while returned:
            seq = heappop(returned)
            if returned and returned[0] == seq:
                continue  # returned twice since the last look
            index = bisect_left(self.entries, seq, self.head, key=_seq_of)
            entry = self.entries[index] if index < len(self.entries) else _TAKEN
            if entry.seq == seq and consumer.wants(entry.message, entry.deliveries):
                return self._take(index)
            cork.work += LOOK_WORK
            if cork.work >= TURN_WORK:
                return None
        seen = consumer.cursors.get(self.priority, 0)
        start = bisect_right(self.entries, seen, self.head, key=_seq_of)
        for index in range(start, len(self.entries)):
            entry = self.entries[index]
            if consumer.wants(entry.message, entry.deliveries):
                return self._take(index)
            consumer.cursors[self.priority] = entry.seq
            cork.work += LOOK_WORK
            if cork.work >= TURN_WORK:
                return None
        return None

    def take(self, seq: int) -> Entry | None:
        index = bisect_left(self.entries, seq, self.head, key=_seq_of)
        is_here = index < len(self.entries) and self.entries[index].seq == seq
        return self._take(index) if is_here else None

    def _take(self, index: int) -> Entry:
        if index == self.head:
            return self.take_oldest()
        return self.entries.pop(index)
