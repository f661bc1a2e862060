"""Turns of their own for what earlier turns had no time for."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from rtchat.core.flow.outbound import Cork

__all__ = ["LaterTurns"]

_log = Logger(__package__)


class LaterTurns:
    """Runs what waits in ``later`` of a cork, a turn at a time; other events come between them.

    Args:
        cork: The cork.
        clock: Runs the turns.
    """

    def __init__(self, cork: Cork, clock: IReactorTime) -> None:
        self._cork = cork
        self._clock = clock
        self._next: IDelayedCall | None = None

    def schedule(self) -> None:
        """Run a turn soon, if none is to come."""
        if self._next is None:
            self._next = self._clock.callLater(0, self._run)

    def _run(self) -> None:
        self._next = None
        with self._cork as cork:
            try:
                cork.run_later()
            except Exception:
                _log.failure("bug in work that was put off")
