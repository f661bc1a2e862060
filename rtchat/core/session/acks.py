"""ACK and NACK: look up the deliveries of a frame, and report them to their source."""

from __future__ import annotations

from rtchat.core.broker.subscription import Subscription
from rtchat.core.session.headers import ack_id, subscription_number
from rtchat.core.session.receipts import TurnOver
from rtchat.core.session.subscriptions import Subscriptions
from rtchat.core.session.transactions import Acknowledgement, Transactions, settle
from rtchat.core.stomp.frames import Frame, Version
from rtchat.errors import ProtocolError

__all__ = ["acknowledge", "acknowledge_run"]

_PIECE = 256


def acknowledge(
    frame: Frame,
    subscriptions: Subscriptions,
    transactions: Transactions,
    *,
    is_ack: bool,
    requeue: bool,
) -> None:
    """Process an ACK or NACK, or add it to its transaction.

    Args:
        frame: The frame.
        subscriptions: The session's subscriptions.
        transactions: The session's open transactions.
        is_ack: True for an ACK, false for a NACK.
        requeue: Whether a rejected message may be redelivered.

    Nothing happens if the session had the delivery and has acknowledged or rejected it before.

    Raises:
        ProtocolError: There was no such delivery, or there is no such transaction.
        TurnOver: The turn has no time to look for the delivery; nothing was done.
    """
    version = subscriptions.version
    delivery = ack_id(frame, version)
    transaction = frame.headers.get("transaction")
    if transaction is not None:
        transactions.check(transaction)
    subscription = subscriptions.get(subscription_number(delivery))
    if subscription is not None and version is Version.V11:
        named = frame.headers.get("subscription")
        subscription = subscription if subscription.id == named else None
    deliveries, taken = ([], 0) if subscription is None else subscription.take((delivery,))
    if subscription is None or not taken:
        found = _find(frame.command, delivery, subscriptions, frame.headers.get("subscription"))
        if found is None:
            return
        subscription, delivery = found
        deliveries, _ = subscription.take((delivery,))
    if transaction is not None:
        subscription.reserved += len(deliveries)
        transactions.add(transaction, Acknowledgement(subscription, deliveries, is_ack, requeue))
        return
    settle(subscription, [entry for _, entry in deliveries], is_ack=is_ack, requeue=requeue)


def acknowledge_run(ack_ids: list[str], subscriptions: Subscriptions) -> list[str]:
    """Process several ACKs without headers other than ``id``.

    Args:
        ack_ids: The ``id`` of each ACK, in order.
        subscriptions: The session's subscriptions.

    Returns:
        The ids of the last ones, for which the turn has no time.

    Raises:
        ProtocolError: There was no such delivery; the ACKs before that one have taken effect.
    """
    # In pieces: what is left of a piece is copied for each ACK that stands alone in it.
    for start in range(0, len(ack_ids), _PIECE):
        rest = _acknowledge_piece(ack_ids[start : start + _PIECE], subscriptions)
        if rest:
            return rest + ack_ids[start + _PIECE :]
    return []


def _acknowledge_piece(ack_ids: list[str], subscriptions: Subscriptions) -> list[str]:
    while ack_ids:
        subscription = subscriptions.get(subscription_number(ack_ids[0]))
        deliveries, taken = ([], 0) if subscription is None else subscription.take(ack_ids)
        if subscription is None or not taken:
            try:
                found, taken = _find("ACK", ack_ids[0], subscriptions), 1
            except TurnOver:
                return ack_ids
            if found is None:
                ack_ids = ack_ids[1:]
                continue
            subscription, delivery = found
            deliveries, _ = subscription.take((delivery,))
        source = subscription.source
        assert source is not None  # only a source delivers what has to be acknowledged
        source.acknowledged([entry for _, entry in deliveries], subscription)
        ack_ids = ack_ids[taken:]
    return ack_ids


def _find(
    command: str, delivery: str, subscriptions: Subscriptions, named: str | None = None
) -> tuple[Subscription, str] | None:
    """Return the delivery that is not found by its ack id; None if it is not pending any more.

    Raises:
        ProtocolError: There was no such delivery.
    """
    try:
        return subscriptions.find(delivery, named)
    except KeyError:
        raise ProtocolError(
            f"{command} for an unknown or already acknowledged delivery",
            "This connection never had a delivery with that id that has to be acknowledged.",
        ) from None
