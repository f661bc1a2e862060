"""A queue: every message goes to one consumer, and is kept until it has been dealt with."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Protocol

from rtchat.core.frames import Frame
from rtchat.core.limits import BrokerLimits
from rtchat.core.message import Message
from rtchat.core.subscription import AckMode, Entry, Subscription

__all__ = ["Queue", "QueueOwner"]

_PRIORITIES = range(9, -1, -1)
_seq_of = attrgetter("seq")
_TAKEN = Entry(Message("", "", Frame("")), 0)


class QueueOwner(Protocol):
    """What a queue asks of the broker."""

    now: float
    """The time in seconds since 1970."""

    def queue_has_room(self, queue: Queue) -> None:
        """It was full and no longer is."""

    def queue_is_unused(self, queue: Queue) -> None:
        """Neither messages nor consumers are left."""

    def queue_rejected(self, queue: Queue, message: Message, *, tries: int) -> bool:
        """A message was refused, or tried too often (``tries``); False if it has to stay."""

    def account(self, change: int) -> None:
        """So many bytes more are held, or fewer."""


class Queue:
    """One destination's messages and consumers.

    Between two calls it is *settled*: no message that is ready could go to a consumer that has
    credit for it.

    Args:
        name: The destination.
        limits: When it is full, and how often a message is tried.
        owner: Who wants to know what happens.

    Attributes:
        bytes: How much it holds, unacknowledged messages included.
    """

    __slots__ = (
        "_consumers",
        "_held",
        "_limits",
        "_owner",
        "_ready",
        "_seq",
        "_was_full",
        "bytes",
        "name",
    )

    def __init__(self, name: str, limits: BrokerLimits, owner: QueueOwner) -> None:
        self.name = name
        self.bytes = 0
        self._limits = limits
        self._owner = owner
        self._seq = 0
        self._held = 0  # ready and unacknowledged
        self._ready = _Ready()
        self._consumers: deque[Subscription] = deque()
        self._was_full = False

    def __len__(self) -> int:
        """How many messages it holds, unacknowledged ones included."""
        return self._held

    @property
    def consumer_count(self) -> int:
        """How many subscriptions take from it."""
        return len(self._consumers)

    @property
    def is_full(self) -> bool:
        """Whether publishers have to wait; the owner hears when they need not any more."""
        limits = self._limits
        self._was_full = (
            self._held >= limits.max_queue_messages or self.bytes >= limits.max_queue_bytes
        )
        return self._was_full

    # Messages

    def put(self, message: Message) -> None:
        """Take a message; full or not, whoever asked ``is_full`` decides that."""
        self._seq += 1
        entry = Entry(message, self._seq)
        entry.size = size = message.size
        self._held += 1
        self.bytes += size
        self._owner.account(size)
        if not self._ready.count:
            # The settled state needs nothing more than a consumer for this one.
            consumer = self._next_consumer(entry)
            if consumer is not None:
                self._hand_out(entry, consumer)
                return
        self._ready.append(entry)
        self.dispatch()

    def acknowledged(self, entries: Sequence[Entry]) -> None:
        """Forget messages that a consumer is done with."""
        for entry in entries:
            self._forget(entry)
        if self._ready.count:
            self.dispatch()
        elif not self._held:
            self._leave_if_unused()

    def returned(self, entries: Sequence[Entry], *, requeue: bool) -> None:
        """Take back messages into their original places, or give them up."""
        kept = []
        limit = self._limits.max_deliveries
        for entry in sorted(entries, key=_seq_of):
            entry.deliveries += 1
            is_over = not requeue or (limit and entry.deliveries >= limit)
            tries = entry.deliveries if requeue else 0
            if is_over and self._owner.queue_rejected(self, entry.message, tries=tries):
                self._forget(entry)
            else:
                kept.append(entry)
        if kept:
            self._ready.restore(kept)
            for consumer in self._consumers:
                consumer.cursors.clear()
        self.dispatch()
        self._leave_if_unused()

    def expire(self) -> None:
        """Drop the messages whose time is over; nobody may be there to take them."""
        now = self._owner.now
        for entry in self._ready.remove_if(lambda entry: entry.message.is_expired(now)):
            self._forget(entry)
        self._leave_if_unused()

    # Consumers

    def add(self, consumer: Subscription) -> None:
        """Let a subscription take part."""
        consumer.source = self
        self._consumers.append(consumer)
        self.dispatch()

    def remove(self, consumer: Subscription) -> None:
        """Let it take no further part; what it has not acknowledged is returned afterwards."""
        self._consumers.remove(consumer)
        self._leave_if_unused()

    def pump(self) -> None:
        """A consumer's connection has room again."""
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out what can be handed out, round robin."""
        # Nothing that this calls comes back here: outlets gather, and whoever waits is woken at
        # the end of the turn.
        while self._ready.count and self._dispatch_one():
            pass

    def _dispatch_one(self) -> bool:
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if not self._may_take(consumer):
                continue
            entry = self._take_first(consumer)
            if entry is not None:
                self._hand_out(entry, consumer)
                return True
        return False

    def _take_first(self, consumer: Subscription) -> Entry | None:
        """Give the first message the consumer wants; drop those whose time is over."""
        while True:
            entry = self._ready.take_first(consumer)
            if entry is None or not entry.message.is_expired(self._owner.now):
                return entry
            self._forget(entry)

    def _next_consumer(self, entry: Entry) -> Subscription | None:
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if self._may_take(consumer) and (
                consumer.terms.selector is None or consumer.wants(entry.message)
            ):
                return consumer
        return None

    def _hand_out(self, entry: Entry, consumer: Subscription) -> None:
        consumer.deliver(entry)
        if consumer.terms.ack is AckMode.AUTO:
            # "the server will assume the client has received the message as soon as it sends it"
            self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        size = entry.size
        self._held -= 1
        self.bytes -= size
        self._owner.account(-size)
        if self._was_full:
            self._was_full = False
            if not self.is_full:
                self._owner.queue_has_room(self)

    def _leave_if_unused(self) -> None:
        if not self._held and not self._consumers:
            self._owner.queue_is_unused(self)

    def _may_take(self, consumer: Subscription) -> bool:
        if not consumer.has_credit:
            return False
        if consumer.outlet.has_room:
            return True
        consumer.outlet.waiters[self] = None
        return False


class _Ready:
    """Messages that wait for a consumer: by priority, then in their original order."""

    __slots__ = ("_levels", "count")

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}
        self.count = 0

    def append(self, entry: Entry) -> None:
        priority = entry.message.priority
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level()
        level.entries.append(entry)
        self.count += 1

    def restore(self, entries: Sequence[Entry]) -> None:
        by_priority: dict[int, list[Entry]] = {}
        for entry in entries:
            by_priority.setdefault(entry.message.priority, []).append(entry)
        for priority, returned in by_priority.items():
            level = self._levels.get(priority)
            if level is None:
                level = self._levels[priority] = _Level()
            level.restore(returned)
            self.count += len(returned)

    def take_first(self, consumer: Subscription) -> Entry | None:
        for priority in _PRIORITIES:
            level = self._levels.get(priority)
            if level is None:
                continue
            entry = level.take_first(consumer, priority)
            if entry is not None:
                self.count -= 1
                if not len(level):
                    del self._levels[priority]
                return entry
        return None

    def remove_if(self, is_over: Callable[[Entry], bool]) -> list[Entry]:
        removed: list[Entry] = []
        for priority, level in list(self._levels.items()):
            removed += level.remove_if(is_over)
            if not len(level):
                del self._levels[priority]
        self.count -= len(removed)
        return removed


class _Level:
    """The messages of one priority, in order of ``seq``.

    A list with a moving head: taking the first is quick, and a consumer with a selector finds
    where it stopped looking by bisection.
    """

    __slots__ = ("entries", "head")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.head = 0

    def __len__(self) -> int:
        return len(self.entries) - self.head

    def restore(self, returned: list[Entry]) -> None:
        # Both are in order; usually what comes back is older than all that waits.
        waiting = self.entries[self.head :]
        if not waiting or returned[-1].seq < waiting[0].seq:
            self.entries = returned + waiting
        else:
            self.entries = sorted(returned + waiting, key=_seq_of)
        self.head = 0

    def take_first(self, consumer: Subscription, priority: int) -> Entry | None:
        if consumer.terms.selector is None:
            entry = self.entries[self.head]
            self._drop_head()
            return entry
        # Whatever stands up to the cursor was looked at and is not for this consumer.
        seen = consumer.cursors.get(priority, 0)
        start = bisect_right(self.entries, seen, self.head, key=_seq_of)
        for index in range(start, len(self.entries)):
            entry = self.entries[index]
            if consumer.wants(entry.message, entry.deliveries):
                if index == self.head:
                    self._drop_head()
                else:
                    del self.entries[index]
                return entry
            consumer.cursors[priority] = entry.seq
        return None

    def remove_if(self, is_over: Callable[[Entry], bool]) -> list[Entry]:
        removed = [entry for entry in self.entries[self.head :] if is_over(entry)]
        if removed:
            self.entries = [entry for entry in self.entries[self.head :] if not is_over(entry)]
            self.head = 0
        return removed

    def _drop_head(self) -> None:
        # What is gone must not be held here any longer, uncounted.
        self.entries[self.head] = _TAKEN
        self.head += 1
        if self.head > 64 and self.head * 2 > len(self.entries):
            del self.entries[: self.head]
            self.head = 0
