"""What waits to be sent on one connection, and what happens when it is too much.

Bytes go to the socket at once while nothing waits there (arming the reactor for every write costs
more than twice as much, see benchmarks/); what the socket does not take
goes to the transport, and all that follows gathers here until the transport has sent it. So the
transport never holds more than one write, and the backlog is known to the byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IPullProducer, IPushProducer
from typing_extensions import override
from zope.interface import Attribute, Interface, implementer

from rtchat.core.flow.outbound import HIGH_WATER_BYTES, RAW, Cork, Framing, Outbound
from rtchat.net.connection.transport import StreamTransport
from rtchat.net.twisted_internals import Send, direct_send

__all__ = ["ConnectionWriter", "IFramedTransport"]

_CHUNK_BYTES = 192 * 1024
"""How much is handed to the transport at once: what one read of short messages becomes."""

_RESERVE_SHARE = 16
"""Room is this part of a small limit; of the default one it is just HIGH_WATER_BYTES."""

_LARGE_BYTES = HIGH_WATER_BYTES * _RESERVE_SHARE
"""From here on a limit is no small one."""

_NO_BACKLOG: deque[bytes] = deque()
"""The backlog of all for whom nothing waits: an empty deque of their own is 620 bytes."""

_PRODUCER_HIGH_BYTES = 64 * 1024
"""From here on whoever feeds the outbox is asked to pause (as Twisted's own transports do)."""


class IFramedTransport(Interface):
    """A transport that packs each write (a WebSocket) and shares its outbox."""

    writer: ConnectionWriter = Attribute(
        "The ConnectionWriter of the connection underneath; its wire packs frames."
    )

    peer: str = Attribute("The name of the other end, for the log.")

    def suspend_pings(send_s: float, hear_s: float) -> None:  # noqa: N805
        """Stop pings: the protocol above sends and hears something this often, in seconds."""

    def close_with(code: int, reason: str) -> None:  # noqa: N805
        """Close with a code of RFC 6455 once what was written is out."""


@implementer(IPullProducer, IPushProducer)
class ConnectionWriter(Outbound):
    """The way out of one connection.

    Args:
        transport: The transport underneath. The outbox is its producer and its only writer.
        cork: Where to register for the end of the turn.
        framing: How STOMP frames are packed.
        is_busy: Whether the transport may hold bytes of somebody else (an HTTP answer).

    Attributes:
        max_backlog_bytes: How much may wait behind a client that does not read; None is no
            limit (then somebody has to honour ``pauseProducing``). One message that is about
            as large by itself, or larger, may wait beside that: it is nobody's slowness.
        on_overflow: Called once when more waits, with how much.
        waiting_bytes: How much waits now, what the transport holds included.
    """

    __slots__ = (
        "_accounted_bytes",
        "_backlog",
        "_exempt_bytes",
        "_is_blocked",
        "_is_closed",
        "_is_producer_paused",
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
        # A plain socket is written to directly; then the transport tells when its buffer is
        # empty (it pulls). TLS and other transports are written to until they say stop (push).
        self._send, self._socket = direct_send(transport)
        is_plain = self._send is not None
        transport.registerProducer(self, not is_plain)
        self._is_blocked = is_busy and is_plain

    # For whoever gathers bytes

    @property
    @override
    def is_writable(self) -> bool:
        """Whether those that can wait may send now; one message more is never an overflow."""
        limit = self.max_backlog_bytes
        capacity_bytes = (
            HIGH_WATER_BYTES if limit is None or limit >= _LARGE_BYTES else _reserve_bytes(limit)
        )
        return self.waiting_bytes + self.gathered_bytes < capacity_bytes

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
                data = pending[0]
                pending.clear()
                self._write(data)
                if self.waiting_bytes:
                    self._exempt(len(data))
                return
            data = b"".join(pending)
            if len(data) <= _CHUNK_BYTES:
                pending.clear()
                self._write(data)
                return
            # One turn may make much more than the limit (many subscriptions of one client):
            # what the socket does not take has to stay here, where it is counted.
            self._append(pending)
            pending.clear()
            self._send_backlog()
        else:
            self.waiting_bytes += sum(map(len, pending))
            self._append(pending)
            pending.clear()
        self._account()
        if limit is not None and self.waiting_bytes > limit and self._is_over(limit):
            self.overflow(self.waiting_bytes)
        elif self.waiting_bytes > _PRODUCER_HIGH_BYTES:
            self._pause_producer()

    @override
    def flush_shared(self, shared: bytes, batch: list[bytes]) -> None:
        if self._is_blocked or self._is_closed or len(shared) > _CHUNK_BYTES:
            # What has to wait is counted piece by piece.
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
        """Send bytes that are packed already, after all that was gathered before."""
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
        """Forget what waits here, but for what the transport holds; give how many bytes."""
        self.cork.settle()
        dropped = sum(map(len, self._backlog))
        self._backlog.clear()
        self.waiting_bytes -= dropped
        self.pending.clear()
        self._account()
        return dropped

    def close(self, *, linger: bool = False) -> None:
        """Send what is left, then close the connection.

        Args:
            linger: The other side may still be sending. Close our direction only and go on
                reading: a full close with unread bytes would reset the connection, and the
                last words would be lost with it. Whoever calls has to set an end to that.
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
        """Hand everything that waits to the transport, however much it is."""
        self.cork.settle()
        self._append(self.pending)
        self.pending.clear()
        if self._backlog:
            data = b"".join(self._backlog)
            self._backlog.clear()
            if self._is_blocked:
                self._transport.write(data)
            else:
                self._write(data)

    # For whoever feeds the connection from elsewhere

    def register_producer(self, producer: IPushProducer) -> None:
        """Pause the producer while much waits to be sent."""
        self._producer = producer
        self._is_producer_paused = False
        if self._is_closed:
            producer.stopProducing()
        elif self.waiting_bytes > _PRODUCER_HIGH_BYTES:
            self._pause_producer()

    def unregister_producer(self) -> None:
        """Leave the producer alone from now on."""
        self._producer = None
        self._is_producer_paused = False

    # For the transport

    def resumeProducing(self) -> None:
        """The transport has sent all it held."""
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

        The transport says so for as long as the outbox is its producer; after :meth:`close` whoever
        else hears of it does.
        """
        self._is_closed = True
        self._backlog.clear()
        self.pending.clear()
        self.waiting_bytes = 0
        self._account()
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None

    def _append(self, pieces: list[bytes]) -> None:
        """Let them wait."""
        if self._backlog is _NO_BACKLOG:
            self._backlog = deque()
        self._backlog.extend(pieces)

    def _send_backlog(self) -> None:
        """Send what waits, a chunk at a time, for as long as the transport takes it."""
        self.waiting_bytes = 0
        backlog = self._backlog
        while backlog and not self._is_blocked:
            chunk = [backlog.popleft()]
            size = len(chunk[0])
            while backlog and size + len(backlog[0]) <= _CHUNK_BYTES:
                chunk.append(backlog.popleft())
                size += len(chunk[-1])
            self._write(b"".join(chunk))
        if backlog:
            self.waiting_bytes += sum(map(len, backlog))
        else:
            self._backlog = _NO_BACKLOG
        self._account()

    def _account(self) -> None:
        """Tell the budget how much waits."""
        change = self.waiting_bytes - self._accounted_bytes
        if change:
            self._accounted_bytes += change
            self.cork.budget.used += change

    def _exempt(self, size: int) -> None:
        """Forgive what waits of the one message just written, if it is as large as the limit."""
        limit = self.max_backlog_bytes
        if limit is not None and size > limit - _reserve_bytes(limit):
            self._exempt_bytes = self.waiting_bytes

    def _is_over(self, limit: int) -> bool:
        """Whether more than the limit waits beside the one message that may be larger."""
        if self.waiting_bytes - self._exempt_bytes <= limit:
            return False
        # The next large one may come while the end of the one before still waits: a queue
        # hands out its next message as soon as there is capacity_bytes.
        largest = max(map(len, self._backlog), default=0)
        if largest > limit - _reserve_bytes(limit):
            self._exempt_bytes = max(self._exempt_bytes, largest)
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
        """Send what the first try has left; what the socket does not take is the transport's."""
        size = len(data)
        try:
            while 0 < sent < size:
                more = send(memoryview(data)[sent:])
                if not isinstance(more, int) or more <= 0:
                    break
                sent += more
        except OSError:
            pass  # it would block; or the connection is lost, which the transport finds out itself
        sent = max(sent, 0)
        if sent < size:
            self._hand_over(data[sent:], size - sent)

    def _hand_over(self, rest: bytes, waiting_bytes: int) -> None:
        """Leave to the transport what the socket did not take."""
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
    """Give how much may wait for one more message to be handed out, so that it is no overflow.

    A message is within the limit with as much before it, or else it is one of the large ones.
    """
    return min(HIGH_WATER_BYTES, limit // _RESERVE_SHARE)


def _ignore(_: int) -> None:
    """What happens on overflow when nobody asked to know."""
