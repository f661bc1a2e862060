"""Full queues, and the publishers that wait for their capacity."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.broker.events import Events
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import Source
from rtchat.core.broker.waiting import Waiter, WaitingLines
from rtchat.core.flow.outbound import Cork
from rtchat.errors import LimitExceeded

__all__ = ["FullQueues"]


class FullQueues:
    """Tracks full queues: who waits for them, and who must not.

    A session that waits is not read, so its acknowledgements wait, too. It would wait for itself
    if a chain leads back to it: from the queue to a waiting session that holds deliveries of that
    queue, to the queue which that one waits for, and so on. So such a session does not wait: it
    may add messages until the queue holds twice its limits. From there on it waits only while a
    session outside the chain holds deliveries that may be acknowledged.

    Args:
        queues: All queues, by name.
        waiting: The sessions that wait.
        cork: The cork of the server; publishers are resumed at the end of the turn.
        events: The listeners to notify.
    """

    __slots__ = ("_cork", "_drained", "_events", "_full", "_queues", "_waiting")

    def __init__(
        self, queues: Mapping[str, Queue], waiting: WaitingLines, cork: Cork, events: Events
    ) -> None:
        self._queues = queues
        self._waiting = waiting
        self._cork = cork
        self._events = events
        self._drained: dict[str, None] = {}
        self._full: set[str] = set()

    def must_wait(self, queue: Queue, publisher: Waiter | None) -> bool:
        """Return whether a publisher has to wait for a full queue, which is reported.

        Args:
            queue: The queue, which is full.
            publisher: The session that sends to it, or None.

        Raises:
            LimitExceeded: It would wait for itself, and the queue holds twice what it may.
        """
        self._note_full(queue)
        if publisher is None or not self._would_wait_for_itself(queue, publisher):
            return True
        if queue.is_doubly_full:
            raise LimitExceeded(
                "queue full, and only this session's ACKs can make room",
                f"{queue.name} holds {len(queue)} messages ({queue.bytes} bytes), twice as much as "
                "it may. A session that holds deliveries may exceed the limits so far, because "
                "its ACKs come after its SENDs. ACK before sending more, use another connection "
                "for one of the two, or raise queue.max_messages and queue.max_bytes of the "
                "server.",
            )
        return False

    def queue_drained(self, queue: Queue) -> None:
        """Resume publishers of a queue that has capacity again, at the end of the turn."""
        if queue.name in self._waiting:
            self._drained[queue.name] = None
            self._cork.woken[self._resume_publishers] = None

    def resume_those_that_wait_for_themselves(self) -> None:
        """Resume such sessions; called every second.

        A session may get into that state while it waits: messages that another one returns are
        delivered to it, or the last one that could have acknowledged goes.
        """
        for waiter, name in self._waiting.holders():
            queue = self._queues.get(name)
            if queue is not None and self._would_wait_for_itself(queue, waiter):
                self._waiting.resume(waiter)

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

    # Small helpers

    def _note_full(self, queue: Queue) -> None:
        """Report a full queue, once until :meth:`report_drained` reports the opposite."""
        if queue.name not in self._full:
            self._full.add(queue.name)
            for listener in self._events.queue_full:
                listener(queue.name, len(queue), queue.bytes)

    def _resume_publishers(self) -> None:
        """Resume publishers of drained queues, one by one, until the queues are full again.

        A publisher that has to wait again goes to the end of the line.
        """
        drained, self._drained = self._drained, {}
        for name in drained:
            while name in self._waiting and not self._is_full(name):
                self._waiting.resume_first(name)

    def _is_full(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and queue.is_full

    def _would_wait_for_itself(self, queue: Queue, publisher: Waiter) -> bool:
        """Return whether a chain leads back to the publisher, and no one else can make room."""
        held = publisher.held_deliveries()
        if not held:
            return False
        stuck, reached = self._chain(queue)
        if reached.isdisjoint(held):
            return False
        if not queue.is_doubly_full:
            return True
        stuck[publisher] = held
        return queue.unacknowledged == sum(each.get(queue, 0) for each in stuck.values())

    def _chain(self, queue: Queue) -> tuple[dict[Waiter, Mapping[Source, int]], set[Source]]:
        """Return the waiting sessions in the chains from a queue, and the queues in them."""
        reached: set[Source] = {queue}
        stuck: dict[Waiter, Mapping[Source, int]] = {}
        # Who waits for a topic's subscribers does not wait for long (see Congestion).
        others = [
            (waiter, held, self._queues[name])
            for waiter, name in self._waiting.holders()
            if name in self._queues and (held := waiter.held_deliveries())
        ]
        is_longer = True
        while is_longer:
            is_longer = False
            for waiter, held, next_queue in others:
                if waiter not in stuck and not reached.isdisjoint(held):
                    stuck[waiter] = held
                    reached.add(next_queue)
                    is_longer = True
        return stuck, reached
