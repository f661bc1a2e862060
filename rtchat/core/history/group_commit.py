"""Group commit: messages are written in batches and become visible once the batch is durable.

Messages are queued here until the batch that contains them is in the file. Then they are delivered
in the order of their offsets, and their publishers get the RECEIPTs, in as many turns as that
takes. One batch is written at a time; messages that arrive meanwhile form the next one. So offsets
have no gaps, and no client ever sees a message that a crash can undo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from rtchat.core.broker.encoder import passed_on_lines
from rtchat.core.broker.message import Message
from rtchat.core.broker.provider import Publisher, Step
from rtchat.core.flow.memory import Growing
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.history.store import Batch, Row, Store, StreamDelta
from rtchat.core.history.stream import POSITION, KeptMessage, Stream
from rtchat.core.stomp.frames import Frame
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["CommitListener", "GroupCommit"]

_MAX_WAITING_BYTES = 4 * 1024 * 1024
"""Bytes that may be queued for the file before publishers are paused."""

_MAX_WAITING_STEPS = 4096
"""Messages, and other steps, that may be queued before publishers are paused."""

_MAX_BATCH_UNITS = 500
"""Frames whose messages are written at once."""

_MAX_BATCH_BYTES = 5 * 1024 * 1024
_MAX_BATCH_STEPS = 1000
"""Messages, and other steps, of several frames that are written at once."""

_STEP_WORK = 10
"""The work of delivering one of them."""

_UNIT_SHARE = 8
"""One frame may store this part of what the store may hold."""

_BATCH_SHARE = 32
"""A batch of several frames may have this part at the most."""


class CommitListener(Protocol):
    """Listens to what becomes durable.

    Attributes:
        is_unsettled: Whether it has to know when all messages of a batch were delivered.
    """

    is_unsettled: bool

    def batch_written(self, batch: Batch) -> None:
        """Called when a batch is durable, before the calls for its messages."""

    def message_written(self, message: KeptMessage) -> None:
        """Called for each durable message, in order: it may be delivered."""

    def refused(self, streams: Iterable[Stream]) -> None:
        """Called when messages to these streams, which were admitted, are refused."""

    def batch_settled(self, batch: Batch, *, is_written: bool) -> None:
        """Called after all that, or when the batch could not be written: it has no effect then.

        Only if ``is_unsettled`` is set, or it could not be written.
        """


class _Unit(NamedTuple):
    """The steps that one frame causes. Once written, all of them happen, in order, or none."""

    steps: Sequence[Step]
    publisher: Publisher | None
    cause: Frame
    size: int


class GroupCommit:
    """The queue of messages to store, and the batch that is being written.

    Args:
        listener: Listens to what becomes durable.
        store: The store.
        epoch: The epoch of destinations that the store does not know.
        cork: The cork of the server; a batch is handed to the store at the end of the turn.
        account: Called with each change in the number of queued bytes, and with this object.

    Attributes:
        epoch: As above; written with the next batch.
        forgotten: The numbers of streams that the next batch deletes.
    """

    __slots__ = (
        "_account",
        "_cork",
        "_is_writing",
        "_listener",
        "_max_batch_bytes",
        "_max_unit_bytes",
        "_store",
        "_units",
        "_waiting_bytes",
        "_waiting_steps",
        "_when_idle",
        "epoch",
        "forgotten",
    )

    is_emptied = True

    def __init__(
        self,
        listener: CommitListener,
        store: Store,
        epoch: str,
        cork: Cork,
        account: Callable[[int, Growing], None],
    ) -> None:
        self.epoch = epoch
        self.forgotten: list[int] = []
        self._max_unit_bytes = store.max_bytes // _UNIT_SHARE
        self._max_batch_bytes = min(_MAX_BATCH_BYTES, store.max_bytes // _BATCH_SHARE)
        self._listener = listener
        self._store = store
        self._cork = cork
        self._account = account
        self._units: list[_Unit] = []
        self._waiting_bytes = 0
        self._waiting_steps = 0
        self._is_writing = False
        self._when_idle: Callable[[], None] | None = None

    @property
    def bytes(self) -> int:
        """How many bytes are queued."""
        return self._waiting_bytes

    def commit(
        self,
        steps: Sequence[Step],
        publisher: Publisher | None,
        cause: Frame,
    ) -> None:
        """Queue the messages among the steps; run all steps once the messages are durable.

        Args:
            steps: The messages and other steps, in order. The messages' streams are admitted.
            publisher: The session to notify, or None.
            cause: The frame that caused the steps.

        Raises:
            LimitExceeded: The messages are too large to be stored at once; nothing was done.
        """
        size = 0
        for step in steps:
            if isinstance(step, KeptMessage):
                step.stream.waiting += 1
                size += step.held_size
        if size > self._max_unit_bytes:
            self._refuse(steps, size)
        if not self._units and not self._is_writing:
            self._cork.woken[self._write_batch] = None
        self._units.append(_Unit(steps, publisher, cause, size))
        self._waiting_bytes += size
        self._waiting_steps += len(steps)
        self._account(size, self)
        if publisher is not None:
            publisher.message_accepted(
                is_much=self._waiting_bytes > _MAX_WAITING_BYTES
                or self._waiting_steps > _MAX_WAITING_STEPS
            )

    def _refuse(self, steps: Sequence[Step], size: int) -> None:
        """Refuse what is too large to be stored at once."""
        streams: dict[Stream, None] = {}
        for step in steps:
            if isinstance(step, KeptMessage):
                step.stream.waiting -= 1
                streams[step.stream] = None
        self._listener.refused(streams)
        raise LimitExceeded(
            f"more than {self._max_unit_bytes} bytes to be kept at once",
            f"The messages of this frame have {size} bytes. They may have an eighth of what the "
            "history's file may have: the limit is file.max_bytes in [history] of the server.",
        )

    def forget(self, stream: int, epoch: str) -> None:
        """Delete a stream with the next batch; unknown destinations have a new epoch then."""
        self.forgotten.append(stream)
        self.epoch = epoch
        if not self._is_writing:
            self._cork.woken[self._write_batch] = None

    def _take_some(self) -> list[_Unit]:
        """Remove and return as many units as a batch may have: at least one, if there is any."""
        size = steps = count = 0
        for unit in self._units:
            size += unit.size
            steps += len(unit.steps)
            if count and (
                size > self._max_batch_bytes
                or steps > _MAX_BATCH_STEPS
                or count == _MAX_BATCH_UNITS
            ):
                break
            count += 1
        units = self._units[:count]
        del self._units[:count]
        return units

    def _write_batch(self) -> None:
        """Assign offsets to the queued messages and write them, unless a write is in progress."""
        if self._is_writing or not (self._units or self.forgotten):
            return
        if self._waiting_bytes > self._max_batch_bytes or len(self._units) > _MAX_BATCH_UNITS:
            units = self._take_some()
        else:
            units, self._units = self._units, []
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
                message.position = POSITION % (
                    stream.position_prefix,
                    offset,
                    message.sender_line,
                    int(message.time_s * 1000),
                )
                row = Row(
                    stream.number,
                    offset,
                    message.time_s,
                    message.id,
                    passed_on_lines(message) + message.sender_line,
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
        work = self._settling(units, batch, problem)
        for _ in work:
            self._cork.put_off(partial(self._cork.in_parts, work))
            return

    def _settling(self, units: list[_Unit], batch: Batch, problem: str) -> Iterator[None]:
        """Settle the units of a batch; yield where the turn has to end. The next batch waits."""
        error: ProtocolError | None = None
        # A bug in one step must not stop the other units and the batches after this one.
        bugs: list[Exception] = []
        if problem:
            self.forgotten = [*batch.forgotten, *self.forgotten]
            error = ProtocolError(
                "history cannot be written",
                "The message was not published: no client has received it. Send it again later. "
                "The server's log has the reason.",
            )
        else:
            try:
                self._listener.batch_written(batch)
            except Exception as bug:
                bugs.append(bug)
        size, is_kept_waiting = sum(unit.size for unit in units), False
        self._waiting_bytes -= size
        self._account(-size, self)
        for unit in units:
            self._waiting_steps -= len(unit.steps)
            for _ in self._carry_out(unit.steps, error, bugs):
                if not is_kept_waiting:
                    is_kept_waiting = True
                    _keep_waiting(units, 1)
                self._count_waiting(size)
                yield
                self._count_waiting(-size)
            size -= unit.size
            if unit.publisher is not None:
                try:
                    unit.publisher.message_settled(unit.cause, error)
                except Exception as bug:
                    bugs.append(bug)
        if is_kept_waiting:
            _keep_waiting(units, -1)
        self._all_settled(batch, error, bugs)

    def _carry_out(
        self, steps: Sequence[Step], error: ProtocolError | None, bugs: list[Exception]
    ) -> Iterator[None]:
        """Run steps if they were written; yield where the turn has to end."""
        cork = self._cork
        for step in steps:
            if cork.work >= TURN_WORK:
                yield
            cork.work += _STEP_WORK
            try:
                if isinstance(step, KeptMessage):
                    step.stream.waiting -= 1
                    if error is None:
                        self._listener.message_written(step)
                elif error is None and not isinstance(step, Message):
                    step()
            except Exception as bug:
                bugs.append(bug)

    def _count_waiting(self, size: int) -> None:
        """Count bytes that wait for their turn; a negative number takes them away."""
        self._waiting_bytes += size
        self._cork.budget.used += size

    def _all_settled(
        self, batch: Batch, error: ProtocolError | None, bugs: list[Exception]
    ) -> None:
        self._is_writing = False
        if error is not None or self._listener.is_unsettled:
            try:
                self._listener.batch_settled(batch, is_written=error is None)
            except Exception as bug:
                bugs.append(bug)
        if self._units or (self.forgotten and error is None):
            # Messages that arrive in the rest of this turn join the next batch.
            self._cork.woken[self._write_batch] = None
        elif self._when_idle is not None:
            call, self._when_idle = self._when_idle, None
            call()
        if bugs:
            raise bugs[0]

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call the function once no message is queued or being written; now, if none is."""
        if self._is_writing or self._write_batch in self._cork.woken:
            self._when_idle = call
        else:
            call()


def _keep_waiting(units: Sequence[_Unit], change: int) -> None:
    """Let the streams of a batch have a message more, or less, that waits.

    So none of them is taken for one without messages before the whole batch is settled.
    """
    steps = (step for unit in units for step in unit.steps)
    for stream in {step.stream: None for step in steps if isinstance(step, KeptMessage)}:
        stream.waiting += change
