"""Nicknames: what one may be, which ones count as the same, and which look the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chat import Party

from rtchat.core.chat.nicknames import clean_nick, nick_key, nick_look
from rtchat.errors import NotAllowed


@pytest.fixture
def party() -> Party:
    return Party()


@pytest.mark.parametrize(
    "nick",
    [
        "anna",
        "Ünïcödé 世界",
        "a b",
        "👩‍💻",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "x" * 32,
        "a:b\\c",
    ],
)
def test_a_nick_may_be_any_text_that_is_seen(nick: str) -> None:
    assert clean_nick(f"  {nick}\t", 32) == nick


@pytest.mark.parametrize(
    "nick",
    [
        *("a\nb", "a\0", "\x1b[31m", "a\u202eb", "a\u200bb", "a\u2028b", "\ufeffa", "a\ud800"),
        *(
            "a\u034fb",
            "\u115fa",
            "a\u1160b",
            "a\u3164",
            "\uffa0a",
            "a\u2800b",
            "a\u17b4b",
            "\u180ea",
        ),
        *(
            "a\U000e0041b",
            "a\U0001d159",
            "a\U00016fe4",
            "a\ue000b",
            "a\uffff",
            "a\u0378",
            "a\u2065",
        ),
    ],
)
def test_what_is_not_seen_is_no_part_of_a_nick(nick: str) -> None:
    with pytest.raises(NotAllowed, match="cannot be seen"):
        clean_nick(nick, 32)


@pytest.mark.parametrize("nick", ["", "  ", "\u200d", "\ufe0f"])
def test_a_nick_has_something_to_see(nick: str) -> None:
    with pytest.raises(NotAllowed, match="without a letter"):
        clean_nick(nick, 32)


@pytest.mark.parametrize("length, fits", [(31, True), (32, True), (33, False)])
def test_a_nick_has_at_most_so_many_characters(length: int, fits: bool) -> None:
    nick = "世" * length
    if fits:
        assert clean_nick(nick, 32) == nick
        return
    with pytest.raises(NotAllowed, match="nick longer than 32 characters"):
        clean_nick(nick, 32)


@pytest.mark.parametrize(
    "one, other",
    [
        ("Anna", "anna"),
        ("anna", "\uff41\uff4e\uff4e\uff41"),
        ("STRASSE", "straße"),
        ("a  b", "a b"),
        ("é", "e\u0301"),
        ("anna", "an\u200dna"),
        ("André", "Andre\u200d\u0301"),
        ("André", "Andre\ufe0f\u0301"),
        ("❤", "❤\ufe0f"),
        ("\ufb01n", "fin"),
    ],
)
def test_nicks_that_look_the_same_are_one(one: str, other: str) -> None:
    assert nick_key(one) == nick_key(other)


@pytest.mark.parametrize("one, other", [("anna", "anne"), ("a b", "ab"), ("1", "l")])
def test_other_nicks_are_not(one: str, other: str) -> None:
    assert nick_key(one) != nick_key(other)


@pytest.mark.parametrize(
    "one, other",
    [
        ("anna", "\u0430nna"),
        ("anna", "\u0391\u039d\u039d\u0391"),
        ("Bill", "BiII"),
        ("bill", "bi11"),
        ("Bob", "B0b"),
        ("modern", "modem"),
        ("coca", "\u0441\u043e\u0441\u0430"),
        ("\u0391\u0392\u0395", "ABE"),
        ("a-b", "a\u2010b"),
        ("it's", "it\u2019s"),
        ("istanbul", "i\u0307stanbul"),
        ("fin", "fi\u0307n"),
        ("H\u0151s", "\u041do\u030bs"),
    ],
)
def test_nicks_that_look_the_same_have_one_look(one: str, other: str) -> None:
    assert nick_look(one) == nick_look(other)


@pytest.mark.parametrize(
    "one, other",
    [
        *(("anna", "anne"), ("a b", "ab"), ("Zoe", "Zo\u00eb"), ("ada2", "ada3"), ("tom", "tim")),
        *(
            ("\u4e16\u754c", "\u4e16"),
            ("\u0418\u0432\u0430\u043d", "\u0418\u0432\u0430\u043d\u0430"),
        ),
    ],
)
def test_other_nicks_look_different(one: str, other: str) -> None:
    assert nick_look(one) != nick_look(other)


@given(st.text(max_size=20))
def test_the_key_of_a_key_is_itself(nick: str) -> None:
    assert nick_key(nick_key(nick)) == nick_key(nick)
