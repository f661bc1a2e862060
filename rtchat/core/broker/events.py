"""What happens in a broker: the seam for the message log, the operator's log, presence, metrics."""

from __future__ import annotations

from collections.abc import Callable

from rtchat.core.broker.message import Message
from rtchat.core.broker.subscription import Subscription

__all__ = ["BrokerEvents", "Events"]


class BrokerEvents:
    """Everything a listener may want to hear; each method does nothing until it is overridden.

    Methods must not raise, and must return quickly: they run within a turn of the broker.
    """

    def subscribed(self, subscription: Subscription) -> None:
        """A subscription takes part from now on."""

    def unsubscribed(self, subscription: Subscription) -> None:
        """A subscription takes part no longer."""

    def published(self, message: Message) -> None:
        """A message goes to a topic, right before it is delivered."""

    def retention_changed(self, destination: str) -> None:
        """Messages of a destination are kept for the first time, or none is any longer."""

    def queue_full(self, destination: str, messages: int, size: int) -> None:
        """A queue is full; its publishers are not read until there is capacity.

        Args:
            destination: The queue.
            messages: How many it holds.
            size: How many bytes it holds.
        """

    def queue_drained(self, destination: str, messages: int, size: int) -> None:
        """A queue that was full takes messages again; the arguments are those of queue_full."""

    def dead_lettered(self, destination: str, messages: int, size: int) -> None:
        """A message was moved to this dead-letter queue."""


class Events:
    """The listeners of one broker, by what they listen to.

    What no listener overrides costs nothing: its list is empty, and the broker looks at the list.
    """

    __slots__ = (
        "dead_lettered",
        "published",
        "queue_drained",
        "queue_full",
        "retention_changed",
        "subscribed",
        "unsubscribed",
    )

    def __init__(self) -> None:
        self.subscribed: list[Callable[[Subscription], None]] = []
        self.unsubscribed: list[Callable[[Subscription], None]] = []
        self.published: list[Callable[[Message], None]] = []
        self.retention_changed: list[Callable[[str], None]] = []
        self.queue_full: list[Callable[[str, int, int], None]] = []
        self.queue_drained: list[Callable[[str, int, int], None]] = []
        self.dead_lettered: list[Callable[[str, int, int], None]] = []

    def add(self, listener: BrokerEvents) -> None:
        """Call the listener for each event whose method it overrides, after those before it."""
        for event in self.__slots__:
            if getattr(type(listener), event) is not getattr(BrokerEvents, event):
                getattr(self, event).append(getattr(listener, event))
