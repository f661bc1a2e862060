"""Many SENDs to a queue, or ACKs, in one read: what happens is what happens one by one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.core import Client, Server, bodies, clean_server, cut, errors, message_size
from support.stomp import frame_bytes

from rtchat.core.stomp.frames import Frame, Version

__all__: list[str] = []

Q = "/queue/a"
SENDS: tuple[dict[str, str], ...] = (
    {},
    {"x": "1"},
    {"priority": "9"},
    {"receipt": "r"},
    {"expires": "1"},
)


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def sends(*texts: str, **headers: str) -> bytes:
    """Return SENDs with the same head."""
    return b"".join(
        frame_bytes("SEND", text.encode(), destination=Q, content_length=str(len(text)), **headers)
        for text in texts
    )


def acks(*messages: Frame) -> bytes:
    """Return ACKs that say nothing else."""
    return b"".join(frame_bytes("ACK", id=message.headers["ack"]) for message in messages)


def publish(server: Server, *texts: str, **headers: str) -> Client:
    """Send all of it in one read."""
    publisher = server.client()
    publisher.send(sends(texts[0], **headers))  # the first time a head is only learned
    publisher.send(sends(*texts[1:], **headers))
    return publisher


# ---------------------------------------------------------------- SENDs


def test_a_run_is_dealt_out_in_turns(server: Server) -> None:
    workers = [server.client() for _ in range(3)]
    for worker in workers:
        worker.subscribe(Q)
    publish(server, *"abcdefgh")
    assert [worker.bodies() for worker in workers] == [["a", "d", "g"], ["b", "e", "h"], ["c", "f"]]
    publish(server, *"ij")
    assert [worker.bodies() for worker in workers] == [["j"], [], ["i"]]


def test_turns_go_on_beside_a_message_that_nobody_wants(server: Server) -> None:
    workers = [server.client() for _ in range(2)]
    for worker in workers:
        worker.subscribe(Q, selector="x = 'a'")
    publisher = server.client()
    publisher.send(sends("-", x="b"))
    for text in "1234":
        publisher.send(sends(text, x="a"))
    assert [worker.bodies() for worker in workers] == [["1", "3"], ["2", "4"]]
    publisher.send(sends(*"567", x="a"))
    assert [worker.bodies() for worker in workers] == [["5", "7"], ["6"]]


def test_who_has_no_credit_left_is_passed_over(server: Server) -> None:
    one, two, three = workers = [server.client() for _ in range(3)]
    one.subscribe(Q, ack="client-individual", prefetch_count="1")
    two.subscribe(Q, ack="client-individual", prefetch_count="3")
    three.subscribe(Q, ack="client-individual", prefetch_count="2")
    publish(server, *"abcdefgh")
    assert [worker.bodies() for worker in workers] == [["a"], ["b", "d", "f"], ["c", "e"]]
    assert server.size_of(Q) == 8


def test_the_only_one_with_credit_gets_all_it_may_have_and_is_the_last_then(server: Server) -> None:
    one, two = workers = [server.client() for _ in range(2)]
    for worker in workers:
        worker.subscribe(Q, ack="client-individual", prefetch_count="2")
    publish(server, *"abcdef")
    first, second = one.messages()
    assert (first.body, second.body) == (b"a", b"c")
    one.send(acks(first, second))
    both = one.messages()
    assert bodies(both) == ["e", "f"]
    one.send(acks(*both))
    two.send(acks(*two.messages()))
    publish(server, *"gh")
    assert [worker.bodies() for worker in workers] == [["h"], ["g"]]


def test_a_run_stops_where_the_queue_is_full(server: Server) -> None:
    server.limit(max_queue_messages=3)
    publisher = publish(server, *"abcdefg")
    assert publisher.is_waiting
    assert server.size_of(Q) == 3
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="2")
    first, second = worker.messages()
    assert server.size_of(Q) == 3
    worker.send(acks(first, second))
    assert server.size_of(Q) == 3
    assert worker.bodies() == ["c", "d"]
    server.clients.remove(worker)
    worker.drop()
    assert bodies(server.drain(Q)) == ["c", "d", "e", "f", "g"]
    assert not publisher.is_waiting


@pytest.mark.parametrize("over, taken", [(0, 3), (1, 4), (-1, 3)])
def test_a_run_stops_where_the_queue_s_bytes_are_full(
    server: Server, over: int, taken: int
) -> None:
    headers = {"destination": Q, "content-length": "1"}
    server.limit(max_queue_bytes=3 * message_size(headers, b"a") + over)
    publisher = publish(server, *"abcdefg")
    assert publisher.is_waiting
    assert server.size_of(Q) == taken
    assert bodies(server.drain(Q)) == list("abcdefg")


def test_a_run_that_just_fits_makes_nobody_wait(server: Server) -> None:
    server.limit(max_queue_messages=4)
    publisher = publish(server, *"abcd")
    assert not publisher.is_waiting
    publisher.send(sends("e"))
    assert publisher.is_waiting
    assert bodies(server.drain(Q)) == list("abcde")


# ---------------------------------------------------------------- ACKs


def test_many_acks_in_one_read_make_room_for_as_many(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="4")
    publish(server, *"abcdefghij")
    worker.send(acks(*worker.messages()))
    later = worker.messages()
    assert bodies(later) == list("efgh")
    # Not in the order of delivery, and not all of them.
    worker.send(acks(later[3], later[0], later[2]))
    assert worker.bodies() == ["i", "j"]
    assert server.size_of(Q) == 3
    worker.drop()
    assert bodies(server.drain(Q)) == ["f", "i", "j"]


def test_acks_of_several_subscriptions_may_be_mixed(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, "one", ack="client-individual", prefetch_count="3")
    worker.subscribe(Q, "two", ack="client", prefetch_count="3")
    publish(server, *"abcdef")
    a, _, c, d, e, _ = worker.messages()
    # d of "two" acknowledges b as well.
    worker.send(acks(a, d, e, c))
    assert worker.received() == []
    assert server.size_of(Q) == 1
    worker.drop()
    assert bodies(server.drain(Q)) == ["f"]


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_a_wrong_ack_among_many_is_refused_after_those_before_it(server: Server, ack: str) -> None:
    worker = server.client()
    worker.subscribe(Q, ack=ack)
    publish(server, *"abcdef")
    a, b, c, d, *_ = worker.messages()
    worker.send(acks(a, b, c) + frame_bytes("ACK", id="x") + acks(d))
    assert errors(worker.received()) == ["ACK for an unknown or already acknowledged delivery"]
    assert bodies(server.drain(Q)) == ["d", "e", "f"]


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_an_ack_that_comes_twice_among_many_changes_nothing(server: Server, ack: str) -> None:
    worker = server.client()
    worker.subscribe(Q, ack=ack)
    publish(server, *"abcdef")
    a, b, c, d, *_ = worker.messages()
    worker.send(acks(a, a, b, c, b, d, a))
    assert worker.received() == []
    worker.drop()
    assert bodies(server.drain(Q)) == ["e", "f"]


@pytest.mark.parametrize(
    "wrong", ["nonsense", "run-9@1.1", "@", "@1", "@1.", "run-1@1.01", "run-1@01.1", "x@9.1"]
)
def test_an_ack_id_that_was_not_given_out_is_refused_among_others(
    server: Server, wrong: str
) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client-individual")
    publish(server, *"ab")
    a, b = worker.messages()
    worker.send(acks(a, b) + frame_bytes("ACK", id=wrong))
    assert errors(worker.received()) == ["ACK for an unknown or already acknowledged delivery"]
    assert server.size_of(Q) == 0


def test_an_ack_is_not_blamed_for_the_one_after_it(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client-individual")
    publish(server, "a")
    good = frame_bytes("ACK", id=worker.message().headers["ack"], receipt="r1")
    worker.send(good + frame_bytes("ACK", id="bad"))
    receipt, error = worker.received()
    assert (receipt.command, receipt.headers["receipt-id"]) == ("RECEIPT", "r1")
    assert (error.command, "receipt-id" in error.headers) == ("ERROR", False)


def test_what_follows_acks_in_the_same_read_is_done_after_them(server: Server) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client-individual")
    publish(server, *"abc")
    a, b, c = worker.messages()
    receipt = frame_bytes("ACK", id=c.headers["ack"], receipt="r")
    worker.send(acks(a, b) + receipt + frame_bytes("DISCONNECT", receipt="bye"))
    assert worker.receipts() == ["r", "bye"]
    assert server.size_of(Q) == 0


# ---------------------------------------------------------------- however the reads are cut


def outcome(
    reads: list[bytes],
    version: Version,
    options: dict[str, str],
    *,
    most: int = 1000,
    acks_together: bool = True,
) -> tuple[list[tuple[str, str]], list[str], int]:
    """Return what a worker gets, the publisher's receipts, and how much is left of it."""
    with contextmanager(clean_server)() as server:
        server.limit(max_queue_messages=most)
        worker, publisher = server.client(version), server.client()
        worker.subscribe(Q, **options)
        for read in reads:
            publisher.send(read)
        got, left = [], worker.messages()
        while left:
            got += [(frame.headers["message-id"], frame.body.decode()) for frame in left]
            if options["ack"] == "auto":
                break
            told = [frame_bytes("ACK", **worker.naming(frame)) for frame in left]
            if options["ack"] == "client":
                del told[:-1]
            for read in [b"".join(told)] if acks_together else told:
                worker.send(read)
            left = worker.messages()
        return got, publisher.receipts(), server.size_of(Q)


options = st.builds(
    lambda ack, prefetch: {"ack": ack, "prefetch_count": str(prefetch)},
    st.sampled_from(["auto", "client", "client-individual"]),
    st.integers(0, 3),
)


@given(
    runs=st.lists(st.tuples(st.sampled_from(SENDS), st.integers(1, 6)), min_size=1, max_size=6),
    options=options,
    most=st.integers(1, 8),
    version=st.sampled_from(Version),
    places=st.lists(st.integers(1, 2000), max_size=6),
)
def test_however_a_publisher_s_reads_are_cut_a_worker_gets_the_same(
    runs: list[tuple[dict[str, str], int]],
    options: dict[str, str],
    most: int,
    version: Version,
    places: list[int],
) -> None:
    frames: list[bytes] = []
    for headers, times in runs:
        frames += [sends(f"{len(frames) + each:04}", **headers) for each in range(times)]
    data = b"".join(frames)
    reads = cut(data, *sorted({place for place in places if place < len(data)}))
    one_by_one = outcome(frames, version, options, most=most)
    assert outcome([data], version, options, most=most) == one_by_one
    assert outcome(reads, version, options, most=most) == one_by_one


@given(count=st.integers(1, 20), options=options, version=st.sampled_from(Version))
def test_acks_together_do_what_they_do_one_by_one(
    count: int, options: dict[str, str], version: Version
) -> None:
    reads = [sends(*(f"{number:04}" for number in range(count)))]
    together = outcome(reads, version, options)
    assert together == outcome(reads, version, options, acks_together=False)
    assert len(together[0]) == count
    assert together[2] == 0
