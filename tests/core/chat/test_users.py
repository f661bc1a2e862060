"""Nicks belong to users: no other person can take one, on any door."""

from __future__ import annotations

import json

import pytest
from support.chat import ROOM, Party
from support.core import Client

from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame

_IN_USE = "nick in use"


@pytest.fixture
def party() -> Party:
    party = Party()
    party.chat.people.reserve(["ada", "Grace Hopper"])
    return party


def as_user(party: Party, user: str, wished_nick: str = "", **headers: str) -> tuple[Client, Frame]:
    """Connect a client that the server knows as a user; return it with the answer."""
    client = Client(party.server, None)
    client.session.user, client.session.wished_nick = user, wished_nick
    return client, client.connect(**headers)


def nick_of(answer: Frame) -> str | None:
    assert answer.command == "CONNECTED", answer
    return answer.headers.get("nick")


# ---------------------------------------------------------------- whose it is


@pytest.mark.parametrize("nick", ["ada", "ADA", " ada ", "grace hopper", "ad\u0430", "\uff41da"])
@pytest.mark.parametrize("token", ["", "t"])
def test_the_nick_of_a_user_is_not_to_be_had_while_it_is_away(
    party: Party, nick: str, token: str
) -> None:
    reasons = (_IN_USE, "nick with letters of different scripts")
    assert party.refused(nick, token) in reasons
    _, answer = as_user(party, "bob", nick=nick)
    assert answer.headers["message"] in reasons


def test_a_user_has_it_and_no_header_is_needed(party: Party) -> None:
    _, answer = as_user(party, "ada", x_presence_token="t")
    assert nick_of(answer) == "ada"
    _, answer = as_user(party, "bob", "Bobby", x_presence_token="t")
    assert nick_of(answer) == "Bobby"


def test_a_program_of_a_user_is_no_person(party: Party) -> None:
    _, answer = as_user(party, "ada")
    assert nick_of(answer) is None


def test_all_sessions_of_a_user_are_one_person(party: Party) -> None:
    ids = set()
    for token in ("one browser", "another browser"):
        _, answer = as_user(party, "ada", x_presence_token=token, x_presence_window=token)
        ids.add(answer.headers["x-presence-id"])
    assert len(ids) == 1
    assert len(party.chat.people) == 1


def test_the_token_of_a_person_does_not_make_an_anonymous_client_the_user(party: Party) -> None:
    _, answer = as_user(party, "ada", x_presence_token="t")
    client = party.client("eve", "t")
    assert client.session.user == ""
    assert len(party.chat.people) == 2
    # Nor does the name of the secret matter.
    assert party.refused("ada", "ada") == _IN_USE
    assert nick_of(answer) == "ada"


def test_a_user_takes_its_nick_back_from_an_anonymous_person(party: Party) -> None:
    anonymous = party.in_room("carol", "t")
    watcher = party.watcher()
    watcher.look()
    carol, answer = as_user(party, "carol", x_presence_token="u")
    assert nick_of(answer) == "carol"
    [error] = [frame for frame in anonymous.received() if frame.command == "ERROR"]
    assert error.headers["message"] == _IN_USE
    assert anonymous.close_reason is CloseReason.REFUSED
    carol.subscribe(ROOM)
    party.advance(2)
    assert watcher.look().nicks == ["carol"]


def test_no_user_takes_the_nick_of_another(party: Party) -> None:
    _, answer = as_user(party, "bob", "Bobby", x_presence_token="t")
    assert nick_of(answer) == "Bobby"
    _, answer = as_user(party, "mallory", nick="Bobby")
    assert answer.headers["message"] == _IN_USE
    # Not even one whose token gives it the same nick.
    _, answer = as_user(party, "mallory", "Bobby", x_presence_token="t")
    assert answer.headers["message"] == _IN_USE


def test_a_user_takes_its_nick_back_from_another_user(party: Party) -> None:
    """Users of tokens and hooks are known, and their nicks reserved, only once they are there."""
    squatter, answer = as_user(party, "mallory", nick="carol")
    assert nick_of(answer) == "carol"
    _, answer = as_user(party, "carol", x_presence_token="t")
    assert nick_of(answer) == "carol"
    [error] = [frame for frame in squatter.received() if frame.command == "ERROR"]
    assert error.headers["message"] == _IN_USE
    _, answer = as_user(party, "mallory", nick="carol")
    assert answer.headers["message"] == _IN_USE


def test_a_nick_that_was_ones_own_for_once_is_not_for_ever(party: Party) -> None:
    _, answer = as_user(party, "mallory", "Mal", x_presence_token="t")
    assert nick_of(answer) == "Mal"
    _, answer = as_user(party, "mallory", "Mal", nick="carol", x_presence_window="2")
    assert nick_of(answer) == "carol"
    _, answer = as_user(party, "carol", x_presence_token="t")
    assert nick_of(answer) == "carol"


def test_another_nick_that_a_user_chooses_is_no_more_than_anybodys(party: Party) -> None:
    party.client("eve", "t")
    _, answer = as_user(party, "bob", nick="eve")
    assert answer.headers["message"] == _IN_USE
    _, answer = as_user(party, "bob", nick="robert")
    assert nick_of(answer) == "robert"


def test_names_that_are_not_reserved_any_more_are_free(party: Party) -> None:
    assert party.refused("ada") == _IN_USE
    party.chat.people.reserve(["bob"])
    party.client("ada")
    assert party.refused("bob") == _IN_USE


def test_very_many_names_are_reserved_in_parts(party: Party) -> None:
    people = party.chat.people
    work = people.reserving(f"user{number}" for number in range(1000))
    assert len(list(zip(range(10), work, strict=False))) == 10
    assert people.owner("user1") == "user1"
    assert people.owner("user999") == ""
    assert len(list(work)) == 40
    assert people.owner("user999") == "user999"


def test_names_of_later_take_the_place_of_those_that_are_not_reserved_yet(party: Party) -> None:
    people = party.chat.people
    work = people.reserving(f"user{number}" for number in range(1000))
    next(work)
    people.reserve(["ada"])
    assert list(work) == []
    assert people.owner("user1") == people.owner("user999") == ""
    assert people.owner("ada") == "ada"


def test_only_names_that_are_new_are_looked_at(
    party: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    party.chat.people.reserve(f"user{number}" for number in range(100))
    asked: list[str] = []

    def look(nick: str) -> str:
        asked.append(nick)
        return nick

    monkeypatch.setattr("rtchat.core.chat.people.nick_look", look)
    party.chat.people.reserve(f"user{number}" for number in range(50, 101))
    assert asked == ["user100"]
    assert [party.chat.people.owner(f"user{number}") for number in (49, 50, 100)] == [
        "",
        "user50",
        "user100",
    ]


def test_a_nick_that_two_users_share_goes_to_the_one_who_is_left(party: Party) -> None:
    people = party.chat.people
    people.reserve(["Carol", "carol", "bob"])
    assert people.owner("CAROL") == "Carol"
    people.reserve(["carol", "bob"])
    assert people.owner("CAROL") == "carol"
    people.reserve(["bob"])
    assert people.owner("CAROL") == ""


# ---------------------------------------------------------------- the other doors


def say(client: Client, nick: str, destination: str = ROOM) -> list[Frame]:
    """Send a message to a room under a nick; return what comes back."""
    return client.ask("SEND", json.dumps({"nick": nick, "text": "x"}), destination=destination)


@pytest.mark.parametrize("nick", ["ada", "Ada ", "Grace Hopper"])
def test_no_program_writes_under_the_nick_of_a_user(party: Party, nick: str) -> None:
    [error] = say(party.client(), nick)
    assert error.headers["message"] == "not your nick"
    other, _ = as_user(party, "bob")
    [error] = say(other, nick)
    assert error.headers["message"] == "not your nick"


def test_a_program_of_the_user_may(party: Party) -> None:
    reader = party.client()
    reader.subscribe(ROOM)
    program, _ = as_user(party, "ada")
    assert say(program, "ada") == []
    assert json.loads(reader.message().body)["nick"] == "ada"


@pytest.mark.parametrize("wished", ["", "Ada L."])
def test_a_program_of_the_user_may_while_the_user_is_there(party: Party, wished: str) -> None:
    nick = wished or "ada"
    _, answer = as_user(party, "ada", wished, x_presence_token="t")
    assert nick_of(answer) == nick
    program, _ = as_user(party, "ada", wished)
    assert say(program, nick) == []
    for user in ("bob", ""):
        other, _ = as_user(party, user)
        [error] = say(other, nick)
        assert error.headers["message"] == "not your nick"


def test_private_messages_name_the_user(party: Party) -> None:
    bob = party.client("bob")
    bob.subscribe("/user/queue/private")
    ada, _ = as_user(party, "ada", x_presence_token="t")
    ada.publish("/user/bob/queue/private", b"x", x_user="boss")
    letter = bob.message()
    assert (letter.headers["x-sender"], letter.headers["x-user"]) == ("ada", "ada")
    eve = party.client("eve")
    eve.publish("/user/bob/queue/private", b"x", x_user="ada")
    assert "x-user" not in bob.message().headers


def test_rooms_stamp_the_time_of_users_too(party: Party) -> None:
    reader = party.client()
    reader.subscribe(ROOM)
    ada, answer = as_user(party, "ada", x_presence_token="t")
    ada.session.mark = b"\nx-user:ada"
    ada.publish(ROOM, b"x", timestamp="7", x_user="boss")
    headers = reader.message().headers
    assert headers["x-user"] == "ada"
    assert headers["x-sender-id"] == answer.headers["x-presence-id"]
    assert headers["timestamp"] == "1000000"
