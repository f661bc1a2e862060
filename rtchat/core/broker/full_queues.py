"""Full queues, and the publishers that wait for their capacity."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtchat.core.broker.events import Events
from rtchat.core.broker.queue import Queue
from rtchat.core.flow.outbound import Cork

__all__ = ["FullQueues"]


class FullQueues:
    """Tracks full queues, and resumes waiting publishers in the order of their arrival.

    Args:
        queues: All queues, by name.
        cork: The cork of the server; publishers are resumed at the end of the turn.
        events: The listeners to notify.
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
        """Report a full queue, once until :meth:`report_drained` reports the opposite."""
        if queue.name not in self._full:
            self._full.add(queue.name)
            for listener in self._events.queue_full:
                listener(queue.name, len(queue), queue.bytes)

    def wait_for(self, queue: Queue, resume: Callable[[], None]) -> None:
        """Call ``resume`` once the queue has capacity, after the callbacks that wait already."""
        self._waiting.setdefault(queue.name, {})[resume] = None

    def cancel(self, resume: Callable[[], None]) -> None:
        """Remove a callback from all queues: its session has ended."""
        for name, waiting in list(self._waiting.items()):
            waiting.pop(resume, None)
            if not waiting:
                del self._waiting[name]

    def queue_drained(self, queue: Queue) -> None:
        """Resume publishers of a queue that has capacity again, at the end of the turn."""
        if queue.name in self._waiting:
            self._drained[queue.name] = None
            self._cork.woken[self._resume_publishers] = None

    def report_drained(self) -> None:
        """Report queues that are no longer full; called every second.

        Not reported at once: a queue that is filled as fast as it is emptied changes between full
        and not full a thousand times a second.
        """
        for name in list(self._full):
            if name in self._waiting or self._is_full(name):
                continue
            self._full.discard(name)
            queue = self._queues.get(name)
            messages, size = (0, 0) if queue is None else (len(queue), queue.bytes)
            for listener in self._events.queue_drained:
                listener(name, messages, size)

    def _resume_publishers(self) -> None:
        """Resume publishers of drained queues, one by one, until the queues are full again.

        A publisher that has to wait again goes to the end of the line.
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
