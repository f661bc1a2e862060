"""Delivery of SENDs to their targets: single messages, runs, and transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from rtchat.core.broker.congestion import Congestion
from rtchat.core.broker.full_queues import FullQueues
from rtchat.core.broker.message import Message, size_of, time_to_live_ms, with_expires
from rtchat.core.broker.parts import Parts
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import Publisher, Step, Target
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.router import Publication, Route, Router, TopicTarget, common_storage
from rtchat.core.broker.steps import Steps
from rtchat.core.broker.subscription import Source
from rtchat.core.broker.waiting import Waiter
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["Publishing", "Sender"]

_QUEUED_WORK = 4
"""The work of a message of a run that goes to a queue."""


class Sender(Publisher, Waiter, Principal, Protocol):
    """A session that publishes: it may have to wait for capacity, or for the storage."""


class Publishing:
    """Creates messages from SENDs and delivers them to the targets of their routes.

    Args:
        epoch: The beginning of all message ids.
        router: Resolves destinations.
        queues: The queues, by name.
        full_queues: Tracks full queues.
        congestion: Tracks subscribers of topics that lag.
        parts: The topics whose messages are delivered in parts.
        cork: The cork of the server, whose ``now`` decides which messages have expired.

    Attributes:
        admit_queues: Called with the names of queues and the id of the session that may create
            those that are new; raises ``LimitExceeded`` if it may not.
        message_count: The number of messages published since the start.
    """

    __slots__ = (
        "_congested",
        "_congestion",
        "_cork",
        "_epoch",
        "_full_queues",
        "_parts",
        "_queues",
        "_router",
        "_unusual",
        "admit_queues",
        "message_count",
    )

    def __init__(
        self,
        epoch: str,
        router: Router,
        queues: Mapping[str, Queue],
        full_queues: FullQueues,
        congestion: Congestion,
        parts: Parts,
        cork: Cork,
    ) -> None:
        self._epoch = epoch
        self._router = router
        self._queues = queues
        self._full_queues = full_queues
        self._congestion = congestion
        self._congested = congestion.active
        self._parts = parts
        self._cork = cork
        self._unusual = router.unusual
        self.message_count = 0
        self.admit_queues: Callable[[Collection[str], str], None] = _admit

    def place_to_wait(
        self, route: Route, publisher: Waiter, but: set[Source | None] | None = None
    ) -> str:
        """Return the first destination that a SEND has to wait for, or "".

        Args:
            route: The route of the SEND.
            publisher: The session it comes from.
            but: Queues that may be full. Those that need not be waited for are added, so that they
                are looked at once for all SENDs of a transaction.

        Raises:
            LimitExceeded: A queue is full, and the session would wait for itself.
        """
        for target in route.targets:
            queue = self._queues.get(target.name)
            if queue is not None and queue.is_full and (but is None or queue not in but):
                if self._full_queues.must_wait(queue, publisher):
                    return queue.name
                if but is not None:
                    but.add(queue)
        return self._busy_topic(route, publisher) if self._congested else ""

    def unfinished(self, routes: Iterable[Route]) -> list[str]:
        """Return what a session waits for until SENDs, just published, were delivered to all.

        Args:
            routes: The routes of the SENDs.
        """
        if not self._parts.topics:
            return []
        targets = dict.fromkeys(target for route in routes for target in route.targets)
        return [place for target in targets for place in target.unfinished()]

    def check(self, route: Route, frame: Frame, sender: Principal | None = None) -> None:
        """Check a SEND without publishing it.

        Args:
            route: Its route.
            frame: The SEND.
            sender: The session it comes from.

        Raises:
            ProtocolError: :meth:`publish` would refuse the SEND.
        """
        if "expiration" in frame.headers:
            time_to_live_ms(frame)
        self._admit_new_queues(route, sender)

    def publish_plain(self, route: Route, frame: Frame, publisher: Sender | None = None) -> str:
        """Publish a plain SEND; a fast path of :meth:`publish`.

        Args:
            route: The route, with ``is_usual`` set (see :class:`Route`).
            frame: The SEND, without headers that need attention (see ``Head.is_plain``).
            publisher: The session, which is notified if the message has to be stored.

        Returns:
            "", or the destination that the SEND has to wait for, and then it had no effect.

        Raises:
            LimitExceeded: A queue is full, and the session would wait for itself.
        """
        name = route.destination
        queue = self._queues.get(name)
        if queue is not None:
            if queue.is_full and self._full_queues.must_wait(queue, publisher):
                return name
            self.message_count = number = self.message_count + 1
            mark = b"" if publisher is None else publisher.mark
            queue.put(Message(f"{self._epoch}-{number}", name, frame, "", mark))
            return ""
        target = route.topic
        if target is None or self._unusual:
            if self._congested and publisher is not None:
                place = self._busy_topic(route, publisher)
                if place:
                    return place
            self.publish(route, frame, "", publisher, publisher)
            return ""
        router = self._router
        if target.generation != router.generation:
            router.renew(target)
        self.message_count = number = self.message_count + 1
        mark = b"" if publisher is None else publisher.mark
        message = Message(f"{self._epoch}-{number}", name, frame, "", mark)
        if target.is_many:
            for topic in target.topics:
                topic.publish_one_of_many(message)
        else:
            for topic in target.topics:
                topic.publish(message)
        return ""

    def max_run(self, route: Route, frame: Frame) -> int:
        """Return the number of SENDs with this head that :meth:`publish_run` may take; 0 if none.

        Args:
            route: The route of the SENDs.
            frame: The first SEND.
        """
        queue = self._queues.get(route.destination)
        if queue is not None:
            return queue.capacity_for(size_of(frame))
        target = route.topic
        if target is None or self._unusual:
            return 0
        if target.generation != self._router.generation:
            self._router.renew(target)
        topic = target.direct
        return 0 if topic is None else topic.longest_run

    def publish_run(
        self, route: Route, frame: Frame, bodies: list[bytes], mark: bytes = b""
    ) -> None:
        """Publish a run of plain SENDs with the same head, at a third of the cost of single ones.

        Args:
            route: The route of the SENDs; :meth:`max_run` has allowed their number.
            frame: The first SEND, with the ``content-length`` of all of them.
            bodies: The bodies, including that of the first SEND.
            mark: The position of the messages; see ``Principal.mark``.
        """
        first = self.message_count + 1
        self.message_count += len(bodies)
        name = route.destination
        queue = self._queues.get(name)
        if queue is None:
            topic = None if route.topic is None else route.topic.direct
            assert topic is not None  # or max_run() would have returned 0
            topic.publish_run(f"{self._epoch}-", first, frame, bodies, mark)
            return
        self._cork.work += len(bodies) * _QUEUED_WORK
        stem, command, headers, head = f"{self._epoch}-", frame.command, frame.headers, frame.head
        queue.put_run(
            [
                Message(f"{stem}{number}", name, Frame(command, headers, body, head), "", mark)
                for number, body in enumerate(bodies, first)
            ]
        )

    def publish(
        self,
        route: Route,
        frame: Frame,
        reply_to: str = "",
        sender: Principal | None = None,
        publisher: Publisher | None = None,
    ) -> bool:
        """Deliver a SEND to all its targets, or store it first if its route requires that.

        Args:
            route: The route.
            frame: The SEND; it has passed the route's checks.
            reply_to: The destination of replies, or "".
            sender: The session it comes from.
            publisher: The session to notify when it is stored.

        Returns:
            Whether the session has to wait until the SEND is stored.

        Raises:
            ProtocolError: The SEND is refused; no target has received it.
        """
        headers = frame.headers
        if route.queue_names:
            self._admit_new_queues(route, sender)
        if self._congested:
            self._congestion.spend(route, size_of(frame))
        if "expiration" in headers:
            frame = with_expires(frame, self._cork.now)
            headers = frame.headers
        if route.storage is not None:
            steps = self._steps(route, frame, reply_to, sender, publisher)
            if steps:
                route.storage.commit(steps, publisher, frame)
            return bool(steps) and len(route.targets) > 1
        self.message_count += 1
        message_id = f"{self._epoch}-{self.message_count}"
        mark = b"" if sender is None else sender.mark
        for target in route.targets:
            message = Message(message_id, target.name, frame, reply_to, mark)
            if "expires" in headers and self._is_expired(message, target):
                continue
            target.put(message, sender)
        return False

    def commit(
        self,
        parts: Sequence[Publication | Callable[[], None]],
        publisher: Publisher | None,
        cause: Frame,
    ) -> Steps | None:
        """Carry out the parts of a transaction in order, storing messages first if required.

        Args:
            parts: Checked SENDs, and functions to call.
            publisher: The session to notify when the messages are stored.
            cause: The COMMIT frame.

        Returns:
            What the caller has to carry out; None if that follows once the messages are stored,
            and the session has to wait until then.

        Raises:
            ProtocolError: A SEND is refused; no part was carried out.
        """
        sends = [part for part in parts if isinstance(part, Publication)]
        targets = [target for send in sends for target in send.route.targets]
        storage = common_storage(targets)
        if sends:
            queues = {name for send in sends for name in send.route.queue_names}
            self.admit_queues(queues, sends[0].sender.id)
        steps: list[Step] = []
        sizes: list[int] = []
        for part in parts:
            size = 0
            if isinstance(part, Publication):
                frame = part.frame
                size = part.size
                if self._congested:
                    self._congestion.spend(part.route, part.size)
                if "expiration" in frame.headers:
                    frame = with_expires(frame, self._cork.now)
                steps += self._steps(part.route, frame, part.reply_to, part.sender, publisher)
            else:
                steps.append(part)
            more = len(steps) - len(sizes)
            sizes += [0] * (more - 1) + [size] * bool(more)  # the last one releases the frame
        self._cork.work += len(steps)
        if storage is not None:
            storage.commit(steps, publisher, cause)
            return None
        calls = [step for step in steps if not isinstance(step, Message)]
        assert len(calls) == len(steps)  # only stored messages are steps
        return Steps(
            self._cork, cause, [send.route for send in sends], zip(calls, sizes, strict=True)
        )

    def received(self, message: Message) -> None:
        """Deliver a message from the engine to this node's subscribers of its topic."""
        TopicTarget(message.destination, self._router, None).put(message, None)

    # Small helpers

    def _busy_topic(self, route: Route, publisher: Waiter) -> str:
        """Return what a SEND to topics has to wait for, or ""."""
        if self._parts.topics:
            for target in route.targets:
                for place in target.unfinished():
                    return place
        return self._congestion.place_to_wait(route, publisher)

    def _admit_new_queues(self, route: Route, sender: Principal | None) -> None:
        if sender is not None:
            self.admit_queues(route.queue_names, sender.id)

    def _is_expired(self, message: Message, target: Target) -> bool:
        return not target.drops_expired and message.is_expired(self._cork.now)

    def _steps(
        self,
        route: Route,
        frame: Frame,
        reply_to: str,
        sender: Principal | None,
        publisher: Publisher | None,
    ) -> list[Step]:
        """Return the steps of a SEND: messages to store, and functions that deliver the others."""
        steps: list[Step] = []
        client = ""
        if publisher is not None:  # as client_key() does
            client = f"user {publisher.user}" if publisher.user else publisher.source
        self.message_count += 1
        message_id = f"{self._epoch}-{self.message_count}"
        mark = b"" if sender is None else sender.mark
        for target in route.targets:
            message = Message(message_id, target.name, frame, reply_to, mark)
            if "expires" in frame.headers and self._is_expired(message, target):
                continue
            if target.storage is None:
                steps.append(partial(_put_or_fail, target, message, sender))
            else:
                target.admit(client)
                steps.append(target.stored(message, sender))
        return steps


def _put_or_fail(target: Target, message: Message, sender: Principal | None) -> None:
    """Deliver a message some time after its SEND was checked; an error ends the session."""
    try:
        target.put(message, sender)
    except ProtocolError as error:
        if sender is not None:
            sender.fail(error)


def _admit(names: Collection[str], creator: str) -> None:
    """Let any session create queues."""
