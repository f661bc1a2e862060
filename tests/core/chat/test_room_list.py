"""The list of rooms shows each session the rooms that it may read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import pytest
from support.chat import Party
from support.core import Client
from support.stomp import frame_bytes
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


def test_rooms_that_are_hard_to_find_are_told_later(party: Party, watch: Watch) -> None:
    """Whether ten thousand rooms may be read is not found out in one turn."""
    kept = [f"/topic/chat.{n}" for n in range(10_000)]
    party.chat.presence.rooms.retained = lambda: kept
    mine = [kept[3], kept[7], kept[9_999]]
    turns = each_turn(party.server)
    asked: Counter[int] = Counter()  # by turn

    def may_read(name: str) -> bool:
        asked[len(turns)] += 1
        return name in (*mine, STAFF, ROOMS)

    rights = Rights(may_read, lambda name: False)
    client = watch(rights)
    whole = {STAFF: 1, **dict.fromkeys(mine, 0)}
    assert told(client) == [("here", {STAFF: 1, mine[2]: 0}), ("rooms", whole)]
    assert asked.total() > 10_000
    assert max(asked.values()) < 510
    asked.clear()
    assert told(watch(rights)) == [("here", whole)]
    assert asked.total() == 1
    party.in_room("ada", "a", room=mine[0])
    late = watch(rights)
    whole[mine[0]] = 1
    assert told(late) == [("here", {STAFF: 1, mine[0]: 1, mine[2]: 0}), ("rooms", whole)]
    party.advance(1)
    assert told(client)[-1] == told(late)[-1] == ("rooms", {mine[0]: 1})


def test_lists_that_are_hard_to_complete_come_in_turn(party: Party, watch: Watch) -> None:
    kept = [f"/topic/chat.{n}" for n in range(600)]
    party.chat.presence.rooms.retained = lambda: kept
    running: list[int] = []

    def reads(name: str, number: int) -> bool:
        if not running or running[-1] != number:
            running.append(number)
        return name in (ROOMS, kept[number])

    clients = [party.client() for _ in range(4)]
    for number, client in enumerate(clients):
        client.session.rights = Rights(partial(reads, number=number), lambda name: False)
    with party.broker.turn:
        for client in clients:
            client.session.receive(frame_bytes("SUBSCRIBE", id="0", destination=ROOMS))
        clients.pop(1).session.lost()
    party.server.end_turn()
    assert running == [0, 1, 2, 3, 0, 2, 3]
    for number, client in zip((0, 2, 3), clients, strict=True):
        assert told(client) == [("here", {}), ("rooms", {kept[number]: 0})]
    assert not party.broker.cork.later


def test_those_who_leave_are_not_looked_for(party: Party, watch: Watch) -> None:
    party.chat.presence.rooms.retained = lambda: (f"/topic/chat.{n}" for n in range(10_000))
    asked: list[str] = []

    def may_read(name: str) -> bool:
        asked.append(name)
        return name == ROOMS

    client = party.client()
    client.session.rights = Rights(may_read, lambda name: False)
    with party.broker.turn:
        client.session.receive(frame_bytes("SUBSCRIBE", id="0", destination=ROOMS))
        client.session.lost()
    party.server.end_turn()
    assert len(asked) < 510
    assert not party.broker.cork.later


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
