"""What a session waits for, and the RECEIPTs that it owes until then."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from rtchat.core.broker.queue import Queue
from rtchat.core.stomp.frames import Frame

__all__ = ["DONE", "MustWait", "ReceiptLedger", "TooFast"]

DONE = Frame("")
"""Stands for a frame that has had its effect, but whose message has to be stored first."""


class MustWait(Exception):
    """The client has to wait, and its next frames with it.

    Attributes:
        queue: The queue that has to have capacity; None is the storage, which has to have all
            that the client has sent.
        is_done: Whether the frame has had its effect otherwise. If not, none of it has.
    """

    def __init__(self, queue: Queue | None = None, *, is_done: bool = False) -> None:
        super().__init__()
        self.queue = queue
        self.is_done = is_done


class TooFast(Exception):
    """A frame came too early; it has had no effect.

    Attributes:
        delay_s: After how many seconds it may be tried again.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class ReceiptLedger:
    """Counts a session's messages on their way to the storage, and keeps its RECEIPTs in order.

    A RECEIPT follows those of all frames before it. It is owed until as many messages are stored
    as had been accepted when its frame came.

    Attributes:
        accepted: How many frames with messages to store there were.
        settled: How many of them are stored, or failed.
    """

    __slots__ = ("_owed", "accepted", "settled")

    def __init__(self) -> None:
        self.accepted = self.settled = 0
        self._owed: deque[tuple[int, Mapping[str, str]]] = deque()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on its way."""
        return self.accepted == self.settled

    def owe(self, headers: Mapping[str, str]) -> None:
        """Keep a RECEIPT until all that was accepted is settled."""
        self._owed.append((self.accepted, headers))

    def due(self) -> Mapping[str, str] | None:
        """Return the next RECEIPT to send, and forget it; None if none is due."""
        if self._owed and self._owed[0][0] <= self.settled:
            return self._owed.popleft()[1]
        return None
