"""Rules of rooms, and private messages: no client can speak as another person."""

from __future__ import annotations

import json

import pytest
from support.chat import ROOM, Party, chat_body
from support.core import Client, Listener, errors

from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame


@pytest.fixture
def party() -> Party:
    return Party()


def refusal(client: Client, body: bytes, destination: str = ROOM, **headers: str) -> str:
    """Send what is not taken; give the reason."""
    length = str(len(body))
    frames = client.ask("SEND", body, destination=destination, content_length=length, **headers)
    assert [frame.command for frame in frames] == ["ERROR"]
    return frames[0].headers["message"]


def taken(party: Party, client: Client, body: bytes, destination: str = ROOM) -> None:
    """Send what is taken."""
    listener = party.client()
    listener.subscribe(destination)
    client.publish(destination, body)
    assert [frame.body for frame in listener.received()] == [body]
    assert not client.session.is_closed


# ---------------------------------------------------------------- length


@pytest.mark.parametrize("character", ["x", "é", "世", "👋", '"', "\n"])
@pytest.mark.parametrize("is_json", [True, False])
@pytest.mark.parametrize("nick", ["anna", ""])
def test_a_text_has_at_most_so_many_characters(character: str, is_json: bool, nick: str) -> None:
    party = Party(max_text_chars=100, limits_programs=True)

    def body(length: int) -> bytes:
        text = character * length
        return chat_body("anna", text) if is_json else text.encode()

    client = party.client(nick)
    for length in (99, 100):
        taken(party, client, body(length))
    assert refusal(client, body(101)) == "text longer than 100 characters"
    assert client.close_reason is CloseReason.LIMIT


def test_the_usual_limit_is_4000(party: Party) -> None:
    anna = party.client("anna")
    taken(party, anna, b"x" * 4000)
    assert refusal(anna, b"x" * 4001) == "text longer than 4000 characters"
    taken(party, party.client(), chat_body("bob", "x" * 4000))
    message = refusal(party.client(), chat_body("bob", "x" * 4001))
    assert message == "text longer than 4000 characters"


def test_what_programs_without_a_nick_send_is_not_limited_unless_somebody_wants_it(
    party: Party,
) -> None:
    for login in ("", "guest"):
        for body in (b"x" * 200_000, json.dumps({"value": "x" * 5000}).encode()):
            taken(party, party.client(login=login), body)


@pytest.mark.parametrize("nick", ["anna", ""])
def test_json_without_a_text_counts_as_a_whole(nick: str) -> None:
    party = Party(max_text_chars=100, limits_programs=True)
    long = json.dumps({"nick": "anna", "other": "x" * 100}).encode()
    for body in (long, json.dumps(["x" * 100]).encode(), b'{"text":"' + b"x" * 100):
        client = party.client(nick)
        assert refusal(client, body) == "text longer than 100 characters"
        party.lose(client)


def test_what_is_beside_the_text_does_not_count() -> None:
    party = Party(max_text_chars=10)
    taken(party, party.client(), chat_body("anna", "x" * 10, id="i" * 100, kind="action"))


def test_bytes_that_are_no_text_count_as_characters() -> None:
    party = Party(max_text_chars=10)
    anna = party.client("anna")
    taken(party, anna, b"\xff" * 10)
    assert refusal(anna, b"\xff" * 11) == "text longer than 10 characters"


def test_a_limit_of_0_is_none() -> None:
    party = Party(max_text_chars=0)
    taken(party, party.client("anna"), b"x" * 100_000)


@pytest.mark.parametrize(
    "destination", ["/topic/other", "/topic/chatter", "/queue/chat", "/topic/chat/x"]
)
def test_only_rooms_have_rules(party: Party, destination: str) -> None:
    party.client("anna", "t1")
    taken(party, party.client("eve"), chat_body("anna", "x" * 5000), destination)


@pytest.mark.parametrize(
    "destination", ["/topic/chat", "/topic/chat.x", "/topic/chat.x.y", "/topic/a, /topic/chat"]
)
def test_every_room_has_them(party: Party, destination: str) -> None:
    message = refusal(party.client("anna"), b"x" * 4001, destination)
    assert message == "text longer than 4000 characters"


def test_the_rules_hold_in_transactions(party: Party) -> None:
    client = party.client("eve")
    client.say("BEGIN", transaction="t")
    message = refusal(client, chat_body("anna"), transaction="t")
    assert message == "not your nick"


# ---------------------------------------------------------------- whose message


def test_a_message_bears_its_senders_nick(party: Party) -> None:
    anna = party.client("anna", "t1")
    for body in (chat_body("anna"), chat_body(" anna "), b"plain", b'{"nick":5}', b'{"a":1}'):
        taken(party, anna, body)
    for nick in ("bob", "Anna", "", "an\u200bna"):
        client = party.client("anna", "t1")
        assert refusal(client, chat_body(nick)) == "not your nick"
        assert client.close_reason is CloseReason.REFUSED


def test_who_has_no_nick_may_write_any_that_is_free(party: Party) -> None:
    party.client("anna", "t1")
    taken(party, party.client(), chat_body("bob"))
    taken(party, party.client(login="guest"), chat_body("bob"))
    for nick in ("anna", "ANNA", "\uff41nna", " anna", "an\u200bna"):
        for login in ("", "guest", "anna"):
            assert refusal(party.client(login=login), chat_body(nick)) == "not your nick"


@pytest.mark.parametrize(
    "body",
    [
        b'{"nick":"anna","text":"x"}',
        b' \r\n\t{"nick":"anna","text":"x"}',
        b" " * 500 + b'{"nick":"anna","text":"x"}',
        b'\xef\xbb\xbf{"nick":"anna","text":"x"}',
        b'{"nick":"bob","nick":"anna","text":"x"}',
        b'{"\\u006eick":"\\u0061nna","text":"x"}',
        b'{"nick":"anna","text":"\xff"}',
        b'{"nick":"anna","text":"x","n":' + b"1" * 10_000 + b"}",
        b'{"nick":"anna","text":"x","n":1e999}',
        b'{"nick":"anna","text":"x"}  \n',
    ],
    ids=["plain", "space", "much space", "BOM", "twice", "escaped", "bytes", "long", "inf", "end"],
)
def test_nobody_gets_round_that_with_another_way_of_writing(party: Party, body: bytes) -> None:
    party.client("anna", "t1")
    assert refusal(party.client("bob"), body) == "not your nick"
    assert refusal(party.client(), body) == "not your nick"


def test_what_is_nested_too_deeply_to_be_checked_is_refused(party: Party) -> None:
    body = b'{"nick":"anna","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert refusal(party.client("bob"), body) == "JSON nested too deeply"


def test_a_nick_that_is_lost_but_not_gone_is_still_somebodys(party: Party) -> None:
    party.lose(party.in_room("anna", "t1"))
    assert refusal(party.client(), chat_body("anna")) == "not your nick"
    party.advance(5)
    taken(party, party.client(), chat_body("anna"))


def test_the_check_can_be_turned_off() -> None:
    party = Party(nick_must_match=False, max_text_chars=10)
    party.client("anna", "t1")
    taken(party, party.client("bob"), chat_body("anna"))
    assert (
        refusal(party.client("bob2"), chat_body("anna", "x" * 11))
        == "text longer than 10 characters"
    )


def test_heads_that_are_the_same_do_not_share_who_sent_them(party: Party) -> None:
    anna, bob = party.client("anna"), party.client("bob")
    listener = party.client()
    listener.subscribe(ROOM)
    for _ in range(3):
        anna.publish(ROOM, chat_body("anna", "a"))
        bob.publish(ROOM, chat_body("bob", "bb"))
    assert len(listener.received()) == 6
    assert refusal(bob, chat_body("anna", "a")) == "not your nick"


# ---------------------------------------------------------------- private messages


def with_letters(party: Party, nick: str, token: str = "", login: str = "") -> Client:
    client = party.client(nick, token, login)
    client.subscribe("/user/queue/private", "u")
    return client


def letters(client: Client) -> list[Frame]:
    return [frame for frame in client.received() if frame.command == "MESSAGE"]


def test_a_private_message_reaches_one_and_says_who_sent_it(party: Party) -> None:
    anna, bob, eve = (with_letters(party, nick) for nick in ("anna", "bob", "eve"))
    eve.subscribe("#", "all")
    [receipt] = anna.ask(
        "SEND",
        b"psst",
        destination="/user/bob/queue/private",
        receipt="r",
        content_type="text/plain",
        correlation_id="7",
    )
    assert receipt == Frame("RECEIPT", {"receipt-id": "r"})
    [letter] = letters(bob)
    chat = party.chat
    sender = chat.people.holder("anna")
    assert sender is not None
    message_id = letter.headers["message-id"]
    assert letter == Frame(
        "MESSAGE",
        {
            "subscription": "u",
            "message-id": message_id,
            "destination": "/user/queue/private",
            "content-length": "4",
            "content-type": "text/plain",
            "correlation-id": "7",
            "x-sender": "anna",
            "x-sender-id": sender.id,
            "timestamp": "1000000",
        },
        b"psst",
    )
    assert letters(eve) == letters(anna) == []


def test_a_sender_cannot_be_forged(party: Party) -> None:
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob")
    anna.publish(
        "/user/bob/queue/private",
        b"x",
        x_sender="eve",
        x_sender_id="0",
        x_undelivered="true",
        message_id="m",
        subscription="s",
    )
    [letter] = letters(bob)
    assert letter.headers["x-sender"] == "anna"
    assert "x-undelivered" not in letter.headers
    # The same head again, to the byte, from another client.
    eve = with_letters(party, "eve")
    eve.publish(
        "/user/bob/queue/private",
        b"x",
        x_sender="eve",
        x_sender_id="0",
        x_undelivered="true",
        message_id="m",
        subscription="s",
    )
    assert [letter.headers["x-sender"] for letter in letters(bob)] == ["eve"]


def test_a_body_cannot_say_another_sender_either(party: Party) -> None:
    with_letters(party, "bob")
    anna = with_letters(party, "anna")
    assert refusal(anna, chat_body("eve"), "/user/bob/queue/private") == "not your nick"
    long = refusal(with_letters(party, "x"), b"x" * 4001, "/user/bob/queue/private")
    assert long == "text longer than 4000 characters"


def test_nobody_else_can_subscribe_to_them(party: Party) -> None:
    for name in (
        "/user/bob/queue/private",
        "/user/*/queue/private",
        "/user/queue/other",
        "/user/#",
    ):
        [error] = party.client("eve").ask("SUBSCRIBE", id="1", destination=name)
        assert error.headers["message"] == "no such user destination"


@pytest.mark.parametrize("to", ["BOB", "\uff42ob", " bob "])
def test_a_nick_is_found_however_it_is_written(party: Party, to: str) -> None:
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob")
    anna.publish(f"/user/{to}/queue/private", b"x")
    assert len(letters(bob)) == 1


@pytest.mark.parametrize("nick", ["a/b", "a,b", "/queue/private", "\u4e16 \u754c", "a\\b"])
def test_any_nick_can_be_written_to(party: Party, nick: str) -> None:
    anna, other = with_letters(party, "anna"), with_letters(party, nick)
    anna.publish(f"/user/{nick}/queue/private".replace("\\", "\\\\"), b"x")
    assert [letter.body for letter in letters(other)] == [b"x"]


def test_who_is_not_there_gets_nothing_and_the_sender_is_told(party: Party) -> None:
    anna = with_letters(party, "anna")
    party.client("deaf")
    for nick in ("nobody", "deaf"):
        anna.publish(f"/user/{nick}/queue/private", chat_body("anna", "hi", id="7"))
        [back] = letters(anna)
        assert back.headers["x-undelivered"] == "true"
        assert back.headers["x-sender"] == "anna"
        assert back.body == chat_body("anna", "hi", id="7")


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_message_that_has_expired_is_an_error_for_nobody_and_nothing_for_somebody(
    party: Party, in_transaction: bool
) -> None:
    bob = with_letters(party, "bob")
    for nick, answers in (("bob", []), ("nobody", ["nobody is called so"])):
        client = party.client(f"anna-{nick}")
        more = {"expires": "1"}
        if in_transaction:
            client.say("BEGIN", transaction="t")
            more["transaction"] = "t"
        client.say("SEND", "x", destination=f"/user/{nick}/queue/private", **more)
        if in_transaction:
            client.say("COMMIT", transaction="t")
        assert errors(client.received()) == answers
    assert letters(bob) == []


def test_who_was_lost_is_not_there_until_back(party: Party) -> None:
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob", "t1")
    party.lose(bob)
    anna.publish("/user/bob/queue/private", b"1")
    assert letters(anna)[0].headers["x-undelivered"] == "true"
    back = with_letters(party, "bob", "t1")
    anna.publish("/user/bob/queue/private", b"2")
    assert [letter.body for letter in letters(back)] == [b"2"]
    assert letters(anna) == []


def test_without_a_subscription_of_ones_own_it_is_an_error(party: Party) -> None:
    client = party.client("anna")
    assert refusal(client, b"x", "/user/nobody/queue/private") == "nobody is called so"
    assert client.close_reason is CloseReason.REFUSED


def test_senders_and_receivers_need_a_name(party: Party) -> None:
    with_letters(party, "bob")
    message = "private messages need a nick"
    assert refusal(party.client(), b"x", "/user/bob/queue/private") == message
    [error] = party.client().ask("SUBSCRIBE", id="1", destination="/user/queue/private")
    assert error.headers["message"] == message


@pytest.mark.parametrize(
    "name",
    [
        "/user/",
        "/user/queue/private",
        "/user//queue/private",
        "/user/ /queue/private",
        "/user/bob",
        "/user/bob/queue/other",
    ],
)
def test_a_private_destination_names_somebody(party: Party, name: str) -> None:
    client = with_letters(party, "anna")
    assert refusal(client, b"x", name) == "no such user destination"


def test_a_private_message_has_one_destination(party: Party) -> None:
    client = with_letters(party, "anna")
    name = "/topic/a,/user/anna/queue/private"
    assert refusal(client, b"x", name) == "nobody can send there"


def test_a_login_gets_them_in_every_session_and_a_holder_before_a_login(party: Party) -> None:
    anna = with_letters(party, "anna")
    guests = [with_letters(party, "", login="guest") for _ in range(2)]
    anna.publish("/user/guest/queue/private", b"1")
    assert [len(letters(guest)) for guest in guests] == [1, 1]
    guests[0].publish("/user/anna/queue/private", b"2")
    assert [letter.headers["x-sender"] for letter in letters(anna)] == ["guest"]
    holder = with_letters(party, "guest", "t1")
    anna.publish("/user/guest/queue/private", b"3")
    assert len(letters(holder)) == 1
    assert letters(guests[0]) == letters(guests[1]) == []


def test_only_the_session_that_sent_it_gets_it_back(party: Party) -> None:
    one, other = (with_letters(party, "", login="guest") for _ in range(2))
    one.publish("/user/nobody/queue/private", b"x")
    assert len(letters(one)) == 1
    assert letters(other) == []


def test_a_private_message_waits_for_commit(party: Party) -> None:
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob")
    for end, count in (("ABORT", 0), ("COMMIT", 1)):
        anna.say("BEGIN", transaction="t")
        anna.publish("/user/bob/queue/private", b"x", transaction="t")
        assert letters(bob) == []
        anna.say(end, transaction="t")
        assert len(letters(bob)) == count
    assert party.broker.budget.used == 0


def test_what_is_beside_an_undeliverable_one_in_a_transaction_takes_effect(party: Party) -> None:
    anna, listener = party.client("anna"), party.client()
    listener.subscribe("/topic/a")
    anna.say("BEGIN", transaction="t")
    anna.publish("/user/nobody/queue/private", b"x", transaction="t")
    anna.publish("/topic/a", b"y", transaction="t")
    [error] = anna.ask("COMMIT", transaction="t")
    assert error.headers["message"] == "nobody is called so"
    assert [frame.body for frame in listener.received()] == [b"y"]


def test_an_answer_to_a_private_message_finds_its_way(party: Party) -> None:
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob")
    anna.publish("/user/bob/queue/private", b"?", reply_to="/temp-queue/mine")
    [question] = letters(bob)
    bob.publish(question.headers["reply-to"], b"!")
    [answer] = letters(anna)
    assert (answer.headers["subscription"], answer.body) == ("/temp-queue/mine", b"!")


def test_a_private_message_whose_time_is_over_reaches_nobody(party: Party) -> None:
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob")
    anna.publish("/user/bob/queue/private", b"1", expires="999000")
    anna.publish("/user/bob/queue/private", b"2", expiration="1000")
    [letter] = letters(bob)
    assert letter.headers["expires"] == "1001000"
    assert letter.body == b"2"


def test_they_are_not_kept_and_not_observed(party: Party) -> None:
    observed: list[object] = []
    party.broker.events.add(Listener(observed.append))
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob")
    anna.publish("/user/bob/queue/private", b"x")
    assert len(letters(bob)) == 1
    bob.say("UNSUBSCRIBE", id="u")
    bob.subscribe("/user/queue/private", "again")
    assert observed == []
    assert party.broker.statistics.subscription_count == 2
