"""What the log says about sessions, and how often."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeSocket
from support.stomp import CONNECT, frame_bytes
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from rtchat.core.broker.authenticator import Authenticator, Identified, Visitor
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.core.stomp.limits import Limits
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.stomp.server import StompFactory


class OfGuests(Authenticator):
    """Lets everyone in, who may read nothing."""

    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        question: Question[Identified] = Question()
        question.answer(Identified("", Rights(lambda name: False, lambda name: False)))
        return question

    def left(self, principal: Principal) -> None:
        """Do nothing."""


class Broke:
    """A broker whose log takes ten lines of a source."""

    def __init__(self, max_lines: int = 10) -> None:
        self.clock = Clock()
        log = ClientLog(self.clock, max_lines)
        self.factory = StompFactory(Broker("test"), Limits(), self.clock, log)

    def visit(self, host: str = "192.0.2.1", *, politely: bool = True) -> None:
        """Connect, log in, and go."""
        socket = FakeSocket(peer=IPv4Address("TCP", host, 54321))
        socket.connect(self.factory.buildProtocol(socket.peer))
        socket.receive(CONNECT)
        if politely:
            socket.receive(frame_bytes("DISCONNECT"))
        else:
            socket.receive(frame_bytes("NONSENSE"))
        socket.end()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def test_a_client_that_comes_and_goes_leaves_a_limited_number_of_lines(logs: Logs) -> None:
    server = Broke()
    for _ in range(50):
        server.visit()
    assert len(logs.lines()) == 10
    assert [" opened, " in line for line in logs.lines()] == [True, False] * 5
    server.visit("192.0.2.2")
    assert len(logs.lines()) == 12
    server.clock.advance(60)
    assert logs.lines()[12:] == ["192.0.2.1: left out of the log within 60 s: 90 lines"]


def test_sessions_that_only_open_are_limited_too(logs: Logs) -> None:
    server = Broke()
    sockets = []
    for _ in range(50):
        socket = FakeSocket()
        socket.connect(server.factory.buildProtocol(socket.peer))
        socket.receive(CONNECT)
        sockets.append(socket)
    assert len(logs.lines()) == 10
    server.clock.advance(60)
    assert logs.lines()[10:] == ["192.0.2.1: left out of the log within 60 s: 40 lines"]


def test_the_next_minute_has_its_own_lines(logs: Logs) -> None:
    server = Broke()
    for minute in range(1, 4):
        for _ in range(5):
            server.visit()
        assert len(logs.lines()) == 10 * minute
        server.clock.advance(61)
    assert server.clock.getDelayedCalls() == []


def test_why_a_session_was_closed_is_said_all_the_same(logs: Logs) -> None:
    server = Broke()
    for _ in range(20):
        server.visit()
    server.visit(politely=False)
    [line] = logs.lines("warn")
    assert "closed by the server: protocol error" in line


def test_what_a_client_has_written_forges_and_floods_no_line(logs: Logs) -> None:
    server = Broke()
    server.factory.broker.authenticator = OfGuests()
    socket = FakeSocket(peer=IPv4Address("TCP", "192.0.2.1", 54321))
    socket.connect(server.factory.buildProtocol(socket.peer))
    name = "/topic/x\\nforged \x1b[31m \u2028" + "y" * 1000  # \n as STOMP 1.2 writes it
    socket.receive(frame_bytes("CONNECT", accept_version="1.2"))
    socket.receive(frame_bytes("SUBSCRIBE", id="1", destination=name))
    [line] = [line for line in logs.lines() if "closed by the server" in line]
    assert "not allowed: read /topic/x\\nforged \\x1b[31m \\u2028yyy" in line
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 500


def test_without_a_limit_every_session_is_told(logs: Logs) -> None:
    server = Broke(max_lines=0)
    for _ in range(300):
        server.visit()
    assert len(logs.lines()) == 600
