"""LIKE patterns: what they fit, and that no pattern takes long."""

from __future__ import annotations

import itertools
import operator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.effort import effort
from support.examples import examples

from rtchat.core.selector.headers import MessageHeaders
from rtchat.core.selector.like import LikePattern


@pytest.mark.parametrize(
    "pattern, escape, fits, fits_not",
    [
        ("12%3", "", ["123", "12993"], ["1234", "13", "0123"]),
        ("l_se", "", ["lose"], ["loose", "lse"]),
        ("\\_%", "\\", ["_foo", "_"], ["bar", "\\_foo"]),
        ("%", "", ["", "a", "a\nb"], []),
        ("", "", [""], ["a"]),
        ("_", "", ["a", "\n", "é", "😀"], ["", "aa"]),
        ("%_%_%", "", ["ab", "abc"], ["", "a"]),
        ("a", "", ["a"], ["A", "aa", ""]),
        ("a%a", "", ["aa", "aba"], ["a", "ab"]),
        ("%a%b%", "", ["ab", "xaxbx"], ["ba", "a"]),
        ("%ab%ab%", "", ["abab"], ["aba", "ab"]),
        ("%aa%aa%", "", ["aaaa", "aabaa"], ["aaa", "aaba"]),
        ("%a_a%a_a%", "", ["abaaba"], ["ababa", "abab"]),
        ("%a_c%a_c", "", ["abcabc", "axcazzcazc"], ["abc", "abca"]),
        ("%a__d%", "", ["abcd", "aaxxd"], ["abd"]),
        ("%_b%", "", ["ab", "bb"], ["b", "ba"]),
        ("%b_%", "", ["ba"], ["b", "ab"]),
        (".*[a-z]+^$", "", [".*[a-z]+^$"], ["a"]),
        ("100|%", "|", ["100%"], ["100", "1000", "100|"]),
        ("a||b", "|", ["a|b"], ["a||b"]),
        ("a|b", "|", ["a|b"], ["ab"]),
        ("ab|", "|", ["ab|"], ["ab"]),
        ("%%x", "%", ["%x"], ["x", "ax"]),
        ("%x", "%", ["x", "ax"], ["xa"]),
        ("__", "_", ["_"], ["ab"]),
    ],
)
def test_a_pattern_knows_its_two_wildcards_and_the_escape(
    pattern: str, escape: str, fits: list[str], fits_not: list[str]
) -> None:
    like = LikePattern(pattern, escape)
    assert [text for text in fits + fits_not if like.matches(text)] == fits


def is_like(text: str, pattern: str) -> bool:
    """Compare in the slow and obvious way, a row of the table for each pattern character."""
    row = [True] + [False] * len(text)
    for char in pattern:
        if char == "%":
            row = list(itertools.accumulate(row, operator.or_))
        else:
            row = [False] + [
                before and char in ("_", here) for before, here in zip(row, text, strict=False)
            ]
    return row[-1]


@given(
    st.text("ab", max_size=12),
    st.text("ab_%", max_size=10),
)
@settings(max_examples=examples(200, 10_000), deadline=None)
@example("aab", "%_ab")
@example("aaa", "%aa%aa%")
@example("abaab", "%a_b%")
@example("aaaaaaaaab", "%a_a%a_b")
def test_a_pattern_agrees_with_the_slow_and_obvious_way(text: str, pattern: str) -> None:
    assert LikePattern(pattern).matches(text) is is_like(text, pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "%a" * 4000 + "%b",
        "%a_a" * 2000 + "%b",
        "%" + "a_" * 4000 + "b%",
        "%" + "_a" * 40 + "b%",
        "%a_b" * 2000,
        "%aa_aab" * 1000,
        "%" * 8000 + "b",
        "%_" * 4000 + "b",
        "%" + "a" * 4000 + "b%",
    ],
)
def test_a_hostile_pattern_takes_no_time(pattern: str) -> None:
    def match() -> None:
        like = LikePattern(pattern)
        assert not like.matches("a" * 8192)
        like.matches("ab" * 4095 + "aa")

    assert effort(match) < 20


def test_a_chain_of_patterns_looks_at_a_header_once() -> None:
    """Where each character stands is found out once for all patterns of all selectors."""
    headers = MessageHeaders({"h": "a" * 8192})
    patterns = [LikePattern("%a_" + "a" * (number % 8) + "b%") for number in range(400)]

    def match() -> None:
        assert not any(pattern.matches(headers["h"], headers) for pattern in patterns)

    assert effort(match) < 2


@given(st.text(max_size=12), st.text("?\x01\x02 é😀", min_size=1, max_size=4))
def test_any_character_may_stand_beside_a_blank(text: str, around: str) -> None:
    pattern = "%" + "_".join(around) + "%"
    for one in (text, text + around, "x".join(around) + text):
        headers = MessageHeaders({"h": one})
        assert LikePattern(pattern).matches(one, headers) is is_like(one, pattern)
