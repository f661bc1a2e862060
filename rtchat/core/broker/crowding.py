"""Memory that is nearly used up: which queues have a part in it."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest
from itertools import islice
from operator import attrgetter

from rtchat.core.broker.events import Events, HeldByQueue
from rtchat.core.broker.queue import Queue
from rtchat.core.flow.memory import Budget, Growing

__all__ = ["Crowding"]

_SMALL_SHARE = 64
"""A queue that holds less than this part of the memory is not named."""

_FREE_AGAIN = 0.7
_MAX_LOOKED_AT = 20_000
_MAX_NAMED = 5


class Crowding:
    """Says which queues are why memory is nearly used up.

    Args:
        budget: The memory budget.
        queues: All queues, by name.
        events: The listeners to notify.
    """

    __slots__ = ("_budget", "_events", "_is_reported", "_queues")

    def __init__(self, budget: Budget, queues: Mapping[str, Queue], events: Events) -> None:
        self._budget = budget
        self._queues = queues
        self._events = events
        self._is_reported = False

    def has_part(self, place: Growing) -> bool:
        """Return whether a place is a reason why memory is short.

        It is, if nothing takes out what is put in, or if it holds more than its share. All queues
        that are not have half of the memory at the most.
        """
        share = self._budget.near_bytes // (2 * (len(self._queues) + 1))
        return not place.is_emptied or place.bytes > share

    def tick(self) -> None:
        """Report the largest queues once memory is nearly used up; call it every second."""
        budget = self._budget
        if self._is_reported:
            self._is_reported = budget.used > budget.max_bytes * _FREE_AGAIN
        elif budget.is_near:
            self._is_reported = True
            # The oldest ones: those that memory is lost to have been there for long.
            queues = islice(self._queues.values(), _MAX_LOOKED_AT)
            largest = [
                HeldByQueue(queue.name, len(queue), queue.bytes, queue.consumer_count)
                for queue in nlargest(_MAX_NAMED, queues, key=attrgetter("bytes"))
                if queue.bytes * _SMALL_SHARE > budget.near_bytes
            ]
            for listener in self._events.memory_short:
                listener(budget.used, budget.max_bytes, largest)
