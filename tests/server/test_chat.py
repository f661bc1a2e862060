"""[presence], [chat] and [rate]: rules for people, rooms and rates."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.config.keys import keys_of
from rtchat.core.chat.limits import ChatPolicy, GuestRates
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
        ("rate", "bytes_per_second = 0", {}),
        (
            "rate",
            "bytes_per_second = 64 KiB",
            {"bytes_per_second": 65_536, "bytes_burst": 327_680},
        ),
        (
            "rate",
            "bytes_per_second = 2 KiB\nbytes_burst = 1 MiB",
            {"bytes_per_second": 2048, "bytes_burst": 1_048_576},
        ),
        ("rate", "connects_per_second = 0.5", {"connects_per_second": 0.5}),
        (
            "rate",
            "connects_per_second = 2\nconnects_burst = 10",
            {"connects_per_second": 2.0, "connects_burst": 10},
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
    assert set(keys_of(ChatPolicy)) | {"limits_programs", "guests"} == fields


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


def guests(ini: Path, text: str) -> GuestRates | None:
    return read(ini, f"{LISTEN}[rate]\n{text}\n").of(ChatPart).guests


def test_guests_have_the_rates_of_users_unless_the_file_says_more(ini: Path) -> None:
    assert guests(ini, "messages_per_second = 10") is None
    told = guests(ini, "messages_per_second = 10\nguest.bytes_per_second = 1 KiB")
    assert told == GuestRates(
        messages_per_second=10.0, burst=50, bytes_per_second=1024, bytes_burst=5120
    )


def test_the_burst_of_guests_is_five_seconds_of_theirs(ini: Path) -> None:
    text = "messages_per_second = 10\nburst = 30\nguest.messages_per_second = 1"
    told = guests(ini, text)
    assert told is not None
    assert (told.messages_per_second, told.burst) == (1.0, 5)
    told = guests(ini, f"{text}\nguest.burst = 2")
    assert told is not None
    assert told.burst == 2


def test_guests_may_be_without_a_limit_that_users_have(ini: Path) -> None:
    told = guests(ini, "messages_per_second = 10\nguest.messages_per_second = 0")
    assert told is not None
    assert told.messages_per_second == 0


@pytest.mark.parametrize(
    "line, rate",
    [
        ("burst = 5", "messages_per_second"),
        ("bytes_burst = 5 MiB", "bytes_per_second"),
        ("connects_burst = 5", "connects_per_second"),
        ("guest.bytes_burst = 5 MiB", "guest.bytes_per_second"),
        (
            "guest.subscriptions_per_second = 0\nguest.subscriptions_burst = 9",
            "guest.subscriptions_per_second",
        ),
    ],
)
def test_a_burst_without_its_rate_is_a_mistake(ini: Path, line: str, rate: str) -> None:
    told = refused(ini, f"{LISTEN}[rate]\n{line}\n")
    assert told.endswith(f" has no effect without {rate}; set it in [rate], too")


def test_every_rate_of_users_is_one_of_guests() -> None:
    users = {key.name: key for key in keys_of(ChatPolicy).values() if key.section == "rate"}
    theirs = {key.name: key for key in keys_of(GuestRates).values()}
    assert set(theirs) == {f"guest.{name}" for name in users}
    for name, key in users.items():
        assert theirs[f"guest.{name}"] == key._replace(name=f"guest.{name}")
