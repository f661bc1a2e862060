"""One client's share of the places: its own streams go before those of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.history import Keeper
from support.stomp import frame_bytes

from rtchat.core.history.places import Places
from rtchat.core.history.rules import HistoryLimits, HistoryRule

RULES = [HistoryRule("/topic/chat*", 100, 600.0)]
ATTACKER = "198.51.100.7"


def keeper(tmp_path: Path, places: int) -> Keeper:
    return Keeper(tmp_path / "x.sqlite", RULES, HistoryLimits(max_destinations=places))


def test_who_has_more_than_its_share_pushes_out_its_own(tmp_path: Path) -> None:
    server = keeper(tmp_path, 40)
    for room in range(30):
        server.fill(f"/topic/chat.room{room}", 1, source=f"192.0.2.{room}")
    # Each of them has more messages than any room.
    for number in range(100):
        server.fill(f"/topic/chat.{number}", 3, source=ATTACKER)
    names = server.history.names()
    assert [room for room in range(30) if f"/topic/chat.room{room}" in names] == list(range(30))
    assert len(names) == 40
    assert server.listen("/topic/chat.room7").bodies() == ["0"]


def test_within_its_share_a_client_may_push_out_cheaper_ones(tmp_path: Path) -> None:
    server = keeper(tmp_path, 40)
    for room in range(40):
        server.fill(f"/topic/chat.room{room}", 1, source=f"192.0.2.{room}")
    for number in range(5):
        server.fill(f"/topic/chat.{number}", 2, source=ATTACKER)
    names = server.history.names()
    assert [name for name in names if "room" not in name] == [f"/topic/chat.{n}" for n in range(5)]
    assert "/topic/chat.room4" not in names
    assert "/topic/chat.room5" in names


def test_what_a_client_has_no_more_does_not_count(tmp_path: Path) -> None:
    server = keeper(tmp_path, 16)
    for number in range(50):
        server.fill(f"/topic/chat.{number}", 1, source=ATTACKER)
    places = server.history._places
    [owner] = places._owners.values()
    assert len(owner.streams) == 16
    assert owner.bytes == sum(stream.bytes for stream in owner.streams)
    for number in range(16):
        server.fill(f"/topic/chat.room{number}", 2, source=f"192.0.2.{number}")
    assert ATTACKER not in places._owners or len(places._owners[ATTACKER].streams) <= 2
    assert not [name for name in places._large if name.client == ATTACKER]


def test_streams_of_an_earlier_run_belong_to_no_one(tmp_path: Path) -> None:
    server = keeper(tmp_path, 16)
    for number in range(8):
        server.fill(f"/topic/chat.{number}", 2, source=ATTACKER)
    server = server.stop()
    for number in range(8):
        server.fill(f"/topic/chat.new{number}", 1, source="192.0.2.1")
    for number in range(20):
        server.fill(f"/topic/chat.more{number}", 1, source="192.0.2.1")
    assert {f"/topic/chat.{number}" for number in range(8)} <= set(server.history.names())


def flood(server: Keeper, start: int, count: int, messages: int = 1) -> None:
    """Create many streams in one read."""
    client = server.client_from(ATTACKER)
    sends = [
        frame_bytes("SEND", b"x", destination=f"/topic/chat.{number}")
        for number in range(start, start + count)
    ]
    client.send(b"".join(sends * messages))
    server.settle()


@pytest.mark.parametrize("messages", [1, 2])
def test_very_many_at_once_push_out_only_those_of_the_same_client(
    tmp_path: Path, messages: int
) -> None:
    server = keeper(tmp_path, 40)
    for room in range(30):
        server.fill(f"/topic/chat.room{room}", 1, source=f"192.0.2.{room}")
    for start in range(0, 2000, 500):
        flood(server, start, 500, messages)
    for _ in range(40):  # what was on its way goes a little later
        server.expire()
        server.settle()
    names = server.history.names()
    assert [room for room in range(30) if f"/topic/chat.room{room}" in names] == list(range(30))
    assert len(names) == server.history._places.count == 40
    assert server.listen("/topic/chat.room7").bodies() == ["0"]


def test_another_client_gets_a_place_while_those_of_a_large_one_are_on_their_way(
    tmp_path: Path,
) -> None:
    server = keeper(tmp_path, 40)
    for room in range(28):
        server.fill(f"/topic/chat.room{room}", 1, source=f"192.0.2.{room}")
    flood(server, 0, 12)
    # These are being written when the others come.
    attacker, anna = server.client_from(ATTACKER), server.client_from("192.0.2.1")
    for number in range(12, 30):
        attacker.publish(f"/topic/chat.{number}", "x")
    anna.publish("/topic/chat.anna", "I was here")
    server.settle()
    names = server.history.names()
    assert "/topic/chat.anna" in names
    assert [room for room in range(28) if f"/topic/chat.room{room}" in names] == list(range(28))
    assert len(names) == 40


def test_streams_that_always_have_messages_on_their_way_give_up_their_places_in_the_end(
    tmp_path: Path,
) -> None:
    rules = [HistoryRule("/topic/chat*", 1, 600.0)]  # so that none ever costs more than another
    server = Keeper(tmp_path / "x.sqlite", rules, HistoryLimits(max_destinations=16))
    for room in range(10):
        server.fill(f"/topic/chat.room{room}", 1, source=f"192.0.2.{room}")
    attacker = server.client_from(ATTACKER)
    most = 0
    for number in range(100):
        for busy in range(20):
            attacker.publish(f"/topic/chat.busy{busy}", "x")
        attacker.publish(f"/topic/chat.{number}", "x")
        written = len(server.store.writes)
        while len(server.store.writes) == written:
            server.store.step()
        most = max(most, server.history._places.count)
    assert most <= 16 + 20 + 2
    server.settle()
    names = server.history.names()
    assert [room for room in range(10) if f"/topic/chat.room{room}" in names] == list(range(10))


def test_the_share_of_a_client_may_be_set(tmp_path: Path) -> None:
    limits = HistoryLimits(max_destinations=40, max_client_destinations=2)
    server = Keeper(tmp_path / "x.sqlite", RULES, limits)
    for room in range(40):
        server.fill(f"/topic/chat.room{room}", 1, source=f"192.0.2.{room}")
    for number in range(5):
        server.fill(f"/topic/chat.{number}", 2, source=ATTACKER)
    names = server.history.names()
    assert len([name for name in names if "room" not in name]) <= 3  # one is on its way
    assert len([name for name in names if "room" in name]) >= 37


def test_a_share_that_is_not_set_is_an_eighth() -> None:
    places = Places({}, 80, 8000)
    assert (places._max_places, places._max_bytes) == (10, 1000)
    places = Places({}, 80, 8000, 3, 50)
    assert (places._max_places, places._max_bytes) == (3, 50)
