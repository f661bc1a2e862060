"""Routing: destinations are resolved to targets once, for all SENDs that name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rtchat.core.broker.destinations import (
    DestinationKind,
    destination_kind,
    split_composite,
)
from rtchat.core.broker.events import Events
from rtchat.core.broker.gate import Check, Gate, SenderLines
from rtchat.core.broker.message import Message
from rtchat.core.broker.parts import place_of
from rtchat.core.broker.patterns import STEPS_PER_UNIT, PatternIndex, is_pattern
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Storage, Target
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.reply_queues import ReplyQueues, ReplyTarget
from rtchat.core.broker.topic import Topic
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.frames import Frame
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = [
    "Publication",
    "QueueTarget",
    "Route",
    "Router",
    "TopicTarget",
    "common_storage",
    "places_in",
]

_MAX_ROUTES = 4096
_MAX_CACHED_CHARS = 512
_MAX_CACHED_TARGETS = 16
_MAX_NAMES = 16

_PUBSUB = DestinationKind.PUBSUB.value
_OTHER_THAN_TOPICS = tuple(
    kind.value for kind in DestinationKind if kind is not DestinationKind.TOPIC
)
_USUAL = (DestinationKind.TOPIC.value, DestinationKind.QUEUE.value)


def common_storage(targets: Iterable[Target]) -> Storage | None:
    """Return the storage of all targets that have one, or None if none has.

    Raises:
        ProtocolError: They have different storages, which cannot store messages all or none.
    """
    storage: Storage | None = None
    for target in targets:
        if target.storage is not storage and target.storage is not None:
            if storage is not None:
                raise ProtocolError(
                    "destinations that are stored in different places",
                    "The server cannot store all of these messages or none. Send a SEND, or a "
                    "transaction, for each of them.",
                )
            storage = target.storage
    return storage


def places_in(topics: Iterable[Topic]) -> Iterator[str]:
    """Return what sessions wait for until all of these topics have delivered their messages."""
    return (place_of(topic) for topic in topics if topic.is_unfinished)


class Route:
    """The targets and checks of SENDs to a destination, which may be composite.

    Attributes:
        destination: The ``destination`` header of the SENDs.
        is_small: Whether the route is small enough to be cached.
        targets: The targets, each once, in order.
        checks: The checks that a SEND has to pass.
        storage: Stores the messages before they are delivered, or None.
        queue_names: The names of the targets that are queues.
        topic: The target if it is a single topic without storage, else None.
        is_usual: Whether it is a single topic or queue, with the prefix ``/topic/`` or
            ``/queue/`` and without checks.
    """

    __slots__ = (
        "checks",
        "destination",
        "is_small",
        "is_usual",
        "queue_names",
        "storage",
        "targets",
        "topic",
    )

    def __init__(
        self, destination: str, targets: Sequence[Target], checks: Sequence[Check]
    ) -> None:
        self.destination = destination
        self.targets = tuple(targets)
        self.checks = tuple(checks)
        self.storage = common_storage(targets)
        self.is_small = (
            len(targets) <= _MAX_CACHED_TARGETS and len(destination) <= _MAX_CACHED_CHARS
        )
        self.queue_names = tuple(one.name for one in targets if isinstance(one, QueueTarget))
        only = targets[0] if len(targets) == 1 else None
        self.topic = only if isinstance(only, TopicTarget) and self.storage is None else None
        self.is_usual = (
            only is not None
            and not checks
            and only.name == destination
            and destination.startswith(_USUAL)
        )


class Publication(NamedTuple):
    """A SEND that waits for COMMIT.

    Attributes:
        route: The route.
        size: The size that counts towards the memory budget, in bytes.
        frame: The SEND.
        reply_to: The destination of replies, or "".
        sender: The session.
    """

    route: Route
    size: int
    frame: Frame
    reply_to: str
    sender: Principal


class TopicTarget(Target):
    """A topic without a history.

    Attributes:
        direct: The topic if it has subscriptions and no pattern matches its name, else None;
            cached.
        generation: The generation of the cached values; see :attr:`Router.generation`.
        is_many: Whether there are several topics and patterns; cached.
        topics: The topic, if it has subscriptions, and the patterns that match; cached.
    """

    __slots__ = ("_router", "direct", "generation", "is_many", "topics")

    def __init__(self, name: str, router: Router, storage: Storage | None) -> None:
        self.name = name
        self.storage = storage
        self._router = router
        self.generation = -1
        self.topics: tuple[Topic, ...] = ()
        self.direct: Topic | None = None
        self.is_many = False

    def unfinished(self) -> Iterator[str]:
        """Return what a SEND has to wait for, because earlier messages are still on their way."""
        router = self._router
        if self.generation != router.generation:
            router.renew(self)
        return places_in(self.topics)

    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver to every subscriber."""
        router = self._router
        if self.generation != router.generation:
            router.renew(self)
        for listener in router.published:
            listener(message)
        for topic in self.topics:
            topic.publish_one_of_many(message)


class StampedTopicTarget(TopicTarget):
    """A topic without a history whose messages get the server's time and the sender's id."""

    __slots__ = ("_cork", "_sender_lines")

    def __init__(
        self, name: str, router: Router, storage: Storage | None, lines: SenderLines, cork: Cork
    ) -> None:
        super().__init__(name, router, storage)
        self._sender_lines = lines
        self._cork = cork

    def stored(self, message: Message, sender: Principal | None) -> Message:
        """Return the message with these headers."""
        sender_id = self._sender_lines.get(sender, b"")
        time_ms = int(self._cork.now * 1000)
        message.position = b"%b\n%btimestamp:%d" % (message.position, sender_id, time_ms)
        return message

    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver to every subscriber, with these headers."""
        super().put(self.stored(message, sender), sender)


class QueueTarget(Target):
    """A queue. It is created by its first message."""

    __slots__ = ("_open",)

    def __init__(self, name: str, open_queue: Callable[[str, str], Queue]) -> None:
        self.name = name
        self.storage = None
        self._open = open_queue

    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver the message to a consumer, or queue it."""
        self._open(self.name, "" if sender is None else sender.id).put(message)


class Router:
    """Resolves destinations to routes, and topics to subscriptions.

    Args:
        pubsub: For each ``NAME``, the queues and topics that get a copy of messages to
            ``/pubsub/NAME``.
        open_queue: Returns the queue of a name, which may be new; then it is created by the session
            with this id, or by the server if the id is "".
        reply_queues: The reply queues.
        events: The listeners, those to ``published`` in particular.
        cork: The cork of the server, whose ``now`` is the time of messages.

    Attributes:
        max_names: The largest number of names in the destination of a SEND.
        gates: The gates, in order.
        generation: Incremented when a topic or pattern gets its first subscription or loses its
            last one; the cached values of targets are then outdated.
        has_patterns: Whether any pattern has subscriptions.
        providers: The providers, in order: the first one that claims a name serves it.
        published: The listeners to ``published``.
        topic_storage: The storage of messages to topics; None for a single node.
        topics: Topics and patterns with subscriptions, by name.
        unusual: See :class:`~rtchat.core.broker.events.Events`.
    """

    __slots__ = (
        "_cork",
        "_open_queue",
        "_patterns",
        "_pubsub",
        "_reply_queues",
        "_routes",
        "gates",
        "generation",
        "has_patterns",
        "max_names",
        "providers",
        "published",
        "topic_storage",
        "topics",
        "unusual",
    )

    def __init__(
        self,
        pubsub: Mapping[str, tuple[str, ...]],
        open_queue: Callable[[str, str], Queue],
        reply_queues: ReplyQueues,
        events: Events,
        cork: Cork,
    ) -> None:
        self._cork = cork
        self.max_names = _MAX_NAMES
        self._pubsub = dict(pubsub)
        self._open_queue = open_queue
        self._reply_queues = reply_queues
        self._patterns: PatternIndex[Topic] = PatternIndex()
        self._routes: dict[str, Route] = {}
        self.gates: list[Gate] = []
        self.generation = 0
        self.has_patterns = False
        self.providers: list[DestinationProvider] = []
        self.published = events.published
        self.unusual = events.unusual
        self.topic_storage: Storage | None = None
        self.topics: dict[str, Topic] = {}

    def resolve(self, destination: str) -> Route:
        """Return the route of a destination, which is cached if it is small.

        Raises:
            ProtocolError: The destination cannot be sent to.
        """
        route = self._routes.get(destination)
        if route is None:
            names = self._names(destination) if "," in destination else [destination]
            copies = names
            if any(name.startswith(_PUBSUB) for name in names):
                copies = self._copies(names)
                names = list(dict.fromkeys([*names, *copies]))  # what holds there holds here
            checks = [
                check
                for gate in self.gates
                if any(map(gate.concerns.matches, names))
                if (check := gate.check_for(names)) is not None
            ]
            route = Route(destination, [self._target(name) for name in copies], checks)
            if route.is_small:
                if len(self._routes) >= _MAX_ROUTES:
                    self._routes.clear()
                self._routes[destination] = route
        return route

    def forget_routes(self) -> None:
        """Clear the cache of routes, because providers or gates have changed."""
        self._routes.clear()

    def provider_of(self, name: str) -> DestinationProvider | None:
        """Return the provider of a topic or pattern, or None if the broker serves it."""
        for provider in self.providers:
            if provider.claims.matches(name) is not None and (
                provider.takes_patterns or not is_pattern(name)
            ):
                return provider
        return None

    def sender_lines_of(self, name: str) -> SenderLines | None:
        """Return the ids of senders that a gate adds to messages to this topic, or None."""
        for gate in self.gates:
            if gate.concerns.matches(name) is not None:
                lines = gate.sender_lines_for(name)
                if lines is not None:
                    return lines
        return None

    # Topics

    def add(self, topic: Topic) -> None:
        """Add a topic or pattern that gets its first subscription."""
        name = topic.name
        if is_pattern(name):
            self._patterns.add(name, topic)
            self.has_patterns = True
        self.topics[name] = topic
        self.generation += 1

    def remove(self, topic: Topic) -> None:
        """Remove a topic or pattern that has lost its last subscription."""
        name = topic.name
        del self.topics[name]
        if is_pattern(name):
            self._patterns.remove(name)
            self.has_patterns = len(self._patterns) > 0
        self.generation += 1

    def renew(self, target: TopicTarget) -> None:
        """Update the cached values of a target."""
        name = target.name
        target.topics = found = self.receivers(name)
        target.direct = self.topics.get(name) if len(found) == 1 else None
        target.is_many = len(found) > 1
        target.generation = self.generation

    def receivers(self, name: str) -> tuple[Topic, ...]:
        """Return the topic of a name, if it has subscriptions, and the patterns that match it."""
        exact = self.topics.get(name)
        found: tuple[Topic, ...] = () if exact is None else (exact,)
        if self.has_patterns:
            found += tuple(one for one in self._patterns.matching(name) if one is not exact)
            self._cork.work += self._patterns.steps // STEPS_PER_UNIT
        return found

    # Small helpers

    def _names(self, destination: str) -> list[str]:
        """Return the names in a destination with commas."""
        for provider in self.providers:
            for namespace in provider.namespaces:
                if destination.startswith(namespace):
                    return [destination]
        if destination.count(",") >= self.max_names:
            raise LimitExceeded(
                f"more than {self.max_names} destinations in one SEND",
                "The limit is destination.max_names of the server. Send a SEND for each part.",
            )
        return split_composite(destination)

    def _copies(self, names: Sequence[str]) -> list[str]:
        """Return the names, with ``/pubsub/NAME`` replaced by its line in ``[pubsub]``."""
        targets: dict[str, None] = {}
        for name in names:
            if not name.startswith(_PUBSUB):
                targets[name] = None
                continue
            queues = self._pubsub.get(name.removeprefix(_PUBSUB))
            if queues is None:
                raise ProtocolError(
                    "no such pubsub destination",
                    f"{name} has no line in the section [pubsub] of the server's settings.",
                )
            targets.update(dict.fromkeys(queues))
        return list(targets)

    def _target(self, name: str) -> Target:
        # Most destinations are topics: check for those first.
        if not name.startswith(_OTHER_THAN_TOPICS):
            for provider in self.providers:
                if provider.claims.matches(name) is not None:
                    return provider.target(name)
            lines = self.sender_lines_of(name)
            if lines is not None:
                return StampedTopicTarget(name, self, self.topic_storage, lines, self._cork)
            return TopicTarget(name, self, self.topic_storage)
        kind = destination_kind(name)
        if kind is DestinationKind.QUEUE:
            return QueueTarget(name, self._open_queue)
        if kind is DestinationKind.TEMP_QUEUE:
            raise ProtocolError(
                "no such temporary queue",
                "Answer to the reply-to of the message you received, as it stands there.",
            )
        return ReplyTarget(name, self._reply_queues)
