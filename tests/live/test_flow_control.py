"""Full queues, stalled subscribers and a full memory: what the clients' sockets feel of them."""

from __future__ import annotations

import re
import selectors
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.process import Server, until
from support.publisher import Publisher
from support.sockets import WebSocketStream
from support.stomp import Frame, message_bytes
from support.wire import WIRES, Wire, open_wire

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

_KIB, _MIB = 1024, 1024 * 1024
_ALLOWANCE_BYTES = 24 * _MIB
"""What the server may need beside what it holds: buffers, and what Python keeps for itself."""
_BLOCKED_S = 0.4
"""A socket that takes nothing for so long is not read: while it is, that never takes a tenth."""
_FLOOR_S = 0.05
"""Latencies below are good on any machine, busy or not."""
_ROUNDS = 3

over_both = pytest.mark.parametrize("kind", WIRES)


def peak_bytes(server: Server) -> int:
    """Return the most memory that the process ever had in use."""
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) * 1024


def lines_about(server: Server, text: str) -> list[str]:
    return [line for line in server.log().splitlines() if text in line]


def number_of(frame: Frame) -> tuple[str, int]:
    """Return a publisher's name and the message's number."""
    assert frame.command == "MESSAGE", frame
    name, number, _ = frame.body.split(b" ", 2)
    return name.decode(), int(number)


def round_trip_s(wire: Wire, times: int = 20) -> float:
    """Return how long the slowest of some answers takes."""
    slowest = 0.0
    for _ in range(times):
        begun_s = time.monotonic()
        wire.ask("SEND", destination="/topic/nobody.listens.here")
        slowest = max(slowest, time.monotonic() - begun_s)
    return slowest


def publish_until_blocked(server: Server, publisher: Publisher) -> None:
    """Fill a queue and, behind it, the buffers of the system; they end somewhere."""

    def is_blocked() -> bool:
        assert not publisher.publish(100_000, _BLOCKED_S), "the server reads and reads"
        return publisher.is_blocked and bool(
            lines_about(server, f"{publisher.destination} is full")
        )

    until("publisher that waits", is_blocked)


# ---------------------------------------------------------------- a queue without consumers


@pytest.mark.parametrize(
    "limit,counted,full",
    [
        ("queue.max_messages = 1500", "queued_messages", 1500),
        ("queue.max_bytes = 4 MiB", "held_bytes", 4 * _MIB),
    ],
    ids=["messages", "bytes"],
)
@over_both
def test_publishers_wait_for_room_and_go_on_by_themselves(
    serve: Serve, kind: str, limit: str, counted: str, full: int
) -> None:
    server = serve(more=f"[broker]\n{limit}\n")
    base = server.resident_bytes()
    with ExitStack() as stack:
        publishers = []
        for name in ("one", "two"):
            wire = stack.enter_context(open_wire(server, kind))
            publishers.append(Publisher(wire, "/queue/full", name, 2 * _KIB))
        for publisher in publishers:
            publish_until_blocked(server, publisher)
        health = server.health()
        held = health["queued_messages"]
        # The last message may be the one that makes it full, and not a byte more; but of each
        # publisher a read waits.
        one_more = 1 if counted == "queued_messages" else 3 * _KIB + 2 * 96 * _KIB
        assert full <= health[counted] < full + one_more

        # No other client has to wait, nor does anyone for other queues.
        other = stack.enter_context(open_wire(server, kind))
        assert round_trip_s(other) < 2
        other.ask("SEND", destination="/queue/other")
        other.send("SUBSCRIBE\nid:0\ndestination:/queue/other\n\n\0")
        assert other.frame().headers["destination"] == "/queue/other"
        assert all(publisher.is_blocked for publisher in publishers)
        assert server.health()["queued_messages"] == held
        [warning] = lines_about(server, " is full")
        assert f"/queue/full is full ({held} messages" in warning

        # A consumer comes: they go on without being told, and nothing is lost or reordered.
        goals = [publisher.sent + 1000 for publisher in publishers]
        done: list[bool] = []

        def go_on(publisher: Publisher, goal: int) -> None:
            done.append(publisher.publish(goal))

        threads = [
            threading.Thread(target=go_on, args=pair)
            for pair in zip(publishers, goals, strict=True)
        ]
        for thread in threads:
            thread.start()
        consumer = stack.enter_context(open_wire(server, kind))
        consumer.send("SUBSCRIBE\nid:0\ndestination:/queue/full\n\n\0")
        got: dict[str, list[int]] = {"one": [], "two": []}
        for _ in range(sum(goals)):
            name, number = number_of(consumer.frame())
            got[name].append(number)
        for thread in threads:
            thread.join()
        assert done == [True, True], "a publisher was not read again"
        for (name, numbers), goal in zip(got.items(), goals, strict=True):
            assert numbers == list(range(goal)), f"publisher {name}: lost or reordered"
        assert not any(publisher.is_blocked for publisher in publishers)

        rooms = until("'has room again' in the log", lambda: lines_about(server, "room again"))
        assert "/queue/full has room again" in rooms[0]
        # While it is emptied it may be full for another second; never more often than that.
        fulls = lines_about(server, " is full")
        assert len(fulls) <= len(rooms) + 1 <= 4
        until("empty server", lambda: server.health()["held_bytes"] < 16 * _KIB)
    assert peak_bytes(server) - base < 5 * _MIB + _ALLOWANCE_BYTES


# ---------------------------------------------------------------- consumers that stall


@over_both
def test_a_stalled_consumer_does_not_get_the_queue_into_its_backlog(
    serve: Serve, kind: str
) -> None:
    server = serve(more="[broker]\nqueue.max_bytes = 32 MiB\nredelivery.max_count = 0\n")
    base = server.resident_bytes()
    body = b"x" * (8 * _KIB)
    total = 2500
    with (
        open_wire(server, kind) as publisher,
        open_wire(server, kind, receive_buffer_bytes=4096) as stalled,
        open_wire(server, kind) as healthy,
    ):
        for number in range(total):
            publisher.send(message_bytes("/queue/long", b"p %d " % number + body))
        publisher.ask("SEND", destination="/topic/nobody.listens.here")
        queued = server.health()["held_bytes"]
        stalled.send("SUBSCRIBE\nid:0\ndestination:/queue/long\nack:client\n\n\0")
        # A healthy consumer, who comes later, gets all that the stalled one has no room for.
        assert stalled.frame().body.startswith(b"p 0 ")
        assert server.health()["held_bytes"] - queued < 256 * _KIB
        healthy.send("SUBSCRIBE\nid:0\ndestination:/queue/long\n\n\0")
        numbers = [number_of(healthy.frame())[1]]
        first = numbers[0]
        assert 0 < first < total / 2, "the stalled consumer got nothing, or too much"
        while numbers[-1] != total - 1:
            numbers.append(number_of(healthy.frame())[1])
        assert numbers == list(range(first, total))
        # It goes, and what it had comes back, all of it and in order.
        stalled.close()
        again: list[int] = []
        while len(again) < first:
            frame = healthy.frame()
            assert frame.headers["redelivered"] == "true"
            again.append(number_of(frame)[1])
        assert again == list(range(first))
        until("empty server", lambda: server.health()["held_bytes"] < 16 * _KIB)
    assert peak_bytes(server) - base < queued + _ALLOWANCE_BYTES


# ---------------------------------------------------------------- a topic with a stalled subscriber


class Rate:
    """Ten healthy subscribers of a topic, half of them on WebSockets, and who publishes to it."""

    topic = "/topic/rate"
    count, interval_s, filler = 300, 0.005, b"." * 1024

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.publisher = stack.enter_context(open_wire(server, "TCP"))
        self.subscribers = []
        for number in range(10):
            wire = stack.enter_context(open_wire(server, WIRES[number % 2]))
            wire.ask("SUBSCRIBE", id="0", destination=self.topic)
            self.subscribers.append(wire)

    def p99_s(self) -> float:
        """Publish at a steady rate; check that all messages arrive in order, and how late."""
        late: list[float] = []
        numbers: dict[Wire, list[int]] = {wire: [] for wire in self.subscribers}
        sent, next_s = 0, time.perf_counter()
        deadline_s = next_s + 30
        with selectors.DefaultSelector() as selector:
            for wire in self.subscribers:
                selector.register(wire, selectors.EVENT_READ, wire)
            while len(late) < self.count * len(self.subscribers):
                now_s = time.perf_counter()
                assert now_s < deadline_s, "messages are missing"
                if sent < self.count and now_s >= next_s:
                    body = struct.pack("!Id", sent, time.perf_counter()) + self.filler
                    self.publisher.publish(self.topic, body)
                    sent += 1
                    next_s += self.interval_s
                wait_s = next_s - time.perf_counter() if sent < self.count else 0.5
                for key, _ in selector.select(max(0.0, wait_s)):
                    wire = key.data
                    for frame in wire.take():
                        number, at_s = struct.unpack_from("!Id", frame.body)
                        late.append(time.perf_counter() - at_s)
                        numbers[wire].append(number)
        for own in numbers.values():
            assert own == list(range(self.count))
        late.sort()
        return late[len(late) * 99 // 100]


@pytest.mark.slow
def test_healthy_subscribers_do_not_feel_stalled_ones_nor_blocked_publishers(serve: Serve) -> None:
    budget = 32 * _MIB
    server = serve(
        more="[broker]\nqueue.max_bytes = 4 MiB\nbacklog.max_bytes = 256 KiB\n"
        f"memory.max_bytes = {budget // _MIB} MiB\n"
    )
    base = server.resident_bytes()
    figures = []
    with ExitStack() as stack:
        rate = Rate(server, stack)
        rate.p99_s()  # the first time everything takes longer
        for number in range(_ROUNDS):
            unloaded_s = rate.p99_s()
            with ExitStack() as load:
                for kind in WIRES:
                    wire = load.enter_context(open_wire(server, kind))
                    flooding = Publisher(wire, f"/queue/{number}", kind, 2 * _KIB)
                    publish_until_blocked(server, flooding)
                stall_subscribers(server, load, rate.topic)
                expect_cuts(server, 2 * number)
                loaded_s = rate.p99_s()
                # Those that stalled are cut in the middle of it, at their limit.
                expect_cuts(server, 2 * number + 2)
            figures.append((unloaded_s, loaded_s))
            # A busy machine may disturb a round; a server that stalls spoils all of them.
            if loaded_s < max(2 * unloaded_s, _FLOOR_S):
                break
        else:
            pytest.fail(f"p99 in seconds, unloaded and loaded: {figures}")
    assert peak_bytes(server) - base < budget + _ALLOWANCE_BYTES


def expect_cuts(server: Server, count: int) -> None:
    """See that so many clients, no more and no fewer, were cut because they were too slow."""
    sign = "closed by the server: too slow"
    until(f"cut, {count} in all", lambda: len(lines_about(server, sign)) >= count)
    assert len(lines_about(server, sign)) == count


def stall_subscribers(server: Server, load: ExitStack, topic: str) -> None:
    """Add a subscriber on each wire that does not read, with its buffers full already."""
    before = server.health()["held_bytes"]
    for kind in WIRES:
        wire = load.enter_context(open_wire(server, kind, receive_buffer_bytes=4096))
        wire.ask("SUBSCRIBE", id="0", destination=topic)
        wire.send("SUBSCRIBE\nid:1\ndestination:/topic/ballast\nx-slow:drop-oldest\n\n\0")
    with open_wire(server, "TCP") as ballast:
        data = message_bytes("/topic/ballast", b"b" * (32 * _KIB))
        for _ in range(40):
            for _ in range(8):
                ballast.send(data)
            ballast.ask("SEND", destination="/topic/nobody.listens.here")
            if server.health()["held_bytes"] - before > 2 * 192 * _KIB:
                return
    pytest.fail("the buffers of the system do not get full")


# ---------------------------------------------------------------- memory


@over_both
def test_who_fills_the_memory_is_slowed_and_then_cut(serve: Serve, kind: str) -> None:
    limit = 8 * _MIB
    server = serve(more=f"[broker]\nmemory.max_bytes = {limit // _MIB} MiB\n")
    base = server.resident_bytes()
    with (
        open_wire(server, kind) as offender,
        open_wire(server, kind) as small,
        open_wire(server, kind) as listener,
    ):
        listener.ask("SUBSCRIBE", id="0", destination="/topic/news")
        publisher = Publisher(offender, "/queue/heap", "heap", 4 * _KIB)
        flood = threading.Thread(target=publisher.publish, args=(100_000,))
        flood.start()
        until("nearly full memory", lambda: server.health()["held_bytes"] > 0.85 * limit)
        near_s = time.monotonic()
        # Others publish as well, to the topic; they are slow now, but they are not cut.
        while server.health()["held_bytes"] <= limit:
            small.ask("SEND", destination="/topic/news")
            assert listener.frame().headers["destination"] == "/topic/news"
            assert time.monotonic() - near_s < 20, "the memory is not filled any further"
        took_s = time.monotonic() - near_s
        # A read of 64 KiB ten times a second: 1.2 MiB more take two seconds.
        assert took_s > 0.7, f"{limit * 0.15:g} bytes in {took_s:g} s: nobody was slowed"

        [cut] = until("cut in the log", lambda: lines_about(server, "closed by the server"))
        assert "over a limit (too much: " in cut
        assert f"server's memory limit of {limit} bytes is reached" in cut
        assert f":{offender.port}: session" in cut
        publisher.stop()
        flood.join()
        error = offender.rest()[-1]
        assert error.command == "ERROR"
        assert error.headers["message"].startswith("too much")
        if isinstance(offender, WebSocketStream):
            assert offender.close_code == 1009

        # The others are still there, and a consumer who comes now is a help and not cut:
        small.ask("SEND", destination="/topic/news")
        assert listener.frame().headers["destination"] == "/topic/news"
        with open_wire(server, kind) as consumer:
            health = server.health()
            assert health["held_bytes"] > limit, "nothing that was taken may be lost"
            held = health["queued_messages"]
            consumer.send("SUBSCRIBE\nid:0\ndestination:/queue/heap\nack:client\n\n\0")
            for number in range(held):
                frame = consumer.frame()
                assert number_of(frame) == ("heap", number)
                if number % 100 == 99 or number == held - 1:
                    consumer.send(f"ACK\nid:{frame.headers['ack']}\n\n\0")
            until("empty memory", lambda: server.health()["held_bytes"] < 16 * _KIB)
            # Nothing is slow any more.
            assert round_trip_s(small) < 2
    assert len(lines_about(server, "closed by the server")) == 1
    assert peak_bytes(server) - base < limit + _ALLOWANCE_BYTES


@over_both
def test_the_client_with_the_largest_backlog_is_cut(serve: Serve, kind: str) -> None:
    limit = 12 * _MIB
    server = serve(
        more=f"[broker]\nmemory.max_bytes = {limit // _MIB} MiB\nbacklog.max_bytes = 64 MiB\n"
        "backlog.stalled_timeout = 60\n"
    )
    base = server.resident_bytes()
    with (
        open_wire(server, kind, receive_buffer_bytes=4096) as large,
        open_wire(server, kind, receive_buffer_bytes=4096) as small,
        open_wire(server, kind) as healthy,
        open_wire(server, kind) as publisher,
    ):
        small.ask("SUBSCRIBE", id="0", destination="/topic/b")
        large.ask("SUBSCRIBE", id="0", destination="/topic/a")
        large.ask("SUBSCRIBE", id="1", destination="/topic/b")
        healthy.ask("SUBSCRIBE", id="0", destination="/topic/b")
        data = message_bytes("/topic/a", b"a" * (64 * _KIB))
        # Both have a full socket and a backlog; the large one has more.
        sent = 0
        while server.health()["held_bytes"] < 2 * _MIB:
            publisher.send(data)
            sent += 1
            assert sent < 500
        begun_s = time.monotonic()
        sent = 0
        while not (cuts := lines_about(server, "closed by the server")):
            publisher.send(message_bytes("/topic/b", b"b %d " % sent + b"." * (64 * _KIB)))
            assert number_of(healthy.frame()) == ("b", sent)
            sent += 1
            assert time.monotonic() - begun_s < 30, "nobody is cut"
        [cut] = cuts
        assert f":{large.port}: session" in cut
        found = re.search(r"too slow \(too slow: (\d+) bytes wait for this client", cut)
        assert found is not None, cut
        assert int(found[1]) > limit / 2
        assert f"server's memory limit of {limit} bytes is reached" in cut
        until("memory that is free again", lambda: server.health()["held_bytes"] < limit * 0.85)
        # The other one only had to wait; it reads on and has lost nothing.
        got = [number_of(small.frame())[1] for _ in range(sent)]
        assert got == list(range(sent))
        publisher.send(message_bytes("/topic/b", b"b %d !" % sent))
        assert number_of(healthy.frame()) == number_of(small.frame()) == ("b", sent)
    assert len(lines_about(server, "closed by the server")) == 1
    assert peak_bytes(server) - base < limit + _ALLOWANCE_BYTES
