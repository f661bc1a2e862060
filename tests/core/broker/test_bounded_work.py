"""What one client does costs the same, however much others hold; what takes long goes on later.

Calls are counted, and the work that a turn says it has done: both are the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from support.calls import calls
from support.core import Client, Server, clean_server, errors
from support.stomp import frame_bytes
from support.work import each_turn

from rtchat.core.broker import selection
from rtchat.core.broker.encoder import selectable_headers
from rtchat.core.broker.message import Message
from rtchat.core.broker.rights import Rights
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame, Version

Q = "/queue/a"
MIB = 1024 * 1024
MOST_WORK = TURN_WORK + 1000
"""What a turn may do: the last thing that it begins may be more than what is left."""


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


a_server = contextmanager(clean_server)


def frames(*many: tuple[str, dict[str, str]]) -> bytes:
    return b"".join(frame_bytes(command, b"", **headers) for command, headers in many)


def growth(measure: Callable[[int], int], few: int = 50, many: int = 1000) -> float:
    """Return how many times as many calls there are with many as with few."""
    return measure(many) / measure(few)


# ---------------------------------------------------------------- selectors


def test_a_message_s_headers_are_read_once_for_all_selectors(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        client = server.client()
        ack = "client" if number % 2 else "auto"
        client.subscribe("/topic/t", selector=f"n <> {number}", ack=ack)
    read = []

    def counted(message: Message) -> Any:
        read.append(message.id)
        return selectable_headers(message)

    monkeypatch.setattr(selection, "selectable_headers", counted)
    server.client().publish("/topic/t", "x", n="7")
    assert len(read) == 1


def test_the_selectors_of_a_session_have_a_limit_together(server: Server) -> None:
    client = server.client(max_selector_steps=100)
    clause = " AND ".join(["n = 1"] * 6)  # 23 steps
    for number in range(4):
        client.subscribe("/topic/t", str(number), selector=clause)
    client.unsubscribe("1")
    client.subscribe("/temp-queue/t", "1", selector=clause)
    client.unsubscribe("1")
    client.subscribe("/topic/t", "1", selector=clause)
    [error] = client.ask("SUBSCRIBE", id="4", destination="/topic/t", selector=clause)
    assert errors([error]) == ["selectors over the limit of 100 steps"]
    assert b"selector.max_steps" in error.body
    assert client.close_reason is CloseReason.LIMIT


@pytest.mark.parametrize(
    "selector",
    [
        " OR ".join(f"h LIKE '%{'a' * (n % 40)}b%'" for n in range(150)),
        " OR ".join(["h LIKE '%a_b%'"] * 200),
        " + ".join(["h"] * 500) + " > 0",
    ],
    ids=["LIKE", "LIKE with _", "sums"],
)
def test_a_thousand_long_selectors_are_refused(server: Server, selector: str) -> None:
    client = server.client()
    number = 0
    while client.close_reason is None and number < 1000:
        number += 1
        client.say("SUBSCRIBE", id=str(number), destination="/topic/t", selector=selector)
    assert client.close_reason is CloseReason.LIMIT
    assert number - 1 <= 30_000 // server.broker.selectors.get(selector).steps


def test_equal_selectors_are_one(server: Server) -> None:
    clients = [server.client() for _ in range(3)]
    for client in clients:
        client.subscribe("/topic/t", selector="n = 1")
    assert len(server.broker.selectors) == 1
    for client in clients:
        client.drop()
    assert len(server.broker.selectors) == 0


def test_a_selector_counts_as_work(server: Server) -> None:
    selector = " OR ".join(["h LIKE '%a%'"] * 200)
    client = server.client()
    work = each_turn(server)
    client.subscribe("/topic/t", selector=selector)
    assert max(work) >= len(selector)
    work.clear()
    server.client().publish("/topic/t", "x", h="b" * 8000)
    assert max(work) >= 300


@pytest.mark.parametrize("kind", ["consumer", "browser"])
def test_a_search_in_a_long_queue_goes_on_in_later_turns(server: Server, kind: str) -> None:
    publisher = server.client()
    for number in range(3000):
        publisher.publish(Q, str(number), n=str(number))
    work = each_turn(server)
    client = server.client()
    more = {"browser": "true"} if kind == "browser" else {}
    client.subscribe(Q, selector="n >= 2998", **more)
    assert client.bodies()[:2] == ["2998", "2999"]
    assert len([one for one in work if one >= TURN_WORK]) > 5
    assert max(work) < MOST_WORK
    client.drop()
    server.drain(Q)


# ---------------------------------------------------------------- rights


def test_what_has_to_be_found_out_about_rights_counts_as_work(server: Server) -> None:
    client = server.client()
    client.session.rights = Rights(lambda name: True, lambda name: True, 300)
    work = each_turn(server)
    client.subscribe("/topic/a")
    assert max(work) > 300
    work.clear()
    client.publish("/topic/a,/topic/b,/topic/c", "x")
    assert max(work) > 900
    work.clear()
    client.publish("/topic/a,/topic/b,/topic/c", "x")
    assert max(work) < 300  # it is known
    with server.broker.turn as cork:
        client.session.change_rights(Rights(lambda name: True, lambda name: True, 500))
        assert cork.work >= 500
    client.received()
    client.drop()


# ---------------------------------------------------------------- acknowledgements


def holder(server: Server, count: int, ack: str) -> tuple[Client, list[Frame]]:
    """Return a client with deliveries, and these."""
    publisher = server.client()
    for _ in range(count):
        publisher.publish(Q, "x")
    publisher.drop()
    client = server.client()
    client.subscribe(Q, ack=ack)
    return client, client.messages()


@pytest.mark.parametrize("ack", ["client", "client-individual"])
@pytest.mark.parametrize("ending", ["ABORT", "COMMIT"])
def test_the_end_of_a_transaction_costs_what_it_has(ack: str, ending: str) -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            client, messages = holder(server, count, ack)
            for message in messages[:3]:
                client.send(
                    frames(
                        ("BEGIN", {"transaction": "t"}),
                        ("ACK", {"transaction": "t", **client.naming(message)}),
                    )
                )
                taken = calls(lambda: client.say(ending, transaction="t"))
                if ending == "ABORT":
                    client.ack(message)
        return taken

    assert growth(measure) < 1.2


def test_what_was_given_back_is_acknowledged_before_what_came_later(server: Server) -> None:
    client, messages = holder(server, 9, "client")
    for name, place in ("t", 2), ("u", 4), ("v", 5):
        client.say("BEGIN", transaction=name)
        client.ack(messages[place], transaction=name)
    for name in "uvt":  # neither the order of the messages nor its opposite
        client.say("ABORT", transaction=name)
    [subscription] = client.session.subscriptions
    assert subscription.pending == 9
    client.ack(messages[3])
    assert subscription.pending == 5
    client.say("BEGIN", transaction="t")
    client.ack(messages[6], transaction="t")
    assert (subscription.pending, subscription.reserved) == (2, 3)
    client.drop()
    assert [frame.headers["message-id"] for frame in server.drain(Q)] == [
        frame.headers["message-id"].partition("@")[0] for frame in messages[4:]
    ]


@pytest.mark.parametrize("named", [False, True])
def test_an_ack_by_message_id_costs_the_same_with_many_subscriptions(named: bool) -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            client = server.client()
            for number in range(count):
                client.subscribe(f"/queue/{number}", str(number), ack="client-individual")
                server.client().publish(f"/queue/{number}", "x")
            first, last, *_ = (m.headers for m in reversed(client.messages()))
            client.say("ACK", id=first["message-id"])
            more = {"subscription": last["subscription"]} if named else {}
            taken = calls(lambda: client.say("ACK", id=last["message-id"], **more))
            assert server.broker.statistics.queued_count == count - 2
        return taken

    assert growth(measure, 20, 400) < 1.2


@pytest.mark.parametrize("is_run", [False, True])
def test_the_first_ack_by_message_id_takes_several_turns_with_many_deliveries(
    server: Server, is_run: bool
) -> None:
    client, messages = holder(server, 3000, "client-individual")
    names = [message.headers["message-id"].partition("@")[0] for message in messages[:40]]
    wanted = [{"id": name} for name in names]
    if is_run:  # the first of them by its own id, so the index is needed in the middle
        wanted[0] = client.naming(messages[0])
    work = each_turn(server)
    client.send(frames(*(("ACK", headers) for headers in wanted)))
    assert max(work) < MOST_WORK
    assert len(work) > 3
    assert server.size_of(Q) == 3000 - len(wanted)
    [receipt] = client.ask("ACK", id=names[1], receipt="r")
    assert receipt.command == "RECEIPT"


def test_the_index_of_message_ids_is_cleaned_in_parts(server: Server) -> None:
    client, messages = holder(server, 3000, "client-individual")
    publisher = server.client()
    client.say("ACK", id=messages[0].headers["message-id"].partition("@")[0])
    for message in messages[1:]:
        client.ack(message)
    work = each_turn(server)
    index = client.session.subscriptions._message_ids
    assert index is not None
    for _ in range(3000):
        publisher.publish(Q, "x")
        client.ack(client.message())
    assert len(index._places) < 5000
    assert max(work) < 500


def test_a_message_that_a_transaction_gave_back_is_found_by_its_id_at_once() -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            client, messages = holder(server, count, "client-individual")
            name = messages[1].headers["message-id"].partition("@")[0]
            client.say("BEGIN", transaction="t")
            client.say("ACK", id=name, transaction="t")
            client.say("ABORT", transaction="t")
            taken = calls(lambda: client.say("ACK", id=name))
            assert server.size_of(Q) == count - 1
        return taken

    assert growth(measure) < 1.2


@pytest.mark.parametrize("what", ["ACK", "NACK", "SEND"])
def test_consumers_without_credit_cost_nothing(what: str) -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            publisher, messages = server.client(), []
            for _ in range(count):
                client = server.client()
                client.subscribe(Q, ack="client-individual", prefetch_count="1")
                publisher.publish(Q, "x")
                messages.append(client.message())
            publisher.publish(Q, "more")
            publisher.publish(Q, "more")
            if what == "SEND":
                taken = calls(lambda: publisher.publish(Q, "x"))
            else:
                taken = calls(lambda: client.say(what, id=messages[-1].headers["ack"]))
                assert len(client.messages()) == 1
        return taken

    assert growth(measure, 10, 200) < 1.2


def test_a_nack_costs_the_same_however_much_waits() -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            publisher = server.client()
            for _ in range(count):
                publisher.publish(Q, "x")
            client = server.client()
            client.subscribe(Q, ack="client-individual", prefetch_count="1")
            level = server.broker.queues[Q]._ready._levels[0]
            before = level.entries
            [message] = client.messages()
            taken = calls(lambda: client.nack(message))
            assert level.entries is before, "all that waits was copied"
        return taken

    assert growth(measure, 20, 1000) < 1.2


# ---------------------------------------------------------------- subscriptions


@pytest.mark.parametrize("version", [Version.V10, Version.V12])
def test_temporary_queues_are_found_without_a_look_at_all(version: Version) -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            client = server.client(version)
            for number in range(count):
                name = f"/temp-queue/{number}{'x' * 200}"
                client.publish("/queue/q", "x", reply_to=name)
            taken = calls(lambda: client.subscribe("/topic/t", "s"))
            taken += calls(lambda: client.unsubscribe("s"))
        return taken

    assert growth(measure, 10, 400) < 1.2


def test_subscriptions_that_have_ended_are_not_looked_at_by_each_end() -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            client = server.client(max_of_destination=1000)
            for number in range(count):
                client.subscribe(Q, str(number), ack="client-individual", prefetch_count="1")
                server.client().publish(Q, "x")
            for number in range(count - 1):
                client.unsubscribe(str(number))
            taken = calls(lambda: client.unsubscribe(str(count - 1)))
            taken += calls(lambda: client.subscribe("/topic/t", "s"))
        return taken

    assert growth(measure, 10, 300) < 1.2


@pytest.mark.parametrize("targets", [1, 3])
def test_each_destination_of_a_send_counts_in_a_transaction(server: Server, targets: int) -> None:
    client = server.client(max_transaction_actions=6)
    client.say("BEGIN", transaction="t")
    names = ",".join(f"/topic/{number}" for number in range(targets))
    for _ in range(6 // targets):
        client.publish(names, "x", transaction="t")
    assert client.close_reason is None
    client.publish(names, "x", transaction="t")
    assert errors(client.received()) == ["more than 6 actions in a transaction"]


# ---------------------------------------------------------------- full queues


def test_a_send_to_a_full_queue_does_not_look_at_all_who_wait() -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            server.limit(max_queue_messages=2)
            publisher = server.client()
            for _ in range(2):
                publisher.publish(Q, "x")
            waiting = []
            for number in range(count):
                client = server.client()
                client.subscribe(f"/queue/own{number}", ack="client", prefetch_count="1")
                publisher.publish(f"/queue/own{number}", "job")
                client.publish(Q, "next")
                assert client.is_waiting
                waiting.append(client)
            client = server.client()
            client.subscribe(Q, ack="client")
            taken = calls(lambda: client.publish(Q, "one more"))
            assert not client.is_waiting
            for one in waiting:
                one.drop()
                server.drain(f"/queue/own{waiting.index(one)}")
        return taken

    assert growth(measure, 10, 200) < 1.2


def test_those_who_waited_for_a_queue_go_on_in_several_turns(server: Server) -> None:
    server.limit(max_queue_messages=1000)
    publisher = server.client()
    for _ in range(1000):
        publisher.publish(Q, "x")
    waiting = [server.client() for _ in range(600)]
    for number, client in enumerate(waiting):
        client.publish(Q, str(number))
    assert all(client.is_waiting for client in waiting)
    work = each_turn(server)
    taker = server.client()
    taker.subscribe(Q)
    assert not any(client.is_waiting for client in waiting)
    assert taker.bodies()[1000:] == [str(number) for number in range(600)]
    assert len([one for one in work if one >= TURN_WORK]) >= 2
    assert max(work) < MOST_WORK


# ---------------------------------------------------------------- expiry


def test_a_second_costs_the_same_with_many_queues() -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            publisher = server.client()
            for number in range(count):
                publisher.publish(f"/queue/{number}", "x")
                publisher.publish(f"/queue/{number}", "x", expires="999999999999")
            taken = calls(server.expire)
            for number in range(count):
                server.drain(f"/queue/{number}")
        return taken

    assert growth(measure, 10, 300) < 1.2


@pytest.mark.parametrize("queues", [1, 3000])
def test_what_expires_at_once_goes_in_several_turns(server: Server, queues: int) -> None:
    publisher = server.client()
    for number in range(6000):
        publisher.publish(f"/queue/{number % queues}", "x", expiration="5000")
    server.advance(6)
    work = each_turn(server)
    server.expire()
    assert not server.broker.queues
    assert max(work) < MOST_WORK
    assert len(work) > 2
    assert len(server.broker.expiry) == 0


def test_a_consumer_of_a_queue_of_what_has_expired_takes_several_turns(server: Server) -> None:
    publisher = server.client()
    for number in range(6000):
        publisher.publish(Q, str(number), expiration="5000")
    publisher.publish(Q, "stays")
    server.advance(6)
    work = each_turn(server)
    client = server.client()
    client.subscribe(Q)
    assert client.bodies() == ["stays"]
    assert server.size_of(Q) == 0
    assert max(work) < MOST_WORK
    assert len(work) > 2


def test_what_came_and_went_leaves_no_trace_of_its_expiry(server: Server) -> None:
    publisher, taker = server.client(), server.client()
    publisher.publish(Q, "stays", expires="999999999999")
    for number in range(2000):
        publisher.publish(Q, "x", expires=str(999_999_000_000 - 2000 * number))
        taker.subscribe(Q, selector="expires < 999999999999")
        taker.unsubscribe()
    expiry = server.broker.expiry
    assert len(expiry._seconds) <= 2 * len(expiry._by_second) + 1024
    expiring = server.broker.queues[Q]._expiring
    assert expiring is not None
    assert len(expiring._heap) < 100
    server.drain(Q)
    assert len(expiry) == 0


def test_a_message_that_comes_back_expires_all_the_same(server: Server) -> None:
    server.client().publish(Q, "x", expiration="5000")
    client = server.client()
    client.subscribe(Q, ack="client")
    server.advance(6)
    server.expire()
    assert server.size_of(Q) == 1
    client.drop()
    server.expire()
    assert server.size_of(Q) == 0


# ---------------------------------------------------------------- compression


class Compressing:
    """Frames messages as they are, and notes the sizes of those that it would have compressed."""

    def __init__(self) -> None:
        self.compressed: list[int] = []

    def wrap(self, data: bytes) -> bytes:
        self.compressed.append(len(data))
        return data

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        return None

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        return None if may_compress else b""


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_a_large_message_is_compressed_only_as_far_as_the_turn_has_time(
    server: Server, ack: str
) -> None:
    framing = Compressing()
    clients = [Client(server, framing=framing) for _ in range(20)]
    for number, client in enumerate(clients):
        client.subscribe("/topic/t", str(number % 8), ack=ack)
    publisher = server.client(max_frame_bytes=4 * MIB)
    for size, most in (1000, 20), (30_000, 20), (MIB, 0), (4 * MIB, 0):
        framing.compressed.clear()
        publisher.publish("/topic/t", b"x" * size)
        assert sum(framing.compressed) >> 6 < TURN_WORK
        assert min(most, 8) <= len(framing.compressed) <= most
        assert all(len(client.messages()) == 1 for client in clients)


# ---------------------------------------------------------------- the end of a session


def end_in_turns(server: Server, client: Client) -> list[int]:
    """Lose a client; return the work of each turn that this takes."""
    cork = server.broker.cork
    cork.work = 0
    client.session.lost()
    work = [cork.work]
    cork.flush()
    while cork.later:
        cork.run_later()
        work.append(cork.work)
        cork.flush()
    return work


def holder_of(server: Server, count: int, *queues: str, **options: str) -> Client:
    """Return a client that holds so many deliveries of each queue, all of them."""
    client, publisher = server.client(), server.client()
    for queue in queues:
        client.subscribe(queue, queue, ack="client-individual", **options)
        for start in range(0, count, 100):
            sends = (("SEND", {"destination": queue, "n": str(start + n)}) for n in range(100))
            publisher.send(frames(*sends))
    assert len(client.messages()) == count * len(queues)
    return client


@pytest.mark.parametrize("waiting", [0, 1, 5])
def test_the_end_of_a_session_with_very_many_deliveries_takes_its_turns(
    server: Server, waiting: int
) -> None:
    client = holder_of(server, 9900, Q)
    others = [server.client() for _ in range(waiting)]
    for other in others:
        other.subscribe(Q, ack="client-individual")
    work = end_in_turns(server, client)
    assert len(work) > 5
    assert max(work[1:]) <= MOST_WORK + 1000
    assert work[0] <= MOST_WORK + 9900 // 2
    last = others or [server.client()]
    if not others:
        last[0].subscribe(Q, ack="client-individual")
    messages = [other.messages() for other in last]
    numbers = [[int(one.headers["n"]) for one in some] for some in messages]
    assert sum(map(len, numbers)) == 9900
    assert all(some == sorted(some) for some in numbers)
    assert all(one.headers["redelivered"] == "true" for some in messages for one in some)


def test_what_comes_meanwhile_is_delivered_and_the_rest_keeps_its_order(server: Server) -> None:
    client, other = holder_of(server, 5000, Q), server.client()
    other.subscribe(Q)
    client.session.lost()
    server.broker.cork.flush()
    assert server.broker.cork.later
    assert other.messages() == []
    publisher = server.client()  # its turn lets the others go on
    publisher.publish(Q, "", n="5000")
    numbers = [int(one.headers["n"]) for one in other.messages()]
    assert sorted(numbers) == list(range(5001))
    assert [n for n in numbers if n != 5000] == list(range(5000))


def test_the_end_of_a_session_with_deliveries_of_many_queues_takes_its_turns(
    server: Server,
) -> None:
    queues = [f"/queue/{n}" for n in range(20)]
    client = holder_of(server, 500, *queues)
    work = end_in_turns(server, client)
    assert len(work) > 5
    assert max(work) <= MOST_WORK + 1000
    assert all(server.size_of(queue) == 500 for queue in queues)
    numbers = [int(one.headers["n"]) for one in server.drain(queues[7])]
    assert numbers == list(range(500))
    for queue in queues:
        server.drain(queue)


def test_those_that_failed_too_often_are_rejected_in_turns_as_well(server: Server) -> None:
    server.limit(max_deliveries=1)
    queues = [f"/queue/{n}" for n in range(30)]
    client = holder_of(server, 100, *queues)
    assert max(end_in_turns(server, client)) <= MOST_WORK
    for queue in queues:
        assert [one.headers["n"] for one in server.drain(f"/queue/DLQ.{queue[7:]}")] == ["0"]
        assert len(server.drain(queue)) == 99


def test_a_session_may_end_while_what_another_held_comes_back(server: Server) -> None:
    first, second = holder_of(server, 4000, Q), server.client()
    second.subscribe(Q, ack="client")
    first.session.lost()
    server.broker.cork.flush()
    assert server.broker.cork.later
    second.session.lost()
    server.end_turn()
    numbers = [int(one.headers["n"]) for one in server.drain(Q)]
    assert numbers == list(range(4000))


def test_a_client_that_reads_fast_empties_a_queue_in_turns(server: Server) -> None:
    client, publisher = server.client(), server.client()
    for _ in range(50):
        publisher.send(frames(*[("SEND", {"destination": Q})] * 100))
    client.session.receive(frames(("SUBSCRIBE", {"id": "0", "destination": Q})))
    cork = server.broker.cork
    cork.flush()
    assert cork.later
    assert 0 < len(client.messages()) < 2500
    server.end_turn()
    assert server.size_of(Q) == 0


@pytest.mark.parametrize("destination", ["/topic/a", "/topic/a.*", "/topic/%", Q, "/queue/%"])
def test_the_end_of_a_subscription_costs_the_same_however_many_there_are(destination: str) -> None:
    def measure(count: int) -> int:
        with a_server() as server:
            client = server.client(max_of_destination=count)
            for number in range(count):
                client.subscribe(destination.replace("%", str(number)), str(number))
            total = 0
            for number in range(count):
                total += _steps(lambda n=number: client.unsubscribe(str(n)))  # type: ignore[misc]
            return total

    assert growth(measure, 30, 300) < 13


def _steps(work: Callable[[], object]) -> int:
    """Return how many lines of the broker's own code were executed."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event in ("line", "call")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
