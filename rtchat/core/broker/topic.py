"""Topics: each message is delivered to every subscriber and not stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from rtchat.core.broker.encoder import Encoder
from rtchat.core.broker.framed import framed
from rtchat.core.broker.message import Message
from rtchat.core.broker.parts import PART_WORK, Parts
from rtchat.core.broker.selection import selects
from rtchat.core.broker.subscription import Entry, Subscription
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.flow.framing import wrap_large
from rtchat.core.flow.large_frame import LARGE_BYTES
from rtchat.core.flow.outbound import RAW, Cork, Framing, OutboundGroup
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.frames import Frame

if TYPE_CHECKING:
    from rtchat.core.selector.selector import Selector

__all__ = ["Topic"]

_FEW = 8
"""Up to so many groups get a message without a look at how much they gather."""

_FEW_CONSUMERS = 128
"""The same for subscribers that are served one by one."""

_OF_HEAD_BYTES = 256
"""The size of a MESSAGE without its body, for the count of what is gathered."""

_MEMBER_WORK = 4
"""The work of sending a message to each subscriber of one of many groups."""

_CONSUMER_WORK = 2
"""The work of offering a message to one of few subscribers that are served one by one."""

_ONE_OF_MANY_WORK = 8
"""The same for one of very many, with the work of sending it."""

_SELECTING_WORK = 500
"""Up to so much work of selectors, a message is delivered as if there were none."""


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

    A message for very many is delivered in parts, in several turns. What the topic gets meanwhile
    follows in order, new subscriptions included: each subscriber gets the same as if every message
    had been delivered at once.

    Args:
        name: The destination or pattern.
        cork: The cork of the server.
        new_consumer: Creates the topic consumer of a subscription.
        parts: The topics whose delivery is not complete.

    Attributes:
        longest_run: How many messages a run may have; 0 unless all subscriptions are in few groups
            without a selector.
    """

    __slots__ = (
        "_consumers",
        "_cork",
        "_count",
        "_groups",
        "_is_large",
        "_new_consumer",
        "_parts",
        "_progress",
        "_selecting",
        "_selector_work",
        "longest_run",
        "name",
    )

    def __init__(
        self,
        name: str,
        cork: Cork,
        new_consumer: Callable[[Subscription], TopicConsumer],
        parts: Parts,
    ) -> None:
        self.name = name
        self._cork = cork
        self._new_consumer = new_consumer
        self._groups: dict[_Key, _Group] = {}
        self._consumers: dict[Subscription, TopicConsumer] = {}
        self._selecting = 0  # number of groups with a selector
        self._selector_work = 0  # of all of them together
        self._is_large = False  # whether a message may take long
        self._count = 0
        self._parts = parts
        self._progress: _Progress | None = None
        self.longest_run = TURN_WORK

    def __len__(self) -> int:
        return self._count

    @property
    def is_unfinished(self) -> bool:
        """Whether the delivery of a message is not complete: it goes on in later turns."""
        return self._progress is not None

    def add(self, subscription: Subscription) -> None:
        """Add a subscription; it gets what is published from now on."""
        self._count += 1
        if self._progress is not None:
            self._progress.joining[subscription] = None
            self._progress.items.append((subscription, None))
            return
        if not subscription.is_plain:
            consumer = self._new_consumer(subscription)
            subscription.source = consumer
            self._consumers[subscription] = consumer
            self._changed(subscription, 1)
            return
        key = _key_of(subscription)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self._cork, subscription)
            self._changed(subscription, 1)
        group.add(subscription.outbound)

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription."""
        self._count -= 1
        consumer = self._consumers.pop(subscription, None)
        if consumer is not None:
            self._changed(subscription, -1)
            consumer.close()
            return
        if self._progress is not None and subscription in self._progress.joining:
            del self._progress.joining[subscription]
            return
        key = _key_of(subscription)
        group = self._groups[key]
        group.remove(subscription.outbound)
        if not group.members:
            del self._groups[key]
            self._changed(subscription, -1)

    def _changed(self, subscription: Subscription | None = None, more: int = 0) -> None:
        """Look how messages are delivered, because a group or consumer came or went.

        Args:
            subscription: The subscription that it has or had, if one came or went.
            more: 1 or -1.
        """
        selector = None if subscription is None else subscription.options.selector
        if selector is not None:
            self._selecting += more
            self._selector_work += more * selector.work
        self._is_large = (
            len(self._groups) > _FEW
            or len(self._consumers) > _FEW_CONSUMERS
            or self._selector_work > _SELECTING_WORK
            or self._progress is not None
        )
        is_plain = not (self._consumers or self._selecting or self._is_large)
        self.longest_run = TURN_WORK // (1 + len(self._groups)) if is_plain else 0

    def publish_run(
        self, stem: str, first: int, frame: Frame, bodies: list[bytes], mark: bytes = b""
    ) -> None:
        """Deliver several messages with the same head; :attr:`longest_run` allows them.

        Args:
            stem: The common beginning of the messages' ids.
            first: The number at the end of the first id; the others count up from it.
            frame: The SEND of the first message, with the ``content-length`` of all of them.
            bodies: The bodies of the messages.
            mark: The position of the messages; see ``Principal.mark``.
        """
        work = len(bodies)
        for group in self._groups.values():
            self._cork.work += work
            around = group.encoder.around(Message("", self.name, frame, "", mark), stem)
            if around is None:
                for number, body in enumerate(bodies, first):
                    each = Frame(frame.command, frame.headers, body, frame.head)
                    self._send(group, Message(f"{stem}{number}", self.name, each, "", mark))
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
        if self._is_large:
            self.publish_one_of_many(message)
            return
        for group in self._groups.values():
            if group.selector is None or selects(group.selector, message, self._cork):
                data = group.encode(message)
                if group.wrap is not None:
                    if len(data) >= LARGE_BYTES:
                        data = wrap_large(group.framing, data, self._cork)
                    else:
                        data = group.wrap(data)
                group.send([data])
        if self._consumers:
            self._offer(message)

    def publish_one_of_many(self, message: Message) -> None:
        """Deliver a message to every subscriber, one of several deliveries with the same body.

        They share a large body. What is gathered is sent in between; that may end sessions. What
        the turn has no time for comes in later ones.
        """
        if self._progress is not None:
            self._put_behind(self._progress, None, message)
            return
        steps = self._deliver(message)
        for _ in steps:
            self._progress = _Progress(steps)
            self._put_behind(self._progress, None, message)
            self._changed()
            self._parts.begin(self)
            self._cork.put_off(self._go_on)
            return

    def publish_to(self, subscription: Subscription, message: Message) -> None:
        """Deliver a message to one subscriber only, in order with other messages."""
        if self._progress is None:
            self._deliver_to(subscription, message)
        else:
            self._put_behind(self._progress, subscription, message)

    def _deliver_to(self, subscription: Subscription, message: Message) -> None:
        group = self._groups.get(_key_of(subscription))
        is_member = group is not None and subscription.outbound in group.members
        consumer = self._consumers.get(subscription)
        if not (is_member or consumer) or not subscription.wants(message):
            return
        if consumer is not None:
            consumer.offer(message)
        else:
            self._cork.work += len(message.frame.body) >> 10
            subscription.deliver(Entry(message, 0))

    def _deliver(self, message: Message) -> Iterator[None]:
        """Deliver a message to every subscriber; stop where the turn has done much."""
        cork, size = self._cork, len(message.frame.body)
        for group in list(self._groups.values()):
            if cork.work >= PART_WORK:
                yield
            selector = group.selector
            if group.members and (selector is None or selects(selector, message, cork)):
                if group.wrap is None and size < LARGE_BYTES:
                    group.send([group.encode(message)])
                else:
                    group.send([framed(message, group.encoder, group.framing, cork)])
                cork.work += len(group.members) * _MEMBER_WORK
                cork.gathered_bytes += size + _OF_HEAD_BYTES
                cork.send_some()
        # A consumer that overflows ends its session, and so other consumers of this topic.
        for subscription, consumer in list(self._consumers.items()):
            if cork.work >= PART_WORK:
                yield
            cork.work += _ONE_OF_MANY_WORK
            if subscription in self._consumers and subscription.wants(message):
                consumer.offer(message)

    def _offer(self, message: Message) -> None:
        """Deliver a message to each of few consumers."""
        self._cork.work += len(self._consumers) * _CONSUMER_WORK
        for subscription, consumer in list(self._consumers.items()):
            if subscription in self._consumers and subscription.wants(message):
                consumer.offer(message)

    def _put_behind(
        self, progress: _Progress, subscription: Subscription | None, message: Message
    ) -> None:
        progress.items.append((subscription, message))
        self._parts.hold(message)

    def _go_on(self) -> None:
        """Go on with what earlier turns had no time for."""
        cork, progress = self._cork, self._progress
        assert progress is not None
        items = progress.items
        try:
            while items:
                for _ in progress.steps:
                    return
                _, message = items.popleft()
                if message is not None:
                    self._parts.release(message)
                if items:
                    progress.steps = self._begin(progress, *items[0])
                if cork.work >= PART_WORK:
                    return
        finally:
            # Also after an error: the next item follows.
            if items:
                cork.put_off(self._go_on)
            else:
                self._progress = None
                self._changed()
                self._parts.end(self)

    def _begin(
        self, progress: _Progress, subscription: Subscription | None, message: Message | None
    ) -> Iterator[None]:
        """Begin with an item, which is still the first one: what it causes comes behind it."""
        self._cork.work += _ONE_OF_MANY_WORK
        if subscription is None:
            return iter(()) if message is None else self._deliver(message)
        if message is not None:
            self._deliver_to(subscription, message)
        elif subscription in progress.joining:
            del progress.joining[subscription]
            self._progress = None  # so it is not put behind the others again
            self._count -= 1
            self.add(subscription)
            self._progress = progress
            self._changed()
        return iter(())


class _Progress:
    """A delivery that goes on in later turns, and what follows it.

    Attributes:
        items: A message to all, or to one, or a new subscription; the first item is on its way.
        joining: The subscriptions among them that have not ended.
        steps: The delivery of the first item: it stops where a turn has done much.
    """

    __slots__ = ("items", "joining", "steps")

    def __init__(self, steps: Iterator[None]) -> None:
        self.items: deque[tuple[Subscription | None, Message | None]] = deque()
        self.joining: dict[Subscription, None] = {}
        self.steps = steps


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
