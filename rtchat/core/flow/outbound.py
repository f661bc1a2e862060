"""The way out: where a session's bytes gather until the end of a turn.

A *turn* is all that one read (or one timer) causes. Frames for one connection gather in its
:class:`Outbound` while the turn lasts and leave in one write at its end (:meth:`Cork.flush`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from rtchat.core.flow.memory import Budget

__all__ = [
    "HIGH_WATER_BYTES",
    "RAW",
    "Cork",
    "Framing",
    "Outbound",
    "OutboundGroup",
    "PausedSource",
]


class Framing(Protocol):
    """How a STOMP frame's bytes are packed for a kind of connection.

    Connections with the same wire object receive the same bytes for the same frame, so a
    message is packed once for all of them.
    """

    def wrap(self, data: bytes) -> bytes:
        """Give the bytes to send for one STOMP frame (or heart-beat)."""

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        """Give what :meth:`wrap` puts before each of several frames of one length.

        Args:
            length: How many bytes each has.
            parts: What they consist of.

        Returns:
            None if they have to be packed one by one.
        """


class _Raw:
    """Plain TCP: a frame's bytes as they are."""

    def wrap(self, data: bytes) -> bytes:
        """Give the bytes unchanged."""
        return data

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        """Nothing stands before a frame."""
        return b""


RAW: Framing = _Raw()
"""The wire of plain TCP."""


class Cork:
    """The work that is left for the end of this turn; one for all outbounds of a server.

    A cork is the context of a turn::

        with broker.turn as turn:
            session.receive(data)  # turn.now is the time

    Entering reads the clock. Leaving resumes what waits for capacity and sends what was gathered,
    also after an exception.

    Args:
        budget: The limit on all that waits; without one there is no limit.

    Attributes:
        batch: What the gathering group has gathered, for each of its members.
        budget: The limit on all that waits.
        gathering: The group that gathers now.
        groups: Groups that gathered something.
        now: The time at which the turn began, in seconds since 1970.
        outbounds: Outbounds that gathered something.
        seconds: Returns the time in seconds since 1970; without a clock ``now`` stays as it is set.
        unserved: During a flush: members that ``batch`` is still for, with their ``pending``.
        woken: Callbacks to run at the end of the turn, in order: what may continue now that there
            is capacity.
    """

    __slots__ = (
        "batch",
        "budget",
        "gathering",
        "groups",
        "now",
        "outbounds",
        "seconds",
        "unserved",
        "woken",
    )

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = Budget(0) if budget is None else budget
        self.now = 0.0
        self.seconds: Callable[[], float] = self._same_time
        self.outbounds: dict[Outbound, None] = {}
        self.groups: dict[OutboundGroup, None] = {}
        self.woken: dict[Callable[[], None], None] = {}
        self.gathering: OutboundGroup | None = None
        self.batch: list[bytes] = []
        self.unserved: dict[Outbound, list[bytes]] = {}

    def __enter__(self) -> Cork:
        """Begin a turn."""
        self.now = self.seconds()
        return self

    def __exit__(self, *_: object) -> None:
        """End the turn: resume what may continue, and send what every outbound has gathered."""
        # A flush may cut a connection, which leaves its groups and may gather more bytes
        # elsewhere: look at copies, and again until nothing is left.
        while self.groups or self.outbounds or self.woken:
            while self.woken:
                woken, self.woken = self.woken, {}
                for resume in woken:
                    resume()
            groups, self.groups = self.groups, {}
            outbounds, self.outbounds = self.outbounds, {}
            gathering = self.gathering
            if gathering is not None and len(groups) == 1:
                self.gathering = None
                self._serve(gathering)
            else:
                self.settle()
                for group in groups:
                    for outbound in list(group.members):
                        if outbound.pending:
                            outbound.flush()
            for outbound in outbounds:
                if outbound.pending:
                    outbound.flush()
                if outbound.paused_sources and outbound.is_writable:
                    outbound.on_drain()
            budget = self.budget
            if budget.used > budget.over_bytes:
                budget.on_over()

    def flush(self) -> None:
        """End a turn that began without the context."""
        self.__exit__()

    def settle(self) -> None:
        """Give what a group has gathered to its members, because something else comes after it.

        As long as nothing else does, what a group gathers is kept once for all members, and
        joined once (see :meth:`_serve`).
        """
        if self.gathering is None and not self.unserved:
            return
        group, self.gathering = self.gathering, None
        batch, self.batch = self.batch, []
        for pending in (self.unserved if group is None else group.members).values():
            pending += batch
        self.unserved.clear()

    def _serve(self, group: OutboundGroup) -> None:
        """Send each member of a group what was gathered for all of them, joined once."""
        batch, unserved = self.batch, self.unserved
        is_alone = len(batch) == 1
        shared = batch[0] if is_alone else b"".join(batch)
        unserved.update(group.members)
        for outbound in list(unserved):
            pending = unserved.pop(outbound, None)
            if pending is None:
                # A member that was served before caused something else, so settle() gave this
                # one its share first.
                if outbound.pending:
                    outbound.flush()
            elif pending:
                pending += batch
                outbound.flush()
            else:
                outbound.flush_shared(shared, batch)
        if self.batch is batch:
            self.batch = []

    def _same_time(self) -> float:
        return self.now


class OutboundGroup:
    """Outlets that receive the same bytes.

    Attributes:
        members: Each outlet with its ``pending`` list.
    """

    __slots__ = ("cork", "members")

    def __init__(self, cork: Cork) -> None:
        self.cork = cork
        self.members: dict[Outbound, list[bytes]] = {}

    def add(self, outbound: Outbound) -> None:
        """Let the outlet take part from now on."""
        if self.cork.gathering is self:
            self.cork.settle()
        self.members[outbound] = outbound.pending

    def remove(self, outbound: Outbound) -> None:
        """Let the outlet take no further part; what it gathered still leaves."""
        if self.cork.gathering is self or self.cork.unserved:
            self.cork.settle()
        del self.members[outbound]
        self.cork.outbounds[outbound] = None

    def send(self, messages: list[bytes]) -> None:
        """Gather messages, packed already, for every member.

        This is the inner loop of fan-out, and it has no loop: however many members there are,
        the messages are put on one list. Lengths and limits are looked at once a turn, in the
        flush.
        """
        cork = self.cork
        if cork.gathering is not self:
            if cork.gathering is not None or cork.unserved:
                cork.settle()
            cork.gathering = self
            cork.groups[self] = None
        cork.batch += messages


class PausedSource(Protocol):
    """Whoever has more for an outlet than it has room for."""

    def on_drain(self) -> None:
        """There is room again."""


HIGH_WATER_BYTES = 64 * 1024
"""An outlet with less than this waiting takes more from those that can wait (queues, feeds)."""


class Outbound(ABC):
    """One client's way out.

    Attributes:
        pending: Bytes gathered in this turn, packed for the wire. The list stays the same
            object for the outlet's whole life; a flush empties it.
        gathered_bytes: How much of that was gathered by :meth:`send`.
        waiting_bytes: How much waits from earlier turns because the client does not read.
        paused_sources: Who has more to send once there is room.
        framing: How frames are packed.
        cork: Where to register for the end of the turn.
    """

    __slots__ = (
        "__weakref__",
        "cork",
        "framing",
        "gathered_bytes",
        "paused_sources",
        "pending",
        "waiting_bytes",
    )

    def __init__(self, cork: Cork, framing: Framing = RAW) -> None:
        self.cork = cork
        self.framing = framing
        self.pending: list[bytes] = []
        self.gathered_bytes = 0
        self.waiting_bytes = 0
        self.paused_sources: dict[PausedSource, None] = {}

    @property
    def is_writable(self) -> bool:
        """Whether sources that can wait may send now."""
        return self.waiting_bytes + self.gathered_bytes < HIGH_WATER_BYTES

    def is_writable_for(self, source: PausedSource) -> bool:
        """Return whether a source may send now; if not, it is told once it may."""
        if self.waiting_bytes + self.gathered_bytes < HIGH_WATER_BYTES:
            return True
        self.paused_sources[source] = None
        return False

    def send(self, data: bytes) -> None:
        """Gather one STOMP frame's bytes; they leave at the end of the turn."""
        if self.framing is not RAW:
            data = self.framing.wrap(data)
        cork = self.cork
        if cork.gathering is not None or cork.unserved:
            cork.settle()
        self.pending.append(data)
        self.gathered_bytes += len(data)
        cork.outbounds[self] = None

    def on_drain(self) -> None:
        """Tell those who wait that there is room; whoever still has more waits again."""
        paused_sources, self.paused_sources = self.paused_sources, {}
        while paused_sources and self.is_writable:
            waiter = next(iter(paused_sources))
            del paused_sources[waiter]
            waiter.on_drain()
        # Those whose turn did not come are the first the next time.
        self.paused_sources = {**paused_sources, **self.paused_sources}

    @abstractmethod
    def flush(self) -> None:
        """Send what is pending, empty the list, and set ``gathered_bytes`` to 0."""

    def flush_shared(self, shared: bytes, batch: list[bytes]) -> None:
        """Send what a whole group gathered; nothing else is pending.

        Args:
            shared: All of it, joined.
            batch: The same in pieces.
        """
        self.pending += batch
        self.flush()

    @abstractmethod
    def overflow(self, waiting_bytes: int) -> None:
        """Cut the client: this much waits for it, which is too much."""
