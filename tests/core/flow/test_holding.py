"""What is held for one client: counted in its limit and in the budget, and released at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Client, Server, clean_server, errors
from support.examples import examples

from rtchat.core.flow.holding import Holding
from rtchat.core.flow.memory import Budget
from rtchat.core.flow.outbound import Cork
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def held(client: Client) -> int:
    """Return what is held for a client."""
    return client.session.holding.bytes


# ---------------------------------------------------------------- alone


class Told:
    """A holder that counts how often it was told of too much."""

    def __init__(self) -> None:
        self.count = 0

    def too_much_held(self) -> None:
        """Count it."""
        self.count += 1

    def frame_incomplete(self) -> None:
        """Ignore it."""


def test_it_counts_in_the_budget_too_and_gives_all_back() -> None:
    budget = Budget(0)
    budget.used = 7
    holding = Holding(Cork(budget), 100, Told())
    holding.add(30)
    holding.add(-10)
    assert (holding.bytes, budget.used, budget.held) == (20, 27, 20)
    holding.release()
    holding.add(5)
    assert (budget.used, budget.held) == (7, 0)


def test_its_client_is_told_once_at_the_end_of_the_turn() -> None:
    cork, told = Cork(), Told()
    holding = Holding(cork, 100, told)
    with cork:
        holding.add(60)
        holding.add(60)
        holding.add(60)
        assert told.count == 0
    assert told.count == 1


def test_what_is_released_is_over_no_limit() -> None:
    cork, told = Cork(), Told()
    holding = Holding(cork, 100, told)
    with cork:
        holding.add(200)
        holding.release()
        holding.add(200)
    assert told.count == 0


# ---------------------------------------------------------------- what is held


def test_the_headers_of_an_incomplete_frame_are_held_as_well(server: Server) -> None:
    client = server.client()
    begun = held(client)
    head = b"SEND\ndestination:/topic/a\nx:%b\n\n" % (b"x" * 8000)
    client.send(head)
    assert held(client) - begun >= 8000
    assert client.line.begun_frames == 1, "its end is awaited"
    client.send(b"body")
    assert held(client) - begun >= 8000
    client.send(b"\0")
    assert held(client) == begun


def test_an_incomplete_frame_is_held_until_its_end(server: Server) -> None:
    client = server.client()
    size, begun = 300 * KIB, held(client)
    head = b"SEND\ndestination:/topic/a\ncontent-length:%d\n\n" % size
    for sent in range(0, size, 50 * KIB):
        client.send((b"" if sent else head) + bytes(50 * KIB))
        assert abs(held(client) - begun - sent - 50 * KIB) <= 4 * KIB
    client.send(b"\0")
    assert held(client) == begun


@pytest.mark.parametrize("data", [b"SEND\nx:" + b"x" * 7 * KIB, b"SEND\nx:1\n\n" + b"x" * 7 * KIB])
def test_any_part_of_a_frame_may_be_incomplete(server: Server, data: bytes) -> None:
    client = server.client()
    client.send(data)
    assert held(client) >= 7 * KIB
    client.drop()
    assert server.broker.budget.used == 0


def test_before_login_it_counts_as_well(server: Server) -> None:
    client = Client(server, None)
    client.send(b"CONNECT\n" + b"x:%b\n" % (b"y" * 6000) * 5)
    assert server.broker.budget.used >= 30_000


def test_a_parser_counts_nothing_of_small_frames() -> None:
    holding = Holding(Cork(), 0, Told())
    parser = FrameParser(Limits(), account=holding)
    for _ in range(10):
        parser.feed(b"CONNECT\nx:" + b"y" * 300)
        parser.next_frame()
        parser.feed(b"\n\n\0")
        parser.next_frame()
    assert holding.bytes == 0


def test_a_transaction_is_held_until_it_ends(server: Server) -> None:
    client = server.client()
    begun = held(client)
    client.say("BEGIN", transaction="t")
    client.publish("/topic/a", b"x" * 100 * KIB, transaction="t")
    assert held(client) - begun >= 100 * KIB
    client.say("ABORT", transaction="t")
    assert held(client) == begun


def test_a_frame_that_waits_is_held(server: Server) -> None:
    server.limit(max_queue_messages=1)
    client, taker = server.client(), server.client()
    begun = held(client)
    client.publish("/queue/a", b"1")
    client.publish("/queue/a", b"x" * 100 * KIB)
    assert held(client) - begun >= 100 * KIB
    taker.subscribe("/queue/a")
    assert held(client) == begun


@pytest.mark.parametrize("headers", [{}, {"x_stream_offset": "next"}])
def test_a_topic_keeps_no_message_that_waits_for_ack(
    server: Server, headers: dict[str, str]
) -> None:
    client, publisher = server.client(), server.client()
    client.subscribe("/topic/a", ack="client", **headers)
    begun = held(client)
    for _ in range(50):
        publisher.publish("/topic/a", b"x" * 50 * KIB)
    messages = client.messages()
    assert len(messages) == 50
    assert 50 * 64 <= held(client) - begun < 50 * 512
    client.ack(messages[19])
    assert 30 * 64 <= held(client) - begun < 30 * 512
    client.ack(messages[-1])
    assert held(client) == begun


@pytest.mark.parametrize("command", ["COMMIT", "ABORT"])
def test_an_ack_in_a_transaction_counts_once(server: Server, command: str) -> None:
    client = server.client()
    client.subscribe("/topic/a", ack="client-individual")
    begun = held(client)
    client.publish("/topic/a", b"1")
    delivered = held(client)
    message = client.message()
    client.say("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client.say(command, transaction="t")
    assert held(client) == (begun if command == "COMMIT" else delivered)


def test_what_waits_for_ack_is_held_for_all_subscriptions_together(server: Server) -> None:
    client, publisher = server.client(max_held_bytes=6 * MIB), server.client()
    for number in range(8):
        client.subscribe(
            f"/topic/{number}", f"{number}", ack="client", prefetch_count="1", x_slow="drop-oldest"
        )
    for number in range(8):
        for _ in range(20):
            publisher.publish(f"/topic/{number}", b"x" * 50 * KIB)
    [error] = errors(client.received()[-1:])
    assert error == f"too much: more than {6 * MIB} bytes held for this client"


def test_what_is_known_of_message_ids_is_held(server: Server) -> None:
    client, publisher = server.client(), server.client()
    client.subscribe("/topic/a", ack="client-individual")
    for _ in range(2000):
        publisher.publish("/topic/a", b"x")
    messages, begun = client.messages(), held(client)
    client.say("ACK", id=messages[0].headers["message-id"])
    assert held(client) - begun >= 2000 * 500
    for message in messages[1:]:
        client.ack(message)
    for _ in range(2000):
        publisher.publish("/topic/a", b"x")
        client.ack(client.message())
    assert held(client) < 2000 * 500


@pytest.mark.parametrize("end", ["ABORT", "COMMIT"])
def test_an_ack_in_a_transaction_is_held_no_longer_than_its_subscription(
    server: Server, end: str
) -> None:
    client, publisher = server.client(), server.client()
    client.say("SUBSCRIBE", id="once", destination="/topic/a")
    client.unsubscribe("once")
    begun = held(client)
    client.subscribe("/topic/a", "once", ack="client-individual")
    for _ in range(20):
        publisher.publish("/topic/a", b"x")
    client.say("BEGIN", transaction="t")
    for message in client.messages():
        client.ack(message, transaction="t")
    client.unsubscribe("once")
    client.say(end, transaction="t")
    assert held(client) == begun


def test_subscriptions_are_held_until_they_end(server: Server) -> None:
    client = server.client()
    begun = held(client)
    for number, destination in enumerate(["/topic/a", "/queue/a", "/topic/*.#", "/temp-queue/a"]):
        client.subscribe(destination, str(number))
        assert held(client) - begun >= 2048 * (number + 1)
    for number in range(4):
        client.unsubscribe(str(number))
    assert held(client) - begun < 2048, "beside the hashes of their ids"


def test_over_its_limit_a_client_is_told_which(server: Server) -> None:
    client = server.client(max_held_bytes=KIB, max_frame_bytes=KIB, max_header_bytes=128 * KIB)
    for number in range(1000):
        client.send(
            b"SUBSCRIBE\nid:%d\ndestination:/topic/%d%b\n\n\0" % (number, number, b"x" * 8000)
        )
        if client.line.closed:
            break
    [error] = client.received()
    assert error.headers["message"] == f"too much: more than {MIB + KIB} bytes held for this client"
    assert b"held.max_bytes" in error.body
    assert number < 80


# ---------------------------------------------------------------- whatever a client does

FRAMES = st.sampled_from(
    [
        ("SUBSCRIBE", {"destination": "/topic/a", "ack": "client"}),
        ("SUBSCRIBE", {"destination": "/topic/a"}),
        ("SUBSCRIBE", {"destination": "/topic/#", "ack": "client-individual"}),
        ("SUBSCRIBE", {"destination": "/queue/a", "ack": "client"}),
        ("SUBSCRIBE", {"destination": "/queue/b", "browser": "true", "ack": "client"}),
        ("SUBSCRIBE", {"destination": "/temp-queue/a"}),
        ("SUBSCRIBE", {"destination": "/topic/b", "x-slow": "latest", "selector": "a = 'b'"}),
        ("UNSUBSCRIBE", {}),
        ("SEND", {"destination": "/topic/a"}),
        ("SEND", {"destination": "/queue/a,/topic/b,/queue/b"}),
        ("SEND", {"destination": "/queue/b", "transaction": "t"}),
        ("SEND", {"destination": "/topic/a,/topic/b", "transaction": "t"}),
        ("BEGIN", {"transaction": "t"}),
        ("COMMIT", {"transaction": "t"}),
        ("ABORT", {"transaction": "t"}),
        ("ACK", {}),
        ("ACK", {"by": "message-id"}),
        ("ACK", {"transaction": "t"}),
        ("NACK", {}),
        ("half", {}),
        ("stall", {}),
        ("read on", {}),
    ]
)


@settings(max_examples=examples(100, 2000))
@given(st.lists(st.tuples(FRAMES, st.integers(0, 3), st.integers(0, 1)), max_size=60))
def test_after_any_stream_and_the_end_only_queues_hold_something(
    script: list[tuple[tuple[str, dict[str, str]], int, int]],
) -> None:
    server = Server()
    server.limit(max_queue_messages=5)
    clients = [server.client(max_held_bytes=2 * MIB, max_frame_bytes=MIB) for _ in range(2)]
    for (command, headers), number, which in script:
        client = clients[which]
        if client.line.closed:
            continue
        if command == "stall":
            client.stall()
        elif command == "read on":
            client.read_on()
        elif command == "half":
            client.send(b"SEND\ndestination:/topic/a\ncontent-length:99999\n\n" + bytes(9000))
        else:
            named = dict(headers)
            if command in ("SUBSCRIBE", "UNSUBSCRIBE"):
                named["id"] = str(number)
            if command in ("ACK", "NACK"):
                acks = [ack for one in client.session.subscriptions for ack in one.unacked]
                named["id"] = acks[number % len(acks)] if acks else "none"
            if named.pop("by", ""):
                named["id"] = named["id"].rsplit("@", 2)[0]
            client.say(command, b"x" * 5000 if command == "SEND" else b"", **named)
        for one in clients:
            assert held(one) <= one.session.holding.max_bytes or one.line.closed
    for client in clients:
        client.drop()
    broker = server.broker
    assert broker.budget.held == 0
    assert broker.budget.used == sum(
        queue.bytes + queue.cost_bytes for queue in broker.queues.values()
    )
