"""The list of rooms shows each session the rooms that it may read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from support.chat import Party
from support.core import Client
from support.work import each_turn

from rtchat.core.broker.rights import Rights
from rtchat.core.broker.subscription import Subscription

ROOMS = "/presence/rooms"


def reading(*names: str) -> Rights:
    """Return rights to read some destinations."""
    return Rights(lambda name: name in (*names, ROOMS), lambda name: False)


@pytest.fixture
def party() -> Party:
    party = Party()
    for name in ("open", "staff", "secret"):
        party.in_room(f"{name}er", f"t {name}", room=f"/topic/chat.{name}")
    return party


@pytest.fixture
def watch(party: Party) -> Callable[[Rights | None], Client]:
    """Return what connects a client that watches the list."""

    def connected(rights: Rights | None) -> Client:
        client = party.client()
        client.session.rights = rights
        client.say("SUBSCRIBE", id="0", destination=ROOMS)
        return client

    return connected


def told(client: Client) -> list[tuple[str, dict[str, int]]]:
    """Return what came since the last look: the events, with the people in each room."""
    values = [json.loads(frame.body) for frame in client.messages()]
    return [
        (value["event"], {room["destination"]: room["people"] for room in value["rooms"]})
        for value in values
    ]


OPEN, STAFF, SECRET = "/topic/chat.open", "/topic/chat.staff", "/topic/chat.secret"

Watch = Callable[[Rights | None], Client]


def test_each_sees_the_rooms_that_it_may_read(watch: Watch) -> None:
    assert told(watch(None)) == [("here", {OPEN: 1, STAFF: 1, SECRET: 1})]
    assert told(watch(reading(OPEN, STAFF))) == [("here", {OPEN: 1, STAFF: 1})]
    assert told(watch(reading())) == [("here", {})]


def test_each_hears_of_the_rooms_that_it_may_read(party: Party, watch: Watch) -> None:
    everyone, some, none = watch(None), watch(reading(OPEN)), watch(reading())
    for client in (everyone, some, none):
        told(client)
    party.in_room("ada", "a", room=SECRET)
    party.in_room("bob", "b", room=OPEN)
    party.advance(1)
    assert told(everyone) == [("rooms", {SECRET: 2, OPEN: 2})]
    assert told(some) == [("rooms", {OPEN: 2})]
    assert told(none) == []


def test_rooms_that_are_kept_are_shown_by_the_same_rule(party: Party, watch: Watch) -> None:
    kept = ["/topic/chat.old", "/topic/chat.hidden"]
    party.chat.presence.rooms.retained = lambda: kept
    client = watch(reading("/topic/chat.old"))
    assert told(client) == [("here", {"/topic/chat.old": 0})]
    kept[:] = []
    for name in ("/topic/chat.old", "/topic/chat.hidden"):
        party.chat.retention_changed(name)
    party.advance(1)
    assert told(client) == [("rooms", {"/topic/chat.old": 0})]


def test_other_rights_show_another_list_at_once(party: Party, watch: Watch) -> None:
    client = watch(reading(OPEN))
    other = watch(reading(OPEN))
    told(client), told(other)
    with party.broker.turn:
        client.session.change_rights(Rights(lambda name: name != OPEN, lambda name: False))
    assert told(client) == [("here", {STAFF: 1, SECRET: 1})]
    assert told(other) == []
    party.in_room("ada", "a", room=SECRET)
    party.in_room("bob", "b", room=OPEN)
    party.advance(1)
    assert told(client) == [("rooms", {SECRET: 2})]
    client.unsubscribe()
    other.unsubscribe()
    assert len(party.chat.presence.rooms) == 0


def test_equal_rights_share_one_list(party: Party, watch: Watch) -> None:
    asked: list[str] = []

    def may_read(name: str) -> bool:
        asked.append(name)
        return True

    rights = Rights(may_read, lambda name: False)
    for _ in range(5):
        assert told(watch(rights)) == [("here", {OPEN: 1, STAFF: 1, SECRET: 1})]
    in_list = [name for name in asked if name != ROOMS]
    assert sorted(in_list) == sorted([OPEN, STAFF, SECRET])


def test_other_rights_of_one_are_no_reason_to_look_at_all_who_watch(
    party: Party, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NotLookedThrough(dict[Subscription, Any]):
        def __iter__(self) -> NoReturn:
            raise AssertionError("all subscriptions are looked at")

    client, other = watch(reading(OPEN)), watch(reading(OPEN))
    told(client), told(other)
    rooms = party.chat.presence.rooms
    monkeypatch.setattr(rooms, "_subscriptions", NotLookedThrough(rooms._subscriptions))
    with party.broker.turn:
        client.session.change_rights(reading(STAFF))
    assert told(client) == [("here", {STAFF: 1})]
    for one in (client, other):
        one.drop()
    assert len(rooms) == len(rooms._of_sessions) == 0


def test_no_more_rooms_are_looked_at_than_the_list_has(party: Party, watch: Watch) -> None:
    """There may be ten thousand that are kept, and each user may have rights of its own."""
    party.chat.presence.rooms.retained = lambda: (f"/topic/chat.{n}" for n in range(10_000))
    asked: list[str] = []

    def may_read(name: str) -> bool:
        asked.append(name)
        return not name.endswith("9")

    [(_, rooms)] = told(watch(Rights(may_read, lambda name: False)))
    latest = [f"/topic/chat.{n}" for n in range(9000, 10_000) if n % 10 != 9]
    assert list(rooms) == [OPEN, STAFF, SECRET, *latest[-50:]]
    assert len(asked) < 100


def test_the_list_is_work_for_each_right(party: Party, watch: Watch) -> None:
    work = each_turn(party.server)
    client = watch(Rights(lambda name: True, lambda name: True, 1000))
    assert max(work) > 3 * 1000
    work.clear()
    party.in_room("ada", "a", room=OPEN)
    party.in_room("bob", "b", room=STAFF)
    party.advance(1)
    assert max(work) > 2 * 1000
    told(client)
