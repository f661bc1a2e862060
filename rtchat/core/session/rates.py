"""Rates: a frame that is too fast waits for its tokens."""

from __future__ import annotations

from abc import abstractmethod

from rtchat.core.flow.token_bucket import Rate
from rtchat.core.session.costs import cost_of_waiting
from rtchat.core.session.ending import EndingSession
from rtchat.core.session.receipts import MustWait, TooFast
from rtchat.core.stomp.frames import Frame

__all__ = ["TokenTaker"]


class _WithBytes:
    """The rates of one SEND whose bytes count.

    Args:
        messages: The rate of messages, or None.
        byte_rate: The rate of bytes.
        size: How many bytes it has.
    """

    __slots__ = ("_byte_rate", "_messages", "_size")

    def __init__(self, messages: Rate | None, byte_rate: Rate, size: int) -> None:
        self._messages = messages
        self._byte_rate = byte_rate
        self._size = size

    def reserve(self, now: float, count: int = 1) -> float:
        delay_s = self._byte_rate.reserve(now, self._size)
        return (
            delay_s if self._messages is None else max(delay_s, self._messages.reserve(now, count))
        )

    def give_back(self, count: int = 1) -> None:
        self._byte_rate.give_back(self._size)
        if self._messages is not None:
            self._messages.give_back(count)


def _size_of(frame: Frame) -> int:
    """Return how many bytes of a frame count: its header block and its body."""
    return len(frame.body) + (0 if frame.head is None else frame.head.size)


class TokenTaker(EndingSession):
    """The part of a session that keeps to its rates.

    Attributes:
        byte_rate: The rate of bytes in SENDs, or None. They count once for each name.
        message_rate: The rate of SENDs, or None. Each name in the destination takes a token.
        subscription_rate: The rate of SUBSCRIBE and UNSUBSCRIBE, or None.
        tokens: How many tokens the waiting frame has taken already.
        waits_for: The rate that they are of, or None if there are none.
    """

    __slots__ = (
        "_waits_for_storage",
        "byte_rate",
        "message_rate",
        "subscription_rate",
        "tokens",
        "waits_for",
    )

    byte_rate: Rate | None
    message_rate: Rate | None
    subscription_rate: Rate | None
    tokens: int
    waits_for: Rate | None
    _waits_for_storage: bool

    def take_token(self, rate: Rate, count: int = 1) -> None:
        """Take tokens for a frame, unless it has them already.

        Raises:
            TooFast: They are not there yet; the frame is retried when they are.
        """
        if self.waits_for is not None:
            self.waits_for = None
            return
        delay_s = rate.reserve(self.broker.cork.ticks, count)
        if delay_s:
            self.waits_for, self.tokens = rate, count
            raise TooFast(delay_s)

    def send_at_rate(self, frame: Frame) -> None:
        """Process a SEND, or raise ``TooFast`` if it exceeds the rate of messages or bytes."""
        rate = self.message_rate
        headers, count = frame.headers, 1
        if "destination" in headers and "," in headers["destination"]:
            # One with more names than are allowed is refused, so it takes no more.
            count = min(headers["destination"].count(",") + 1, self.broker.router.max_names)
        if self.byte_rate is not None:
            rate = _WithBytes(rate, self.byte_rate, count * _size_of(frame))
        assert rate is not None  # otherwise SEND is handled by _send_message
        self.take_token(rate, count)
        try:
            self._send_message(frame)
        except MustWait as wait:
            if not wait.is_done:  # it is tried again with these tokens
                self.waits_for, self.tokens = rate, count
            raise

    @abstractmethod
    def _send_message(self, frame: Frame) -> None:
        """Process a SEND."""

    def lost(self, *, after_disconnect: bool = False) -> None:
        """Release everything, the tokens of a frame that waits included."""
        if not self.is_closed:
            self.give_token_back()
        super().lost(after_disconnect=after_disconnect)

    def _wait_for_token(self, frame: Frame | None, delay_s: float) -> None:
        self._held = frame
        self._waits_for_storage = False
        self._hold_waiting(cost_of_waiting(frame, self.parser.buffered_bytes))
        self._transport.pause_reading()
        self._transport.resume_after(delay_s)

    def give_token_back(self) -> None:
        """Return the tokens of a frame that waits, because the session ends."""
        if self.waits_for is not None:
            self.waits_for.give_back(self.tokens)
            self.waits_for = None
