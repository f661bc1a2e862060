"""The replay of stored messages to one subscription, until it has caught up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtchat.core.broker.selection import LOOK_WORK
from rtchat.core.broker.subscription import Entry, SlowPolicy, StartAt, Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.history.reading import MessageReader
from rtchat.core.history.stream import Stream
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["Replay"]


class Replay:
    """Delivers stored messages to one subscription, as fast as its client reads them.

    Meanwhile the subscription takes no part in the fan-out: messages published during the replay
    are stored, and so part of it. The subscription joins the fan-out in the same turn in which
    the replay reaches the end of the stream, so no message is missed or delivered twice.

    Args:
        subscription: The subscription; its options say where to begin.
        stream: The stream to read.
        reader: Reads the messages.
        cork: The cork of the server, whose ``now`` decides which messages have expired.
        join: Called once the replay has caught up; then the replay has ended.
        refuse: Ends the subscriber's session with an error.
    """

    __slots__ = (
        "_cork",
        "_dropped",
        "_ignores_answer",
        "_is_closed",
        "_is_reading",
        "_join",
        "_mark",
        "_overtaken_by",
        "_position",
        "_reader",
        "_refuse",
        "_since_s",
        "_unreadable",
        "stream",
        "subscription",
    )

    def __init__(
        self,
        subscription: Subscription,
        stream: Stream,
        reader: MessageReader,
        cork: Cork,
        join: Callable[[Replay], None],
        refuse: Callable[[ProtocolError], None],
    ) -> None:
        self.subscription = subscription
        subscription.gives_back = False
        self.stream = stream
        self._reader = reader
        self._cork = cork
        self._join = join
        self._refuse = refuse
        self._is_closed = False
        self._is_reading = False
        self._dropped = 0
        self._unreadable = 0
        self._overtaken_by = 0
        self._ignores_answer = False
        self._since_s = 0.0
        self._mark = b""
        self._position = stream.next

    def start(self) -> dict[str, str]:
        """Find where the subscription begins; return headers to add to the RECEIPT.

        :meth:`on_drain` has to follow: it delivers the first messages.
        """
        stream, options = self.stream, self.subscription.options
        receipt = {"x-stream-epoch": stream.epoch, "x-stream-offset": str(stream.next)}
        if stream.damaged_pages:
            receipt["x-stream-damaged"] = "true"
        start = options.start
        if start.at is StartAt.FIRST:
            self._position = stream.first
        elif start.at is StartAt.LAST:
            self._position = max(stream.first, stream.next - 1)
        elif start.at is StartAt.OFFSET:
            offset = int(start.value)
            self._position = min(max(offset, stream.first), stream.next)
            if options.epoch:
                is_all = (
                    options.epoch == stream.epoch
                    and stream.first <= offset <= stream.next
                    and not stream.is_damaged_from(offset)
                )
                if not (options.epoch == stream.epoch and offset <= stream.next):
                    self._position = stream.first
                answer = "true" if is_all else "false"
                receipt["x-stream-recovered"] = answer
                self._mark = _mark(answer)
        elif start.at is StartAt.TIMESTAMP and len(stream):
            self._is_reading = True
            self._reader.find_time(self, start.value)
        return receipt

    def on_drain(self) -> None:
        """Deliver messages until the client has no capacity or the stream has no more."""
        if self._is_reading:
            return
        stream, subscription = self.stream, self.subscription
        while not self._is_closed:
            if self._overtaken_by:
                lost, self._overtaken_by = self._overtaken_by, 0
                self._skip(lost)
                continue
            if self._position >= stream.next:
                self._finish()
                return
            if not self.subscription.is_ready_for(self):
                return
            if self._cork.work >= TURN_WORK:
                self._cork.put_off(self.on_drain)
                return
            if self._position < stream.first:
                self._skip(stream.first - self._position)
                continue
            if stream.lost:
                found = stream.first_readable(self._position)
                if found > self._position:
                    self._pass_over(found)
                    continue
            message = self._reader.get(stream, self._position)
            if message is None:
                self._is_reading = True
                self._reader.load(self, self._position)
                return
            self._position += 1
            self._cork.work += LOOK_WORK
            if message.time_s < self._since_s:
                continue
            if subscription.wants(message) and not message.is_expired(self._cork.now):
                mark, self._mark = self._mark, b""
                if self._unreadable:
                    mark += b"x-stream-unreadable:%d\n" % self._unreadable
                    self._unreadable = 0
                dropped, self._dropped = self._dropped, 0
                subscription.deliver(Entry(message, message.offset), dropped, mark)

    def restart(self, end: int) -> None:
        """Go on with a stream that has begun anew; what was yet to come, up to an end, is lost."""
        self._overtaken_by += max(0, end - self._position)
        self._position = 0
        self._ignores_answer = self._is_reading
        self._cork.woken[self.on_drain] = None

    def close(self) -> None:
        """Stop delivering: the subscription has ended, or has caught up."""
        self._is_closed = True
        if self._is_reading:
            self._reader.forget(self)
        self.stream.followers.pop(self, None)
        self.subscription.outbound.paused_sources.pop(self, None)

    def acknowledged(self, entries: Sequence[Entry], consumer: Subscription) -> None:
        """Continue: acknowledgements give a topic's subscriber more credit."""
        self.subscription.hold(-len(entries))
        self.on_drain()

    def returned(
        self, entries: Sequence[Entry], *, requeue: bool, consumer: Subscription | None = None
    ) -> None:
        """Continue: a topic redelivers no message."""
        self.subscription.hold(-len(entries))
        self.on_drain()

    def _finish(self) -> None:
        if self._mark or self._unreadable or self._dropped:
            # The next message needs a header for this subscription alone.
            self.stream.followers[self] = None
            return
        self.close()
        self._join(self)

    def _skip(self, lost: int) -> None:
        """Skip messages that were removed before they were delivered."""
        if self.subscription.options.slow is SlowPolicy.CLOSE:
            self.close()
            self._refuse(
                LimitExceeded(
                    f"too slow: {lost} messages are no longer kept that were to come next",
                    "Subscribe again with the offset and the epoch of the last one, and "
                    "x-stream-recovered says what is missing.",
                )
            )
            return
        self._dropped += lost
        self._position = self.stream.first

    def loaded(self, found: int, problem: str) -> None:
        """Continue, from the first message on that could be read."""
        if problem and self._is_answer_wanted():
            self._refuse(_not_readable())
            return
        lost = found - max(self._position, self.stream.first)
        if lost > 0 and self._is_answer_wanted():
            self._pass_over(found, lost)
        self._go_on()

    def _pass_over(self, found: int, lost: int = 0) -> None:
        """Go on behind a damaged place of the store: what can be read comes, and the gap is told.

        Args:
            found: The offset of the next message that can be read.
            lost: How many messages cannot; 0 for all up to that one.
        """
        self._unreadable += lost or found - self._position
        self._position = found
        self._cork.work += LOOK_WORK
        if self._mark:
            self._mark = _mark("false")

    def found(self, offset: int | None, problem: str) -> None:
        """Begin at the first message of the time that was asked for."""
        if self._is_answer_wanted():
            if problem:
                # The place is unknown: look at each message, from the first on.
                self._since_s = self.subscription.options.start.value
                self._position = self.stream.first
            elif offset is not None:
                self._position = max(offset, self.stream.first)
        self._go_on()

    def _is_answer_wanted(self) -> bool:
        return not (self._is_closed or self._ignores_answer)

    def _go_on(self) -> None:
        self._is_reading = self._ignores_answer = False
        self.on_drain()


def _mark(is_recovered: str) -> bytes:
    return f"x-stream-recovered:{is_recovered}\n".encode()


def _not_readable() -> ProtocolError:
    """Return the error for a subscriber whose messages cannot be read from the store now."""
    return ProtocolError(
        "history cannot be read", "Subscribe again later. The server's log has the reason."
    )
