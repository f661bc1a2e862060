"""Destinations and who listens to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

from rtchat.core.broker.destinations import (
    DestinationKind,
    PatternIndex,
    destination_kind,
    is_pattern,
    split_composite,
)
from rtchat.core.broker.events import Notice
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.message import (
    Message,
    Publication,
    size_of,
    time_to_live_ms,
    with_expires,
    without_expiry,
)
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.subscription import Entry, Source, StartAt, Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.broker.topic_consumer import TopicConsumer
from rtchat.core.chat.chat import Chat, Json
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.chat.people import Visit
from rtchat.core.flow.memory import Budget
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.group_commit import Publisher, Step
from rtchat.core.history.history import History
from rtchat.core.history.replay import no_history
from rtchat.core.history.rules import HistoryLimits, HistoryRules
from rtchat.core.history.store import Store, StoreSnapshot
from rtchat.core.history.stream import KeptMessage, Stream
from rtchat.core.stomp.frames import Frame
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.errors import ProtocolError

__all__ = ["Broker"]


_DEAD_LETTERS = "/queue/DLQ."

_MAX_ROUTES = 4096

_NO_LIMIT = 1 << 62

_Route = tuple[Stream | None, tuple[Topic, ...], Topic | None]
"""What a topic's name leads to: its history if it has one, and subscribers beside that; last, the
topic of that very name if there is nothing else."""


class Broker:
    """An in-memory STOMP broker; all sessions of a server share one.

    Args:
        epoch: Text that no earlier run of the server used (letters and digits); it begins
            session ids and message ids, so that a client never takes a new message for one
            that it knew before a restart.
        limits: What all sessions share.
        new_token: Gives text that nobody can guess, for the addresses of temporary queues.
        pubsub: The queues that get a copy of what is sent to ``/pubsub/NAME``, by name.

    Attributes:
        budget: How much is held for clients.
        chat: People and rooms; None where :meth:`open_chat` was not called.
        cork: What is left to do at the end of the turn.
        heads: The parsed headers that publishers repeat.
        now: The time in seconds since 1970; whoever starts a turn sets it.
        observers: Called with every message sent to a topic, before it is delivered. They
            must not raise.
        notify: Called with what the operator should know.
    """

    __slots__ = (
        "_full_queues",
        "_has_patterns",
        "_history",
        "_messages",
        "_new_token",
        "_patterns",
        "_pubsub",
        "_queues",
        "_replies",
        "_roomy",
        "_routes",
        "_sessions",
        "_topics",
        "_waiting",
        "budget",
        "chat",
        "cork",
        "epoch",
        "heads",
        "limits",
        "notify",
        "now",
        "observers",
    )

    def __init__(
        self,
        epoch: str,
        limits: BrokerLimits | None = None,
        new_token: Callable[[], str] | None = None,
        pubsub: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.epoch = epoch
        self.limits = BrokerLimits() if limits is None else limits
        self.budget = Budget(self.limits.max_bytes)
        self.cork = Cork(self.budget)
        self.heads = HeadCache()
        self.chat: Chat | None = None
        self.now = 0.0
        self.observers: list[Callable[[Message], None]] = []
        self.notify: Callable[[Notice], None] = _nobody
        self._new_token = new_token or self._count_tokens
        self._pubsub = dict(pubsub or {})
        self._topics: dict[str, Topic] = {}
        self._patterns: PatternIndex[Topic] = PatternIndex()
        self._has_patterns = False
        self._routes: dict[str, _Route] = {}
        self._history: History | None = None
        self._queues: dict[str, Queue] = {}
        self._replies: dict[str, Subscription] = {}
        self._waiting: dict[str, dict[Callable[[], None], None]] = {}
        self._roomy: dict[str, None] = {}
        self._full_queues: set[str] = set()
        self._sessions = 0
        self._messages = 0

    def keep_history(
        self, rules: HistoryRules, limits: HistoryLimits, store: Store, snapshot: StoreSnapshot
    ) -> History:
        """Keep messages from now on; call it before the first client comes.

        Args:
            rules: Of which destinations.
            limits: How much.
            store: The file.
            snapshot: What is in it.
        """
        self._history = History(self, rules, limits, store, snapshot, self._new_token)
        return self._history

    # What it says about itself

    @property
    def history(self) -> History | None:
        """The kept messages, if there is a history at all."""
        return self._history

    @property
    def message_count(self) -> int:
        """How many messages were published since the start."""
        return self._messages

    @property
    def topic_count(self) -> int:
        """How many topics and patterns have subscribers now."""
        kept = 0 if self._history is None else self._history.topic_count
        return len(self._topics) + kept

    @property
    def queue_count(self) -> int:
        """How many queues have messages or consumers now."""
        return len(self._queues)

    @property
    def queued_count(self) -> int:
        """How many messages queues hold now, unacknowledged ones included."""
        return sum(map(len, self._queues.values()))

    @property
    def subscription_count(self) -> int:
        """How many subscriptions there are now."""
        topics = sum(map(len, self._topics.values()))
        kept = 0 if self._history is None else self._history.subscription_count
        consumers = sum(queue.consumer_count for queue in self._queues.values())
        own = 0 if self.chat is None else self.chat.subscription_count
        return topics + kept + consumers + len(self._replies) + own

    def next_session_id(self) -> str:
        """Give an id that no other session has or had."""
        self._sessions += 1
        return f"{self.epoch}-{self._sessions}"

    def open_chat(self, options: ChatPolicy, json: Json) -> None:
        """Keep account of people and rooms from now on; call it before the first session."""
        self.chat = Chat(options, json, self.epoch, self._new_token, self._new_fan_out)
        self.chat.presence.kept_rooms = lambda: (
            () if self._history is None else self._history.names()
        )

    # Subscriptions

    def subscribe(
        self,
        subscription: Subscription,
        max_backlog_bytes: int,
        refuse: Callable[[ProtocolError], None] | None = None,
    ) -> Mapping[str, str]:
        """Deliver what is published from now on, and what is kept, to the subscription.

        Args:
            subscription: Who wants it.
            max_backlog_bytes: How much may wait for it if it is served one by one.
            refuse: Ends its session, should that be impossible later.

        Returns:
            What the RECEIPT says about it.

        Raises:
            ProtocolError: Nobody can subscribe to this destination, or not like this.
        """
        name = subscription.destination
        kind = destination_kind(name)
        if "," in name:
            raise ProtocolError(
                "a composite destination cannot be subscribed to",
                "Send a SUBSCRIBE for each of them.",
            )
        if self.chat is not None and self.chat.subscribe(subscription, max_backlog_bytes):
            return {}
        history = self._history
        if history is not None and kind is DestinationKind.TOPIC and not is_pattern(name):
            stream = history.find(name)
            if stream is not None:
                new_topic = partial(self._new_fan_out, name, max_backlog_bytes)
                refuse = refuse or _nobody_to_refuse
                told = history.subscribe(stream, subscription, new_topic, refuse)
                if self.chat is not None:
                    self.chat.entered(subscription)
                return told
        if subscription.options.start.at is not StartAt.NEXT:
            raise no_history()
        if kind is DestinationKind.QUEUE:
            self._queue(name).add(subscription)
        elif kind is DestinationKind.TOPIC:
            topic = self._topics.get(name)
            if topic is None:
                topic = self._new_topic(name, max_backlog_bytes)
            topic.add(subscription)
        else:
            raise ProtocolError(
                f"{kind.value} cannot be subscribed to",
                "Subscribe to /topic/NAME or /queue/NAME; answers come by themselves.",
            )
        if self.chat is not None:
            self.chat.entered(subscription)
        return {}

    def detach(self, subscriptions: Iterable[Subscription]) -> None:
        """Deliver nothing further to subscriptions; :meth:`return_unacked` follows.

        A session that goes ends all of them first: it must not be given its own messages.
        """
        for subscription in subscriptions:
            self._detach(subscription)

    def return_unacked(self, subscriptions: Iterable[Subscription]) -> None:
        """Give what ended subscriptions have not acknowledged to somebody else."""
        # All at once for each queue: the next consumer gets them in their original order.
        returned: dict[Source, list[Entry]] = {}
        for subscription in subscriptions:
            unacked, subscription.unacked = subscription.unacked, {}
            if unacked and subscription.source is not None:
                returned.setdefault(subscription.source, []).extend(unacked.values())
        for source, entries in returned.items():
            source.returned(entries, requeue=True)

    def open_reply_queue(self, subscription: Subscription) -> str:
        """Give an address under which everybody reaches the subscription's session."""
        address = f"{DestinationKind.REPLY_QUEUE.value}{self._new_token()}"
        self._replies[address] = subscription
        return address

    def close_reply_queue(self, address: str) -> None:
        """Answers to the address reach nobody from now on."""
        del self._replies[address]

    # Messages

    def blocking_queue(self, destination: str, but: Collection[Source | None] = ()) -> Queue | None:
        """Give the full queue that a SEND has to wait for, if there is one.

        Args:
            destination: Where the SEND goes.
            but: Queues that need not have room.

        Raises:
            ProtocolError: Nobody can send to this destination.
        """
        if not self._queues:
            return None
        queue = self._queues.get(destination)
        if queue is not None and not queue.is_full:
            return None
        for name in self._targets(destination):
            queue = self._queues.get(name)
            if queue is not None and queue.is_full and queue not in but:
                self._note_full(queue)
                return queue
        return None

    def wait_for(self, queue: Queue, resume: Callable[[], None]) -> None:
        """Call once the queue has room again, in the order of waiting."""
        self._waiting.setdefault(queue.name, {})[resume] = None

    def wait_no_more(self, resume: Callable[[], None]) -> None:
        """Forget about whoever waits: it has gone."""
        for name, waiting in list(self._waiting.items()):
            waiting.pop(resume, None)
            if not waiting:
                del self._waiting[name]

    def check(self, destination: str, frame: Frame) -> None:
        """Refuse a SEND that :meth:`publish` would refuse.

        Raises:
            ProtocolError: It cannot be sent.
        """
        if "expiration" in frame.headers:
            time_to_live_ms(frame)
        self._admit(self._receivers(destination))

    def publish_plain(
        self, name: str, frame: Frame, publisher: Publisher | None = None
    ) -> Queue | None:
        """Do what :meth:`publish` does, for a SEND to one topic or queue that asks for no more.

        Returns:
            None, or the full queue that it has to wait for; then nothing has happened.
        """
        queue = self._queues.get(name)
        if queue is not None:
            if queue.is_full:
                self._note_full(queue)
                return queue
            self._messages = number = self._messages + 1
            queue.put(Message(f"{self.epoch}-{number}", name, frame))
            return None
        route = self._routes.get(name)
        topic = None if route is None or self.observers else route[2]
        if topic is None:
            self.publish(name, frame, "", publisher)
            return None
        self._messages = number = self._messages + 1
        topic.publish(Message(f"{self.epoch}-{number}", name, frame))
        return None

    def most_at_once(self, name: str, frame: Frame) -> int:
        """Tell for how many SENDs like this :meth:`publish_run` may be used; 0 is for none."""
        queue = self._queues.get(name)
        if queue is not None:
            return queue.room_for(size_of(frame))
        route = self._routes.get(name)
        topic = None if route is None or self.observers else route[2]
        return _NO_LIMIT if topic is not None and topic.is_uniform else 0

    def publish_run(self, name: str, frame: Frame, bodies: list[bytes]) -> None:
        """Do :meth:`publish_plain` for several SENDs with the same head, at a third of the cost.

        Args:
            name: The topic or queue; :meth:`most_at_once` has allowed it.
            frame: The first SEND, with a ``content-length`` that all of them share.
            bodies: The messages' bodies.
        """
        first = self._messages + 1
        self._messages += len(bodies)
        queue = self._queues.get(name)
        if queue is None:
            topic = self._routes[name][2]
            assert topic is not None
            topic.publish_run(f"{self.epoch}-", first, frame, bodies)
            return
        stem, command, headers, memo = f"{self.epoch}-", frame.command, frame.headers, frame.memo
        queue.put_run(
            [
                Message(f"{stem}{number}", name, Frame(command, headers, body, memo))
                for number, body in enumerate(bodies, first)
            ]
        )

    def keeps(self, destination: str) -> bool:
        """Tell whether a SEND there waits for the file, it or some of it."""
        history = self._history
        return history is not None and any(
            destination_kind(name) is DestinationKind.TOPIC
            and history.rules.rule_for(name) is not None
            for name in self._targets(destination)
        )

    def publish(
        self,
        destination: str,
        frame: Frame,
        reply_to: str = "",
        publisher: Publisher | None = None,
    ) -> bool:
        """Hand a SEND to everyone it is for; if it is kept, as soon as it is in the file.

        Args:
            destination: Where to, or several of it with commas between.
            frame: The SEND.
            reply_to: Where answers go.
            publisher: Who wants to know when it is in the file.

        Returns:
            Whether nothing else may happen in the session until then.

        Raises:
            ProtocolError: It cannot be sent; then nobody gets it.
        """
        if "expiration" in frame.headers:
            frame = with_expires(frame, self.now)
        route = self._routes.get(destination)
        if route is None:
            receivers = self._receivers(destination)
            if len(receivers) != 1 or receivers[0][0] is not DestinationKind.TOPIC:
                return self._publish_to(receivers, frame, reply_to, publisher)
            # The one topic it means may have another name: /pubsub/ has led there.
            destination = receivers[0][1]
            route = self._route(destination)
        stream, topics, _ = route
        self._messages += 1
        message_id = f"{self.epoch}-{self._messages}"
        if stream is not None and self._history is not None:
            self._history.admit(stream)
            kept = KeptMessage(stream, message_id, frame, reply_to, self.now)
            if not kept.is_expired(self.now):
                self._history.group_commit.accept((kept,), publisher, frame)
            return False
        message = Message(message_id, destination, frame, reply_to)
        if not message.is_expired(self.now):
            for observe in self.observers:
                observe(message)
            for topic in topics:
                topic.publish(message)
        return False

    def _publish_to(
        self,
        receivers: list[tuple[DestinationKind, str]],
        frame: Frame,
        reply_to: str,
        publisher: Publisher | None,
    ) -> bool:
        """Hand a SEND to several destinations, or to one that is no topic."""
        if self._admit(receivers):
            assert self._history is not None
            self._history.group_commit.accept(
                self._steps(receivers, frame, reply_to), publisher, frame
            )
            return True
        for step in self._steps(receivers, frame, reply_to):
            assert not isinstance(step, KeptMessage)
            step()
        return False

    def publish_together(
        self,
        parts: Sequence[Publication | Callable[[], None]],
        publisher: Publisher | None,
        cause: Frame,
    ) -> None:
        """Do all of it, in order, as soon as the messages among it that are kept are in the file.

        Args:
            parts: SENDs that were checked, and what else happens.
            publisher: Who wants to know when.
            cause: The frame that asks for it.

        Raises:
            ProtocolError: One of them cannot be sent; then nothing has happened.
        """
        history = self._history
        assert history is not None
        receivers = [
            self._receivers(part.destination) if isinstance(part, Publication) else []
            for part in parts
        ]
        for each in receivers:
            self._admit(each)
        steps: list[Step] = []
        for part, each in zip(parts, receivers, strict=True):
            if isinstance(part, Publication):
                frame = part.frame
                if "expiration" in frame.headers:
                    frame = with_expires(frame, self.now)
                steps += self._steps(each, frame, part.reply_to)
            else:
                steps.append(part)
        history.group_commit.accept(steps, publisher, cause)

    def publish_private(self, visit: Visit | None, frame: Frame, reply_to: str) -> None:
        """Hand a SEND to the one person it is for, or back to its sender.

        Raises:
            ProtocolError: Nobody is called so, and the sender cannot be told in another way.
        """
        if "expiration" in frame.headers:
            frame = with_expires(frame, self.now)
        assert self.chat is not None  # or nothing is private
        self.chat.send_private(visit, frame, reply_to, self.now)
        self._messages += 1

    def expire(self) -> None:
        """Drop messages whose time is over, and people; call it once a second.

        Only here it is said that a queue has room again: one that is as fast filled as emptied
        is full and not full a thousand times a second.
        """
        if self._history is not None:
            self._history.expire()
        for queue in list(self._queues.values()):
            queue.expire()
        if self.chat is not None:
            self.chat.expire(self.now)
        for name in list(self._full_queues):
            if name in self._waiting or self._is_full(name):
                continue
            self._full_queues.discard(name)
            now = self._queues.get(name)
            messages, size = (len(now), now.bytes) if now is not None else (0, 0)
            self.notify(Notice("queue has room", name, messages, size))

    # What the history asks for

    def deliver_kept(self, stream: Stream, message: KeptMessage) -> None:
        """Hand a message that is in the file to everybody who listens now."""
        for observe in self.observers:
            observe(message)
        if self.chat is not None and len(stream) == 1:
            self.chat.presence.note_kept_room(stream.name)
        if stream.topic is not None:
            stream.topic.publish(message)
        if self._has_patterns:
            for topic in self._route(stream.name)[1]:
                topic.publish(message)

    def stream_emptied(self, stream: Stream) -> None:
        """Let it be listed as a room no longer, unless somebody is there."""
        if self.chat is not None:
            self.chat.presence.note_kept_room(stream.name)

    def stream_forgotten(self, stream: Stream) -> None:
        """Forget where its name leads to."""
        self._routes.pop(stream.name, None)

    # What queues ask for

    def account(self, change: int) -> None:
        """So many bytes more are held, or fewer."""
        self.budget.used += change

    def queue_has_room(self, queue: Queue) -> None:
        """Let those go on who wait for it, at the end of the turn."""
        if queue.name in self._waiting:
            self._roomy[queue.name] = None
            self.cork.woken[self._wake] = None

    def queue_is_unused(self, queue: Queue) -> None:
        """Forget it."""
        self._queues.pop(queue.name, None)

    def queue_rejected(self, queue: Queue, message: Message, *, tries: int) -> bool:
        """Move a message to the dead-letter queue.

        From a dead-letter queue nothing is moved any further: it stays however often it is
        tried, and whoever refuses it for good wants it to be gone.
        """
        if queue.name.startswith(_DEAD_LETTERS):
            return tries == 0
        name = _DEAD_LETTERS + queue.name.removeprefix(DestinationKind.QUEUE.value)
        dead = Message(message.id, name, without_expiry(message.frame), message.reply_to)
        target = self._queue(name)
        target.put(dead)
        self.notify(Notice("dead letter", name, len(target), target.bytes))
        return True

    # Small helpers

    def _wake(self) -> None:
        """Let those go on who wait for queues that have room now, for as long as they have.

        One after the other: whoever has to wait again stands behind all the others.
        """
        roomy, self._roomy = self._roomy, {}
        for name in roomy:
            while name in self._waiting and not self._is_full(name):
                waiting = self._waiting[name]
                resume = next(iter(waiting))
                del waiting[resume]
                if not waiting:
                    del self._waiting[name]
                resume()

    def _is_full(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and queue.is_full

    def _receivers(self, destination: str) -> list[tuple[DestinationKind, str]]:
        """Give the destinations that a SEND means, once it is sure that it can have them all."""
        receivers = [(destination_kind(name), name) for name in self._targets(destination)]
        if any(kind is DestinationKind.TEMP_QUEUE for kind, _ in receivers):
            raise ProtocolError(
                "no such temporary queue",
                "Answer to the reply-to of the message you received, as it stands there.",
            )
        return receivers

    def _targets(self, destination: str) -> list[str]:
        """Give the destinations that a SEND means."""
        names = split_composite(destination) if "," in destination else [destination]
        if not any(name.startswith(DestinationKind.PUBSUB.value) for name in names):
            return names
        targets: dict[str, None] = {}
        for name in names:
            if name.startswith(DestinationKind.PUBSUB.value):
                queues = self._pubsub.get(name.removeprefix(DestinationKind.PUBSUB.value))
                if queues is None:
                    raise ProtocolError(
                        "no such pubsub destination",
                        f"{name} has no line in the section [pubsub] of the server's settings.",
                    )
                targets.update(dict.fromkeys(queues))
            else:
                targets[name] = None
        return list(targets)

    def _admit(self, receivers: list[tuple[DestinationKind, str]]) -> bool:
        """Make sure that what is kept of these can be kept, and tell whether something is.

        Raises:
            LimitExceeded: There are too many destinations with a history.
        """
        history = self._history
        if history is None:
            return False
        streams = [history.find(name) for kind, name in receivers if kind is DestinationKind.TOPIC]
        kept = [stream for stream in streams if stream is not None]
        for stream in kept:
            history.admit(stream)
        return bool(kept)

    def _steps(
        self, receivers: list[tuple[DestinationKind, str]], frame: Frame, reply_to: str
    ) -> list[Step]:
        """Give what is to be done for a SEND once the file has what is kept of it."""
        steps: list[Step] = []
        self._messages += 1
        for kind, name in receivers:
            message = Message(f"{self.epoch}-{self._messages}", name, frame, reply_to)
            if message.is_expired(self.now):
                continue
            stream = self._route(name)[0] if kind is DestinationKind.TOPIC else None
            if stream is not None:
                steps.append(KeptMessage(stream, message.id, frame, reply_to, self.now))
            elif kind is DestinationKind.TOPIC:
                steps.append(partial(self._publish_to_topic, name, message))
            else:
                steps.append(partial(self._hand_to_one, kind, name, message))
        return steps

    def _publish_to_topic(self, name: str, message: Message) -> None:
        """Hand a message to everybody who listens to a topic without a history."""
        for observe in self.observers:
            observe(message)
        for topic in self._route(name)[1]:
            topic.publish(message)

    def _hand_to_one(self, kind: DestinationKind, name: str, message: Message) -> None:
        """Hand a message to a queue, or to who waits for an answer."""
        if kind is DestinationKind.QUEUE:
            self._queue(name).put(message)
            return
        receiver = self._replies.get(name)
        if receiver is not None and receiver.wants(message):
            receiver.deliver(Entry(message, 0))

    def _route(self, name: str) -> _Route:
        """Give where a topic's name leads to; it is remembered."""
        known = self._routes.get(name)
        if known is not None:
            return known
        stream = None if self._history is None else self._history.find(name)
        exact = self._topics.get(name)
        found = [] if exact is None else [exact]
        if self._has_patterns:
            found += [topic for topic in self._patterns.matching(name) if topic is not exact]
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        is_direct = stream is None and len(found) == 1 and found[0].name == name
        route = (stream, tuple(found), found[0] if is_direct else None)
        self._routes[name] = route
        return route

    def _queue(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue(name, self.limits, self)
        return queue

    def _new_topic(self, name: str, max_backlog_bytes: int) -> Topic:
        topic = self._new_fan_out(name, max_backlog_bytes)
        if is_pattern(name):
            self._patterns.add(name, topic)
            self._has_patterns = True
        self._topics[name] = topic
        self._routes.clear()
        return topic

    def _new_fan_out(self, name: str, max_backlog_bytes: int) -> Topic:
        return Topic(name, self.cork, partial(self._new_consumer, max_backlog_bytes))

    def _new_consumer(self, max_bytes: int, subscription: Subscription) -> TopicConsumer:
        return TopicConsumer(subscription, max_bytes, self.account, lambda: self.now)

    def _detach(self, subscription: Subscription) -> None:
        name = subscription.destination
        if self.chat is not None and self.chat.detach(subscription, self.now):
            return
        if destination_kind(name) is DestinationKind.QUEUE:
            self._queues[name].remove(subscription)
            return
        history = self._history
        stream = None if history is None else history.known(name)
        if history is not None and stream is not None:
            history.leave(stream, subscription)
            return
        topic = self._topics[name]
        topic.remove(subscription)
        if not len(topic):
            del self._topics[name]
            self._routes.clear()
            if is_pattern(name):
                self._patterns.remove(name)
                self._has_patterns = len(self._patterns) > 0

    def _note_full(self, queue: Queue) -> None:
        if queue.name not in self._full_queues:
            self._full_queues.add(queue.name)
            self.notify(Notice("queue full", queue.name, len(queue), queue.bytes))

    def _count_tokens(self) -> str:
        self._sessions += 1
        return f"{self.epoch}-{self._sessions}"


def _nobody(_: Notice) -> None:
    """Who is told when nobody asked to know."""


def _nobody_to_refuse(problem: ProtocolError) -> None:
    """What happens to a subscription of no session that cannot go on: nothing more."""
