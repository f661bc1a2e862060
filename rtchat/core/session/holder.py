"""What a session holds while it waits: deliveries that it has yet to acknowledge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping

from rtchat.core.broker.subscription import Source
from rtchat.core.flow.holding import Holding
from rtchat.core.session.connection import SessionTransport
from rtchat.core.session.subscriptions import Subscriptions
from rtchat.core.session.transactions import Transactions
from rtchat.core.stomp.limits import Limits, too_much_held
from rtchat.errors import ProtocolError

__all__ = ["DeliveryHolder"]


class DeliveryHolder(ABC):
    """The part of a session that implements ``Waiter`` and ``Reader`` of the broker."""

    __slots__ = ("_held_bytes",)

    holding: Holding
    subscriptions: Subscriptions
    transactions: Transactions
    _held_bytes: int
    _limits: Limits
    _transport: SessionTransport

    @abstractmethod
    def fail(self, error: ProtocolError) -> None:
        """Send an ERROR frame and end the session."""

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

    def too_much_held(self) -> None:
        """End the session: more is held for the client than may be."""
        self.fail(too_much_held(self._limits, self.holding.bytes))

    def frame_incomplete(self) -> None:
        """Report to the connection that the client has to complete a large frame."""
        self._transport.frame_incomplete()

    def _hold_waiting(self, size: int) -> None:
        """Count so many bytes as those of a frame that waits, and of what is behind it."""
        if size != self._held_bytes:
            self.holding.add(size - self._held_bytes)
            self._held_bytes = size

    def stop_waiting(self) -> None:
        """Retry the frame that had to wait."""
        self._transport.resume_session()
