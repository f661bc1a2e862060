"""What a session waits for, and the RECEIPTs that it owes until then."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class ReceiptLedger:
    """Counts a session's messages on their way to the storage, and keeps its RECEIPTs in order.

    A RECEIPT follows those of all frames before it. It is owed until as many messages are settled
    as had been accepted when its frame came.

    Attributes:
        accepted: How many frames with messages to store there were.
        settled: How many of them are stored, or failed.
        owed: The headers of each RECEIPT that is owed, with the number to wait for.
    """

    accepted: int = 0
    settled: int = 0
    owed: deque[tuple[int, Mapping[str, str]]] = field(default_factory=deque)

    def owe(self, headers: Mapping[str, str]) -> None:
        """Keep a RECEIPT until all that was accepted is settled."""
        self.owed.append((self.accepted, headers))

    def take_due(self) -> list[Mapping[str, str]]:
        """Return the RECEIPTs that are owed no longer, and forget them."""
        due = []
        while self.owed and self.owed[0][0] <= self.settled:
            due.append(self.owed.popleft()[1])
        return due
