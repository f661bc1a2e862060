"""How a SEND reaches its targets, from the fast way of one plain message to whole transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from rtchat.core.broker.full_queues import FullQueues
from rtchat.core.broker.message import Message, size_of, time_to_live_ms, with_expires
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import Publisher, Step, Target
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.router import Publication, Route, Router, TopicTarget
from rtchat.core.broker.subscription import Source
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["Publishing"]

_NO_LIMIT = 1 << 62


class Publishing:
    """Makes messages of SENDs and hands them to the targets of their routes.

    Args:
        epoch: What message ids begin with.
        router: Where destinations lead.
        queues: The queues, by name.
        full_queues: What is told of a full one.
        cork: The turn, whose ``now`` tells what has expired.

    Attributes:
        message_count: How many messages were published since the start.
    """

    __slots__ = (
        "_cork",
        "_epoch",
        "_full_queues",
        "_published",
        "_queues",
        "_router",
        "message_count",
    )

    def __init__(
        self,
        epoch: str,
        router: Router,
        queues: Mapping[str, Queue],
        full_queues: FullQueues,
        cork: Cork,
    ) -> None:
        self._epoch = epoch
        self._router = router
        self._queues = queues
        self._full_queues = full_queues
        self._cork = cork
        self._published = router.published
        self.message_count = 0

    def full_queue(self, route: Route, but: Collection[Source | None] = ()) -> Queue | None:
        """Return the full queue that a SEND has to wait for, if there is one.

        Args:
            route: Where the SEND goes.
            but: Queues that need no capacity.
        """
        for target in route.targets:
            queue = self._queues.get(target.name)
            if queue is not None and queue.is_full and queue not in but:
                self._full_queues.note_full(queue)
                return queue
        return None

    def check(self, route: Route, frame: Frame) -> None:
        """Refuse a SEND that :meth:`publish` would refuse.

        Raises:
            ProtocolError: It cannot be sent.
        """
        if "expiration" in frame.headers:
            time_to_live_ms(frame)
        for target in route.targets:
            target.admit()

    def publish_plain(
        self, route: Route, frame: Frame, publisher: Publisher | None = None
    ) -> Queue | None:
        """Do what :meth:`publish` does, for a SEND to one topic or queue that asks for no more.

        Args:
            route: Where to; it is usual (see :class:`Route`).
            frame: The SEND.
            publisher: The session to tell when the message is stored, if it has to be.

        Returns:
            None, or the full queue that it has to wait for; then nothing has happened.
        """
        name = route.destination
        queue = self._queues.get(name)
        if queue is not None:
            if queue.is_full:
                self._full_queues.note_full(queue)
                return queue
            self.message_count = number = self.message_count + 1
            queue.put(Message(f"{self._epoch}-{number}", name, frame))
            return None
        target = route.topic
        if target is None or self._published:
            self.publish(route, frame, "", None, publisher)
            return None
        router = self._router
        if target.generation != router.generation:
            router.renew(target)
        self.message_count = number = self.message_count + 1
        message = Message(f"{self._epoch}-{number}", name, frame)
        for topic in target.topics:
            topic.publish(message)
        return None

    def max_run(self, route: Route, frame: Frame) -> int:
        """Return for how many SENDs like this :meth:`publish_run` may be used; 0 is for none."""
        queue = self._queues.get(route.destination)
        if queue is not None:
            return queue.capacity_for(size_of(frame))
        target = route.topic
        if target is None or self._published:
            return 0
        if target.generation != self._router.generation:
            self._router.renew(target)
        topic = target.direct
        return _NO_LIMIT if topic is not None and topic.is_uniform else 0

    def publish_run(self, route: Route, frame: Frame, bodies: list[bytes]) -> None:
        """Do :meth:`publish_plain` for several SENDs with the same head, at a third of the cost.

        Args:
            route: Where to; :meth:`max_run` has allowed it.
            frame: The first SEND, with a ``content-length`` that all of them share.
            bodies: The messages' bodies.
        """
        first = self.message_count + 1
        self.message_count += len(bodies)
        name = route.destination
        queue = self._queues.get(name)
        if queue is None:
            topic = None if route.topic is None else route.topic.direct
            assert topic is not None  # or max_run() would have returned 0
            topic.publish_run(f"{self._epoch}-", first, frame, bodies)
            return
        stem, command, headers, head = f"{self._epoch}-", frame.command, frame.headers, frame.head
        queue.put_run(
            [
                Message(f"{stem}{number}", name, Frame(command, headers, body, head))
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
        """Deliver a SEND to all its targets; if it has to be stored, as soon as it is.

        Args:
            route: Where to.
            frame: The SEND; it has passed the route's checks.
            reply_to: Where replies go.
            sender: The session it comes from.
            publisher: The session to tell when it is stored.

        Returns:
            Whether nothing else may happen in the session until then.

        Raises:
            ProtocolError: It cannot be sent; then no target gets it.
        """
        headers = frame.headers
        if "expiration" in headers:
            frame = with_expires(frame, self._cork.now)
            headers = frame.headers
        if route.storage is not None:
            for target in route.targets:
                target.admit()
            steps = self._steps(route, frame, reply_to, sender)
            if steps:
                route.storage.commit(steps, publisher, frame)
            return bool(steps) and len(route.targets) > 1
        self.message_count += 1
        message_id = f"{self._epoch}-{self.message_count}"
        for target in route.targets:
            message = Message(message_id, target.name, frame, reply_to)
            if "expires" in headers and message.is_expired(self._cork.now):
                continue
            target.put(message, sender)
        return False

    def commit(
        self,
        parts: Sequence[Publication | Callable[[], None]],
        publisher: Publisher | None,
        cause: Frame,
    ) -> bool:
        """Do all of it, in order, once the messages among it that have to be stored are.

        Args:
            parts: SENDs that were checked, and what else happens.
            publisher: The session to tell when that is.
            cause: The frame that asks for it.

        Returns:
            Whether nothing else may happen in the session until then. If not, all is done.

        Raises:
            ProtocolError: One of them cannot be sent; then nothing has happened.
        """
        sends = [part for part in parts if isinstance(part, Publication)]
        storages = [send.route.storage for send in sends if send.route.storage is not None]
        if storages:
            for send in sends:
                for target in send.route.targets:
                    target.admit()
        steps: list[Step] = []
        for part in parts:
            if isinstance(part, Publication):
                frame = part.frame
                if "expiration" in frame.headers:
                    frame = with_expires(frame, self._cork.now)
                steps += self._steps(part.route, frame, part.reply_to, part.sender)
            else:
                steps.append(part)
        if storages:
            storages[0].commit(steps, publisher, cause)
            return True
        for step in steps:
            assert not isinstance(step, Message)  # none of them has to be stored
            step()
        return False

    def received(self, message: Message) -> None:
        """Deliver what the engine brings to this node's subscribers of a topic."""
        TopicTarget(message.destination, self._router, None).put(message, None)

    # Small helpers

    def _steps(
        self, route: Route, frame: Frame, reply_to: str, sender: Principal | None
    ) -> list[Step]:
        """Return what is to be done for a SEND once what has to be stored of it is."""
        steps: list[Step] = []
        self.message_count += 1
        message_id = f"{self._epoch}-{self.message_count}"
        for target in route.targets:
            message = Message(message_id, target.name, frame, reply_to)
            if "expires" in frame.headers and message.is_expired(self._cork.now):
                continue
            if target.storage is None:
                steps.append(partial(_put_late, target, message, sender))
            else:
                steps.append(target.stored(message))
        return steps


def _put_late(target: Target, message: Message, sender: Principal | None) -> None:
    """Deliver a message long after its SEND was checked: what is wrong now ends the session."""
    try:
        target.put(message, sender)
    except ProtocolError as error:
        if sender is not None:
            sender.fail(error)
