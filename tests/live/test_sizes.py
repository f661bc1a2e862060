"""Sizes on the wire: bodies from nothing to the limit, and every limit one below, at and one above.

Limits that are about time or about memory have tests of their own; the last test says where.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import fields

import pytest
from support.process import Server, free_port, tutorial_ini, until
from support.sockets import WebSocketStream
from support.stomp import message_bytes
from support.wire import WIRES, Wire, open_wire, wire_to

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.stomp.limits import Limits

pytestmark = [pytest.mark.live]

_KIB, _MIB = 1024, 1024 * 1024
LIMIT = Limits().max_frame_bytes
SIZES = [0, 1, 64 * _KIB - 1, 64 * _KIB, 64 * _KIB + 1, _MIB - 1000, _MIB, LIMIT - 1, LIMIT]

both_wires = pytest.mark.parametrize("kind", WIRES)


def body_of(size: int) -> bytes:
    """Return bytes of every value, the same for the same size."""
    return random.Random(size).randbytes(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize("subscriber_kind", WIRES)
@pytest.mark.parametrize("publisher_kind", WIRES)
def test_bodies_of_every_size_go_through_a_topic(
    server: Server, publisher_kind: str, subscriber_kind: str
) -> None:
    destination = f"/topic/sizes-{publisher_kind}-{subscriber_kind}"
    with (
        open_wire(server, publisher_kind) as publisher,
        open_wire(server, subscriber_kind) as subscriber,
    ):
        subscriber.ask("SUBSCRIBE", id="0", destination=destination)
        for size in SIZES:
            body = body_of(size)
            publisher.send(message_bytes(destination, body))
            frame = subscriber.frame()
            assert frame.headers["content-length"] == str(size)
            assert digest(frame.body) == digest(body), f"{size} bytes changed on their way"


@pytest.mark.parametrize("consumer_kind", WIRES)
@pytest.mark.parametrize("publisher_kind", WIRES)
def test_bodies_of_every_size_wait_in_a_queue(
    server: Server, publisher_kind: str, consumer_kind: str
) -> None:
    destination = f"/queue/sizes-{publisher_kind}-{consumer_kind}"
    with open_wire(server, publisher_kind) as publisher:
        for size in SIZES:
            publisher.send(message_bytes(destination, body_of(size)))
        publisher.ask("SEND", destination="/topic/nobody.listens.here")
    with open_wire(server, consumer_kind) as consumer:
        consumer.send(f"SUBSCRIBE\nid:0\ndestination:{destination}\nack:client\n\n\0")
        for size in SIZES:
            frame = consumer.frame()
            assert len(frame.body) == size
            assert digest(frame.body) == digest(body_of(size)), f"{size} bytes changed"
    # What comes back with the end of the session is the same once more.
    with open_wire(server, consumer_kind) as consumer:
        consumer.send(f"SUBSCRIBE\nid:1\ndestination:{destination}\n\n\0")
        for size in SIZES:
            frame = consumer.frame()
            assert frame.headers["redelivered"] == "true"
            assert digest(frame.body) == digest(body_of(size)), f"{size} bytes changed"


@both_wires
@pytest.mark.parametrize("size", [0, 1, 64 * _KIB, LIMIT - 1, LIMIT])
def test_a_body_without_content_length_ends_at_its_nul(
    server: Server, kind: str, size: int
) -> None:
    with open_wire(server, kind) as wire:
        wire.ask("SUBSCRIBE", id="0", destination="/topic/no-length")
        wire.send(b"SEND\ndestination:/topic/no-length\n\n" + b"x" * size + b"\0")
        assert wire.frame().body == b"x" * size


@both_wires
@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("destination", ["/topic/large", "/queue/large"])
def test_a_body_over_the_limit_is_refused(
    server: Server, kind: str, has_length: bool, destination: str
) -> None:
    body = b"x" * (LIMIT + 1)
    data = message_bytes(destination, body)
    if not has_length:
        data = b"SEND\ndestination:%b\n\n%b\0" % (destination.encode(), body)
    before = server.health()["messages"]
    with open_wire(server, kind) as wire:
        wire.send(data)
        expect_refusal(wire, f"frame over the limit of {LIMIT} bytes")
    assert server.health()["messages"] == before


# ---------------------------------------------------------------- limits

N = 3
STEPS = 100
LOGIN, BODY, HEADERS, LINE, BYTES, BEAT_MS = 1024, 2048, 10, 256, 9900, 500
_BROKER = f"""
[broker]
login.max_bytes = {LOGIN}
frame.max_bytes = {BODY}
header.max_count = {HEADERS}
header.max_bytes = {LINE}
subscription.max_count = {N}
selector.max_steps = {STEPS}
transaction.max_count = {N}
transaction.max_actions = {N}
prefetch.count = {N}
redelivery.max_count = {N}
queue.max_messages = {N + 2}
queue.max_bytes = {BYTES}
heartbeat.min_ms = {BEAT_MS}
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that allows little."""
    http, stomp = free_port(), free_port()
    folder = tmp_path_factory.mktemp("small")
    server = Server(folder, tutorial_ini(http, stomp, _BROKER), http=http, stomp=stomp)
    try:
        yield server.start()
    finally:
        server.close()


def expect_refusal(wire: Wire, message: str) -> None:
    """See an ERROR that names the limit, and then the end."""
    error = wire.frame()
    assert error.command == "ERROR", error
    assert error.headers["message"] == message
    assert "max_" in error.body.decode() or "login" in message, "the limit is not named"
    assert wire.rest() == []
    if isinstance(wire, WebSocketStream):
        assert wire.close_code == 1009


def around(limit: int) -> pytest.MarkDecorator:
    """One below the limit, at it, and one above."""
    cases = [(limit - 1, True), (limit, True), (limit + 1, False)]
    return pytest.mark.parametrize("count,fits", cases, ids=["N-1", "N", "N+1"])


@both_wires
@around(LOGIN)
def test_login_max_bytes(small: Server, kind: str, count: int, fits: bool) -> None:
    head = b"CONNECT\naccept-version:1.2"
    while len(head) < count:
        # The last line takes what is left; none is too long, and none is too short to be one.
        left = count - len(head)
        line = left if left <= 200 else min(190, left - 10)
        head += b"\nh:" + b"x" * (line - 3)
    assert len(head) == count
    with wire_to(small, kind) as wire:
        wire.send(head + b"\n\n\0")
        if fits:
            assert wire.frame().command == "CONNECTED"
        else:
            expect_refusal(wire, f"frame over the limit of {LOGIN} bytes before login")


@both_wires
@around(BODY)
def test_frame_max_bytes(small: Server, kind: str, count: int, fits: bool) -> None:
    with open_wire(small, kind) as wire:
        wire.send(message_bytes("/topic/x", b"x" * count, receipt="sent"))
        if fits:
            assert wire.frame().command == "RECEIPT"
        else:
            expect_refusal(wire, f"frame over the limit of {BODY} bytes")


@both_wires
@around(HEADERS)
def test_header_max_count(small: Server, kind: str, count: int, fits: bool) -> None:
    more = "".join(f"h{number}:x\n" for number in range(count - 2))
    with open_wire(small, kind) as wire:
        wire.send(f"SEND\ndestination:/topic/x\nreceipt:sent\n{more}\n\0")
        if fits:
            assert wire.frame().command == "RECEIPT"
        else:
            expect_refusal(wire, f"more than {HEADERS} headers")


@both_wires
@around(LINE)
def test_header_max_bytes(small: Server, kind: str, count: int, fits: bool) -> None:
    line = "long:" + "x" * (count - 5)
    with open_wire(small, kind) as wire:
        wire.send(f"SEND\ndestination:/topic/x\nreceipt:sent\n{line}\n\n\0")
        if fits:
            assert wire.frame().command == "RECEIPT"
        else:
            expect_refusal(wire, f"header over the limit of {LINE} bytes")


@both_wires
@around(N)
def test_subscription_max_count(small: Server, kind: str, count: int, fits: bool) -> None:
    with open_wire(small, kind) as wire:
        for number in range(min(count, N)):
            wire.ask("SUBSCRIBE", id=str(number), destination="/topic/x")
        if not fits:
            wire.send(f"SUBSCRIBE\nid:{N}\ndestination:/topic/x\n\n\0")
            expect_refusal(wire, f"more than {N} subscriptions")


@both_wires
@around(STEPS)
def test_selector_max_steps(small: Server, kind: str, count: int, fits: bool) -> None:
    # Three steps for "a=1", one for each AND, and one for each NOT before all.
    sides = " AND ".join(["a=1"] * (count // 4))
    rest = count - (4 * (count // 4) - 1)
    selector = f"selector:{'NOT ' * rest}({sides})"
    with open_wire(small, kind) as wire:
        wire.send(f"SUBSCRIBE\nid:0\ndestination:/topic/x\nreceipt:r\n{selector}\n\n\0")
        if fits:
            assert wire.frame().command == "RECEIPT"
        else:
            expect_refusal(wire, f"selectors over the limit of {STEPS} steps")


@both_wires
@around(N)
def test_transaction_max_count(small: Server, kind: str, count: int, fits: bool) -> None:
    with open_wire(small, kind) as wire:
        for number in range(min(count, N)):
            wire.ask("BEGIN", transaction=str(number))
        if fits:
            wire.ask("ABORT", transaction="0")
        else:
            wire.send(f"BEGIN\ntransaction:{N}\n\n\0")
            expect_refusal(wire, f"more than {N} transactions open")


@both_wires
@around(N)
def test_transaction_max_actions(small: Server, kind: str, count: int, fits: bool) -> None:
    with open_wire(small, kind) as wire:
        wire.ask("SUBSCRIBE", id="0", destination=f"/topic/actions-{kind}")
        wire.ask("BEGIN", transaction="t")
        for _ in range(min(count, N)):
            wire.ask("SEND", destination=f"/topic/actions-{kind}", transaction="t")
        if fits:
            wire.send("COMMIT\ntransaction:t\n\n\0")
            assert [wire.frame().command for _ in range(count)] == ["MESSAGE"] * count
        else:
            wire.send(f"SEND\ndestination:/topic/actions-{kind}\ntransaction:t\n\n\0")
            expect_refusal(wire, f"more than {N} actions in a transaction")


@both_wires
@around(N)
def test_prefetch_count(small: Server, kind: str, count: int, fits: bool) -> None:
    destination = f"/queue/prefetch-{kind}-{count}"
    with open_wire(small, kind) as wire:
        for _ in range(count):
            wire.ask("SEND", destination=destination)
        wire.send(f"SUBSCRIBE\nid:0\ndestination:{destination}\nack:client\nreceipt:r\n\n\0")
        # The receipt comes before all that the subscription is given at first.
        assert wire.frame().command == "RECEIPT"
        messages = [wire.frame() for _ in range(min(count, N))]
        wire.send(f"ACK\nid:{messages[0].headers['ack']}\nreceipt:r\n\n\0")
        assert wire.frame().command == ("RECEIPT" if fits else "MESSAGE")


@both_wires
@around(N)
def test_redelivery_max_count(small: Server, kind: str, count: int, fits: bool) -> None:
    destination = f"/queue/tries-{kind}-{count}"
    with open_wire(small, kind) as wire:
        wire.ask("SEND", destination=destination)
        wire.send(f"SUBSCRIBE\nid:0\ndestination:{destination}\nack:client\n\n\0")
        for tries in range(min(count, N)):
            message = wire.frame()
            assert message.headers.get("x-delivery-count", "0") == str(tries)
            wire.send(f"NACK\nid:{message.headers['ack']}\n\n\0")
        if count < N:
            assert wire.frame().headers["x-delivery-count"] == str(count)
            return
        # However often one would try: this often it was, and it is in the dead letters.
        dead = destination.replace("/queue/", "/queue/DLQ.")
        wire.send(f"SUBSCRIBE\nid:1\ndestination:{dead}\n\n\0")
        assert wire.frame().headers["subscription"] == "1"


@both_wires
@around(BEAT_MS)
def test_heartbeat_min_ms(small: Server, kind: str, count: int, fits: bool) -> None:
    with wire_to(small, kind) as wire:
        connected = wire.connect(heart_beat=f"{count},{count}")
        agreed = max(count, BEAT_MS)
        assert connected.headers["heart-beat"] == f"{agreed},{agreed}"


@both_wires
@pytest.mark.parametrize("count", [N + 1, N + 2, N + 3], ids=["N-1", "N", "N+1"])
def test_queue_max_messages(small: Server, kind: str, count: int) -> None:
    limit = N + 2
    destination = f"/queue/messages-{kind}-{count}"
    with open_wire(small, kind) as publisher, open_wire(small, kind) as consumer:
        for _ in range(min(count, limit)):
            publisher.ask("SEND", destination=destination)
        if count <= limit:
            assert f"{destination} is full" not in small.log()
        else:
            expect_wait(small, publisher, destination, consumer)


@both_wires
@pytest.mark.parametrize("over", [-1, 0, 1], ids=["N-1", "N", "N+1"])
def test_queue_max_bytes(small: Server, kind: str, over: int) -> None:
    destination = f"/queue/bytes-{kind}-{over}"
    with open_wire(small, kind) as publisher, open_wire(small, kind) as consumer:
        before = small.health()["held_bytes"]
        send_confirmed(publisher, destination, BODY)
        first = small.health()["held_bytes"] - before
        send_confirmed(publisher, destination, 1000)
        # What one counts beside its body; the same for all, if their lengths have four digits.
        overhead = small.health()["held_bytes"] - before - first - 1000
        queue = first - BODY - overhead
        send_confirmed(publisher, destination, 1000)
        send_confirmed(publisher, destination, BYTES + over - BODY - 2000 - 4 * overhead)
        assert small.health()["held_bytes"] - before - queue == BYTES + over
        if over < 0:
            publisher.ask("SEND", destination=destination)
            assert f"{destination} is full" not in small.log()
        else:
            expect_wait(small, publisher, destination, consumer)


def send_confirmed(publisher: Wire, destination: str, size: int) -> None:
    assert 1000 <= size <= BODY
    publisher.send(message_bytes(destination, b"x" * size, receipt="r"))
    assert publisher.frame().command == "RECEIPT"


def expect_wait(server: Server, publisher: Wire, destination: str, consumer: Wire) -> None:
    """See that one more message waits, and goes on when there is room."""
    publisher.send(f"SEND\ndestination:{destination}\nreceipt:late\n\nlate\0")
    until("waiting publisher", lambda: f"{destination} is full" in server.log())
    assert not publisher.has_data
    consumer.send(f"SUBSCRIBE\nid:0\ndestination:{destination}\n\n\0")
    receipt = publisher.frame()
    assert receipt.headers == {"receipt-id": "late"}
    while consumer.frame().body != b"late":
        pass
    consumer.ask("UNSUBSCRIBE", id="0")


# ---------------------------------------------------------------- all of them

ELSEWHERE = {
    "login_timeout_s": "tests/net/test_stomp.py, with a clock",
    "max_backlog_bytes": "tests/net/connection/test_writer.py; live/test_slow_subscribers.py",
    "stalled_backlog_bytes": "tests/net/stomp/test_backlogs.py; live/test_slow_subscribers.py",
    "stall_timeout_s": "tests/net/stomp/test_backlogs.py; live/test_slow_subscribers.py",
    "min_topic_rate": "tests/net/stomp/test_backlogs.py, with a clock",
    "heartbeat_send_ms": "tests/core/test_session.py: no limit but an offer",
    "heartbeat_receive_ms": "tests/core/test_session.py: no limit but an offer",
    "show_server": "tests/core/test_session.py: a switch",
    "frame_timeout_s": "tests/net/stomp/test_incomplete_frames.py, with a clock",
    "max_held_bytes": "tests/core/flow/test_holding.py",
    "max_consumers": "tests/core/broker/test_new_queues.py",
    "max_of_destination": "tests/core/session/test_quota.py",
    "max_shared_selector_steps": "tests/core/session/test_quota.py",
    "max_shared_pattern_steps": "tests/core/session/test_quota.py",
    "max_names": "tests/net/stomp/test_memory.py",
    "max_queues": "tests/core/broker/test_new_queues.py",
    "max_bytes": "tests/core/test_flow.py, to the byte; live/test_flow_control.py",
}
HERE = {
    "max_login_bytes": test_login_max_bytes,
    "max_frame_bytes": test_frame_max_bytes,
    "max_headers": test_header_max_count,
    "max_header_bytes": test_header_max_bytes,
    "max_subscriptions": test_subscription_max_count,
    "max_selector_steps": test_selector_max_steps,
    "max_transactions": test_transaction_max_count,
    "max_transaction_actions": test_transaction_max_actions,
    "prefetch": test_prefetch_count,
    "max_deliveries": test_redelivery_max_count,
    "min_heartbeat_ms": test_heartbeat_min_ms,
    "max_queue_messages": test_queue_max_messages,
    "max_queue_bytes": test_queue_max_bytes,
}


def test_every_limit_has_a_test() -> None:
    limits = {field.name for kind in (Limits, BrokerLimits) for field in fields(kind)}
    assert limits == HERE.keys() | ELSEWHERE.keys()
