"""One client's share of the places: its own streams go before those of others."""

from __future__ import annotations

from pathlib import Path

from support.history import Keeper

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
