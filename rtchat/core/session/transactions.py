"""What a session has begun and not yet committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rtchat.core.broker.router import Publication
from rtchat.core.broker.subscription import Entry, Source, Subscription
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["Acknowledgement", "Action", "Transactions", "relieved_by", "undo"]


class Acknowledgement(NamedTuple):
    """An ACK or NACK that waits for COMMIT.

    Attributes:
        subscription: Whose deliveries it is about.
        deliveries: Them, taken out of the subscription's ``unacked``.
        is_ack: ACK rather than NACK.
        requeue: Whether a NACK lets somebody else have them.
    """

    subscription: Subscription
    deliveries: list[tuple[str, Entry]]
    is_ack: bool
    requeue: bool

    def take_effect(self) -> None:
        """Tell the source what became of its messages."""
        self.subscription.reserved -= len(self.deliveries)
        source = self.subscription.source
        assert source is not None  # nobody else delivers what has to be acknowledged
        entries = [entry for _, entry in self.deliveries]
        if self.is_ack:
            source.acknowledged(entries)
        else:
            source.returned(entries, requeue=self.requeue)

    def undo(self) -> None:
        """Leave the deliveries as they were before, unacknowledged."""
        self.subscription.reserved -= len(self.deliveries)
        self.subscription.put_back(self.deliveries)


Action = Publication | Acknowledgement


class Transactions:
    """The open transactions of one session, by name.

    Args:
        limits: How many, and how large.
        account: Called with every change of the bytes that wait for a COMMIT.
    """

    __slots__ = ("_account", "_limits", "_open")

    def __init__(self, limits: Limits, account: Callable[[int], None]) -> None:
        self._limits = limits
        self._account = account
        self._open: dict[str, list[Action]] = {}

    def begin(self, name: str) -> None:
        """Open a transaction.

        Raises:
            ProtocolError: It is open already, or too many are.
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
        self._open[name] = []

    def check(self, name: str) -> None:
        """Refuse what cannot take one more action.

        Raises:
            ProtocolError: No such transaction is open, or it is full.
        """
        limit = self._limits.max_transaction_actions
        if len(self.actions(name)) >= limit:
            raise LimitExceeded(
                f"more than {limit} actions in a transaction",
                "The limit is transaction.max_actions of the server.",
            )

    def add(self, name: str, action: Action) -> None:
        """Let an action wait for COMMIT; :meth:`check` came before."""
        self._open[name].append(action)
        if not isinstance(action, Acknowledgement):
            self._account(action.size)

    def actions(self, name: str) -> list[Action]:
        """Give what waits in a transaction.

        Raises:
            ProtocolError: No such transaction is open.
        """
        actions = self._open.get(name)
        if actions is None:
            raise ProtocolError("no such transaction", "It needs a BEGIN with the same name first.")
        return actions

    def take(self, name: str) -> list[Action]:
        """Close a transaction and give what waited in it, in order.

        Raises:
            ProtocolError: No such transaction is open.
        """
        actions = self.actions(name)
        del self._open[name]
        self._account(
            -sum(action.size for action in actions if not isinstance(action, Acknowledgement))
        )
        return actions

    def names(self) -> list[str]:
        """Give the names of all open transactions."""
        return list(self._open)


def relieved_by(actions: Sequence[Action]) -> set[Source | None]:
    """Return the sources that get capacity because a transaction acknowledges their messages."""
    return {
        action.subscription.source
        for action in actions
        if isinstance(action, Acknowledgement) and action.is_ack
    }


def undo(actions: Sequence[Action]) -> list[Subscription]:
    """Undo acknowledgements, and return the subscriptions that they were about."""
    acknowledgements = [action for action in actions if isinstance(action, Acknowledgement)]
    for action in acknowledgements:
        action.undo()
    return [action.subscription for action in acknowledgements]
