"""Who is in a room: a list at once, then every change in order; no ghosts, no flapping."""

from __future__ import annotations

import sys

import pytest
from support.chat import ROOM, Party, Roll, Watcher, event
from support.core import RecordingOutbound
from support.work import each_turn

from rtchat.core.chat.chat import Json
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.limits import Limits
from rtchat.net.json_codec import JSON


@pytest.fixture
def party() -> Party:
    return Party()


# ---------------------------------------------------------------- the list, then changes


def test_the_list_comes_at_once_and_after_the_receipt(party: Party) -> None:
    anna = party.in_room("anna", "t1")
    client = party.client()
    receipt, here = client.ask("SUBSCRIBE", id="p", destination="/presence/topic/chat", receipt="r")
    assert receipt.command == "RECEIPT"
    assert here.headers["destination"] == "/presence/topic/chat"
    assert here.headers["subscription"] == "p"
    [person] = event(here)["people"]
    assert event(here) == {"event": "here", "destination": ROOM, "people": [person]}
    assert set(person) == {"id", "nick"}
    party.lose(anna)
    party.advance(5)
    [leave] = client.received()
    assert event(leave) == {"event": "leave", "person": person}


def test_an_empty_room_has_an_empty_list(party: Party) -> None:
    assert party.watcher().news() == ["here"]


def test_the_list_has_the_order_of_arrival(party: Party) -> None:
    for nick in ("zoe", "bob", "anna"):
        party.in_room(nick)
    [here] = party.client().ask("SUBSCRIBE", id="p", destination="/presence/topic/chat")
    assert [one["nick"] for one in event(here)["people"]] == ["zoe", "bob", "anna"]


def test_joins_and_goodbyes_are_told_at_once(party: Party) -> None:
    watcher = party.watcher()
    anna = party.in_room("anna", "t1")
    bob = party.in_room("bob")
    assert watcher.news() == ["here", "join anna", "join bob"]
    anna.say("UNSUBSCRIBE", id="0")
    bob.say("DISCONNECT")
    assert watcher.news() == ["leave anna", "leave bob"]


def test_only_a_subscription_to_just_that_destination_counts(party: Party) -> None:
    watcher = party.watcher()
    client = party.client("anna")
    for number, name in enumerate(("/topic/chat.x", "/topic/*", "/topic/chat.#", "/queue/chat")):
        client.subscribe(name, str(number))
    client.publish(ROOM, b"hello")
    assert watcher.news() == ["here"]


def test_who_has_no_name_is_not_listed(party: Party) -> None:
    watcher = party.watcher()
    party.in_room("")
    assert watcher.news() == ["here"]


def test_a_person_is_listed_once_however_many_subscriptions(party: Party) -> None:
    watcher = party.watcher()
    anna = party.client("anna")
    for number in "123":
        anna.subscribe(ROOM, number)
    anna.say("UNSUBSCRIBE", id="1")
    anna.say("UNSUBSCRIBE", id="3")
    assert watcher.news() == ["here", "join anna"]
    anna.say("UNSUBSCRIBE", id="2")
    assert watcher.news() == ["leave anna"]


def test_a_login_alone_is_not_listed_whether_its_name_is_held_or_not(party: Party) -> None:
    watcher = party.watcher()
    party.in_room("", login="anna")
    anna = party.in_room("anna", "t")
    party.in_room("", login="anna")
    assert watcher.news() == ["here", "join anna"]
    anna.say("DISCONNECT")
    assert watcher.news() == ["leave anna"]


def test_presence_of_queues_and_of_any_name(party: Party) -> None:
    for number, name in enumerate(("/queue/jobs", "/topic/a.b/c", "plain", "/rooms2")):
        watcher = Watcher(party, name if name.startswith("/") else f"/{name}")
        party.in_room(f"anna{number}", room=name if name.startswith("/") else f"/{name}")
        assert watcher.news() == ["here", f"join anna{number}"]


@pytest.mark.parametrize(
    "name", ["/presence/", "/presence/topic/*", "/presence/#", "/presence/topic/>"]
)
def test_presence_needs_one_destination(party: Party, name: str) -> None:
    [error] = party.client().ask("SUBSCRIBE", id="p", destination=name)
    assert error.headers["message"] == "presence needs one destination"


def test_whoever_stops_watching_is_told_nothing_more(party: Party) -> None:
    watcher = party.watcher()
    watcher.client.say("UNSUBSCRIBE", id="p")
    party.in_room("anna")
    assert watcher.news() == ["here"]
    assert party.broker.statistics.subscription_count == 1


def test_a_patterns_subscriber_does_not_hear_of_presence(party: Party) -> None:
    client = party.client("eve")
    client.subscribe("#")
    party.watcher()
    party.in_room("anna")
    assert client.received() == []


@pytest.mark.parametrize("version", list(Version))
def test_every_version_gets_the_same(party: Party, version: Version) -> None:
    client = party.client(version=version)
    client.say("SUBSCRIBE", id="p", destination="/presence/topic/chat")
    party.in_room("a:b \\ 世")
    roll = Roll()
    for frame in client.received():
        roll.hear(frame)
    assert roll.events == ["here", "join a:b \\ 世"]


def test_presence_knows_selectors_and_lagging_subscribers(party: Party) -> None:
    joins, lagging = party.client(), party.client()
    joins.say(
        "SUBSCRIBE", id="p", destination="/presence/topic/chat", selector="x-presence = 'join'"
    )
    lagging.say(
        "SUBSCRIBE", id="p", destination="/presence/topic/chat", ack="client", prefetch_count="1"
    )
    anna = party.in_room("anna")
    anna.say("DISCONNECT")
    assert [event(frame)["event"] for frame in joins.received()] == ["join"]
    told = []
    while frames := lagging.received():
        [frame] = frames
        told.append(event(frame)["event"])
        lagging.say("ACK", id=frame.headers["ack"])
    assert told == ["here", "join", "leave"]


def test_two_subscriptions_of_one_session_each_get_list_and_changes(party: Party) -> None:
    client = party.client("anna")
    client.say("SUBSCRIBE", id="1", destination="/presence/topic/chat")
    client.say("SUBSCRIBE", id="x", destination=ROOM)
    client.say("SUBSCRIBE", id="2", destination="/presence/topic/chat")
    rolls = {"1": Roll(), "2": Roll()}
    for frame in client.received():
        rolls[frame.headers["subscription"]].hear(frame)
    assert rolls["1"].events == ["here", "join anna"]
    assert rolls["2"].events == ["here anna"]


# ---------------------------------------------------------------- lost, and back


def test_a_lost_connection_leaves_after_the_grace(party: Party) -> None:
    watcher = party.watcher()
    party.lose(party.in_room("anna", "t1"))
    party.advance(4)
    assert watcher.news() == ["here", "join anna"]
    party.advance(1)
    assert watcher.news() == ["leave anna"]


def test_who_comes_back_within_the_grace_is_not_announced(party: Party) -> None:
    watcher = party.watcher()
    for _ in range(20):
        party.lose(party.in_room("anna", "t1"))
        party.advance(4)
    assert watcher.news() == ["here", "join anna"]
    assert watcher.roll.nicks == ["anna"]


def test_a_list_made_within_the_grace_has_whoever_may_come_back(party: Party) -> None:
    party.lose(party.in_room("anna", "t1"))
    watcher = party.watcher()
    party.in_room("anna", "t1")
    party.advance(10)
    assert watcher.news() == ["here anna"]


def test_being_back_without_the_room_is_leaving_it(party: Party) -> None:
    watcher = party.watcher()
    party.lose(party.in_room("anna", "t1"))
    party.client("anna", "t1")
    party.advance(5)
    assert watcher.news() == ["here", "join anna", "leave anna"]


def test_a_replaced_connection_is_no_absence(party: Party) -> None:
    watcher = party.watcher()
    old = party.in_room("anna", "t1")
    party.in_room("anna", "t1")
    party.lose(old)
    party.advance(10)
    assert watcher.news() == ["here", "join anna"]


def test_a_goodbye_of_the_newer_connection_is_a_goodbye_of_the_older_too(party: Party) -> None:
    watcher = party.watcher()
    party.in_room("anna", "t1")
    party.client("anna", "t1").say("DISCONNECT")
    assert watcher.news() == ["here", "join anna", "leave anna"]


def test_a_nick_without_token_may_be_taken_again_by_another_person(party: Party) -> None:
    watcher = party.watcher()
    party.lose(party.in_room("anna"))
    party.in_room("anna")
    party.advance(10)
    assert watcher.news() == ["here", "join anna", "leave anna", "join anna"]


def test_a_token_pushes_out_a_lost_nick_without_one(party: Party) -> None:
    watcher = party.watcher()
    party.lose(party.in_room("anna"))
    party.in_room("anna", "t1")
    assert watcher.news() == ["here", "join anna", "leave anna", "join anna"]


def test_the_servers_errors_are_losses_and_no_goodbyes(party: Party) -> None:
    watcher = party.watcher()
    anna = party.in_room("anna", "t1")
    anna.say("NONSENSE")
    assert watcher.news() == ["here", "join anna"]
    party.advance(5)
    assert watcher.news() == ["leave anna"]


def test_without_a_grace_everything_is_told_at_once() -> None:
    party = Party(grace_s=0.0)
    watcher = party.watcher()
    party.lose(party.in_room("anna", "t1"))
    assert watcher.news() == ["here", "join anna", "leave anna"]
    party.client("anna", "t2")


def test_the_grace_is_a_setting() -> None:
    party = Party(grace_s=30.0)
    watcher = party.watcher()
    party.lose(party.in_room("anna", "t1"))
    party.advance(29)
    assert watcher.news() == ["here", "join anna"]
    party.advance(1)
    assert watcher.news() == ["leave anna"]


# ---------------------------------------------------------------- other nicks


def test_a_new_nick_is_told_where_the_person_is(party: Party) -> None:
    here, elsewhere = party.watcher(), party.watcher("/topic/chat.other")
    party.in_room("anna", "t1")
    party.in_room("anne", "t1")
    party.advance(10)
    assert here.news() == ["here", "join anna", "rename anna anne"]
    assert elsewhere.news() == ["here"]
    assert party.watcher().news() == ["here anne"]


def test_an_id_stays_when_the_nick_changes(party: Party) -> None:
    watcher = party.watcher()
    party.in_room("anna", "t1")
    party.in_room("anne", "t1")
    people = watcher.look().people
    party.in_room("anna", "t2")
    assert people is not None
    assert len({*people, *(watcher.look().people or {})}) == 2


# ---------------------------------------------------------------- order, cost


def test_all_watchers_hear_the_same_in_the_same_order(party: Party) -> None:
    early = [party.watcher() for _ in range(3)]
    clients = [party.in_room(f"p{number}", f"t{number}") for number in range(10)]
    late = party.watcher()
    for client in clients[:5]:
        party.lose(client)
    party.in_room("x3", "t3")
    party.advance(6)
    for client in clients[5:8]:
        client.say("DISCONNECT")
    heard = [watcher.news() for watcher in early]
    assert heard[0] == heard[1] == heard[2]
    assert late.look().nicks == early[0].roll.nicks == ["p8", "p9", "x3"]


def test_who_is_cut_while_something_is_told_does_not_mix_up_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    party = Party(grace_s=0.0)
    first = party.in_room("first", limits=Limits(max_backlog_bytes=1000))

    def overflow(outbound: RecordingOutbound, waiting_bytes: int) -> None:
        assert outbound is first.outbound
        first.session.lost()

    monkeypatch.setattr(RecordingOutbound, "overflow", overflow)
    # They are told one after the other: the first is cut before the second was told.
    name = "/presence/topic/chat"
    first.say("SUBSCRIBE", id="p", destination=name, ack="client", prefetch_count="1")
    patient = party.client()
    patient.say("SUBSCRIBE", id="p", destination=name, x_slow="drop-oldest")
    number = 0
    while not first.session.is_closed:
        number += 1
        party.in_room(f"p{number}")
    roll = Roll()
    for frame in patient.received():
        roll.hear(frame)
    assert roll.events[-2:] == [f"join p{number}", "leave first"]


def test_an_event_is_encoded_once_for_all_who_ask_alike(party: Party) -> None:
    watchers = [party.watcher() for _ in range(5)]
    party.in_room("anna")
    # One and the same object, not five that are equal.
    assert len({id(watcher.client.outbound.writes[-1]) for watcher in watchers}) == 1
    assert watchers[0].news() == ["here", "join anna"]


def test_a_thousand_people_cost_no_square_of_json() -> None:
    written: list[object] = []

    def write(value: object) -> bytes:
        written.append(value)
        return JSON.write(value)

    party = Party(json=Json(write, JSON.read))
    clients = []
    for number in range(1000):
        client = party.in_room(f"p{number}", f"t{number}")
        client.say("SUBSCRIBE", id="p", destination="/presence/topic/chat")
        clients.append(client)
    party.advance(1)  # most of them came within a second
    # Once for each person and once for the room, however many lists there were.
    assert len(written) == 1001
    for position in (0, 500, 999):
        roll = Roll()
        for frame in clients[position].received():
            if frame.command == "MESSAGE":
                roll.hear(frame)
        assert len(roll.nicks) == 1000


def test_nobody_can_send_there(party: Party) -> None:
    watcher = party.watcher()
    for destination in ("/presence/topic/chat", "/presence/rooms", "/topic/a,/presence/topic/chat"):
        client = party.client("eve")
        [error] = client.ask("SEND", b"{}", destination=destination)
        assert error.headers["message"] == "nobody can send there"
        assert client.close_reason is CloseReason.REFUSED
    assert watcher.news() == ["here"]


def test_nobody_can_forge_an_event_elsewhere(party: Party) -> None:
    client = party.in_room("anna")
    client.publish(
        ROOM, b"x", x_presence="here", x_sender="eve", x_sender_id="1", x_undelivered="true"
    )
    [frame] = client.received()
    assert [name for name in frame.headers if name.startswith("x-")] == ["x-sender-id"]
    assert len(frame.headers["x-sender-id"]) == 20  # the server's own


def test_each_place_of_a_person_counts_until_it_is_left(party: Party) -> None:
    budget, anna = party.broker.budget, party.client("anna", "t1")
    begun = budget.used - budget.held
    for number in range(20):
        anna.subscribe(f"/topic/{number}", str(number))
    assert budget.used - budget.held - begun >= 20 * 512
    for number in range(20):
        anna.unsubscribe(str(number))
    assert budget.used - budget.held == begun
    party.lose(anna)
    party.advance(60)
    assert budget.used == 0


@pytest.mark.parametrize("letter", ["a", "\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{PILE OF POO}"])
def test_what_is_counted_for_a_place_is_what_its_name_takes(party: Party, letter: str) -> None:
    budget, anna = party.broker.budget, party.client("anna", "t1")
    begun, count = budget.used - budget.held, 1900
    anna.subscribe(f"/topic/{letter * count}", "long")
    kept = sys.getsizeof(letter * count) + len(letter.encode()) * count  # as text, and in JSON
    assert budget.used - budget.held - begun >= kept
    anna.unsubscribe("long")
    assert budget.used - budget.held == begun


def test_nothing_is_kept_for_who_has_gone_while_memory_is_short(party: Party) -> None:
    anna, bob = party.in_room("anna", "t1"), party.in_room("bob", "t2")
    broker = party.broker
    party.lose(anna)
    assert [one.nick for one in party.chat.presence.people_at(ROOM)] == ["anna", "bob"]
    broker.budget.near_bytes = 0
    party.lose(bob)
    assert [one.nick for one in party.chat.presence.people_at(ROOM)] == ["anna"]


@pytest.mark.parametrize("what", [ROOM, "/rooms"])
def test_to_write_a_long_list_is_work(what: str) -> None:
    """So a turn ends, however often a client asks for lists that have changed meanwhile."""
    party, rooms = Party(), 500
    for number in range(rooms):
        party.in_room(f"n{number}", room=ROOM if what == ROOM else f"{ROOM}.{number}")
    anna, client = party.client("anna"), party.client()
    work = each_turn(party.server)
    for number in range(5):
        anna.subscribe(ROOM, str(number))
        client.subscribe(f"/presence{what}", str(number))
        anna.unsubscribe(str(number))
    assert sum(work) > 5 * rooms
