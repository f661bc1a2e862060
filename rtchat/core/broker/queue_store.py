"""Where queues keep messages that have to survive this process; by default nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from rtchat.core.broker.message import Message

__all__ = ["NO_STORE", "QueueStore"]


class QueueStore(Protocol):
    """Keeps the messages of queues.

    A message is handed to a consumer once it is stored, and forgotten once it was acknowledged.
    """

    def keeps(self, queue: str, message: Message) -> bool:
        """Return whether a message of this queue is to be stored."""

    def append(self, queue: str, seq: int, message: Message, ready: Callable[[], None]) -> None:
        """Store a message.

        Args:
            queue: The queue's destination.
            seq: The message's number in the queue; the order of the numbers is the queue's.
            message: The message.
            ready: Called when it is stored, at once or in a later turn.
        """

    def remove(self, queue: str, seqs: Sequence[int]) -> None:
        """Forget messages that were acknowledged, expired or moved; others may be among them."""

    def load(self, queue: str) -> Iterable[tuple[int, Message]]:
        """Return the messages of a queue that is used for the first time, by their numbers."""


class _NoStore:
    """Keeps nothing: queues end with the process."""

    def keeps(self, queue: str, message: Message) -> bool:
        """Return False."""
        return False

    def append(self, queue: str, seq: int, message: Message, ready: Callable[[], None]) -> None:
        """Call ``ready`` at once."""
        ready()

    def remove(self, queue: str, seqs: Sequence[int]) -> None:
        """Do nothing."""

    def load(self, queue: str) -> Iterable[tuple[int, Message]]:
        """Return nothing."""
        return ()


NO_STORE: QueueStore = _NoStore()
"""The store of queues in memory; they ask it nothing."""
