"""The broker for other people's tests keeps its promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.documents import Block, blocks_of
from support.process import ROOT, environment

from rtchat.errors import ConfigError
from rtchat.testing import (
    Broker,
    BrokerLimits,
    ChatPolicy,
    Closed,
    Frame,
    Limits,
    NothingReceived,
    Refused,
)

MANUAL = ROOT / "docs" / "testing.md"


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.mark.parametrize("block", blocks_of(MANUAL), ids=str)
def test_the_manuals_examples_run(block: Block) -> None:
    if block.language == "python" and "def test_" not in block.text:
        exec(compile(block.text, str(block), "exec"), {})


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
    with pytest.raises(NothingReceived, match="has sent a RECEIPT, not a MESSAGE") as caught:
        client.receive()
    assert caught.value.frame is not None
    assert repr(caught.value.frame) in str(caught.value)
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


def test_an_error_says_what_its_body_says(broker: Broker) -> None:
    client = broker.connect_raw()
    with pytest.raises(Refused) as caught:
        client.log_in("3.0", (0, 0), {"receipt": "r"})
    refused = caught.value
    assert refused.message == refused.frame.headers["message"]
    message, _, detail = refused.body.partition("\n")
    assert message == refused.message
    assert detail.strip()
    assert str(refused) == f"{message}: {detail.strip()}"
    assert refused.frame.headers["receipt-id"] == "r"


@pytest.mark.parametrize(
    "frame, text",
    [
        (Frame("ERROR", {"message": "no"}, b"no\nAsk later.\n"), "no: Ask later."),
        (Frame("ERROR", {"message": "no"}, b"no\n"), "no"),
        (Frame("ERROR", {"message": "no"}, b"Ask \xff."), "no: Ask \ufffd."),
        (Frame("ERROR", {}, b"Ask later."), "ERROR: Ask later."),
        (Frame("ERROR"), "ERROR"),
    ],
)
def test_the_text_of_an_error_says_all_once(frame: Frame, text: str) -> None:
    assert str(Refused(frame)) == text


def test_a_closed_connection_says_why_it_was_closed(broker: Broker) -> None:
    client = broker.connect()
    client.transmit("SEND")
    reason = "after ERROR: SEND without destination: "
    with pytest.raises(Closed, match=f"has closed this connection {reason}") as closed:
        client.send("/topic/a")
    assert closed.value.frame is not None
    assert closed.value.frame.body == client.receive("ERROR").body
    with pytest.raises(NothingReceived, match=f"the connection is closed {reason}"):
        client.receive()
    with pytest.raises(Closed, match=reason):
        client.begin()
    other = broker.connect()
    other.drop()
    with pytest.raises(Closed, match=r"has closed this connection$"):
        other.send("/topic/a")
    with pytest.raises(NothingReceived, match=r"not sent a MESSAGE; the connection is closed$"):
        other.receive()


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


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_a_transaction_waits_for_commit(broker: Broker, version: str) -> None:
    client, reader = broker.connect(version), broker.connect()
    client.subscribe("/queue/a", ack="client-individual")
    reader.subscribe("/topic/a")
    client.send("/queue/a", b"1")
    message = client.receive()
    name = client.begin()
    client.ack(message, name)
    client.send("/topic/a", "news", transaction=name)
    assert broker.held_messages == 1
    assert list(reader.received()) == []
    client.commit(name, receipt="done")
    assert broker.held_messages == 0
    assert reader.receive().body == b"news"
    assert client.receive("RECEIPT").headers["receipt-id"] == "done"


def test_a_transaction_can_be_aborted(broker: Broker) -> None:
    client, reader = broker.connect(), broker.connect()
    reader.subscribe("/topic/a")
    client.subscribe("/queue/a", ack="client-individual")
    client.send("/queue/a", b"1")
    name = client.begin()
    client.nack(client.receive(), name)
    client.send("/topic/a", "news", transaction=name)
    client.abort(name)
    assert list(client.received()) == list(reader.received()) == []
    assert broker.held_messages == 1


def test_each_transaction_has_a_name_of_its_own(broker: Broker) -> None:
    client = broker.connect()
    assert [client.begin(), client.begin(), client.begin("mine"), client.begin(0)] == [
        "tx-1",
        "tx-2",
        "mine",
        "0",
    ]
    client.commit(0)
    client.abort("mine")
    client.commit("mine")
    with pytest.raises(Refused, match="no such transaction: It needs a BEGIN"):
        client.receive()


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


def test_numbers_may_be_headers_ids_and_names_everywhere(broker: Broker) -> None:
    client = broker.connect()
    assert client.subscribe("/queue/a", 7, ack="client", prefetch_count=2, receipt=1) == "7"
    assert client.begin(0, receipt=2) == "0"
    for number in range(2):
        client.send("/queue/a", str(number), x_number=number, receipt=3 + number)
    frames = list(client.received())
    messages = [frame for frame in frames if frame.command == "MESSAGE"]
    assert [frame.headers["x-number"] for frame in messages] == ["0", "1"]
    client.ack(messages[0], 0, receipt=5)
    client.nack(messages[1], 0, requeue=False, receipt=6)
    client.commit(0, receipt=7)
    client.begin(True, receipt=8)
    client.abort(True, receipt=9)
    client.unsubscribe(7, receipt=10)
    frames += client.received()
    receipts = [frame.headers["receipt-id"] for frame in frames if frame.command == "RECEIPT"]
    assert receipts == [str(number) for number in range(1, 11)]
    assert broker.held_messages == 1  # the dead letter


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
        (lambda client: client.subscribe("/a", 1.5), "the header id has the value 1.5"),
        (lambda client: client.begin(None), "the header transaction has the value None"),
        (lambda client: client.commit(b"x"), "the header transaction has the value b'x'"),
        (lambda client: client.abort("x", receipt=[]), "the header receipt has the value"),
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


# ---------------------------------------------------------------- rates


def test_messages_above_the_rate_wait_for_their_time() -> None:
    broker = Broker(chat=ChatPolicy(messages_per_second=2, burst=3))
    reader, publisher = broker.connect(), broker.connect()
    reader.subscribe("/topic/a")
    for number in range(6):
        publisher.send("/topic/a", str(number))
    assert [frame.body for frame in reader.received()] == [b"0", b"1", b"2"]
    assert publisher.is_paused
    broker.advance(0.4)
    assert list(reader.received()) == []
    broker.advance(0.2)
    assert [frame.body for frame in reader.received()] == [b"3"]
    broker.advance(1)
    assert [frame.body for frame in reader.received()] == [b"4", b"5"]
    assert not publisher.is_paused


def test_clients_share_the_rate_of_their_address() -> None:
    broker = Broker(chat=ChatPolicy(messages_per_second=1, burst=2))
    reader = broker.connect(address="2001:db8::1")
    reader.subscribe("/topic/a")
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        client = broker.connect(address=address)
        for _ in range(2):
            client.send("/topic/a", address)
    assert [frame.body for frame in reader.received()] == [b"192.0.2.1"] * 2 + [b"192.0.2.2"] * 2
    broker.advance(2)
    assert [frame.body for frame in reader.received()] == [b"192.0.2.1"] * 2


def test_a_pause_gives_the_burst_back() -> None:
    broker = Broker(chat=ChatPolicy(messages_per_second=1, burst=5))
    publisher = broker.connect()
    for _ in range(2):
        for number in range(5):
            publisher.send("/queue/a", str(number))
        assert not publisher.is_paused
        broker.advance(60)
    assert broker.held_messages == 10


def test_subscriptions_have_a_rate_of_their_own() -> None:
    broker = Broker(chat=ChatPolicy(subscriptions_per_second=1, subscriptions_burst=2))
    client = broker.connect()
    for number in range(4):
        client.subscribe(f"/topic/{number}")
    assert broker.subscriptions == 2
    broker.advance(1.1)
    assert broker.subscriptions == 3
    broker.advance(1)
    assert broker.subscriptions == 4


# ---------------------------------------------------------------- settings

SETTINGS = """\
[listen]
https://:443
[broker]
login.timeout = 3
queue.max_messages = 2
[pubsub]
orders = /queue/billing, /queue/shipping
[chat]
text.max_characters = 5
[rate]
messages_per_second = 2
[history]
/topic/chat* = 2, 1 hour
file = /no/such/folder/history.sqlite
"""


def test_a_broker_has_the_settings_of_a_chat_ini(tmp_path: Path) -> None:
    path = tmp_path / "chat.ini"
    path.write_text(SETTINGS, encoding="utf-8")
    for settings in (SETTINGS, path):
        broker = Broker.from_settings(settings)
        stranger, client = broker.connect_raw(), broker.connect()
        for number in range(11):
            client.send("/topic/chat", str(number))
        assert broker.kept_messages == 2
        assert client.is_paused  # the burst is what five seconds allow, as in a server
        broker.advance(5)
        assert stranger.is_closed
        client.send("/pubsub/orders", "1")
        assert broker.held_messages == 2
        client.send("/topic/chat", "too long")
        with pytest.raises(Refused, match="text longer than 5 characters: The limit is"):
            client.receive()
        broker.advance(3611)
        assert broker.kept_messages == 0


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^settings:2: \[rate\] message_per_second .*did you mean"
    ):
        Broker.from_settings("[rate]\nmessage_per_second = 2\n")
    with pytest.raises(ConfigError, match="where a number of messages from 1 to"):
        Broker.from_settings("[history]\n/topic/a = many\n")
    with pytest.raises(ConfigError, match="has no effect without messages_per_second"):
        Broker.from_settings("[rate]\nburst = 2\n")
    with pytest.raises(FileNotFoundError):
        Broker.from_settings(Path("no.such.ini"))


def test_a_broker_from_settings_keeps_messages_in_the_file_of_the_test(tmp_path: Path) -> None:
    broker = Broker.from_settings(SETTINGS, history_file=tmp_path / "h.sqlite", start_s=5e8)
    broker.connect().send("/topic/chat", "1")
    broker.restart()
    assert broker.kept_messages == 1
    client = broker.connect()
    client.subscribe("/topic/chat", x_stream_offset="first")
    assert client.receive().headers["timestamp"] == "500000000000"


def test_a_suite_that_takes_warnings_for_errors_can_use_all_of_it() -> None:
    program = (
        "from rtchat.testing import Broker\n"
        "Broker.from_settings('[history]\\n/topic/a = 1\\n').connect().send('/topic/a', 'x')\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment(), check=True, timeout=60
    )
