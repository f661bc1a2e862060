"""The broker for other people's tests keeps its promises."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.stomp.limits import Limits
from rtchat.testing import Broker, Closed, NothingReceived, Refused

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def broker() -> Broker:
    return Broker()


def test_the_manuals_example_runs() -> None:
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(example, "testing.md", "exec"), {})


def test_a_message_goes_from_one_client_to_another(broker: Broker) -> None:
    listener = broker.connect("1.1")
    name = listener.subscribe("/topic/a")
    broker.connect().send("/topic/a", "grüße", x_colour="blue")
    message = listener.receive()
    assert message.body == "grüße".encode()
    assert message.headers["x-colour"] == "blue"
    assert message.headers["subscription"] == name
    listener.unsubscribe(name)
    broker.connect().send("/topic/a", b"x")
    assert list(listener.received()) == []


def test_waiting_for_nothing_is_an_assertion_that_fails(broker: Broker) -> None:
    client = broker.connect()
    with pytest.raises(NothingReceived, match="has not sent a MESSAGE"):
        client.receive()
    client.transmit("SEND", {"destination": "/topic/a", "receipt": "r"})
    with pytest.raises(NothingReceived, match="has sent a RECEIPT, not a MESSAGE"):
        client.receive()
    assert client.receive("RECEIPT").headers["receipt-id"] == "r"


def test_an_error_is_raised_where_something_else_is_awaited(broker: Broker) -> None:
    client = broker.connect()
    client.transmit("SEND")
    with pytest.raises(Refused, match="SEND without destination") as caught:
        client.receive()
    assert caught.value.frame.command == "ERROR"
    assert client.is_closed
    with pytest.raises(Closed):
        client.send("/topic/a")


def test_an_error_can_be_awaited(broker: Broker) -> None:
    client = broker.connect_raw()
    client.transmit_bytes(b"NONSENSE\n\n\0")
    assert client.receive("ERROR").headers["message"] == "unknown command"


def test_disconnect_is_confirmed_and_leaves_nothing(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe("/topic/a")
    assert (broker.clients, broker.subscriptions) == (1, 1)
    client.disconnect()
    assert (broker.clients, broker.subscriptions) == (0, 0)


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_ack_and_nack_name_a_message_in_every_version(broker: Broker, version: str) -> None:
    client = broker.connect(version)
    client.subscribe("/queue/a", ack="client-individual")
    client.send("/queue/a", b"1")
    client.nack(client.receive())
    message = client.receive()
    assert message.headers["redelivered"] == "true"
    client.ack(message)
    assert broker.held_messages == 0


def test_transactions_wait_for_commit(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe("/queue/a", ack="client-individual")
    client.send("/queue/a", b"1")
    message = client.receive()
    client.transmit("BEGIN", {"transaction": "t"})
    client.ack(message, "t")
    assert broker.held_messages == 1
    client.transmit("COMMIT", {"transaction": "t"})
    assert broker.held_messages == 0


def test_heartbeats_come_as_time_passes(broker: Broker) -> None:
    client = broker.connect(heartbeat=(0, 1000))
    broker.advance(4)
    assert client.heartbeats == 5  # every 0.8 s


def test_a_client_that_beats_stays(broker: Broker) -> None:
    client = broker.connect(heartbeat=(1000, 0))
    for _ in range(10):
        broker.advance(1)
        client.beat()
    broker.advance(1.9)
    assert not client.is_closed
    broker.advance(0.2)
    assert client.is_closed


def test_messages_expire_as_time_passes(broker: Broker) -> None:
    broker.connect().send("/queue/a", b"x", expiration="5000")
    broker.advance(4)
    assert broker.held_messages == 1
    broker.advance(2)
    assert broker.held_messages == 0


def test_all_has_expired_however_much_it_is(broker: Broker) -> None:
    publisher = broker.connect()
    for number in range(6000):
        publisher.send(f"/queue/{number % 3}", b"x", expiration="1000")
    broker.advance(2)
    assert broker.held_messages == 0


def test_a_login_that_does_not_come_is_a_time_out(broker: Broker) -> None:
    client = broker.connect_raw()
    broker.advance(9.9)
    assert not client.is_closed
    broker.advance(0.2)
    assert client.receive("ERROR").headers["message"] == "no CONNECT within 10 seconds"


def test_a_publisher_waits_for_a_full_queue_and_the_operator_hears_of_it() -> None:
    broker = Broker(broker_limits=BrokerLimits(max_queue_messages=2))
    publisher = broker.connect()
    for number in range(4):
        publisher.transmit("SEND", {"destination": "/queue/a", "receipt": str(number)})
    assert [frame.headers["receipt-id"] for frame in publisher.received()] == ["0", "1"]
    assert publisher.is_paused
    assert [notice.kind for notice in broker.notices] == ["queue full"]
    consumer = broker.connect()
    consumer.subscribe("/queue/a")
    assert len(list(consumer.received())) == 4
    assert not publisher.is_paused
    assert [frame.headers["receipt-id"] for frame in publisher.received()] == ["2", "3"]


def test_a_stalled_client_is_cut_and_others_go_on() -> None:
    broker = Broker(Limits(max_backlog_bytes=100_000))
    stalled, healthy = broker.connect(), broker.connect()
    for client in (stalled, healthy):
        client.subscribe("/topic/a")
    stalled.stall()
    publisher = broker.connect()
    for _ in range(500):
        publisher.send("/topic/a", b"x" * 1000)
    assert len(list(healthy.received())) == 500
    broker.advance(6)
    assert stalled.is_closed
    assert not healthy.is_closed


def test_a_client_that_reads_again_gets_what_piled_up(broker: Broker) -> None:
    client = broker.connect()
    client.subscribe("/topic/a")
    client.stall()
    broker.connect().send("/topic/a", b"1")
    assert list(client.received()) == []
    client.read_on()
    assert client.receive().body == b"1"


def test_numbers_and_truths_may_be_headers(broker: Broker) -> None:
    worker = broker.connect(headers={"x-number": 7})
    worker.subscribe("/queue/a", ack="client-individual", prefetch_count=1)
    sender = broker.connect()
    sender.send("/queue/a", "one", priority=9, persistent=True)
    sender.send("/queue/a", "two")
    one = worker.receive()
    assert (one.headers["priority"], one.headers["persistent"]) == ("9", "true")
    with pytest.raises(NothingReceived):
        worker.receive()
    worker.ack(one)
    assert worker.receive().body == b"two"


@pytest.mark.parametrize(
    "call, said",
    [
        (
            lambda client: client.send("/a", "x", expires=1.5),
            "the header expires has the value 1.5",
        ),
        (lambda client: client.subscribe("/a", ack=None), "the header ack has the value None"),
        (lambda client: client.subscribe(b"/a"), "the header destination has the value b'/a'"),
        (lambda client: client.send("/a", {"a": 1}), "the body is of type dict"),
        (lambda client: client.transmit("SEND", {1: "x"}), "the header 1 has a name that is no"),
        (lambda client: client.unsubscribe(None), "the header id has the value None"),
    ],
)
def test_a_value_that_cannot_be_sent_is_named(
    broker: Broker, call: Callable[[Any], object], said: str
) -> None:
    client = broker.connect()
    with pytest.raises(TypeError, match=f"^{said}"):
        call(client)
    assert not client.is_closed


def test_a_version_that_is_a_number_is_named(broker: Broker) -> None:
    version: Any = 1.2
    with pytest.raises(TypeError, match=r"^the header accept-version has the value 1\.2 \(float\)"):
        broker.connect(version)
