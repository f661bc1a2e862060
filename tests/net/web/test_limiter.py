"""How many HTTP connections there may be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeSite, FakeSocket
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.protocols.policies import WrappingFactory

from rtchat.core.access.addresses import AddressList
from rtchat.net.web.health import Health
from rtchat.net.web.limiter import HttpLimiter

MANY = 1000


def at(host: str) -> IAddress:
    """Return an address with some port."""
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, 54321)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_there_are_as_many_as_the_limit_and_no_more(clock: Clock, limit: int) -> None:
    limiter = HttpLimiter(clock, total=limit)
    sources = [limiter.enter(at(f"192.0.2.{number}")) for number in range(limit + 1)]
    assert sources[:-1] == [f"192.0.2.{number}" for number in range(limit)]
    assert sources[-1] is None
    assert limiter.count == limit
    limiter.leave("192.0.2.0")
    assert limiter.enter(at("192.0.2.9")) == "192.0.2.9"
    assert limiter.enter(at("192.0.2.9")) is None


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_one_address_has_its_number(clock: Clock, limit: int) -> None:
    limiter = HttpLimiter(clock, per_source=limit)
    for _ in range(limit):
        assert limiter.enter(at("192.0.2.1")) == "192.0.2.1"
    assert limiter.enter(at("192.0.2.1")) is None
    assert limiter.enter(at("::ffff:192.0.2.1")) is None
    assert limiter.enter(at("192.0.2.2")) == "192.0.2.2"
    limiter.leave("192.0.2.1")
    assert limiter.enter(at("192.0.2.1")) == "192.0.2.1"


def test_one_ipv6_network_of_a_client_is_one_address(clock: Clock) -> None:
    limiter = HttpLimiter(clock, per_source=1)
    assert limiter.enter(at("2001:db8::1")) == "2001:db8::/64"
    assert limiter.enter(at("2001:db8::2")) is None
    assert limiter.enter(at("2001:db8:0:1::1")) is not None


def test_without_limits_there_are_any_number(clock: Clock) -> None:
    limiter = HttpLimiter(clock)
    assert all(limiter.enter(at("192.0.2.1")) is not None for _ in range(MANY))


@pytest.mark.parametrize("address", [at("10.0.0.1"), at("::ffff:10.0.0.1"), UNIXAddress("/s")])
def test_a_front_proxy_and_a_unix_socket_are_no_single_source(
    clock: Clock, address: IAddress
) -> None:
    limiter = HttpLimiter(clock, MANY, 1, AddressList.parse(["10.0.0.0/8"]))
    assert all(limiter.enter(address) == "" for _ in range(MANY))
    # The limit for all together is for them as well.
    assert limiter.enter(address) is None


def test_nobody_is_remembered_who_has_left(clock: Clock) -> None:
    limiter = HttpLimiter(clock, per_source=5)
    for number in range(250):
        source = limiter.enter(at(f"192.0.2.{number}"))
        assert source is not None
        limiter.leave(source)
    assert limiter.count == 0
    assert not limiter._connections._sources


# ---------------------------------------------------------------- the log


def test_refusals_leave_one_line_a_minute(clock: Clock, logs: Logs) -> None:
    limiter = HttpLimiter(clock, total=1)
    limiter.enter(at("192.0.2.1"))
    for number in range(2, 102):
        assert limiter.enter(at(f"192.0.2.{number}")) is None
    first = "192.0.2.2:54321: refused: [proxy] http.connections.total = 1 is reached"
    assert logs.lines("warn") == [first]
    clock.advance(60)
    last = "192.0.2.101:54321: refused: [proxy] http.connections.total = 1 is reached"
    told = f"HTTP connections: 99 more were refused in 60 s, the last one: {last}"
    assert logs.lines("warn") == [first, told]
    # It is quiet for a minute more, and then the next one is told at once.
    limiter.enter(at("192.0.2.7"))
    assert len(logs.lines("warn")) == 2
    clock.advance(60)
    assert logs.lines("warn")[2].startswith("HTTP connections: 1 more were refused in 60 s")
    clock.advance(60)
    assert clock.getDelayedCalls() == []
    limiter.enter(at("192.0.2.8"))
    assert logs.lines("warn")[3].startswith("192.0.2.8:54321: refused: ")


def test_the_line_names_the_limit_of_one_address(clock: Clock, logs: Logs) -> None:
    limiter = HttpLimiter(clock, total=9, per_source=1)
    limiter.enter(at("192.0.2.1"))
    limiter.enter(at("192.0.2.1"))
    assert logs.lines("warn") == [
        "192.0.2.1:54321: refused: [proxy] http.connections.per_source = 1 is reached"
    ]


# ---------------------------------------------------------------- connections


@pytest.fixture
def site() -> FakeSite:
    site = FakeSite(children={"health": Health(dict)})
    site.site.limiter = HttpLimiter(site.clock, total=2)
    return site


def test_a_connection_that_finds_no_place_is_closed_unanswered(site: FakeSite) -> None:
    browsers = [site.browser() for _ in range(3)]
    assert [browser.get("/health").status for browser in browsers[:2]] == [200, 200]
    third = browsers[2].socket
    assert third.was_cut
    assert third.sent == b""
    assert site.site.limiter.count == 2


def test_a_place_is_free_when_a_connection_ends(site: FakeSite) -> None:
    first, _ = site.browser(), site.browser()
    first.socket.end()
    assert site.site.limiter.count == 1
    assert site.browser().get("/health").status == 200
    assert site.site.limiter.count == 2


def test_a_websocket_takes_no_place(site: FakeSite) -> None:
    browsers = [site.browser().open() for _ in range(5)]
    assert site.site.limiter.count == 0
    for browser in browsers:
        browser.socket.end()
    assert site.site.limiter.count == 0


def test_a_refused_handshake_gives_its_place_back(site: FakeSite) -> None:
    for _ in range(3):
        assert site.browser().get("/ws").status == 426
    assert site.site.limiter.count == 0


def test_a_connection_inside_another_protocol_is_turned_away_too(site: FakeSite) -> None:
    # TLS is such a protocol.
    site.browser(), site.browser()
    socket = FakeSocket()
    socket.connect(WrappingFactory(site.site).buildProtocol(socket.peer))
    socket.turn()
    assert socket.was_cut
    assert site.site.limiter.count == 2


def test_each_browser_is_its_own_source() -> None:
    site = FakeSite(children={"health": Health(dict)})
    site.site.limiter = HttpLimiter(site.clock, per_source=1)
    one = FakeBrowser(site.site, at("192.0.2.1"))
    assert FakeBrowser(site.site, at("192.0.2.1")).socket.was_cut
    assert not FakeBrowser(site.site, at("192.0.2.2")).socket.was_cut
    assert one.get("/health").status == 200
