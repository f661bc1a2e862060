"""Storage of queues' messages that have to survive the process; by default there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from rtchat.core.broker.message import Message

__all__ = ["NO_STORE", "QueueStore"]


class QueueStore(Protocol):
    """Stores the messages of queues.

    A message is delivered once it is stored, and removed once it was acknowledged.
    """

    def keeps(self, queue: str, message: Message) -> bool:
        """Return whether a message of a queue has to be stored."""

    def append(self, queue: str, seq: int, message: Message, ready: Callable[[], None]) -> None:
        """Store a message.

        Args:
            queue: The queue's destination.
            seq: The message's sequence number, which defines the order in the queue.
            message: The message.
            ready: Called when the message is stored, at once or in a later turn.
        """

    def remove(self, queue: str, seqs: Sequence[int]) -> None:
        """Remove messages that were acknowledged, expired or moved.

        Args:
            queue: The queue's destination.
            seqs: Their sequence numbers; some may be those of messages that were never stored.
        """

    def load(self, queue: str) -> Iterable[tuple[int, Message]]:
        """Return the stored messages of a queue, in order, with their sequence numbers.

        Called once, when the queue is created.
        """


class _NoStore:
    """Stores nothing: messages are lost when the process ends."""

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
"""The store of in-memory queues. They recognise it and do not call its methods."""
