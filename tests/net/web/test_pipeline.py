"""Clients that send many requests and take no answers: what is read, held and done for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeSocket, cooperation
from support.websocket import upgrade_request
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

from rtchat.core.access.hosts import HostList
from rtchat.core.flow.memory import Budget
from rtchat.core.flow.turns import TURN_WORK
from rtchat.net.web.files import page_tree
from rtchat.net.web.health import Health
from rtchat.net.web.rounds import REQUEST_WORK
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.upgrade import WebSocketResource

KIB = 1024
PIECE = 64 * KIB
"""What one read brings."""

MOST_HELD = 256 * KIB
"""A buffer of 64 KiB that is full, one answer more, and one read of requests."""


MOST_ANSWERS = TURN_WORK // REQUEST_WORK + 1
"""So many requests are answered in a round of the reactor, by the work that each is counted as."""


class Counted(Resource):
    """Counts how often it answers; each answer has a kibibyte.

    Attributes:
        answers: How often it did.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        self.answers += 1
        return b"x" * KIB


class Slow(Resource):
    """Answers when the test says so.

    Attributes:
        asked: The requests that wait.
        gone: Those whose client has gone, as Twisted tells resources.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Request] = []
        self.gone: list[Request] = []

    def render_GET(self, request: Request) -> int:
        """Wait."""
        self.asked.append(request)
        request.notifyFinish().addErrback(lambda _: self.gone.append(request))
        return NOT_DONE_YET


class Fixture:
    """A site with a page of each kind, and a socket to it.

    Attributes:
        held: The most that was held for the client at once.
        received: Called with what a WebSocket brings.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.counted, self.slow = Counted(), Slow()
        (folder / "small.txt").write_bytes(b"s" * 100)
        (folder / "large.bin").write_bytes(b"l" * KIB * KIB)
        wrapped = Factory.forProtocol(Protocol)
        wrapped.protocol = self._protocol
        sockets = WebSockets(wrapped, self.clock, ping_interval_s=0)
        children = {
            "counted": self.counted,
            "slow": self.slow,
            "health": Health(lambda: {"status": "ok"}),
            "ws": WebSocketResource(sockets, sources=["*"]),
        }
        tree = page_tree(folder, {"files": folder}, children)
        self.site = PageSite(tree, HostList(), self.clock)
        self.held = 0
        self.received: Callable[[bytes], object] = len

    def _protocol(self) -> Protocol:
        fixture = self

        class Receiver(Protocol):
            @override
            def dataReceived(self, data: bytes) -> None:
                fixture.received(data)

        return Receiver()

    def socket(self, room: int = 0, host: str = "192.0.2.1") -> FakeSocket:
        """Connect; the kernel has room for so many bytes."""
        socket = FakeSocket(room, IPv4Address("TCP", host, 54321))
        socket.connect(self.site.buildProtocol(socket.peer))
        return socket

    def flood(self, socket: FakeSocket, request: bytes, pieces: int = 200) -> int:
        """Send requests as long as the server reads; return how many reads there were."""
        stream = request * (PIECE // len(request) + 2)
        reads = 0
        for _ in range(pieces):
            for _ in range(20):
                self.clock.advance(0)
                if socket.is_closed:
                    return reads
            if not socket.is_reading:
                continue
            socket.receive(stream[:PIECE])
            stream = stream[PIECE % len(request) :] + stream[: PIECE % len(request)]
            reads += 1
            self.held = max(self.held, socket.protocol.waiting_bytes)
        return reads


@pytest.fixture
def fixture(tmp_path: Path) -> Iterator[Fixture]:
    fixture = Fixture(tmp_path)
    with cooperation(fixture.clock):
        yield fixture


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def request_for(path: str, method: str = "GET", host: str = "localhost", more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


KINDS = {
    "a resource": request_for("/counted"),
    "health": request_for("/health"),
    "HEAD": request_for("/counted", "HEAD"),
    "OPTIONS": request_for("/health", "OPTIONS"),
    "the server": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no such page": request_for("/nothing"),
    "a method that is not there": request_for("/counted", "DELETE"),
    "another name": request_for("/", host="evil.example"),
    "a small file": request_for("/files/small.txt"),
    "a large file": request_for("/files/large.bin"),
    "the head of a file": request_for("/files/small.txt", "HEAD"),
    "a range of a file": request_for("/files/large.bin", more="Range: bytes=5-9\r\n"),
    "a file that has not changed": request_for("/files/small.txt", more="If-None-Match: *\r\n"),
    "an answer that takes long": request_for("/slow"),
    "a body": request_for("/counted", more="Content-Length: 5\r\n") + b"hello",
    "a body in chunks": request_for("/counted", more="Transfer-Encoding: chunked\r\n")
    + b"5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_takes_no_answers_is_not_read(fixture: Fixture, kind: str) -> None:
    socket = fixture.socket()
    reads = fixture.flood(socket, KINDS[kind])
    assert not socket.is_reading
    assert reads <= 4
    assert fixture.held <= MOST_HELD


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "an answer that takes long"])
def test_a_client_that_takes_them_late_gets_all_in_order(fixture: Fixture, kind: str) -> None:
    socket = fixture.socket()
    request = KINDS[kind]
    count = 300
    stream = request * count
    while stream:
        if socket.is_reading:
            socket.receive(stream[:PIECE])
            stream = stream[PIECE:]
        socket.give_room(100 * KIB)
        fixture.clock.advance(0)
    socket.give_room()
    for _ in range(20 * count):
        fixture.clock.advance(0)
        socket.turn()
    assert socket.sent.count(b"HTTP/1.1 ") == count
    assert socket.is_reading
    assert socket.protocol.waiting_bytes == 0


def next_round(clock: Clock) -> None:
    """Run what was to be called in the next round of the reactor, and not what that calls later."""
    calls: Any = clock.calls
    due = [call for call in calls if call.getTime() == 0]
    for call in due:
        calls.remove(call)
        call.called = 1
        call.func()


def test_a_round_has_a_bound_however_many_requests_were_read(fixture: Fixture) -> None:
    socket = fixture.socket(room=1 << 30)
    socket.receive(request_for("/counted") * 50)
    assert fixture.counted.answers == 1
    rounds = 0
    while fixture.counted.answers < 50:
        assert not socket.is_reading
        before = fixture.counted.answers
        next_round(fixture.clock)
        assert 0 < fixture.counted.answers - before <= MOST_ANSWERS
        rounds += 1
    assert rounds >= 49 // MOST_ANSWERS
    assert socket.is_reading


def test_a_round_has_a_bound_however_many_connections_ask(fixture: Fixture) -> None:
    sockets = [fixture.socket(room=1 << 30) for _ in range(1000)]
    for socket in sockets:
        socket.receive(request_for("/counted"))
    # Who was not answered is not read any more.
    assert fixture.counted.answers <= MOST_ANSWERS
    assert sum(not socket.is_reading for socket in sockets) == 1000 - fixture.counted.answers
    assert fixture.site.backlogs.held_bytes >= len(request_for("/counted")) * 900
    while fixture.counted.answers < 1000:
        before = fixture.counted.answers
        next_round(fixture.clock)
        assert 0 < fixture.counted.answers - before <= MOST_ANSWERS
        for socket in sockets:
            socket.turn()
        # In the order in which they asked.
        answered = [b"200 OK" in socket.sent for socket in sockets]
        assert answered == sorted(answered, reverse=True)
    assert all(socket.is_reading for socket in sockets)


def test_the_sources_have_a_round_one_after_the_other(fixture: Fixture) -> None:
    many = [fixture.socket(room=1 << 30, host="192.0.2.66") for _ in range(1000)]
    few = [fixture.socket(room=1 << 30, host=f"198.51.100.{number}") for number in range(3)]
    for socket in many + few:
        socket.receive(request_for("/counted"))
    next_round(fixture.clock)
    for socket in many + few:
        socket.turn()
    assert sum(b"200 OK" in socket.sent for socket in many) < 2 * MOST_ANSWERS
    assert all(b"200 OK" in socket.sent for socket in few)


def test_who_goes_while_it_waits_takes_no_other_ones_place(fixture: Fixture) -> None:
    sockets = [fixture.socket(room=1 << 30) for _ in range(100)]
    for socket in sockets:
        socket.receive(request_for("/counted"))
    asked = fixture.counted.answers
    for socket in sockets[:-1]:
        socket.protocol.connectionLost(Failure(ConnectionDone()))
    assert fixture.site.backlogs.held_bytes < 2 * KIB
    next_round(fixture.clock)
    assert fixture.counted.answers == asked + 1
    sockets[-1].turn()
    assert b"200 OK" in sockets[-1].sent


def test_a_body_of_tiny_chunks_is_handled_a_piece_in_a_turn(fixture: Fixture) -> None:
    socket = fixture.socket(room=1 << 30)
    head = request_for("/counted", more="Transfer-Encoding: chunked\r\n")
    body = b"1\r\nx\r\n" * (40 * KIB // 6)
    socket.receive(head + body + b"0\r\n\r\n" + request_for("/counted"))
    bodies = []
    while fixture.counted.answers < 2:
        assert not socket.is_reading
        bodies.append(sum(request.body_bytes for request in socket.protocol.requests))
        next_round(fixture.clock)
    # A byte of the body in six, and so many bytes in a round as a turn allows.
    steps = [after - before for before, after in pairwise(bodies) if after > before]
    assert len(steps) >= 4
    assert max(steps) <= 8 * KIB // 6 + 2
    assert socket.is_reading


def test_what_follows_a_request_for_a_websocket_is_the_websockets(fixture: Fixture) -> None:
    browser = FakeBrowser(fixture.site)
    data = b"x" * 60_000
    frame = b"\x82\xfe" + len(data).to_bytes(2, "big") + b"\0\0\0\0" + data
    got: list[bytes] = []
    fixture.received = got.append
    browser.socket.receive(upgrade_request() + frame)
    assert b"".join(got) == data


def test_a_request_that_had_to_wait_has_to_be_complete_in_time(
    fixture: Fixture, logs: Logs
) -> None:
    sockets = [fixture.socket(room=1 << 30) for _ in range(100)]
    for socket in sockets:
        socket.receive(request_for("/counted"))
    late = fixture.socket()
    late.receive(request_for("/counted")[:-2])
    fixture.clock.advance(0)
    fixture.clock.advance(fixture.site.handshake_timeout_s)
    assert late.is_closed
    assert "no complete request within 10 s" in logs.lines()[-1]


def test_a_client_that_asks_one_by_one_does_not_wait_for_a_turn(fixture: Fixture) -> None:
    socket = fixture.socket(room=1 << 30)
    for number in range(1, 6):
        socket.receive(request_for("/counted"))
        assert fixture.counted.answers == number
        assert socket.is_reading


def test_a_websocket_may_follow_requests_that_were_sent_with_it(fixture: Fixture) -> None:
    browser = FakeBrowser(fixture.site)
    browser.socket.receive(request_for("/counted") * 3 + upgrade_request())
    for _ in range(10):
        fixture.clock.advance(0)
        browser.socket.turn()
    assert browser.socket.sent.count(b"HTTP/1.1 200 ") == 3
    assert browser.socket.sent.count(b"HTTP/1.1 101 ") == 1
    assert browser.socket.is_reading


def test_a_client_that_closes_its_direction_gets_what_it_asked_for(fixture: Fixture) -> None:
    socket = fixture.socket(room=1 << 30)
    socket.receive(request_for("/counted") * 5)
    socket.protocol.readConnectionLost()
    for _ in range(10):
        fixture.clock.advance(0)
        socket.turn()
    assert socket.sent.count(b"HTTP/1.1 200 ") == 5
    assert socket.is_closed


# ---------------------------------------------------------------- the ends of such clients


def test_a_client_that_goes_on_taking_nothing_is_closed_and_the_log_says_so(
    fixture: Fixture, logs: Logs
) -> None:
    socket = fixture.socket()
    fixture.flood(socket, request_for("/counted"))
    fixture.clock.advance(60)
    fixture.clock.advance(15)
    assert socket.was_cut
    assert logs.lines() == [
        "192.0.2.1:54321: closed: its answers were not taken within 60 s",
    ]
    assert fixture.clock.getDelayedCalls() == []


def test_what_follows_the_last_request_of_a_connection_is_dropped(fixture: Fixture) -> None:
    socket = fixture.socket()
    socket.receive(request_for("/counted", more="Connection: close\r\n"))
    for _ in range(30):
        socket.protocol.dataReceived(b"x" * PIECE)  # under TLS it comes
        fixture.clock.advance(5)
    assert fixture.held <= MOST_HELD
    assert socket.was_cut
    assert fixture.clock.getDelayedCalls() == []


def test_a_later_request_has_as_long_as_the_first(fixture: Fixture) -> None:
    socket = fixture.socket(room=1 << 30)
    socket.receive(request_for("/counted") + b"GET /")
    for _ in range(20):
        fixture.clock.advance(1)
        if socket.is_closed:
            break
        socket.receive(b"a")
    assert socket.was_cut


def test_a_body_has_as_long_as_a_head(fixture: Fixture) -> None:
    socket = fixture.socket(room=1 << 30)
    socket.receive(request_for("/counted", more="Content-Length: 50\r\n"))
    for _ in range(20):
        fixture.clock.advance(1)
        if socket.is_closed:
            break
        socket.receive(b"a")
    assert socket.was_cut


def test_a_resource_learns_in_time_that_a_client_that_closed_is_gone(fixture: Fixture) -> None:
    socket = fixture.socket()
    socket.receive(request_for("/slow"))
    socket.protocol.readConnectionLost()  # as well if it has closed both directions
    fixture.clock.advance(30)
    assert not fixture.slow.gone
    fixture.clock.pump([10] * 5)
    assert fixture.slow.gone == fixture.slow.asked
    assert socket.was_cut


def test_a_client_that_closed_its_direction_and_takes_bytes_has_the_time(fixture: Fixture) -> None:
    socket = fixture.socket(room=KIB)
    socket.receive(request_for("/files/large.bin"))
    socket.protocol.readConnectionLost()
    for _ in range(300):
        fixture.clock.advance(10)
        socket.give_room(16 * KIB)
    assert not socket.was_cut
    assert len(socket.sent) > KIB * KIB
    assert socket.is_closed


# ---------------------------------------------------------------- memory


def test_what_waits_counts_in_the_budget_until_it_is_taken(fixture: Fixture) -> None:
    budget = Budget(0)
    fixture.site.backlogs.count_in(budget)
    socket = fixture.socket()
    fixture.flood(socket, request_for("/counted"))
    assert PIECE < budget.used <= MOST_HELD
    assert budget.used == socket.protocol.waiting_bytes
    for _ in range(2000):
        socket.give_room()
        fixture.clock.advance(0.25)
    assert budget.used == 0


def test_a_short_answer_that_is_not_taken_counts_too(fixture: Fixture) -> None:
    budget = Budget(0)
    fixture.site.backlogs.count_in(budget)
    socket = fixture.socket()
    socket.receive(request_for("/counted"))
    fixture.clock.advance(0.25)
    assert KIB < budget.used < 2 * KIB
    socket.end()
    assert budget.used == 0


def test_a_short_answer_that_is_taken_never_counts(fixture: Fixture) -> None:
    budget = Budget(0)
    fixture.site.backlogs.count_in(budget)
    socket = fixture.socket(room=1 << 30)
    socket.receive(request_for("/counted"))
    assert budget.used == 0
    fixture.clock.advance(0.25)
    assert budget.used == 0


@pytest.mark.parametrize(
    "begun, at_least",
    [
        (request_for("/counted", more="Content-Length: 60000\r\n") + b"x" * 50_000, 50_000),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\na: " + b"x" * 10_000, 10_000),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * 90, 90 * 300),
    ],
    ids=["body", "long header", "many headers"],
)
def test_a_request_that_is_not_complete_counts(
    fixture: Fixture, begun: bytes, at_least: int
) -> None:
    budget = Budget(0)
    fixture.site.backlogs.count_in(budget)
    socket = fixture.socket(room=1 << 30)
    socket.receive(begun)
    fixture.clock.advance(0.25)
    assert at_least <= budget.used < 2 * at_least
    fixture.clock.advance(10)
    assert socket.was_cut
    assert budget.used == 0


def test_a_head_of_very_many_lines_is_refused(fixture: Fixture, logs: Logs) -> None:
    socket = fixture.socket(room=1 << 30)
    socket.receive(request_for("/counted", more="a: b\r\n" * 101))
    socket.turn()
    assert socket.sent.startswith(b"HTTP/1.1 400 ")
    [line] = logs.lines("warn")
    assert line.endswith(": its head has more than 100 lines")


def test_when_memory_is_used_up_the_client_with_most_is_cut(fixture: Fixture, logs: Logs) -> None:
    budget = Budget(300 * KIB)
    fixture.site.backlogs.count_in(budget)
    sockets = [fixture.socket() for _ in range(8)]
    for socket in sockets:
        fixture.flood(socket, request_for("/counted"), pieces=3)
        assert not budget.is_over
    cut = [socket for socket in sockets if socket.was_cut]
    assert 0 < len(cut) < 8
    for line in logs.lines():
        assert line.startswith("192.0.2.1:54321: cut: ")
        assert line.endswith("[broker] memory.max_bytes = 307200 is reached")
    assert len(logs.lines()) == len(cut)


def test_others_are_closed_if_what_waits_here_is_a_small_part(fixture: Fixture) -> None:
    closed: list[str] = []
    budget = Budget(1000 * KIB)
    budget.on_over = lambda: closed.append("a STOMP client")
    fixture.site.backlogs.count_in(budget)
    socket = fixture.socket()
    fixture.flood(socket, request_for("/counted"), pieces=3)
    budget.used += 2000 * KIB
    budget.on_over()
    assert closed == ["a STOMP client"]
    assert not socket.is_closed


def test_a_connection_that_becomes_a_websocket_counts_elsewhere(fixture: Fixture) -> None:
    budget = Budget(0)
    fixture.site.backlogs.count_in(budget)
    socket = fixture.socket()
    socket.receive(request_for("/counted") + upgrade_request())
    fixture.clock.advance(0)
    fixture.clock.advance(1)
    assert budget.used == 0
    socket.protocol.connectionLost(Failure(ConnectionDone()))
    fixture.clock.advance(1)
    assert budget.used == 0
