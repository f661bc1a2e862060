"""The subscriptions of one session, including its temporary queues and those that have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from rtchat.core.broker.broker import Broker, Confirm
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
from rtchat.core.session.costs import charge
from rtchat.core.session.headers import required, subscribe_options
from rtchat.core.session.message_ids import MessageIds
from rtchat.core.session.past import PastSubscriptions
from rtchat.core.session.quota import Quota, count_less, count_more, too_many
from rtchat.core.session.temp_queues import TEMP_QUEUE, TempQueues
from rtchat.core.stomp.frames import Frame, Version, escape
from rtchat.core.stomp.limits import Limits
from rtchat.errors import ProtocolError
from rtchat.text import parse_digits

__all__ = ["Subscriptions"]


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
        "_acknowledging",
        "_broker",
        "_by_destination",
        "_by_key",
        "_by_number",
        "_counts",
        "_holding",
        "_last_number",
        "_limits",
        "_message_ids",
        "_outbound",
        "_past",
        "_principal",
        "_quota",
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
        # What few sessions need is None before its first use: most sessions are idle.
        self._by_destination: dict[str, dict[str, None]] | None = None  # keys, in STOMP 1.0 only
        self._acknowledging = 0  # how many subscriptions have to acknowledge
        self._past: PastSubscriptions | None = None
        self._message_ids: MessageIds | None = None
        self._temp_queues = TempQueues(broker.reply_queues)
        self._last_number = 0
        self._counts: Counter[str] | None = None  # of open ones, by destination
        self._quota: Quota | None = None  # of selectors and patterns

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Subscription]:
        """Return the subscriptions, open or with deliveries, without those of temporary queues."""
        return iter(self._by_number.values())

    @property
    def is_acknowledging(self) -> bool:
        """Whether any subscription has to acknowledge its deliveries."""
        return self._acknowledging > 0

    @property
    def unacknowledged(self) -> int:
        """The number of deliveries of topics that were not acknowledged."""
        return sum(
            one.pending for one in self._by_key.values() if isinstance(one.source, TopicConsumer)
        )

    @property
    def congesting_bytes(self) -> int:
        """The number of bytes in the backlogs of topic consumers that drop no messages."""
        return sum(
            one.source.waiting_bytes
            for one in self._by_key.values()
            if isinstance(one.source, TopicConsumer) and one.options.slow is SlowPolicy.CLOSE
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
        return [*names, *self._temp_queues.addresses()]

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
        options = subscribe_options(frame, self._limits, self._broker.selectors.get)
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
            LimitExceeded: The session has too many subscriptions, or they cost others too much.
        """
        key = self._key(subscription_id, destination)
        if key in self._by_key or key in self._temp_queues.keys:
            raise ProtocolError(
                "subscription id in use",
                "Within one connection every subscription needs an id of its own.",
            )
        subscription = self._new(subscription_id, destination, options)
        if destination.startswith(TEMP_QUEUE):
            if options.start.at is not StartAt.NEXT:
                raise nothing_kept()
            self._temp_queues.open(destination, key, subscription)
            confirm({})
            return
        self._by_number[subscription.number] = subscription
        self._by_key[key] = subscription
        self._acknowledging += options.ack is not AckMode.AUTO
        if self.version is Version.V10:
            self._by_destination = self._by_destination or {}
            self._by_destination.setdefault(destination, {})[key] = None
        try:
            self._broker.subscribe(
                subscription, self._limits.max_backlog_bytes, self._refuse, confirm
            )
        except ProtocolError:
            self._remove(key)
            del self._by_number[subscription.number]
            self._acknowledging -= options.ack is not AckMode.AUTO
            raise

    def end(self, subscription_id: str, destination: str) -> None:
        """End the subscription with this id or, if the id is "", to this destination.

        Among several to the destination it is the one without an id, or else the oldest. Nothing
        happens if the subscription has ended before.

        Raises:
            ProtocolError: There was no such subscription.
        """
        key = wanted = self._key(subscription_id, destination)
        if destination and key not in self._by_key and key not in self._temp_queues.keys:
            key = self._key_of(destination) or key
        past = self._opened_past()
        subscription = self._remove(key)
        if subscription is not None:
            self._broker.detach([subscription])
            self._keep_or_forget(subscription)
        else:
            subscription = self._temp_queues.close(key)
            if subscription is not None:
                self._holding.add(-subscription.cost_bytes)
        if subscription is not None:
            if self._counts is not None:
                count_less(self._counts, subscription.destination)
            if self._quota is not None:
                self._quota.give_back(subscription.destination, subscription.options)
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
        self._by_destination = None
        self._temp_queues.close_all()
        if self._quota is not None:
            self._quota.give_all_back()
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
            TurnOver: The turn has no time to look for the message's id.
        """
        rest, _, place = ack_id.rpartition("@")
        message_id, _, session_id = rest.rpartition("@")
        if session_id != self._principal.id or not message_id:
            if self.version is not Version.V12:
                raise KeyError(ack_id)
            return self._index().find(ack_id, named)
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
        if not reply_to.startswith(TEMP_QUEUE):
            return reply_to
        temp_queue = self._temp_queues.get(reply_to)
        if temp_queue is None:
            if reply_to == TEMP_QUEUE:
                raise ProtocolError("reply-to without a name", "Write reply-to:/temp-queue/NAME.")
            subscription = self._new(reply_to, reply_to, SubscribeOptions())
            key = self._key(reply_to, reply_to)
            temp_queue = self._temp_queues.open(reply_to, key, subscription)
        return temp_queue.address

    def address_of(self, destination: str) -> str:
        """Return the address of a temporary queue of this session; any other name unchanged."""
        temp_queue = self._temp_queues.get(destination)
        return destination if temp_queue is None else temp_queue.address

    def _new(
        self, subscription_id: str, destination: str, options: SubscribeOptions
    ) -> Subscription:
        limits = self._limits
        if len(self._by_number) + len(self._temp_queues.keys) >= limits.max_subscriptions:
            self._forget_empty()
            if len(self._by_number) + len(self._temp_queues.keys) >= limits.max_subscriptions:
                raise too_many(limits)
        if self._counts is not None or len(self._by_key) >= limits.max_of_destination:
            self._counts = count_more(self._counts, self._by_key.values(), destination, limits)
        if (
            options.selector is not None
            or "*" in destination
            or "#" in destination
            or ">" in destination
        ):
            self._quota = self._quota or Quota(limits, self._broker.shares, self._principal)
            self._quota.take(destination, options)
        cost = charge(self._holding, self._limits, subscription_id, destination, options)
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
        if self._message_ids is not None and self._message_ids.is_used:
            subscription.message_ids = self._message_ids
        return subscription

    def _index(self) -> MessageIds:
        """Return the index of all deliveries by the ids of their messages."""
        message_ids = self._opened_message_ids()
        message_ids.attach_all()
        return message_ids

    def _opened_message_ids(self) -> MessageIds:
        if self._message_ids is None:
            self._message_ids = MessageIds(self._by_number, self._holding, self._broker.cork)
        return self._message_ids

    def _remove(self, key: str) -> Subscription | None:
        """Remove the open subscription with this key; return it, or None."""
        subscription = self._by_key.pop(key, None)
        if subscription is not None and self._by_destination:
            keys = self._by_destination[subscription.destination]
            del keys[key]
            if not keys:
                del self._by_destination[subscription.destination]
        return subscription

    def _opened_past(self) -> PastSubscriptions:
        if self._past is None:
            self._past = PastSubscriptions(self._limits.max_subscriptions)
        return self._past

    def _keep_or_forget(self, subscription: Subscription) -> None:
        """Keep an ended subscription if it has deliveries that may return to their queue."""
        is_held = subscription.pending or subscription.reserved
        if is_held and isinstance(subscription.source, Queue):
            self._opened_past().holding[subscription.number] = subscription
        else:
            self._forget(subscription)

    def _forget_empty(self) -> None:
        """Forget the ended subscriptions whose deliveries are all acknowledged."""
        if self._past is None:
            return
        holding = self._past.holding
        self._broker.cork.work += len(holding) // 8
        for subscription in list(holding.values()):
            if not (subscription.pending or subscription.reserved):
                del holding[subscription.number]
                self._forget(subscription)

    def _forget(self, subscription: Subscription) -> None:
        self._acknowledging -= subscription.options.ack is not AckMode.AUTO
        self._holding.add(-subscription.cost_bytes)
        if not subscription.gives_back:
            subscription.hold(-subscription.pending - subscription.reserved)
            subscription.holding = None  # what a transaction settles later was counted just now
        past = self._opened_past()
        past.add_deliveries(subscription.deliveries)
        del self._by_number[subscription.number]
        if self.version is Version.V12 and subscription.pending:
            self._opened_message_ids().attach(subscription)

    def _key_of(self, destination: str) -> str | None:
        """Return the key of the oldest subscription to a destination, which has an id; or None."""
        for key in (self._by_destination or {}).get(destination, ()):
            return key
        temp_queue = self._temp_queues.get(destination)
        return None if temp_queue is None else temp_queue.key

    def _key(self, subscription_id: str, destination: str) -> str:
        """Return the key of a subscription within its session.

        Ids are equal if they are written alike in MESSAGE frames: STOMP 1.0 cannot escape every
        character. A 1.0 client may subscribe without an id; then the destination is the key.
        """
        if subscription_id:
            return f"id:{escape(subscription_id, self.version)}"
        return f"destination:{destination}"
