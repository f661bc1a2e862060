"""Destinations and who listens to them."""

from __future__ import annotations

from collections.abc import Callable

from rtchat.core.frames import Frame
from rtchat.core.message import Message
from rtchat.core.outlet import Cork
from rtchat.core.parser import HeadCache
from rtchat.core.subscription import Subscription
from rtchat.core.topics import Topic
from rtchat.errors import ProtocolError

__all__ = ["Broker"]

_QUEUE_PREFIXES = ("/queue/", "/temp-queue/")


class Broker:
    """An in-memory STOMP broker; all sessions of a server share one.

    Args:
        epoch: Text that no earlier run of the server used (letters and digits); it begins
            session ids and message ids, so that a client never takes a new message for one
            that it knew before a restart.

    Attributes:
        cork: Who has bytes to send at the end of the turn.
        heads: The parsed headers that publishers repeat.
        observers: Called with every message sent to a topic, before it is delivered. They
            must not raise.
    """

    __slots__ = ("_messages", "_sessions", "_topics", "cork", "epoch", "heads", "observers")

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.cork = Cork()
        self.heads = HeadCache()
        self.observers: list[Callable[[Message], None]] = []
        self._topics: dict[str, Topic] = {}
        self._sessions = 0
        self._messages = 0

    @property
    def message_count(self) -> int:
        """How many messages were published since the start."""
        return self._messages

    @property
    def topic_count(self) -> int:
        """How many topics have subscribers now."""
        return len(self._topics)

    @property
    def subscription_count(self) -> int:
        """How many subscriptions there are now."""
        return sum(map(len, self._topics.values()))

    def next_session_id(self) -> str:
        """Give an id that no other session has or had."""
        self._sessions += 1
        return f"{self.epoch}-{self._sessions}"

    def subscribe(self, subscription: Subscription) -> None:
        """Deliver what is published from now on to the subscription.

        Raises:
            ProtocolError: The destination is of a kind this server does not have.
        """
        name = subscription.destination
        _refuse_queue(name)
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name, self.cork)
        topic.add(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; a topic without subscribers disappears."""
        topic = self._topics[subscription.destination]
        topic.remove(subscription)
        if not topic:
            del self._topics[topic.name]

    def publish(self, destination: str, frame: Frame) -> None:
        """Hand a SEND to everyone who listens to its destination.

        Raises:
            ProtocolError: The destination is of a kind this server does not have.
        """
        topic = self._topics.get(destination)
        if topic is None:
            _refuse_queue(destination)
        self._messages += 1
        if topic is None and not self.observers:
            return
        message = Message(f"{self.epoch}-{self._messages}", destination, frame)
        for observe in self.observers:
            observe(message)
        if topic is not None:
            topic.publish(message)


def _refuse_queue(destination: str) -> None:
    if destination.startswith(_QUEUE_PREFIXES):
        raise ProtocolError(
            "queues are not supported by this version",
            f"{destination} is a queue. This server has topics: /topic/NAME.",
        )
