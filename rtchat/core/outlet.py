"""The way out: where a session's bytes gather until the end of a turn.

A *turn* is all that one read (or one timer) causes. Frames for one connection gather in its
:class:`Outlet` while the turn lasts and leave in one write at its end (:meth:`Cork.flush`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from rtchat.core.budget import Budget

__all__ = ["RAW", "ROOM_BYTES", "Cork", "Outlet", "OutletGroup", "Waiter", "Wire"]


class Wire(Protocol):
    """How a STOMP frame's bytes are packed for a kind of connection.

    Connections with the same wire object receive the same bytes for the same frame, so a
    message is packed once for all of them.
    """

    def wrap(self, data: bytes) -> bytes:
        """Give the bytes to send for one STOMP frame (or heart-beat)."""


class _Raw:
    """Plain TCP: a frame's bytes as they are."""

    def wrap(self, data: bytes) -> bytes:
        """Give the bytes unchanged."""
        return data


RAW: Wire = _Raw()
"""The wire of plain TCP."""


class Cork:
    """What is left to do at the end of this turn; one for all outlets of a server.

    Whoever starts a turn (a read, a timer) calls :meth:`flush` when it is over.

    Attributes:
        budget: What all outlets together may let wait.
        groups: Groups that gathered something.
        outlets: Outlets that gathered something.
        woken: What may go on now that something has made room, in order.
    """

    __slots__ = ("budget", "groups", "outlets", "woken")

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = Budget(0) if budget is None else budget
        self.outlets: dict[Outlet, None] = {}
        self.groups: dict[OutletGroup, None] = {}
        self.woken: dict[Callable[[], None], None] = {}

    def flush(self) -> None:
        """Let everybody go on who may, and every outlet send what it gathered."""
        # A flush may cut a connection, which leaves its groups and may gather more bytes
        # elsewhere: look at copies, and again until nothing is left.
        while self.groups or self.outlets or self.woken:
            while self.woken:
                woken, self.woken = self.woken, {}
                for go_on in woken:
                    go_on()
            groups, self.groups = self.groups, {}
            outlets, self.outlets = self.outlets, {}
            for group in groups:
                for outlet in list(group.members):
                    if outlet.pending:
                        outlet.flush()
            for outlet in outlets:
                if outlet.pending:
                    outlet.flush()
                if outlet.waiters and outlet.has_room:
                    outlet.pump()
            if self.budget.is_over:
                self.budget.on_over()


class OutletGroup:
    """Outlets that receive the same bytes; adding to all of them is one call each.

    Attributes:
        members: Each outlet with the ``append`` of its ``pending`` list.
    """

    __slots__ = ("cork", "members")

    def __init__(self, cork: Cork) -> None:
        self.cork = cork
        self.members: dict[Outlet, Callable[[bytes], None]] = {}

    def add(self, outlet: Outlet) -> None:
        """Let the outlet take part from now on."""
        self.members[outlet] = outlet.pending.append

    def remove(self, outlet: Outlet) -> None:
        """Let the outlet take no further part; what it gathered still leaves."""
        del self.members[outlet]
        self.cork.outlets[outlet] = None

    def send(self, data: bytes) -> None:
        """Gather the bytes, packed already, for every member.

        This is the inner loop of fan-out: a list append per subscriber and nothing else
        (see benchmarks/); lengths and limits are looked at once per turn, in the flush.
        """
        for append in self.members.values():
            append(data)
        self.cork.groups[self] = None


class Waiter(Protocol):
    """Whoever has more for an outlet than it has room for."""

    def pump(self) -> None:
        """There is room again."""


ROOM_BYTES = 64 * 1024
"""An outlet with less than this waiting takes more from those that can wait (queues, feeds)."""


class Outlet(ABC):
    """One client's way out.

    Attributes:
        pending: Bytes gathered in this turn, packed for the wire. The list stays the same
            object for the outlet's whole life; a flush empties it.
        gathered_bytes: How much of that was gathered by :meth:`send`.
        waiting_bytes: How much waits from earlier turns because the client does not read.
        waiters: Who has more to send once there is room.
        wire: How frames are packed.
        cork: Where to register for the end of the turn.
    """

    __slots__ = (
        "__weakref__",
        "cork",
        "gathered_bytes",
        "pending",
        "waiters",
        "waiting_bytes",
        "wire",
    )

    def __init__(self, cork: Cork, wire: Wire = RAW) -> None:
        self.cork = cork
        self.wire = wire
        self.pending: list[bytes] = []
        self.gathered_bytes = 0
        self.waiting_bytes = 0
        self.waiters: dict[Waiter, None] = {}

    @property
    def has_room(self) -> bool:
        """Whether those that can wait may send now."""
        return self.waiting_bytes + self.gathered_bytes < ROOM_BYTES

    def send(self, data: bytes) -> None:
        """Gather one STOMP frame's bytes; they leave at the end of the turn."""
        data = self.wire.wrap(data)
        self.pending.append(data)
        self.gathered_bytes += len(data)
        self.cork.outlets[self] = None

    def pump(self) -> None:
        """Tell those who wait that there is room; whoever still has more waits again."""
        waiters, self.waiters = self.waiters, {}
        while waiters and self.has_room:
            waiter = next(iter(waiters))
            del waiters[waiter]
            waiter.pump()
        # Those whose turn did not come are the first the next time.
        self.waiters = {**waiters, **self.waiters}

    @abstractmethod
    def flush(self) -> None:
        """Send what is pending, empty the list, and set ``gathered_bytes`` to 0."""

    @abstractmethod
    def overflow(self, waiting_bytes: int) -> None:
        """Cut the client: this much waits for it, which is too much."""
