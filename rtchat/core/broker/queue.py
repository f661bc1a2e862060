"""Queues: each message goes to one consumer, and stays until it is acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter

from rtchat.core.broker.expiry import ExpiringMessages
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.message import Message
from rtchat.core.broker.queue_owner import QueueOwner
from rtchat.core.broker.queue_store import NO_STORE, QueueStore
from rtchat.core.broker.ready_messages import ReadyMessages
from rtchat.core.broker.selection import LOOK_WORK
from rtchat.core.broker.subscription import AckMode, Entry, Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK

__all__ = ["Queue"]

_seq_of = attrgetter("seq")
_RETURN_WORK = 4
_HAND_OUT_WORK = 4

_QUEUE_BYTES = 1408
"""What a queue takes, without its name, messages and consumers."""


class Queue:
    """The messages and consumers of one destination.

    Between two calls the queue is *settled*: no consumer with credit could take a message that is
    ready.

    Args:
        name: The destination.
        limits: The capacity, and the number of failed deliveries of a message.
        owner: The broker.
        cork: The cork of the server, whose ``now`` decides which messages have expired.
        store: Stores messages that have to survive the process.
        creator: The id of the session that creates it, or "".

    Attributes:
        bytes: The size of all messages in bytes, unacknowledged ones included.
        creator: As above.
    """

    __slots__ = (
        "_consumers",
        "_cork",
        "_expiring",
        "_held",
        "_leavers",
        "_limits",
        "_owner",
        "_ready",
        "_selecting",
        "_seq",
        "_store",
        "_was_full",
        "bytes",
        "creator",
        "name",
    )

    def __init__(
        self,
        name: str,
        limits: BrokerLimits,
        owner: QueueOwner[Queue],
        cork: Cork,
        store: QueueStore = NO_STORE,
        creator: str = "",
    ) -> None:
        self.name = name
        self.creator = creator
        self.bytes = 0
        self._limits = limits
        self._owner = owner
        self._cork = cork
        self._store = store
        self._seq = 0
        self._held = 0  # number of messages, ready and unacknowledged
        self._ready = ReadyMessages()
        self._consumers: deque[Subscription] = deque()
        self._selecting = 0  # how many of them have a selector
        # Ended subscriptions with deliveries that are not acknowledged; None without any.
        self._leavers: dict[Subscription, None] | None = None
        self._expiring: ExpiringMessages | None = None  # None until there is one
        self._was_full = False
        if store is not NO_STORE:
            self._load()

    @property
    def cost_bytes(self) -> int:
        """What the queue takes without messages."""
        return _QUEUE_BYTES + len(self.name)

    def __len__(self) -> int:
        """Return the number of messages, unacknowledged ones included."""
        return self._held

    @property
    def last_seq(self) -> int:
        """The sequence number of the latest message."""
        return self._seq

    def first_after(self, place: tuple[int, int], last_seq: int) -> Entry | None:
        """Return the first ready message after a place, without taking it, or None.

        A place is the negative priority, and the sequence number; ``last_seq`` is the largest.
        """
        return self._ready.first_after(place, last_seq)

    @property
    def consumer_count(self) -> int:
        """The number of consumers."""
        return len(self._consumers)

    @property
    def is_emptied(self) -> bool:
        """Whether consumers take out what is put in."""
        return bool(self._consumers)

    @property
    def is_full(self) -> bool:
        """Whether publishers have to wait. If so, the owner is notified of capacity later."""
        limits = self._limits
        self._was_full = (
            self._held >= limits.max_queue_messages or self.bytes >= limits.max_queue_bytes
        )
        return self._was_full

    @property
    def is_doubly_full(self) -> bool:
        """Whether it holds twice what it may: then no session may exceed its limits further."""
        limits = self._limits
        return (
            self._held >= 2 * limits.max_queue_messages or self.bytes >= 2 * limits.max_queue_bytes
        )

    def would_be_over(self, count: int, size: int) -> bool:
        """Return whether more messages and bytes, less those that go, would be over twice that."""
        limits = self._limits
        return (count > 0 and self._held + count > 2 * limits.max_queue_messages) or (
            size > 0 and self.bytes + size > 2 * limits.max_queue_bytes
        )

    @property
    def unacknowledged(self) -> int:
        """The number of messages that are delivered, and neither acknowledged nor returned."""
        return self._held - self._ready.count

    def capacity_for(self, size: int) -> int:
        """Return how many messages of a size in bytes :meth:`put_run` may take; 0 if none."""
        if self._store is not NO_STORE:
            return 0
        limits = self._limits
        by_bytes = -((self.bytes - limits.max_queue_bytes) // size)
        return max(0, min(limits.max_queue_messages - self._held, by_bytes))

    # Messages

    def put(self, message: Message) -> None:
        """Add a message. The caller has checked ``is_full``; the queue does not."""
        self._seq += 1
        size = message.size
        entry = Entry(message, self._seq, size)
        self._held += 1
        self.bytes += size
        self._owner.account(size, self)
        if self._store is not NO_STORE and self._store.keeps(self.name, message):
            self._store.append(self.name, entry.seq, message, partial(self._restore, [entry]))
            return
        if not self._ready.count:
            # The queue is settled, so only this message needs a consumer.
            consumer = self._next_consumer(entry)
            if consumer is not None:
                self._hand_out(entry, consumer)
                return
            self._ready.append([entry])
        else:
            self._ready.append([entry])
            if self._selecting:
                self.dispatch()  # a consumer may have passed over all others
        if "expires" in message.frame.headers:
            self._note_expiry([entry])

    def put_run(self, messages: list[Message]) -> None:
        """Add several messages with the same head and size, as :meth:`capacity_for` allows."""
        size = messages[0].size
        first = self._seq + 1
        entries = [Entry(message, seq, size) for seq, message in enumerate(messages, first)]
        count = len(entries)
        self._seq += count
        self._held += count
        self.bytes += size * count
        self._owner.account(size * count, self)
        self._ready.append(entries)
        self.dispatch()

    def acknowledged(self, entries: Sequence[Entry], consumer: Subscription) -> None:
        """Remove messages that were acknowledged."""
        self._forget(entries)
        if self._leavers is not None:
            self.forget_leavers(consumer)
        if self._ready.count:
            self._serve_alone(consumer)
        elif not self._held:
            self._report_if_unused()

    def returned(
        self, entries: Sequence[Entry], *, requeue: bool, consumer: Subscription | None = None
    ) -> None:
        """Restore messages to their original positions, or reject them.

        Args:
            entries: The messages, in any order.
            requeue: Whether they may be redelivered.
            consumer: The one that returns them; None if it has ended, or there are several.
        """
        self.forget_leavers(consumer)
        kept = self.keep_or_reject(sorted(entries, key=_seq_of), requeue=requeue)
        self.take_back(kept, consumer)

    def keep_or_reject(self, entries: list[Entry], *, requeue: bool) -> list[Entry]:
        """Count returned messages as delivered; reject some, and return the others."""
        kept = []
        limit = self._limits.max_deliveries
        self._cork.work += len(entries) * _RETURN_WORK
        for entry in entries:
            entry.deliveries += 1
            is_over = not requeue or (limit and entry.failures >= limit)
            tries = entry.failures if requeue else 0
            if is_over and self._owner.queue_rejected(self, entry.message, tries=tries):
                self._forget([entry])
            else:
                kept.append(entry)
        return kept

    def take_back(self, kept: list[Entry], consumer: Subscription | None = None) -> None:
        """Restore what was not rejected; the consumer is the one that returns it, if it is one."""
        if kept:
            self._restore(kept, consumer)
        elif consumer is None:
            self.dispatch()
        else:
            self._serve_alone(consumer)
        self._report_if_unused()

    def drop_oldest(self) -> bool:
        """Remove the oldest message that no consumer has; return whether there was one."""
        entry = self._ready.take_oldest()
        if entry is None:
            return False
        self._forget([entry])
        return True

    def expire(self) -> float:
        """Remove expired messages, which may have no consumer that would find them.

        Returns:
            When the next of those that are left expires, in seconds since 1970; 0 if none does.
        """
        expiring = self._expiring
        if expiring is None:
            return 0.0
        expired = expiring.take_expired()
        if expired:
            self._forget(expired)
            self._report_if_unused()
        return expiring.next_s if self._ready.count else 0.0

    # Consumers

    def add(self, consumer: Subscription) -> None:
        """Add a subscription to the consumers; call :meth:`dispatch` afterwards."""
        consumer.source = self
        consumer.is_consuming = True
        self._consumers.append(consumer)
        self._selecting += consumer.options.selector is not None

    def remove(self, consumer: Subscription) -> None:
        """Remove a consumer; its unacknowledged messages stay with its session."""
        self._consumers.remove(consumer)
        consumer.is_consuming = False
        self._selecting -= consumer.options.selector is not None
        if consumer.pending or consumer.reserved:
            self._leavers = self._leavers or {}
            self._leavers[consumer] = None
        self._report_if_unused()

    def holders(self) -> Iterator[Subscription]:
        """Return the subscriptions that may have deliveries; some of them have ended."""
        return chain(self._consumers, self._leavers or ())

    def on_drain(self) -> None:
        """Continue: a consumer's outbound is writable again."""
        if self._cork.work >= TURN_WORK:
            self._cork.put_off(self.dispatch)
        else:
            self.dispatch()

    def dispatch(self) -> None:
        """Deliver ready messages to consumers with credit, round robin."""
        # Not re-entrant: outbounds only gather bytes, and paused sources are resumed at the end
        # of the turn. So a consumer that cannot take a message now cannot take one until then.
        ready, consumers = self._ready, self._consumers
        able: list[Subscription] = []
        last = None
        for _ in range(len(consumers)):
            if not ready.count:
                return
            consumer = consumers[0]
            consumers.rotate(-1)
            if self._serve(consumer, 1):
                able.append(consumer)
                last = consumer
        while able and ready.count:
            still_able = []
            # Usually one consumer is left, which has just sent ACKs: use all its credit.
            most = ready.count
            if len(able) > 1:
                most = 1
                self._cork.work += len(able) * _HAND_OUT_WORK
                if self._cork.work >= TURN_WORK:
                    self._cork.put_off(self.dispatch)
                    break
            for consumer in able:
                served = self._serve(consumer, most) if ready.count else 0
                if served:
                    last = consumer
                if served == most:
                    still_able.append(consumer)
            able = still_able
        if last is not None:
            consumers.rotate(-1 - consumers.index(last))

    def _serve_alone(self, consumer: Subscription) -> None:
        """Deliver ready messages to the only consumer that may have got credit."""
        # Not to those of an ended subscription: it is no consumer any more.
        if consumer.is_consuming and self._serve(consumer, self._ready.count):
            consumers = self._consumers
            if len(consumers) > 1:
                consumers.rotate(-1 - consumers.index(consumer))

    def _serve(self, consumer: Subscription, most: int) -> int:
        """Deliver up to ``most`` messages to a consumer; return their number."""
        most = min(most, consumer.credit)
        outbound, ready, cork = consumer.outbound, self._ready, self._cork
        for count in range(most):
            if not outbound.is_writable_for(self):
                cork.work += count * _HAND_OUT_WORK
                return count
            entry = ready.take_first(consumer, cork)
            while entry is not None and entry.message.is_expired(cork.now):
                self._forget([entry])
                cork.work += LOOK_WORK
                entry = ready.take_first(consumer, cork) if cork.work < TURN_WORK else None
            if entry is None:
                if cork.work >= TURN_WORK and ready.count:
                    cork.put_off(self.dispatch)  # it may not have looked at all
                return count
            self._hand_out(entry, consumer)
        return max(0, most)

    def _next_consumer(self, entry: Entry) -> Subscription | None:
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.is_ready_for(self) and (
                consumer.options.selector is None or consumer.wants(entry.message)
            ):
                return consumer
        return None

    def _hand_out(self, entry: Entry, consumer: Subscription) -> None:
        consumer.deliver(entry)
        if consumer.options.ack is AckMode.AUTO:
            # "the server will assume the client has received the message as soon as it sends it"
            self._forget([entry])

    def _forget(self, entries: Sequence[Entry]) -> None:
        size = sum([entry.size for entry in entries])
        self._held -= len(entries)
        self.bytes -= size
        self._owner.account(-size)
        if self._store is not NO_STORE:
            self._store.remove(self.name, [entry.seq for entry in entries])
        if self._was_full:
            self._was_full = False
            if not self.is_full:
                self._owner.queue_drained(self)

    def forget_leavers(self, consumer: Subscription | None = None) -> None:
        """Forget ended subscriptions whose deliveries are all acknowledged or returned.

        Args:
            consumer: The only one to look at; None to look at all.
        """
        if self._leavers is not None:
            for one in list(self._leavers) if consumer is None else [consumer]:
                if not (one.pending or one.reserved):
                    self._leavers.pop(one, None)
            self._leavers = self._leavers or None

    def _report_if_unused(self) -> None:
        if not self._held and not self._consumers:
            self._owner.queue_is_unused(self)

    def _restore(self, entries: Sequence[Entry], returning: Subscription | None = None) -> None:
        """Make messages ready again, in their original order, and deliver what can be delivered."""
        was_settled = self._ready.count > 0
        self._ready.restore(entries)
        self._note_expiry(entries)
        if self._selecting:
            for consumer in self._consumers:
                if consumer.cursors:
                    self._ready.look_again(consumer, entries)
        elif was_settled and returning is not None:
            self._serve_alone(returning)  # no other could take what was ready before
            return
        self.dispatch()

    def _note_expiry(self, entries: Sequence[Entry]) -> None:
        """Note when messages that are ready expire, if they do."""
        some = [entry for entry in entries if "expires" in entry.message.frame.headers]
        if some:
            if self._expiring is None:
                self._expiring = ExpiringMessages(self._ready, self._cork)
            self._expiring.add(some)
            if self._expiring.next_s:
                self._owner.queue_expires(self, self._expiring.next_s)

    def _load(self) -> None:
        """Add the messages in the store as ready."""
        for seq, message in self._store.load(self.name):
            entry = Entry(message, seq, message.size)
            self._seq = max(self._seq, seq)
            self._held += 1
            self.bytes += entry.size
            self._owner.account(entry.size)
            self._ready.append([entry])
            self._note_expiry([entry])
