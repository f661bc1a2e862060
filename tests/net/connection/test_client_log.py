"""Lines about clients: how many of one source, how long, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from twisted.internet.task import Clock
from twisted.logger import Logger

from rtchat.net.connection.client_log import ClientLog, source_of

PEER = "192.0.2.1:54321"

_log = Logger("test")


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    "peer, source",
    [
        ("192.0.2.1:54321", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::7]:80", "2001:db8::/64"),
        ("[2001:db8:0:0:1::7]", "2001:db8::/64"),
        ("[2001:db8:0:1::7]:80", "2001:db8:0:1::/64"),
        ("unix socket", "unix"),
        ("unix:/run/a b.sock", "unix"),
        ("192.0.2.1:54321 (https://chat.example) -> irc.example:6667", "192.0.2.1"),
        ("[2001:db8::7]:80 (no Origin) -> unix:app", "2001:db8::/64"),
    ],
)
def test_the_source_of_a_line_is_the_address_it_begins_with(peer: str, source: str) -> None:
    assert source_of(peer) == source


def test_a_source_has_its_number_of_lines_and_the_rest_is_counted(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock, max_lines=3)
    for number in range(10):
        lines.info(_log, "{peer}: line {number}", peer=f"192.0.2.1:{number}", number=number)
    lines.info(_log, "{peer}: another source", peer="192.0.2.2:1")
    assert logs.lines() == [
        "192.0.2.1:0: line 0",
        "192.0.2.1:1: line 1",
        "192.0.2.1:2: line 2",
        "192.0.2.2:1: another source",
    ]
    logs.events.clear()
    clock.advance(60)
    assert logs.lines() == ["192.0.2.1: left out of the log within 60 s: 7 lines"]
    lines.info(_log, "{peer}: in the next minute", peer=PEER)
    assert logs.lines()[1:] == [f"{PEER}: in the next minute"]


def test_what_a_client_begins_does_not_hide_how_it_ends(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock, max_lines=2)
    for _ in range(10):
        lines.info(_log, "{peer}: began", peer=PEER)
    lines.warn(_log, "{peer}: ended", peer=PEER)
    try:
        raise ValueError("a bug")
    except ValueError:
        lines.failure(_log, "{peer}: bug", peer=PEER)
    assert logs.lines("warn") == [f"{PEER}: ended"]
    assert logs.lines("critical") == [f"{PEER}: bug"]


def test_tracebacks_are_limited_too(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock, max_lines=2)
    for _ in range(10):
        try:
            raise ValueError("a bug")
        except ValueError:
            lines.failure(_log, "{peer}: bug", peer=PEER)
    assert [str(failure.value) for failure in logs.failures()] == ["a bug"] * 2


def test_a_line_that_stands_for_others_is_written_once_a_minute(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock)
    for minute in range(3):
        for _ in range(5):
            lines.once(_log, "refused connections", "{peer}: refused", peer=PEER)
        assert logs.lines().count(f"{PEER}: refused") == minute + 1
        clock.advance(60)
    assert logs.lines()[1] == "192.0.2.1: left out of the log within 60 s: 4 refused connections"


def test_all_that_was_left_out_of_one_source_is_one_line(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock, max_lines=1)
    for _ in range(3):
        lines.info(_log, "{peer}: a", peer=PEER)
        lines.warn(_log, "{peer}: b", peer=PEER)
        lines.once(_log, "refused connections", "{peer}: c", peer=PEER)
    logs.events.clear()
    lines.close()
    assert logs.lines() == [
        "192.0.2.1: left out of the log within 60 s: 4 lines, 2 refused connections"
    ]
    lines.close()
    assert len(logs.lines()) == 1
    assert clock.getDelayedCalls() == []


def test_a_long_value_is_cut_off(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock)
    lines.warn(_log, "{peer}: {why}", peer=PEER, why="a" * 1_000_000)
    lines.once(_log, "kinds", "{peer}: {why}", peer="b" * 1_000_000, why="c" * 1_000_000)
    assert all(len(line) < 2100 for line in logs.lines())


def test_without_a_limit_every_line_is_written(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock, max_lines=0)
    for _ in range(1000):
        lines.info(_log, "{peer}: line", peer=PEER)
        lines.once(_log, "kinds", "{peer}: line", peer=PEER)
    assert len(logs.lines()) == 2000
    assert clock.getDelayedCalls() == []


def test_the_sources_that_are_remembered_are_limited_and_forgotten(
    clock: Clock, logs: Logs
) -> None:
    lines = ClientLog(clock, max_lines=2)
    for number in range(5000):
        lines.info(_log, "{peer}: line", peer=f"[2001:db8:0:{number:x}::1]:1")
    assert len(lines._sources) == 1025
    assert len(logs.lines()) == 1024 + 2
    clock.advance(60)
    assert logs.lines()[-1] == "other sources: left out of the log within 60 s: 3974 lines"
    assert not lines._sources


def test_nothing_waits_while_nothing_is_left_out(clock: Clock, logs: Logs) -> None:
    lines = ClientLog(clock, max_lines=2)
    for _ in range(10):
        lines.info(_log, "{peer}: line", peer=PEER)
        lines.info(_log, "{peer}: line", peer=PEER)
        clock.advance(61)
    assert clock.getDelayedCalls() == []
    assert len(logs.lines()) == 20
