"""What a server holds for one client, beside the bytes on their way to it."""

from __future__ import annotations

from typing import Protocol

from rtchat.core.flow.memory import Budget
from rtchat.core.flow.outbound import Cork

__all__ = ["Holder", "Holding"]


class Holder(Protocol):
    """The session of a client for which bytes are held."""

    def too_much_held(self) -> None:
        """They are over the limit. Called at the end of a turn in which the limit was exceeded."""

    def frame_incomplete(self) -> None:
        """The bytes of an incomplete frame begin to be many."""


class Holding:
    """Counts the bytes that are held for one client, against its limit and the memory budget.

    They are its subscriptions with their names, selectors and backlogs, the deliveries that it has
    yet to acknowledge, its transactions, the frames that wait, and a frame that is incomplete.

    Args:
        cork: The cork of the server.
        max_bytes: The limit in bytes.
        holder: The session of the client.

    Attributes:
        bytes: How many bytes are held now.
        max_bytes: As above.
    """

    __slots__ = ("_budget", "_cork", "_holder", "bytes", "max_bytes")

    def __init__(self, cork: Cork, max_bytes: int, holder: Holder) -> None:
        self.bytes = 0
        self.max_bytes = max_bytes
        self._cork = cork
        self._budget = cork.budget
        self._holder: Holder | None = holder

    def add(self, size: int) -> None:
        """Count so many bytes more; a negative number takes them away.

        It is called also in the middle of other clients' frames, so the client is not closed
        before the end of the turn.
        """
        self.bytes += size
        self._budget.used += size
        self._budget.held += size
        if size > 0:
            if self.bytes > self.max_bytes and self._holder is not None:
                self._cork.woken[self._holder.too_much_held] = None
            elif self._budget.used > self._budget.over_bytes:
                self._cork.woken[_nothing] = None  # so a turn without output comes to its end, too

    def frame_begun(self) -> None:
        """Report that the bytes of an incomplete frame begin to be many."""
        if self._holder is not None:
            self._holder.frame_incomplete()

    def release(self) -> None:
        """Count nothing from now on: the session has ended, and holds nothing any more."""
        self._budget.used -= self.bytes
        self._budget.held -= self.bytes
        self.bytes = 0
        if self._holder is not None:
            self._cork.woken.pop(self._holder.too_much_held, None)
            self._holder = None
        # What its parts still give back was taken away just now.
        self._budget = Budget(0)


def _nothing() -> None:
    """Do nothing."""
