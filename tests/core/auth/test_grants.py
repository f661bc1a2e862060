"""Which destinations a right can be about, and a user's name in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.auth.coverage import Pattern, kind_of
from rtchat.core.auth.grants import USER_PLACE, problem_with, user_word
from rtchat.core.broker.destinations import words_of
from rtchat.core.broker.patterns import is_pattern

NAMES = st.text(min_size=1, max_size=12) | st.text("./*#>,%{}ab2E \u2003", min_size=1, max_size=9)
TEMPLATES = ["/topic/{user}", "/topic/home.{user}.#", "/queue/x-{user}-y", "/queue/{user}/{user}"]


@given(NAMES, st.sampled_from(TEMPLATES))
def test_no_name_changes_what_a_right_is_about(user: str, template: str) -> None:
    text = template.replace(USER_PLACE, user_word(user))
    assert kind_of(text) == kind_of(template)
    assert len(words_of(text)) == len(words_of(template))
    assert is_pattern(text) == is_pattern(template)
    assert Pattern.parse(text).gaps == Pattern.parse(template).gaps
    assert not any(character.isspace() or character in "*>,{}" for character in user_word(user))


@given(NAMES, NAMES, st.sampled_from(TEMPLATES))
def test_no_two_names_are_one_word(user: str, other: str, template: str) -> None:
    one, two = (Pattern.parse(template.replace(USER_PLACE, user_word(it))) for it in (user, other))
    assert (one == two) == (user == other)


@pytest.mark.parametrize(
    "user, word",
    [
        ("alice", "alice"),
        ("bob@example.com", "bob@example%2Ecom"),
        ("a/b", "a%2Fb"),
        ("*", "%2A"),
        ("#", "%23"),
        (">", "%3E"),
        ("a,b", "a%2Cb"),
        ("%2E", "%252E"),
        ("{user}", "%7Buser%7D"),
        ("Ada Lovelace", "Ada%20Lovelace"),
        ("a\u3000b", "a%E3%80%80b"),
        ("José", "José"),
    ],
)
def test_special_characters_are_written_as_in_a_url(user: str, word: str) -> None:
    assert user_word(user) == word


@pytest.mark.parametrize(
    "destination",
    [
        "/topic/chat",
        "chat",
        "/#",
        "#",
        ">",
        "*",
        "/topic/#",
        "/topic/my room",
        "/queue/jobs/",
        "/queue/DLQ.#",
        "/presence/topic/chat",
        "/user/#",
        "/topic/home.{user}",
        "/queue/x-{user}.>",
        ".".join("a" * 64),
    ],
)
def test_a_right_may_be_about_it(destination: str) -> None:
    assert problem_with(destination) == ""


@pytest.mark.parametrize(
    "destination, problem",
    [
        ("", "names nothing without a name after it; write /# for all"),
        ("/", "names / without a name after it; write /# for all"),
        ("/topic/", "names /topic/ without a name after it; write /topic/# for all"),
        ("/queue/", "names /queue/ without a name after it; write /queue/# for all"),
        ("/a,/b", "names several destinations at once, /a,/b; name them one by one"),
        (".".join("a" * 65), "names a destination of 65 words; write 64 or fewer"),
        ("queue/jobs", "names queue/jobs, which is a topic; write /queue/jobs"),
        ("/queue.*.x", "names /queue.*.x, which is a topic; write /queue/*.x"),
        ("//presence/x", "names //presence/x, which is a topic; write /presence/x"),
        (
            "/pubsub/news",
            "names /pubsub/news, which needs no right of its own; name the destinations of its "
            "line in [pubsub]",
        ),
        (
            "/temp-queue/a",
            "names /temp-queue/a, which every session may use as it is; remove it",
        ),
        (
            "/session/token",
            "names /session/token, which every session may use as it is; remove it",
        ),
        (
            "/topic/chat*",
            "has chat* in /topic/chat*, where a wildcard has to be a whole word: * is one word, "
            "and # (or > at the end) any number of them, such as /topic/chat.*",
        ),
        (
            "/topic/>.a",
            "has > in /topic/>.a, where a wildcard has to be a whole word: * is one word, and # "
            "(or > at the end) any number of them, such as /topic/chat.*",
        ),
        ("/topic/{nick}", "has {nick} in /topic/{nick}; only {user} may stand in braces"),
        ("/topic/{user}}", "has {user}} in /topic/{user}}; only {user} may stand in braces"),
        (
            "/{user}/#",
            "begins /{user}/# with {user}; write a word before it, such as /topic/{user}",
        ),
    ],
)
def test_a_right_cannot_be_about_it(destination: str, problem: str) -> None:
    assert problem_with(destination) == problem
