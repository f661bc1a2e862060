"""Whom a request comes from when a front proxy passes it on, and who may say so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeEndpoint, FakeSite, FakeSocket
from support.websocket import CLOSE, http_request, read_answer, upgrade_request
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress
from twisted.web.resource import Resource

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.hosts import HostList
from rtchat.core.access.proxy_protocol import write_header
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.net.connection.front_proxy import ProxyProtocolFactory
from rtchat.net.connection.limits import ConnectionLimiter
from rtchat.net.gateway.relay import ProxyFactory
from rtchat.net.gateway.resource import TcpSocket
from rtchat.net.web.site import PageSite

TRUSTED = AddressList.parse(["10.0.0.0/8", "unix"])
FRONT = IPv4Address("TCP", "10.0.0.7", 40000)
STRANGER = IPv4Address("TCP", "192.0.2.1", 54321)
PATH = "/tcp/irc.example:6667"


class Fronted:
    """A site that believes front proxies, with a target that never answers."""

    def __init__(self, trusted: AddressList = TRUSTED, per_source: int = 0) -> None:
        self.fake = FakeSite(
            wrap_target=lambda target, clock: ProxyFactory(
                target, self._endpoint, clock, 10, limiter=self.limiter
            )
        )
        self.clock = self.fake.clock
        self.limiter = ConnectionLimiter(per_source=per_source)
        self.endpoints: list[FakeEndpoint] = []
        root = Resource()
        access = AccessList(map(AccessRule.parse, self.fake.rules))
        root.putChild(b"tcp", TcpSocket(access, self.fake._target))
        self.site = PageSite(root, HostList(), self.clock, trusted=trusted)

    def _endpoint(self, target: object) -> FakeEndpoint:
        self.endpoints.append(FakeEndpoint())
        return self.endpoints[-1]

    def browser(self, peer: IAddress) -> FakeBrowser:
        return FakeBrowser(self.site, peer)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def lines(logs: Logs) -> list[str]:
    return [line for line in logs.lines() if " -> " in line or "refused" in line]


# ---------------------------------------------------------------- X-Forwarded-For


@pytest.mark.parametrize("peer", [FRONT, UNIXAddress(None)])
def test_a_trusted_front_proxys_client_stands_in_the_log(logs: Logs, peer: IAddress) -> None:
    fronted = Fronted()
    browser = fronted.browser(peer)
    browser.open(PATH, X_Forwarded_For="6.6.6.6, 203.0.113.9")
    fronted.endpoints[0].fail(ConnectError(string="no"))
    (line,) = lines(logs)
    assert line.startswith("203.0.113.9 (no Origin) -> irc.example:6667: cannot connect: ")


def test_what_a_stranger_forwards_is_not_believed(logs: Logs) -> None:
    fronted = Fronted()
    fronted.browser(STRANGER).open(PATH, X_Forwarded_For="203.0.113.9")
    fronted.endpoints[0].fail(ConnectError(string="no"))
    (line,) = lines(logs)
    assert line.startswith("192.0.2.1:54321 (no Origin) -> ")


def test_nobody_is_believed_by_default(logs: Logs) -> None:
    fronted = Fronted(AddressList())
    fronted.browser(FRONT).open(PATH, X_Forwarded_For="203.0.113.9")
    fronted.endpoints[0].fail(ConnectError(string="no"))
    (line,) = lines(logs)
    assert line.startswith("10.0.0.7:40000 (no Origin) -> ")


@pytest.mark.parametrize(
    "path, host",
    [("/tcp/secret.example:25", "localhost"), (PATH, "evil.example"), ("/tcp/x:0", "localhost")],
)
def test_refusals_name_the_client_too(logs: Logs, path: str, host: str) -> None:
    answer = (
        Fronted()
        .browser(FRONT)
        .ask(upgrade_request(path, host=host, x_forwarded_for="[2001:db8::9]:4711"))
    )
    assert answer.status in (403, 421)
    (line,) = lines(logs)
    assert line.startswith("[2001:db8::9]:4711: refused")


def test_each_request_on_one_connection_has_its_own_client(logs: Logs) -> None:
    browser = Fronted().browser(FRONT)
    for host in ("203.0.113.1", "203.0.113.2"):
        request = http_request("GET", "/", {"Host": "evil.example", "X-Forwarded-For": host})
        assert browser.ask(request).status == 421
    first, second = lines(logs)
    assert first.startswith("203.0.113.1: ")
    assert second.startswith("203.0.113.2: ")


def test_clients_of_a_front_proxy_are_counted_each() -> None:
    fronted = Fronted(per_source=1)
    for host in ("203.0.113.1", "203.0.113.2"):
        assert fronted.browser(FRONT).open(PATH, X_Forwarded_For=host).received() == []
    again = fronted.browser(FRONT).open(PATH, X_Forwarded_For="9.9.9.9, 203.0.113.1")
    assert again.expect(CLOSE).code == 1008


def test_what_the_websocket_says_names_the_client(logs: Logs) -> None:
    fronted = Fronted()
    browser = fronted.browser(FRONT).open(PATH, X_Forwarded_For="203.0.113.9")
    fronted.endpoints[0].succeed(FakeSocket())
    fronted.clock.advance(0)
    browser.send_raw(b"\xff\xff")
    assert logs.lines("warn")[0].startswith(
        "203.0.113.9 (no Origin) -> irc.example:6667: broken WebSocket: "
    )


# ---------------------------------------------------------------- the PROXY protocol


class Door:
    """A connection through a :class:`ProxyProtocolFactory`."""

    def __init__(self, peer: IAddress, fronted: Fronted | None = None) -> None:
        self.fronted = fronted or Fronted(AddressList())
        self.clock = self.fronted.clock
        self.socket = FakeSocket(peer=peer)
        door = ProxyProtocolFactory(self.fronted.site, TRUSTED, self.clock)
        self.socket.connect(door.buildProtocol(peer))

    def status(self) -> int:
        """Return the status of the answer."""
        self.clock.advance(0)
        return read_answer(self.socket.taken())[0].status


HEADERS = {
    "version 1": b"PROXY TCP4 203.0.113.9 192.0.2.2 4711 80\r\n",
    "version 2": write_header(("203.0.113.9", 4711), ("192.0.2.2", 80)),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("peer", [FRONT, UNIXAddress(None)])
def test_a_header_says_whom_the_connection_comes_from(
    logs: Logs, header: bytes, peer: IAddress
) -> None:
    door = Door(peer)
    door.socket.receive(header + upgrade_request(PATH))
    assert door.status() == 101
    door.fronted.endpoints[0].fail(ConnectError(string="no"))
    (line,) = lines(logs)
    assert line.startswith("203.0.113.9:4711 (no Origin) -> irc.example:6667: cannot connect: ")


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_may_come_in_any_pieces(header: bytes) -> None:
    request = header + upgrade_request("/tcp/secret.example:25")
    for cut in range(1, len(header) + 2):
        door = Door(FRONT)
        door.socket.receive(request[:cut])
        door.socket.receive(request[cut:])
        assert door.status() == 403
    door = Door(FRONT)
    for number in range(len(request)):
        door.socket.receive(request[number : number + 1])
        door.clock.advance(0)
    assert door.status() == 403


def test_a_connection_of_the_front_proxys_own_keeps_its_address(logs: Logs) -> None:
    door = Door(FRONT)
    door.socket.receive(b"PROXY UNKNOWN\r\n" + upgrade_request("/tcp/secret.example:25"))
    assert door.status() == 403
    (line,) = lines(logs)
    assert line.startswith("10.0.0.7:40000: refused ")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"PROXY x\r\n"])
def test_a_front_proxy_that_does_not_say_it_is_refused(logs: Logs, data: bytes) -> None:
    door = Door(FRONT)
    door.socket.receive(data)
    assert door.socket.was_cut
    (line,) = lines(logs)
    assert line.startswith("10.0.0.7:40000: refused, this front proxy did not name its client")
    assert door.clock.getDelayedCalls() == []


def test_a_front_proxy_that_says_nothing_is_closed_in_time(logs: Logs) -> None:
    door = Door(FRONT)
    door.socket.receive(b"PROXY ")
    door.clock.advance(10.1)
    assert door.socket.was_cut
    (line,) = lines(logs)
    assert "no PROXY protocol header within 10 s" in line


def test_a_front_proxy_that_leaves_at_once_is_forgotten() -> None:
    door = Door(FRONT)
    door.socket.end()
    assert door.clock.getDelayedCalls() == []


def test_a_stranger_is_served_and_its_header_is_not_read(logs: Logs) -> None:
    door = Door(STRANGER)
    door.socket.receive(upgrade_request("/tcp/secret.example:25"))
    assert door.status() == 403
    (line,) = lines(logs)
    assert line.startswith("192.0.2.1:54321: refused ")
    forger = Door(STRANGER)
    forger.socket.receive(HEADERS["version 1"] + upgrade_request(PATH))
    assert forger.status() == 400


# ---------------------------------------------------------------- time for a request


def test_a_request_whose_head_takes_too_long_is_cut(logs: Logs) -> None:
    fronted = Fronted()
    browser = fronted.browser(STRANGER)
    for byte in b"GET / HTTP/1.1\r\nHo"[:9]:
        browser.send_raw(bytes((byte,)))
        fronted.clock.advance(1)
    assert not browser.socket.is_closed
    browser.send_raw(b"x")
    fronted.clock.advance(1.1)
    assert browser.socket.was_cut
    assert logs.lines("warn") == ["192.0.2.1:54321: refused: no complete request within 10 s"]


def test_a_connection_that_stays_for_the_next_request_has_no_such_end() -> None:
    fronted = Fronted()
    idle = fronted.browser(STRANGER)
    assert idle.get("/nothing").status == 404
    fronted.clock.advance(20)
    assert not idle.socket.is_closed
    assert idle.get("/nothing").status == 404


def test_an_open_websocket_has_no_such_end() -> None:
    fronted = Fronted()
    browser = fronted.browser(STRANGER).open(PATH)
    fronted.endpoints[0].succeed(FakeSocket())
    fronted.clock.advance(60)
    assert browser.received() == []
    assert not browser.socket.is_closed
