"""What a server holds for one client, beside the bytes on their way to it."""

from __future__ import annotations

from collections.abc import Callable

from rtchat.core.flow.memory import Budget
from rtchat.core.flow.outbound import Cork

__all__ = ["Holding"]


class Holding:
    """Counts the bytes that are held for one client, against its limit and the memory budget.

    They are its subscriptions with their names, selectors and backlogs, the deliveries that it has
    yet to acknowledge, its transactions, the frames that wait, and a frame that is incomplete.

    Args:
        cork: The cork of the server.
        max_bytes: The limit in bytes.
        on_over: Called at the end of a turn in which it was exceeded.

    Attributes:
        bytes: How many bytes are held now.
        max_bytes: As above.
    """

    __slots__ = ("_budget", "_cork", "_on_over", "bytes", "max_bytes")

    def __init__(self, cork: Cork, max_bytes: int, on_over: Callable[[], None]) -> None:
        self.bytes = 0
        self.max_bytes = max_bytes
        self._cork = cork
        self._budget = cork.budget
        self._on_over = on_over

    def add(self, size: int) -> None:
        """Count so many bytes more; a negative number takes them away.

        It is called also in the middle of other clients' frames, so the client is not closed
        before the end of the turn.
        """
        self.bytes += size
        self._budget.used += size
        self._budget.held += size
        if size > 0:
            if self.bytes > self.max_bytes:
                self._cork.woken[self._on_over] = None
            elif self._budget.used > self._budget.over_bytes:
                self._cork.woken[_nothing] = None  # so a turn without output comes to its end, too

    def release(self) -> None:
        """Count nothing from now on: the session has ended, and holds nothing any more."""
        self._budget.used -= self.bytes
        self._budget.held -= self.bytes
        self.bytes = 0
        self._cork.woken.pop(self._on_over, None)
        # What its parts still give back was taken away just now.
        self._budget = Budget(0)
        self._on_over = _nothing


def _nothing() -> None:
    """Do nothing: a client that has gone is over no limit."""
