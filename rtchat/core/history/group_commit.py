"""The way of kept messages to the file: in batches, and seen by nobody before they are there.

A message waits here until the batch it is in is in the file. Then it has its offset, is delivered,
and its publisher gets the RECEIPT. One batch is being written at a time; what comes meanwhile is
the next one. So offsets have no gaps, and nobody ever sees a message that a crash takes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from rtchat.core.broker.encoder import passed_on_lines
from rtchat.core.broker.message import Message
from rtchat.core.broker.provider import Publisher, Step
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.store import Batch, Row, Store, StreamDelta
from rtchat.core.history.stream import KeptMessage, Stream
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["CommitListener", "GroupCommit"]

_MAX_WAITING_BYTES = 4 * 1024 * 1024
"""What may wait for the file before publishers have to wait, too."""

_MAX_BATCH_UNITS = 10_000


class CommitListener(Protocol):
    """Who hears of what is in the file."""

    def batch_written(self, batch: Batch) -> None:
        """All of it is in the file; a call for each of its messages follows."""

    def message_written(self, message: KeptMessage) -> None:
        """The message may be seen."""


class _Unit(NamedTuple):
    """What one frame causes; all of it happens when it is written, in order, or nothing."""

    steps: Sequence[Step]
    publisher: Publisher | None
    cause: Frame
    size: int


class GroupCommit:
    """What waits for the file, and what is being written.

    Args:
        history: Who hears of what is in the file.
        store: The file.
        epoch: The epoch of destinations that the file does not know.
        cork: What is left to do at the end of the turn.
        account: Called with every change of the bytes that wait.

    Attributes:
        epoch: As above; it goes with the next batch.
        forgotten: The numbers of streams that give up their place in the next batch.
    """

    __slots__ = (
        "_account",
        "_cork",
        "_history",
        "_is_writing",
        "_store",
        "_units",
        "_waiting_bytes",
        "_when_idle",
        "epoch",
        "forgotten",
    )

    def __init__(
        self,
        history: CommitListener,
        store: Store,
        epoch: str,
        cork: Cork,
        account: Callable[[int], None],
    ) -> None:
        self.epoch = epoch
        self.forgotten: list[int] = []
        self._history = history
        self._store = store
        self._cork = cork
        self._account = account
        self._units: list[_Unit] = []
        self._waiting_bytes = 0
        self._is_writing = False
        self._when_idle: Callable[[], None] | None = None

    def commit(
        self,
        steps: Sequence[Step],
        publisher: Publisher | None,
        cause: Frame,
    ) -> None:
        """Let messages wait for the file, and for what comes with them.

        Args:
            steps: What happens once they are written, in order. The streams are admitted.
            publisher: Who wants to know.
            cause: The frame that all this comes from.
        """
        size = 0
        for step in steps:
            if isinstance(step, KeptMessage):
                step.stream.waiting += 1
                size += step.row_size
        if not self._units and not self._is_writing:
            self._cork.woken[self._hand_over] = None
        self._units.append(_Unit(steps, publisher, cause, size))
        self._waiting_bytes += size
        self._account(size)
        if publisher is not None:
            publisher.message_accepted(is_much=self._waiting_bytes > _MAX_WAITING_BYTES)

    def _hand_over(self) -> None:
        """Have what waits written, if nothing is being written."""
        if self._is_writing or not self._units:
            return
        units = self._units[:_MAX_BATCH_UNITS]
        del self._units[:_MAX_BATCH_UNITS]
        rows: list[Row] = []
        grown: dict[Stream, list[int]] = {}  # next offset, bytes
        for unit in units:
            for message in unit.steps:
                if not isinstance(message, KeptMessage):
                    continue
                stream = message.stream
                delta = grown.get(stream)
                if delta is None:
                    delta = grown[stream] = [stream.next, 0]
                message.offset = offset = delta[0]
                message.position = b"%b%d" % (stream.position_prefix, offset)
                row = Row(
                    stream.number,
                    offset,
                    message.time_s,
                    message.id,
                    passed_on_lines(message),
                    message.frame.body,
                )
                rows.append(row)
                delta[0] += 1
                delta[1] += message.row_size
        streams = [
            StreamDelta(stream.number, stream.name, stream.epoch, *delta)
            for stream, delta in grown.items()
        ]
        forgotten, self.forgotten = self.forgotten, []
        batch = Batch(rows, streams, forgotten, self.epoch)
        self._is_writing = True
        self._store.write(batch, partial(self._settle, units, batch))

    def _settle(self, units: list[_Unit], batch: Batch, problem: str) -> None:
        self._is_writing = False
        error: ProtocolError | None = None
        if problem:
            self.forgotten = [*batch.forgotten, *self.forgotten]
            error = ProtocolError(
                "history cannot be written",
                "The message was not published: nobody has seen it. Send it again later. The "
                "server's log says why.",
            )
        size = sum(unit.size for unit in units)
        self._waiting_bytes -= size
        self._account(-size)
        if not problem:
            self._history.batch_written(batch)
        for unit in units:
            for step in unit.steps:
                if isinstance(step, KeptMessage):
                    step.stream.waiting -= 1
                    if error is None:
                        self._history.message_written(step)
                elif error is None and not isinstance(step, Message):
                    step()
            if unit.publisher is not None:
                unit.publisher.message_settled(unit.cause, error)
        if self._units:
            # What this turn still brings is part of the next batch.
            self._cork.woken[self._hand_over] = None
        elif self._when_idle is not None:
            call, self._when_idle = self._when_idle, None
            call()

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once nothing is on its way to the file; now, if nothing is."""
        if self._is_writing or self._units:
            self._when_idle = call
        else:
            call()
