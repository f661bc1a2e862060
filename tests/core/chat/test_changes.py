"""Where much changes, watchers are told the difference now and then; it adds up all the same."""

from __future__ import annotations

import pytest
from support.chat import ROOM, Party
from support.work import each_turn

from rtchat.core.flow.turns import TURN_WORK

AT_ONCE = 16
GATHERED = 1000


@pytest.fixture
def party() -> Party:
    return Party()


def test_someone_who_comes_and_goes_all_the_time_is_told_of_now_and_then(party: Party) -> None:
    watchers = [party.watcher() for _ in range(3)]
    anna = party.client("anna")
    for _ in range(10):
        for _ in range(200):
            anna.subscribe(ROOM)
            anna.unsubscribe()
        party.advance(1)
    for watcher in watchers:
        assert len(watcher.news()) <= 1 + 10 * (AT_ONCE + 1)
        assert watcher.roll.nicks == []


def test_who_has_come_and_gone_meanwhile_causes_no_event(party: Party) -> None:
    watcher = party.watcher()
    crowd = [party.in_room(f"n{number}") for number in range(AT_ONCE)]
    assert len(watcher.news()) == 1 + AT_ONCE
    anna = party.client("anna")
    for _ in range(5):
        anna.subscribe(ROOM)
        anna.unsubscribe()
    bob = party.in_room("bob")
    crowd[0].unsubscribe()
    crowd[1].unsubscribe()
    crowd[1].subscribe(ROOM)
    assert watcher.news() == []
    party.advance(1)
    assert watcher.news() == ["join bob", "leave n0"]
    bob.unsubscribe()
    assert watcher.news() == ["leave bob"]


def test_new_names_are_gathered_as_well(party: Party) -> None:
    watcher = party.watcher()
    party.in_room("anna", "t", window="1")
    for number in range(40):
        party.client(f"anna{number}", "t", window=str(number + 2)).drop()
    assert len(watcher.news()) == 1 + AT_ONCE
    party.advance(1)
    assert watcher.news() == ["rename anna14 anna39"]


def test_a_watcher_that_comes_meanwhile_learns_what_the_others_know(party: Party) -> None:
    early = party.watcher()
    crowd = [party.in_room(f"n{number}") for number in range(AT_ONCE)]
    crowd[3].unsubscribe()
    party.in_room("late")
    late = party.watcher()
    assert late.look().nicks == early.look().nicks == sorted(f"n{n}" for n in range(AT_ONCE))
    party.advance(1)
    assert late.news() == early.news() == ["leave n3", "join late"]


def test_other_destinations_are_told_of_at_once(party: Party) -> None:
    busy, quiet = party.watcher(), party.watcher("/topic/chat.quiet")
    anna = party.client("anna")
    for _ in range(100):
        anna.subscribe(ROOM)
        anna.unsubscribe()
    party.in_room("bob", room="/topic/chat.quiet")
    assert quiet.news() == ["here", "join bob"]
    assert len(busy.news()) == 1 + AT_ONCE


def test_nothing_is_gathered_without_watchers(party: Party) -> None:
    watcher = party.watcher()
    for number in range(AT_ONCE + 5):
        party.in_room(f"n{number}")
    watcher.client.unsubscribe("p")
    party.advance(1)
    assert len(party.watcher().look().nicks) == AT_ONCE + 5


def test_so_many_changes_are_told_in_a_second_and_the_rest_later(party: Party) -> None:
    watchers = {}
    rooms = [f"/topic/chat.{number}" for number in range(30)]
    for index, room in enumerate(rooms):
        watchers[room] = party.watcher(room)
        for number in range(AT_ONCE + 50):
            party.in_room(f"r{index}n{number}", room=room)
    for watcher in watchers.values():
        watcher.news()
    told = []
    for _ in range(3):
        party.advance(1)
        told.append(sum(len(watcher.news()) for watcher in watchers.values()))
    assert max(told) <= GATHERED
    assert all(len(watcher.roll.nicks) == AT_ONCE + 50 for watcher in watchers.values())


def test_with_many_watchers_the_changes_are_told_in_several_turns(party: Party) -> None:
    watchers = [party.client() for _ in range(20)]
    for number in range(200):
        watchers[number % 20].subscribe(f"/presence{ROOM}", str(number))
    for number in range(AT_ONCE + 40):
        party.in_room(f"n{number}")
    for watcher in watchers:
        watcher.received()
    work = each_turn(party.server)
    party.advance(1)
    assert max(work) < TURN_WORK + 2000  # the last change that is begun is told to all
    assert len(work) > 3
    assert sum(len(watcher.messages()) for watcher in watchers) == 200 * 40


def test_many_who_do_not_come_back_leave_in_several_turns() -> None:
    party = Party(grace_s=5.0)
    clients = [party.in_room(f"n{number}", f"t{number}") for number in range(1000)]
    for client in clients:
        party.lose(client)
    work = each_turn(party.server)
    party.advance(6)
    assert max(work) < TURN_WORK + 100
    assert len(party.chat.people) == 0
