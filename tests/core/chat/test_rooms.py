"""Which rooms there are, and how many people are in each."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from support.chat import ROOM, Party, event
from support.stomp import frame_bytes

from rtchat.core.chat.rooms import RoomNames


@pytest.fixture
def party() -> Party:
    return Party()


class Rooms:
    """A client that watches the list of rooms."""

    def __init__(self, party: Party) -> None:
        self.client = party.client()
        self.client.say("SUBSCRIBE", id="r", destination="/presence/rooms")

    def news(self) -> list[tuple[str, dict[str, int]]]:
        """Return the events since the last call."""
        told = []
        for frame in self.client.received():
            value = event(frame)
            assert set(value) == {"event", "rooms"}
            assert all(set(room) == {"destination", "people"} for room in value["rooms"])
            rooms = {room["destination"]: room["people"] for room in value["rooms"]}
            assert len(rooms) == len(value["rooms"])
            told.append((value["event"], rooms))
        return told


def test_rooms_are_listed_with_how_many_are_there(party: Party) -> None:
    party.in_room("anna")
    party.in_room("bob").subscribe("/topic/chat.x", "1")
    party.in_room("eve", room="/topic/other")
    party.in_room("", room="/topic/chat.nobody")
    assert Rooms(party).news() == [("here", {ROOM: 2, "/topic/chat.x": 1})]


def test_changes_of_rooms_are_told_together_once_a_second(party: Party) -> None:
    rooms = Rooms(party)
    assert rooms.news() == [("here", {})]
    clients = [party.in_room(f"p{number}") for number in range(5)]
    party.in_room("x", room="/topic/chat.x")
    assert rooms.news() == []
    party.advance(1)
    assert rooms.news() == [("rooms", {ROOM: 5, "/topic/chat.x": 1})]
    party.advance(3)
    assert rooms.news() == []
    for client in clients:
        client.say("DISCONNECT")
    party.advance(1)
    assert rooms.news() == [("rooms", {ROOM: 0})]


def test_rooms_that_are_kept_are_listed_with_nobody_in_them(party: Party) -> None:
    chat = party.chat
    chat.presence.rooms.retained = lambda: ["/topic/chat.old", "/topic/other", ROOM]
    party.in_room("anna")
    rooms = Rooms(party)
    assert rooms.news() == [("here", {ROOM: 1, "/topic/chat.old": 0})]
    for name in ("/topic/chat.new", "/topic/other", ROOM):
        chat.presence.rooms.retention_changed(name)
    party.advance(1)
    assert rooms.news() == [("rooms", {"/topic/chat.new": 0})]


def test_of_many_empty_rooms_the_latest_are_listed_and_all_that_have_people(party: Party) -> None:
    presence = party.chat.presence
    names = [f"/topic/chat.{number}" for number in range(200)]
    latest = dict.fromkeys(names[150:], 0)
    presence.rooms.retained = lambda: names
    guest = party.in_room("anna", room=names[0])
    rooms = Rooms(party)
    assert rooms.news() == [("here", {names[0]: 1, **latest})]

    guest.say("DISCONNECT")
    party.in_room("bob", room=names[1])
    for name in names:
        presence.rooms.retention_changed(name)
    party.advance(1)
    [(event, told)] = rooms.news()
    assert event == "rooms"
    # Who comes and goes is always told; so a list that was once complete stays right.
    assert told == {names[0]: 0, names[1]: 1, **latest}


def test_a_list_has_at_most_a_thousand_rooms_and_changes_are_told_in_portions(party: Party) -> None:
    rooms = Rooms(party)
    names = [f"/topic/chat.{number}" for number in range(2500)]
    clients = [party.client(nick) for nick in ("anna", "bob", "eve")]
    for number, name in enumerate(names):
        clients[number // 900].subscribe(name, str(number))
    assert rooms.news() == [("here", {})]
    assert Rooms(party).news() == [("here", dict.fromkeys(names[:1000], 1))]
    for first in (0, 1000, 2000):
        party.advance(1)
        assert rooms.news() == [("rooms", dict.fromkeys(names[first : first + 1000], 1))]
    party.advance(5)
    assert rooms.news() == []


def test_a_list_of_rooms_with_long_names_is_not_long(party: Party) -> None:
    rooms = Rooms(party)
    rooms.news()
    names = [f"/topic/chat.{number:03}{'世' * 100}" for number in range(900)]
    anna = party.client("anna")
    for number, name in enumerate(names):
        anna.subscribe(name, str(number))
    later = Rooms(party).client.received()
    assert 200_000 < len(later[0].body) < 300_000
    assert event(later[0])["rooms"][0]["destination"] == names[0]
    told: dict[str, int] = {}
    for _ in range(2):
        party.advance(1)
        [(_, some)] = rooms.news()
        assert len(some) < len(names)
        told |= some
    assert told == dict.fromkeys(names, 1)


def test_which_destinations_are_rooms_is_a_setting() -> None:
    party = Party(rooms=("/topic/team*", "/topic/a.b"))
    for number, name in enumerate(
        ("/topic/team", "/topic/team.x", "/topic/a.b", "/topic/axb", ROOM)
    ):
        party.in_room(f"p{number}", room=name)
    assert Rooms(party).news() == [
        ("here", {"/topic/team": 1, "/topic/team.x": 1, "/topic/a.b": 1})
    ]


def test_whoever_stops_asking_for_rooms_is_told_nothing_more(party: Party) -> None:
    rooms = Rooms(party)
    rooms.news()
    rooms.client.say("UNSUBSCRIBE", id="r")
    party.in_room("anna")
    party.advance(5)
    assert rooms.news() == []
    again = Rooms(party)
    party.advance(5)
    assert again.news() == [("here", {ROOM: 1})]


def test_the_list_of_rooms_is_json_whatever_the_names(party: Party) -> None:
    name = '/topic/chat."\\u0000世'
    party.client("anna").send(
        frame_bytes("SUBSCRIBE", id="1", destination=name.replace("\\", "\\\\"))
    )
    [frame] = party.client().ask("SUBSCRIBE", id="r", destination="/presence/rooms")
    assert json.loads(frame.body)["rooms"] == [{"destination": name, "people": 1}]


def test_long_names_that_clients_make_up_are_not_remembered() -> None:
    rooms = RoomNames(("/topic/chat", "/topic/chat.*"))
    tracemalloc.start()
    try:
        for number in range(5000):
            name = f"{'x' * 8000}.{number}"
            assert f"/topic/chat.{name}" in rooms
            assert f"/topic/{name}" not in rooms
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * 1024 * 1024
