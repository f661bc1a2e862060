"""Private messages: from one person to one other, and to none but them."""

from __future__ import annotations

import pytest
from support.chat import ROOM, Party, chat_body, refusal
from support.core import Client, Listener, errors

from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame


@pytest.fixture
def party() -> Party:
    return Party()


def with_letters(
    party: Party, nick: str, token: str = "", login: str = "", window: str = ""
) -> Client:
    client = party.client(nick, token, login, window=window)
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


@pytest.mark.parametrize("is_held", [True, False])
def test_a_login_is_no_sender(party: Party, is_held: bool) -> None:
    bob = with_letters(party, "bob")
    if is_held:
        party.client("anna", "t1")
    message = "private messages need a nick"
    for login in ("anna", "guest"):
        eve = party.client(login=login)
        assert refusal(eve, b"x", "/user/bob/queue/private") == message
        [error] = party.client(login=login).ask(
            "SUBSCRIBE", id="1", destination="/user/queue/private"
        )
        assert error.headers["message"] == message
    assert letters(bob) == []


def test_a_message_for_a_nick_that_has_gone_is_for_nobody(party: Party) -> None:
    bob = with_letters(party, "bob")
    anna = with_letters(party, "anna", "t1")
    strangers = [party.client(login="anna"), party.client("eve", login="anna")]
    for eve in strangers:
        eve.say("SUBSCRIBE", id="u", destination="/user/queue/private")
    anna.say("DISCONNECT")
    bob.publish("/user/anna/queue/private", b"psst")
    [back] = letters(bob)
    assert back.headers["x-undelivered"] == "true"
    assert [letters(eve) for eve in strangers] == [[], []]


def test_a_message_goes_to_the_nick_and_not_to_one_that_looks_the_same(party: Party) -> None:
    bob = with_letters(party, "bob")
    with_letters(party, "coca", "t1")
    bob.publish("/user/\u0441\u043e\u0441\u0430/queue/private", b"psst")
    [back] = letters(bob)
    assert back.headers["x-undelivered"] == "true"


def test_only_the_session_that_sent_it_gets_it_back(party: Party) -> None:
    one, other = (with_letters(party, "guest", "t", window=window) for window in "12")
    one.publish("/user/nobody/queue/private", b"x")
    assert len(letters(one)) == 1
    assert letters(other) == []


def test_a_private_message_waits_for_commit(party: Party) -> None:
    anna, bob = with_letters(party, "anna"), with_letters(party, "bob")
    used = party.broker.budget.used
    for end, count in (("ABORT", 0), ("COMMIT", 1)):
        anna.say("BEGIN", transaction="t")
        anna.publish("/user/bob/queue/private", b"x", transaction="t")
        assert letters(bob) == []
        anna.say(end, transaction="t")
        assert len(letters(bob)) == count
    assert party.broker.budget.used == used


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


# ---------------------------------------------------------------- by id, and with a copy


def test_a_message_to_an_id_follows_the_person_and_not_the_name(party: Party) -> None:
    anna = with_letters(party, "anna", "t-anna")
    bob = with_letters(party, "bob", "t-bob")
    bob_id = party.chat.people.holder("bob").id  # type: ignore[union-attr]
    bob = with_letters(party, "rob", "t-bob")
    eve = with_letters(party, "bob", "t-eve")  # has taken the name that was free
    anna.publish("/user/bob/queue/private", b"1", x_receiver_id=bob_id)
    assert [letter.body for letter in letters(bob)] == [b"1"]
    assert letters(eve) == []
    # Without the person it comes back, and is not given to the one who has the name.
    bob.say("DISCONNECT")
    anna.publish("/user/bob/queue/private", b"2", x_receiver_id=bob_id)
    [back] = letters(anna)
    assert (back.body, back.headers["x-undelivered"]) == (b"2", "true")
    assert letters(eve) == []


def test_a_copy_tells_the_sender_who_got_it(party: Party) -> None:
    anna = with_letters(party, "anna", "t-anna")
    client = party.client("anna", "t-anna", window="2")
    client.subscribe("/user/queue/private", "u")
    bob = with_letters(party, "bob", "t-bob")
    anna.publish("/user/BOB/queue/private", b"1", x_copy="true")
    bob_id = party.chat.people.holder("bob").id  # type: ignore[union-attr]
    anna_id = party.chat.people.holder("anna").id  # type: ignore[union-attr]
    for one in (anna, client):
        [copy] = letters(one)
        assert copy.body == b"1"
        assert (copy.headers["x-sender"], copy.headers["x-sender-id"]) == ("anna", anna_id)
        assert (copy.headers["x-receiver"], copy.headers["x-receiver-id"]) == ("bob", bob_id)
    [letter] = letters(bob)
    assert not {"x-receiver", "x-receiver-id", "x-copy"} & set(letter.headers)
    # Who did not ask for one gets none; what is not delivered comes back once.
    anna.publish("/user/bob/queue/private", b"2")
    assert letters(anna) == []
    anna.publish("/user/nobody/queue/private", b"3", x_copy="true")
    [back] = letters(anna)
    assert "x-receiver" not in back.headers
    assert letters(client) == []
    anna.publish("/user/anna/queue/private", b"4", x_copy="true")
    assert [letter.body for letter in letters(anna)] == [b"4"]


def test_a_copy_cannot_be_forged(party: Party) -> None:
    bob = with_letters(party, "bob")
    forged = {"x_receiver": "eve", "x_receiver_id": "0", "x_copy": "true"}
    party.client("anna").publish(ROOM, b"x")
    listener = party.client()
    listener.subscribe(ROOM)
    party.client("anna2").publish(ROOM, b"x", **forged)
    [frame] = listener.received()
    assert not {"x-receiver", "x-receiver-id", "x-copy"} & set(frame.headers)
    assert letters(bob) == []
