"""Topics: each message is delivered to every subscriber and not stored."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

from rtchat.core.broker.encoder import Encoder
from rtchat.core.broker.framed import framed
from rtchat.core.broker.message import Message
from rtchat.core.broker.selection import selects
from rtchat.core.broker.subscription import Entry, Subscription
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.flow.large_frame import LARGE_BYTES
from rtchat.core.flow.outbound import RAW, Cork, Framing, OutboundGroup
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.frames import Frame

if TYPE_CHECKING:
    from rtchat.core.selector.selector import Selector

__all__ = ["Topic"]

_FEW = 8
"""Up to so many groups get a message without a look at how much they gather."""

_OF_HEAD_BYTES = 256
"""The size of a MESSAGE without its body, for the count of what is gathered."""

_CONSUMER_WORK = 2
"""The work of offering a message to a subscriber that is served by itself."""


class _Key(NamedTuple):
    """Subscriptions with equal keys receive byte-identical deliveries."""

    encoder: Hashable
    framing: Framing
    selector: str


class Topic:
    """The subscriptions to one destination or pattern.

    Subscriptions with byte-identical MESSAGE frames (same subscription id, version and framing)
    form a group: a message is encoded once per group. Subscriptions that acknowledge, or may lag,
    are served one by one, each by a topic consumer.

    Args:
        name: The destination or pattern.
        cork: The cork of the server.
        new_consumer: Creates the topic consumer of a subscription.

    Attributes:
        longest_run: How many messages a run may have; 0 unless all subscriptions are in few groups
            without a selector.
    """

    __slots__ = (
        "_consumers",
        "_cork",
        "_groups",
        "_has_many_groups",
        "_new_consumer",
        "_selecting",
        "_size",
        "longest_run",
        "name",
    )

    def __init__(
        self, name: str, cork: Cork, new_consumer: Callable[[Subscription], TopicConsumer]
    ) -> None:
        self.name = name
        self._cork = cork
        self._new_consumer = new_consumer
        self._groups: dict[_Key, _Group] = {}
        self._consumers: dict[Subscription, TopicConsumer] = {}
        self._selecting = 0  # number of groups with a selector
        self._has_many_groups = False
        self._size = 0
        self.longest_run = TURN_WORK

    def __len__(self) -> int:
        return self._size

    def add(self, subscription: Subscription) -> None:
        """Add a subscription."""
        self._size += 1
        if not subscription.is_plain:
            consumer = self._new_consumer(subscription)
            subscription.source = consumer
            self._consumers[subscription] = consumer
            self._changed()
            return
        key = _key_of(subscription)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self._cork, subscription)
            self._selecting += group.selector is not None
            self._changed()
        group.add(subscription.outbound)

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription."""
        self._size -= 1
        consumer = self._consumers.pop(subscription, None)
        if consumer is not None:
            self._changed()
            consumer.close()
            return
        key = _key_of(subscription)
        group = self._groups[key]
        group.remove(subscription.outbound)
        if not group.members:
            del self._groups[key]
            self._selecting -= group.selector is not None
            self._changed()

    def _changed(self) -> None:
        """Look how messages are delivered, because groups or consumers came or went."""
        self._has_many_groups = len(self._groups) > _FEW
        is_plain = not (self._consumers or self._selecting or self._has_many_groups)
        self.longest_run = TURN_WORK // (1 + len(self._groups)) if is_plain else 0

    def publish_run(self, stem: str, first: int, frame: Frame, bodies: list[bytes]) -> None:
        """Deliver several messages with the same head; :attr:`longest_run` allows them.

        Args:
            stem: The common beginning of the messages' ids.
            first: The number at the end of the first id; the others count up from it.
            frame: The SEND of the first message, with the ``content-length`` of all of them.
            bodies: The bodies of the messages.
        """
        work = len(bodies)
        for group in self._groups.values():
            self._cork.work += work
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
                b"%b%d%b%b\0\n" % (start, number, end, body)
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
        """Return the framing's prefix of each message of a run, or None if they differ."""
        digits = len(str(first))
        if framing is not RAW and digits != len(str(first + len(bodies) - 1)):
            return None
        length = len(start) + digits + len(end) + len(bodies[0]) + 2
        return framing.header_of_all(length, [start, end, *bodies])

    def publish(self, message: Message) -> None:
        """Deliver a message to every subscriber, the only one that its SEND causes."""
        if self._has_many_groups:
            self.publish_one_of_many(message)
            return
        for group in self._groups.values():
            if group.selector is None or selects(group.selector, message, self._cork):
                data = group.encode(message)
                group.send([data if group.wrap is None else group.wrap(data)])
        if self._consumers:
            self._offer(message)

    def publish_one_of_many(self, message: Message) -> None:
        """Deliver a message to every subscriber, one of several deliveries with the same body.

        They share a large body. What is gathered is sent in between; that may end sessions.
        """
        cork, size = self._cork, len(message.frame.body)
        for group in list(self._groups.values()):
            selector = group.selector
            if group.members and (selector is None or selects(selector, message, cork)):
                if group.wrap is None and size < LARGE_BYTES:
                    group.send([group.encode(message)])
                else:
                    group.send([framed(message, group.encoder, group.framing, cork)])
                cork.gathered_bytes += size + _OF_HEAD_BYTES
                cork.send_some()
        if self._consumers:
            self._offer(message)

    def _offer(self, message: Message) -> None:
        self._cork.work += len(self._consumers) * _CONSUMER_WORK
        # A consumer that overflows ends its session, and so other consumers of this topic.
        for subscription, consumer in list(self._consumers.items()):
            if subscription in self._consumers and subscription.wants(message):
                consumer.offer(message)

    def publish_to(self, subscription: Subscription, message: Message) -> None:
        """Deliver a message to one subscriber only, in order with other messages."""
        if not subscription.wants(message):
            return
        consumer = self._consumers.get(subscription)
        if consumer is not None:
            consumer.offer(message)
        else:
            self._cork.work += len(message.frame.body) >> 10
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
