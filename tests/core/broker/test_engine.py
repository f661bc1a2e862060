"""The seam for many nodes: an engine of ten lines carries messages, in its own time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from support.core import Client, Server, errors

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.engine import Completion, EngineStorage, LocalEngine
from rtchat.core.broker.message import Message
from rtchat.core.broker.provider import DestinationProvider, Refuse, Target
from rtchat.core.broker.router import QueueTarget
from rtchat.core.broker.subscription import Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError


class Slow:
    """Carries messages when the test says so."""

    is_local = False

    def __init__(self) -> None:
        self.interests: list[str] = []
        self.carried: list[tuple[Message, Completion]] = []

    def interest(self, name: str) -> None:
        self.interests.append(name)

    def no_interest(self, name: str) -> None:
        self.interests.remove(name)

    def publish(self, message: Message, completion: Completion) -> None:
        self.carried.append((message, completion))


class Node(Server):
    """A server with an engine."""

    def __init__(self) -> None:
        self.engine = Slow()
        super().__init__(Broker("run", engine=self.engine))

    def carry(self, problem: ProtocolError | None = None) -> None:
        """Let the oldest message arrive at every node, this one too."""
        message, completion = self.engine.carried.pop(0)
        if problem is None:
            self.broker.publishing.received(message)
        completion(problem)
        self.end_turn()


@pytest.fixture
def node() -> Node:
    return Node()


def receipts(client: Client) -> list[str]:
    return client.receipts()


def test_the_engine_learns_what_this_node_wants(node: Node) -> None:
    one, other = node.client(), node.client()
    one.subscribe("/topic/a")
    other.subscribe("/topic/a")
    other.subscribe("/topic/*", "1")
    assert node.engine.interests == ["/topic/a", "/topic/*"]
    one.drop()
    assert node.engine.interests == ["/topic/a", "/topic/*"]
    other.drop()
    assert node.engine.interests == []


def test_a_message_is_delivered_and_confirmed_once_it_was_carried(node: Node) -> None:
    reader, client = node.client(), node.client()
    reader.subscribe("/topic/*")
    client.say("SEND", "x", destination="/topic/a", receipt="r")
    assert (reader.messages(), receipts(client)) == ([], [])
    node.carry()
    assert (reader.bodies(), receipts(client)) == (["x"], ["r"])


def test_receipts_keep_their_order(node: Node) -> None:
    client = node.client()
    client.say("SEND", "x", destination="/topic/a", receipt="1")
    client.say("SEND", "y", destination="/topic/b", receipt="2")
    client.say("SEND", "z", destination="/queue/c", receipt="3")
    assert receipts(client) == []
    node.carry()
    assert receipts(client) == ["1"]
    node.carry()
    assert receipts(client) == ["2", "3"]


def test_a_message_that_cannot_be_carried_ends_the_session(node: Node) -> None:
    client = node.client()
    client.say("SEND", "x", destination="/topic/a", receipt="r")
    node.carry(ProtocolError("cluster cannot be reached"))
    frames: list[Frame] = client.received()
    assert errors(frames) == ["cluster cannot be reached"]
    assert frames[0].headers["receipt-id"] == "r"


def test_queues_stay_with_their_node(node: Node) -> None:
    client = node.client()
    client.publish("/queue/a", "x")
    assert node.engine.carried == []
    assert node.size_of("/queue/a") == 1


def test_a_commit_takes_effect_when_its_last_message_was_carried(node: Node) -> None:
    client = node.client()
    client.say("BEGIN", transaction="t")
    for name in ("/topic/a", "/queue/b", "/topic/c"):
        client.publish(name, "x", transaction="t")
    client.say("COMMIT", transaction="t", receipt="r")
    node.carry()
    assert (node.size_of("/queue/b"), receipts(client)) == (0, [])
    node.carry()
    assert (node.size_of("/queue/b"), receipts(client)) == (1, ["r"])


class Instant(Slow):
    """Carries messages at once."""

    broker: Broker

    def publish(self, message: Message, completion: Completion) -> None:
        self.broker.publishing.received(message)
        completion(None)


@pytest.fixture
def instant() -> Server:
    engine = Instant()
    engine.broker = Broker("run", engine=engine)
    return Server(engine.broker)


def test_an_engine_may_answer_at_once(instant: Server) -> None:
    reader, client = instant.client(), instant.client()
    reader.subscribe("/topic/a")
    client.say("SEND", "1", destination="/topic/a", receipt="1")
    client.say("SEND", "2", destination="/topic/a,/topic/b", receipt="2")
    client.say("BEGIN", transaction="t")
    client.say("SEND", "3", destination="/topic/a", transaction="t")
    client.say("COMMIT", transaction="t", receipt="3")
    client.say("SEND", "4", destination="/topic/a", receipt="4")
    assert (client.receipts(), reader.bodies()) == (list("1234"), list("1234"))
    assert not client.is_waiting


def test_a_commit_whose_messages_have_expired_has_its_other_effects(node: Node) -> None:
    client = node.client()
    node.advance(1)
    client.say("BEGIN", transaction="t")
    client.say("SEND", "x", destination="/topic/a", transaction="t", expires="1")
    client.say("SEND", "y", destination="/queue/b", transaction="t")
    client.say("COMMIT", transaction="t", receipt="r")
    assert (receipts(client), node.size_of("/queue/b")) == (["r"], 1)
    assert node.engine.carried == []
    assert not client.is_waiting


class Elsewhere(DestinationProvider):
    """Stores what is sent to its topics in a place of its own."""

    claims = Glob(("/topic/kept*",))

    def __init__(self) -> None:
        self.storage = EngineStorage(Slow(), Cork())

    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        return {}

    def unsubscribe(self, subscription: Subscription) -> None:
        pass

    def target(self, name: str) -> Target:
        target = QueueTarget(name, lambda *_: pytest.fail("delivered"))
        target.storage = self.storage
        return target


@pytest.mark.parametrize("is_transaction", [False, True])
def test_two_storages_cannot_promise_all_or_nothing(node: Node, is_transaction: bool) -> None:
    node.broker.add_provider(Elsewhere())
    client = node.client()
    if is_transaction:
        client.say("BEGIN", transaction="t")
        for name in ("/topic/kept", "/queue/c", "/topic/a"):
            client.say("SEND", "x", destination=name, transaction="t")
        client.say("COMMIT", transaction="t", receipt="r")
    else:
        client.say("SEND", "x", destination="/topic/kept,/queue/c,/topic/a", receipt="r")
    assert errors(client.received()) == ["destinations that are stored in different places"]
    assert (node.engine.carried, node.size_of("/queue/c")) == ([], 0)


def test_one_node_carries_nothing() -> None:
    engine, done = LocalEngine(), list[ProtocolError | None]()
    engine.interest("/topic/a")
    engine.no_interest("/topic/a")
    engine.publish(Message("1", "/topic/a", Frame("SEND")), done.append)
    assert (engine.is_local, done) == (True, [None])
