"""Rules of rooms: no client can speak as another person, in any way of writing the name."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from support.chat import ROOM, Party, chat_body, refusal
from support.core import Client
from support.stomp import message_bytes

from rtchat.core.chat.chat import Json
from rtchat.core.session.connection import CloseReason
from rtchat.net.json_codec import JSON


@pytest.fixture
def party() -> Party:
    return Party()


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


@pytest.mark.parametrize("login", ["", "guest", "anna"])
def test_a_nick_in_a_body_is_compared_as_the_page_displays_it(party: Party, login: str) -> None:
    party.client("anna", "t1")
    held = "not your nick"
    for nick in ("anna\0", "\x1fanna", "an\u034fna", "\u115fanna", "anna\u3164", "anna\u2800"):
        assert refusal(party.client(login=login), chat_body(nick)) == held
        assert refusal(party.client("eve"), chat_body(nick)) == held
    for code in ("d800", "dfff", "0000", "200b", "e0041", "fe0f", "\\u200d"):
        escaped = (
            code if code.startswith("\\") else f"\\u{code}" if len(code) == 4 else "\U000e0041"
        )
        body = b'{"nick":"anna%b","text":"x"}' % escaped.encode()
        assert refusal(party.client(login=login), body) == held
        assert refusal(party.client("eve"), body) == held


@pytest.mark.parametrize(
    "nick, reason",
    [
        ("bob\0", "nick with a character that cannot be seen"),
        ("bob\u2800", "nick with a character that cannot be seen"),
        ("b\u043eb", "nick with letters of different scripts"),
        ("\u0430nna", "not your nick"),
        ("ANN\u0410", "not your nick"),
        ("\u0391\u039d\u039d\u0391", "not your nick"),
        ("x" * 33, "nick longer than 32 characters"),
    ],
)
def test_who_has_no_nick_may_write_only_one_that_could_be_held(
    party: Party, nick: str, reason: str
) -> None:
    party.client("anna", "t1")
    assert refusal(party.client(), chat_body(nick)) == reason


def test_a_message_without_a_nick_in_its_json_is_taken(party: Party) -> None:
    taken(party, party.client(), chat_body(""))
    taken(party, party.client(), chat_body("  "))


def test_a_long_nick_is_not_normalised(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    # Marks in the wrong order are sorted one by one: a megabyte of them would take hours.
    lengths: list[int] = []
    normalize = unicodedata.normalize

    def counted(form: Any, text: str) -> str:
        lengths.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", counted)
    nick = "a" + "\u0301\u0323" * 2000
    reason = refusal(party.client(), json.dumps({"nick": nick, "text": "x"}).encode())
    assert reason == "nick longer than 32 characters"
    anna = party.client("anna")
    anna.subscribe("/user/queue/private", "u")
    anna.publish(f"/user/{nick[:3000]}/queue/private", b"x")
    assert anna.message().headers["x-undelivered"] == "true"
    assert max(lengths) <= 4 * 32


@pytest.mark.parametrize("destination", ["/topic/typing", "/topic/typing.tea"])
def test_a_notice_of_typing_bears_its_senders_nick(party: Party, destination: str) -> None:
    anna = party.client("anna", "t1")
    notice = b'{"nick":"anna","typing":true}'
    taken(party, anna, notice, destination)
    for eve in (party.client("eve"), party.client(), party.client(login="anna")):
        assert refusal(eve, notice, destination) == "not your nick"


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
    body = b'{"nick":"anna","x":' + b"[" * 15_000 + b"]" * 15_000 + b"}"
    assert refusal(party.client("bob"), body) == "JSON nested too deeply"


@pytest.mark.parametrize("name", [b"nick", b"text", b"n\\u0069ck"])
@pytest.mark.parametrize("value", [b"1,", b"{},", b"[[],", b'{"":0},', b'"\xff"  '])
def test_what_takes_too_long_to_be_checked_is_refused(value: bytes, name: bytes) -> None:
    read = []

    def noting(body: bytes) -> object:
        read.append(body)
        return JSON.read(body)

    party = Party(json=Json(JSON.write, noting), max_text_chars=0)
    begin, end = b'{"other":[', b'0],"%b":"anna"}' % name
    client = party.client()
    assert refusal(client, begin + value * 20_001 + end) == "JSON that takes too long to check"
    assert client.close_reason is CloseReason.LIMIT
    assert not read


def test_what_programs_send_may_have_many_values(party: Party) -> None:
    taken(party, party.client(), json.dumps({"values": list(range(100_000))}).encode())
    anna = party.client("anna")
    taken(party, anna, chat_body("anna", ",:[{" * 1000, other=list(range(5000))))


def test_to_read_json_is_work(party: Party) -> None:
    client = party.client()
    party.broker.cork.work = 0
    client.session.receive(message_bytes(ROOM, chat_body("anna", "x" * 3200)))
    assert party.broker.cork.work > 200


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
