"""A turn ends: who sends much in one read is served in parts, and nothing else is different.

Work is counted twice: in the units that the code itself counts, and in calls of Python functions,
which nothing can leave out.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.core import Client, Listener, Server, clean_server, errors
from support.examples import examples
from support.stomp import frame_bytes

from rtchat.core.flow.turns import TURN_WORK, Turns
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.limits import Limits

READ_BYTES = 96 * 1024
"""The most that one read brings."""

MOST_CALLS = 8 * TURN_WORK
"""So many calls of functions a turn may have: several take a microsecond."""

MOST_OVER = 1100 + 1024
"""The work of the frame that ends a turn, and of sending a MiB of output in the middle of it."""

SENT_WORK = 1024
"""The work of sending a MiB in the middle of a turn, if a frame has caused that much."""


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def calls_of(work: Callable[[], object]) -> int:
    """Do the work; return how many calls of functions it took."""
    count = 0

    def seen(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    gc.disable()  # what other tests have left would end here, and count
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


class Alone(Turns):
    """Turns of which each is in a round of its own, so that none is short."""

    __slots__ = ()

    def note(self, work: int) -> None:
        """Leave the length of turns as it is."""


class Turned(Client):
    """A client whose reads are cut into turns by hand.

    Attributes:
        most_calls: How many calls the longest turn took.
        most_work: The work of the longest turn.
        reads: How many reads it sent.
        max_work: The work of a turn.
    """

    most_calls = most_work = reads = 0
    max_work = TURN_WORK

    def __init__(self, server: Server, limits: Limits | None = None) -> None:
        server.broker.cork.turns = Alone()
        super().__init__(server, limits=limits)

    def read(self, data: bytes) -> None:
        """Let the server read these bytes, and go on until all is done."""
        cork = self.broker.cork
        for start in range(0, len(data), READ_BYTES):
            chunk = data[start : start + READ_BYTES]
            self.reads += 1
            self._take_turn(partial(self.session.receive, chunk))
            while self.line.has_more or cork.later:
                if self.line.has_more:
                    self.line.has_more = False
                    self._take_turn(self.session.resume)
                if cork.later:
                    self._take_turn(cork.run_later)
        assert cork.work == 0

    def _take_turn(self, work: Callable[[], object]) -> None:
        cork = self.broker.cork
        cork.turns.max_work = self.max_work

        def turn() -> None:
            work()
            self.most_work = max(self.most_work, cork.work)
            cork.flush()

        self.most_calls = max(self.most_calls, calls_of(turn))

    def assert_short(self, more: int = 0) -> None:
        """Make sure that no turn was long."""
        assert self.most_work <= TURN_WORK + MOST_OVER + more
        assert self.most_calls <= MOST_CALLS


# ---------------------------------------------------------------- one by one


def many(count: int, command: str, body: str = "", /, **headers: str) -> bytes:
    """Return frames; in the values of headers, ``%`` is the number of the frame."""
    return b"".join(
        frame_bytes(
            command, body.encode(), **{k: v.replace("%", str(n)) for k, v in headers.items()}
        )
        for n in range(count)
    )


def test_begin_and_abort_without_end(server: Server) -> None:
    client = Turned(server)
    pair = frame_bytes("BEGIN", transaction="t") + frame_bytes("ABORT", transaction="t")
    client.read(pair * 4000 + frame_bytes("BEGIN", transaction="t", receipt="end"))
    assert client.receipts() == ["end"]
    assert client.line.turns > 10
    client.assert_short()


def test_subscriptions_by_the_thousand(server: Server) -> None:
    client = Turned(server)
    client.read(many(1000, "SUBSCRIBE", id="%", destination="/topic/%.#"))
    client.read(many(1000, "UNSUBSCRIBE", id="%"))
    assert client.line.turns > 10
    client.assert_short()


def test_a_thousand_patterns_of_64_wildcards_and_new_names(server: Server) -> None:
    server.limit(max_shared_pattern_steps=100_000)
    client = Turned(server)
    words = [[("*", "#", "a")[(n >> bit % 10) % 3] for bit in range(63)] for n in range(1000)]
    patterns = dict.fromkeys("/topic/" + ".".join(each) for each in words)
    client.read(
        b"".join(
            frame_bytes("SUBSCRIBE", id=str(n), destination=pattern)
            for n, pattern in enumerate(patterns)
        )
    )
    name = "/topic/" + ".".join("a" * 62)
    client.read(many(50, "SEND", destination=f"{name}.%"))
    client.read(frame_bytes("SEND", destination="/topic/end", receipt="end"))
    assert "end" in client.receipts()
    # A search and its messages are one frame, so a turn may be longer by that.
    assert client.most_work <= TURN_WORK + 1000 * (64 + 4)
    for number in range(len(patterns)):
        client.unsubscribe(str(number))


def test_many_groups_of_one_topic(server: Server) -> None:
    client = Turned(server, limits=Limits(max_of_destination=500))
    client.read(many(500, "SUBSCRIBE", id="%", destination="/topic/a"))
    for head in ({"content_length": "1"}, {}):
        client.read(many(60, "SEND", "x", destination="/topic/a", **head))
    assert len(client.messages()) == 2 * 60 * 500
    client.assert_short()


def test_acknowledgements_in_one_read(server: Server) -> None:
    client = Turned(server)
    client.subscribe("/queue/a", ack="client-individual")
    client.read(many(2000, "SEND", "x", destination="/queue/a"))
    messages = client.messages()
    assert len(messages) == 2000
    client.read(b"".join(frame_bytes("ACK", id=one.headers["ack"]) for one in messages))
    assert server.size_of("/queue/a") == 0
    assert client.line.turns > 2
    client.assert_short()


def test_a_run_of_sends_with_the_same_head_is_one_turn(server: Server) -> None:
    client, listener = Turned(server), server.client()
    listener.subscribe("/topic/a")
    client.read(many(500, "SEND", "x", destination="/topic/a", content_length="1"))
    assert client.line.turns == 0
    assert len(listener.messages()) == 500


# ---------------------------------------------------------------- a COMMIT


GROUPS = 100
SENDS = 300


def reader_of(server: Server, destination: str, count: int = GROUPS) -> Client:
    """Return a client with many subscriptions of one topic, each of which costs work."""
    client = server.client(max_of_destination=count)
    for number in range(count):
        client.subscribe(destination, str(number))
    return client


def transaction(count: int, destination: str = "/topic/a", receipt: str = "done") -> bytes:
    """Return a transaction of so many SENDs."""
    head = {"destination": destination, "transaction": "t"}
    sends = b"".join(frame_bytes("SEND", str(n).encode(), **head) for n in range(count))
    begin = frame_bytes("BEGIN", transaction="t")
    end = {"receipt": receipt} if receipt else {}
    return begin + sends + frame_bytes("COMMIT", transaction="t", **end)


def begin_commit(server: Server, count: int = SENDS, after: bytes = b"") -> Client:
    """Return a client whose COMMIT has begun: the rest is for its next turns."""
    client = Turned(server)
    client.line.session = None
    data = transaction(count) + after
    commit = data.index(b"COMMIT")
    client.read(data[:commit])
    assert not client.line.has_more
    client.session.receive(data[commit:])
    server.broker.cork.flush()
    assert client.line.has_more
    return client


def test_a_commit_takes_its_turns(server: Server) -> None:
    reader, client = reader_of(server, "/topic/a"), Turned(server)
    client.read(transaction(SENDS))
    assert client.receipts() == ["done"]
    texts = [body for n in range(SENDS) for body in [str(n)] * GROUPS]
    assert reader.bodies() == texts
    assert client.line.turns > 20
    client.assert_short(SENT_WORK)


def test_a_commit_for_queues_takes_its_turns(server: Server) -> None:
    client = Turned(server)
    names = ",".join(f"/queue/{n}" for n in range(16))
    client.read(transaction(64, names))
    assert client.receipts() == ["done"]
    assert all(server.size_of(name) == 64 for name in names.split(","))
    assert client.line.turns > 1
    client.assert_short()


def test_a_commit_of_acknowledgements_takes_its_turns(server: Server) -> None:
    client = Turned(server)
    client.subscribe("/queue/a", ack="client-individual")
    client.read(many(1000, "SEND", "x", destination="/queue/a"))
    ids = [one.headers["ack"] for one in client.messages()]
    acks = [frame_bytes("NACK", id=each, transaction="t") for each in ids]
    client.read(frame_bytes("BEGIN", transaction="t") + b"".join(acks))
    client.read(frame_bytes("COMMIT", transaction="t", receipt="done"))
    frames = client.received()
    assert frames[-1].command == "RECEIPT"
    assert len(frames) == 1 + 1000
    client.assert_short()


def test_others_are_served_in_the_middle_of_a_commit(server: Server) -> None:
    reader = reader_of(server, "/topic/a")
    client = begin_commit(server)
    client.line.has_more = False  # the harness would go on at once
    server.client().publish("/topic/a", "between")
    texts = reader.bodies()
    assert texts[-GROUPS:] == ["between"] * GROUPS
    assert 0 < len(texts) < 30 * GROUPS
    client.line.has_more = True
    server.end_turn()
    rest = [str(n) for n in range(len(texts) // GROUPS - 1, SENDS) for _ in range(GROUPS)]
    assert reader.bodies() == rest
    assert client.receipts() == ["done"]


def test_what_comes_after_a_commit_waits_for_its_end(server: Server) -> None:
    reader = reader_of(server, "/topic/a")
    client = begin_commit(server, after=many(1, "SEND", "after", destination="/topic/a"))
    client.session.receive(many(1, "SEND", "last", destination="/topic/a"))
    server.end_turn()
    texts = reader.bodies()
    assert texts[::GROUPS] == [*map(str, range(SENDS)), "after", "last"]
    assert not client.is_waiting


@pytest.mark.parametrize("how", ["drop", "shut_down", "error"])
def test_a_client_that_ends_in_the_middle_of_a_commit_loses_nothing(
    server: Server, how: str
) -> None:
    reader = reader_of(server, "/topic/a")
    client = begin_commit(server)
    server.broker.cork.later.clear()
    used = server.broker.budget.used
    if how == "drop":
        client.session.lost()
    elif how == "shut_down":
        client.session.shut_down()
    else:
        client.session.replace()
    assert server.broker.budget.used > used - 100_000, "what waits is counted"
    work = []
    cork = server.broker.cork
    while cork.later:
        cork.work = 0
        cork.run_later()
        work.append(cork.work)
        cork.flush()
    assert max(work) <= TURN_WORK + MOST_OVER + SENT_WORK
    assert len(work) > 20
    assert reader.bodies()[::GROUPS] == [str(n) for n in range(SENDS)]
    assert "done" not in client.receipts()


def test_what_a_commit_has_yet_to_do_counts_towards_the_memory(server: Server) -> None:
    reader_of(server, "/topic/a")
    client = begin_commit(server)
    held = [client.session.holding.bytes]
    while client.line.has_more:
        client.line.has_more = False
        client.session.resume()
        server.broker.cork.flush()
        held.append(client.session.holding.bytes)
    assert held[0] > 0.9 * SENDS * 640
    assert held == sorted(held, reverse=True)
    assert held[-1] == 0


def test_a_bug_in_the_middle_of_a_commit_stops_nothing_else(
    server: Server,
) -> None:
    server.broker.events.add(Listener(lambda message: 1 / (message.frame.body != b"200")))
    reader = reader_of(server, "/topic/a")
    client = begin_commit(server)
    client.session.lost()
    cork, bugs = server.broker.cork, 0
    while cork.later:
        try:
            cork.run_later()
        except ZeroDivisionError:
            bugs += 1
        cork.flush()
    assert bugs == 1
    assert reader.bodies()[-1] == str(SENDS - 1)


def test_a_full_queue_is_looked_at_once_for_all_of_a_transaction(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.limit(max_queue_messages=5)
    client = server.client()
    client.subscribe("/queue/a", ack="client-individual")
    client.send(many(5, "SEND", "x", destination="/queue/a"))
    looks = []
    full_queues = server.broker.full_queues
    must_wait = type(full_queues).must_wait

    def counted(*arguments: Any) -> bool:
        looks.append(arguments)
        return must_wait(*arguments)

    monkeypatch.setattr(type(full_queues), "must_wait", counted)
    client.send(transaction(500, "/queue/a,/queue/b"))
    assert server.size_of("/queue/a") == 505
    assert len(looks) == 1


# ---------------------------------------------------------------- what happens meanwhile


def flood(receipt: str = "") -> bytes:
    more = frame_bytes("SEND", destination="/topic/a", receipt=receipt) if receipt else b""
    return many(1000, "SUBSCRIBE", id="%", destination="/topic/%") + more


def begin_flood(server: Server, receipt: str = "") -> Client:
    """Return a client that has had its first turn, and has more to do."""
    client = server.client()
    client.session.receive(flood(receipt)[:READ_BYTES])
    server.broker.cork.flush()
    assert client.line.has_more
    assert client.is_waiting
    return client


def test_others_are_served_between_two_turns(server: Server) -> None:
    other, client = server.client(), begin_flood(server)
    subscribed = server.broker.statistics.subscription_count
    client.line.has_more = False  # the harness would go on at once
    other.subscribe("/topic/b", "b")
    other.publish("/topic/b", "x")
    assert other.bodies() == ["x"]
    assert server.broker.statistics.subscription_count == subscribed + 1
    client.line.has_more = True
    server.end_turn()
    assert server.broker.statistics.subscription_count == 1000 + 1


def test_what_comes_meanwhile_waits_behind(server: Server) -> None:
    client = begin_flood(server)
    client.session.receive(frame_bytes("UNSUBSCRIBE", id="999", receipt="last"))
    assert client.received() == []
    server.end_turn()
    assert client.receipts() == ["last"]
    assert not client.line.closed


def test_a_connection_may_be_lost_meanwhile(server: Server) -> None:
    client = begin_flood(server)
    client.drop()
    assert server.broker.statistics.subscription_count == 0
    assert not client.session.is_waiting


def test_the_server_may_stop_meanwhile(server: Server) -> None:
    client = begin_flood(server)
    client.session.shut_down()
    server.end_turn()
    assert client.close_reason is CloseReason.SHUTDOWN
    assert server.broker.statistics.subscription_count == 0


def test_an_error_later_in_the_read_ends_it(server: Server) -> None:
    client = Turned(server)
    client.read(many(500, "SUBSCRIBE", id="%", destination="/topic/%") + b"NONSENSE\n\n\0" * 500)
    assert len(errors(client.received())) == 1
    assert client.close_reason is CloseReason.PROTOCOL
    assert server.broker.statistics.subscription_count == 0


def test_a_frame_that_has_to_wait_waits_also_after_a_turn(server: Server) -> None:
    server.limit(max_queue_messages=3)
    client, consumer = server.client(), server.client()
    client.send(
        many(200, "SUBSCRIBE", id="%", destination="/topic/%")
        + many(5, "SEND", "%", destination="/queue/a", receipt="%")
    )
    assert client.line.turns > 0
    assert client.receipts() == ["0", "1", "2"]
    assert client.is_waiting
    assert not client.line.has_more
    consumer.subscribe("/queue/a")
    assert len(consumer.messages()) == 5
    assert client.receipts() == ["3", "4"]
    assert not client.is_waiting


# ---------------------------------------------------------------- any frames

DESTINATIONS = ["/topic/a", "/topic/a.b", "/queue/a", "/topic/a,/queue/b,/topic/c.%", "/topic/n.%"]
PATTERNS = ["/topic/a", "/topic/#", "/topic/*.#.%.#", "/queue/a", "/queue/b", "/temp-queue/%"]
KINDS = st.one_of(
    st.tuples(st.just("SEND"), st.sampled_from(DESTINATIONS), st.sampled_from(["", "r", "l"])),
    st.tuples(st.just("SUBSCRIBE"), st.sampled_from(PATTERNS), st.sampled_from(["", "a > 1", "r"])),
    st.tuples(st.just("UNSUBSCRIBE"), st.just(""), st.just("")),
    st.tuples(st.just("BEGIN"), st.sampled_from(["ABORT", "COMMIT"]), st.sampled_from(["", "r"])),
    st.tuples(st.just("COMMIT"), st.sampled_from(DESTINATIONS), st.sampled_from(["", "r"])),
    st.tuples(st.just("ACK"), st.sampled_from(["", "t"]), st.just("")),
    st.tuples(st.just("LF"), st.just(""), st.just("")),
)
STEPS = st.lists(st.tuples(KINDS, st.integers(1, 400)), min_size=1, max_size=5)


class Script:
    """Writes what a client sends, from what it got."""

    def __init__(self) -> None:
        self.last_id = 0
        self.open: list[str] = []
        self.acks: list[str] = []
        self.sent = 0

    def step(self, kind: str, where: str, how: str, count: int) -> bytes:
        if kind == "COMMIT":
            self.sent += 1
            where = where.replace("%", str(self.sent))
            count = min(count, 1024 // len(where.split(",")))
            return transaction(count, where, how and str(self.sent))
        return b"".join(self._frame(kind, where, how) for _ in range(count))

    def _frame(self, kind: str, where: str, how: str) -> bytes:
        self.sent += 1
        number = str(self.sent)
        receipt = {"receipt": number} if how == "r" else {}
        where = where.replace("%", number)
        if kind == "SEND":
            length = {"content_length": "3"} if how == "l" else {}
            return frame_bytes("SEND", b"abc", destination=where, a="2", **receipt, **length)
        if kind == "SUBSCRIBE":
            if len(self.open) >= 900:
                return b"\n"
            self.last_id += 1
            self.open.append(str(self.last_id))
            more = {"selector": how} if how.startswith("a") else receipt
            if where.startswith("/queue/") and not how:
                more = {"ack": "client-individual"}
            return frame_bytes("SUBSCRIBE", id=str(self.last_id), destination=where, **more)
        if kind == "UNSUBSCRIBE":
            return frame_bytes("UNSUBSCRIBE", id=self.open.pop()) if self.open else b"\n"
        if kind == "BEGIN":
            return (
                frame_bytes("BEGIN", transaction="t", **receipt)
                + frame_bytes("SEND", b"in", destination="/topic/a", transaction="t")
                + frame_bytes(where, transaction="t")
            )
        if kind == "ACK" and self.acks:
            return frame_bytes("ACK", id=self.acks.pop(0))
        return b"\n"


def play(
    steps: list[tuple[tuple[str, str, str], int]], max_work: int
) -> tuple[bytes, bytes, Turned]:
    """Play a client's conversation; return what it and a listener got, and the client."""
    server = Server()
    listener = server.client()
    listener.subscribe("/topic/a", "0")
    client, script = Turned(server), Script()
    client.max_work = max_work
    for (kind, where, how), count in steps:
        client.read(script.step(kind, where, how, count))
        if client.line.closed:
            break
        frames = client.received()
        script.acks += [one.headers["ack"] for one in frames if "ack" in one.headers]
    return client.outbound.data, listener.outbound.data, client


@given(STEPS)
@settings(max_examples=examples(15, 1000))
def test_turns_are_short_and_nothing_else_is_different(
    steps: list[tuple[tuple[str, str, str], int]],
) -> None:
    plain = play(steps, 1 << 60)
    assert plain[2].line.turns == 0
    usual = play(steps, TURN_WORK)
    tiny = play(steps, 30)
    assert usual[:2] == tiny[:2] == plain[:2]
    longest = 900 * 5 + 64 * 900 // 4  # a SEND to all its subscriptions, after a long search
    assert usual[2].most_work <= 2 * TURN_WORK + MOST_OVER + longest
    assert usual[2].most_calls <= MOST_CALLS + 20 * longest
