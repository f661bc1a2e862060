"""Memory that is nearly used up: who is slowed down, and who is closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from rtchat.core.broker.broker import Broker
from rtchat.core.flow.memory import Growing, MemoryPressure
from rtchat.core.flow.outbound import HIGH_WATER_BYTES
from rtchat.core.session.connection import CloseReason
from rtchat.core.session.session import Session
from rtchat.errors import LimitExceeded
from rtchat.net.connection.writer import ConnectionWriter

__all__ = ["Relief"]

_HARMLESS_BYTES = 2 * HIGH_WATER_BYTES
"""A client for which less is held may be a consumer that empties full queues; it is spared."""


class _Client(Protocol):
    """A client, as the relief sees it."""

    session: Session

    @property
    def writer(self) -> ConnectionWriter:
        """The send side of its connection."""

    @property
    def held_bytes(self) -> int:
        """How many bytes are held for it: its backlog, and all else."""

    def slow_down(self) -> None:
        """Read no more from it for a moment."""

    def close_as_slow(self, problem: LimitExceeded) -> None:
        """Drop the backlog, and end the session."""


class Relief:
    """Acts on clients while memory is nearly used up.

    A client is slowed down if its turn has left something behind: in a queue that has a part in
    it (:class:`~rtchat.core.broker.crowding.Crowding`), or in backlogs. All others are served as
    always. Over the limit, clients are closed.

    Args:
        broker: The broker, whose budget is the limit.
        clients: The connected clients.

    Attributes:
        growth: What clients have added to queues since memory came near its limit.
    """

    def __init__(self, broker: Broker, clients: Collection[_Client]) -> None:
        self._broker = broker
        self._clients = clients
        self._pressure: MemoryPressure[_Client] = MemoryPressure(broker.budget)
        self.growth = self._pressure.growth
        self._is_filled = False  # further, since the worst client was looked for

    def note_turn(self, client: _Client, grown: Mapping[Growing, int], left_bytes: int) -> None:
        """Note what a client's turn has left behind; slow the client down if that is why.

        Args:
            client: The client.
            grown: The places that its frames have made grow, and by how much.
            left_bytes: How many more bytes the server holds than before the turn.
        """
        session = client.session
        if session.is_closed:
            return
        has_part = False
        if grown:
            self._pressure.note_growth(client, grown)
            has_part = any(map(self._broker.crowding.has_part, grown))
            self._is_filled |= has_part
        has_published, session.has_published = session.has_published, False
        if has_published and (has_part or left_bytes > sum(grown.values())):
            client.slow_down()

    def after_turn(self, client: _Client, grown: Mapping[Growing, int], left_bytes: int) -> None:
        """Act after a turn of a client; the arguments are those of :meth:`note_turn`."""
        budget = self._broker.budget
        if budget.used >= budget.near_bytes:
            self.note_turn(client, grown, left_bytes)
            self.close_worst()
        else:
            self._pressure.growth.clear()

    def close_worst(self) -> None:
        """Close the client that has filled memory most, if it is filled beyond the limit."""
        is_filled, self._is_filled = self._is_filled, False
        worst = self._pressure.take_worst() if is_filled else None
        if worst is not None:
            budget = self._broker.budget
            problem = _too_much_added(worst[1], budget.used, budget.max_bytes)
            with self._broker.turn.part:
                worst[0].session.fail(problem)

    def forget(self, client: _Client) -> None:
        """Forget a client that has gone."""
        self.growth.pop(client, None)

    def relieve(self) -> None:
        """Close those for which most is held, if that is why memory is used up."""
        budget = self._broker.budget
        clients = (client for client in self._clients if not client.session.is_closed)
        held = {client: client.held_bytes for client in clients}
        for client in self._pressure.at_fault(held, _HARMLESS_BYTES):
            backlog = client.writer.waiting_bytes + client.session.unacknowledged_backlog_bytes
            if backlog * 2 >= held[client]:
                problem = _too_slow_by_far(held[client], budget.used, budget.max_bytes)
                client.close_as_slow(problem)
            else:
                client.session.fail(
                    _too_much_held(held[client], budget.used, budget.max_bytes),
                    reason=CloseReason.LIMIT,
                )


def _too_slow_by_far(held: int, used: int, limit: int) -> LimitExceeded:
    """Return the error for a client with a large backlog.

    Args:
        held: The size of its backlog in bytes.
        used: How many bytes the server holds.
        limit: How many it may hold.
    """
    return LimitExceeded(
        f"too slow: {held} bytes wait for this client, more than for any other, and the "
        f"server's memory limit of {limit} bytes is reached",
        f"The server holds {used} bytes. The limit is memory.max_bytes of the server.",
    )


def _too_much_held(held: int, used: int, limit: int) -> LimitExceeded:
    """Return the error for a client for which much is held, beside its backlog."""
    return LimitExceeded(
        f"too much: {held} bytes are held for this client, more than for any other, and the "
        f"server's memory limit of {limit} bytes is reached",
        f"The server holds {used} bytes. What is held for a client are its subscriptions, "
        "deliveries without ACK, transactions, and frames that wait or are incomplete. The limit "
        "is memory.max_bytes of the server.",
    )


def _too_much_added(left_behind: int, used: int, limit: int) -> LimitExceeded:
    """Return the error for the client that has added most to queues."""
    return LimitExceeded(
        f"too much: {left_behind} bytes of this client were added to queues while memory was "
        f"short, more than of any other, and the server's memory limit of {limit} bytes is reached",
        f"The server holds {used} bytes. What it has confirmed it keeps. "
        "The limit is memory.max_bytes of the server.",
    )
