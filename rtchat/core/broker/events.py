"""Events of a broker, for the message log, the operator's log, presence, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.subscription import Subscription

__all__ = ["BrokerEvents", "Events", "HeldByQueue"]


class HeldByQueue(NamedTuple):
    """What a queue holds.

    Attributes:
        destination: The queue.
        messages: The number of messages in it.
        bytes: The size of these messages in bytes.
        consumers: The number of its consumers.
    """

    destination: str
    messages: int
    bytes: int
    consumers: int


class BrokerEvents:
    """The base class of listeners; by default each event is ignored.

    Methods must not raise, and must return quickly: they run within a turn of the broker.
    """

    def subscribed(self, subscription: Subscription) -> None:
        """Called when a subscription has begun."""

    def unsubscribed(self, subscription: Subscription) -> None:
        """Called when a subscription ends."""

    def published(self, message: Message) -> None:
        """Called for a message to a topic, right before it is delivered."""

    def retention_changed(self, destination: str) -> None:
        """Called when a destination gets its first stored message or loses its last one."""

    def rights_changed(self, principal: Principal) -> None:
        """Called when a session has got other rights."""

    def queue_full(self, destination: str, messages: int, size: int) -> None:
        """Called when a queue is full; its publishers are paused until there is capacity.

        Args:
            destination: The queue.
            messages: The number of messages in the queue.
            size: The size of these messages in bytes.
        """

    def queue_drained(self, destination: str, messages: int, size: int) -> None:
        """Called when a full queue has capacity again; the arguments are those of queue_full."""

    def dead_lettered(self, destination: str, messages: int, size: int) -> None:
        """Called when a message was moved to a dead-letter queue.

        Args:
            destination: The dead-letter queue.
            messages: The number of messages in it.
            size: The size of these messages in bytes.
        """

    def dead_letters_dropped(self, destination: str, count: int, messages: int, size: int) -> None:
        """Called when a full dead-letter queue has lost messages to make room for another.

        Args:
            destination: The dead-letter queue.
            count: How many it has lost.
            messages: The number of messages in it.
            size: The size of these messages in bytes.
        """

    def memory_short(self, used: int, max_bytes: int, largest: Sequence[HeldByQueue]) -> None:
        """Called when memory is nearly used up; again only after much of it was free.

        Args:
            used: How many bytes the server holds.
            max_bytes: How many it may hold.
            largest: The largest queues, if queues are among the reasons.
        """


class Events:
    """The listeners of one broker, by event.

    An event that no listener overrides costs nothing but a look at an empty list.

    Attributes:
        unusual: Empty while a SEND to a topic needs nothing but its delivery: there is no listener
            to ``published``, and nothing else that put itself in here.
    """

    __slots__ = (
        "dead_lettered",
        "dead_letters_dropped",
        "memory_short",
        "published",
        "queue_drained",
        "queue_full",
        "retention_changed",
        "rights_changed",
        "subscribed",
        "unsubscribed",
        "unusual",
    )

    def __init__(self) -> None:
        self.subscribed: list[Callable[[Subscription], None]] = []
        self.unsubscribed: list[Callable[[Subscription], None]] = []
        self.published: list[Callable[[Message], None]] = []
        self.unusual: dict[object, None] = {}
        self.retention_changed: list[Callable[[str], None]] = []
        self.rights_changed: list[Callable[[Principal], None]] = []
        self.queue_full: list[Callable[[str, int, int], None]] = []
        self.queue_drained: list[Callable[[str, int, int], None]] = []
        self.dead_lettered: list[Callable[[str, int, int], None]] = []
        self.dead_letters_dropped: list[Callable[[str, int, int, int], None]] = []
        self.memory_short: list[Callable[[int, int, Sequence[HeldByQueue]], None]] = []

    def add(self, listener: BrokerEvents) -> None:
        """Add a listener, for the events whose methods it overrides; called in order of adding."""
        for event in _EVENTS:
            if getattr(type(listener), event) is not getattr(BrokerEvents, event):
                getattr(self, event).append(getattr(listener, event))
        if self.published:
            self.unusual[self] = None


_EVENTS = tuple(name for name in Events.__slots__ if name != "unusual")
