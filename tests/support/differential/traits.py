"""Where RabbitMQ and ActiveMQ differ from the model, and from rtchat; each is explained.

The explanations are rows of the table in docs/protocol.md, "Acknowledgements beside RabbitMQ and
ActiveMQ"; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

__all__ = ["ACTIVEMQ", "EXPLAINED", "RABBITMQ", "RTCHAT", "Nack", "Traits"]


class Nack(Enum):
    """What becomes of a rejected message."""

    REQUEUED = "it comes again"
    GONE = "it does not come again"


@dataclass(frozen=True)
class Traits:
    """How a broker behaves where the specification leaves room.

    Attributes:
        name: The broker.
        nack_on_queue: What becomes of a message of a queue after NACK.
        nack_on_topic: The same on a topic.
        unsubscribe_returns: Whether UNSUBSCRIBE returns unacknowledged messages.
        can_settle_after_unsubscribe: Whether ACK and NACK work after UNSUBSCRIBE.
        can_settle_twice: Whether a second ACK of a delivery has no effect, and is no error.
        can_nack_in_transactions: Whether NACK may be part of a transaction.
        confirms_transacted_sends: Whether a SEND of a transaction gets its RECEIPT before COMMIT.
        spares_transactions: Whether a cumulative ACK leaves out what an open transaction
            acknowledges.
        transactions_extend_prefetch: Whether an ACK in an open transaction makes place for one more
            delivery.
        nacks_cumulatively: Whether a NACK with ``ack:client`` is about earlier deliveries, too.
        acknowledges_sessions: Whether an ACK or NACK with ``ack:client`` is about earlier
            deliveries of the session's other subscriptions, too.
        keeps_order_of_returned: Whether messages that come back take their old places.
        settle_s: How long it takes until the end of a connection has its effect.
    """

    name: str
    nack_on_queue: Nack = Nack.REQUEUED
    nack_on_topic: Nack = Nack.GONE
    unsubscribe_returns: bool = False
    can_settle_after_unsubscribe: bool = True
    can_settle_twice: bool = True
    can_nack_in_transactions: bool = True
    confirms_transacted_sends: bool = True
    spares_transactions: bool = True
    transactions_extend_prefetch: bool = False
    nacks_cumulatively: bool = True
    acknowledges_sessions: bool = False
    keeps_order_of_returned: bool = True
    settle_s: float = 0.0

    def may_play(self, kind: str) -> bool:
        """Return whether scripts may have this kind of step."""
        return {
            "settle again": self.can_settle_twice,
            "nack in transaction": self.can_nack_in_transactions,
        }.get(kind, True)

    def with_opposite_nack(self) -> Traits:
        """Return traits that are wrong about NACK."""
        wrong = Nack.GONE if self.nack_on_queue is Nack.REQUEUED else Nack.REQUEUED
        return replace(self, nack_on_queue=wrong)


RTCHAT = Traits("rtchat")
RABBITMQ = Traits(
    "RabbitMQ",
    nack_on_topic=Nack.REQUEUED,
    can_settle_after_unsubscribe=False,
    can_settle_twice=False,
    confirms_transacted_sends=False,
    acknowledges_sessions=True,
    spares_transactions=False,
    settle_s=0.05,
)
ACTIVEMQ = Traits(
    "ActiveMQ",
    nack_on_queue=Nack.GONE,
    unsubscribe_returns=True,
    can_settle_twice=False,
    can_nack_in_transactions=False,
    transactions_extend_prefetch=True,
    nacks_cumulatively=False,
    keeps_order_of_returned=False,
    spares_transactions=False,
    settle_s=0.05,
)

EXPLAINED = {
    "nack_on_queue": "NACK of a queue's message",
    "nack_on_topic": "NACK of a topic's message",
    "unsubscribe_returns": "deliveries that UNSUBSCRIBE leaves behind",
    "can_settle_after_unsubscribe": "ACK after UNSUBSCRIBE",
    "can_settle_twice": "ACK or NACK a second time",
    "can_nack_in_transactions": "NACK in a transaction",
    "confirms_transacted_sends": "RECEIPT of a SEND in a transaction",
    "spares_transactions": "cumulative ACK over deliveries that an open transaction acknowledges",
    "transactions_extend_prefetch": "prefetch while a transaction is open",
    "nacks_cumulatively": "NACK with `ack:client`",
    "acknowledges_sessions": "ACK with `ack:client` and several subscriptions",
    "keeps_order_of_returned": "order of messages that come back",
}
"""For each trait that differs, the row of the table in docs/protocol.md."""
