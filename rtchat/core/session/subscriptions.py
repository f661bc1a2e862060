"""The subscriptions of one session, including its temporary queues and those that have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from rtchat.core.broker.broker import Broker, Confirm
from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import (
    AckMode,
    SlowPolicy,
    StartAt,
    SubscribeOptions,
    Subscription,
    nothing_kept,
)
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.flow.holding import Holding
from rtchat.core.flow.outbound import Outbound
from rtchat.core.session.costs import cost_of_subscription
from rtchat.core.session.headers import required, subscribe_options
from rtchat.core.session.past import PastSubscriptions
from rtchat.core.stomp.frames import Frame, Version, escape
from rtchat.core.stomp.limits import Limits, too_much_held
from rtchat.errors import LimitExceeded, ProtocolError
from rtchat.text import parse_digits

__all__ = ["Subscriptions"]

_TEMP_QUEUE = DestinationKind.TEMP_QUEUE.value


class _TempQueue(NamedTuple):
    """A temporary queue of this session.

    Attributes:
        address: The address that other sessions send to.
        subscription: The subscription that receives its messages.
    """

    address: str
    subscription: Subscription


class Subscriptions:
    """The subscriptions of one session: open ones by id, and by number all that hold deliveries.

    Deliveries of a queue stay with the session when their subscription ends, until they are
    acknowledged or the session ends. Meanwhile the subscription counts towards the limit.

    Args:
        broker: The broker.
        limits: The limits of the session.
        outbound: The client's output buffer.
        holding: What is held for the client.
        principal: The session.
        refuse: Ends the session with an error because a subscription cannot continue.

    Attributes:
        version: The client's version; set it before the first subscription.
    """

    __slots__ = (
        "_broker",
        "_by_key",
        "_by_number",
        "_holding",
        "_last_number",
        "_limits",
        "_outbound",
        "_past",
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
        holding: Holding,
        principal: Principal,
        refuse: Callable[[ProtocolError], None],
    ) -> None:
        self._principal = principal
        self._refuse = refuse
        self.version = Version.V10
        self._broker = broker
        self._limits = limits
        self._outbound = outbound
        self._holding = holding
        self._by_key: dict[str, Subscription] = {}
        self._by_number: dict[int, Subscription] = {}
        self._past: PastSubscriptions | None = None  # None before the first use
        self._temp_queues: dict[str, _TempQueue] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Subscription]:
        """Return the subscriptions, open or with deliveries, without those of temporary queues."""
        return iter(self._by_number.values())

    @property
    def is_acknowledging(self) -> bool:
        """Whether any subscription has to acknowledge its deliveries."""
        return any(one.options.ack is not AckMode.AUTO for one in self._by_number.values())

    @property
    def unacknowledged(self) -> int:
        """The number of deliveries of topics that were not acknowledged."""
        return sum(
            len(one.unacked)
            for one in self._by_key.values()
            if isinstance(one.source, TopicConsumer)
        )

    @property
    def congesting_bytes(self) -> int:
        """The number of bytes in the backlogs of topic consumers that drop no messages."""
        sources = (subscription.source for subscription in self._by_key.values())
        return sum(
            source.waiting_bytes
            for source in sources
            if isinstance(source, TopicConsumer)
            and source.subscription.options.slow is SlowPolicy.CLOSE
        )

    def congestible_names(self) -> list[str]:
        """Return the destinations and patterns whose messages add to the session's backlog.

        They are those of topics, unless ``x-slow`` says that messages may be dropped, and the
        addresses of temporary queues.
        """
        names = [
            one.destination
            for one in self._by_key.values()
            if one.options.slow is SlowPolicy.CLOSE
            and (one.source is None or isinstance(one.source, TopicConsumer))
        ]
        return [*names, *(queue.address for queue in self._temp_queues.values())]

    def subscribe(self, frame: Frame, confirm: Confirm) -> None:
        """Process a SUBSCRIBE.

        Args:
            frame: The frame.
            confirm: Sends its RECEIPT, before the messages that it lets loose.

        Raises:
            ProtocolError: A header is missing or wrong, or :meth:`open` refuses.
        """
        destination = required(frame, "destination")
        subscription_id = frame.headers.get("id", "")
        if not subscription_id and self.version is not Version.V10:
            required(frame, "id")
        options = subscribe_options(frame, self._limits)
        self.open(subscription_id, destination, options, confirm)

    def unsubscribe(self, frame: Frame) -> None:
        """Process an UNSUBSCRIBE.

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
        self, subscription_id: str, destination: str, options: SubscribeOptions, confirm: Confirm
    ) -> None:
        """Open a subscription.

        Args:
            subscription_id: The id chosen by the client; may be "" in STOMP 1.0.
            destination: The destination, or the name of a temporary queue.
            options: The options.
            confirm: Called once the subscription is in place, before the first delivery.

        Raises:
            ProtocolError: The id is in use, or the destination cannot be subscribed to like this.
            LimitExceeded: The session has too many subscriptions.
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
            confirm({})
            return
        self._by_number[subscription.number] = subscription
        self._by_key[key] = subscription
        try:
            self._broker.subscribe(
                subscription, self._limits.max_backlog_bytes, self._refuse, confirm
            )
        except ProtocolError:
            del self._by_key[key], self._by_number[subscription.number]
            raise

    def end(self, subscription_id: str, destination: str) -> None:
        """End the subscription with this id or, if the id is "", to this destination.

        Among several to the destination it is the one without an id, or else the oldest. Nothing
        happens if the subscription has ended before.

        Raises:
            ProtocolError: There was no such subscription.
        """
        key = wanted = self._key(subscription_id, destination)
        if destination and key not in self._by_key and self._temp_queue_name(key) is None:
            key = self._key_of(destination) or key
        past = self._opened_past()
        subscription = self._by_key.pop(key, None)
        name = self._temp_queue_name(key) if subscription is None else None
        if subscription is not None:
            self._broker.detach([subscription])
            self._keep_or_forget(subscription)
        elif name is not None:
            temp_queue = self._temp_queues.pop(name)
            self._holding.add(-temp_queue.subscription.cost_bytes)
            self._broker.reply_queues.close(temp_queue.address)
        elif not past.had(wanted):
            raise ProtocolError(
                "no such subscription", "UNSUBSCRIBE needs the id of an open SUBSCRIBE."
            )
        self._holding.add(past.add(key, wanted))

    def end_all(self) -> list[Subscription]:
        """End all subscriptions because the session ends.

        Returns:
            The subscriptions. The caller passes them to ``Broker.return_unacked``.
        """
        ended = list(self._by_key.values())
        self._by_key.clear()
        self._by_number.clear()
        for temp_queue in self._temp_queues.values():
            self._broker.reply_queues.close(temp_queue.address)
        self._temp_queues.clear()
        self._broker.detach(ended)
        if self._past is not None:
            ended += self._past.holding.values()
            self._past.holding.clear()
        return ended

    def get(self, number: int) -> Subscription | None:
        """Return the subscription with this number, open or with deliveries, or None."""
        return self._by_number.get(number)

    def find(self, ack_id: str, named: str | None) -> tuple[Subscription, str] | None:
        """Return the delivery that an ACK or NACK is about; None if it is not pending any more.

        It takes longer than :meth:`get`, and finds what :meth:`get` does not: a STOMP 1.2 client
        may give the message's id.

        Args:
            ack_id: The ack id, or the message's id.
            named: The id of the subscription, if the frame has it.

        Returns:
            The subscription, and the ack id of the delivery.

        Raises:
            KeyError: The session has had no such delivery.
        """
        rest, _, place = ack_id.rpartition("@")
        message_id, _, session_id = rest.rpartition("@")
        if session_id != self._principal.id or not message_id:
            if self.version is not Version.V12:
                raise KeyError(ack_id)
            return self._opened_past().message_ids.find(ack_id, named, self._by_number)
        digits = place.split(".")
        number, delivery = (parse_digits(text, 18) or 0 for text in (*digits, "", "")[:2])
        subscription = self._by_number.get(number)
        if subscription is not None:
            had = 0 < delivery <= subscription.deliveries
            had = had and (self.version is not Version.V11 or named == subscription.id)
        else:
            past = self._past
            had = 0 < number <= self._last_number and past is not None
            had = had and past is not None and past.had_delivery(delivery)
        if not had or place != f"{number}.{delivery}":
            raise KeyError(ack_id)
        return None

    def reply_address(self, reply_to: str) -> str:
        """Return the value of a ``reply-to`` header as other sessions see it.

        The name of a temporary queue becomes the queue's address, which cannot be guessed. A queue
        that does not exist is created, with the subscription id ``/temp-queue/NAME``, as in
        RabbitMQ.

        Raises:
            ProtocolError: The temporary queue has no name.
            LimitExceeded: The session has too many subscriptions.
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
        """Return the address of a temporary queue of this session; any other name unchanged."""
        temp_queue = self._temp_queues.get(destination)
        return destination if temp_queue is None else temp_queue.address

    def _new(
        self, subscription_id: str, destination: str, options: SubscribeOptions
    ) -> Subscription:
        limit = self._limits.max_subscriptions
        if self._past is not None:
            self._forget_empty()
        if len(self._by_number) + len(self._temp_queues) >= limit:
            raise LimitExceeded(
                f"more than {limit} subscriptions",
                "The limit is subscription.max_count of the server, for one session.",
            )
        cost = cost_of_subscription(subscription_id, destination, options)
        if not self._holding.has_room(cost):
            raise too_much_held(self._limits, self._holding.bytes + cost)
        self._last_number += 1
        broker, version = self._broker, self.version
        encoder = broker.encoders.get((subscription_id, version))
        if encoder is None:
            encoder = broker.encoder_for(subscription_id, version)
        subscription = Subscription(
            subscription_id,
            self._last_number,
            destination,
            version,
            self._outbound,
            options,
            encoder,
            self._principal,
            self._holding,
        )
        subscription.cost_bytes = cost
        self._holding.add(cost)
        return subscription

    def _opened_past(self) -> PastSubscriptions:
        if self._past is None:
            self._past = PastSubscriptions(self._limits.max_subscriptions)
        return self._past

    def _keep_or_forget(self, subscription: Subscription) -> None:
        """Keep an ended subscription if it has deliveries that may return to their queue."""
        self._forget_empty()
        if isinstance(subscription.source, Queue):
            self._opened_past().holding[subscription.number] = subscription
            self._forget_empty()
        else:
            self._forget(subscription)

    def _forget_empty(self) -> None:
        """Forget the ended subscriptions whose deliveries are all acknowledged."""
        if self._past is None or not self._past.holding:
            return
        holding = self._past.holding
        for subscription in list(holding.values()):
            if not (subscription.unacked or subscription.reserved):
                del holding[subscription.number]
                self._forget(subscription)

    def _forget(self, subscription: Subscription) -> None:
        del self._by_number[subscription.number]
        self._holding.add(-subscription.cost_bytes)
        if not subscription.gives_back:
            subscription.hold(-len(subscription.unacked))
        past = self._opened_past()
        past.add_deliveries(subscription.deliveries)
        if self.version is Version.V12 and subscription.unacked:
            past.message_ids.add(subscription, self._by_number)

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
        """Return the name of the temporary queue whose subscription has the key, or None."""
        for name, temp_queue in self._temp_queues.items():
            if key == self._key(temp_queue.subscription.id, name):
                return name
        return None

    def _key_of(self, destination: str) -> str | None:
        """Return the key of the oldest subscription to a destination, which has an id; or None."""
        for key, subscription in self._by_key.items():
            if subscription.destination == destination:
                return key
        temp_queue = self._temp_queues.get(destination)
        return None if temp_queue is None else self._key(temp_queue.subscription.id, destination)

    def _key(self, subscription_id: str, destination: str) -> str:
        """Return the key of a subscription within its session.

        Ids are equal if they are written alike in MESSAGE frames: STOMP 1.0 cannot escape every
        character. A 1.0 client may subscribe without an id; then the destination is the key.
        """
        if subscription_id:
            return f"id:{escape(subscription_id, self.version)}"
        return f"destination:{destination}"
