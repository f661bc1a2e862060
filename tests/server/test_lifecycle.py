"""Signals, the order of start and shutdown, and the lines of the log about them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.chat_ini import LISTEN
from support.in_memory import InMemory, Log
from twisted.internet.defer import Deferred, fail
from typing_extensions import override

from rtchat import __version__
from rtchat.server.part import Part


class Reloads(Part[None]):
    @override
    def reload(self) -> bool:
        raise ValueError("reload went wrong")


class Waits(Part[None]):
    """Has clients that take their time."""

    gone: Deferred[None]
    is_closed = False

    @override
    def drain(self) -> Deferred[None]:
        self.gone = Deferred()
        return self.gone

    @override
    def close(self) -> Deferred[None]:
        assert self.gone.called
        self.is_closed = True
        return Deferred()  # its file takes its time, too


class Fails(Part[None]):
    is_closed = False

    @override
    def drain(self) -> Deferred[None]:
        return fail(ValueError("drain went wrong"))

    @override
    def close(self) -> Deferred[None]:
        self.is_closed = True
        raise ValueError("close went wrong")


def test_the_start_says_where_the_server_is_and_that_it_is_ready(
    in_memory: InMemory, log: Log, tmp_path: Path
) -> None:
    text = "[listen]\nhttp://:9000\nstomp://127.0.0.1:61613\nstomp = unix:a\n[access]\n* -> a:1\n"
    server = in_memory.make(text)
    server.service.privilegedStartService()
    server.service.startService()
    assert log.lines("rtchat") == [], "no signal would be handled yet"
    assert in_memory.handlers == {}
    in_memory.reactor.begin()
    assert set(in_memory.handlers) == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    assert log.lines()[-5:] == [
        f"{tmp_path}/chat.ini: [access] * -> a:1 lets every web page in the world reach a:1 "
        "through a visitor's browser; name your page's host instead of * if you can",
        "open in a browser: http://localhost:9000/",
        "STOMP clients: stomp://127.0.0.1:61613",
        "STOMP clients: unix:a",
        f"rtchat {__version__} is ready (settings: {tmp_path}/chat.ini); Ctrl-C stops it",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_reactor(in_memory: InMemory, log: Log, number: signal.Signals) -> None:
    server = in_memory.start(LISTEN)
    in_memory.signal(number)
    assert in_memory.reactor.is_stopped
    assert log.lines()[-1] == f"{number.name} received: stopping"
    server.service.stopService()
    in_memory.signal(number)
    assert len(log.lines(f"{number.name} received")) == 1, "it stops already"


def test_sighup_says_so_when_there_is_nothing_to_do(in_memory: InMemory, log: Log) -> None:
    in_memory.start(LISTEN)
    in_memory.signal(signal.SIGHUP)
    assert log.lines()[-1] == (
        "SIGHUP received: there is no file to read again (a changed chat.ini needs a restart)"
    )


def test_a_bug_in_one_part_does_not_keep_sighup_from_the_others(
    in_memory: InMemory, log: Log
) -> None:
    in_memory.start(f"{LISTEN}[log]\nmessages = messages.jsonl\n", Reloads)
    in_memory.signal(signal.SIGHUP)
    assert log.lines("SIGHUP") == ["SIGHUP received: message log reopened"]
    assert log.lines("bug") == ["bug in Reloads on SIGHUP"]
    assert log.failures() == ["reload went wrong"]


def test_a_bug_before_all_others_does_not_keep_sighup_from_them(
    in_memory: InMemory, log: Log
) -> None:
    server = in_memory.start(LISTEN, Reloads)
    server.parts.reverse()
    in_memory.signal(signal.SIGHUP)
    assert log.lines("SIGHUP") == []
    assert log.failures() == ["reload went wrong"]


def test_files_are_closed_when_the_last_client_has_gone(in_memory: InMemory) -> None:
    server = in_memory.start(LISTEN, Waits)
    waits = server.part(Waits)
    stopped: list[object] = []
    server.service.stopService().addCallback(stopped.append)
    assert not hasattr(waits, "gone"), "the ports close first"
    in_memory.reactor.advance(0)
    assert not waits.is_closed
    waits.gone.callback(None)
    assert waits.is_closed
    assert stopped == [], "the file is not closed yet"


def test_a_bug_in_one_part_does_not_hold_up_the_shutdown(in_memory: InMemory, log: Log) -> None:
    server = in_memory.start(LISTEN, Fails)
    stopped: list[object] = []
    server.service.stopService().addCallback(stopped.append)
    in_memory.reactor.advance(0)
    assert server.part(Fails).is_closed
    assert len(stopped) == 1
    assert log.failures() == ["drain went wrong", "close went wrong"]
