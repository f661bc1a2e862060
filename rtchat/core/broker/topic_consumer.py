"""Consumers of topics: subscriptions that acknowledge or may lag, and so have a backlog."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from rtchat.core.broker.message import Message
from rtchat.core.broker.subscription import Entry, SlowPolicy, Subscription
from rtchat.core.flow.outbound import NOT_WATCHED, Cork

__all__ = ["TopicConsumer"]


class TopicConsumer:
    """The backlog of one subscription to a topic.

    Messages are delivered while the subscriber has credit (``prefetch-count``) and its outbound is
    writable. Other messages are added to the backlog; when it is too large, the subscription's
    ``x-slow`` decides what happens.

    Args:
        subscription: The subscription.
        max_bytes: The largest backlog in bytes.
        account: Called with each change in the size of the backlog in bytes.
        cork: The cork of the server, whose ``now`` decides which messages have expired.
    """

    __slots__ = (
        "_account",
        "_cork",
        "_dropped",
        "_entries",
        "_max_bytes",
        "_seq",
        "_waiting_bytes",
        "subscription",
    )

    def __init__(
        self,
        subscription: Subscription,
        max_bytes: int,
        account: Callable[[int], None],
        cork: Cork,
    ) -> None:
        self.subscription = subscription
        subscription.gives_back = False
        self._max_bytes = max_bytes
        self._account = account
        self._cork = cork
        self._entries: OrderedDict[str | int, Entry] = OrderedDict()
        self._waiting_bytes = 0
        self._dropped = 0
        self._seq = 0

    @property
    def waiting_bytes(self) -> int:
        """The size of the backlog in bytes."""
        return self._waiting_bytes

    def offer(self, message: Message) -> None:
        """Deliver the topic's next message, or add it to the backlog."""
        self._seq += 1
        entry = Entry(message, self._seq)
        self.dispatch()
        if not self._entries and self.subscription.is_ready_for(self):
            self._deliver(entry)
        else:
            self._enqueue(entry)

    def dispatch(self) -> None:
        """Deliver messages of the backlog while the subscriber has credit and capacity."""
        while self._entries and self.subscription.is_ready_for(self):
            _, entry = self._entries.popitem(last=False)
            self._count(-entry.message.size)
            outbound = self.subscription.outbound
            if not self._entries and outbound.watched_bytes != NOT_WATCHED:
                outbound.cork.woken[outbound.on_backlog] = None
            if not entry.message.is_expired(self._cork.now):
                self._deliver(entry)

    def on_drain(self) -> None:
        """Continue: the outbound is writable again."""
        self.dispatch()

    def close(self) -> None:
        """Drop the backlog: the subscription has ended."""
        self._entries.clear()
        self._count(-self._waiting_bytes)
        self.subscription.outbound.paused_sources.pop(self, None)

    def acknowledged(self, entries: Sequence[Entry], consumer: Subscription) -> None:
        """Continue: acknowledgements give the subscriber more credit."""
        self.subscription.hold(-len(entries))
        self.dispatch()

    def returned(
        self, entries: Sequence[Entry], *, requeue: bool, consumer: Subscription | None = None
    ) -> None:
        """Continue: a topic redelivers no message."""
        self.subscription.hold(-len(entries))
        self.dispatch()

    def _deliver(self, entry: Entry) -> None:
        dropped, self._dropped = self._dropped, 0
        self.subscription.deliver(entry, dropped)

    def _enqueue(self, entry: Entry) -> None:
        policy = self.subscription.options.slow
        key: str | int = entry.seq
        if policy is SlowPolicy.LATEST:
            message = entry.message
            key = message.frame.headers.get("x-key") or message.destination
            replaced = self._entries.pop(key, None)
            if replaced is not None:
                self._drop(replaced)
        self._entries[key] = entry
        self._count(entry.message.size)
        if policy is SlowPolicy.CLOSE:
            outbound = self.subscription.outbound
            if self._waiting_bytes > self._max_bytes and len(self._entries) > 1:
                outbound.overflow(self._waiting_bytes)
            elif self._waiting_bytes > outbound.watched_bytes:
                outbound.cork.woken[outbound.on_backlog] = None
            return
        while self._waiting_bytes > self._max_bytes and len(self._entries) > 1:
            _, oldest = self._entries.popitem(last=False)
            self._drop(oldest)

    def _drop(self, entry: Entry) -> None:
        self._dropped += 1
        self._count(-entry.message.size)

    def _count(self, change: int) -> None:
        self._waiting_bytes += change
        self._account(change)
