"""Counting connections in total, per target and per source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from rtchat.core.access.addresses import AddressList
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.limits import ConnectionLimiter, ReachedLimit, SourceLimiter

MANY = 1000


def test_without_limits_there_are_any_number() -> None:
    limiter = ConnectionLimiter()
    for _ in range(1000):
        assert limiter.reached("192.0.2.1", "a") is None
        limiter.enter("192.0.2.1", "a")
    assert limiter.count == 1000


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize("name", ["total", "per_target", "per_source"])
def test_a_limit_is_reached_by_as_many_as_it_says(name: str, limit: int) -> None:
    limiter = ConnectionLimiter(**{name: limit})
    for _ in range(limit):
        assert limiter.reached("192.0.2.1", "a") is None
        limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") == ReachedLimit(name, limit)
    limiter.leave("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") is None


def test_each_target_and_each_source_has_its_own_number() -> None:
    limiter = ConnectionLimiter(0, 1, 1)
    limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.2", "a") == ReachedLimit("per_target", 1)
    assert limiter.reached("192.0.2.1", "b") == ReachedLimit("per_source", 1)
    assert limiter.reached("192.0.2.2", "b") is None


def test_the_total_is_named_first_and_the_target_before_the_source() -> None:
    limiter = ConnectionLimiter(1, 1, 1)
    limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") == ReachedLimit("total", 1)
    limiter = ConnectionLimiter(0, 1, 1)
    limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") == ReachedLimit("per_target", 1)


def test_what_is_no_single_source_counts_in_total_only() -> None:
    limiter = ConnectionLimiter(3, per_source=1)
    for _ in range(3):
        assert limiter.reached("") is None
        limiter.enter("")
    assert limiter.reached("") == ReachedLimit("total", 3)


def test_nothing_is_kept_of_those_that_have_left() -> None:
    limiter = ConnectionLimiter(9, 9, 9)
    for number in range(250):
        limiter.enter(f"192.0.2.{number}", number)
        limiter.leave(f"192.0.2.{number}", number)
    assert limiter.count == 0
    assert not limiter._sources
    assert not limiter._targets


# ---------------------------------------------------------------- sources


def at(host: str) -> IAddress:
    """Return an address with some port."""
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, 54321)


class Door:
    """A limiter, and whom it lets in."""

    def __init__(self, total: int = 0, per_source: int = 0, fronts: AddressList | None = None):
        self.clock = Clock()
        log = ClientLog(self.clock)
        self.limiter = SourceLimiter("[broker] connections", log, total, per_source, fronts)

    def enter(self, address: IAddress) -> str | None:
        """Return the source if there is room for it."""
        if self.limiter.refused(address) is not None:
            return None
        return self.limiter.enter(address)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_there_are_as_many_as_the_limit_and_no_more(limit: int) -> None:
    door = Door(total=limit)
    sources = [door.enter(at(f"192.0.2.{number}")) for number in range(limit + 1)]
    assert sources[:-1] == [f"192.0.2.{number}" for number in range(limit)]
    assert sources[-1] is None
    assert door.limiter.count == limit
    door.limiter.leave("192.0.2.0")
    assert door.enter(at("192.0.2.9")) == "192.0.2.9"
    assert door.enter(at("192.0.2.9")) is None


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_one_address_has_its_number(limit: int) -> None:
    door = Door(per_source=limit)
    for _ in range(limit):
        assert door.enter(at("192.0.2.1")) == "192.0.2.1"
    assert door.enter(at("192.0.2.1")) is None
    assert door.enter(at("::ffff:192.0.2.1")) is None
    assert door.enter(at("192.0.2.2")) == "192.0.2.2"
    door.limiter.leave("192.0.2.1")
    assert door.enter(at("192.0.2.1")) == "192.0.2.1"


def test_one_ipv6_network_of_a_client_is_one_address() -> None:
    door = Door(per_source=1)
    assert door.enter(at("2001:db8::1")) == "2001:db8::/64"
    assert door.enter(at("2001:db8::2")) is None
    assert door.enter(at("2001:db8:0:1::1")) is not None


def test_sources_without_limits_are_any_number() -> None:
    door = Door()
    assert all(door.enter(at("192.0.2.1")) is not None for _ in range(MANY))


@pytest.mark.parametrize("address", [at("10.0.0.1"), at("::ffff:10.0.0.1"), UNIXAddress("/s")])
def test_a_front_proxy_and_a_unix_socket_are_no_single_source(address: IAddress) -> None:
    door = Door(MANY, 1, AddressList.parse(["10.0.0.0/8"]))
    assert all(door.enter(address) == "" for _ in range(MANY))
    # The limit for all together is for them as well.
    assert door.enter(address) is None


def test_who_has_left_is_not_remembered() -> None:
    door = Door(per_source=5)
    for number in range(250):
        source = door.enter(at(f"192.0.2.{number}"))
        assert source is not None
        door.limiter.leave(source)
    assert door.limiter.count == 0
    assert not door.limiter._connections._sources


def test_refusals_leave_one_line_a_minute_for_each_source(logs: Logs) -> None:
    door = Door(total=1)
    door.enter(at("192.0.2.1"))
    for _ in range(100):
        for number in (2, 3):
            assert door.enter(at(f"192.0.2.{number}")) is None
    assert logs.lines("warn") == [
        "192.0.2.2:54321: refused: [broker] connections.total = 1 is reached; raise it",
        "192.0.2.3:54321: refused: [broker] connections.total = 1 is reached; raise it",
    ]
    door.clock.advance(60)
    assert logs.lines("warn")[2:] == [
        "192.0.2.2: left out of the log within 60 s: 99 refused connections",
        "192.0.2.3: left out of the log within 60 s: 99 refused connections",
    ]


def test_the_line_about_one_address_names_both_cures(logs: Logs) -> None:
    door = Door(total=9, per_source=1)
    door.enter(at("192.0.2.1"))
    door.enter(at("192.0.2.1"))
    assert logs.lines("warn") == [
        "192.0.2.1:54321: refused: [broker] connections.per_source = 1 is reached; raise it, or "
        "if this is a front proxy, name it in [front] trusted"
    ]


def test_a_user_counts_for_the_address_no_more_and_still_in_total() -> None:
    limiter = SourceLimiter("[x]", ClientLog(Clock()), total=3, per_source=1, is_for_guests=True)
    address = IPv4Address("TCP", "192.0.2.1", 1)
    place = limiter.logged_in(limiter.enter(address))
    assert limiter.refused(address) is None
    guest = limiter.enter(address)
    reached = limiter.refused(address)
    assert reached is not None
    assert reached.name == "per_source"
    limiter.enter(IPv4Address("TCP", "192.0.2.2", 1))
    reached = limiter.refused(IPv4Address("TCP", "192.0.2.3", 1))
    assert reached is not None
    assert reached.name == "total"
    limiter.leave(guest)
    limiter.leave(place)
    assert limiter.count == 1


def test_without_a_limit_of_their_own_users_count_for_their_addresses() -> None:
    limiter = SourceLimiter("[x]", ClientLog(Clock()), per_source=1)
    address = IPv4Address("TCP", "192.0.2.1", 1)
    place = limiter.enter(address)
    assert limiter.logged_in(place) == place
    assert limiter.refused(address) is not None


def test_the_connections_of_a_user_count_for_the_user_alone() -> None:
    limiter = ConnectionLimiter(per_source=1, per_user=2)
    for _ in range(2):
        assert limiter.reached("192.0.2.1", None, "ada") is None
        limiter.enter("192.0.2.1", None, "ada")
    assert limiter.reached("192.0.2.9", None, "ada") == ReachedLimit("per_user", 2)
    assert limiter.reached("192.0.2.1", None, "bob") is None
    assert limiter.reached("192.0.2.1") is None
    limiter.leave("192.0.2.1", None, "ada")
    assert limiter.reached("192.0.2.1", None, "ada") is None
    limiter.leave("192.0.2.1", None, "ada")
    assert not limiter._users
    assert not limiter._sources


def test_without_a_number_for_users_theirs_count_for_their_source() -> None:
    limiter = ConnectionLimiter(per_source=1)
    limiter.enter("192.0.2.1", None, "ada")
    assert limiter.reached("192.0.2.1", None, "bob") == ReachedLimit("per_source", 1)
    limiter.leave("192.0.2.1", None, "ada")
    assert not limiter._sources
