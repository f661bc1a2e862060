"""The provider of topics with a history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.encoder import passed_on_lines
from rtchat.core.broker.gate import SenderLines
from rtchat.core.broker.message import STORED_OVERHEAD_BYTES, Message, size_of
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse, Target
from rtchat.core.broker.router import places_in
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.flow.memory import Growing
from rtchat.core.history.history import History
from rtchat.core.history.rules import HistoryLimits, HistoryRules
from rtchat.core.history.store import Store, StoreSnapshot
from rtchat.core.history.stream import KeptMessage, Stream

__all__ = ["HistoryTopics"]


class HistoryTopics(DestinationProvider):
    """Stores the messages of topics that match a rule, and replays them to subscribers.

    Args:
        broker: The broker. The constructor adds the provider to it.
        rules: Which topics have a history, and the retention of each.
        limits: The limits of all streams.
        store: The store.
        snapshot: The contents of the store when it was opened.

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
        """Prepare to replay stored messages to a subscription, and then to deliver new ones."""
        name = subscription.destination
        new_topic = partial(self._broker.new_topic, name, max_backlog_bytes)
        return self.history.subscribe(self._stream(name), subscription, new_topic, refuse)

    def begin(self, subscription: Subscription) -> None:
        """Begin the replay."""
        self.history.begin(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop delivering to a subscription."""
        stream = self.history.known(subscription.destination)
        assert stream is not None  # a stream with a subscription is never removed
        self.history.leave(stream, subscription)

    def target(self, name: str) -> Target:
        """Return the target that stores messages in the stream of this name."""
        return _StreamTarget(name, self)

    def retained_names(self) -> Iterable[str]:
        """Return the destinations with at least one stored message."""
        return self.history.names()

    def expire(self, now: float) -> None:
        """Apply the retention to all streams."""
        self.history.expire()

    @property
    def topic_count(self) -> int:
        """The number of destinations with a history that have subscribers."""
        return self.history.topic_count

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions to destinations with a history."""
        return self.history.subscription_count

    def receivers(self, stream: Stream) -> Iterable[Topic]:
        """Return the topic of a stream, if it has subscriptions, and the patterns that match."""
        if stream.topic is not None:
            yield stream.topic
        if self._broker.router.has_patterns:
            # The router has no topic of this name, but it may be the text of a pattern.
            yield from self._broker.router.receivers(stream.name)

    def sender_lines_of(self, name: str) -> SenderLines | None:
        """Return the ids of senders that a gate adds to messages to this topic, or None."""
        return self._broker.router.sender_lines_of(name)

    # Called by the history

    def account(self, change: int, place: Growing) -> None:
        """Add a number of bytes, which may be negative, to the memory budget."""
        budget = self._broker.budget
        budget.used += change
        if change > 0 and budget.used >= budget.near_bytes:
            budget.note_grown(place, change)

    def deliver(self, stream: Stream, message: KeptMessage) -> None:
        """Deliver a durable message to all subscribers, those of patterns included."""
        for listener in self._broker.events.published:
            listener(message)
        if stream.next - stream.first == 1:
            self._retention_changed(stream)
        for topic in self.receivers(stream):
            topic.publish_one_of_many(message)

    def stream_emptied(self, stream: Stream) -> None:
        """Notify listeners that a destination has no stored messages any more."""
        self._retention_changed(stream)

    def _retention_changed(self, stream: Stream) -> None:
        for listener in self._broker.events.retention_changed:
            listener(stream.name)

    def _stream(self, name: str) -> Stream:
        stream = self.history.find(name)
        assert stream is not None  # the claims are derived from the rules
        return stream


class _StreamTarget(Target):
    """A topic with a history: messages are delivered once they are durable."""

    __slots__ = ("_cork", "_history", "_sender_lines", "_stream", "_topics")

    def __init__(self, name: str, topics: HistoryTopics) -> None:
        self.name = name
        self._topics = topics
        self.storage = topics.history.group_commit
        self._cork = topics.cork
        self._history = topics.history
        self._sender_lines = topics.sender_lines_of(name)
        self._stream: Stream | None = None

    def unfinished(self) -> Iterator[str]:
        """Return what a SEND has to wait for, because earlier messages are still on their way."""
        stream = self._stream
        return iter(()) if stream is None else places_in(self._topics.receivers(stream))

    def admit(self, client: str) -> None:
        """Reserve a place in the store for the stream."""
        stream = self._stream
        if stream is None or stream.is_forgotten:
            stream = self._stream = self._history.find(self.name)
            assert stream is not None  # the claims are derived from the rules
        self._history.admit(stream, client)

    def stored(self, message: Message, sender: Principal | None) -> Message:
        """Return the message as one of the stream; its offset is assigned later."""
        stream = self._stream
        assert stream is not None  # admit() came before
        senders = self._sender_lines
        sender_line = b"" if senders is None else senders.get(sender, b"")
        if message.position:  # the sender's user
            sender_line += b"%b\n" % message.position[1:]
        kept = KeptMessage(
            message.id,
            message.destination,
            message.frame,
            message.reply_to,
            stream.position_prefix,  # until it has an offset
            stream=stream,
            time_s=self._cork.now,
            sender_line=sender_line,
            row_size=0,
            held_size=0,
        )
        lines = len(passed_on_lines(kept)) + len(sender_line)
        kept.row_size = lines + len(message.frame.body) + STORED_OVERHEAD_BYTES
        kept.held_size = size_of(message.frame) + len(sender_line)
        return kept

    def put(self, message: Message, sender: Principal | None) -> None:
        """Store the message; no session is notified of the result."""
        self.admit("")
        self._history.group_commit.commit([self.stored(message, sender)], None, message.frame)
