"""Rates: a frame that is too fast waits for its token."""

from __future__ import annotations

from rtchat.core.flow.token_bucket import Rate
from rtchat.core.session.ending import EndingSession
from rtchat.core.session.receipts import MustWait, TooFast
from rtchat.core.stomp.frames import Frame

__all__ = ["TokenTaker"]


class TokenTaker(EndingSession):
    """The part of a session that keeps to its rates.

    Attributes:
        message_rate: The rate of SENDs, or None.
        subscription_rate: The rate of SUBSCRIBE and UNSUBSCRIBE, or None.
        waits_for: The rate whose token the waiting frame has taken already, or None.
    """

    __slots__ = ("message_rate", "subscription_rate", "waits_for")

    message_rate: Rate | None
    subscription_rate: Rate | None
    waits_for: Rate | None

    def take_token(self, rate: Rate) -> None:
        """Take a token for a frame, unless it has one already.

        Raises:
            TooFast: The token is not there yet; the frame is retried when it is.
        """
        if self.waits_for is not None:
            self.waits_for = None
            return
        delay_s = rate.reserve(self.broker.cork.ticks)
        if delay_s:
            self.waits_for = rate
            raise TooFast(delay_s)

    def send_at_rate(self, frame: Frame) -> None:
        """Process a SEND, or raise ``TooFast`` if it exceeds the rate of messages."""
        rate = self.message_rate
        assert rate is not None  # otherwise SEND is handled by _send_message
        self.take_token(rate)
        try:
            self._send_message(frame)
        except MustWait as wait:
            self.waits_for = None if wait.is_done else rate  # it is tried again with this token
            raise

    def _send_message(self, frame: Frame) -> None:
        """Process a SEND."""
        raise NotImplementedError

    def lost(self, *, after_disconnect: bool = False) -> None:
        """Release everything, the token of a frame that waits included."""
        if not self.is_closed:
            self.give_token_back()
        super().lost(after_disconnect=after_disconnect)

    def give_token_back(self) -> None:
        """Return the token of a frame that waits, because the session ends."""
        if self.waits_for is not None:
            self.waits_for.give_back()
            self.waits_for = None
