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
        holders = _Holders(self._waiting, self._queues)
        chains: dict[Queue, _Chain] = {}
        found: list[tuple[Waiter, str]] = []
        for waiter, (held, queue) in holders.all.items():
            chain = chains.get(queue)
            if chain is None:
                chain = chains[queue] = _Chain(queue, holders)
            if chain.leads_back_to(waiter, held):
                found.append((waiter, queue.name))
        for waiter, name in found:
            # Those before it may have changed all.
            again = self._queues.get(name)
            if again is not None and self._would_wait_for_itself(again, waiter):
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
        chain = _Chain(queue, _Holders(self._waiting, self._queues))
        return chain.leads_back_to(publisher, held)


class _Holders:
    """The waiting sessions that hold deliveries.

    Attributes:
        all: For each of them its deliveries, and the queue that it waits for.
        by_source: Those that hold deliveries of a source.
    """

    __slots__ = ("all", "by_source")

    def __init__(self, waiting: WaitingLines, queues: Mapping[str, Queue]) -> None:
        self.all: dict[Waiter, tuple[Mapping[Source, int], Queue]] = {}
        self.by_source: dict[Source, list[Waiter]] = {}
        for waiter, name in waiting.holders():
            # Who waits for a topic's subscribers does not wait for long (see Congestion).
            queue = queues.get(name)
            held = {} if queue is None else waiter.held_deliveries()
            if queue is not None and held:
                self.all[waiter] = held, queue
                for source in held:
                    self.by_source.setdefault(source, []).append(waiter)


class _Chain:
    """The chains from a full queue: the waiting sessions in them, and the queues reached."""

    __slots__ = ("_queue", "_reached", "_stuck")

    def __init__(self, queue: Queue, holders: _Holders) -> None:
        self._queue = queue
        self._reached: set[Source] = {queue}
        self._stuck: dict[Waiter, Mapping[Source, int]] = {}
        to_follow: list[Source] = [queue]
        while to_follow:
            for waiter in holders.by_source.get(to_follow.pop(), ()):
                if waiter not in self._stuck:
                    self._stuck[waiter], next_queue = holders.all[waiter]
                    if next_queue not in self._reached:
                        self._reached.add(next_queue)
                        to_follow.append(next_queue)

    def leads_back_to(self, publisher: Waiter, held: Mapping[Source, int]) -> bool:
        """Return whether a chain leads to a session, and no session outside can make room.

        Args:
            publisher: The session, which may be in the chain.
            held: The deliveries that it holds.
        """
        queue = self._queue
        if self._reached.isdisjoint(held):
            return False
        if not queue.is_doubly_full:
            return True
        stuck = {**self._stuck, publisher: held}
        return queue.unacknowledged == sum(each.get(queue, 0) for each in stuck.values())
