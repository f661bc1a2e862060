"""Topics with a history, as a provider of the broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.encoder import passed_on_lines
from rtchat.core.broker.message import OVERHEAD_BYTES, Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse, Target
from rtchat.core.broker.subscription import Subscription
from rtchat.core.history.history import History
from rtchat.core.history.rules import HistoryLimits, HistoryRules
from rtchat.core.history.store import Store, StoreSnapshot
from rtchat.core.history.stream import KeptMessage, Stream

__all__ = ["HistoryTopics"]


class HistoryTopics(DestinationProvider):
    """Keeps the messages of the topics that rules name, and replays them to subscribers.

    Args:
        broker: The broker; it asks this provider from now on.
        rules: Which topics.
        limits: How much is kept.
        store: The file.
        snapshot: What is in it.

    Attributes:
        history: The streams.
    """

    def __init__(
        self,
        broker: Broker,
        rules: HistoryRules,
        limits: HistoryLimits,
        store: Store,
        snapshot: StoreSnapshot,
    ) -> None:
        self.claims = Glob(rule.pattern for rule in rules.rules)
        self.cork = broker.cork
        self._broker = broker
        self.history = History(self, rules, limits, store, snapshot, broker.new_token)
        broker.add_provider(self)

    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        """Replay what a subscription asks for, then deliver what is published."""
        name = subscription.destination
        new_topic = partial(self._broker.new_topic, name, max_backlog_bytes)
        return self.history.subscribe(self._stream(name), subscription, new_topic, refuse)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing further."""
        stream = self.history.known(subscription.destination)
        assert stream is not None  # a stream with a subscriber is never forgotten
        self.history.leave(stream, subscription)

    def target(self, name: str) -> Target:
        """Return the stream of a name, as a target."""
        return _StreamTarget(name, self)

    def retained_names(self) -> Iterable[str]:
        """Return the destinations of which messages are kept now."""
        return self.history.names()

    def expire(self, now: float) -> None:
        """Drop messages that are too old, or too many."""
        self.history.expire()

    @property
    def topic_count(self) -> int:
        """How many destinations with a history have subscribers."""
        return self.history.topic_count

    @property
    def subscription_count(self) -> int:
        """How many subscriptions there are to destinations with a history."""
        return self.history.subscription_count

    # What the history asks for

    def account(self, change: int) -> None:
        """Count so many bytes more, or fewer, as held."""
        self._broker.budget.used += change

    def deliver(self, stream: Stream, message: KeptMessage) -> None:
        """Deliver a message that is in the file to all subscribers."""
        broker = self._broker
        for heard in broker.events.published:
            heard(message)
        if stream.next - stream.first == 1:
            self._retention_changed(stream)
        if stream.topic is not None:
            stream.topic.publish(message)
        if broker.router.has_patterns:
            for topic in broker.router.matching(stream.name):
                topic.publish(message)

    def stream_emptied(self, stream: Stream) -> None:
        """Tell that nothing is kept of a destination any longer."""
        self._retention_changed(stream)

    def _retention_changed(self, stream: Stream) -> None:
        for heard in self._broker.events.retention_changed:
            heard(stream.name)

    def _stream(self, name: str) -> Stream:
        stream = self.history.find(name)
        assert stream is not None  # the claims are made of the rules
        return stream


class _StreamTarget(Target):
    """A topic with a history: a message is delivered once it is in the file."""

    __slots__ = ("_cork", "_history", "_stream")

    def __init__(self, name: str, topics: HistoryTopics) -> None:
        self.name = name
        self.storage = topics.history.group_commit
        self._cork = topics.cork
        self._history = topics.history
        self._stream: Stream | None = None

    def admit(self) -> None:
        """Make sure that the file may know the stream.

        Raises:
            LimitExceeded: It knows too many.
        """
        stream = self._stream
        if stream is None or stream.is_forgotten:
            stream = self._stream = self._history.find(self.name)
            assert stream is not None  # the claims are made of the rules
        self._history.admit(stream)

    def stored(self, message: Message) -> Message:
        """Return the message with its stream, where it gets its offset."""
        stream = self._stream
        assert stream is not None  # admit() came before
        return KeptMessage(
            message.id,
            message.destination,
            message.frame,
            message.reply_to,
            stream=stream,
            time_s=self._cork.now,
            row_size=len(passed_on_lines(message)) + len(message.frame.body) + OVERHEAD_BYTES,
        )

    def put(self, message: Message, sender: Principal | None) -> None:
        """Store the message, although no session waits for it."""
        self.admit()
        self._history.group_commit.commit([self.stored(message)], None, message.frame)
