"""Several clients at one broker, doing anything in any order, garbage included.

The broker is compared with a model after every step. No step may raise: a client that breaks
the protocol gets an ERROR and is closed.
"""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from support.core import Client, RecordingOutbound, cut
from support.examples import examples
from support.stomp import frame_bytes

from rtchat.core.broker.broker import Broker
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits

LIMITS = Limits(max_subscriptions=4, max_frame_bytes=200, max_headers=8, max_header_bytes=60)
TOPICS = st.sampled_from(["/topic/a", "/topic/b", "/topic/c"])
IDS = st.sampled_from(["0", "1", "a b", "ü", "4", "5"])
BODIES = st.binary(max_size=40)

PIECES = [
    *(b"CONNECT\naccept-version:1.2\n\n\0", b"SEND\ndestination:/topic/a\n\nx\0", b"\n", b"\0"),
    *(b"SUBSCRIBE\nid:1\ndestination:/topic/b\n\n\0", b"UNSUBSCRIBE\nid:1\n\n\0", b"\n\n", b":"),
    *(b"SUBSCRIBE\nid:a\rb\ndestination:/topic/a\n\n\0", b"DISCONNECT\nreceipt:1\n\0", b"\r\n"),
    *(b"SUBSCRIBE\nid:a b\ndestination:/topic/a\n\n\0", b"SEND\n", b"destination:/queue/a\n"),
    *(b"SUBSCRIBE\ndestination:/topic/c\n\n\0", b"UNSUBSCRIBE\ndestination:/topic/c\n\n\0"),
    *(b"content-length:3\n\n", b"\\", b"\xff", b"x" * 70, b"receipt:\\c\n", b"ACK\nid:1\n\n\0"),
    *(b"SEND\ndestination:/topic/a\n\\n:1\nmessage-id :2\n\n\0", b"\rMESSAGE\n", b"a:b\n" * 5),
]
GARBAGE = st.one_of(
    st.binary(min_size=1, max_size=80),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map(b"".join),
)


@dataclass(eq=False)
class Known:
    """A client, and what the model knows of it.

    Attributes:
        topics: The destination of each subscription, by id.
        is_clean: Whether it sent whole, valid frames only, so that the model knows everything.
        is_open: Whether the server should still talk to it.
    """

    client: Client
    topics: dict[str, str] = field(default_factory=dict)
    is_clean: bool = True
    is_open: bool = True

    def is_over(self) -> None:
        self.is_open = False
        self.topics.clear()


class ManySessions(RuleBasedStateMachine):
    clients = Bundle("clients")

    @initialize(target=clients, versions=st.lists(st.sampled_from(Version), max_size=4))
    def begin(self, versions: list[Version]) -> object:
        self.broker = Broker("epoch")
        self.known: list[Known] = []
        return multiple(*map(self.make, versions))

    def make(self, version: Version | None) -> Known:
        known = Known(Client(self.broker, version, LIMITS), is_clean=version is not None)
        self.known.append(known)
        known.client.received()
        return known

    def say(self, known: Known, data: bytes) -> None:
        """Let a client send bytes in two reads; garbage may have left half a frame before."""
        place = len(data) // 2
        for chunk in cut(data, place):
            known.client.send(chunk)

    @rule(target=clients, version=st.sampled_from([None, *Version]))
    def connect(self, version: Version | None) -> Known:
        return self.make(version)

    @rule(known=clients, topic=TOPICS, subscription_id=IDS)
    def subscribe(self, known: Known, topic: str, subscription_id: str) -> None:
        self.say(known, frame_bytes("SUBSCRIBE", id=subscription_id, destination=topic))
        if not (known.is_clean and known.is_open):
            return
        if subscription_id in known.topics or len(known.topics) == LIMITS.max_subscriptions:
            self.sees_error(known)
        else:
            known.topics[subscription_id] = topic

    @rule(known=clients, subscription_id=IDS)
    def unsubscribe(self, known: Known, subscription_id: str) -> None:
        self.say(known, frame_bytes("UNSUBSCRIBE", id=subscription_id))
        if not (known.is_clean and known.is_open):
            return
        if known.topics.pop(subscription_id, None) is None:
            self.sees_error(known)

    @rule(known=clients, topic=TOPICS, body=BODIES)
    def publish(self, known: Known, topic: str, body: bytes) -> None:
        self.hear_all()
        length = str(len(body))
        frame = frame_bytes("SEND", body, destination=topic, content_length=length, receipt="r")
        self.say(known, frame)
        if not (known.is_clean and known.is_open):
            return
        for other in self.known:
            received = other.client.received()
            if other is known:
                assert received.pop() == Frame("RECEIPT", {"receipt-id": "r"})
            if other.is_clean:
                assert all(
                    (message.command, message.body, message.headers["destination"])
                    == ("MESSAGE", body, topic)
                    for message in received
                )
                assert Counter(message.headers["subscription"] for message in received) == Counter(
                    key for key, name in other.topics.items() if name == topic
                )

    @rule(known=clients, data=GARBAGE)
    def send_garbage(self, known: Known, data: bytes) -> None:
        known.is_clean = False
        self.say(known, data)

    @rule(known=clients, body=st.binary(min_size=201, max_size=220))
    def send_too_much(self, known: Known, body: bytes) -> None:
        length = str(len(body))
        self.say(known, frame_bytes("SEND", body, destination="/topic/a", content_length=length))
        if known.is_clean and known.is_open:
            self.sees_error(known)
            assert known.client.close_reason is CloseReason.LIMIT

    @rule(known=clients)
    def disconnect(self, known: Known) -> None:
        self.say(known, frame_bytes("DISCONNECT"))
        if known.is_clean and known.is_open:
            assert known.client.close_reason is CloseReason.DONE
            known.is_over()

    @rule(known=consumes(clients))
    def lose(self, known: Known) -> None:
        known.client.session.lost()
        self.broker.cork.flush()
        known.is_over()
        assert known.client.session.is_closed

    @rule(known=clients)
    def shut_down(self, known: Known) -> None:
        known.client.session.shut_down()
        self.broker.cork.flush()
        assert known.client.session.is_closed
        known.is_over()

    def sees_error(self, known: Known) -> None:
        assert known.client.received()[-1].command == "ERROR"
        assert known.client.session.is_closed
        known.is_over()

    def hear_all(self) -> None:
        """See that everything the server said so far can be read."""
        for known in self.known:
            known.client.received()

    @invariant()
    def the_broker_knows_as_many_subscriptions_as_the_model(self) -> None:
        for known in self.known:
            session = known.client.session
            if known.is_clean:
                assert len(session.subscriptions) == len(known.topics)
                assert session.is_closed is not known.is_open
        counted = sum(len(known.client.session.subscriptions) for known in self.known)
        assert self.broker.statistics.subscription_count == counted

    @invariant()
    def a_closed_session_has_no_subscriptions_and_was_closed_once(self) -> None:
        for known in self.known:
            assert len(known.client.line.closed) <= 1
            if known.client.session.is_closed:
                assert len(known.client.session.subscriptions) == 0

    @invariant()
    def there_are_no_topics_without_subscribers(self) -> None:
        assert self.broker.statistics.topic_count <= self.broker.statistics.subscription_count

    @invariant()
    def nothing_is_left_to_send_after_a_turn(self) -> None:
        assert (self.broker.cork.outbounds, self.broker.cork.groups) == ({}, {})
        assert all(not known.client.outbound.pending for known in self.known)

    def teardown(self) -> None:
        """Everyone goes; nothing may be left."""
        if not hasattr(self, "broker"):
            return
        self.hear_all()
        for known in self.known:
            known.client.session.lost()
        self.broker.cork.flush()
        assert (self.broker.statistics.subscription_count, self.broker.statistics.topic_count) == (
            0,
            0,
        )
        assert (self.broker.cork.outbounds, self.broker.cork.groups) == ({}, {})


TestManySessions = ManySessions.TestCase
TestManySessions.settings = settings(
    max_examples=examples(60, 1000), stateful_step_count=40, deadline=None
)


def test_lost_sessions_are_forgotten() -> None:
    """2000 clients say anything at all and go; the broker still works and holds none of them."""
    say = random.Random(20261122)
    broker = Broker("epoch")
    gone: list[weakref.ref[RecordingOutbound]] = []
    for number in range(2000):
        client = Client(broker, say.choice([None, *Version]), replace(LIMITS, max_headers=5))
        for _ in range(say.randrange(6)):
            client.send(b"".join(say.choices([*PIECES, say.randbytes(20)], k=4)))
        if number % 2:
            client.say("DISCONNECT")
        client.session.lost()
        broker.cork.flush()
        gone.append(weakref.ref(client.outbound))
    del client
    gc.collect()
    assert [ref for ref in gone if ref() is not None] == []
    assert (broker.statistics.subscription_count, broker.statistics.topic_count) == (0, 0)
    assert (broker.cork.outbounds, broker.cork.groups) == ({}, {})
    survivor = Client(broker)
    survivor.subscribe("/topic/a")
    survivor.publish("/topic/a", b"still here")
    assert [frame.body for frame in survivor.received()] == [b"still here"]


def test_publishers_with_ever_new_headers_do_not_fill_the_memory() -> None:
    broker = Broker("epoch")
    publisher = Client(broker, Version.V12)
    for number in range(5000):
        publisher.publish("/topic/a", b"x", key=str(number))
    heads = broker.heads.of(Version.V12)
    assert 0 < len(heads) <= broker.heads.max_heads
