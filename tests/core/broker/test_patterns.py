"""The index of patterns: what it finds, and how many steps it takes."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.broker.destinations import words_of
from rtchat.core.broker.patterns import MAX_WORDS, PatternIndex


def index_of(*patterns: str) -> PatternIndex[str]:
    index: PatternIndex[str] = PatternIndex()
    for pattern in patterns:
        index.add(pattern, pattern)
    return index


def plainly_matches(pattern: list[str], name: list[str]) -> bool:
    """Say it as the contract does, without a thought for speed."""
    if not pattern:
        return not name
    first, rest = pattern[0], pattern[1:]
    if first == "#" or (first == ">" and not rest):
        return any(plainly_matches(rest, name[end:]) for end in range(len(name) + 1))
    return bool(name) and first in ("*", name[0]) and plainly_matches(rest, name[1:])


WORDS = st.lists(st.sampled_from(["a", "b", "", "*", "#"]), min_size=1, max_size=5)
PATTERN_WORDS = st.lists(st.sampled_from(["a", "b", "", "*", "#", ">"]), min_size=1, max_size=5)


@given(st.lists(PATTERN_WORDS, max_size=6), st.data(), st.sampled_from("./"), st.sampled_from("./"))
def test_the_index_finds_what_matches_word_for_word(
    patterns: list[list[str]], data: st.DataObject, separator: str, other: str
) -> None:
    texts = {separator.join(["x", *pattern]): pattern for pattern in patterns}
    index = index_of(*texts)
    gone = data.draw(st.sets(st.sampled_from(sorted(texts)))) if texts else set()
    for text in gone:
        index.remove(text)
        del texts[text]
    assert len(index) == len(texts)
    name = data.draw(WORDS)
    # Slashes at the ends do not count, so the last word is never empty.
    words = [*name, "a"]
    patterns_of = {text: words_of(text)[1:] for text in texts}
    expected = {t for t, pattern in patterns_of.items() if plainly_matches(pattern, words)}
    found = index.matching(other.join(["x", *words]))
    assert sorted(found) == sorted(expected)


def test_an_empty_index_keeps_nothing() -> None:
    patterns = ["#", "a.*", "a.*.c", "a.#", "b.>", "a.>", "a.*.#"]
    index = index_of(*patterns)
    for pattern in patterns:
        index.remove(pattern)
    assert len(index) == 0
    assert not index._root.children
    assert not index._root.values


MOSTLY_WILD = st.lists(st.sampled_from(["a", "b", "*", "#", "*", "#"]), min_size=1, max_size=9)


@given(st.lists(MOSTLY_WILD, min_size=1, max_size=12), st.data())
def test_the_normal_form_matches_the_same(patterns: list[list[str]], data: st.DataObject) -> None:
    texts = {".".join(pattern): pattern for pattern in patterns}
    index = index_of(*texts)
    for text in data.draw(st.sets(st.sampled_from(sorted(texts)))):
        index.remove(text)
        del texts[text]
    name = data.draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=10))
    expected = [text for text, pattern in texts.items() if plainly_matches(pattern, name)]
    assert sorted(index.matching(".".join(name))) == sorted(expected)


def test_a_name_with_wildcards_is_matched_like_others() -> None:
    index = index_of("x.*", "x.#", "x.a", "x.*.#.a")
    assert sorted(index.matching("x.*")) == ["x.#", "x.*"]
    assert sorted(index.matching("x.#")) == ["x.#", "x.*"]
    assert sorted(index.matching("x.#.a")) == ["x.#", "x.*.#.a"]


def steps_of(index: PatternIndex[str], name: str) -> int:
    index.matching(name)
    return index.steps


@pytest.mark.parametrize(
    "pattern",
    [
        ".".join("#" * 64),
        ".".join("#a" * 32),
        ".".join("#*" * 32),
        ".".join("*#" * 32),
        ".".join("#" * 63 + "z"),
        ".".join("#a" * 31 + "#z"),
    ],
)
@pytest.mark.parametrize("count", [10, 64, 65, 4000])
def test_many_wildcards_are_no_trap(pattern: str, count: int) -> None:
    assert steps_of(index_of(pattern), ".".join("a" * count)) <= MAX_WORDS + 1


def test_many_patterns_share_their_work() -> None:
    index: PatternIndex[str] = PatternIndex()
    for words in product(["a", "b", "c", "*"], repeat=5):
        index.add(".".join(words), "x")
    # Each node on the way is a step, and so are the three words of the name in each of them.
    assert steps_of(index, "a.b.c.a.b") <= 4 * (1 + 2 + 4 + 8 + 16 + 32)


def random_words(number: int, letters: str) -> list[str]:
    """Return the words of a pattern; each number has its own."""
    words = []
    for _ in range(MAX_WORDS):
        number, letter = divmod(number * 16807 % 2147483647, len(letters))
        words.append(letters[letter])
    return words


@pytest.mark.parametrize("letters", ["*#", "*#a", "a#", "ab*#"])
def test_a_thousand_patterns_of_wildcards_take_a_step_for_each_word(letters: str) -> None:
    patterns = {".".join(random_words(number, letters)) for number in range(1, 1001)}
    index = index_of(*patterns)
    name = ".".join("a" * MAX_WORDS)
    found = index.matching(name)
    assert index.steps <= len(patterns) * (MAX_WORDS + 2)
    assert set(found) <= patterns
    assert count_nodes(index) <= 2 * len(patterns)
    for pattern in patterns:
        index.remove(pattern)
    assert not index._root.children


def count_nodes(index: PatternIndex[str]) -> int:
    """Return how many nodes the tree has."""
    waiting, count = [index._root], 0
    while waiting:
        node = waiting.pop()
        count += 1
        waiting += node.children.values()
    return count


@pytest.mark.parametrize("name", ["a.*.b", "a.#.b", "*.a", "a.*"])
def test_a_name_may_have_a_wildcard_for_a_word(name: str) -> None:
    assert sorted(index_of("*.#", "#", "b").matching(name)) == ["#", "*.#"]
