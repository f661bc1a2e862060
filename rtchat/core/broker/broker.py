"""The broker: routes messages from publishers to subscribers and queues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from rtchat.core.broker.authenticator import Authenticator
from rtchat.core.broker.browser import Browsers, QueueBrowser
from rtchat.core.broker.congestion import Congestion
from rtchat.core.broker.crowding import Crowding
from rtchat.core.broker.dead_letters import DeadLetters
from rtchat.core.broker.destinations import DestinationKind, destination_kind
from rtchat.core.broker.encoder import Encoder, StompEncoder
from rtchat.core.broker.engine import Engine, EngineStorage, LocalEngine
from rtchat.core.broker.events import Events
from rtchat.core.broker.expiry import Expiry
from rtchat.core.broker.full_queues import FullQueues
from rtchat.core.broker.gate import Admission, Check, Gate
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.message import Message
from rtchat.core.broker.new_queues import NewQueues
from rtchat.core.broker.parts import Parts
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse
from rtchat.core.broker.publishing import Publishing
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.queue_store import NO_STORE, QueueStore
from rtchat.core.broker.reply_queues import ReplyQueues
from rtchat.core.broker.returning import return_all
from rtchat.core.broker.router import Router
from rtchat.core.broker.selection import Selectors
from rtchat.core.broker.shares import Shares
from rtchat.core.broker.statistics import Statistics
from rtchat.core.broker.subscription import (
    Source,
    StartAt,
    Subscription,
    nothing_kept,
)
from rtchat.core.broker.topic import Topic
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.broker.waiting import WaitingLines
from rtchat.core.flow.memory import Budget, Growing
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.errors import ProtocolError

__all__ = ["Broker", "Confirm"]

Confirm = Callable[[Mapping[str, str]], None]
"""Sends the RECEIPT of a SUBSCRIBE, if it is requested, with some more headers."""

_DETACH_WORK = 10
_MAX_ENCODERS = 1024
_MAX_CACHED_ID_CHARS = 64


class Broker:
    """An in-memory STOMP broker; all sessions of a server share one.

    The broker itself serves topics, queues and reply queues. Providers serve other destinations,
    gates check sessions and SENDs, and listeners are notified of events. Add all of them before
    the first session.

    Args:
        epoch: Text (letters and digits) that no earlier run of the server used. Session ids and
            message ids begin with it, so that ids are never reused after a restart.
        limits: The limits that all sessions share.
        new_token: Returns text that cannot be guessed, for the addresses of temporary queues.
        pubsub: For each ``NAME``, the queues and topics that get a copy of messages to
            ``/pubsub/NAME``.
        engine: Carries messages to the subscribers of other nodes.
        queue_store: Stores messages of queues that have to survive the process.

    Attributes:
        authenticator: Finds out who sessions are; None if everyone is anonymous and may do
            everything.
        browsers: The browsers of queues.
        budget: The memory budget.
        congestion: The subscribers of topics that lag, and who has to wait for them.
        cork: The work that is deferred to the end of the turn.
        crowding: Which queues are why memory is nearly used up.
        dead_letters: The queues of messages that no consumer could process.
        encoders: A cache of encoders, by subscription id and version.
        events: The listeners.
        expiry: The queues with messages that expire.
        full_queues: The full queues, and who has to wait for them.
        heads: The cache of parsed heads.
        new_queues: How many queues each session has created.
        new_token: As above.
        parts: The topics whose messages are delivered in parts.
        publishing: Delivers SENDs to their targets.
        queues: The queues with messages or consumers, by name.
        reply_queues: The temporary queues.
        router: Resolves destinations.
        subscribe_checks: The checks that each SUBSCRIBE has to pass.
        shares: What selectors and patterns of each user or source cost.
        selectors: The selectors of all subscriptions.
        statistics: Counts of topics, queues and subscriptions.
        turn: The context of a turn: ``with broker.turn:``. It is the cork; set its ``seconds`` to a
            clock, or its ``now`` before each turn.
        waiting: The sessions that wait for a full queue, or for lagging subscribers.
    """

    __slots__ = (
        "_engine",
        "_queue_store",
        "_sessions",
        "authenticator",
        "browsers",
        "budget",
        "congestion",
        "cork",
        "crowding",
        "dead_letters",
        "encoders",
        "epoch",
        "events",
        "expiry",
        "full_queues",
        "heads",
        "limits",
        "new_queues",
        "new_token",
        "parts",
        "publishing",
        "queues",
        "reply_queues",
        "router",
        "selectors",
        "shares",
        "statistics",
        "subscribe_checks",
        "turn",
        "waiting",
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
        self.authenticator: Authenticator | None = None
        self.subscribe_checks: list[Check] = []
        self.limits = BrokerLimits() if limits is None else limits
        self.budget = Budget(self.limits.max_bytes)
        self.turn = self.cork = Cork(self.budget)
        self.heads = HeadCache()
        self.expiry = Expiry(self.cork)
        self.encoders: dict[tuple[str, Version], Encoder] = {}
        self.selectors = Selectors(self.cork)
        self.shares = Shares(self.limits)
        self.events = Events()
        self.new_token = new_token or self._count_tokens
        self.queues: dict[str, Queue] = {}
        self.new_queues = NewQueues(self.queues, self.limits)
        self.waiting = WaitingLines()
        self.full_queues = FullQueues(self.queues, self.waiting, self.cork, self.events)
        self.dead_letters = DeadLetters(self._queue, self.budget, self.events)
        self.crowding = Crowding(self.budget, self.queues, self.events)
        self.reply_queues = ReplyQueues(self.new_token)
        self.router = Router(pubsub or {}, self._queue, self.reply_queues, self.events, self.cork)
        self.router.max_names = self.limits.max_names
        self.browsers = Browsers(self.queues.get, self.cork, epoch)
        self.statistics = Statistics(
            self.router, self.queues, self.reply_queues, self.browsers, self.cork
        )
        self.congestion = Congestion(
            self.waiting, self.cork, self.limits.min_topic_rate, self.events.unusual
        )
        self.parts = Parts(self.waiting, self.cork, (self.congestion.active, self.events.unusual))
        self.publishing = Publishing(
            epoch,
            self.router,
            self.queues,
            self.full_queues,
            self.congestion,
            self.parts,
            self.cork,
        )
        self.publishing.admit_queues = self.new_queues.admit
        self._sessions = 0
        self._queue_store = queue_store
        self._engine: Engine = LocalEngine() if engine is None else engine
        if not self._engine.is_local:
            self.router.topic_storage = EngineStorage(self._engine, self.cork)

    @property
    def now(self) -> float:
        """The time at which the turn began, in seconds since 1970."""
        return self.cork.now

    @now.setter
    def now(self, now: float) -> None:
        self.cork.now = self.cork.ticks = now

    def add_provider(self, provider: DestinationProvider) -> None:
        """Add a provider; it serves the topics that it claims, unless an earlier one does."""
        self.router.providers.append(provider)
        self.router.forget_routes()

    def add_gate(self, gate: Gate) -> None:
        """Add a gate, which checks sessions and their SENDs."""
        self.router.gates.append(gate)
        self.router.forget_routes()

    def retained_names(self) -> Iterable[str]:
        """Return the destinations with stored messages."""
        for provider in self.router.providers:
            yield from provider.retained_names()

    # Sessions

    def next_session_id(self) -> str:
        """Return a new, unique session id."""
        self._sessions += 1
        return f"{self.epoch}-{self._sessions}"

    def admit(self, principal: Principal, headers: Mapping[str, str]) -> list[Admission]:
        """Ask all gates to admit a session that has sent CONNECT; undone by :meth:`leave`.

        Args:
            principal: The session.
            headers: The headers of CONNECT.

        Returns:
            What each gate grants, in order.

        Raises:
            ProtocolError: A gate refuses the session.
        """
        now = self.cork.now
        return [gate.admit(principal, headers, now) for gate in self.router.gates]

    def leave(self, principal: Principal) -> None:
        """Notify all gates that a session has ended; its subscriptions have ended already."""
        if self.congestion.readers:
            self.congestion.end(principal)
        self.new_queues.forget(principal.id)
        for gate in self.router.gates:
            gate.leave(principal, self.cork.now)

    # Subscriptions

    def subscribe(
        self,
        subscription: Subscription,
        max_backlog_bytes: int,
        refuse: Refuse | None = None,
        confirm: Confirm | None = None,
    ) -> Mapping[str, str]:
        """Deliver messages, stored and new ones, to a subscription.

        Args:
            subscription: The subscription.
            max_backlog_bytes: Its largest backlog in bytes, if it is served one by one.
            refuse: Ends its session with an error, if delivery becomes impossible later.
            confirm: Called once the subscription is in place, before the first delivery.

        Returns:
            Headers to add to the RECEIPT.

        Raises:
            ProtocolError: The destination cannot be subscribed to, or not with these options.
        """
        name = subscription.destination
        kind = destination_kind(name)
        if "," in name:
            raise ProtocolError(
                "a composite destination cannot be subscribed to",
                "Send a SUBSCRIBE for each of them.",
            )
        receipt: Mapping[str, str] = {}
        source: Queue | QueueBrowser | None = None
        provider = self.router.provider_of(name) if kind is DestinationKind.TOPIC else None
        if provider is not None:
            receipt = provider.subscribe(subscription, max_backlog_bytes, refuse or _no_session)
        elif subscription.options.start.at is not StartAt.NEXT:
            raise nothing_kept()
        elif kind is DestinationKind.QUEUE:
            source = self._consume_or_browse(subscription)
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
        # Clients that read one frame as their RECEIPT must not find a message there.
        if confirm is not None:
            confirm(receipt)
        if source is not None:
            source.dispatch()
        elif provider is not None:
            provider.begin(subscription)
        for listener in self.events.subscribed:
            listener(subscription)
        return receipt

    def detach(self, subscriptions: Iterable[Subscription]) -> None:
        """Stop delivering to subscriptions; their unacknowledged messages stay with the session.

        A session that ends must not get its own messages again: it detaches all of its
        subscriptions before it calls :meth:`return_unacked`.
        """
        for subscription in subscriptions:
            self.cork.work += _DETACH_WORK
            for listener in self.events.unsubscribed:
                listener(subscription)
            self._detach(subscription)

    def return_unacked(
        self, subscriptions: Iterable[Subscription], *, has_failed: bool = False
    ) -> None:
        """Return the unacknowledged messages of a session that has ended to their sources.

        Args:
            subscriptions: The subscriptions of the session, all of them detached.
            has_failed: Whether the oldest delivery of each subscription may have been the reason
                for the end.
        """
        holders: dict[Source, list[Subscription]] = {}
        for subscription in subscriptions:
            if subscription.pending and subscription.source is not None:
                holders.setdefault(subscription.source, []).append(subscription)
        if holders:
            self.cork.in_parts(return_all(holders, self.cork, has_failed=has_failed))

    def encoder_for(self, subscription_id: str, version: Version) -> Encoder:
        """Return a new encoder for this subscription id and version; cached if the id is short."""
        encoder = StompEncoder(subscription_id, version)
        if len(subscription_id) <= _MAX_CACHED_ID_CHARS:
            if len(self.encoders) >= _MAX_ENCODERS:
                self.encoders.clear()
            self.encoders[subscription_id, version] = encoder
        return encoder

    def expire(self) -> None:
        """Remove expired messages and do other periodic work; call it every second."""
        now = self.cork.now
        for provider in self.router.providers:
            provider.expire(now)
        self.expiry.run()
        self.congestion.tick()
        self.full_queues.resume_those_that_wait_for_themselves()
        self.full_queues.report_drained()
        self.crowding.tick()

    # Called by queues and providers

    def account(self, change: int, place: Growing | None = None) -> None:
        """Add a number of bytes, which may be negative, to the memory budget.

        Args:
            change: The number of bytes.
            place: What has grown, if it is the work of a publisher.
        """
        budget = self.budget
        budget.used += change
        if place is not None and budget.used >= budget.near_bytes:
            budget.note_grown(place, change)

    def new_topic(self, name: str, max_backlog_bytes: int) -> Topic:
        """Return a topic without subscriptions.

        Args:
            name: The destination or pattern.
            max_backlog_bytes: The largest backlog, in bytes, of a subscription that is served one
                by one.
        """
        return Topic(name, self.cork, partial(self._new_consumer, max_backlog_bytes), self.parts)

    def queue_drained(self, queue: Queue) -> None:
        """Resume the publishers that wait for capacity of a queue."""
        self.full_queues.queue_drained(queue)

    def queue_is_unused(self, queue: Queue) -> None:
        """Remove a queue without messages and consumers."""
        if self.queues.pop(queue.name, None) is not None:
            self.budget.used -= self.new_queues.removed(queue)
        self.expiry.forget(queue)

    def queue_expires(self, queue: Queue, when_s: float) -> None:
        """Note that a message of a queue expires."""
        self.expiry.note(queue, when_s)

    def queue_rejected(self, queue: Queue, message: Message, *, tries: int) -> bool:
        """Move a message to the dead-letter queue; see :class:`DeadLetters`."""
        return self.dead_letters.take(queue.name, message, tries=tries)

    # Small helpers

    def _queue(self, name: str, creator: str = "") -> Queue:
        queue = self.queues.get(name)
        if queue is None:
            queue = Queue(name, self.limits, self, self.cork, self._queue_store, creator)
            self.queues[name] = queue
            self.budget.used += self.new_queues.created(queue)
        return queue

    def _new_consumer(self, max_bytes: int, subscription: Subscription) -> TopicConsumer:
        account = self.account if subscription.holding is None else subscription.holding.add
        return TopicConsumer(subscription, max_bytes, account, self.cork)

    def _consume_or_browse(self, subscription: Subscription) -> Queue | QueueBrowser:
        if subscription.options.browses:
            return self.browsers.open(subscription)
        creator = self.new_queues.admit_consumer(subscription)
        queue = self._queue(subscription.destination, creator)
        queue.add(subscription)
        return queue

    def _detach(self, subscription: Subscription) -> None:
        name = subscription.destination
        if destination_kind(name) is DestinationKind.QUEUE:
            if not self.browsers.close(subscription):
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
    """Ignore an error: the subscription does not belong to a session."""
