"""[history]: rules, file and limits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused
from support.in_memory import InMemory, Log

from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.server.history import HistoryPart, HistorySettings
from rtchat.server.part import Server
from rtchat.server.process import process_user


def with_history(ini: Path, lines: str) -> HistorySettings:
    history = read(ini, f"{LISTEN}[history]\n{lines}\n").of(HistoryPart)
    assert history is not None
    return history


@pytest.mark.parametrize(
    "value, count, age_s",
    [
        ("1000, 7 days", 1000, 604800),
        ("1,1 second", 1, 1),
        ("5, 90 seconds", 5, 90),
        ("5, 30 minutes", 5, 1800),
        ("5, 1 HOUR", 5, 3600),
        ("1000000, 520 weeks", 1_000_000, 314496000),
        ("5, 7days", 5, 604800),
        ("5", 5, 0),
    ],
)
def test_a_line_of_history_is_a_count_and_an_age(
    ini: Path, value: str, count: int, age_s: float
) -> None:
    history = with_history(ini, f"/topic/chat* = {value}")
    assert history.rules == (HistoryRule("/topic/chat*", count, age_s),)
    assert history.path == ini.parent / "rtchat-history.sqlite"
    assert history.source_line.line == 4
    assert history.limits == HistoryLimits()
    assert not history.is_power_safe


def test_history_has_a_file_and_limits(ini: Path) -> None:
    history = with_history(
        ini,
        "/topic/b = 1, 1 day\n/topic/* = 2, 2 days\nfile = kept.sqlite\nsync = full\n"
        "file.max_bytes = 2 GiB\ndestinations.max_count = 5\ndestination.max_bytes = 1 MiB\n"
        "memory.max_bytes = 3 MiB",
    )
    assert [rule.pattern for rule in history.rules] == ["/topic/b", "/topic/*"]
    assert history.path == ini.parent / "kept.sqlite"
    assert history.source_line.line == 6
    assert history.is_power_safe
    assert history.max_file_bytes == 2 * 1024**3
    assert history.limits == HistoryLimits(5, 1024**2, 3 * 1024**2)


def test_history_may_be_in_memory(ini: Path) -> None:
    assert with_history(ini, "/topic/x = 1\nfile = :memory:").path is None


def test_an_empty_section_keeps_nothing(ini: Path) -> None:
    assert read(ini, f"{LISTEN}[history]\n").of(HistoryPart) is None


@pytest.mark.parametrize(
    "line, error",
    [
        ("/queue/a = 5", "is not a topic; begin the line with /topic/, such as /topic/chat*"),
        ("/topic/ = 5", "is not a topic; begin the line with /topic/, such as /topic/chat*"),
        ("/topic/a,/topic/b = 5", "names several topics; write a line for each of them"),
        (
            "/topic/a",
            "says nothing where a number of messages from 1 to 1000000 belongs; "
            "write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 0, 1 day",
            "says 0 where a number of messages from 1 to 1000000 belongs; "
            "write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 1000001",
            "says 1000001 where a number of messages from 1 to 1000000 "
            "belongs; write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 7 days",
            "says 7 days where a number of messages from 1 to 1000000 belongs; "
            "write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 5,",
            "says nothing where an age up to 10 years belongs; write seconds, "
            "minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        (
            "/topic/a = 5, 7 moons",
            "says 7 moons where an age up to 10 years belongs; write "
            "seconds, minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        (
            "/topic/a = 5, 0 days",
            "says 0 days where an age up to 10 years belongs; write "
            "seconds, minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        (
            "/topic/a = 5, 999999999 weeks",
            "says 999999999 weeks where an age up to 10 years "
            "belongs; write seconds, minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        (
            "file = x",
            "has no effect without a rule; write a line such as /topic/chat* = 1000, 7 days",
        ),
    ],
)
def test_a_line_of_history_that_cannot_be_used_is_refused(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"{LISTEN}[history]\n{line}\n") == f"chat.ini:4: [history] {line} {error}"


@pytest.mark.parametrize(
    "line, error",
    [
        ("file =", "[history] file has no value; write file = …, or remove the line"),
        ("file = .", "[history] file = . is a folder; write the path of a file in it"),
        (
            "file = no/x",
            "[history] file = no/x is in a folder that does not exist; create no or change the "
            "path",
        ),
        ("sync = half", "[history] sync = half cannot be used; write normal or full"),
        (
            "destinations.max_count = 0",
            "[history] destinations.max_count = 0 cannot be used; "
            "write a number of destinations from 1 to 1000000",
        ),
        (
            "destination.max_bytes = 1",
            "[history] destination.max_bytes = 1 is out of range; write 64 KiB to 1024 GiB",
        ),
        ("fiel = x", "[history] fiel is not a known key; did you mean file?"),
        (
            "topic/chat = 5",
            "[history] topic/chat is not a known key; the keys of [history] are "
            "file, sync, file.max_bytes, destinations.max_count, destination.max_bytes, "
            "memory.max_bytes",
        ),
    ],
)
def test_a_key_of_history_that_cannot_be_used_is_refused(ini: Path, line: str, error: str) -> None:
    text = refused(ini, f"{LISTEN}[history]\n/topic/x = 1\n{line}\n")
    assert text.startswith(f"chat.ini:5: {error}")


# ---------------------------------------------------------------- the running server


def test_history_in_memory_says_how_to_keep_it(in_memory: InMemory, log: Log) -> None:
    server = in_memory.start(f"{LISTEN}[history]\n/topic/a = 1\n/topic/b* = 2\nfile = :memory:\n")
    assert log.lines("history") == [
        "history of /topic/a, /topic/b* is kept in memory and ends with this process; "
        "a line file = PATH in [history] keeps it"
    ]
    stop(in_memory, server)


def test_history_opens_its_file_and_closes_it_after_the_last_client(
    in_memory: InMemory, log: Log
) -> None:
    server = in_memory.start(f"{LISTEN}[history]\n/topic/a = 1\n")
    path = in_memory.ini.with_name("rtchat-history.sqlite")
    assert log.lines("history") == [
        f"history of /topic/a is kept in {path}: 0 messages now",
    ]
    stop(in_memory, server)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_cannot_be_used_ends_the_start(in_memory: InMemory) -> None:
    in_memory.ini.with_name("kept").write_text("This is no database, however long it is.\n" * 99)
    server = in_memory.make(f"{LISTEN}[history]\n/topic/a = 1\nfile = kept\n")
    server.service.privilegedStartService()
    with pytest.raises(SystemExit) as end:
        server.service.startService()
    assert str(end.value).startswith(
        f"rtchat: {in_memory.ini}:5: [history] file = kept cannot be used by {process_user()}: "
    )


def test_a_bug_in_an_answer_of_the_file_is_logged(in_memory: InMemory, log: Log) -> None:
    server = in_memory.start(f"{LISTEN}[history]\n/topic/a = 1\nfile = :memory:\n")

    def answer() -> None:
        raise ValueError("a bug")

    server.part(HistoryPart)._run_in_reactor(answer)
    in_memory.reactor.turn()
    assert log.lines("bug") == ["bug while delivering kept messages"]
    assert log.failures() == ["a bug"]
    stop(in_memory, server)


def stop(in_memory: InMemory, server: Server) -> None:
    """Stop a server, and wait for the thread of its history."""
    stopped: list[object] = []
    server.service.stopService().addCallback(stopped.append)
    in_memory.reactor.run_until(lambda: bool(stopped))
