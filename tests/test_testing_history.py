"""History in the broker for other people's tests: resuming, retention, restarts, slow disks."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from pathlib import Path

import pytest

from rtchat.errors import StoreUnusable
from rtchat.testing import (
    Broker,
    Client,
    Closed,
    HistoryLimits,
    HistoryRule,
    NothingReceived,
    NotRunning,
    Refused,
    ServerFailed,
)

KEPT = (HistoryRule("/topic/chat*", 5), HistoryRule("/topic/old", 1000, max_age_s=60.0))
DAY_S = 86400.0


@pytest.fixture
def broker() -> Broker:
    return Broker(history=KEPT)


def fill(broker: Broker, count: int, destination: str = "/topic/chat", start: int = 0) -> None:
    """Publish messages with their numbers as bodies."""
    publisher = broker.connect()
    for number in range(start, start + count):
        publisher.send(destination, str(number))
    publisher.disconnect()


def listen(broker: Broker, start: str, destination: str = "/topic/chat", **headers: str) -> Client:
    """Connect a client that subscribes from a place in the history."""
    client = broker.connect()
    client.subscribe(destination, x_stream_offset=start, **headers)
    return client


def bodies(client: Client) -> list[str]:
    return [frame.body.decode() for frame in client.received() if frame.command == "MESSAGE"]


@pytest.mark.parametrize(
    "start, expected",
    [
        ("first", ["0", "1", "2", "3", "new"]),
        ("last", ["3", "new"]),
        ("next", ["new"]),
        ("offset=2", ["2", "3", "new"]),
        ("offset=9", ["new"]),
        ("timestamp=1700000020", ["2", "3", "new"]),
        ("timestamp=1700000011.5", ["2", "3", "new"]),
        ("timestamp=1800000000", ["new"]),
    ],
)
def test_a_subscriber_begins_where_it_asks_to(
    broker: Broker, start: str, expected: list[str]
) -> None:
    for number in range(4):
        fill(broker, 1, start=number)
        broker.advance(10)
    client = listen(broker, start)
    broker.connect().send("/topic/chat", "new")
    assert bodies(client) == expected


def test_a_client_that_comes_back_misses_nothing(broker: Broker) -> None:
    reader = listen(broker, "first")
    fill(broker, 2)
    assert bodies(reader)[:1] == ["0"]
    reader.drop()
    fill(broker, 2, start=2)
    late = broker.connect()
    late.subscribe("/topic/chat", x_stream_offset="last")
    position = late.receive()
    assert position.headers["timestamp"] == "1700000000000"
    again = broker.connect()
    again.subscribe(
        "/topic/chat",
        x_stream_offset="offset=1",
        x_stream_epoch=position.headers["x-stream-epoch"],
        receipt=1,
    )
    receipt = again.receive("RECEIPT")
    assert receipt.headers["x-stream-offset"] == "4"
    assert receipt.headers["x-stream-recovered"] == "true"
    first = again.receive()
    assert (first.body, first.headers["x-stream-recovered"]) == (b"1", "true")
    assert bodies(again) == ["2", "3"]


def test_a_client_learns_that_something_is_gone(broker: Broker) -> None:
    fill(broker, 1)
    epoch = listen(broker, "first").receive().headers["x-stream-epoch"]
    fill(broker, 7, start=1)
    assert broker.kept_messages == 5
    first = listen(broker, "offset=1", x_stream_epoch=epoch).receive()
    assert (first.body, first.headers["x-stream-recovered"]) == (b"3", "false")


def test_messages_go_when_they_are_too_old(broker: Broker) -> None:
    fill(broker, 3, "/topic/old")
    broker.advance(50)
    fill(broker, 1, "/topic/old", start=3)
    assert broker.kept_messages == 4
    broker.advance(20)
    assert broker.kept_messages == 1
    assert bodies(listen(broker, "first", "/topic/old")) == ["3"]
    broker.advance(30 * DAY_S)
    assert broker.kept_messages == 0


def test_messages_go_when_they_are_too_large() -> None:
    limits = HistoryLimits(max_destination_bytes=64 * 1024)
    broker = Broker(history=KEPT, history_limits=limits)
    publisher = broker.connect()
    for _ in range(5):
        publisher.send("/topic/chat", b"x" * 20_000)
    broker.advance(11)
    assert broker.kept_messages == 3


def test_a_full_store_makes_room() -> None:
    broker = Broker(history=[HistoryRule("/topic/*", 10_000)], history_bytes=1024 * 1024)
    publisher = broker.connect()
    for _ in range(200):
        publisher.send("/topic/a", b"x" * 10_000)
        broker.advance(1)
    assert 20 < broker.kept_messages < 100
    assert not publisher.is_closed


def test_a_long_history_is_replayed_in_order_and_new_messages_come_after_it() -> None:
    broker = Broker(history=[HistoryRule("/topic/a", 5000)])
    fill(broker, 3000, "/topic/a")
    client = listen(broker, "first", "/topic/a")
    fill(broker, 10, "/topic/a", start=3000)
    assert bodies(client) == [str(number) for number in range(3010)]


def test_a_transaction_takes_effect_with_its_messages(broker: Broker) -> None:
    reader = listen(broker, "next")
    publisher = broker.connect()
    name = publisher.begin()
    publisher.send("/topic/chat", "1", transaction=name)
    publisher.send("/queue/jobs", "2", transaction=name)
    broker.disk.is_slow = True
    publisher.commit(name, receipt=7)
    assert (broker.held_messages, bodies(reader)) == (0, [])
    broker.advance(0)
    assert (broker.held_messages, bodies(reader)) == (1, ["1"])
    assert publisher.receive("RECEIPT").headers["receipt-id"] == "7"


def test_without_rules_nothing_is_kept() -> None:
    client = Broker().connect()
    client.subscribe("/topic/chat", x_stream_offset="first")
    with pytest.raises(Refused, match="history"):
        client.receive()
    assert Broker().kept_messages == 0


# ---------------------------------------------------------------- the disk


def test_a_slow_disk_holds_message_and_receipt_until_time_passes(broker: Broker) -> None:
    reader, publisher = listen(broker, "next"), broker.connect()
    broker.disk.is_slow = True
    publisher.send("/topic/chat", "1", receipt="r")
    publisher.send("/topic/other", "at once", receipt="s")
    for client in (reader, publisher):
        with pytest.raises(NothingReceived):
            client.receive()
    broker.advance(0.1)
    assert bodies(reader) == ["1"]
    assert [frame.headers["receipt-id"] for frame in publisher.received()] == ["r", "s"]
    publisher.send("/topic/chat", "2")
    broker.disk.is_slow = False
    publisher.send("/topic/chat", "3")
    assert bodies(reader) == ["2", "3"]


def test_a_disk_that_cannot_be_written_is_an_error_for_publishers(broker: Broker) -> None:
    reader, publisher = listen(broker, "next"), broker.connect()
    broker.disk.problem = "disk is full"
    publisher.send("/topic/chat", "1", receipt="r")
    with pytest.raises(Refused, match="history cannot be written: The message was not published"):
        publisher.receive("RECEIPT")
    assert bodies(reader) == []
    broker.disk.problem = ""
    fill(broker, 1)
    assert bodies(reader) == ["0"]


def test_neither_a_thread_nor_a_nap_is_needed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr(threading.Thread, "start", fail)
    monkeypatch.setattr(time, "sleep", fail)
    before = threading.active_count()
    own = Broker(history=KEPT)
    fill(own, 7)
    own.advance(DAY_S)
    assert len(bodies(listen(own, "first"))) == 5
    assert threading.active_count() == before


# ---------------------------------------------------------------- restarts


def test_a_restart_keeps_what_is_in_a_file(tmp_path: Path) -> None:
    broker = Broker(history=KEPT, history_file=tmp_path / "history.sqlite")
    fill(broker, 3)
    reader = listen(broker, "first")
    epoch = reader.receive().headers["x-stream-epoch"]
    broker.connect().send("/queue/jobs", "lost")
    broker.disk.is_slow = True
    broker.connect().send("/topic/chat", "3")
    broker.restart()
    assert reader.is_closed
    assert (broker.clients, broker.subscriptions, broker.held_messages) == (0, 0, 0)
    assert broker.kept_messages == 4
    again = listen(broker, "offset=1", x_stream_epoch=epoch)
    broker.advance(0)
    assert again.receive().headers["x-stream-recovered"] == "true"
    assert bodies(again) == ["2", "3"]
    assert again.session != reader.session


def test_a_restart_loses_what_is_in_memory(broker: Broker) -> None:
    fill(broker, 3)
    epoch = listen(broker, "last").receive().headers["x-stream-epoch"]
    broker.restart()
    fill(broker, 5)
    first = listen(broker, "offset=3", x_stream_epoch=epoch).receive()
    assert (first.body, first.headers["x-stream-recovered"]) == (b"0", "false")
    assert first.headers["x-stream-epoch"] != epoch


def test_what_is_not_stored_dies_with_the_server(tmp_path: Path) -> None:
    broker = Broker(history=KEPT, history_file=tmp_path / "history.sqlite")
    publisher = broker.connect()
    publisher.send("/topic/chat", "1", receipt="stored")
    broker.disk.is_slow = True
    publisher.send("/topic/chat", "2", receipt="lost")
    broker.kill()
    broker.kill()  # once more does nothing
    assert publisher.is_closed
    assert [frame.headers["receipt-id"] for frame in publisher.received()] == ["stored"]
    broker.disk.is_slow = False
    broker.advance(60)
    broker.start()
    assert bodies(listen(broker, "first")) == ["1"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_nothing_happens_while_the_server_is_stopped(broker: Broker, end: str) -> None:
    client = broker.connect(heartbeat=(0, 1000))
    broker.connect().stall()
    fill(broker, 3)
    getattr(broker, end)()
    assert not broker.is_running
    assert (broker.clients, client.is_closed) == (0, True)
    beats = client.heartbeats
    broker.advance(DAY_S)
    assert (client.heartbeats, list(client.received())) == (beats, [])
    with pytest.raises(NotRunning, match="stopped; start"):
        broker.connect()
    with pytest.raises(ConnectionRefusedError):
        broker.connect_raw()
    with pytest.raises(Closed):
        client.send("/topic/chat")
    client.drop()
    broker.start()
    assert broker.is_running
    with pytest.raises(ServerFailed, match="is running"):
        broker.start()
    assert broker.connect().session.startswith("test2-")


def test_a_file_has_one_broker_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    broker = Broker(history=KEPT, history_file=path)
    fill(broker, 2)
    with pytest.raises(StoreUnusable, match="another rtchat uses it"):
        Broker(history=KEPT, history_file=path)
    broker.stop()
    broker.stop()  # once more does nothing
    other = Broker(history=KEPT, history_file=path, start_s=broker.clock.seconds() + 60)
    assert bodies(listen(other, "first")) == ["0", "1"]


def test_a_broker_that_is_forgotten_closes_its_file(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        broker = Broker(history=KEPT, history_file=path)
        fill(broker, 1)
        listen(broker, "first")
        del broker
        gc.collect()
    assert Broker(history=KEPT, history_file=path).kept_messages == 1


def test_a_stalled_client_does_not_hold_up_the_end(broker: Broker) -> None:
    reader = listen(broker, "next")
    reader.stall()
    publisher = broker.connect()
    for _ in range(40):
        publisher.send("/topic/chat", b"x" * 20_000)
    broker.stop()
    assert broker.clients == 0
    assert reader.is_closed
    assert publisher.is_closed
