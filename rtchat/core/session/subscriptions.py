"""The subscriptions of one session, its temporary queues among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.subscription import (
    AckMode,
    StartAt,
    SubscribeOptions,
    Subscription,
    nothing_kept,
)
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.flow.outbound import Outbound
from rtchat.core.session.headers import required, subscribe_options
from rtchat.core.stomp.frames import Frame, Version, escape
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["Subscriptions"]

_TEMP_QUEUE = DestinationKind.TEMP_QUEUE.value


class _TempQueue(NamedTuple):
    """A temporary queue of this session.

    Attributes:
        address: Under which everybody reaches it.
        subscription: How its messages arrive.
    """

    address: str
    subscription: Subscription


class Subscriptions:
    """What one session listens to.

    Args:
        broker: Where destinations are.
        limits: How many there may be.
        outbound: The client's way out.
        principal: The session.
        refuse: Ends the session because a subscription cannot go on.

    Attributes:
        version: The version the client speaks; set it before the first subscription.
    """

    __slots__ = (
        "_broker",
        "_by_key",
        "_by_number",
        "_last_number",
        "_limits",
        "_outbound",
        "_principal",
        "_refuse",
        "_temp_queues",
        "version",
    )

    def __init__(
        self,
        broker: Broker,
        limits: Limits,
        outbound: Outbound,
        principal: Principal,
        refuse: Callable[[ProtocolError], None],
    ) -> None:
        self._principal = principal
        self._refuse = refuse
        self.version = Version.V10
        self._broker = broker
        self._limits = limits
        self._outbound = outbound
        self._by_key: dict[str, Subscription] = {}
        self._by_number: dict[int, Subscription] = {}
        self._temp_queues: dict[str, _TempQueue] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def topic_consumer_bytes(self) -> int:
        """How much waits in subscriptions that may lag."""
        sources = (subscription.source for subscription in self._by_key.values())
        return sum(source.waiting_bytes for source in sources if isinstance(source, TopicConsumer))

    def subscribe(self, frame: Frame) -> Mapping[str, str]:
        """Act on a SUBSCRIBE; return what its RECEIPT says.

        Raises:
            ProtocolError: A header is missing or wrong, or :meth:`open` refuses.
        """
        destination = required(frame, "destination")
        subscription_id = frame.headers.get("id", "")
        if not subscription_id and self.version is not Version.V10:
            required(frame, "id")
        return self.open(subscription_id, destination, subscribe_options(frame, self._limits))

    def unsubscribe(self, frame: Frame) -> None:
        """Act on an UNSUBSCRIBE.

        Raises:
            ProtocolError: A header is missing, or there is no such subscription.
        """
        subscription_id, destination = frame.headers.get("id", ""), ""
        if not subscription_id:
            if self.version is not Version.V10:
                required(frame, "id")
            # "It requires either a destination header or an id header" (1.0).
            destination = required(frame, "destination")
        self.end(subscription_id, destination)

    def open(
        self, subscription_id: str, destination: str, options: SubscribeOptions
    ) -> Mapping[str, str]:
        """Listen to a destination; give what the RECEIPT says about it.

        Raises:
            ProtocolError: The id is in use, or nobody can subscribe to this.
            LimitExceeded: There are too many.
        """
        key = self._key(subscription_id, destination)
        if key in self._by_key or self._temp_queue_name(key) is not None:
            raise ProtocolError(
                "subscription id in use",
                "Within one connection every subscription needs an id of its own.",
            )
        subscription = self._new(subscription_id, destination, options)
        if destination.startswith(_TEMP_QUEUE):
            if options.start.at is not StartAt.NEXT:
                raise nothing_kept()
            self._open_temp_queue(destination, subscription)
            return {}
        self._by_number[subscription.number] = subscription
        self._by_key[key] = subscription
        try:
            return self._broker.subscribe(
                subscription, self._limits.max_backlog_bytes, self._refuse
            )
        except ProtocolError:
            del self._by_key[key], self._by_number[subscription.number]
            raise

    def end(self, subscription_id: str, destination: str) -> None:
        """End the subscription with this id, or without one to this destination.

        Raises:
            ProtocolError: There is none.
        """
        key = self._key(subscription_id, destination)
        subscription = self._by_key.pop(key, None)
        if subscription is not None:
            del self._by_number[subscription.number]
            self._broker.detach([subscription])
            self._broker.return_unacked([subscription])
            return
        name = self._temp_queue_name(key)
        if name is None:
            raise ProtocolError(
                "no such subscription", "UNSUBSCRIBE needs the id of an open SUBSCRIBE."
            )
        self._broker.reply_queues.close(self._temp_queues.pop(name).address)

    def end_all(self) -> list[Subscription]:
        """End everything because the session goes; what comes back is the caller's to return."""
        ended = list(self._by_key.values())
        self._by_key.clear()
        self._by_number.clear()
        for temp_queue in self._temp_queues.values():
            self._broker.reply_queues.close(temp_queue.address)
        self._temp_queues.clear()
        self._broker.detach(ended)
        return ended

    def get(self, number: int) -> Subscription | None:
        """Give the open subscription with this number, if there is one."""
        return self._by_number.get(number)

    def reply_address(self, reply_to: str) -> str:
        """Give what a ``reply-to`` says to others.

        A temporary queue begins to exist when its name is used, with the subscription id
        ``/temp-queue/NAME``, as in RabbitMQ; others know it by an address nobody can guess.

        Raises:
            ProtocolError: It has no name.
            LimitExceeded: There are too many.
        """
        if not reply_to.startswith(_TEMP_QUEUE):
            return reply_to
        temp_queue = self._temp_queues.get(reply_to)
        if temp_queue is None:
            if reply_to == _TEMP_QUEUE:
                raise ProtocolError("reply-to without a name", "Write reply-to:/temp-queue/NAME.")
            subscription = self._new(reply_to, reply_to, SubscribeOptions())
            temp_queue = self._open_temp_queue(reply_to, subscription)
        return temp_queue.address

    def address_of(self, destination: str) -> str:
        """Give the address of a temporary queue of this session, any other name as it is."""
        temp_queue = self._temp_queues.get(destination)
        return destination if temp_queue is None else temp_queue.address

    def _new(
        self, subscription_id: str, destination: str, options: SubscribeOptions
    ) -> Subscription:
        limit = self._limits.max_subscriptions
        if len(self._by_key) + len(self._temp_queues) >= limit:
            raise LimitExceeded(
                f"more than {limit} subscriptions",
                "The limit is subscription.max_count of the server, for one session.",
            )
        self._last_number += 1
        broker, version = self._broker, self.version
        encoder = broker.encoders.get((subscription_id, version))
        if encoder is None:
            encoder = broker.encoder_for(subscription_id, version)
        return Subscription(
            subscription_id,
            self._last_number,
            destination,
            version,
            self._outbound,
            options,
            encoder,
            self._principal,
        )

    def _open_temp_queue(self, name: str, subscription: Subscription) -> _TempQueue:
        if subscription.options.ack is not AckMode.AUTO:
            raise ProtocolError(
                "a temporary queue has ack:auto only", "Leave the ack header out, or say auto."
            )
        if name == _TEMP_QUEUE:
            raise ProtocolError("destination without a name", f"{name} needs a name after it.")
        if name in self._temp_queues:
            raise ProtocolError(
                "temporary queue in use", "It has a subscription already; UNSUBSCRIBE that first."
            )
        address = self._broker.reply_queues.open(subscription)
        temp_queue = self._temp_queues[name] = _TempQueue(address, subscription)
        return temp_queue

    def _temp_queue_name(self, key: str) -> str | None:
        """Give the temporary queue whose subscription is known by the key."""
        for name, temp_queue in self._temp_queues.items():
            if key == self._key(temp_queue.subscription.id, name):
                return name
        return None

    def _key(self, subscription_id: str, destination: str) -> str:
        """Give what a subscription is known by within its session.

        Ids are one when their MESSAGE frames would be: 1.0 cannot write all that it can read.
        A 1.0 client may subscribe without an id; then the destination stands for it.
        """
        if subscription_id:
            return f"id:{escape(subscription_id, self.version)}"
        return f"destination:{destination}"
