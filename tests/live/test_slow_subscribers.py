"""Bursts and slow subscribers: who reads gets everything, who does not costs others little."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from support.process import Server, free_port, until
from support.stomp import frame_bytes, message_bytes
from support.stompy import StompPy
from support.wire import WIRES, Wire, open_wire

from rtchat.blocking import publish

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

_KIB, _MIB = 1024, 1024 * 1024
_SOON = "\n[broker]\nbacklog.stalled_timeout = 3\n"
"""For clients that are cut because they read nothing: soon, instead of after ten seconds."""

_TOPIC = "/topic/burst"

over_both = pytest.mark.parametrize("kind", WIRES)


def flood(
    wire: Wire, count: int, size: int, destination: str = _TOPIC, *, ends: bool = True
) -> threading.Thread:
    """Publish numbered messages in a thread, and wait for the last one's receipt if it ends."""

    def run() -> None:
        with suppress(OSError):  # a test may end before it does
            for number in range(count):
                more = {"receipt": "last"} if number == count - 1 else {}
                body = b"%d " % number + b"." * size
                wire.send(message_bytes(destination, body, **more))
            if ends:
                assert wire.frame(120).command == "RECEIPT"

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def read_all(wire: Wire, count: int, rate: float = 0) -> None:
    """Read numbered messages, so many bytes a second at the most."""
    begun_s, read = time.monotonic(), 0
    for number in range(count):
        frame = wire.frame(60)
        assert frame.command == "MESSAGE", frame
        assert frame.body.split(b" ", 1)[0] == b"%d" % number
        read += len(frame.body)
        if rate and (ahead_s := read / rate - (time.monotonic() - begun_s)) > 0:
            time.sleep(ahead_s)


@contextmanager
def stalled(server: Server, kind: str, destination: str = _TOPIC) -> Iterator[Wire]:
    """Have a subscriber that reads nothing."""
    with open_wire(server, kind, receive_buffer_bytes=4096) as wire:
        wire.subscribe(destination)
        yield wire


# ---------------------------------------------------------------- a burst at a stock client


@pytest.mark.parametrize("count, size", [(20_000, 1_000), (200, 150_000)])
def test_a_stock_subscriber_gets_a_burst_whole(server: Server, count: int, size: int) -> None:
    with StompPy(server.stomp) as subscriber, StompPy(server.stomp) as publisher:
        subscriber.subscribe(_TOPIC)
        for number in range(count):
            publisher.send(_TOPIC, b"%d " % number + b"." * size)
        for number in range(count):
            frame = subscriber.messages.get(timeout=60)
            assert frame.body.split(" ", 1)[0] == str(number)
        assert subscriber.errors.empty()


def test_a_stock_client_gets_its_own_burst_whole(server: Server) -> None:
    with StompPy(server.stomp) as client:
        client.subscribe(_TOPIC)
        for number in range(200):
            client.send(_TOPIC, b"%d " % number + b"." * 150_000)
        for _ in range(200):
            client.messages.get(timeout=60)
        assert client.errors.empty()


def test_a_stock_subscriber_gets_bodies_as_large_as_its_backlog(serve: Serve) -> None:
    server = serve(more="[broker]\nframe.max_bytes = 17 MiB\n")
    body = b"x" * 16 * _MIB
    with StompPy(server.stomp) as subscriber, StompPy(server.stomp) as publisher:
        subscriber.subscribe(_TOPIC)
        for _ in range(6):
            publisher.send(_TOPIC, body)
        for _ in range(6):
            assert len(subscriber.messages.get(timeout=60).body) == len(body)
        assert subscriber.errors.empty()


def test_a_stock_subscriber_gets_a_transaction_larger_than_its_backlog(server: Server) -> None:
    with StompPy(server.stomp) as subscriber, StompPy(server.stomp) as publisher:
        subscriber.subscribe(_TOPIC)
        name = publisher.connection.begin()
        for number in range(200):
            publisher.send(_TOPIC, b"%d " % number + b"." * 150_000, transaction=name)
        publisher.connection.commit(name)
        for number in range(200):
            frame = subscriber.messages.get(timeout=60)
            assert frame.body.split(" ", 1)[0] == str(number)
        assert subscriber.errors.empty()


# ---------------------------------------------------------------- a slow line


@over_both
def test_a_subscriber_that_reads_slowly_gets_everything(server: Server, kind: str) -> None:
    count, size = 400, 64 * _KIB
    with (
        open_wire(server, kind, receive_buffer_bytes=65_536) as slow,
        open_wire(server, kind) as publisher,
    ):
        slow.subscribe(_TOPIC)
        thread = flood(publisher, count, size)
        read_all(slow, count, rate=5 * _MIB)
        thread.join(60)
        assert not thread.is_alive()


@over_both
def test_a_history_makes_no_difference(serve: Serve, kind: str) -> None:
    server = serve(more="[history]\nfile = :memory:\n/topic/burst = 10, 1 hour\n")
    count, size = 400, 64 * _KIB
    with open_wire(server, kind) as slow, open_wire(server, kind) as publisher:
        slow.subscribe(_TOPIC)
        thread = flood(publisher, count, size)
        read_all(slow, count, rate=8 * _MIB)
        thread.join(60)
        assert not thread.is_alive()


@over_both
def test_many_publishers_at_once_are_no_more_than_one(server: Server, kind: str) -> None:
    each, size, publishers = 20, 64 * _KIB, 30
    with ExitStack() as stack:
        slow = stack.enter_context(open_wire(server, kind))
        slow.subscribe(_TOPIC)
        wires = [stack.enter_context(open_wire(server, kind)) for _ in range(publishers)]
        threads = [flood(wire, each, size) for wire in wires]
        got = [slow.frame(60).body.split(b" ", 1)[0] for _ in range(each * publishers)]
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert sorted(map(int, got)) == sorted([*range(each)] * publishers)


def test_tls_makes_no_difference(tmp_path: Path) -> None:
    listen = "http://127.0.0.1:{http}\nstomps://127.0.0.1:{stomp}"
    http, stomp = free_port(), free_port()
    text = f"[listen]\n{listen}\n{_SOON}".format(http=http, stomp=stomp)
    count, size = 300, 64 * _KIB
    with Server(tmp_path, text, http=http, stomp=stomp, is_tls=True) as server:
        assert server.certificate is not None
        context = server.certificate.trusted()
        with (
            Wire(stomp, context) as slow,
            Wire(stomp, context) as stalled,
            Wire(stomp, context) as publisher,
        ):
            for wire in (slow, stalled, publisher):
                wire.connect()
            slow.subscribe(_TOPIC)
            thread = flood(publisher, count, size)
            read_all(slow, count, rate=4 * _MIB)
            thread.join(60)
            assert not thread.is_alive()
            stalled.subscribe("/topic/stalled")
            flood(publisher, count, size, "/topic/stalled", ends=False)
            server.until_logged(f"127.0.0.1:{stalled.port}: session", 5)
            server.until_logged("nothing was read for 3 seconds", 30)


# ---------------------------------------------------------------- who does not read


@over_both
def test_who_reads_nothing_is_cut_and_the_others_get_everything(serve: Serve, kind: str) -> None:
    server = serve(more=_SOON)  # one whose peak is this test's
    count, size = 800, 64 * _KIB
    peak = server.resident_bytes() + 80 * _MIB
    begun_s = time.monotonic()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(stalled(server, kind))
        healthy = stack.enter_context(open_wire(server, kind))
        publisher = stack.enter_context(open_wire(server, kind))
        healthy.subscribe(_TOPIC)
        thread = flood(publisher, count, size)
        read_all(healthy, count)
        thread.join(60)
        assert not thread.is_alive()
        # Three seconds without a byte taken, and a second more until it is seen.
        assert time.monotonic() - begun_s < 18
    log = server.log()
    assert log.count("bytes wait, and nothing was read for 3 seconds") >= 3
    assert server.peak_bytes() < peak


def test_who_publishes_elsewhere_feels_nothing_of_it(server: Server) -> None:
    with (
        stalled(server, "TCP", "/topic/stalled"),
        open_wire(server, "TCP") as flooding,
        open_wire(server, "TCP") as publisher,
        open_wire(server, "TCP") as subscriber,
    ):
        subscriber.subscribe("/topic/other")
        flood(flooding, 400, 64 * _KIB, "/topic/stalled", ends=False)
        until("slow subscriber", lambda: server.log().count("reads more slowly"))
        begun_s = time.monotonic()
        for number in range(100):
            publisher.publish("/topic/other", b"%d" % number)
            assert subscriber.frame().body == b"%d" % number
        assert time.monotonic() - begun_s < 5


def test_a_program_that_waits_for_its_receipt_gets_through(server: Server) -> None:
    topic = "/topic/receipts"
    with stalled(server, "TCP", topic) as slow, open_wire(server, "TCP") as flooding:
        flood(flooding, 400, 64 * _KIB, topic, ends=False)
        until("slow subscriber", lambda: f"{slow.port}: session" in server.log())
        publish(topic, "here I am", port=server.stomp, timeout_s=30)


def test_a_client_that_reads_when_it_has_sent_everything_is_no_deadlock(server: Server) -> None:
    """It has no thread that reads: while it cannot send, nothing is read."""
    count, size = 220, 64 * _KIB
    with open_wire(server, "TCP", receive_buffer_bytes=65_536) as client:
        client.socket.settimeout(30)
        client.subscribe("/topic/alone")
        for number in range(count):
            client.send(message_bytes("/topic/alone", b"%d " % number + b"." * size))
        read_all(client, count)


# ---------------------------------------------------------------- acknowledgements


def test_who_does_not_acknowledge_is_told_so(serve: Serve) -> None:
    server = serve(more="[broker]\nbacklog.max_bytes = 1 MiB\nbacklog.min_rate = 1 MiB\n")
    with open_wire(server, "TCP") as client, open_wire(server, "TCP") as publisher:
        client.send(
            frame_bytes("SUBSCRIBE", id="0", destination=_TOPIC, ack="client", prefetch_count="2")
        )
        client.ask("SEND", destination="/topic/nobody.listens.here")
        flood(publisher, 100, 64 * _KIB, ends=False)
        frames = client.rest(30)
        assert frames[-1].command == "ERROR"
        assert "2 messages wait for your ACK" in frames[-1].headers["message"]


# ---------------------------------------------------------------- workers at a full queue


@pytest.mark.parametrize("workers", [1, 3])
def test_stock_workers_put_the_next_job_into_the_queue_they_serve(
    serve: Serve, workers: int
) -> None:
    server = serve(more="[broker]\nqueue.max_messages = 20\n")
    rounds = 5
    done: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work(client: StompPy) -> None:
        while (frame := client.messages.get(timeout=30)) is not None:
            number = int(frame.body)
            if number < rounds:
                client.send("/queue/jobs", str(number + 1))
            client.connection.ack(frame.headers["ack"])
            if number == rounds:
                done.put(number)

    with ExitStack() as stack:
        filler = stack.enter_context(StompPy(server.stomp))
        for _ in range(20):
            filler.send("/queue/jobs", "0")
        until("full queue", lambda: server.health()["queued_messages"] == 20)
        filler.send("/queue/jobs", "0")  # this one waits, so that the queue stays full
        clients = [stack.enter_context(StompPy(server.stomp)) for _ in range(workers)]
        threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in clients]
        for client, thread in zip(clients, threads, strict=True):
            client.connection.subscribe(
                "/queue/jobs", id="1", ack="client-individual", headers={"prefetch-count": "1"}
            )
            thread.start()
        for _ in range(21):
            assert done.get(timeout=60) == rounds
        for client, thread in zip(clients, threads, strict=True):
            client.messages.put(None)
            thread.join(30)
        until("empty queue", lambda: server.health()["queued_messages"] == 0)
