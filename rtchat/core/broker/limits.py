"""Limits that all sessions share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BrokerLimits"]


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What all sessions of a server share.

    Attributes:
        max_queue_messages: Messages a queue holds, unacknowledged ones included, before its
            publishers have to wait.
        max_queue_bytes: The same in bytes of body and headers.
        max_deliveries: How often a message is delivered before it goes to the dead-letter
            queue; 0 is for ever.
        max_bytes: What all queues, transactions and backlogs may hold together; 0 is no limit.
    """

    max_queue_messages: int = 10_000
    max_queue_bytes: int = 64 * 1024 * 1024
    max_deliveries: int = 20
    max_bytes: int = 0
