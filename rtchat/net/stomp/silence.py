"""How a client notices that its server has vanished without a word."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rtchat.text import parse_digits

__all__ = ["Silence"]


class Silence:
    """Notices that a server that promised heart-beats is silent.

    Args:
        clock: Tells the time, and runs the timer.
        limit_s: How long the server may be silent, in seconds.
        on_silence: Called once with the seconds, when it has been silent for that long.
    """

    def __init__(
        self, clock: IReactorTime, limit_s: float, on_silence: Callable[[float], None]
    ) -> None:
        self.wanted_ms = max(1, round(limit_s * 500))
        self._clock = clock
        self._limit_s = limit_s
        self._on_silence = on_silence
        self._heard_s = 0.0
        self._due_s = 0.0
        self._timer: IDelayedCall | None = None

    def start(self, granted: str) -> None:
        """Watch from now on, if the server grants heart-beats.

        Args:
            granted: The ``heart-beat`` header of CONNECTED.
        """
        interval_ms = parse_digits(granted.partition(",")[0].strip(), 9)
        if interval_ms:
            self._limit_s = max(self._limit_s, 2 * interval_ms / 1000)
            self._heard_s = self._clock.seconds()
            self._wait(self._limit_s)

    def heard(self) -> None:
        """Note that the server has sent something."""
        self._heard_s = self._clock.seconds()

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self._due_s = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = self._clock.seconds()
        if now_s - self._due_s > self._limit_s / 4:
            # It was this process that did nothing, such as a wait for its output to be read. What
            # the server has sent meanwhile is read first.
            self._heard_s = now_s
        left_s = self._heard_s + self._limit_s - now_s
        if left_s > 0.001:
            self._wait(left_s)
        else:
            self._on_silence(self._limit_s)
