"""More names than the store has places: the talk goes on, and little is forgotten for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.core import errors
from support.history import Keeper, offsets

from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.core.history.stream import Stream

RULES = [HistoryRule("/topic/chat*", 9, 600.0)]


def keeper(tmp_path: Path, places: int) -> Keeper:
    return Keeper(tmp_path / "x.sqlite", RULES, HistoryLimits(max_destinations=places))


def names(server: Keeper) -> list[str]:
    return sorted(name.rpartition(".")[2] for name in server.history.names())


def test_a_new_name_takes_the_place_of_the_one_with_the_fewest_messages(tmp_path: Path) -> None:
    server = keeper(tmp_path, 3)
    server.fill("/topic/chat.tea", 3)
    server.fill("/topic/chat.once", 1)
    server.fill("/topic/chat.twice", 2)
    reader, publisher = server.client(), server.client()
    reader.subscribe("/topic/chat.new")
    publisher.say("SEND", "x", destination="/topic/chat.new", receipt="1")
    server.settle()
    assert publisher.receipts() == ["1"]
    assert reader.bodies() == ["x"]
    assert names(server) == ["new", "tea", "twice"]
    assert server.history.evicted == 1
    server = server.stop()
    assert names(server) == ["new", "tea", "twice"]


def test_names_that_somebody_makes_up_push_out_each_other(tmp_path: Path) -> None:
    server = keeper(tmp_path, 50)
    for room in range(10):
        server.fill(f"/topic/chat.room{room}", 2)
    for number in range(500):
        server.fill(f"/topic/chat.{number}", 1)
    assert names(server) == sorted(
        [f"room{n}" for n in range(10)] + [str(n) for n in range(460, 500)]
    )
    assert server.listen("/topic/chat.room0").bodies() == ["0", "1"]


def test_a_room_that_grew_since_it_was_looked_at_stays(tmp_path: Path) -> None:
    server = keeper(tmp_path, 2)
    server.fill("/topic/chat.a", 1)
    server.fill("/topic/chat.b", 1)
    server.fill("/topic/chat.c", 1)
    server.fill("/topic/chat.b", 4)
    server.fill("/topic/chat.d", 1)
    assert names(server) == ["b", "d"]


def test_of_two_with_as_many_the_one_without_readers_goes(tmp_path: Path) -> None:
    server = keeper(tmp_path, 2)
    reader = server.client()
    reader.subscribe("/topic/chat.read")
    server.fill("/topic/chat.read", 1)
    server.fill("/topic/chat.unread", 1)
    server.fill("/topic/chat.new", 1)
    assert names(server) == ["new", "read"]


def test_an_empty_one_goes_first_and_who_comes_back_learns_it(tmp_path: Path) -> None:
    server = keeper(tmp_path, 2)
    server.fill("/topic/chat.a", 1)
    epoch = server.listen("/topic/chat.a").messages()[0].headers["x-stream-epoch"]
    server.advance(500)
    server.fill("/topic/chat.b", 1)
    server.advance(200)
    server.expire()
    server.settle()
    server.fill("/topic/chat.c", 1)
    assert names(server) == ["b", "c"]
    assert server.history.evicted == 0  # nothing was lost that was not too old
    reader = server.listen("/topic/chat.a", "offset=1", x_stream_epoch=epoch, receipt="r")
    [receipt] = reader.received()
    assert receipt.headers["x-stream-recovered"] == "false"
    assert receipt.headers["x-stream-epoch"] != epoch


def test_subscribers_of_all_names_cannot_close_the_door(tmp_path: Path) -> None:
    server = keeper(tmp_path, 3)
    watchers = []
    for name in "abc":
        watcher = server.client()
        watcher.subscribe(f"/topic/chat.{name}", "0", x_stream_offset="first")
        watchers.append(watcher)
        server.fill(f"/topic/chat.{name}", 1)
    before = [watcher.message() for watcher in watchers]
    server.fill("/topic/chat.d", 1)
    assert names(server) == ["b", "c", "d"]
    # The one whose messages were forgotten goes on, as a new stream.
    server.fill("/topic/chat.a", 2)
    after = watchers[0].messages()
    assert offsets(after) == [0, 1]
    assert len({frame.headers["x-stream-epoch"] for frame in (before[0], *after)}) == 2
    assert names(server) == ["a", "b", "c"]  # d has no reader


@pytest.mark.parametrize("slow, error", [("close", True), ("latest", False)])
def test_who_is_still_catching_up_is_told_what_is_lost(
    tmp_path: Path, slow: str, error: bool
) -> None:
    server = keeper(tmp_path, 1)
    server.fill("/topic/chat.a", 5)
    reader = server.listen("/topic/chat.a", ack="client", prefetch_count="2", x_slow=slow)
    first, second = reader.messages()
    server.fill("/topic/chat.b", 1)
    if error:
        assert errors(reader.received()) == [
            "too slow: 3 messages are no longer kept that were to come next"
        ]
        return
    reader.ack(second)
    server.fill("/topic/chat.a", 1)
    [frame] = reader.messages()
    assert frame.headers["x-stream-offset"] == "0"
    assert frame.headers["x-dropped"] == "3"
    assert frame.headers["x-stream-epoch"] != first.headers["x-stream-epoch"]


def test_who_waits_with_nothing_missed_goes_on(tmp_path: Path) -> None:
    server = keeper(tmp_path, 1)
    server.fill("/topic/chat.a", 2)
    epoch = server.listen("/topic/chat.a").messages()[0].headers["x-stream-epoch"]
    for client in server.clients:
        client.drop()
    reader = server.listen("/topic/chat.a", "offset=2", x_stream_epoch=epoch)
    server.fill("/topic/chat.b", 1)
    server.fill("/topic/chat.a", 1)
    assert offsets(reader.messages()) == [0]


def test_a_page_that_is_read_for_a_forgotten_stream_is_dropped(tmp_path: Path) -> None:
    server = keeper(tmp_path, 1)
    server.fill("/topic/chat.a", 3)
    server = server.stop()
    reader, publisher = server.client(), server.client()
    publisher.say("SEND", "new", destination="/topic/chat.b")
    reader.say(
        "SUBSCRIBE", id="0", destination="/topic/chat.a", x_stream_offset="first", x_slow="latest"
    )
    server.settle()
    server.fill("/topic/chat.a", 1)
    [frame] = reader.messages()
    assert (frame.body, frame.headers["x-stream-offset"]) == (b"0", "0")
    assert frame.headers["x-dropped"] == "3"


@pytest.mark.parametrize("is_transaction", [False, True])
def test_what_one_frame_needs_is_not_evicted_for_the_rest_of_it(
    tmp_path: Path, is_transaction: bool
) -> None:
    server = keeper(tmp_path, 1)
    server.fill("/topic/chat.a", 1)
    reader, publisher = server.client(), server.client()
    for name in "abc":
        reader.subscribe(f"/topic/chat.{name}", name)
    parts = [f"/topic/chat.{name}" for name in "abc"]
    if is_transaction:
        publisher.say("BEGIN", transaction="t")
        for name in parts:
            publisher.say("SEND", "x", destination=name, transaction="t")
        publisher.say("COMMIT", transaction="t", receipt="r")
    else:
        publisher.say("SEND", "x", destination=",".join(parts), receipt="r")
    server.settle()
    assert publisher.receipts() == ["r"]
    assert len(reader.messages()) == 3
    assert names(server) == ["a", "b", "c"]
    # In a second the limit holds again.
    server.expire()
    server.settle()
    assert len(names(server)) == 1


def test_a_flood_in_one_read_ends_within_the_limit(tmp_path: Path) -> None:
    server = keeper(tmp_path, 5)
    server.fill("/topic/chat.tea", 2)
    reader, publisher = server.client(), server.client()
    reader.subscribe("/topic/#")
    for number in range(300):
        publisher.say("SEND", "x", destination=f"/topic/chat.{number}")
    publisher.say("DISCONNECT", receipt="r")
    server.settle()
    assert publisher.receipts() == ["r"]
    assert len(reader.messages()) == 300
    server.expire()
    server.settle()
    assert len(names(server)) == 5
    assert "tea" in names(server)


def test_a_long_time_with_evictions_takes_no_more_memory(tmp_path: Path) -> None:
    server = keeper(tmp_path, 2)
    server.fill("/topic/chat.a", 1)
    for _ in range(3):
        server.fill("/topic/chat.b", 1)
        server.fill("/topic/chat.c", 1)
    eviction = server.history._places._by_messages
    streams = server.history._streams
    for _ in range(1000):
        eviction.changed(next(iter(streams.values())), streams.values())
    assert eviction._heap is not None
    assert len(eviction._heap) < 100


def test_all_streams_are_looked_at_once_per_round_of_changes(tmp_path: Path) -> None:
    server = keeper(tmp_path, 200)
    for number in range(201):
        server.fill(f"/topic/chat.{number}", 1)
    looks = 0

    class Counted(dict[str, Stream]):
        def values(self) -> Any:
            for stream in super().values():
                nonlocal looks
                looks += 1
                yield stream

    streams = Counted(server.history._streams)
    # Retention has removed messages of each.
    for stream in list(server.history._streams.values()):
        server.history._places._by_messages.changed(stream, streams.values())
    assert looks <= 2 * len(streams)
