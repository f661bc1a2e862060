"""Output buffering: a session's bytes are gathered and sent at the end of a turn.

A *turn* is the processing of one read or one timer. During a turn the frames for a connection are
gathered in its :class:`Outbound`; the end of the turn sends them in one write (:class:`Cork`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from rtchat.core.flow.framing import RAW, Framing, wrap_large
from rtchat.core.flow.large_frame import LARGE_BYTES, LargeFrame, Piece
from rtchat.core.flow.memory import Budget
from rtchat.core.flow.parts import PutOff, TurnPart
from rtchat.core.flow.turns import TURN_WORK, Turns

__all__ = [
    "HIGH_WATER_BYTES",
    "NOT_WATCHED",
    "RAW",
    "TURN_WORK",
    "Cork",
    "Framing",
    "Outbound",
    "OutboundGroup",
    "PausedSource",
]

_GROUP_WORK = 4
"""The work of encoding a message for one of several groups."""


_MOST_GATHERED_BYTES = 1024 * 1024
"""How many bytes of output a turn gathers before it sends them, where one frame causes many."""


class Cork(PutOff):
    """Work that is deferred to the end of a turn; one cork for all outbounds of a server.

    A cork is the context of a turn::

        with broker.turn as turn:
            session.receive(data)  # turn.now is the time

    Entering reads the clock. Leaving resumes what waits for capacity and sends what was gathered,
    also after an exception.

    Args:
        budget: The memory budget. The default has no limit.

    Attributes:
        later, turns, work: See :class:`~rtchat.core.flow.parts.PutOff`.
        batch: The bytes that the gathering group has gathered, for each of its members.
        budget: The memory budget.
        flushed: Callbacks to run at the end of the turn, after the flush.
        gathered_bytes: The size of what the turn has gathered where one frame may cause many, since
            that was last sent; see :meth:`send_some`.
        gathering: The group whose bytes ``batch`` holds, or None.
        indivisible_bytes: The size of what the turn publishes and cannot be taken in parts, such as
            the messages of a COMMIT; 0 if there is nothing of that kind.
        groups: Groups that gathered bytes in this turn, in order.
        is_open: Whether a turn has begun that was entered as a context, and has yet to end.
        memo: The message that a selector last looked at, how often it was returned, and the headers
            that the selector saw.
        outbounds: Outbounds that gathered bytes in this turn, in order.
        part: The context of what may happen within a turn, such as the end of a session.
        now: The time at which the turn began, in seconds since 1970.
        seconds: Returns the time in seconds, by a clock that is never set. Without a clock,
            ``now`` keeps the value that was assigned to it.
        ticks: The time at which the turn began, by that clock; for intervals.
        wall_offset_s: What to add to it to get the time since 1970. The owner of the clock keeps
            it up to date.
        unserved: During a flush: members that have yet to receive ``batch``, with their
            ``pending`` lists.
        woken: Callbacks to run at the end of the turn, in order, such as sources that may
            continue because there is capacity again.
    """

    __slots__ = (
        "_is_sending_some",
        "batch",
        "budget",
        "flushed",
        "gathered_bytes",
        "gathering",
        "groups",
        "indivisible_bytes",
        "is_open",
        "memo",
        "now",
        "outbounds",
        "part",
        "seconds",
        "ticks",
        "unserved",
        "wall_offset_s",
        "woken",
    )

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = Budget(0) if budget is None else budget
        self.now = self.ticks = self.wall_offset_s = 0.0
        self.seconds: Callable[[], float] = self._same_time
        self.outbounds: dict[Outbound, None] = {}
        self.groups: dict[OutboundGroup, None] = {}
        self.woken: dict[Callable[[], None], None] = {}
        self.flushed: dict[Callable[[], None], None] = {}
        self.later: dict[Callable[[], None], None] = {}
        self.memo: tuple[object, int, Mapping[str, str]] | None = None
        self.indivisible_bytes = 0
        self.gathering: OutboundGroup | None = None
        self.gathered_bytes = 0
        self.batch: list[Piece] = []
        self.unserved: dict[Outbound, list[Piece]] = {}
        self.turns = Turns()
        self.work = 0
        self.is_open = False
        self.part = TurnPart(self)
        self._is_sending_some = False

    def __enter__(self) -> Cork:
        """Begin a turn."""
        self.ticks = ticks = self.seconds()
        self.now = ticks + self.wall_offset_s
        self.work = 0
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        """End the turn: run ``woken`` callbacks and flush every outbound that gathered bytes."""
        # A flush may close a connection, which leaves its groups and may gather bytes for other
        # connections: iterate over copies, and repeat until nothing is left.
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
            if self.flushed:
                flushed, self.flushed = self.flushed, {}
                for call in flushed:
                    call()
            budget = self.budget
            if budget.used > budget.over_bytes:
                budget.on_over()
        self.is_open = False

    def send_some(self) -> None:
        """Send what was gathered if that is much, in the middle of a turn.

        So the backlogs are known before more is encoded, and a client that is over its limit is
        closed. Call it only where sessions may end: while nothing is iterated that they change.
        """
        if self.gathered_bytes <= _MOST_GATHERED_BYTES or self._is_sending_some:
            return
        self.work += self.gathered_bytes >> 10
        self.gathered_bytes = 0
        self._is_sending_some = True
        try:
            self.settle()
            groups, self.groups = self.groups, {}
            for group in groups:
                for outbound in list(group.members):
                    if outbound.pending:
                        outbound.flush()
            # They stay in the list: at the end of the turn their sources may go on.
            for outbound in list(self.outbounds):
                if outbound.pending:
                    outbound.flush()
        finally:
            self._is_sending_some = False
        if self.budget.used > self.budget.over_bytes:
            self.budget.on_over()

    def do_not_divide(self, size: int) -> None:
        """Let so many bytes of one turn exceed the limit of a backlog that is not large before."""
        self.indivisible_bytes = size
        self.flushed[self._divide] = None
        self.woken[_nothing] = None  # so the end of a turn without output comes to it, too

    def flush(self) -> None:
        """End a turn that was not entered as a context, or send what was gathered within one."""
        is_open = self.is_open
        self.__exit__()
        if is_open:
            self.is_open = True
        else:
            self.work = 0

    def settle(self) -> None:
        """Move the batch of the gathering group to its members: other output follows it.

        Until then the batch is stored, and later joined, once for all members (see
        :meth:`_serve`).
        """
        if self.gathering is None and not self.unserved:
            return
        group, self.gathering = self.gathering, None
        batch, self.batch = self.batch, []
        for pending in (self.unserved if group is None else group.members).values():
            pending += batch
        self.unserved.clear()

    def _serve(self, group: OutboundGroup) -> None:
        """Send the batch, joined once, to each member of the group."""
        batch, unserved = self.batch, self.unserved
        is_alone = len(batch) == 1
        try:
            shared = batch[0] if is_alone else b"".join(batch)  # type: ignore[arg-type]
        except TypeError:  # some are large frames
            shared = LargeFrame()
        if shared.__class__ is not bytes:
            self.gathering = group
            self.settle()
            for outbound in list(group.members):
                if outbound.pending:
                    outbound.flush()
            return
        unserved.update(group.members)
        for outbound in list(unserved):
            pending = unserved.pop(outbound, None)
            if pending is None:
                # Serving an earlier member caused other output, so settle() has moved the batch
                # to this one already.
                if outbound.pending:
                    outbound.flush()
            elif pending:
                pending += batch
                outbound.flush()
            else:
                outbound.flush_shared(shared, batch)
        if self.batch is batch:
            self.batch = []

    def _divide(self) -> None:
        self.indivisible_bytes = 0

    def _same_time(self) -> float:
        return self.now


def _nothing() -> None:
    """Do nothing."""


class OutboundGroup:
    """Outbounds that receive identical bytes.

    Attributes:
        members: The outbounds, each with its ``pending`` list.
    """

    __slots__ = ("cork", "members")

    def __init__(self, cork: Cork) -> None:
        self.cork = cork
        self.members: dict[Outbound, list[Piece]] = {}

    def add(self, outbound: Outbound) -> None:
        """Add an outbound; it receives what is sent from now on."""
        if self.cork.gathering is self:
            self.cork.settle()
        self.members[outbound] = outbound.pending

    def remove(self, outbound: Outbound) -> None:
        """Remove an outbound; what was gathered for it is still sent."""
        if self.cork.gathering is self or self.cork.unserved:
            self.cork.settle()
        del self.members[outbound]
        self.cork.outbounds[outbound] = None

    def send(self, messages: Sequence[Piece]) -> None:
        """Gather messages for every member.

        The cost does not depend on the number of members: the messages are appended to one list.
        Lengths and limits are checked once a turn, by the flush.

        Args:
            messages: Encoded frames, framed for the connection.
        """
        cork = self.cork
        if cork.gathering is not self:
            if cork.gathering is not None or cork.unserved:
                cork.settle()
            cork.gathering = self
            cork.groups[self] = None
            cork.work += _GROUP_WORK  # a single group's messages take less
        cork.batch += messages


class PausedSource(Protocol):
    """A source paused by back-pressure."""

    def on_drain(self) -> None:
        """Continue sending: the outbound is writable again."""


NOT_WATCHED = 1 << 62
"""The ``watched_bytes`` of an outbound that is not watched."""

HIGH_WATER_BYTES = 64 * 1024
"""The high-water mark: with this much buffered, an outbound pauses its sources (queues, topic
consumers, replays)."""


class Outbound(ABC):
    """The output buffer of one client.

    Attributes:
        pending: Bytes gathered in this turn, framed. The list is the same object for the lifetime
            of the outbound; a flush empties it.
        gathered_bytes: The number of bytes in ``pending`` that :meth:`send` gathered.
        waiting_bytes: The backlog: bytes from earlier turns that the client has not read yet.
        paused_sources: Sources to resume once the outbound is writable, in order.
        framing: The framing of the connection.
        cork: The cork of the server.
        watched_bytes: A backlog of more than this is watched.
        on_backlog: Called at the end of a turn that leaves a watched backlog, and of one in which
            a topic consumer has lost its own. Set it together with ``watched_bytes``.
    """

    __slots__ = (
        "__weakref__",
        "cork",
        "framing",
        "gathered_bytes",
        "on_backlog",
        "paused_sources",
        "pending",
        "waiting_bytes",
        "watched_bytes",
    )

    on_backlog: Callable[[], None]

    def __init__(self, cork: Cork, framing: Framing = RAW) -> None:
        self.cork = cork
        self.framing = framing
        self.pending: list[Piece] = []
        self.gathered_bytes = 0
        self.waiting_bytes = 0
        self.paused_sources: dict[PausedSource, None] = {}
        self.watched_bytes = NOT_WATCHED

    @property
    def is_writable(self) -> bool:
        """Whether less than the high-water mark is buffered, so that sources may send."""
        return self.waiting_bytes + self.gathered_bytes < HIGH_WATER_BYTES

    def is_writable_for(self, source: PausedSource) -> bool:
        """Return whether a source may send now. If not, pause it: ``on_drain`` will resume it."""
        if self.waiting_bytes + self.gathered_bytes < HIGH_WATER_BYTES:
            return True
        self.paused_sources[source] = None
        return False

    def send(self, data: bytes) -> None:
        """Gather the bytes of one STOMP frame; they are sent at the end of the turn."""
        cork = self.cork
        if self.framing is not RAW:
            if len(data) >= LARGE_BYTES:
                data = wrap_large(self.framing, data, cork)
            else:
                data = self.framing.wrap(data)
        if cork.gathering is not None or cork.unserved:
            cork.settle()
        self.pending.append(data)
        self.gathered_bytes += len(data)
        cork.outbounds[self] = None

    def send_large(self, frame: Piece) -> None:
        """Gather a frame that is framed already, and may be large."""
        cork = self.cork
        cork.settle()
        self.pending.append(frame)
        self.gathered_bytes += len(frame)
        cork.outbounds[self] = None

    def on_drain(self) -> None:
        """Resume paused sources, in order, until the high-water mark is reached again."""
        paused_sources, self.paused_sources = self.paused_sources, {}
        while paused_sources and self.is_writable:
            source = next(iter(paused_sources))
            del paused_sources[source]
            source.on_drain()
        # Sources that were not resumed come first the next time.
        self.paused_sources = {**paused_sources, **self.paused_sources}

    @abstractmethod
    def flush(self) -> None:
        """Send ``pending``, empty the list, and set ``gathered_bytes`` to 0."""

    def flush_shared(self, shared: bytes, batch: list[Piece]) -> None:
        """Send the batch of a group. Called only if nothing else is pending.

        Args:
            shared: The batch, joined.
            batch: The same bytes in pieces.
        """
        self.pending += batch
        self.flush()

    @abstractmethod
    def overflow(self, waiting_bytes: int) -> None:
        """Disconnect the client: its backlog is too large.

        Args:
            waiting_bytes: The size of the backlog in bytes.
        """
