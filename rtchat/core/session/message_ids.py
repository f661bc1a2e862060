"""Acknowledging by the message's id, which STOMP 1.2 clients may do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice

from rtchat.core.broker.subscription import Subscription
from rtchat.core.flow.holding import Holding
from rtchat.core.flow.outbound import TURN_WORK, Cork
from rtchat.core.session.receipts import TurnOver

__all__ = ["MessageIds"]

_SPARE = 512

_DELIVERY_BYTES = 640
"""What a delivery takes in the index."""

_NOTE_WORK = 5
_PIECE = 64
_CLEANED_AT_ONCE = 8

_Key = tuple[str, str | None]
"""A message's id, and the id of a subscription or None."""

_Place = tuple[int, int, str]
"""The numbers of a subscription and of its delivery, and the ack id."""


class MessageIds:
    """An index of a session's deliveries by the ids of their messages.

    It is filled by the first ACK that needs it, so other clients do not pay for it; from then on,
    subscriptions add each delivery. It also keeps some of the deliveries that are not pending any
    more: they may be acknowledged twice.

    Args:
        subscriptions: The subscriptions of the session by number.
        holding: What is held for the client.
        cork: The cork of the server, which counts the work.

    Attributes:
        is_used: Whether all subscriptions add their deliveries.
    """

    __slots__ = (
        "_cork",
        "_count",
        "_fresh",
        "_holding",
        "_kept",
        "_known",
        "_max_fresh",
        "_places",
        "_subscriptions",
        "_to_add",
        "_to_clean",
        "is_used",
    )

    def __init__(
        self, subscriptions: Mapping[int, Subscription], holding: Holding, cork: Cork
    ) -> None:
        self.is_used = False
        self._subscriptions = subscriptions
        self._holding = holding
        self._cork = cork
        # Heaps, because a pattern may match several destinations of one SEND, and the oldest
        # subscription counts.
        self._places: dict[_Key, list[_Place]] = {}
        self._to_add: deque[tuple[Subscription, Iterator[str]]] = deque()
        self._count = 0  # deliveries that are held for the client, with those that were dropped
        # The cleaning: what is left of it, what it has kept, the keys without pending deliveries.
        self._to_clean: Iterator[_Key] | None = None
        self._kept = 0
        self._known: deque[_Key] = deque()
        self._fresh = 0  # deliveries since it began
        self._max_fresh = 2 * _SPARE

    def find(self, message_id: str, named: str | None) -> tuple[Subscription, str] | None:
        """Return the pending delivery of a message; None if it is not pending any more.

        Args:
            message_id: The message's id.
            named: The id of the subscription. If None, the oldest one counts that has the message.

        Returns:
            The subscription, and the ack id of the delivery.

        Raises:
            KeyError: The session has had no such message.
            TurnOver: The turn has no time to fill the index.
        """
        while self._to_add:
            if self._cork.work >= TURN_WORK:
                raise TurnOver
            self._add_some()
        places = self._places[message_id, named]
        while places:
            number, _, ack_id = places[0]
            holder = self._subscriptions.get(number)
            if holder is not None and holder.has(ack_id):
                return holder, ack_id
            heappop(places)  # if a transaction gives it back, it is noted again
        return None

    def attach_all(self) -> None:
        """Add the pending deliveries of all subscriptions, and all later ones."""
        if not self.is_used:
            self.is_used = True
            for subscription in self._subscriptions.values():
                self.attach(subscription)

    def attach(self, subscription: Subscription) -> None:
        """Add the pending deliveries of a subscription before the next search, and all later ones.

        If it has ended, the latest are enough: they may be acknowledged without an effect.
        """
        if subscription.message_ids is not None:
            return
        subscription.message_ids = self
        ack_ids: Iterable[str]
        if subscription.number in self._subscriptions:
            ack_ids = [*reversed(subscription.given_back or {}), *subscription.unacked]
        else:
            ack_ids = [*islice(reversed(subscription.unacked), _SPARE)]
        self._to_add.append((subscription, iter(ack_ids)))

    def note(self, subscription: Subscription, ack_id: str) -> None:
        """Add a delivery, which is pending."""
        message_id, _, place = ack_id.rsplit("@", 2)
        item = (subscription.number, int(place.partition(".")[2]), ack_id)
        for name in (None, subscription.id):
            heappush(self._places.setdefault((message_id, name), []), item)
        self._holding.add(_DELIVERY_BYTES)
        self._count += 1
        self._fresh += 1
        if self._to_clean is not None:
            self._clean(self._to_clean)
        elif self._fresh > self._max_fresh and not self._to_add:
            self._fresh = self._kept = 0
            self._to_clean = iter(list(self._places))

    def _add_some(self) -> None:
        subscription, ack_ids = self._to_add[0]
        some = list(islice(ack_ids, _PIECE))
        self._cork.work += 1 + len(some) * _NOTE_WORK
        for ack_id in some:
            self.note(subscription, ack_id)
        if len(some) < _PIECE:
            self._to_add.popleft()

    def _clean(self, keys: Iterator[_Key]) -> None:
        """Drop deliveries that are not pending, except the latest: a few keys at each delivery."""
        self._cork.work += _NOTE_WORK
        key = None
        for key in islice(keys, _CLEANED_AT_ONCE):
            places = self._places[key]
            pending = set(filter(self._is_pending, places))
            if len(pending) < len(places):
                places[:] = pending
                heapify(places)
            self._kept += len(pending) if key[1] is not None else 0
            if not pending:
                # What has no pending delivery says only that the message is known.
                self._known.append(key)
                if len(self._known) > 2 * _SPARE:
                    self._drop_if_known(self._known.popleft())
        if key is None:
            self._to_clean = None
            self._max_fresh = self._kept + _SPARE
            count = self._kept + len(self._known) + self._fresh
            self._holding.add((count - self._count) * _DELIVERY_BYTES)
            self._count = count
            self._known.clear()

    def _drop_if_known(self, key: _Key) -> None:
        if not self._places[key]:
            del self._places[key]

    def _is_pending(self, place: _Place) -> bool:
        holder = self._subscriptions.get(place[0])
        return holder is not None and holder.has(place[2])
