"""Who creates queues, and how many; how many consumers a queue has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import Subscription
from rtchat.errors import LimitExceeded

__all__ = ["NewQueues"]


class NewQueues:
    """Counts the queues that exist, by the session that created them, while that is there.

    Args:
        queues: The queues, by name.
        limits: The limits.
    """

    __slots__ = ("_counts", "_limits", "_queues")

    def __init__(self, queues: Mapping[str, Queue], limits: BrokerLimits) -> None:
        self._queues = queues
        self._limits = limits
        self._counts: dict[str, int] = {}

    def admit(self, names: Iterable[str], creator: str) -> None:
        """Make sure that a session may create those of some queues that do not exist.

        Raises:
            LimitExceeded: It may not.
        """
        new = sum(1 for name in names if name not in self._queues)
        limit = self._limits.max_queues
        if new and self._counts.get(creator, 0) + new > limit:
            raise LimitExceeded(
                f"more than {limit} queues created",
                "Queues that this session has created and that still have messages or consumers "
                "count. The limit is queue.max_per_session of the server.",
            )

    def admit_consumer(self, subscription: Subscription) -> str:
        """Make sure that a queue may have one more consumer; return the id of its session, or "".

        Raises:
            LimitExceeded: It may not, or its session may not create the queue.
        """
        name, principal = subscription.destination, subscription.principal
        creator = "" if principal is None else principal.id
        self.admit((name,), creator)
        queue, limit = self._queues.get(name), self._limits.max_consumers
        if queue is not None and queue.consumer_count >= limit:
            raise LimitExceeded(
                f"more than {limit} consumers of a queue",
                "The limit is queue.max_consumers of the server.",
            )
        return creator

    def created(self, queue: Queue) -> int:
        """Count a queue, unless the server has created it; return what it takes, in bytes."""
        if queue.creator:
            self._counts[queue.creator] = self._counts.get(queue.creator, 0) + 1
        return queue.cost_bytes

    def removed(self, queue: Queue) -> int:
        """Count a queue no more, because it is unused; return what it took, in bytes."""
        if queue.creator in self._counts:
            self._counts[queue.creator] -= 1
        return queue.cost_bytes

    def forget(self, creator: str) -> None:
        """Forget a session that has ended."""
        self._counts.pop(creator, None)
