"""What a queue needs of the broker."""

from __future__ import annotations

from typing import Protocol, TypeVar

from rtchat.core.broker.message import Message
from rtchat.core.flow.memory import Growing

__all__ = ["QueueOwner"]

_Queue = TypeVar("_Queue", contravariant=True)


class QueueOwner(Protocol[_Queue]):
    """What a queue needs of the broker."""

    def queue_drained(self, queue: _Queue) -> None:
        """Called when a full queue has capacity again."""

    def queue_is_unused(self, queue: _Queue) -> None:
        """Called when a queue has neither messages nor consumers any more."""

    def queue_rejected(self, queue: _Queue, message: Message, *, tries: int) -> bool:
        """Move a message to the dead letters; see ``DeadLetters.take`` for the arguments.

        Returns:
            Whether the queue has to remove the message.
        """

    def account(self, change: int, place: Growing | None = None) -> None:
        """Add bytes to the memory budget; a publisher has made the place grow, if there is one."""

    def queue_expires(self, queue: _Queue, when_s: float) -> None:
        """Called when a message that expires, at a time in seconds since 1970, is ready."""
