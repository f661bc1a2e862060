"""[presence], [chat] and [rate]: rules for people, rooms and rates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.config.keys import keys_of
from rtchat.core.chat.limits import ChatPolicy
from rtchat.server.chat import ChatPart


@pytest.mark.parametrize(
    "section, line, changed",
    [
        ("presence", "grace = 0", {"grace_s": 0.0}),
        ("presence", "grace = 2.5", {"grace_s": 2.5}),
        (
            "chat",
            "rooms = /topic/team*, /topic/a,/topic/a",
            {"rooms": ("/topic/team*", "/topic/a")},
        ),
        (
            "chat",
            "text.max_characters = 4000",
            {"max_text_chars": 4000, "limits_programs": True},
        ),
        ("chat", "text.max_characters = 0", {"max_text_chars": 0, "limits_programs": True}),
        ("chat", "nick.max_characters = 12", {"max_nick_chars": 12}),
        ("chat", "nick.must_match = no", {"nick_must_match": False}),
        ("rate", "messages_per_second = 0", {}),
        ("rate", "messages_per_second = 10", {"messages_per_second": 10.0, "burst": 50}),
        ("rate", "messages_per_second = 0.1", {"messages_per_second": 0.1, "burst": 1}),
        (
            "rate",
            "messages_per_second = 2\nburst = 3",
            {"messages_per_second": 2.0, "burst": 3},
        ),
        ("rate", "subscriptions_per_second = 0", {"subscriptions_per_second": 0.0}),
        (
            "rate",
            "subscriptions_per_second = 20\nsubscriptions_burst = 100",
            {"subscriptions_per_second": 20.0, "subscriptions_burst": 100},
        ),
    ],
)
def test_a_key_about_people_changes_its_term_and_no_other(
    ini: Path, section: str, line: str, changed: dict[str, object]
) -> None:
    chat = read(ini, f"{LISTEN}[{section}]\n{line}\n").of(ChatPart)
    assert chat == dataclasses.replace(ChatPolicy(), **changed)  # type: ignore[arg-type]


def test_every_term_about_people_has_a_key() -> None:
    fields = {field.name for field in dataclasses.fields(ChatPolicy)}
    assert set(keys_of(ChatPolicy)) | {"limits_programs"} == fields


@pytest.mark.parametrize(
    "section, line, problem",
    [
        (
            "presence",
            "grace = 4000",
            "cannot be used; write 0 or a number of seconds from 0.1 to 3600",
        ),
        ("presence", "grace", "cannot be used; write 0 or a number of seconds from 0.1 to 3600"),
        ("chat", "rooms =", "has no value; write rooms = …, or remove the line"),
        (
            "chat",
            "rooms = /topic/a, /queue/b",
            "names /queue/b where a room belongs; write /topic/NAME, in which * stands for any "
            "letters, several with commas between them",
        ),
        (
            "chat",
            "rooms = /topic/a,",
            "names nothing where a room belongs; write /topic/NAME, in which * stands for any "
            "letters, several with commas between them",
        ),
        (
            "chat",
            "text.max_characters = -1",
            "cannot be used; write 0 or a number of characters from 1 to 10000000",
        ),
        (
            "chat",
            "nick.max_characters = 0",
            "cannot be used; write a number of characters from 1 to 1000",
        ),
        ("chat", "nick.must_match = maybe", "cannot be used; write yes or no"),
        (
            "rate",
            "messages_per_second = fast",
            "cannot be used; write 0 or a number of messages from 0.1 to 100000",
        ),
        ("rate", "burst = 3", "has no effect without messages_per_second; set it in [rate], too"),
        (
            "rate",
            "burst = 0.5",
            "cannot be used; write a number of messages from 1 to 1000000",
        ),
    ],
)
def test_a_value_about_people_that_cannot_be_used_is_named(
    ini: Path, section: str, line: str, problem: str
) -> None:
    shown = line.removesuffix(" =")
    error = f"chat.ini:4: [{section}] {shown} {problem}"
    assert refused(ini, f"{LISTEN}[{section}]\n{line}\n") == error
