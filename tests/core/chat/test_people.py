"""Nicks, and who is who: tokens, ghosts replaced, names that cannot be had or look like others."""

from __future__ import annotations

import pytest
from support.chat import ROOM, Party
from support.core import Client

from rtchat.core.broker.broker import Broker
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Version


@pytest.fixture
def party() -> Party:
    return Party()


def answer_to(party: Party, version: Version = Version.V12, **headers: str) -> dict[str, str]:
    client = Client(party.broker, None)
    answer = client.connect(version, **headers)
    assert answer.command == "CONNECTED", answer
    return dict(answer.headers)


# ---------------------------------------------------------------- who is who


def test_the_server_says_who_one_is(party: Party) -> None:
    headers = answer_to(party, nick=" anna ", x_presence_token="t1")
    assert headers["nick"] == "anna"
    assert len(headers["x-presence-id"]) == 20
    assert "t1" not in headers.values()


def test_the_same_token_is_the_same_person_also_after_a_goodbye(party: Party) -> None:
    first = party.client("anna", "t1")
    headers = {client: answer_to(party, nick="anna", x_presence_token="t1") for client in "ab"}
    first.say("DISCONNECT")
    party.advance(100)
    later = answer_to(party, nick="anne", x_presence_token="t1")
    ids = {answer["x-presence-id"] for answer in [*headers.values(), later]}
    assert len(ids) == 1


def test_other_tokens_and_other_servers_give_other_ids() -> None:
    ids = set()
    for epoch in ("one", "two"):
        party = Party(epoch=epoch)
        for token in ("t1", "t2"):
            headers = answer_to(party, nick=f"anna {token}", x_presence_token=token)
            ids.add(headers["x-presence-id"])
    assert len(ids) == 4


def test_a_login_is_a_nick_only_with_a_token_and_without_another_nick(party: Party) -> None:
    assert "nick" not in answer_to(party, login="bob", passcode="x")
    assert answer_to(party, login="bob", nick="anna")["nick"] == "anna"
    assert answer_to(party, login="eve", x_presence_token="t")["nick"] == "eve"


@pytest.mark.parametrize("login", ["x" * 33, "a\u202eb", " "])
def test_a_login_that_cannot_be_shown_is_let_in_without_a_name(party: Party, login: str) -> None:
    assert "nick" not in answer_to(party, login=login)


def test_who_says_nothing_has_no_name(party: Party) -> None:
    assert set(answer_to(party)) == {"version", "heart-beat", "session", "server"}
    assert set(answer_to(party, x_presence_token="t")) == {
        "version",
        "heart-beat",
        "session",
        "server",
    }


@pytest.mark.parametrize("version", list(Version))
def test_a_nick_goes_through_every_version(party: Party, version: Version) -> None:
    assert answer_to(party, version, nick="a:b \\n 世")["nick"] == "a:b \\n 世"


def test_a_broker_without_a_chat_does_not_look(party: Party) -> None:
    client = Client(Broker("plain"), None)
    assert "nick" not in client.connect(nick="\x01").headers


def test_nicks_that_cannot_be_had(party: Party) -> None:
    assert party.refused("x" * 33) == "nick longer than 32 characters"
    assert party.refused("a\x07") == "nick with a character that cannot be seen"
    assert party.refused("anna", "t" * 129) == "x-presence-token longer than 128 characters"
    party.client("anna", "t" * 128)


def test_the_length_of_nicks_is_a_setting() -> None:
    party = Party(max_nick_chars=3)
    party.client("abc")
    assert party.refused("abcd") == "nick longer than 3 characters"


# ---------------------------------------------------------------- one nick, one person


LIKE_ANNA = (
    *("anna", "ANNA", "\uff41\uff4e\uff4e\uff41", " anna ", "a\u200dnna", "anna\ufe0f"),
    *("\u0391\u039d\u039d\u0391", "\u0251nna"),  # Greek capitals; a Latin letter like an "a"
)


@pytest.mark.parametrize("other", LIKE_ANNA)
@pytest.mark.parametrize("token", ["", "t2"])
def test_a_nick_is_held_by_one(party: Party, other: str, token: str) -> None:
    anna = party.client("anna", "t1")
    assert party.refused(other, token) == "nick in use"
    assert not anna.session.is_closed


def test_a_nick_without_a_token_is_held_as_long_as_the_connection(party: Party) -> None:
    anna = party.client("anna")
    assert party.refused("anna") == "nick in use"
    assert party.refused("anna", "t") == "nick in use"
    party.lose(anna)
    party.client("anna", "t")


def test_a_nick_with_a_token_is_held_through_the_grace(party: Party) -> None:
    party.lose(party.client("anna", "t1"))
    party.advance(4)
    assert party.refused("anna", "t2") == "nick in use"
    party.advance(1)
    party.client("anna", "t2")


def test_whoever_says_goodbye_gives_the_nick_back_at_once(party: Party) -> None:
    party.client("anna", "t1").say("DISCONNECT")
    party.client("anna", "t2")


def test_a_newer_connection_replaces_the_older(party: Party) -> None:
    old = party.client("anna", "t1")
    new = party.client("anna", "t1")
    [error] = old.received()
    assert error.command == "ERROR"
    assert error.headers["message"] == "replaced by a newer connection"
    assert old.close_reason is CloseReason.REPLACED
    assert not new.session.is_closed
    party.lose(old)
    party.advance(10)
    assert party.refused("anna", "t2") == "nick in use"


def test_another_window_of_the_same_person_replaces_nobody(party: Party) -> None:
    one = party.in_room("anna", "t1", window="1")
    two = party.in_room("anna", "t1", window="2")
    assert (one.received(), two.received()) == ([], [])
    again = party.in_room("anna", "t1", window="2")
    assert [frame.command for frame in two.received()] == ["ERROR"]
    assert not one.session.is_closed
    # She is one person, here until her last window is closed.
    watcher = party.watcher()
    assert watcher.look().nicks == ["anna"]
    one.say("DISCONNECT")
    assert watcher.look().nicks == ["anna"]
    again.say("DISCONNECT")
    assert watcher.look().nicks == []


def test_all_windows_of_a_person_have_the_nick_of_the_latest(party: Party) -> None:
    one = party.in_room("anna", "t1", window="1")
    party.in_room("anne", "t1", window="2")
    one.say("SEND", b'{"nick": "anne", "text": "x"}', destination=ROOM, receipt="r")
    assert [frame.command for frame in one.received()] == ["MESSAGE", "RECEIPT"]
    one.say("SEND", b'{"nick": "anna", "text": "x"}', destination=ROOM)
    [error] = one.received()
    assert error.headers["message"] == "not your nick"


def test_a_window_has_a_name_of_at_most_128_characters(party: Party) -> None:
    party.client("anna", "t1", window="w" * 128)
    reason = party.refused("anna", "t1", x_presence_window="w" * 129)
    assert reason == "x-presence-window longer than 128 characters"


def test_a_new_nick_frees_the_old_one(party: Party) -> None:
    party.client("anna", "t1")
    party.client("anne", "t1")
    party.client("anna", "t2")
    assert party.refused("anne", "t2") == "nick in use"


def test_a_nick_may_change_its_capitals(party: Party) -> None:
    party.client("anna", "t1")
    assert answer_to(party, nick="Anna", x_presence_token="t1")["nick"] == "Anna"
    assert party.refused("anna") == "nick in use"


def test_a_refused_change_leaves_everything_as_it_was(party: Party) -> None:
    anna = party.client("anna", "t1")
    party.client("bob", "t2")
    assert party.refused("bob", "t1") == "nick in use"
    assert not anna.session.is_closed
    assert party.refused("anna", "t2") == "nick in use"


@pytest.mark.parametrize(
    "one, other",
    [
        ("Bill", "Bi\u04cf\u04cf"),
        ("Bill", "BiII"),
        ("modern", "modem"),
        ("coca", "\u0441\u043e\u0441\u0430"),
    ],
)
def test_a_nick_that_looks_like_another_is_in_use(party: Party, one: str, other: str) -> None:
    assert answer_to(party, nick=one, x_presence_token="t1")["nick"] == one
    assert party.refused(other, "t2") in {
        "nick in use",
        "nick with letters of different scripts",
    }
    # A person may change to a form of its own name; then the other one is free, and looks the same.
    assert answer_to(party, nick=one.upper(), x_presence_token="t1")["nick"] == one.upper()
    party.client("somebody else", "t1")
    party.client(one, "t3")


def test_a_nick_without_a_token_is_another_persons_after_a_loss(party: Party) -> None:
    watcher = party.watcher()
    first = answer_to(party, nick="anna")
    party.lose(party.in_room("bob"))
    again = party.in_room("bob")
    assert watcher.news() == ["here", "join bob", "leave bob", "join bob"]
    party.lose(again)
    ids = {answer_to(party, nick=f"carl{number}")["x-presence-id"] for number in range(3)}
    assert len({*ids, first["x-presence-id"]}) == 4


def test_a_login_is_never_refused_and_holds_nothing(party: Party) -> None:
    clients = [party.client(login="guest") for _ in range(3)]
    guest = party.client("guest", "t")
    clients.append(party.client(login="guest"))
    assert not any(client.session.is_closed for client in [*clients, guest])


def test_nobody_is_remembered_who_has_gone(party: Party) -> None:
    for number in range(50):
        client = party.in_room(f"nick {number}", f"token {number}")
        (party.lose if number % 2 else lambda c: c.say("DISCONNECT"))(client)
    party.lose(party.in_room("", login="guest"))
    party.advance(6)
    chat = party.chat
    assert len(chat.people) == 0
    assert chat.presence.people_at(ROOM) == []
    assert party.broker.statistics.subscription_count == 0
