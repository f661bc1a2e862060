"""The streams of all destinations with a history: appending, reading, and retention."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.flow.memory import Growing
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.group_commit import GroupCommit
from rtchat.core.history.places import Places
from rtchat.core.history.reading import MessageReader
from rtchat.core.history.replay import Replay
from rtchat.core.history.retention import Retention
from rtchat.core.history.rules import HistoryLimits, HistoryRules
from rtchat.core.history.store import Batch, Store, StoredStream, StoreSnapshot
from rtchat.core.history.stream import KeptMessage, Stream
from rtchat.errors import ProtocolError

__all__ = ["History", "HistoryOwner"]

_LOOKS = 64
"""After so small a part of the store was written, its size is looked at."""

_OVERGROWN = 2
"""A stream that exceeds its limits by this factor is trimmed at once."""


class HistoryOwner(Protocol):
    """What a history needs of the provider that owns it."""

    cork: Cork
    """The cork of the server, for the time and for work at the end of the turn."""

    def account(self, change: int, place: Growing) -> None:
        """Add a number of bytes, which may be negative, to the memory budget."""

    def deliver(self, stream: Stream, message: KeptMessage) -> None:
        """Deliver a durable message to all subscribers of the stream."""

    def stream_emptied(self, stream: Stream) -> None:
        """Called when retention has removed the last message of a stream."""


class History:
    """The streams of all destinations with a history.

    Args:
        owner: The provider that owns the history.
        rules: Which destinations have a history, and the retention of each.
        limits: The limits of all streams.
        store: The store.
        snapshot: The contents of the store when it was opened.
        new_token: Returns text that was never used before, for new epochs.

    Attributes:
        evicted: The number of streams with messages that were deleted to make a place for others.
        group_commit: The queue of messages to store.
        is_unsettled: See :class:`~rtchat.core.history.group_commit.CommitListener`.
        retention: Removes messages that are too old or too many.
        rules: As above.
    """

    __slots__ = (
        "_last_number",
        "_limits",
        "_look_every_bytes",
        "_new_token",
        "_owner",
        "_places",
        "_reader",
        "_replays",
        "_store",
        "_streams",
        "_written_bytes",
        "evicted",
        "group_commit",
        "is_unsettled",
        "retention",
        "rules",
    )

    def __init__(
        self,
        owner: HistoryOwner,
        rules: HistoryRules,
        limits: HistoryLimits,
        store: Store,
        snapshot: StoreSnapshot,
        new_token: Callable[[], str],
    ) -> None:
        self.rules = rules
        self._owner = owner
        self._limits = limits
        self._store = store
        self._new_token = new_token
        self.group_commit = GroupCommit(self, store, snapshot.epoch, owner.cork, owner.account)
        self._reader = MessageReader(store, owner.cork, limits.max_memory_bytes)
        self._streams: dict[str, Stream] = {}
        self._last_number = max((stored.number for stored in snapshot.streams), default=0)
        for stored in snapshot.streams:
            # Streams that no rule matches any longer stay in the store, unused.
            rule = rules.rule_for(stored.name)
            if rule is not None:
                self._streams[stored.name] = Stream(stored, rule, is_stored=True)
        self._replays: dict[Subscription, Replay] = {}
        self._places = Places(
            self._streams,
            limits.max_destinations,
            store.max_bytes,
            limits.max_client_destinations,
            limits.max_client_bytes,
        )
        self.evicted = 0
        self.is_unsettled = False
        self._written_bytes = 0
        self._look_every_bytes = store.max_bytes // _LOOKS
        self.retention = Retention(owner, self._streams, self._places, limits, store)

    # Statistics

    def names(self) -> list[str]:
        """Return the destinations with at least one stored message."""
        return [stream.name for stream in self._streams.values() if len(stream)]

    @property
    def message_count(self) -> int:
        """The number of stored messages."""
        return sum(map(len, self._streams.values()))

    @property
    def damaged_names(self) -> list[str]:
        """The destinations with stored messages that cannot be read, as far as that is known."""
        return [
            stream.name for stream in self._streams.values() if stream.is_damaged_from(stream.first)
        ]

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions to destinations with a history."""
        return sum(stream.users for stream in self._streams.values())

    @property
    def topic_count(self) -> int:
        """The number of destinations with a history that have subscribers."""
        return sum(1 for stream in self._streams.values() if stream.users)

    # Streams

    def find(self, name: str) -> Stream | None:
        """Return a destination's stream, which may be new; None if no rule matches it."""
        stream = self._streams.get(name)
        if stream is None:
            rule = self.rules.rule_for(name)
            if rule is None:
                return None
            self._last_number += 1
            new = StoredStream(self._last_number, name, self.group_commit.epoch, 0, 0, 0, 0.0)
            stream = self._streams[name] = Stream(new, rule, is_stored=False)
        return stream

    def known(self, name: str) -> Stream | None:
        """Return a destination's stream if it exists, else None."""
        return self._streams.get(name)

    def subscribe(
        self,
        stream: Stream,
        subscription: Subscription,
        new_topic: Callable[[], Topic],
        refuse: Callable[[ProtocolError], None],
    ) -> dict[str, str]:
        """Prepare to replay stored messages to a subscription; :meth:`begin` has to follow.

        After the replay, the subscription is added to the stream's topic.

        Args:
            stream: The stream.
            subscription: The subscription; its options say where the replay begins.
            new_topic: Creates a topic for the stream's subscribers if it has none.
            refuse: Ends the subscriber's session with an error.

        Returns:
            Headers to add to the RECEIPT.
        """

        def join(replay: Replay) -> None:
            del self._replays[replay.subscription]
            del stream.replays[replay]
            replay.subscription.source = None
            if stream.topic is None:
                stream.topic = new_topic()
            stream.topic.add(replay.subscription)

        replay = Replay(subscription, stream, self._reader, self._owner.cork, join, refuse)
        subscription.source = replay
        self._replays[subscription] = replay
        stream.replays[replay] = None
        stream.users += 1
        return replay.start()

    def begin(self, subscription: Subscription) -> None:
        """Begin the replay to a subscription."""
        self._replays[subscription].on_drain()

    def leave(self, stream: Stream, subscription: Subscription) -> None:
        """Stop delivering to a subscription."""
        replay = self._replays.pop(subscription, None)
        if replay is not None:
            replay.close()
            del stream.replays[replay]
        elif stream.topic is not None:
            stream.topic.remove(subscription)
            if not len(stream.topic):
                stream.topic = None
        stream.users -= 1
        self._forget_if_unused(stream)

    def _forget_if_unused(self, stream: Stream) -> None:
        """Remove a stream without subscriptions that never had a message."""
        if not (stream.is_stored or stream.users):
            self._forget(stream)

    def admit(self, stream: Stream, client: str) -> None:
        """Reserve a place in the store for the stream; the next batch creates it.

        If there are too many then, another stream gives up its place: see :class:`Places`. A
        client that returns to that one is told that something is missing. So there may be more
        streams than the limit for a moment, and what cannot be written costs no other a place.

        Args:
            stream: The stream.
            client: The client whose message needs it; "" is unknown.
        """
        if not stream.is_stored:
            stream.is_stored = True
            self._places.add(stream, client)

    def refused(self, streams: Iterable[Stream]) -> None:
        """Remove the places of streams whose first messages are refused."""
        for stream in streams:
            if stream.is_new and stream.is_stored and not stream.waiting:
                stream.is_stored = False
                self._places.remove(stream)
                self._forget_if_unused(stream)

    def _evict(self, stream: Stream) -> None:
        """Delete the messages of a stream. With subscriptions it goes on, numbered from 0."""
        epoch = self._new_token()
        self.group_commit.forget(stream.number, epoch)
        self._places.remove(stream)
        had_messages = len(stream) > 0
        self.evicted += had_messages
        if not stream.users:
            self._forget(stream)
        else:
            self._reader.pages.forget(stream)
            self._last_number += 1
            end = stream.next
            stream.restart(self._last_number, epoch)
            for replay in stream.replays:
                replay.restart(end)
        if had_messages:
            self._owner.stream_emptied(stream)

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.name]
        self._reader.pages.forget(stream)
        stream.is_forgotten = True

    # Appending

    def batch_written(self, batch: Batch) -> None:
        """Update the sizes of the streams in the batch."""
        for delta in batch.streams:
            stream = self._streams[delta.name]
            stream.bytes += delta.bytes
            if stream.owner is not None:
                stream.owner.bytes += delta.bytes
            self._written_bytes += delta.bytes
            if stream.is_new:
                self.is_unsettled = True
            if stream.bytes > _OVERGROWN * self._limits.max_destination_bytes:
                self.retention.trim_soon(stream)
        places = self._places
        if self._written_bytes > self._look_every_bytes or places.is_cutting or places.excess > 0:
            self.is_unsettled = True

    def message_written(self, message: KeptMessage) -> None:
        """Append a durable message to its stream and deliver it."""
        stream = message.stream
        max_count = stream.rule.max_count
        if stream.next == stream.stored_first:
            stream.oldest_s = message.time_s
        stream.next = message.offset + 1
        if stream.next - stream.first > max_count:
            stream.first = stream.next - max_count
        self._reader.pages.put(message)
        self._owner.deliver(stream, message)
        if stream.followers:
            followers, stream.followers = stream.followers, {}
            for follower in followers:
                follower.on_drain()
        if stream.next - stream.stored_first > _OVERGROWN * max_count:
            self.retention.trim_soon(stream)

    def batch_settled(self, batch: Batch, *, is_written: bool) -> None:
        """Make room for the next batch; forget what a failed one would have created."""
        self.is_unsettled = False
        self._written_bytes = 0
        known = (self._streams.get(delta.name) for delta in batch.streams)
        streams = {stream: None for stream in known if stream is not None}
        if not is_written:
            self.refused(streams)
        else:
            new = [stream for stream in streams if stream.is_new]
            for stream in self._places.created(new, streams):
                self._evict(stream)
            if self._places.is_cutting:
                for stream in streams:
                    self._places.grew(stream)
        self.retention.make_room()

    # Retention

    def expire(self) -> None:
        """Remove streams and messages that exceed limits; call it every second."""
        self._evict_superfluous()
        self.retention.expire()

    def _evict_superfluous(self) -> None:
        """Evict some streams if there are too many; the others have to go in later turns."""
        before = self._places.count
        for stream in self._places.superfluous():
            self._evict(stream)
        if self._places.excess > 0 and self._places.count < before:
            self._owner.cork.put_off(self._evict_superfluous)
