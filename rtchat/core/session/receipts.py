"""Reasons for a session to wait, and RECEIPTs that are deferred until messages are stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from rtchat.core.stomp.frames import Frame

__all__ = ["DONE", "MustWait", "ReceiptLedger", "TooFast", "TurnOver"]

DONE = Frame("")
"""Stands for a frame that was processed, but whose messages have yet to be stored."""


class MustWait(Exception):
    """The session has to wait before it processes further frames.

    Attributes:
        place: The destination to wait for, or another place in ``WaitingLines``; "" to wait until
            the storage has all messages that the client has sent.
        is_done: Whether the frame was processed. If not, it had no effect and is retried.
    """

    def __init__(self, place: str = "", *, is_done: bool = False) -> None:
        super().__init__()
        self.place = place
        self.is_done = is_done


class TooFast(Exception):
    """A frame exceeds a rate. It had no effect and is retried.

    Attributes:
        delay_s: The time in seconds after which to retry it.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class TurnOver(Exception):
    """The turn has no time for a frame, which is retried in a later turn.

    It had no effect, unless it is a COMMIT: then the rest of its steps follows.
    """


@dataclass(slots=True)
class ReceiptLedger:
    """Counts a session's frames that wait for the storage, and sends RECEIPTs in order.

    RECEIPTs are sent in the order of the frames. A RECEIPT is owed until as many frames are settled
    as were accepted when its own frame was processed.

    Attributes:
        accepted: The number of frames with messages to store.
        settled: The number of these frames whose messages are stored, or failed.
        owed: For each RECEIPT owed: the value of ``settled`` to wait for, and its headers.
    """

    accepted: int = 0
    settled: int = 0
    owed: deque[tuple[int, Mapping[str, str]]] = field(default_factory=deque)

    def owe(self, headers: Mapping[str, str]) -> None:
        """Defer a RECEIPT until all frames accepted so far are settled."""
        self.owed.append((self.accepted, headers))

    def take_due(self) -> list[Mapping[str, str]]:
        """Remove the RECEIPTs that are due; return their headers, in order."""
        due = []
        while self.owed and self.owed[0][0] <= self.settled:
            due.append(self.owed.popleft()[1])
        return due
