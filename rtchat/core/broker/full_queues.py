"""Full queues, and the publishers that wait for their capacity."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.broker.events import Events
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.waiting import Waiter, WaitingLines
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK
from rtchat.errors import LimitExceeded

__all__ = ["FullQueues"]

_MAX_STEPS = 1_000
_MAX_STEPS_ALL = 20_000
_RESUME_WORK = 20
_MAX_ROUNDS = 100
"""How often a look at all that waits is repeated because it has let sessions go on."""


class FullQueues:
    """Tracks full queues: who waits for them, and who must not.

    A session that waits is not read, so its acknowledgements wait, too. It would wait for itself
    if a chain leads back to it: from the queue to a waiting session that holds deliveries of that
    queue, to the queue which that one waits for, and so on. So such a session does not wait: it
    may add messages until the queue holds twice its limits. From there on it waits only while a
    session outside the chain holds deliveries that may be acknowledged. A chain of very many is
    looked at only once a second.

    Args:
        queues: All queues, by name.
        waiting: The sessions that wait.
        cork: The cork of the server; publishers are resumed at the end of the turn.
        events: The listeners to notify.
    """

    __slots__ = (
        "_cork",
        "_drained",
        "_events",
        "_found",
        "_full",
        "_has_resumed",
        "_queues",
        "_rounds",
        "_to_look_at",
        "_waiting",
    )

    def __init__(
        self, queues: Mapping[str, Queue], waiting: WaitingLines, cork: Cork, events: Events
    ) -> None:
        self._queues = queues
        self._waiting = waiting
        self._cork = cork
        self._events = events
        self._drained: dict[str, None] = {}
        self._full: set[str] = set()
        self._to_look_at: dict[str, None] = {}
        self._found: dict[Waiter, str] = {}
        self._has_resumed = False
        self._rounds = 0

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
        delivered to it, or the last one that could have acknowledged goes. What a resumed one
        sends may do that, too, so all are looked at again after it.
        """
        self._rounds = _MAX_ROUNDS
        self._begin_round()
        self._look()

    def _begin_round(self) -> None:
        self._has_resumed = False
        for name in self._waiting.places_of_holders():
            self._to_look_at[name] = None

    def _look(self) -> None:
        """Look at the lines of full queues; what the turn has no time for comes in the next."""
        to_look_at, found, waiting = self._to_look_at, self._found, self._waiting
        while to_look_at or found:
            if self._cork.work >= TURN_WORK:
                self._cork.put_off(self._look)
                return
            if found:
                self._resume_if_stuck(*found.popitem())
            else:
                name = next(iter(to_look_at))
                del to_look_at[name]
                queue = self._queues.get(name)
                if queue is not None:
                    chain = _Chain(queue, self._queues, waiting, self._cork, _MAX_STEPS_ALL)
                    stuck = [one for one in waiting.line(name) if chain.leads_back_to(one)]
                    self._cork.work += len(stuck)
                    found.update(dict.fromkeys(reversed(stuck), name))
            if self._has_resumed and self._rounds and not (to_look_at or found):
                self._rounds -= 1
                self._begin_round()

    def _resume_if_stuck(self, waiter: Waiter, name: str) -> None:
        """Resume a session that was found to wait for itself, unless others have changed that."""
        queue = self._queues.get(name)
        if (
            queue is not None
            and self._waiting.place_of(waiter) == name
            and self._would_wait_for_itself(queue, waiter)
        ):
            self._has_resumed = True
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

        A publisher that has to wait again goes to the end of the line. Those that the turn has no
        time for are resumed in the next one.
        """
        cork, drained = self._cork, self._drained
        for name in list(drained):
            del drained[name]
            while name in self._waiting and not self._is_full(name):
                if cork.work >= TURN_WORK:
                    drained[name] = None
                    cork.put_off(self._resume_publishers)
                    break
                cork.work += _RESUME_WORK
                self._waiting.resume_first(name)

    def _is_full(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and queue.is_full

    def _would_wait_for_itself(self, queue: Queue, publisher: Waiter) -> bool:
        """Return whether a chain leads back to the publisher, and no one else can make room."""
        chain = _Chain(queue, self._queues, self._waiting, self._cork, _MAX_STEPS, publisher)
        return chain.leads_back_to(publisher)


class _Chain:
    """The chains from a full queue to the waiting sessions that hold its deliveries, and so on.

    Args:
        queue: The queue.
        queues: All queues, by name.
        waiting: The sessions that wait.
        cork: The cork of the server, which counts the work.
        most: How many subscriptions may be looked at. If there are more, no session is found.
        publisher: A session that does not wait yet, or None.
    """

    __slots__ = ("_by_stuck", "_is_cut", "_publisher", "_queue", "_stuck")

    def __init__(
        self,
        queue: Queue,
        queues: Mapping[str, Queue],
        waiting: WaitingLines,
        cork: Cork,
        most: int,
        publisher: object = None,
    ) -> None:
        self._queue = queue
        self._publisher = publisher
        self._stuck: dict[object, None] = {}  # in the order in which they were found
        self._by_stuck = -1  # how many deliveries of the queue they hold; -1 if that is not known
        self._is_cut = False
        reached = {queue}
        to_follow = [queue]
        steps = 0
        while to_follow and not (self._is_cut or self._is_found()):
            for holder in to_follow.pop().holders():
                steps += 1
                if steps > most:
                    self._is_cut = True
                    break
                session = holder.principal
                if session in self._stuck or session is None or not _held_by(holder):
                    continue
                if session is publisher:
                    self._stuck[session] = None
                    continue
                # Who waits for a topic's subscribers does not wait for long (see Congestion).
                following = queues.get(waiting.place_of(session))
                if following is not None:
                    self._stuck[session] = None
                    if following not in reached:
                        reached.add(following)
                        to_follow.append(following)
        cork.work += steps // 4

    def leads_back_to(self, session: Waiter) -> bool:
        """Return whether a chain leads to a session, and no session outside can make room."""
        queue = self._queue
        if self._is_cut or session not in self._stuck:
            return False
        if not queue.is_doubly_full:
            return True
        if self._by_stuck < 0:
            holders = (one for one in queue.holders() if one.principal in self._stuck)
            self._by_stuck = sum(map(_held_by, holders))
        return queue.unacknowledged == self._by_stuck

    def _is_found(self) -> bool:
        return self._publisher in self._stuck and not self._queue.is_doubly_full


def _held_by(subscription: Subscription) -> int:
    """Return how many deliveries have yet to be acknowledged; those in transactions count."""
    return subscription.pending + subscription.reserved
