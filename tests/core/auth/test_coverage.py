"""Whether a pattern covers another one: exactly if it matches every name that the other matches."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from rtchat.core.auth import coverage
from rtchat.core.auth.coverage import TOPIC, Asked, Pattern, covers, kind_of
from rtchat.core.broker.destinations import words_of
from rtchat.core.broker.patterns import MAX_WORDS, PatternIndex

LETTERS = "abz"  # no pattern has a z
NAMES = ["".join(name) for length in range(1, 7) for name in product(LETTERS, repeat=length)]

WORDS = st.lists(st.sampled_from(["a", "b", "*", "#", "a", "*", "#", ">"]), min_size=1, max_size=7)


def model(words: list[str]) -> re.Pattern[str]:
    """Return a pattern as a regular expression, in which a letter stands for a word."""
    last = len(words) - 1
    return re.compile(
        "".join(
            ".*" if word == "#" or (word == ">" and at == last) else "." if word == "*" else word
            for at, word in enumerate(words)
        )
    )


def expansions(words: list[str], longest: int) -> list[str]:
    """Return names that a pattern matches: ``z`` for ``*``, and few or many of them for ``#``."""
    last = len(words) - 1
    choices = [
        ("", "z", "zz", "z" * longest)
        if word == "#" or (word == ">" and at == last)
        else ("z" if word == "*" else word,)
        for at, word in enumerate(words)
    ]
    return [name for parts in product(*choices) if (name := "".join(parts))]


@settings(max_examples=examples(400, 20_000))
@given(WORDS, WORDS, st.sampled_from("./"), st.sampled_from("./"))
def test_what_is_covered_is_matched_and_what_is_not_has_a_witness(
    granted: list[str], wanted: list[str], separator: str, other: str
) -> None:
    grant, want = model(granted), model(wanted)
    names = expansions(wanted, len(granted) + 1)
    assert all(map(want.fullmatch, names))
    is_covered = covers(separator.join(granted), other.join(wanted))
    if is_covered:
        names += [name for name in NAMES if want.fullmatch(name)]
        assert [name for name in names if not grant.fullmatch(name)] == []
    elif want.pattern != "".join(wanted):
        assert any(not grant.fullmatch(name) for name in names)
    else:
        assert not grant.fullmatch(want.pattern)  # it is a name, which stands for itself


NAME_WORDS = st.lists(st.sampled_from(["a", "b", "", "*", "#", ">"]), min_size=1, max_size=6)


@given(st.lists(WORDS, max_size=4), NAME_WORDS, st.integers(0, 70), st.sampled_from("./"))
def test_a_name_is_covered_by_what_the_broker_finds(
    patterns: list[list[str]], name: list[str], more: int, separator: str
) -> None:
    index: PatternIndex[str] = PatternIndex()
    texts = {".".join(words) for words in patterns}
    for text in texts:
        index.add(text, text)
    # Most names are short; some have more words than are compared.
    destination = separator.join([*name, *["a"] * (more if more > 55 else more % 3)]) + ".b"
    asked = Asked.name(destination)
    covering = {text for text in texts if Pattern.parse(text).covers(asked)}
    found = set(index.matching(destination))
    assert found <= covering
    # The index does not find all patterns for names that have wildcards in them.
    assert found == covering or {"*", "#"}.intersection(name)


@settings(max_examples=examples(200, 10_000))
@given(WORDS, WORDS)
def test_a_pattern_covers_itself_and_equal_ones_cover_each_other(
    one: list[str], other: list[str]
) -> None:
    text, text2 = ".".join(one), "/".join(other)
    assert covers(text, text)
    if Pattern.parse(text) == Pattern.parse(text2):
        assert covers(text, text2)
        assert covers(text2, text)


@pytest.mark.parametrize(
    "granted, wanted",
    [
        ("/topic/chat", "/topic/chat"),
        ("/topic/chat", "topic.chat"),
        ("/topic/chat.*", "/topic/chat/tea"),
        ("/topic/chat.*", "/topic/chat.*"),
        ("/topic/chat.#", "/topic/chat"),
        ("/topic/chat.#", "/topic/chat.>"),
        ("/topic/chat.>", "/topic/chat.*.*.#"),
        ("#", "#"),
        ("#", "/topic/#"),
        ("*.#", "#"),
        ("#.*", ">"),
        ("*.#", "#.a.#"),
        ("a.*.#.b", "a.#.*.b"),
        ("#.a.b.#", "b.#.a.b.*"),
        ("a.#.*", "a.*.#.b"),
        ("/queue/#", "/queue/jobs"),
        ("/queue/#", "/queue/DLQ.jobs"),
        ("/queue/*", "/queue/#x"),
        ("/user/#", "/user/bob/queue/private"),
        ("a.#", ".".join("a" * 500)),
    ],
)
def test_covered(granted: str, wanted: str) -> None:
    assert covers(granted, wanted)


@pytest.mark.parametrize(
    "granted, wanted",
    [
        ("/topic/chat", "/topic/chat.tea"),
        ("/topic/chat", "/topic/chatter"),
        ("/topic/chat.*", "/topic/chat"),
        ("/topic/chat.*", "/topic/chat.#"),
        ("/topic/chat.*", "/topic/chat.a.b"),
        ("/topic/chat.*", "/topic/*.tea"),
        ("/topic/chat.*", "#"),
        ("*.*.#", "#"),
        ("a.*.b", "a.#.b"),
        ("a.*.#.b", "a.#.b"),
        ("*.*.#.a.b.#", "#.a.b.a.#.b"),  # neither of the two places is right for every name
        ("a.b.#.b.a", "a.b.a"),
        ("a.>.b", "a.c.b"),
        ("a.#.a", ".".join("a" * 65)),  # of which 64 words are compared
        (".".join("a" * 64), ".".join("a" * 65)),
        ("a.#", ".".join(["a"] * 64 + ["#"])),  # there is no such pattern
        (".".join("a" * 65), ".".join("a" * 65)),
    ],
)
def test_not_covered(granted: str, wanted: str) -> None:
    assert not covers(granted, wanted)


KINDS = {
    "/topic/#": TOPIC,
    "#": TOPIC,
    "*.*": TOPIC,
    "queue.jobs": TOPIC,
    "/queue.jobs": TOPIC,
    "//queue/jobs": TOPIC,
    "/queue/#": "/queue/",
    "/temp-queue/x": "/temp-queue/",
    "/reply-queue/x": "/reply-queue/",
    "/pubsub/x": "/pubsub/",
    "/presence/#": "/presence/",
    "/user/#": "/user/",
    "/session/token": "/session/",
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_apart(name: str) -> None:
    kind = KINDS[name]
    assert kind_of(name) == kind
    assert covers("#", name) == (kind == TOPIC)
    prefix = kind or "/topic/"
    assert covers(f"{prefix}#", f"{prefix}x")
    for other in set(KINDS.values()) - {kind}:
        assert not covers(f"{other}#", name)


def test_wildcards_in_the_name_of_a_send_are_letters() -> None:
    pattern = Pattern.parse("/topic/*")
    assert pattern.covers(Asked.name("/topic/#"))
    assert not covers("/topic/*", "/topic/#")
    assert not Pattern.parse("/topic/a").covers(Asked.name("/topic/*"))


def test_patterns_that_are_written_in_other_ways_are_equal() -> None:
    texts = ["/topic/a.*.#", "topic/a/#/*", "/topic.a.#.*.#", "/topic/a.*.>"]
    assert len(set(map(Pattern.parse, texts))) == 1
    assert len({Pattern.parse("/queue/a"), Pattern.parse("queue.a")}) == 2


def test_a_pattern_has_a_limit_of_words() -> None:
    assert covers(".".join("a" * MAX_WORDS), ".".join("a" * MAX_WORDS))
    with pytest.raises(ValueError, match="65 words, which is over the limit of 64"):
        Pattern.parse(".".join("a" * (MAX_WORDS + 1)))


@pytest.mark.parametrize(
    "granted", ["#" * 64, "#a" * 32, "#" + "a" * 62 + "#", "#" + "a" * 30 + "b#" + "a" * 29 + "b#"]
)
@pytest.mark.parametrize("wanted", ["a" * 64, "#a" * 32, "a" * 63 + "#", "a" * 4000, "*#" * 32])
def test_the_work_is_bounded(granted: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = Pattern.parse(".".join(granted))
    asked = Asked.subscription(".".join(wanted))
    assert asked is not None
    looked_at = 0
    is_at = coverage._is_at

    def counted(*arguments: object) -> bool:
        nonlocal looked_at
        looked_at += 1
        return is_at(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(coverage, "_is_at", counted)
    pattern.covers(asked)
    # Each takes a step for each word of a block at most.
    assert looked_at <= MAX_WORDS + 3
    assert len(asked.words) <= MAX_WORDS + 1
    assert len(words_of(".".join(granted))) <= MAX_WORDS
