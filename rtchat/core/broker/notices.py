"""Events of queues as values, for tests."""

from __future__ import annotations

from typing import NamedTuple

from rtchat.core.broker.events import BrokerEvents

__all__ = ["Notice", "Notices"]


class Notice(NamedTuple):
    """An event of a queue that the server would have logged.

    Attributes:
        kind: ``queue full``, ``queue has room`` or ``dead letter``.
        destination: The queue.
        messages: The number of messages in the queue.
        bytes: The size of these messages in bytes.
    """

    kind: str
    destination: str
    messages: int
    bytes: int


class Notices(BrokerEvents):
    """A listener that appends a notice to a list for each event of a queue.

    Args:
        notices: The list.
    """

    def __init__(self, notices: list[Notice]) -> None:
        self._notices = notices

    def queue_full(self, destination: str, messages: int, size: int) -> None:
        """Append a notice."""
        self._notices.append(Notice("queue full", destination, messages, size))

    def queue_drained(self, destination: str, messages: int, size: int) -> None:
        """Append a notice."""
        self._notices.append(Notice("queue has room", destination, messages, size))

    def dead_lettered(self, destination: str, messages: int, size: int) -> None:
        """Append a notice."""
        self._notices.append(Notice("dead letter", destination, messages, size))
