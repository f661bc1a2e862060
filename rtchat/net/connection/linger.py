"""How long a connection that is closing may take: as long as its peer makes progress."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Linger"]

_LOOKS = 6
"""How often the progress is looked at within the time."""


class Linger:
    """Ends something once nothing has moved for some time.

    Args:
        clock: Runs the timer.
        progress: Returns what changes while the other side takes bytes.
        expired: Called when time is up.
    """

    __slots__ = (
        "_clock",
        "_end_s",
        "_expired",
        "_moved_s",
        "_progress",
        "_quiet_s",
        "_seen",
        "_timer",
    )

    def __init__(
        self,
        clock: IReactorTime,
        progress: Callable[[], object],
        expired: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._progress = progress
        self._expired = expired
        self._timer: IDelayedCall | None = None
        self._quiet_s = self._end_s = inf
        self._moved_s = 0.0
        self._seen: object = None

    def wait(self, quiet_s: float) -> None:
        """Expire after this long without progress; of several times, the shortest counts."""
        if quiet_s < self._quiet_s:
            self._quiet_s = quiet_s
            self._moved_s = self._clock.seconds()
            self._seen = self._progress()
            self._arm()

    def end_within(self, limit_s: float) -> None:
        """Expire after this long, whether there is progress or not."""
        self._end_s = min(self._end_s, self._clock.seconds() + limit_s)
        self._arm()

    def stop(self) -> None:
        """Never expire."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _arm(self) -> None:
        self.stop()
        due_s = min(self._moved_s + self._quiet_s, self._end_s)
        left_s = due_s - self._clock.seconds()
        if self._quiet_s < inf:
            left_s = min(left_s, self._quiet_s / _LOOKS)
        self._timer = self._clock.callLater(max(left_s, 0.0), self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = self._clock.seconds()
        if self._quiet_s < inf and (seen := self._progress()) != self._seen:
            self._seen, self._moved_s = seen, now_s
        if now_s >= min(self._moved_s + self._quiet_s, self._end_s):
            self._expired()
        else:
            self._arm()
