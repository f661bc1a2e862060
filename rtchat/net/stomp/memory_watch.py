"""Memory that is nearly used up: who is slowed down, and who is closed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from rtchat.core.broker.broker import Broker
from rtchat.core.flow.memory import Growing, MemoryPressure
from rtchat.core.flow.outbound import HIGH_WATER_BYTES
from rtchat.core.session.session import Session
from rtchat.errors import LimitExceeded
from rtchat.net.stomp.backlogs import too_much_added, too_slow_by_far

__all__ = ["MemoryClient", "MemoryWatch"]

_HARMLESS_BYTES = 2 * HIGH_WATER_BYTES
"""A client with a smaller backlog may be a consumer that empties full queues; it is spared."""


class MemoryClient(Protocol):
    """A client, as the watch sees it."""

    session: Session

    @property
    def held_bytes(self) -> int:
        """How many bytes wait for it."""

    def slow_down(self) -> None:
        """Read no more from it for a moment."""

    def close_as_slow(self, problem: LimitExceeded) -> None:
        """Drop the backlog, and end the session."""


class MemoryWatch:
    """Acts on clients while memory is nearly used up.

    A client is slowed down if its turn has left something behind: in a queue that has a part in
    it (:class:`~rtchat.core.broker.crowding.Crowding`), or in backlogs. All others are served as
    always. Over the limit, the client that has added most is closed, or the one with the largest
    backlog.

    Args:
        broker: The broker.
        clients: All clients.

    Attributes:
        pressure: What each client has added.
    """

    def __init__(self, broker: Broker, clients: Collection[MemoryClient]) -> None:
        self._broker = broker
        self._clients = clients
        self._is_filled = False  # further, since the worst client was looked for
        self.pressure: MemoryPressure[MemoryClient] = MemoryPressure(broker.budget)
        broker.budget.on_over = self._relieve

    def note_turn(
        self, client: MemoryClient, grown: Mapping[Growing, int], left_bytes: int
    ) -> None:
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
            self.pressure.note_growth(client, grown)
            has_part = any(map(self._broker.crowding.has_part, grown))
            self._is_filled |= has_part or session.transactions in grown
        has_published, session.has_published = session.has_published, False
        if has_published and (has_part or left_bytes > sum(grown.values())):
            client.slow_down()

    def after_turn(
        self, client: MemoryClient, grown: Mapping[Growing, int], left_bytes: int
    ) -> None:
        """Act after a turn of a client; the arguments are those of :meth:`note_turn`."""
        budget = self._broker.budget
        if budget.used >= budget.near_bytes:
            self.note_turn(client, grown, left_bytes)
            self.close_worst()
        else:
            self.pressure.growth.clear()

    def close_worst(self) -> None:
        """Close the client that has filled memory most, if it is filled beyond the limit."""
        is_filled, self._is_filled = self._is_filled, False
        worst = self.pressure.take_worst() if is_filled else None
        if worst is not None:
            budget = self._broker.budget
            problem = too_much_added(worst[1], budget.used, budget.max_bytes)
            with self._broker.turn:
                worst[0].session.fail(problem)

    def forget(self, client: MemoryClient) -> None:
        """Forget a client that is gone."""
        self.pressure.growth.pop(client, None)

    def _relieve(self) -> None:
        """Close the client with the largest backlog, if backlogs are why memory is used up."""
        backlogs = {client: client.held_bytes for client in self._clients}
        worst = self.pressure.largest_backlog(backlogs, _HARMLESS_BYTES)
        if worst is not None:
            budget = self._broker.budget
            worst.close_as_slow(too_slow_by_far(worst.held_bytes, budget.used, budget.max_bytes))
