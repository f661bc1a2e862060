"""Other people's STOMP libraries take from queues, acknowledge, and ask one another.

Every test runs with every library that can do it: stomp.py in STOMP 1.1 and 1.2,
@stomp/stompjs over WebSocket, stompman over TCP and WebSocket, stomper over a plain socket.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from support.interop.peer import Peer
from support.interop.peers import PEERS, open_peer
from support.process import Server, free_port, tutorial_ini, until
from support.stomp import Frame
from support.wire import Wire

pytestmark = [pytest.mark.live]

TRIES = 3
_BROKER = f"""
[broker]
redelivery.max_count = {TRIES}
"""
_numbers = itertools.count()

# Each asks its neighbour, so that each asks once and answers once.
_IN_A_RING = list(zip(PEERS, [*list(PEERS)[1:], *list(PEERS)[:1]], strict=True))

every_library = pytest.mark.parametrize("library", PEERS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the module, which tries a message three times."""
    http, stomp = free_port(), free_port()
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, tutorial_ini(http, stomp, _BROKER), http=http, stomp=stomp)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"/queue/interop-{next(_numbers)}"


@pytest.fixture
def peer(server: Server, library: str) -> Iterator[Peer]:
    """A program that uses the library."""
    with open_peer(server, library) as peer:
        yield peer


@pytest.fixture
def judge(server: Server) -> Iterator[Wire]:
    """A client of our own that looks at what the server has done."""
    with Wire(server.stomp) as judge:
        judge.connect()
        yield judge


def settle(judge: Wire) -> list[Frame]:
    """Return what came for the judge, once the server has done all it was asked before."""
    judge.send("SEND\ndestination:/topic/nobody.listens.here\nreceipt:settled\n\n\0")
    frames = []
    while (frame := judge.frame()).headers.get("receipt-id") != "settled":
        frames.append(frame)
    return frames


def taken(judge: Wire, queue: str) -> list[tuple[str, bool]]:
    """Take all that waits in a queue; for each message its body and whether it is redelivered."""
    judge.send(f"SUBSCRIBE\nid:look\ndestination:{queue}\n\n\0")
    judge.send("UNSUBSCRIBE\nid:look\n\n\0")
    return [(frame.body.decode(), "redelivered" in frame.headers) for frame in settle(judge)]


def fill(judge: Wire, queue: str, *bodies: str) -> None:
    for body in bodies:
        judge.publish(queue, body)
    settle(judge)


# ---------------------------------------------------------------- receipts


@every_library
def test_a_receipt_comes_after_its_effect(server: Server, peer: Peer, queue: str) -> None:
    before = server.health()
    for number in range(1, 4):  # Perl's library loses the body "0"
        peer.send_confirmed(queue, str(number))
        assert server.health()["queued_messages"] == before["queued_messages"] + number
    peer.subscribe(queue)
    assert server.health()["subscriptions"] == before["subscriptions"] + 1
    assert peer.bodies(3) == ["1", "2", "3"]
    peer.unsubscribe()
    assert server.health()["subscriptions"] == before["subscriptions"]
    peer.leave()
    assert server.health()["queues"] == before["queues"]
    assert peer.errors.empty()


# ---------------------------------------------------------------- acknowledgements


@every_library
def test_client_individual_acknowledges_one_by_one(peer: Peer, judge: Wire, queue: str) -> None:
    fill(judge, queue, "a", "b", "c")
    peer.subscribe(queue, ack="client-individual")
    messages = [peer.message() for _ in range(3)]
    peer.ack(messages[1])
    peer.settle()
    peer.leave()
    assert taken(judge, queue) == [("a", True), ("c", True)]
    assert peer.errors.empty()


@every_library
def test_client_acknowledges_all_up_to_the_message(peer: Peer, judge: Wire, queue: str) -> None:
    fill(judge, queue, "a", "b", "c", "d")
    peer.subscribe(queue, ack="client")
    messages = [peer.message() for _ in range(4)]
    peer.ack(messages[2])
    peer.settle()
    peer.leave()
    assert taken(judge, queue) == [("d", True)]
    assert peer.errors.empty()


@every_library
def test_a_message_acknowledged_twice_is_no_error(peer: Peer, judge: Wire, queue: str) -> None:
    fill(judge, queue, "a", "b")
    peer.subscribe(queue, ack="client-individual")
    messages = [peer.message() for _ in range(2)]
    peer.ack(messages[0])
    peer.ack(messages[0])
    peer.ack(messages[1])
    peer.settle()
    peer.leave()
    assert taken(judge, queue) == []
    assert peer.errors.empty()


@pytest.mark.parametrize(
    "library", [name for name in PEERS if PEERS[name].can_acknowledge_after_unsubscribe]
)
def test_a_worker_finishes_its_jobs_after_unsubscribe(peer: Peer, judge: Wire, queue: str) -> None:
    fill(judge, queue, "a", "b", "c")
    peer.subscribe(queue, ack="client-individual")
    messages = [peer.message() for _ in range(3)]
    peer.unsubscribe()
    assert taken(judge, queue) == [], "they are still the worker's"
    peer.ack(messages[0])
    peer.ack(messages[2])
    peer.settle()
    peer.leave()
    assert taken(judge, queue) == [("b", True)]
    assert peer.errors.empty()


# ---------------------------------------------------------------- negative acknowledgements


@every_library
def test_a_nack_brings_the_message_back_and_then_to_the_dead_letters(
    peer: Peer, judge: Wire, queue: str
) -> None:
    fill(judge, queue, "poison")
    peer.subscribe(queue, ack="client-individual")
    for number in range(TRIES):
        message = peer.message()
        assert message.body == "poison"
        assert message.is_redelivered == (number > 0)
        if number:
            assert message.headers["x-delivery-count"] == str(number)
        peer.nack(message)
    peer.expect_silence()
    assert taken(judge, queue.replace("/queue/", "/queue/DLQ.")) == [("poison", False)]
    assert peer.errors.empty()


@pytest.mark.parametrize("library", [name for name in PEERS if PEERS[name].can_refuse_for_good])
def test_a_nack_that_refuses_for_good(peer: Peer, judge: Wire, queue: str) -> None:
    fill(judge, queue, "poison", "food")
    peer.subscribe(queue, ack="client-individual")
    poison, food = peer.message(), peer.message()
    peer.nack(poison, requeue=False)
    peer.ack(food)
    peer.expect_silence()
    assert taken(judge, queue.replace("/queue/", "/queue/DLQ.")) == [("poison", False)]
    assert taken(judge, queue) == []


# ---------------------------------------------------------------- prefetch


@every_library
def test_prefetch_count_holds_back_what_is_too_much(peer: Peer, judge: Wire, queue: str) -> None:
    fill(judge, queue, *"abcde")
    peer.subscribe(queue, ack="client-individual", prefetch_count="2")
    first, second = peer.message(), peer.message()
    assert (first.body, second.body) == ("a", "b")
    peer.expect_silence()
    peer.ack(second)
    third = peer.message()
    assert third.body == "c"
    peer.expect_silence()
    peer.ack(first)
    peer.ack(third)
    assert peer.bodies(2) == ["d", "e"]
    peer.expect_silence()


def test_libraries_compete_for_the_messages_of_one_queue(
    server: Server, judge: Wire, queue: str
) -> None:
    each = 20
    with ExitStack() as stack:
        peers = [stack.enter_context(open_peer(server, library)) for library in PEERS]
        for peer in peers:
            peer.subscribe(queue, ack="client-individual", prefetch_count="1")
        total = each * len(peers)
        for number in range(total):
            judge.publish(queue, str(number))
        got: dict[Peer, list[int]] = {peer: [] for peer in peers}

        def everything_came() -> bool:
            for peer in peers:
                while not peer.messages.empty():
                    message = peer.messages.get()
                    assert not message.is_redelivered
                    got[peer].append(int(message.body))
                    peer.ack(message)
            return sum(map(len, got.values())) == total

        until("delivery of every message", everything_came, 30, lambda: f"{got}")
        for peer in peers:
            peer.settle()
    numbers = sorted(number for own in got.values() for number in own)
    assert numbers == list(range(total)), "each message goes to one consumer, once"
    for peer, own in got.items():
        assert own == sorted(own), f"{type(peer).__name__} got them out of order"
        assert own, f"{type(peer).__name__} got none"


# ---------------------------------------------------------------- transactions


@every_library
def test_what_is_sent_in_a_transaction_appears_at_its_commit(
    peer: Peer, judge: Wire, queue: str
) -> None:
    judge.subscribe(queue)
    peer.begin("t")
    peer.send(queue, "one", transaction="t")
    peer.send(queue, "two", transaction="t")
    peer.send(queue, "outside")
    peer.settle()
    assert [frame.body for frame in settle(judge)] == [b"outside"]
    peer.commit("t")
    peer.settle()
    assert [frame.body for frame in settle(judge)] == [b"one", b"two"]


@every_library
def test_what_is_sent_in_an_aborted_transaction_never_appears(
    peer: Peer, judge: Wire, queue: str
) -> None:
    judge.subscribe(queue)
    peer.begin("t")
    peer.send(queue, "never", transaction="t")
    peer.abort("t")
    peer.begin("t-2")
    peer.send(queue, "now", transaction="t-2")
    peer.commit("t-2")
    peer.settle()
    assert [frame.body for frame in settle(judge)] == [b"now"]


@pytest.mark.parametrize(
    "library", [name for name in PEERS if PEERS[name].can_acknowledge_in_transactions]
)
def test_what_is_acknowledged_in_a_transaction_is_so_at_its_commit(
    peer: Peer, judge: Wire, queue: str
) -> None:
    answers = f"{queue}-answers"
    fill(judge, queue, "a", "b", "c")
    peer.subscribe(queue, ack="client-individual", prefetch_count="1")
    # Aborted: nothing was sent and the message still waits for its acknowledgement.
    message = peer.message()
    peer.begin("t-1")
    peer.send(answers, "lost", transaction="t-1")
    peer.ack(message, transaction="t-1")
    peer.expect_silence()
    peer.abort("t-1")
    peer.expect_silence()
    # Committed: both at once, and the next message comes.
    peer.begin("t-2")
    peer.ack(message, transaction="t-2")
    peer.send(answers, "done", transaction="t-2")
    peer.commit("t-2")
    message = peer.message()
    assert message.body == "b"
    # Left open: gone with the connection.
    peer.begin("t-3")
    peer.ack(message, transaction="t-3")
    peer.send(answers, "gone", transaction="t-3")
    peer.settle()
    peer.leave()
    assert taken(judge, answers) == [("done", False)]
    assert taken(judge, queue) == [("b", True), ("c", False)]
    assert peer.errors.empty()


# ---------------------------------------------------------------- request and reply


@pytest.mark.parametrize("library,answering", _IN_A_RING)
def test_one_library_asks_and_another_answers(
    server: Server, peer: Peer, answering: str, queue: str
) -> None:
    with open_peer(server, answering) as service:
        service.subscribe(queue)
        peer.listen_for_answers("answers")
        for number in range(3):
            peer.ask(queue, f"question {number}", "answers")
            question = service.message()
            assert question.body == f"question {number}"
            address = question.headers["reply-to"]
            assert address != "/temp-queue/answers", "everybody could guess the address"
            service.answer(question, f"answer {number}")
            answer = peer.message()
            assert answer.body == f"answer {number}"
            assert answer.headers["correlation-id"] == f"about question {number}"
            if not peer.needs_a_subscription_for_answers:
                assert answer.headers["subscription"] == "/temp-queue/answers"
        service.expect_silence()
        peer.expect_silence()
        peer.leave()
        # The requester is gone: the answer is dropped, and that is no error.
        service.answer(question, "too late")
        service.settle()
        assert service.errors.empty()


# ---------------------------------------------------------------- heart-beats


@pytest.mark.slow
def test_heart_beats_keep_every_library_alive_both_ways(server: Server) -> None:
    with ExitStack() as stack:
        begun_s = time.monotonic()
        peers = [
            stack.enter_context(open_peer(server, library, heartbeat_ms=1000))
            for library in PEERS
            if PEERS[library].has_heartbeats
        ]
        # Both sides cut after a silence of two seconds or so; neither says anything else.
        until(
            "fifth heart-beat for each",
            lambda: all(peer.heartbeats >= 5 for peer in peers),
            20,
            lambda: f"{[(type(peer).__name__, peer.heartbeats) for peer in peers]}",
        )
        assert time.monotonic() - begun_s > 3.2, "heart-beats came faster than was agreed"
        for peer in peers:
            peer.settle()
            assert peer.connections == 1, f"{type(peer).__name__} had to connect again"
            assert peer.errors.empty()
    assert "nothing received for" not in server.log()


# ---------------------------------------------------------------- reconnecting


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_every_library_comes_back_after_a_restart(serve: Callable[..., Server], way: str) -> None:
    server = serve()
    with ExitStack() as stack:
        peers = [
            stack.enter_context(open_peer(server, library, comes_back=True)) for library in PEERS
        ]
        with Wire(server.stomp) as judge:
            judge.connect()
            for number, peer in enumerate(peers):
                peer.subscribe(f"/queue/{number}", ack="client-individual")
                judge.publish(f"/queue/{number}", "before")
                assert peer.message().body == "before"
        if way == "stopped":
            server.stop()
            for peer in peers:
                assert peer.errors.empty()
        else:
            server.kill()
        server.start()
        until(
            "every library's second connection",
            lambda: all(peer.connections >= 2 for peer in peers),
            30,
            lambda: f"{[(type(peer).__name__, peer.connections) for peer in peers]}",
        )
        until("every subscription", lambda: server.health()["subscriptions"] == len(peers), 10)
        with Wire(server.stomp) as judge:
            judge.connect()
            for number, peer in enumerate(peers):
                judge.publish(f"/queue/{number}", "after")
                message = peer.message()
                assert (message.body, message.is_redelivered) == ("after", False)
                peer.ack(message)
                peer.settle()
        assert server.health()["queued_messages"] == 0, "an acknowledgement was not taken"
        errors = {
            type(peer).__name__: [
                error for error in peer.errors.queue if error not in peer.errors_of_coming_back
            ]
            for peer in peers
        }
        assert not any(errors.values()), errors
