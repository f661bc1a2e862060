"""HTTP connections: those for which there is no room, and those that take their time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeSite, FakeSocket
from twisted.internet.address import IPv4Address
from twisted.protocols.policies import WrappingFactory
from twisted.web.http import HTTPChannel

from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.web.health import Health
from rtchat.net.web.site import PageSite


def limit(site: PageSite, total: int = 0, per_source: int = 0) -> None:
    """Let a site have so many connections."""
    log = ClientLog(site.clock)
    site.limiter = SourceLimiter("[proxy] http.connections", log, total, per_source)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def site() -> FakeSite:
    site = FakeSite(children={"health": Health(dict)})
    limit(site.site, total=2)
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


def test_a_bug_at_the_end_of_a_connection_keeps_no_place(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(channel: HTTPChannel, reason: object) -> None:
        raise ZeroDivisionError

    browser = site.browser()
    with monkeypatch.context() as patch:
        patch.setattr(HTTPChannel, "connectionLost", fail)
        with pytest.raises(ZeroDivisionError):
            browser.socket.end()
    assert site.site.limiter.count == 0


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
    limit(site.site, per_source=1)
    here, there = (IPv4Address("TCP", f"192.0.2.{number}", 1) for number in (1, 2))
    one = FakeBrowser(site.site, here)
    assert FakeBrowser(site.site, here).socket.was_cut
    assert not FakeBrowser(site.site, there).socket.was_cut
    assert one.get("/health").status == 200


def test_a_flood_of_requests_that_are_no_http_leaves_a_limited_number_of_lines(
    site: FakeSite, logs: Logs
) -> None:
    limit(site.site)
    for _ in range(500):
        site.browser().socket.receive(b"nonsense\r\n" + b"x" * 1000)
        site.clock.advance(0)
    assert len(logs.lines()) == 100
    site.clock.advance(60)
    assert logs.lines()[100:] == ["192.0.2.1: left out of the log within 60 s: 400 lines"]


def test_a_flood_of_refused_requests_leaves_a_limited_number_of_lines(
    site: FakeSite, logs: Logs
) -> None:
    limit(site.site)
    browser = site.browser()
    for _ in range(500):
        assert browser.get("/", host="evil.example").status == 421
    assert len(logs.lines()) == 100
    assert max(map(len, logs.lines())) < 1000
