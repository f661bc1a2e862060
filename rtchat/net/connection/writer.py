"""The send side of one connection: the backlog, its limit, and back-pressure.

Bytes go to the socket at once while nothing waits (arming the reactor for every write costs more
than twice as much, see benchmarks/). What the socket does not take goes to the transport, and all
that follows waits here until the transport has sent it. So the transport never holds more than one
write, and the size of the backlog is known exactly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from twisted.internet.interfaces import IPullProducer, IPushProducer
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.flow.large_frame import LargeFrame, Piece
from rtchat.core.flow.outbound import HIGH_WATER_BYTES, RAW, Cork, Framing, Outbound
from rtchat.net.connection.transport import StreamTransport
from rtchat.net.twisted_internals import Send, direct_send

__all__ = ["ConnectionWriter"]

_CHUNK_BYTES = 192 * 1024
"""How many bytes are handed to the transport at once: what one read of short messages becomes."""

_RESERVE_SHARE = 16
"""One part in this many of a small limit is reserved for one more message; of the default limit
that is HIGH_WATER_BYTES."""

_LARGE_BYTES = HIGH_WATER_BYTES * _RESERVE_SHARE
"""Limits from this size on are not small."""

_NO_BACKLOG: deque[Piece] = deque()
"""The backlog of every idle connection, never filled: an empty deque takes 620 bytes."""

_PRODUCER_HIGH_BYTES = 64 * 1024
"""A backlog of more than this pauses the producer (as in Twisted's own transports)."""


@implementer(IPullProducer, IPushProducer)
class ConnectionWriter(Outbound):
    """Sends the bytes of one connection, as fast as the other side reads.

    Args:
        transport: The transport underneath. The writer is its producer, and the only one that
            writes to it.
        cork: Collects the writers with gathered bytes until the end of the turn.
        framing: How STOMP frames are packed.
        is_busy: Whether the transport may already hold bytes (an HTTP answer).

    Attributes:
        max_backlog_bytes: How many bytes may wait for a client that does not read; None is no
            limit (then the producer must honour ``pauseProducing``). One message that is about as
            large as the limit, or larger, may wait beside that: its size is not the client's
            slowness. The same holds for one COMMIT, if no more than half of the limit waits.
        on_overflow: Called once when more waits, with the number of bytes.
        waiting_bytes: How many bytes wait now, including those that the transport holds.
    """

    __slots__ = (
        "_accounted_bytes",
        "_backlog",
        "_exempt_bytes",
        "_is_blocked",
        "_is_closed",
        "_is_producer_paused",
        "_large_sent",
        "_producer",
        "_send",
        "_socket",
        "_transport",
        "max_backlog_bytes",
        "on_overflow",
    )

    def __init__(
        self,
        transport: StreamTransport,
        cork: Cork,
        framing: Framing = RAW,
        *,
        is_busy: bool = False,
    ) -> None:
        super().__init__(cork, framing)
        self.max_backlog_bytes: int | None = None
        self.on_overflow: Callable[[int], None] = _ignore
        self._accounted_bytes = 0  # of the waiting bytes, in the budget
        self._transport = transport
        self._backlog = _NO_BACKLOG
        self._is_blocked = False
        self._is_closed = False
        self._producer: IPushProducer | None = None
        self._is_producer_paused = False
        self._exempt_bytes = 0  # of the one message that may be larger than the limit
        self._large_sent = 0  # bytes of the large frame at the front of the backlog
        # A plain socket is written to directly, and the transport calls when its buffer is empty
        # (pull). TLS and other transports are written to until they call for a pause (push).
        self._send, self._socket = direct_send(transport)
        is_plain = self._send is not None
        transport.registerProducer(self, not is_plain)
        self._is_blocked = is_busy and is_plain

    # For the sources of bytes

    @property
    @override
    def is_writable(self) -> bool:
        """Whether sources that can wait may send now; one message more is never an overflow."""
        limit = self.max_backlog_bytes
        capacity_bytes = (
            HIGH_WATER_BYTES if limit is None or limit >= _LARGE_BYTES else _reserve_bytes(limit)
        )
        return self.waiting_bytes + self.gathered_bytes < capacity_bytes

    @property
    def next_piece(self) -> object:
        """What the transport gets next: something else as soon as it has sent what it holds."""
        return (self._backlog[0], self._large_sent) if self._backlog else None

    @property
    def _backlog_bytes(self) -> int:
        return sum(map(len, self._backlog)) - self._large_sent

    @override
    def flush(self) -> None:
        pending = self.pending
        self.gathered_bytes = 0
        if self._is_closed:
            pending.clear()
            return
        limit = self.max_backlog_bytes
        if not self._is_blocked:
            if len(pending) == 1:
                piece = pending[0]
                pending.clear()
                if piece.__class__ is bytes:
                    self._write(piece)
                else:
                    self._append([piece])
                    self._send_backlog()
                if self.waiting_bytes:
                    self._exempt(len(piece))
                return
            try:
                data: bytes | None = b"".join(pending)  # type: ignore[arg-type]
            except TypeError:  # some are large frames
                data = None
            if data is not None and len(data) <= _CHUNK_BYTES:
                pending.clear()
                self._write(data)
                return
            # One turn may produce much more than the limit (many subscriptions of one client):
            # what the socket does not take must stay here, where it is counted.
            before = 0
            self._append(pending)
            pending.clear()
            self._send_backlog()
        else:
            before = self.waiting_bytes
            self.waiting_bytes += sum(map(len, pending))
            self._append(pending)
            pending.clear()
        self._account()
        may_be_over = self.cork.indivisible_bytes or self.waiting_bytes > (limit or 0)
        if limit is not None and may_be_over and self._is_over(limit, before):
            self.overflow(self.waiting_bytes)
        elif self.waiting_bytes > _PRODUCER_HIGH_BYTES:
            self._pause_producer()

    @override
    def flush_shared(self, shared: bytes, batch: list[Piece]) -> None:
        if self._is_blocked or self._is_closed or len(shared) > _CHUNK_BYTES:
            # What must wait is counted piece by piece.
            self.pending += batch
            self.flush()
            return
        # The same as _write(), written out: this is called for every delivery, and one call more
        # for each would be a seventh of all calls (benchmarks/path_length.json, "1 → 100 over
        # TCP, a message in each read"). test_writer.py compares it with flush() at random.
        send = self._send
        if send is None:
            self._transport.write(shared)
            return
        try:
            sent = send(shared)
        except OSError:
            sent = 0
        if sent != len(shared):
            self._write_on(send, shared, sent if isinstance(sent, int) else 0)
            if len(batch) == 1:
                self._exempt(len(shared))

    @override
    def overflow(self, waiting_bytes: int) -> None:
        if self.max_backlog_bytes is not None:
            self.max_backlog_bytes = None
            self.on_overflow(waiting_bytes)

    def write_now(self, data: bytes) -> None:
        """Send bytes that are framed already, after everything gathered before."""
        cork = self.cork
        if (
            self.max_backlog_bytes is None
            and cork.gathering is None
            and not (self._is_blocked or self.pending or self._is_closed or cork.unserved)
        ):
            # A gateway's bytes: nothing was gathered, nothing waits and there is no limit, so the
            # list is not needed.
            self._write(data)
            return
        cork.settle()
        self.pending.append(data)
        self.flush()

    def discard_backlog(self) -> int:
        """Drop the backlog, except the rest of what is on its way; return how much was dropped."""
        self.cork.settle()
        dropped = self._backlog_bytes
        begun = self._backlog[0] if self._large_sent else None
        self._backlog.clear()
        if begun is not None:
            self._backlog.append(begun)
            dropped -= len(begun) - self._large_sent
        self.waiting_bytes -= dropped
        self.pending.clear()
        self._account()
        return dropped

    def close(self, *, linger: bool = False) -> None:
        """Send what is left, then close the connection.

        Args:
            linger: The other side may still be sending. Half-close, and keep reading: a full
                close with unread bytes would reset the connection and lose our last bytes. The
                caller must set a time-out.
        """
        if self._is_closed:
            return
        self.flush_all()
        self._is_closed = True
        self._transport.unregisterProducer()
        if linger and self._send is not None:
            self._transport.loseWriteConnection()
        else:
            self._transport.loseConnection()

    def flush_all(self) -> None:
        """Hand the whole backlog to the transport, whatever its size."""
        self.cork.settle()
        self._append(self.pending)
        self.pending.clear()
        while self._backlog:
            data = b"".join(map(bytes, self._backlog))[self._large_sent :]
            self._backlog.clear()
            self._large_sent = 0
            if self._is_blocked:
                self._transport.write(data)
            else:
                self._write(data)

    # For a producer that feeds the connection

    def register_producer(self, producer: IPushProducer) -> None:
        """Pause this producer while the backlog is large, and resume it once it is sent."""
        self._producer = producer
        self._is_producer_paused = False
        if self._is_closed:
            producer.stopProducing()
        elif self.waiting_bytes > _PRODUCER_HIGH_BYTES:
            self._pause_producer()

    def unregister_producer(self) -> None:
        """Stop pausing and resuming the producer."""
        self._producer = None
        self._is_producer_paused = False

    # For the transport

    def resumeProducing(self) -> None:
        """The transport has sent everything that it held."""
        self._is_blocked = False
        self._send_backlog()
        if not self.waiting_bytes:
            self._exempt_bytes = 0
        if self.waiting_bytes <= _PRODUCER_HIGH_BYTES and self._is_producer_paused:
            self._is_producer_paused = False
            if self._producer is not None:
                self._producer.resumeProducing()
        if self.paused_sources and self.is_writable:
            with self.cork:
                self.on_drain()

    def pauseProducing(self) -> None:
        """The transport holds enough."""
        self._is_blocked = True
        self.waiting_bytes = max(self.waiting_bytes, _PRODUCER_HIGH_BYTES)
        self._account()

    def stopProducing(self) -> None:
        """The connection is gone.

        Called by the transport as long as the writer is its producer; after :meth:`close`, by the
        protocol in ``connectionLost``.
        """
        self._is_closed = True
        self._backlog.clear()
        self._large_sent = 0
        self.pending.clear()
        self.waiting_bytes = 0
        self._account()
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None

    def _append(self, pieces: list[Piece]) -> None:
        """Add pieces to the backlog."""
        if self._backlog is _NO_BACKLOG:
            self._backlog = deque()
        self._backlog.extend(pieces)

    def _send_backlog(self) -> None:
        """Send the backlog, a chunk at a time, as long as the transport takes it."""
        self.waiting_bytes = 0
        backlog = self._backlog
        while backlog and not self._is_blocked:
            piece = backlog.popleft()
            size = len(piece)
            if size > _CHUNK_BYTES:
                self._write_large(piece if isinstance(piece, LargeFrame) else LargeFrame(piece))
                continue
            chunk = [piece]
            while backlog and size + len(backlog[0]) <= _CHUNK_BYTES:
                chunk.append(backlog.popleft())
                size += len(chunk[-1])
            self._write(b"".join(map(bytes, chunk)))
        if backlog:
            self.waiting_bytes += self._backlog_bytes
        else:
            self._backlog = _NO_BACKLOG
        self._account()

    def _write_large(self, frame: LargeFrame) -> None:
        """Send a large frame, a chunk at a time; its rest goes back to the front of the backlog."""
        size, sent = len(frame), self._large_sent
        while sent < size and not self._is_blocked:
            chunk = frame.chunk(sent, _CHUNK_BYTES)
            sent += len(chunk)
            self._write(chunk)
        self._large_sent = sent % size
        if sent < size:
            self._backlog.appendleft(frame)

    def _account(self) -> None:
        """Report the change of waiting bytes to the memory budget."""
        change = self.waiting_bytes - self._accounted_bytes
        if change:
            self._accounted_bytes += change
            self.cork.budget.used += change
            if self.waiting_bytes > self.watched_bytes:
                self.cork.flushed[self.on_backlog] = None

    def _exempt(self, size: int) -> None:
        """Exempt the rest of the message just written from the limit, if it is about as large."""
        limit = self.max_backlog_bytes
        if limit is not None and size > limit - _reserve_bytes(limit):
            self._exempt_bytes = self.waiting_bytes

    def _is_over(self, limit: int, before: int) -> bool:
        """Return whether more than the limit waits, apart from the one exempt message.

        Args:
            limit: The limit in bytes.
            before: How many bytes waited before the flush.
        """
        indivisible_bytes = self.cork.indivisible_bytes
        if indivisible_bytes and before - self._exempt_bytes <= limit // 2:
            self._exempt_bytes = min(self.waiting_bytes, indivisible_bytes)
        if self.waiting_bytes - self._exempt_bytes <= limit:
            return False
        # The next large message may come while the end of the previous one still waits: a queue
        # delivers its next message as soon as the connection is writable.
        begun = len(self._backlog[0]) - self._large_sent if self._large_sent else 0
        largest = max(map(len, islice(self._backlog, bool(begun), None)), default=0)
        if largest > limit - _reserve_bytes(limit):
            self._exempt_bytes = max(self._exempt_bytes, begun + largest)
        return self.waiting_bytes - self._exempt_bytes > limit

    def _write(self, data: bytes) -> None:
        send = self._send
        if send is None:
            self._transport.write(data)
            return
        try:
            sent = send(data)
        except OSError:
            sent = 0
        if sent != len(data):
            self._write_on(send, data, sent if isinstance(sent, int) else 0)

    def _write_on(self, send: Send, data: bytes, sent: int) -> None:
        """Send what the first attempt left; hand the transport what the socket does not take."""
        size = len(data)
        try:
            while 0 < sent < size:
                more = send(memoryview(data)[sent:])
                if not isinstance(more, int) or more <= 0:
                    break
                sent += more
        except OSError:
            pass  # it would block; or it is lost, which the transport finds out itself
        sent = max(sent, 0)
        if size - sent > _CHUNK_BYTES:
            # All who receive it share what they have not taken yet.
            self._append([LargeFrame(data)])
            self._large_sent = sent + _CHUNK_BYTES
            self._hand_over(data[sent : self._large_sent], size - sent)
        elif sent < size:
            self._hand_over(data[sent:], size - sent)

    def _hand_over(self, rest: bytes, waiting_bytes: int) -> None:
        """Hand the transport what the socket did not take."""
        self._is_blocked = True
        self.waiting_bytes = waiting_bytes
        self._account()
        self._transport.write(rest)
        if waiting_bytes > _PRODUCER_HIGH_BYTES:
            self._pause_producer()

    def _pause_producer(self) -> None:
        if self._producer is not None and not self._is_producer_paused:
            self._is_producer_paused = True
            self._producer.pauseProducing()


def _reserve_bytes(limit: int) -> int:
    """Return how many bytes may wait while one more message is sent, so that it is no overflow.

    With that much before it, a message is either within the limit or a large, exempt one.
    """
    return min(HIGH_WATER_BYTES, limit // _RESERVE_SHARE)


def _ignore(_: int) -> None:
    """The default of ``on_overflow``."""
