"""Digits and quotes of untrusted text."""

from __future__ import annotations

import ast
from sys import getsizeof

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.effort import effort

from rtchat.text import escaped, kept_bytes, parse_digits, printable

# ---------------------------------------------------------------- digits


@pytest.mark.parametrize(
    "text, number", [("0", 0), ("7", 7), ("007", 7), ("65535", 65535), ("99999", 99999)]
)
def test_ascii_digits_are_a_number(text: str, number: int) -> None:
    assert parse_digits(text, 5) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+1", "1 ", " 1", "1_0", "1.0", "1e3", "0x1f", "1\n", "\n1", "1\0"),
        *("²", "١", "１", "1٢", "௧", "½", "Ⅷ", "㊿", "a", "1a"),  # noqa: RUF001 - digits, to Unicode
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_digits(text, 5) is None


def test_there_are_no_more_digits_than_allowed() -> None:
    assert parse_digits("12345", 5) == 12345
    assert parse_digits("123456", 5) is None
    assert parse_digits("000001", 5) is None  # leading zeros count


def test_a_very_long_text_takes_no_time() -> None:
    text = "9" * 10_000_000
    assert parse_digits(text, 18) is None
    assert effort(lambda: parse_digits(text, 18)) < 10


@given(st.integers(min_value=0, max_value=10**18 - 1), st.integers(0, 18))
def test_every_number_that_fits_is_read(number: int, max_digits: int) -> None:
    expected = number if len(str(number)) <= max_digits else None
    assert parse_digits(str(number), max_digits) == expected


@given(st.text(max_size=30), st.integers(0, 20))
def test_what_is_read_is_what_was_written(text: str, max_digits: int) -> None:
    number = parse_digits(text, max_digits)
    if number is None:
        is_number = 0 < len(text) <= max_digits and set(text) <= set("0123456789")
        assert not is_number
    else:
        assert text.lstrip("0") == (str(number) if number else "")
        assert len(text) <= max_digits


# ---------------------------------------------------------------- quotes

# What must never reach a terminal or a log file as it is.
LINE_BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
OTHER_SCRIPTS = "üßж界ש１а😀"
INVISIBLE = "\0\x07\x08\t\x1b\x7f\x9b\xad\u200b\u200d\u2060\ufeff\ud800\udfff\ue000\U000e0001"


@pytest.mark.parametrize("text", ["plain", "with space", "/a/b?c=d", "a'b", 'a"b'])
def test_printable_ascii_stays_as_it_is(text: str) -> None:
    assert text in printable(text, 20)
    assert escaped(text, 20) == text


@pytest.mark.parametrize("character", [*LINE_BREAKS, *DIRECTION, *INVISIBLE, *OTHER_SCRIPTS])
def test_no_character_acts_on_the_line(character: str) -> None:
    for quote in (printable, escaped):
        shown = quote(f"a{character}b", 10)
        assert character not in shown
        assert "\\" in shown


def test_a_forged_line_is_one_line() -> None:
    text = "x\n2026-01-01T00:00:00+0000 [-] all is well"
    assert len(printable(text, 200).splitlines()) == 1


def test_what_was_cut_off_is_seen() -> None:
    assert printable("abcdef", 6) == "'abcdef'"
    assert printable("abcdefg", 6) == "'abcdef'..."
    assert escaped("abcdef", 6) == "abcdef"
    assert escaped("abcdefg", 6) == "abcdef..."
    assert printable("", 6) == "''"
    assert escaped("", 6) == ""


def test_a_backslash_of_the_text_is_no_escape_of_ours() -> None:
    assert printable("a\\nb", 10) == "'a\\\\nb'"
    assert printable("a\nb", 10) == "'a\\nb'"


ANYTHING = st.text(st.characters(codec=None, categories=None))


@given(ANYTHING, st.integers(0, 40))
def test_nothing_of_a_text_acts_on_the_line(text: str, max_characters: int) -> None:
    for quote in (printable, escaped):
        shown = quote(text, max_characters)
        assert shown.isascii()
        assert shown.isprintable()
        assert len(shown.splitlines()) <= 1
        assert len(shown) <= 10 * max_characters + 5


@given(ANYTHING, st.integers(0, 40))
def test_the_quotes_can_be_undone(text: str, max_characters: int) -> None:
    shown = printable(text, max_characters)
    is_cut = len(text) > max_characters
    assert shown.endswith("...") or not is_cut
    assert ast.literal_eval(shown.removesuffix("...") if is_cut else shown) == text[:max_characters]
    assert escaped(text, max_characters) == (
        shown.removesuffix("...")[1:-1] + "..." if is_cut else shown[1:-1]
    )


@pytest.mark.parametrize(
    "text", ["", "a", "a" * 99, "\xe9" * 9, "a\u20ac" * 9, "a" * 9 + "\U0001f600"]
)
def test_the_bytes_that_python_keeps_are_known(text: str) -> None:
    assert kept_bytes(text) == (getsizeof(text * 3) - getsizeof(text * 2) if text else 0)
