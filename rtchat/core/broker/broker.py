"""The broker: messages come in, and go to the subscribers and queues that they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from rtchat.core.broker.destinations import DestinationKind, destination_kind
from rtchat.core.broker.encoder import Encoder, StompEncoder
from rtchat.core.broker.engine import Engine, EngineStorage, LocalEngine
from rtchat.core.broker.events import Events
from rtchat.core.broker.full_queues import FullQueues
from rtchat.core.broker.gate import Admission, Gate
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.message import Message, without_expiry
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse
from rtchat.core.broker.publishing import Publishing
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.queue_store import NO_STORE, QueueStore
from rtchat.core.broker.reply_queues import ReplyQueues
from rtchat.core.broker.router import Router
from rtchat.core.broker.statistics import Statistics
from rtchat.core.broker.subscription import (
    Entry,
    Source,
    StartAt,
    Subscription,
    nothing_kept,
)
from rtchat.core.broker.topic import Topic
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.flow.memory import Budget
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.errors import ProtocolError

__all__ = ["Broker"]

_DEAD_LETTERS = "/queue/DLQ."
_MAX_ENCODERS = 1024


class Broker:
    """An in-memory STOMP broker; all sessions of a server share one.

    It knows topics, queues and addresses for replies. What serves other destinations is a
    provider; what sessions and SENDs have to pass is a gate; what wants to know what happens
    listens to the events. Add them before the first session.

    Args:
        epoch: Text that no earlier run of the server used (letters and digits); it begins
            session ids and message ids, so that a client never takes a new message for one
            that it knew before a restart.
        limits: What all sessions share.
        new_token: Returns text that cannot be guessed, for the addresses of temporary queues.
        pubsub: The queues that get a copy of what is sent to ``/pubsub/NAME``, by name.
        engine: Carries messages to the subscribers of other nodes.
        queue_store: Keeps the messages of queues that have to survive the process.

    Attributes:
        budget: How much is held for clients.
        cork: What is left to do at the end of the turn.
        encoders: The writers of MESSAGE frames, by subscription id and version.
        events: The listeners to what happens.
        full_queues: Full queues, and the publishers that wait for them.
        heads: The parsed headers that publishers repeat.
        new_token: As above.
        publishing: How SENDs reach their targets.
        queues: The queues with messages or consumers, by name.
        reply_queues: The temporary queues.
        router: Where destinations lead.
        statistics: What the broker says about itself.
        turn: The context of a turn: ``with broker.turn:``. It is the cork; set its ``seconds`` to a
            clock, or its ``now`` before each turn.
    """

    __slots__ = (
        "_engine",
        "_queue_store",
        "_sessions",
        "budget",
        "cork",
        "encoders",
        "epoch",
        "events",
        "full_queues",
        "heads",
        "limits",
        "new_token",
        "publishing",
        "queues",
        "reply_queues",
        "router",
        "statistics",
        "turn",
    )

    def __init__(
        self,
        epoch: str,
        limits: BrokerLimits | None = None,
        new_token: Callable[[], str] | None = None,
        pubsub: Mapping[str, tuple[str, ...]] | None = None,
        *,
        engine: Engine | None = None,
        queue_store: QueueStore = NO_STORE,
    ) -> None:
        self.epoch = epoch
        self.limits = BrokerLimits() if limits is None else limits
        self.budget = Budget(self.limits.max_bytes)
        self.turn = self.cork = Cork(self.budget)
        self.heads = HeadCache()
        self.encoders: dict[tuple[str, Version], Encoder] = {}
        self.events = Events()
        self.new_token = new_token or self._count_tokens
        self.queues: dict[str, Queue] = {}
        self.full_queues = FullQueues(self.queues, self.cork, self.events)
        self.reply_queues = ReplyQueues(self.new_token)
        self.router = Router(pubsub or {}, self._queue, self.reply_queues, self.events)
        self.statistics = Statistics(self.router, self.queues, self.reply_queues)
        self.publishing = Publishing(epoch, self.router, self.queues, self.full_queues, self.cork)
        self._sessions = 0
        self._queue_store = queue_store
        self._engine: Engine = LocalEngine() if engine is None else engine
        if not self._engine.is_local:
            self.router.topic_storage = EngineStorage(self._engine)

    @property
    def now(self) -> float:
        """The time at which the turn began, in seconds since 1970."""
        return self.cork.now

    @now.setter
    def now(self, now: float) -> None:
        self.cork.now = now

    def add_provider(self, provider: DestinationProvider) -> None:
        """Let a provider serve the topics that it claims, unless one before it does."""
        self.router.providers.append(provider)
        self.router.forget_routes()

    def add_gate(self, gate: Gate) -> None:
        """Let a gate check sessions and their SENDs."""
        self.router.gates.append(gate)
        self.router.forget_routes()

    def retained_names(self) -> Iterable[str]:
        """Return the destinations of which messages are kept."""
        for provider in self.router.providers:
            yield from provider.retained_names()

    # Sessions

    def next_session_id(self) -> str:
        """Return an id that no other session has or had."""
        self._sessions += 1
        return f"{self.epoch}-{self._sessions}"

    def admit(self, principal: Principal, headers: Mapping[str, str]) -> list[Admission]:
        """Let a session in that has sent CONNECT; :meth:`leave` is the end of it.

        Args:
            principal: The session.
            headers: Those of CONNECT.

        Returns:
            What each gate grants.

        Raises:
            ProtocolError: A gate refuses it.
        """
        now = self.cork.now
        return [gate.admit(principal, headers, now) for gate in self.router.gates]

    def leave(self, principal: Principal) -> None:
        """Forget a session; its subscriptions have ended already."""
        for gate in self.router.gates:
            gate.leave(principal, self.cork.now)

    # Subscriptions

    def subscribe(
        self,
        subscription: Subscription,
        max_backlog_bytes: int,
        refuse: Refuse | None = None,
    ) -> Mapping[str, str]:
        """Deliver what is published from now on, and what is kept, to a subscription.

        Args:
            subscription: The subscription.
            max_backlog_bytes: How many bytes may wait for it if it is served by itself.
            refuse: Ends its session, should delivering become impossible later.

        Returns:
            What the RECEIPT says about it.

        Raises:
            ProtocolError: This destination cannot be subscribed to, or not like this.
        """
        name = subscription.destination
        kind = destination_kind(name)
        if "," in name:
            raise ProtocolError(
                "a composite destination cannot be subscribed to",
                "Send a SUBSCRIBE for each of them.",
            )
        told: Mapping[str, str] = {}
        provider = self.router.provider_of(name) if kind is DestinationKind.TOPIC else None
        if provider is not None:
            told = provider.subscribe(subscription, max_backlog_bytes, refuse or _no_session)
        elif subscription.options.start.at is not StartAt.NEXT:
            raise nothing_kept()
        elif kind is DestinationKind.QUEUE:
            self._queue(name).add(subscription)
        elif kind is DestinationKind.TOPIC:
            topic = self.router.topics.get(name)
            if topic is None:
                topic = self.new_topic(name, max_backlog_bytes)
                self.router.add(topic)
                self._engine.interest(name)
            topic.add(subscription)
        else:
            raise ProtocolError(
                f"{kind.value} cannot be subscribed to",
                "Subscribe to /topic/NAME or /queue/NAME; answers come by themselves.",
            )
        for heard in self.events.subscribed:
            heard(subscription)
        return told

    def detach(self, subscriptions: Iterable[Subscription]) -> None:
        """Deliver nothing further to subscriptions; :meth:`return_unacked` follows.

        A session that goes ends all of them first: it must not be given its own messages.
        """
        for subscription in subscriptions:
            for heard in self.events.unsubscribed:
                heard(subscription)
            self._detach(subscription)

    def return_unacked(self, subscriptions: Iterable[Subscription]) -> None:
        """Give what ended subscriptions have not acknowledged back to its sources."""
        # All at once for each queue: the next consumer gets them in their original order.
        returned: dict[Source, list[Entry]] = {}
        for subscription in subscriptions:
            unacked, subscription.unacked = subscription.unacked, {}
            if unacked and subscription.source is not None:
                returned.setdefault(subscription.source, []).extend(unacked.values())
        for source, entries in returned.items():
            source.returned(entries, requeue=True)

    def encoder_for(self, subscription_id: str, version: Version) -> Encoder:
        """Return what writes MESSAGE frames for subscriptions of this id; they share it."""
        if len(self.encoders) >= _MAX_ENCODERS:
            self.encoders.clear()
        encoder = self.encoders[subscription_id, version] = StompEncoder(subscription_id, version)
        return encoder

    def expire(self) -> None:
        """Do what time demands, such as dropping messages; call it once a second."""
        now = self.cork.now
        for provider in self.router.providers:
            provider.expire(now)
        for queue in list(self.queues.values()):
            queue.expire()
        self.full_queues.report_drained()

    # What queues and providers ask for

    def account(self, change: int) -> None:
        """Count so many bytes more, or fewer, as held."""
        self.budget.used += change

    def new_topic(self, name: str, max_backlog_bytes: int) -> Topic:
        """Return a fan-out without subscribers.

        Args:
            name: The destination or pattern.
            max_backlog_bytes: How many bytes may wait for a subscriber that is served by itself.
        """
        return Topic(name, self.cork, partial(self._new_consumer, max_backlog_bytes))

    def queue_drained(self, queue: Queue) -> None:
        """Resume the publishers that wait for a queue."""
        self.full_queues.queue_drained(queue)

    def queue_is_unused(self, queue: Queue) -> None:
        """Forget a queue without messages and consumers."""
        self.queues.pop(queue.name, None)

    def queue_rejected(self, queue: Queue, message: Message, *, tries: int) -> bool:
        """Move a message to the dead-letter queue; return whether it has left its queue.

        From a dead-letter queue nothing is moved any further: a message stays however often it is
        tried, and one that is refused for good is gone.
        """
        if queue.name.startswith(_DEAD_LETTERS):
            return tries == 0
        name = _DEAD_LETTERS + queue.name.removeprefix(DestinationKind.QUEUE.value)
        dead = Message(message.id, name, without_expiry(message.frame), message.reply_to)
        target = self._queue(name)
        target.put(dead)
        for heard in self.events.dead_lettered:
            heard(name, len(target), target.bytes)
        return True

    # Small helpers

    def _queue(self, name: str) -> Queue:
        queue = self.queues.get(name)
        if queue is None:
            queue = Queue(name, self.limits, self, self.cork, self._queue_store)
            self.queues[name] = queue
        return queue

    def _new_consumer(self, max_bytes: int, subscription: Subscription) -> TopicConsumer:
        return TopicConsumer(subscription, max_bytes, self.account, self.cork)

    def _detach(self, subscription: Subscription) -> None:
        name = subscription.destination
        if destination_kind(name) is DestinationKind.QUEUE:
            self.queues[name].remove(subscription)
            return
        provider = self.router.provider_of(name)
        if provider is not None:
            provider.unsubscribe(subscription)
            return
        topic = self.router.topics[name]
        topic.remove(subscription)
        if not len(topic):
            self.router.remove(topic)
            self._engine.no_interest(name)

    def _count_tokens(self) -> str:
        self._sessions += 1
        return f"{self.epoch}-{self._sessions}"


def _no_session(problem: ProtocolError) -> None:
    """Stand in for a session: this subscription belongs to none."""
