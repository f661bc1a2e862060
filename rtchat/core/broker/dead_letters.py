"""Dead letters: messages that were rejected for good, or that failed too often."""

from __future__ import annotations

from collections.abc import Callable

from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.events import Events
from rtchat.core.broker.message import Message, without_expiry
from rtchat.core.broker.queue import Queue
from rtchat.core.flow.memory import Budget

__all__ = ["DeadLetters"]

_PREFIX = "/queue/DLQ."


class DeadLetters:
    """Moves messages to the dead-letter queues, which obey the limits of queues.

    A full one loses its oldest messages, so that no consumer has to wait until an operator looks at
    it. If consumers have all of them, it may grow to twice its limits; then it is the message that
    is lost.

    Args:
        open_queue: Returns the queue of a name, which may be new.
        budget: The memory budget.
        events: The listeners to notify.

    Attributes:
        dropped: The number of messages that were lost so.
    """

    __slots__ = ("_budget", "_events", "_open", "dropped")

    def __init__(self, open_queue: Callable[[str], Queue], budget: Budget, events: Events) -> None:
        self.dropped = 0
        self._open = open_queue
        self._budget = budget
        self._events = events

    def take(self, queue: str, message: Message, *, tries: int) -> bool:
        """Move a message to the dead-letter queue.

        Messages of a dead-letter queue are not moved: one that was delivered too often stays
        there, and one that was rejected for good is dropped.

        Args:
            queue: The queue of the message.
            message: The message.
            tries: The number of failed deliveries, or 0 if a consumer rejected it for good.

        Returns:
            Whether the queue has to remove the message.
        """
        if queue.startswith(_PREFIX):
            return tries == 0
        name = _PREFIX + queue.removeprefix(DestinationKind.QUEUE.value)
        frame = without_expiry(message.frame)
        dead = Message(message.id, name, frame, message.reply_to, message.position)
        target, dropped = self._open(name), 0
        while target.is_full and target.drop_oldest():
            dropped += 1
        if target.is_doubly_full:
            dropped += 1
        else:
            target.put(dead)
            if target in self._budget.grown:  # its bytes were there before, in another queue
                self._budget.note_grown(target, -dead.size)
            for listener in self._events.dead_lettered:
                listener(name, len(target), target.bytes)
        if dropped:
            self.dropped += dropped
            for dropping in self._events.dead_letters_dropped:
                dropping(name, dropped, len(target), target.bytes)
        return True
