"""The open transactions of a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rtchat.core.broker.queue import Queue
from rtchat.core.broker.router import Publication
from rtchat.core.broker.subscription import Entry, Source, Subscription
from rtchat.core.flow.holding import Holding
from rtchat.core.session.costs import ACTION_BYTES
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["Acknowledgement", "Action", "Transactions", "relieved_by", "settle", "undo"]


def settle(
    subscription: Subscription, entries: Sequence[Entry], *, is_ack: bool, requeue: bool
) -> None:
    """Report deliveries to their source as acknowledged, or as failed and returned."""
    source = subscription.source
    assert source is not None  # only a source delivers what has to be acknowledged
    if is_ack:
        source.acknowledged(entries, subscription)
        return
    for entry in entries:
        entry.failures += 1
    source.returned(entries, requeue=requeue, consumer=subscription)


class Acknowledgement(NamedTuple):
    """An ACK or NACK that waits for COMMIT.

    Attributes:
        subscription: The subscription of the deliveries.
        deliveries: The deliveries by ack id, removed from the subscription's ``unacked``.
        is_ack: True for an ACK, false for a NACK.
        requeue: Whether messages rejected by a NACK may be redelivered.
    """

    subscription: Subscription
    deliveries: list[tuple[str, Entry]]
    is_ack: bool
    requeue: bool

    @property
    def size(self) -> int:
        """The size that counts towards the memory budget, in bytes."""
        return ACTION_BYTES

    def take_effect(self) -> None:
        """Report the deliveries to their source as acknowledged or returned."""
        self.subscription.reserved -= len(self.deliveries)
        entries = [entry for _, entry in self.deliveries]
        settle(self.subscription, entries, is_ack=self.is_ack, requeue=self.requeue)


Action = Publication | Acknowledgement


class _Transaction:
    """An open transaction: its actions, and how many they are for the limit."""

    __slots__ = ("actions", "size")

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.size = 0


class Transactions:
    """The open transactions of one session, by name.

    Args:
        limits: The limits on the number and size of transactions.
        holding: What is held for the client.
    """

    __slots__ = ("_holding", "_limits", "_open")

    def __init__(self, limits: Limits, holding: Holding) -> None:
        self._limits = limits
        self._holding = holding
        self._open: dict[str, _Transaction] = {}

    def begin(self, name: str) -> None:
        """Open a transaction.

        Raises:
            ProtocolError: It is open already.
            LimitExceeded: Too many are open.
        """
        if name in self._open:
            raise ProtocolError(
                "transaction begun twice", "COMMIT or ABORT it before the next BEGIN of that name."
            )
        limit = self._limits.max_transactions
        if len(self._open) >= limit:
            raise LimitExceeded(
                f"more than {limit} transactions open",
                "The limit is transaction.max_count of the server, for one session.",
            )
        self._open[name] = _Transaction()

    def check(self, name: str, count: int = 1) -> None:
        """Make sure that a transaction can take more actions.

        Args:
            name: The transaction.
            count: How many: a SEND to several destinations is one for each of them.

        Raises:
            ProtocolError: No such transaction is open.
            LimitExceeded: It would have more than the largest allowed number of actions.
        """
        limit = self._limits.max_transaction_actions
        if self._get(name).size + count > limit:
            raise LimitExceeded(
                f"more than {limit} actions in a transaction",
                "The limit is transaction.max_actions of the server.",
            )

    def add(self, name: str, action: Action) -> None:
        """Add an action to a transaction; call :meth:`check` before."""
        transaction = self._open[name]
        transaction.actions.append(action)
        if isinstance(action, Acknowledgement):
            transaction.size += 1
        else:
            transaction.size += len(action.route.targets)
        self._holding.add(action.size)

    def actions(self, name: str) -> list[Action]:
        """Return the actions of a transaction, in order.

        Raises:
            ProtocolError: No such transaction is open.
        """
        return self._get(name).actions

    def take(self, name: str) -> list[Action]:
        """Close a transaction; return its actions, in order.

        Raises:
            ProtocolError: No such transaction is open.
        """
        actions = self.actions(name)
        del self._open[name]
        self._holding.add(-sum(action.size for action in actions))
        return actions

    def reserved(self) -> Iterator[tuple[Subscription, int]]:
        """Return the subscriptions with ACKs or NACKs in open transactions, and their number."""
        for transaction in self._open.values():
            for action in transaction.actions:
                if isinstance(action, Acknowledgement):
                    yield action.subscription, len(action.deliveries)

    def names(self) -> list[str]:
        """Return the names of all open transactions."""
        return list(self._open)

    def _get(self, name: str) -> _Transaction:
        transaction = self._open.get(name)
        if transaction is None:
            raise ProtocolError("no such transaction", "It needs a BEGIN with the same name first.")
        return transaction


def relieved_by(actions: Sequence[Action]) -> set[Source | None]:
    """Return the sources that a transaction gives capacity by acknowledging their messages.

    A queue that holds twice what it may is among them only if it does not grow further.
    """
    relieved = {
        action.subscription.source
        for action in actions
        if isinstance(action, Acknowledgement) and action.is_ack
    }
    return {
        source
        for source in relieved
        if not (isinstance(source, Queue) and source.is_doubly_full and _grows(source, actions))
    }


def _grows(queue: Queue, actions: Sequence[Action]) -> bool:
    """Return whether a transaction makes a queue exceed twice its limits further."""
    count = size = 0
    for action in actions:
        if isinstance(action, Publication):
            copies = [target.name for target in action.route.targets].count(queue.name)
            count += copies
            size += copies * action.size
        elif action.is_ack and action.subscription.source is queue:
            count -= len(action.deliveries)
            size -= sum(entry.size for _, entry in action.deliveries)
    return queue.would_be_over(count, size)


def undo(actions: Sequence[Action]) -> list[Subscription]:
    """Make the deliveries of the actions unacknowledged again; return their subscriptions."""
    # One call for each subscription, which brings the deliveries into order.
    undone: dict[Subscription, list[tuple[str, Entry]]] = {}
    for action in actions:
        if isinstance(action, Acknowledgement):
            undone.setdefault(action.subscription, []).extend(action.deliveries)
    for subscription, deliveries in undone.items():
        subscription.reserved -= len(deliveries)
        subscription.put_back(deliveries)
    return list(undone)
