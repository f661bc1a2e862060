"""Pings without a connection: who has to answer by when."""

from __future__ import annotations

from typing import cast

import pytest
from twisted.internet.task import Clock

from rtchat.net.connection.liveness import Taken
from rtchat.net.connection.writer import ConnectionWriter
from rtchat.net.websocket.keepalive import KeepAlive

INTERVAL_S = 20.0
TIMEOUT_S = 20.0
MIB = 1024 * 1024


class _Writer:
    """Counts the pings."""

    def __init__(self) -> None:
        self.pings = 0
        self.waiting_bytes = 0

    def write_now(self, data: bytes) -> None:
        self.pings += 1


class Browser:
    """A browser that was heard once, when it came."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.pinged = _Writer()
        self.writer = cast(ConnectionWriter, self.pinged)
        self.is_open = self.can_hear = True
        self.has_taken: Taken | None = Taken(100, 0)
        self.unanswered = 0
        self.slow_notes = 0
        self.keep_alive = KeepAlive(self, self.clock, INTERVAL_S, TIMEOUT_S)
        self.keep_alive.heard_s = self.clock.seconds()
        self.keep_alive.start()

    def taken(self) -> Taken | None:
        return self.has_taken

    def note_slow_line(self) -> None:
        self.slow_notes += 1

    def ping_unanswered(self, timeout_s: float) -> None:
        self.unanswered += 1
        self.is_open = False
        self.keep_alive.stop()

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


@pytest.mark.parametrize("has_taken", [None, Taken(100, 0)])
def test_a_browser_that_answers_no_ping_is_gone(has_taken: Taken | None) -> None:
    browser = Browser()
    browser.has_taken = has_taken
    browser.advance(39.5)
    assert (browser.pinged.pings, browser.unanswered) == (1, 0)
    browser.advance(1)
    assert browser.unanswered == 1
    assert browser.clock.getDelayedCalls() == []


def test_a_browser_on_a_slow_line_lives_as_long_as_it_takes_bytes() -> None:
    browser = Browser()
    # 4 MB at 400 kbit/s.
    for second in range(80):
        browser.has_taken = Taken(100 + second * 50_000, 4_000_000 - second * 50_000)
        browser.advance(1)
    assert browser.unanswered == 0
    assert browser.slow_notes > 0
    # Its answers come now.
    browser.has_taken = Taken(4_000_100, 0)
    browser.slow_notes = 0
    browser.keep_alive.heard_s = browser.clock.seconds()
    browser.advance(19)
    assert (browser.unanswered, browser.slow_notes) == (0, 0)


def test_a_browser_that_takes_nothing_of_what_waits_is_gone() -> None:
    browser = Browser()
    browser.has_taken = Taken(100, 4 * MIB)
    browser.advance(41)
    assert browser.unanswered == 1


def test_a_browser_whose_machine_vanishes_is_gone_though_it_had_taken_much() -> None:
    browser = Browser()
    browser.advance(10)
    browser.has_taken = Taken(8 * MIB, 2)
    browser.advance(20 + 20 + 20 + 1)
    assert browser.unanswered == 1


def test_a_browser_behind_a_front_that_took_all_has_time_to_read_it() -> None:
    browser = Browser()
    browser.advance(10)
    browser.has_taken = Taken(100 + 4 * MIB, 0)
    browser.advance(10 + 20 + 120)
    assert browser.unanswered == 0
    browser.advance(10)
    assert browser.unanswered == 1


def test_a_browser_that_is_not_read_is_not_judged() -> None:
    browser = Browser()
    browser.can_hear = False
    browser.advance(200)
    assert browser.unanswered == 0
    browser.can_hear = True
    browser.advance(41)
    assert browser.unanswered == 1
