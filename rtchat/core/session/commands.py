"""The commands of a connected client other than SEND.

Each command is a function of a session and a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, cast

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import Publisher
from rtchat.core.broker.rights import Rights
from rtchat.core.broker.router import Publication, Route
from rtchat.core.broker.steps import Steps
from rtchat.core.broker.subscription import Source
from rtchat.core.flow.token_bucket import Rate
from rtchat.core.session.acks import acknowledge
from rtchat.core.session.headers import required, wants_requeue
from rtchat.core.session.receipts import MustWait
from rtchat.core.session.subscriptions import Subscriptions
from rtchat.core.session.transactions import Action, Transactions, relieved_by, undo
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = [
    "abort",
    "ack",
    "begin",
    "commit",
    "disconnect",
    "nack",
    "subscribe",
    "unsubscribe",
]


_SUBSCRIBE_WORK = 60
"""The work of a SUBSCRIBE; see :mod:`rtchat.core.flow.turns`."""

_UNSUBSCRIBE_WORK = 30
"""The same of an UNSUBSCRIBE."""


class _Session(Publisher, Protocol):
    """The part of a session that the commands use."""

    broker: Broker
    is_closed: bool
    rights: Rights | None
    subscription_rate: Rate | None
    tokens: int
    waits_for: Rate | None
    subscriptions: Subscriptions
    transactions: Transactions
    committing: tuple[Frame, Sequence[Action]] | None

    def confirm(self, frame: Frame | None, more: Mapping[str, str] | None = None) -> None:
        """Send the RECEIPT that a frame requests, if any."""

    def take_token(self, rate: Rate) -> None:
        """Take a token for a frame, or raise ``TooFast``."""

    def wait_for_storage(self, *, is_done: bool = False) -> None:
        """Raise ``MustWait`` unless all messages of the client are stored."""

    def wait_for_capacity(self, route: Route, but: set[Source | None] | None = None) -> None:
        """Raise ``MustWait`` if a queue of the route is full."""

    def carry_out(self, steps: Steps) -> None:
        """Carry out the steps of a COMMIT, or raise ``TurnOver`` if they go on in later turns."""

    def wait_for_delivery(self, routes: Iterable[Route]) -> None:
        """Raise ``MustWait`` if SENDs just processed are delivered in parts."""


def subscribe(session: _Session, frame: Frame) -> None:
    """Open a subscription. Its RECEIPT comes before the messages that it lets loose."""
    session.wait_for_storage()
    session.broker.cork.work += _SUBSCRIBE_WORK
    if session.rights is not None and "destination" in frame.headers:
        session.broker.cork.work += session.rights.work
        session.rights.check_read(frame.headers["destination"])
    rate = session.subscription_rate
    if rate is not None:
        session.take_token(rate)
    try:
        for check in session.broker.subscribe_checks:
            check(cast(Principal, session), frame)
    except MustWait:
        session.waits_for, session.tokens = rate, 1  # it is tried again with this token
        raise
    if session.is_closed:
        return  # a check has subscribed it to more than it could take
    session.subscriptions.subscribe(frame, partial(session.confirm, frame))


def unsubscribe(session: _Session, frame: Frame) -> None:
    """End a subscription."""
    session.wait_for_storage()
    session.broker.cork.work += _UNSUBSCRIBE_WORK
    if session.subscription_rate is not None:
        session.take_token(session.subscription_rate)
    session.subscriptions.unsubscribe(frame)


def ack(session: _Session, frame: Frame) -> None:
    """Acknowledge a delivery."""
    acknowledge(frame, session.subscriptions, session.transactions, is_ack=True, requeue=False)


def nack(session: _Session, frame: Frame) -> None:
    """Reject a delivery."""
    requeue = wants_requeue(frame)
    acknowledge(frame, session.subscriptions, session.transactions, is_ack=False, requeue=requeue)


def begin(session: _Session, frame: Frame) -> None:
    """Open a transaction."""
    session.transactions.begin(required(frame, "transaction"))


def commit(session: _Session, frame: Frame) -> None:
    """Commit a transaction; retried from the start when a full queue has capacity again.

    From then on it is accepted: it is carried out to its end, in later turns if it takes long, also
    if the session ends meanwhile.

    Raises:
        MustWait: A queue is full, or messages have to be stored first.
        TurnOver: It goes on in later turns.
        ProtocolError: There is no such transaction, or a target refuses a message.
    """
    name = required(frame, "transaction")
    actions = session.transactions.actions(name)
    relieved = relieved_by(actions)
    routes = dict.fromkeys(one.route for one in actions if isinstance(one, Publication))
    for route in routes:
        if session.rights is not None:
            # They may have changed since the SEND.
            session.broker.cork.work += session.rights.check_write(route)
        session.wait_for_capacity(route, relieved)
    # Each action was checked when it was added, so from here on the transaction is closed.
    actions = session.transactions.take(name)
    parts = [one if isinstance(one, Publication) else one.take_effect for one in actions]
    session.committing = frame, actions
    try:
        steps = session.broker.publishing.commit(parts, session, frame)
    except ProtocolError:
        session.committing = None
        undo(actions)
        raise
    if steps is None:
        session.wait_for_storage(is_done=True)
    session.committing = None
    if steps is not None:
        session.carry_out(steps)
    if "receipt" in frame.headers:
        session.wait_for_delivery(routes)


def abort(session: _Session, frame: Frame) -> None:
    """Abort a transaction: drop its SENDs, and leave its deliveries unacknowledged."""
    undo(session.transactions.take(required(frame, "transaction")))


def disconnect(session: _Session, frame: Frame) -> None:
    """Wait for the storage. The session sends the RECEIPT and closes."""
    session.wait_for_storage()
