"""Limits that all sessions of a broker share."""

from __future__ import annotations

from dataclasses import dataclass

from rtchat.config.keys import GIB, KIB, MIB, key

__all__ = ["BrokerLimits"]


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """The limits that all sessions of a broker share.

    Attributes:
        max_queue_messages: Number of messages in a queue, unacknowledged ones included, from which
            its publishers have to wait.
        max_queue_bytes: The same in bytes of bodies and headers.
        max_consumers: Number of consumers of a queue.
        max_queues: Number of queues that exist and that one session has created.
        max_names: Number of names in the destination of a SEND.
        max_shared_selector_steps: How many steps the selectors of all sessions of a user or source
            take together for a message.
        max_shared_pattern_steps: The same for patterns and a name.
        min_topic_rate: How many bytes of messages a topic takes each second, however slow its
            subscribers are.
        max_deliveries: Number of failed deliveries of a message before it goes to the dead-letter
            queue; 0 means no limit.
        max_bytes: The memory budget of all queues, transactions and backlogs, in bytes; 0 means no
            limit. A server has another default: a quarter of the machine's memory.
    """

    max_queue_messages: int = key(
        "[broker] queue.max_messages", 10_000, unit="messages", low=1, high=100_000_000
    )
    max_queue_bytes: int = key(
        "[broker] queue.max_bytes", 64 * MIB, unit="bytes", low=KIB, high=1024 * GIB
    )
    max_consumers: int = key(
        "[broker] queue.max_consumers", 1000, unit="consumers", low=1, high=1_000_000
    )
    max_queues: int = key(
        "[broker] queue.max_per_session", 10_000, unit="queues", low=1, high=100_000_000
    )
    max_names: int = key("[broker] destination.max_names", 16, unit="names", low=1, high=100_000)
    max_shared_selector_steps: int = key(
        "[broker] selector.max_shared_steps", 60_000, unit="steps", low=100, high=100_000_000
    )
    max_shared_pattern_steps: int = key(
        "[broker] pattern.max_shared_steps", 40_000, unit="steps", low=100, high=100_000_000
    )
    min_topic_rate: int = key(
        "[broker] backlog.min_rate", 128 * KIB, unit="bytes", low=KIB, high=GIB
    )
    max_deliveries: int = key(
        "[broker] redelivery.max_count", 20, unit="deliveries", low=1, high=1_000_000, or_zero=True
    )
    max_bytes: int = key("[broker] memory.max_bytes", 0, unit="bytes", low=MIB, high=1024 * GIB)
