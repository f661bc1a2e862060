"""What a session holds while it waits: deliveries that it has yet to acknowledge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from rtchat.core.broker.subscription import Source
from rtchat.core.session.connection import SessionTransport
from rtchat.core.session.subscriptions import Subscriptions
from rtchat.core.session.transactions import Transactions

__all__ = ["DeliveryHolder"]


class DeliveryHolder:
    """The part of a session that implements ``Waiter`` and ``Reader`` of the broker."""

    __slots__ = ()

    subscriptions: Subscriptions
    transactions: Transactions
    _transport: SessionTransport

    @property
    def can_hold_deliveries(self) -> bool:
        """Whether it may hold deliveries while it waits."""
        return self.subscriptions.is_acknowledging or bool(self.transactions.names())

    def held_deliveries(self) -> Mapping[Source, int]:
        """Return how many deliveries of each source it has yet to acknowledge.

        An ACK in an open transaction has no effect yet.
        """
        held: Counter[Source] = Counter()
        for subscription in self.subscriptions:
            pending = subscription.pending
            if pending and subscription.source is not None:
                held[subscription.source] += pending
        for subscription, count in self.transactions.reserved():
            if subscription.source is not None:
                held[subscription.source] += count
        return held

    def congestible_names(self) -> Collection[str]:
        """Return the destinations and patterns whose messages add to its backlog.

        Queues are not among them: they give a connection no more than it takes.
        """
        return self.subscriptions.congestible_names()

    @property
    def unacknowledged_backlog_bytes(self) -> int:
        """The bytes of messages to topics that wait for its acknowledgements."""
        return self.subscriptions.congesting_bytes

    def stop_waiting(self) -> None:
        """Retry the frame that had to wait."""
        self._transport.resume_session()
