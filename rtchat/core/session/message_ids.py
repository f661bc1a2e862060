"""Acknowledgements by message id, for STOMP 1.2 clients that take it for the ack id."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.broker.subscription import Subscription

__all__ = ["MessageIds"]

_SPARE = 512


class MessageIds:
    """An index of a session's deliveries by the ids of their messages.

    It is filled by the first ACK that needs it, so other clients do not pay for it. It also keeps
    some of the deliveries that are not pending any more: they may be acknowledged twice.
    """

    __slots__ = ("_ack_ids", "_count", "_max_count", "_seen")

    def __init__(self) -> None:
        # By message id, then the numbers of the subscription and of its delivery: a pattern may
        # match several destinations of one SEND.
        self._ack_ids: dict[str, dict[tuple[int, int], str]] = {}
        self._count = 0
        self._max_count = 2 * _SPARE
        self._seen: dict[int, int] = {}  # for each subscription, how many deliveries were added

    def find(
        self, message_id: str, named: str | None, subscriptions: Mapping[int, Subscription]
    ) -> tuple[Subscription, str] | None:
        """Return the pending delivery of a message; None if it is not pending any more.

        Args:
            message_id: The message's id.
            named: The id of the subscription. If None, the oldest one counts that has the message.
            subscriptions: The subscriptions of the session by number.

        Returns:
            The subscription, and the ack id of the delivery.

        Raises:
            KeyError: The session has had no such message.
        """
        for subscription in subscriptions.values():
            self.add(subscription, subscriptions)
        if message_id not in self._ack_ids:
            # It may have been dropped while a transaction had it, and be pending again.
            self._seen.clear()
            for subscription in subscriptions.values():
                self.add(subscription, subscriptions)
        was_pending = False
        for (number, _), ack_id in sorted(self._ack_ids[message_id].items()):
            holder = subscriptions.get(number)
            if holder is not None and named not in (None, holder.id):
                continue
            if holder is not None and ack_id in holder.unacked:
                return holder, ack_id
            was_pending = True
        if not was_pending:
            raise KeyError(message_id)
        return None

    def add(self, subscription: Subscription, subscriptions: Mapping[int, Subscription]) -> None:
        """Add the pending deliveries of a subscription.

        Args:
            subscription: The subscription.
            subscriptions: The subscriptions of the session by number.
        """
        seen = self._seen.get(subscription.number, 0)
        if subscription.deliveries == seen:
            return
        for ack_id in reversed(subscription.unacked):
            message_id, _, place = ack_id.rsplit("@", 2)
            delivery = int(place.partition(".")[2])
            if delivery <= seen:
                break
            numbers = self._ack_ids.setdefault(message_id, {})
            key = (subscription.number, delivery)
            self._count += key not in numbers
            numbers[key] = ack_id
        self._seen[subscription.number] = subscription.deliveries
        if self._count > self._max_count:
            self._drop_old(subscriptions)

    def _drop_old(self, subscriptions: Mapping[int, Subscription]) -> None:
        """Drop the oldest deliveries that are not pending, except some."""
        pending = {ack_id for one in subscriptions.values() for ack_id in one.unacked}
        for message_id, numbers in list(self._ack_ids.items()):
            for number, ack_id in list(numbers.items()):
                if self._count > len(pending) + _SPARE and ack_id not in pending:
                    del numbers[number]
                    self._count -= 1
            if not numbers:
                del self._ack_ids[message_id]
        self._max_count = 2 * (len(pending) + _SPARE)
        self._seen = {one: seen for one, seen in self._seen.items() if one in subscriptions}
