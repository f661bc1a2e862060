"""Acknowledgements by message id, for STOMP 1.2 clients that take it for the ack id."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from rtchat.core.broker.subscription import Subscription

__all__ = ["MessageIds"]

_SPARE = 512

_Place = tuple[int, int, str]
"""The numbers of a subscription and of its delivery, and the ack id."""


class MessageIds:
    """An index of a session's deliveries by the ids of their messages.

    It is filled by the first ACK that needs it, so other clients do not pay for it; from then on,
    subscriptions add each delivery. It also keeps some of the deliveries that are not pending any
    more: they may be acknowledged twice.

    Args:
        subscriptions: The subscriptions of the session by number.
    """

    __slots__ = ("_count", "_max_count", "_places", "_subscriptions")

    def __init__(self, subscriptions: Mapping[int, Subscription]) -> None:
        self._subscriptions = subscriptions
        # For a message, and for a message and the id of a subscription: heaps, because a pattern
        # may match several destinations of one SEND, and the oldest subscription counts.
        self._places: dict[tuple[str, str | None], list[_Place]] = {}
        self._count = 0  # of places by message and subscription
        self._max_count = 2 * _SPARE

    def find(self, message_id: str, named: str | None) -> tuple[Subscription, str] | None:
        """Return the pending delivery of a message; None if it is not pending any more.

        Args:
            message_id: The message's id.
            named: The id of the subscription. If None, the oldest one counts that has the message.

        Returns:
            The subscription, and the ack id of the delivery.

        Raises:
            KeyError: The session has had no such message.
        """
        places = self._places[message_id, named]
        while places:
            number, _, ack_id = places[0]
            holder = self._subscriptions.get(number)
            if holder is not None and holder.has(ack_id):
                return holder, ack_id
            heappop(places)  # if a transaction gives it back, it is noted again
        return None

    def attach(self, subscription: Subscription) -> None:
        """Add the pending deliveries of a subscription, and all that follow."""
        if subscription.message_ids is None:
            subscription.message_ids = self
            for ack_id in [*reversed(subscription.given_back), *subscription.unacked]:
                self.note(subscription, ack_id)

    def note(self, subscription: Subscription, ack_id: str) -> None:
        """Add a delivery, which is pending."""
        message_id, _, place = ack_id.rsplit("@", 2)
        item = (subscription.number, int(place.partition(".")[2]), ack_id)
        for name in (None, subscription.id):
            heappush(self._places.setdefault((message_id, name), []), item)
        self._count += 1
        if self._count > self._max_count:
            self._drop_old()

    def _drop_old(self) -> None:
        """Drop the oldest deliveries that are not pending, except some."""
        holders = self._subscriptions
        most = sum(holder.pending for holder in holders.values()) + _SPARE
        count = 0
        for key, places in list(self._places.items()):
            pending = {
                place for place in places if (one := holders.get(place[0])) and one.has(place[2])
            }
            if len(pending) < len(places):
                places[:] = pending
                heapify(places)
            count += len(pending) if key[1] is not None else 0
        # What has no pending delivery left says only that the message is known.
        known = [key for key, places in self._places.items() if not places]
        for key in known[: max(0, len(known) - 2 * _SPARE)]:
            del self._places[key]
        self._count = count + min(len(known) // 2, _SPARE)
        self._max_count = 2 * most
