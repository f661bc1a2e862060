"""A topic: every subscriber gets each message, nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

from rtchat.core.broker.encoder import Encoder, selectable_headers
from rtchat.core.broker.message import Message
from rtchat.core.broker.subscription import Entry, Subscription
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.flow.outbound import RAW, Cork, Framing, OutboundGroup
from rtchat.core.stomp.frames import Frame

if TYPE_CHECKING:
    from rtchat.core.selector.selector import Selector

__all__ = ["Topic"]


class _Key(NamedTuple):
    """Subscriptions with equal keys receive byte-identical deliveries."""

    encoder: Hashable
    framing: Framing
    selector: str


class Topic:
    """The subscribers of one destination, or of one pattern.

    Subscriptions whose MESSAGE frames are the same to the byte (same subscription id, same
    version, same wire) form a group: a message is encoded once per group. Those that
    acknowledge, or may lag, are served one by one.

    Args:
        name: The destination or pattern.
        cork: Where the groups register for the end of the turn.
        new_consumer: Makes the feed of a subscription that is served by itself.
    """

    __slots__ = ("_consumers", "_cork", "_groups", "_new_consumer", "_selecting", "name")

    def __init__(
        self, name: str, cork: Cork, new_consumer: Callable[[Subscription], TopicConsumer]
    ) -> None:
        self.name = name
        self._cork = cork
        self._new_consumer = new_consumer
        self._groups: dict[_Key, _Group] = {}
        self._consumers: dict[Subscription, TopicConsumer] = {}
        self._selecting = 0  # groups with a selector

    def __len__(self) -> int:
        return len(self._consumers) + sum(len(group.members) for group in self._groups.values())

    def add(self, subscription: Subscription) -> None:
        """Deliver to the subscription from now on."""
        if not subscription.is_plain:
            consumer = self._new_consumer(subscription)
            subscription.source = consumer
            self._consumers[subscription] = consumer
            return
        key = _key_of(subscription)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self._cork, subscription)
            self._selecting += group.selector is not None
        group.add(subscription.outbound)

    def remove(self, subscription: Subscription) -> None:
        """Deliver no further message to the subscription."""
        consumer = self._consumers.pop(subscription, None)
        if consumer is not None:
            consumer.close()
            return
        key = _key_of(subscription)
        group = self._groups[key]
        group.remove(subscription.outbound)
        if not group.members:
            del self._groups[key]
            self._selecting -= group.selector is not None

    @property
    def is_uniform(self) -> bool:
        """Whether every subscriber gets every message as it is, so that runs may be published."""
        return not self._consumers and not self._selecting

    def publish_run(self, stem: str, first: int, frame: Frame, bodies: list[bytes]) -> None:
        """Hand several messages with the same head to every subscriber, if they are uniform.

        Args:
            stem: What the messages' ids begin with.
            first: The number that the first id ends with; the others follow.
            frame: The first one's SEND, with a ``content-length`` that all of them share.
            bodies: The messages' bodies.
        """
        for group in self._groups.values():
            around = group.encoder.around(Message("", self.name, frame), stem)
            if around is None:
                for number, body in enumerate(bodies, first):
                    each = Frame(frame.command, frame.headers, body, frame.head)
                    self._send(group, Message(f"{stem}{number}", self.name, each))
                continue
            start, end = around
            header = self._header_of_all(group.framing, start, first, end, bodies)
            if header:
                start = header + start
            messages = [
                b"%b%d%b%b\0" % (start, number, end, body)
                for number, body in enumerate(bodies, first)
            ]
            if header is None:
                messages = list(map(group.framing.wrap, messages))
            group.send(messages)

    @staticmethod
    def _send(group: _Group, message: Message) -> None:
        data = group.encode(message)
        group.send([data if group.wrap is None else group.wrap(data)])

    @staticmethod
    def _header_of_all(
        framing: Framing, start: bytes, first: int, end: bytes, bodies: list[bytes]
    ) -> bytes | None:
        """Give what the wire puts before each message of a run, if that is the same for all."""
        digits = len(str(first))
        if framing is not RAW and digits != len(str(first + len(bodies) - 1)):
            return None
        length = len(start) + digits + len(end) + len(bodies[0]) + 1
        return framing.header_of_all(length, [start, end, *bodies])

    def publish(self, message: Message) -> None:
        """Hand the message to every subscriber."""
        for group in self._groups.values():
            if group.selector is None or group.selector.matches(selectable_headers(message)):
                data = group.encode(message)
                group.send([data if group.wrap is None else group.wrap(data)])
        if self._consumers:
            # A feed that overflows ends its session, and with it other feeds of this topic.
            for subscription, consumer in list(self._consumers.items()):
                if subscription in self._consumers and subscription.wants(message):
                    consumer.offer(message)

    def publish_to(self, subscription: Subscription, message: Message) -> None:
        """Hand the message to one subscriber alone, in order with what all get."""
        if not subscription.wants(message):
            return
        consumer = self._consumers.get(subscription)
        if consumer is not None:
            consumer.offer(message)
        else:
            subscription.deliver(Entry(message, 0))


class _Group(OutboundGroup):
    """Subscriptions of a topic with equal keys."""

    __slots__ = ("encode", "encoder", "framing", "selector", "wrap")

    def __init__(self, cork: Cork, subscription: Subscription) -> None:
        super().__init__(cork)
        self.encoder: Encoder = subscription.encoder
        self.encode = subscription.encoder.encode
        self.framing = framing = subscription.outbound.framing
        self.wrap = None if framing is RAW else framing.wrap
        self.selector: Selector | None = subscription.options.selector


def _key_of(subscription: Subscription) -> _Key:
    selector = subscription.options.selector
    return _Key(
        subscription.encoder.key,
        subscription.outbound.framing,
        "" if selector is None else selector.text,
    )
