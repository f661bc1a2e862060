"""A subscriber of a destination with a history, until it has caught up with the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rtchat.core.broker.subscription import Entry, SlowPolicy, StartAt, Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.stream import KeptMessage, Stream
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["KeptMessages", "Replay"]


class KeptMessages(Protocol):
    """Where kept messages are."""

    def get(self, stream: Stream, offset: int) -> KeptMessage | None:
        """Give a message if it is in memory."""

    def load(self, stream: Stream, offset: int, done: Callable[[str], None]) -> None:
        """Bring a message into memory; the answer, with what went wrong, comes later."""

    def find_time(
        self, stream: Stream, since_s: float, done: Callable[[int | None, str], None]
    ) -> None:
        """Look for the first message of a time or later; the answer comes later."""


class Replay:
    """Hands one subscription what is kept, from where it asked for, as fast as it takes it.

    It takes no part in the fan-out meanwhile: what is published while it reads is kept, so it
    comes in its turn. In the very turn in which nothing is left it joins the others: nothing is
    missed and nothing comes twice.

    Args:
        subscription: Whom it serves.
        stream: What it reads.
        history: Where that is.
        cork: The turn, whose ``now`` tells what has expired.
        join: Called once it has caught up; from then on it is not needed any more.
        refuse: Ends the subscriber's session.
    """

    __slots__ = (
        "_cork",
        "_dropped",
        "_history",
        "_is_closed",
        "_is_reading",
        "_join",
        "_mark",
        "_position",
        "_refuse",
        "stream",
        "subscription",
    )

    def __init__(
        self,
        subscription: Subscription,
        stream: Stream,
        history: KeptMessages,
        cork: Cork,
        join: Callable[[Replay], None],
        refuse: Callable[[ProtocolError], None],
    ) -> None:
        self.subscription = subscription
        self.stream = stream
        self._history = history
        self._cork = cork
        self._join = join
        self._refuse = refuse
        self._is_closed = False
        self._is_reading = False
        self._dropped = 0
        self._mark = b""
        self._position = stream.next

    def start(self) -> dict[str, str]:
        """Begin where the subscription asks for; give what its RECEIPT says."""
        stream, options = self.stream, self.subscription.options
        receipt = {"x-stream-epoch": stream.epoch, "x-stream-offset": str(stream.next)}
        start = options.start
        if start.at is StartAt.FIRST:
            self._position = stream.first
        elif start.at is StartAt.LAST:
            self._position = max(stream.first, stream.next - 1)
        elif start.at is StartAt.OFFSET:
            offset = int(start.value)
            self._position = min(max(offset, stream.first), stream.next)
            if options.epoch:
                is_all = options.epoch == stream.epoch and stream.first <= offset <= stream.next
                if not is_all:
                    self._position = stream.first
                answer = "true" if is_all else "false"
                receipt["x-stream-recovered"] = answer
                self._mark = f"x-stream-recovered:{answer}\n".encode()
        elif start.at is StartAt.TIMESTAMP and len(stream):
            self._is_reading = True
            self._history.find_time(stream, start.value, self._found)
        self.on_drain()
        return receipt

    def on_drain(self) -> None:
        """Hand out what can be handed out now."""
        if self._is_reading:
            return
        stream, subscription = self.stream, self.subscription
        while not self._is_closed:
            if self._position >= stream.next:
                self._arrive()
                return
            if not self.subscription.is_ready_for(self):
                return
            if self._position < stream.first:
                self._skip()
                continue
            message = self._history.get(stream, self._position)
            if message is None:
                self._is_reading = True
                self._history.load(stream, self._position, self._loaded)
                return
            self._position += 1
            if subscription.wants(message) and not message.is_expired(self._cork.now):
                mark, self._mark = self._mark, b""
                dropped, self._dropped = self._dropped, 0
                subscription.deliver(Entry(message, message.offset), dropped, mark)

    def close(self) -> None:
        """Hand out nothing further: the subscription has ended, or has joined the others."""
        self._is_closed = True
        self.stream.followers.pop(self, None)
        self.subscription.outbound.paused_sources.pop(self, None)

    def acknowledged(self, entries: Sequence[Entry]) -> None:
        """Acknowledgements of a topic only make room for more."""
        self.on_drain()

    def returned(self, entries: Sequence[Entry], *, requeue: bool) -> None:
        """Nothing is redelivered from a topic."""
        self.on_drain()

    def _arrive(self) -> None:
        if self._mark:
            # Its first message, whoever sends it, says something that no other subscriber's does.
            self.stream.followers[self] = None
            return
        self.close()
        self._join(self)

    def _skip(self) -> None:
        """Go past messages that were dropped before this subscriber took them."""
        lost = self.stream.first - self._position
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

    def _loaded(self, problem: str) -> None:
        self._is_reading = False
        if self._is_closed:
            return
        if problem:
            self._refuse(_not_readable())
        else:
            self.on_drain()

    def _found(self, offset: int | None, problem: str) -> None:
        if offset is not None:
            self._position = max(offset, self.stream.first)
        self._loaded(problem)


def _not_readable() -> ProtocolError:
    """Give the error for a subscriber whose messages cannot be read."""
    return ProtocolError(
        "history cannot be read", "Subscribe again later. The server's log says why."
    )
