"""The effects of a COMMIT, which may take several turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from rtchat.core.broker.router import Route
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.frames import Frame

__all__ = ["Steps"]

_STEP_WORK = 10
"""The work of a SEND to one destination, an ACK or a NACK."""


class Steps:
    """Functions that are called in order, as many in a turn as it has time for.

    Args:
        cork: The cork of the server.
        cause: The COMMIT frame.
        routes: The routes of its SENDs.
        steps: The functions, each with the size in bytes of what is released when it is called.

    Attributes:
        cause, routes: As above.
        size: The size of what has yet to be released.
    """

    __slots__ = ("_cork", "_is_alone", "_left", "_total", "cause", "routes", "size")

    def __init__(
        self,
        cork: Cork,
        cause: Frame,
        routes: Sequence[Route],
        steps: Iterable[tuple[Callable[[], None], int]],
    ) -> None:
        self._cork = cork
        self.routes = routes
        self._left = deque(steps)
        self._is_alone = False
        self.cause = cause
        self.size = self._total = sum([size for _, size in self._left])

    def go_on(self) -> bool:
        """Call the next functions, at least one; return whether all were called."""
        cork, left = self._cork, self._left
        if self._total:
            cork.do_not_divide(self._total)
        while left:
            step, size = left.popleft()
            self.size -= size
            if self._is_alone:
                cork.budget.used -= size
            cork.work += _STEP_WORK
            step()
            if cork.work >= cork.turns.max_work:
                break
        return not left

    def leave(self) -> None:
        """Go on without the session, which has ended: what was accepted takes effect."""
        if self._left:
            self._is_alone = True
            self._cork.budget.used += self.size
            self._cork.put_off(self._go_on_alone)

    def _go_on_alone(self) -> None:
        try:
            self.go_on()
        finally:
            if self._left:
                self._cork.put_off(self._go_on_alone)
