"""Full queues, and the publishers that wait for capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtchat.core.broker.events import Events
from rtchat.core.broker.queue import Queue
from rtchat.core.flow.outbound import Cork

__all__ = ["FullQueues"]


class FullQueues:
    """Which queues are full, and what waits for each, in the order of waiting.

    Args:
        queues: All queues, by name.
        cork: Where publishers are resumed at the end of the turn.
        events: The listeners to tell.
    """

    __slots__ = ("_cork", "_drained", "_events", "_full", "_queues", "_waiting")

    def __init__(self, queues: Mapping[str, Queue], cork: Cork, events: Events) -> None:
        self._queues = queues
        self._cork = cork
        self._events = events
        self._waiting: dict[str, dict[Callable[[], None], None]] = {}
        self._drained: dict[str, None] = {}
        self._full: set[str] = set()

    def note_full(self, queue: Queue) -> None:
        """Report a queue that is full, once until :meth:`report_drained` reported the opposite."""
        if queue.name not in self._full:
            self._full.add(queue.name)
            for heard in self._events.queue_full:
                heard(queue.name, len(queue), queue.bytes)

    def wait_for(self, queue: Queue, resume: Callable[[], None]) -> None:
        """Call ``resume`` once the queue has capacity, after those that wait already."""
        self._waiting.setdefault(queue.name, {})[resume] = None

    def cancel(self, resume: Callable[[], None]) -> None:
        """Drop a callback: its session has ended."""
        for name, waiting in list(self._waiting.items()):
            waiting.pop(resume, None)
            if not waiting:
                del self._waiting[name]

    def queue_drained(self, queue: Queue) -> None:
        """Resume what waits for a queue that has capacity again, at the end of the turn."""
        if queue.name in self._waiting:
            self._drained[queue.name] = None
            self._cork.woken[self._wake] = None

    def report_drained(self) -> None:
        """Report queues that are full no longer; called once a second.

        Only here: a queue that is filled as fast as it is emptied is full and not full a thousand
        times a second.
        """
        for name in list(self._full):
            if name in self._waiting or self._is_full(name):
                continue
            self._full.discard(name)
            queue = self._queues.get(name)
            messages, size = (0, 0) if queue is None else (len(queue), queue.bytes)
            for heard in self._events.queue_drained:
                heard(name, messages, size)

    def _wake(self) -> None:
        """Resume publishers of queues with capacity, for as long as there is some.

        One after the other: a publisher that has to wait again stands behind all the others.
        """
        drained, self._drained = self._drained, {}
        for name in drained:
            while name in self._waiting and not self._is_full(name):
                waiting = self._waiting[name]
                resume = next(iter(waiting))
                del waiting[resume]
                if not waiting:
                    del self._waiting[name]
                resume()

    def _is_full(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and queue.is_full
