"""The way out: where a session's bytes gather until the end of a turn.

A *turn* is all that one read (or one timer) causes. Frames for one connection gather in its
:class:`Outlet` while the turn lasts and leave in one write at its end (:meth:`Cork.flush`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

__all__ = ["RAW", "Cork", "Outlet", "OutletGroup", "Wire"]


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
    """Who has something to send at the end of this turn; one for all outlets of a server.

    Whoever starts a turn (a read, a timer) calls :meth:`flush` when it is over.
    """

    __slots__ = ("groups", "outlets")

    def __init__(self) -> None:
        self.outlets: dict[Outlet, None] = {}
        self.groups: dict[OutletGroup, None] = {}

    def flush(self) -> None:
        """Let every outlet send what it gathered."""
        # A flush may cut a connection, which leaves its groups and may gather more bytes
        # elsewhere: look at copies, and again until nothing is left.
        while self.groups or self.outlets:
            groups, self.groups = self.groups, {}
            outlets, self.outlets = self.outlets, {}
            for group in groups:
                for outlet in list(group.members):
                    if outlet.pending:
                        outlet.flush()
            for outlet in outlets:
                if outlet.pending:
                    outlet.flush()


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


class Outlet(ABC):
    """One client's way out.

    Attributes:
        pending: Bytes gathered in this turn, packed for the wire. The list stays the same
            object for the outlet's whole life; a flush empties it.
        wire: How frames are packed.
        cork: Where to register for the end of the turn.
    """

    __slots__ = ("__weakref__", "cork", "pending", "wire")

    def __init__(self, cork: Cork, wire: Wire = RAW) -> None:
        self.cork = cork
        self.wire = wire
        self.pending: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Gather one STOMP frame's bytes; they leave at the end of the turn."""
        self.pending.append(self.wire.wrap(data))
        self.cork.outlets[self] = None

    @abstractmethod
    def flush(self) -> None:
        """Send what is pending and empty the list."""
