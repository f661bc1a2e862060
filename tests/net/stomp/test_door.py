"""STOMP clients for which there is no room, over TCP and WebSocket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeSite, FakeSocket, PushTransport
from support.stomp import CONNECT, StompReader
from support.websocket import CLOSE, upgrade_request
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.web.resource import Resource

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.hosts import HostList
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.core.session.session import Session
from rtchat.net.connection.client_address import ClientAddress
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.stomp.door import StompDoor
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.upgrade import WebSocketResource

HERE = IPv4Address("TCP", "192.0.2.1", 54321)
THERE = IPv4Address("TCP", "192.0.2.2", 54321)
FRONT = IPv4Address("TCP", "10.0.0.7", 54321)


class House:
    """A broker with a door, on TCP and at ``/ws``."""

    def __init__(self, total: int = 0, per_source: int = 0) -> None:
        fake = FakeSite()
        self.clock = fake.clock
        trusted = AddressList.parse(["10.0.0.0/8"])
        self.log = ClientLog(self.clock)
        limiter = SourceLimiter("[broker] connections", self.log, total, per_source, trusted)
        self.door = StompDoor(fake.stomp, limiter)
        self.websockets = WebSockets(self.door, self.clock, fake.broker.cork, ping_interval_s=0)
        access = AccessList(map(AccessRule.parse, fake.rules))
        root = Resource()
        root.putChild(b"ws", StompSocket(self.websockets, access, fake.targets, limiter))
        self.site = PageSite(root, HostList(), self.clock, trusted=trusted)

    def client(self, address: IAddress = HERE, room: int = 1 << 60) -> FakeSocket:
        """Connect over TCP."""
        socket = FakeSocket(room, address)
        socket.connect(self.door.buildProtocol(address))
        socket.turn()
        return socket

    def browser(self, address: IAddress = HERE) -> FakeBrowser:
        """Connect over HTTP."""
        return FakeBrowser(self.site, address)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def frames(socket: FakeSocket) -> list[str]:
    return [frame.command for frame in StompReader("1.2").read(socket.taken())]


def is_in(socket: FakeSocket) -> bool:
    socket.receive(CONNECT)
    return frames(socket) == ["CONNECTED"]


def test_one_more_than_the_limit_gets_an_error_that_names_it(logs: Logs) -> None:
    house = House(per_source=2)
    assert is_in(house.client())
    assert is_in(house.client())
    third = house.client()
    [error] = StompReader("1.2").read(third.taken())
    assert error.command == "ERROR"
    assert error.headers["message"] == "too many connections from one address, 2 are allowed"
    assert b"connections.per_source" in error.body
    third.receive(CONNECT)
    assert third.taken() == b""
    assert third.is_half_closed
    assert is_in(house.client(THERE))
    assert [line for line in logs.lines("warn") if "refused" in line] == [
        "192.0.2.1:54321: refused: [broker] connections.per_source = 2 is reached; raise it, or "
        "if this is a front proxy, name it in [front] trusted"
    ]


def test_the_limit_for_all_is_for_tcp_and_websockets_together() -> None:
    house = House(total=2)
    assert is_in(house.client(HERE))
    house.browser(THERE).open()
    [error] = StompReader("1.2").read(house.client(FRONT).taken())
    assert error.headers["message"] == "too many connections, 2 are allowed"
    assert house.browser(FRONT).ask(upgrade_request()).status == 503


def test_an_ipv6_network_is_one_address() -> None:
    house = House(per_source=1)
    assert is_in(house.client(IPv6Address("TCP", "2001:db8::1", 1)))
    assert frames(house.client(IPv6Address("TCP", "2001:db8::2", 1))) == ["ERROR"]
    assert is_in(house.client(IPv6Address("TCP", "2001:db8:0:1::1", 1)))


def test_a_place_is_free_when_a_connection_ends() -> None:
    house = House(per_source=1)
    first = house.client()
    assert frames(house.client()) == ["ERROR"]
    first.end()
    assert is_in(house.client())
    assert house.door.limiter.count == 1


def test_a_bug_at_the_end_of_a_client_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(per_source=1)
    first = house.client()

    def fail(session: Session) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Session, "lost", fail)
        with pytest.raises(ZeroDivisionError):
            first.end()
    assert house.door.limiter.count == 0
    assert is_in(house.client())


def test_a_trusted_front_is_no_source_and_its_clients_are() -> None:
    house = House(per_source=1)
    assert all(is_in(house.client(FRONT)) for _ in range(5))
    for number in (1, 2):
        behind = house.browser(FRONT)
        assert behind.ask(upgrade_request(X_Forwarded_For=f"192.0.2.{number}")).status == 101
    again = house.browser(FRONT)
    assert again.ask(upgrade_request(X_Forwarded_For="192.0.2.1")).status == 503


def test_a_browser_is_refused_before_the_upgrade(logs: Logs) -> None:
    house = House(per_source=1)
    first = house.browser().open()
    answer = house.browser().ask(upgrade_request())
    assert answer.status == 503
    assert answer.headers["retry-after"] == "30"
    assert "try again later" in answer.text
    for _ in range(10):
        house.browser().ask(upgrade_request())
    assert len(logs.lines("warn")) == 1
    first.socket.end()
    house.browser().open()


def test_a_websocket_without_that_check_is_closed_with_1013() -> None:
    house = House(total=1)
    house.client()
    site = PageSite(WebSocketResource(house.websockets, sources=["*"]), HostList(), house.clock)
    browser = FakeBrowser(site).open()
    error, close = browser.received()
    assert error.payload.startswith(b"ERROR\nmessage:too many connections, 1 are allowed\n")
    assert (close.opcode, close.code, close.reason) == (CLOSE, 1013, "too many connections")


# ---------------------------------------------------------------- through the gateway

OWN_END = IPv4Address("TCP", "127.0.0.1", 40_000)
BROWSER = ClientAddress.at(HERE)


def test_one_that_comes_through_the_gateway_has_its_own_address(logs: Logs) -> None:
    house = House(per_source=1)
    for host in ("192.0.2.1", "192.0.2.2"):
        browser = ClientAddress.at(IPv4Address("TCP", host, 9))
        house.door.relayed.note(OWN_END, browser)
        assert is_in(house.client(OWN_END))
    assert is_in(house.client(OWN_END))  # a program of this machine
    house.door.relayed.note(OWN_END, BROWSER)
    assert frames(house.client(OWN_END)) == ["ERROR"]
    assert [line.partition(": session")[0] for line in logs.lines("info")] == [
        "192.0.2.1:9",
        "192.0.2.2:9",
        "127.0.0.1:40000",
    ]
    assert not house.door.relayed.clients


def test_one_that_arrives_before_the_gateway_knows_waits_for_a_turn() -> None:
    house = House(per_source=1)
    relayed = house.door.relayed
    assert is_in(house.client(OWN_END))
    relayed.connecting = 1
    arrived = house.client(OWN_END)
    assert not arrived.is_reading
    relayed.connecting = 0
    relayed.note(OWN_END, BROWSER)
    house.clock.advance(0)
    assert arrived.is_reading
    assert is_in(arrived)
    assert house.door.limiter.count == 2


def test_another_that_arrives_meanwhile_has_its_own_address_and_may_go(logs: Logs) -> None:
    house = House(per_source=1)
    house.door.relayed.connecting = 1
    gone, other = house.client(HERE), house.client(THERE)
    gone.end()
    house.clock.advance(0)
    assert is_in(other)
    assert house.door.limiter.count == 1
    browser = house.browser(HERE).open()  # it knows its address already
    assert house.door.limiter.count == 2
    browser.socket.end()
    assert "192.0.2.2:54321: session" in logs.lines("info")[0]


# ---------------------------------------------------------------- the refused


def test_a_refused_client_that_stays_is_cut() -> None:
    house = House(total=1)
    first = house.client()
    refused = house.client(room=0)
    house.clock.advance(1.9)
    assert not refused.was_cut
    house.clock.advance(0.2)
    assert refused.was_cut
    first.end()
    assert house.clock.getDelayedCalls() == []


def test_of_many_refused_clients_only_some_are_waited_for() -> None:
    house = House(total=1)
    house.client()
    refused = [house.client() for _ in range(500)]
    assert sum(not socket.was_cut for socket in refused) == 100
    for socket in refused:
        socket.end()
    assert not house.door.refused
    assert frames(house.client()) == ["ERROR"]


def test_a_refused_client_under_tls_is_closed_in_both_directions() -> None:
    house = House(total=1)
    house.client()
    transport = PushTransport()
    house.door.buildProtocol(HERE).makeConnection(transport)
    assert transport.held.startswith(b"ERROR\n")
    assert transport.disconnecting
