"""Keep-alive of a WebSocket: pings to the other side, pongs to its own pings."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rtchat.core.websocket.framing import Opcode, frame_header
from rtchat.net.connection.liveness import Silence, Taken
from rtchat.net.connection.writer import ConnectionWriter

__all__ = ["KeepAlive", "KeptAlive"]

_MAX_BYTES_BEFORE_PONG = 64 * 1024
"""If more than this waits for the other side, its pong is sent once that is read."""

_SLOW_BYTES = 256 * 1024
"""If more than this waits when a ping is due, the line is slow."""


class KeptAlive(Protocol):
    """A WebSocket, as its keep-alive sees it."""

    writer: ConnectionWriter
    is_open: bool

    @property
    def can_hear(self) -> bool:
        """Whether an answer would be heard: reading is not paused and no close was sent."""

    def taken(self) -> Taken | None:
        """Return what the other side has taken, or None where the system does not say."""

    def note_slow_line(self) -> None:
        """Much waits for the other side when a ping is due: let less stand before the next one."""

    def ping_unanswered(self, timeout_s: float) -> None:
        """Nothing was heard for this long after a ping, or after the bytes before it."""


class KeepAlive:
    """Sends pings at intervals, expects a sign of life after each, and answers pings.

    Args:
        connection: The WebSocket.
        clock: Where timers run.
        interval_s: Seconds between pings; 0 sends none.
        timeout_s: Seconds to wait for any byte after a ping, and after the bytes that stand before
            it were taken; 0 waits for ever.

    Attributes:
        heard_s: When the other side was last heard, by the clock; the connection sets it with
            each read.
    """

    __slots__ = (
        "_clock",
        "_connection",
        "_interval_s",
        "_late_pong",
        "_ping_timer",
        "_pong_timer",
        "_silence",
        "_timeout_s",
        "heard_s",
    )

    def __init__(
        self, connection: KeptAlive, clock: IReactorTime, interval_s: float, timeout_s: float
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._ping_timer: IDelayedCall | None = None
        self._pong_timer: IDelayedCall | None = None
        self._silence: Silence | None = None  # once a ping was sent
        self._late_pong = b""
        self.heard_s = 0.0

    # Pings

    def start(self) -> None:
        """Send the first ping after one interval, and so on."""
        if self._interval_s > 0:
            self._ping_timer = self._clock.callLater(self._interval_s, self._ping)

    def stop(self) -> None:
        """Send no more pings, and expect no answer to those that were sent."""
        for timer in (self._ping_timer, self._pong_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._ping_timer = self._pong_timer = None

    def suspend(self, send_s: float, hear_s: float) -> None:
        """Stop if the protocol above has heart-beats of its own that are as frequent.

        Args:
            send_s: It sends something at least once in so many seconds.
            hear_s: It hears something as often, or closes the connection.
        """
        if max(send_s, hear_s) <= self._interval_s:
            self.stop()

    def _ping(self) -> None:
        if not self._connection.is_open:
            return
        if self._timeout_s > 0:
            if self._silence is None:
                self._silence = Silence(self._connection)
            self._silence.note(self._clock.seconds(), self.heard_s)
            if self._silence.left_bytes > _SLOW_BYTES:
                self._connection.note_slow_line()
        self._connection.writer.write_now(frame_header(Opcode.PING, 0))
        self.start()
        is_awaited = self._pong_timer is not None and self._pong_timer.active()
        if self._timeout_s > 0 and not is_awaited:
            now_s = self._clock.seconds()
            self._pong_timer = self._clock.callLater(self._timeout_s, self._expect_pong, now_s)

    def _expect_pong(self, asked_s: float) -> None:
        # Any byte is a sign of life, in either direction.
        if self.heard_s >= asked_s or not self._connection.can_hear:
            return
        assert self._silence is not None
        left_s = self._silence.left_s(self._clock.seconds(), asked_s, self._timeout_s, self.heard_s)
        if left_s > 0:
            self._pong_timer = self._clock.callLater(left_s, self._expect_pong, asked_s)
        else:
            self._connection.ping_unanswered(self._timeout_s)

    # Pongs

    def answer(self, pongs: list[bytes]) -> None:
        """Send pong frames, or the last of them later if the other side has much to read."""
        # A client that pings and does not read has no use for pongs: "If an endpoint receives
        # a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s),
        # the endpoint MAY elect to send a Pong frame for only the most recently processed Ping
        # frame" (RFC 6455, 5.5.3).
        writer = self._connection.writer
        if not self._connection.is_open:
            return
        if writer.waiting_bytes > _MAX_BYTES_BEFORE_PONG:
            self._late_pong = pongs[-1]
            writer.paused_sources[self] = None
        else:
            self._late_pong = b""
            writer.write_now(b"".join(pongs))

    def on_drain(self) -> None:
        """Send the pong that is owed: the other side has read what came before it."""
        pong, self._late_pong = self._late_pong, b""
        if pong and self._connection.is_open:
            self._connection.writer.write_now(pong)
