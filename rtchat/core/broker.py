"""Destinations and who listens to them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from rtchat.core.budget import Budget
from rtchat.core.destinations import Kind, PatternIndex, is_pattern, kind_of, split_composite
from rtchat.core.feeds import Feed
from rtchat.core.frames import Frame
from rtchat.core.limits import BrokerLimits
from rtchat.core.message import Message
from rtchat.core.outlet import Cork
from rtchat.core.parser import HeadCache
from rtchat.core.queues import Queue
from rtchat.core.subscription import Entry, Source, Subscription
from rtchat.core.topics import Topic
from rtchat.errors import ProtocolError

__all__ = ["Broker", "Notice"]

_DEAD_LETTERS = "/queue/DLQ."
_MAX_ROUTES = 4096


class Notice(NamedTuple):
    """Something the operator should know; the log has a sentence for each kind.

    Attributes:
        kind: ``queue full``, ``queue has room``, ``dead letter``.
        destination: The queue it is about.
        messages: How many it holds.
        bytes: How many bytes it holds.
    """

    kind: str
    destination: str
    messages: int
    bytes: int


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
        self.now = 0.0
        self.observers: list[Callable[[Message], None]] = []
        self.notify: Callable[[Notice], None] = _nobody
        self._new_token = new_token or self._count_tokens
        self._pubsub = dict(pubsub or {})
        self._topics: dict[str, Topic] = {}
        self._patterns: PatternIndex[Topic] = PatternIndex()
        self._has_patterns = False
        self._routes: dict[str, tuple[Topic, ...]] = {}
        self._queues: dict[str, Queue] = {}
        self._replies: dict[str, Subscription] = {}
        self._waiting: dict[str, dict[Callable[[], None], None]] = {}
        self._roomy: dict[str, None] = {}
        self._full_queues: set[str] = set()
        self._sessions = 0
        self._messages = 0

    # What it says about itself

    @property
    def message_count(self) -> int:
        """How many messages were published since the start."""
        return self._messages

    @property
    def topic_count(self) -> int:
        """How many topics and patterns have subscribers now."""
        return len(self._topics)

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
        consumers = sum(queue.consumer_count for queue in self._queues.values())
        return topics + consumers + len(self._replies)

    def next_session_id(self) -> str:
        """Give an id that no other session has or had."""
        self._sessions += 1
        return f"{self.epoch}-{self._sessions}"

    # Subscriptions

    def subscribe(self, subscription: Subscription, max_backlog_bytes: int) -> None:
        """Deliver what is published from now on, and what a queue holds, to the subscription.

        Args:
            subscription: Who wants it.
            max_backlog_bytes: How much may wait for it if it is served one by one.

        Raises:
            ProtocolError: Nobody can subscribe to this destination.
        """
        name = subscription.destination
        kind = kind_of(name)
        if "," in name:
            raise ProtocolError(
                "a composite destination cannot be subscribed to",
                "Send a SUBSCRIBE for each of them.",
            )
        if kind is Kind.QUEUE:
            self._queue(name).add(subscription)
        elif kind is Kind.TOPIC:
            topic = self._topics.get(name)
            if topic is None:
                topic = self._new_topic(name, max_backlog_bytes)
            topic.add(subscription)
        else:
            raise ProtocolError(
                f"{kind.value} cannot be subscribed to",
                "Subscribe to /topic/NAME or /queue/NAME; answers come by themselves.",
            )

    def detach(self, subscriptions: Iterable[Subscription]) -> None:
        """Deliver nothing further to subscriptions; :meth:`take_back` follows.

        A session that goes ends all of them first: it must not be given its own messages.
        """
        for subscription in subscriptions:
            self._detach(subscription)

    def take_back(self, subscriptions: Iterable[Subscription]) -> None:
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
        address = f"{Kind.REPLY_QUEUE.value}{self._new_token()}"
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

    def wait_for(self, queue: Queue, go_on: Callable[[], None]) -> None:
        """Call once the queue has room again, in the order of waiting."""
        self._waiting.setdefault(queue.name, {})[go_on] = None

    def wait_no_more(self, go_on: Callable[[], None]) -> None:
        """Forget about whoever waits: it has gone."""
        for name, waiting in list(self._waiting.items()):
            waiting.pop(go_on, None)
            if not waiting:
                del self._waiting[name]

    def check(self, destination: str, frame: Frame) -> None:
        """Refuse a SEND that :meth:`publish` would refuse.

        Raises:
            ProtocolError: It cannot be sent.
        """
        if "expiration" in frame.headers:
            _time_to_live_ms(frame)
        self._receivers(destination)

    def publish_plain(self, name: str, frame: Frame) -> Queue | None:
        """Do what :meth:`publish` does, for a SEND to one topic or queue that asks for no more.

        Returns:
            None, or the full queue that it has to wait for; then nothing has happened.
        """
        topic = self._topics.get(name)
        if topic is not None and not self._has_patterns and not self.observers:
            self._messages = number = self._messages + 1
            topic.publish(Message(f"{self.epoch}-{number}", name, frame))
            return None
        queue = self._queues.get(name)
        if queue is None:
            self.publish(name, frame)
            return None
        if queue.is_full:
            self._note_full(queue)
            return queue
        self._messages = number = self._messages + 1
        queue.put(Message(f"{self.epoch}-{number}", name, frame))
        return None

    def takes_runs(self, name: str) -> bool:
        """Tell whether :meth:`publish_run` may be used for this destination now."""
        topic = self._topics.get(name)
        return (
            topic is not None and topic.is_uniform and not self._has_patterns and not self.observers
        )

    def publish_run(self, name: str, frame: Frame, bodies: list[bytes]) -> None:
        """Do :meth:`publish_plain` for several SENDs with the same head, at a third of the cost."""
        first = self._messages + 1
        self._messages += len(bodies)
        self._topics[name].publish_run(f"{self.epoch}-", first, frame, bodies)

    def publish(self, destination: str, frame: Frame, reply_to: str = "") -> None:
        """Hand a SEND to everyone it is for.

        Args:
            destination: Where to, or several of it with commas between.
            frame: The SEND.
            reply_to: Where answers go.

        Raises:
            ProtocolError: It cannot be sent; then nobody gets it.
        """
        if "expiration" in frame.headers:
            frame = _with_expires(frame, self.now)
        receivers = self._receivers(destination)
        self._messages += 1
        for kind, name in receivers:
            message = Message(f"{self.epoch}-{self._messages}", name, frame, reply_to)
            if message.is_expired(self.now):
                continue
            if kind is Kind.TOPIC:
                self._publish_to_topic(name, message)
            elif kind is Kind.QUEUE:
                self._queue(name).put(message)
            else:
                receiver = self._replies.get(name)
                if receiver is not None and receiver.wants(message):
                    receiver.deliver(Entry(message, 0))

    def expire(self) -> None:
        """Drop messages whose time is over; call it now and then.

        Only here it is said that a queue has room again: one that is as fast filled as emptied
        is full and not full a thousand times a second.
        """
        for queue in list(self._queues.values()):
            queue.expire()
        for name in list(self._full_queues):
            if name in self._waiting or self._is_full(name):
                continue
            self._full_queues.discard(name)
            now = self._queues.get(name)
            messages, size = (len(now), now.bytes) if now is not None else (0, 0)
            self.notify(Notice("queue has room", name, messages, size))

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
        name = _DEAD_LETTERS + queue.name.removeprefix(Kind.QUEUE.value)
        dead = Message(message.id, name, _for_ever(message.frame), message.reply_to)
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
                go_on = next(iter(waiting))
                del waiting[go_on]
                if not waiting:
                    del self._waiting[name]
                go_on()

    def _is_full(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and queue.is_full

    def _receivers(self, destination: str) -> list[tuple[Kind, str]]:
        """Give the destinations that a SEND means, once it is sure that it can have them all."""
        receivers = [(kind_of(name), name) for name in self._targets(destination)]
        if any(kind is Kind.TEMP_QUEUE for kind, _ in receivers):
            raise ProtocolError(
                "no such temporary queue",
                "Answer to the reply-to of the message you received, as it stands there.",
            )
        return receivers

    def _targets(self, destination: str) -> list[str]:
        """Give the destinations that a SEND means."""
        names = split_composite(destination) if "," in destination else [destination]
        if not any(name.startswith(Kind.PUBSUB.value) for name in names):
            return names
        targets: dict[str, None] = {}
        for name in names:
            if name.startswith(Kind.PUBSUB.value):
                queues = self._pubsub.get(name.removeprefix(Kind.PUBSUB.value))
                if queues is None:
                    raise ProtocolError(
                        "no such pubsub destination",
                        f"{name} has no line in the section [pubsub] of the server's settings.",
                    )
                targets.update(dict.fromkeys(queues))
            else:
                targets[name] = None
        return list(targets)

    def _publish_to_topic(self, name: str, message: Message) -> None:
        for observe in self.observers:
            observe(message)
        topics = self._routes.get(name)
        if topics is None:
            exact = self._topics.get(name)
            found = [] if exact is None else [exact]
            if self._has_patterns:
                found += [topic for topic in self._patterns.matching(name) if topic is not exact]
            topics = tuple(found)
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            self._routes[name] = topics
        for topic in topics:
            topic.publish(message)

    def _queue(self, name: str) -> Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = Queue(name, self.limits, self)
        return queue

    def _new_topic(self, name: str, max_backlog_bytes: int) -> Topic:
        topic = Topic(name, self.cork, partial(self._new_feed, max_backlog_bytes))
        if is_pattern(name):
            self._patterns.add(name, topic)
            self._has_patterns = True
        self._topics[name] = topic
        self._routes.clear()
        return topic

    def _new_feed(self, max_bytes: int, subscription: Subscription) -> Feed:
        return Feed(subscription, max_bytes, self.account, lambda: self.now)

    def _detach(self, subscription: Subscription) -> None:
        name = subscription.destination
        if kind_of(name) is Kind.QUEUE:
            self._queues[name].remove(subscription)
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


def _with_expires(frame: Frame, now: float) -> Frame:
    """Turn ``expiration``, in milliseconds from now, into ``expires`` beside it."""
    expires = str(int(now * 1000) + _time_to_live_ms(frame))
    return Frame(frame.command, {**frame.headers, "expires": expires}, frame.body)


def _time_to_live_ms(frame: Frame) -> int:
    text = frame.headers["expiration"]
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise ProtocolError(
            "expiration is not a number", "Give the time to live as whole milliseconds."
        )
    return int(text)


def _for_ever(frame: Frame) -> Frame:
    """Take away the end of its time: a dead letter waits until somebody looks at it."""
    if "expires" not in frame.headers:
        return frame
    headers = {k: v for k, v in frame.headers.items() if k not in ("expires", "expiration")}
    return Frame(frame.command, headers, frame.body)


def _nobody(_: Notice) -> None:
    """Who is told when nobody asked to know."""
