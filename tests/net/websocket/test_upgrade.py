"""Who gets a WebSocket, over raw HTTP: the handshake, its answer, and the change of hands."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeSite, FakeSocket
from support.stomp import CONNECT, frame_bytes
from support.websocket import (
    ACCEPT,
    CLOSE,
    KEY,
    TEXT,
    Answer,
    http_request,
    upgrade_request,
    ws_frame,
)
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.policies import WrappingFactory
from typing_extensions import override

from rtchat.core.access.hosts import Target
from rtchat.net.web.health import Health
from rtchat.net.websocket.upgrade import UpgradeResource


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


def test_the_example_of_rfc_6455_is_answered_as_it_says(site: FakeSite) -> None:
    answer = site.browser().ask(upgrade_request(sec_websocket_key=KEY))
    assert answer.status == 101
    assert answer.headers["upgrade"].lower() == "websocket"
    assert answer.headers["connection"].lower() == "upgrade"
    assert answer.headers["sec-websocket-accept"] == ACCEPT
    assert "sec-websocket-extensions" not in answer.headers


def test_the_answer_has_a_readable_date(site: FakeSite) -> None:
    # txWS itself writes b'…' there on Python 3.
    date = site.browser().ask(upgrade_request()).headers["date"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)


@pytest.mark.parametrize(
    "offered, chosen",
    [
        ("v12.stomp", "v12.stomp"),
        ("v10.stomp, v11.stomp", "v11.stomp"),
        ("v10.stomp,v12.stomp,v11.stomp", "v12.stomp"),
        ("mqtt, v10.stomp", "v10.stomp"),
        ("base64, v12.stomp", "v12.stomp"),
        (None, None),
        ("", None),
        ("mqtt", None),
        ("binary", None),
        ("V12.STOMP", None),
    ],
)
def test_the_highest_sub_protocol_offered_is_named_and_no_other(
    site: FakeSite, offered: str | None, chosen: str | None
) -> None:
    answer = site.browser().ask(upgrade_request(subprotocols=offered))
    assert answer.status == 101
    assert answer.headers.get("sec-websocket-protocol") == chosen


@pytest.mark.parametrize(
    "offered, chosen",
    [
        ("binary", "binary"),
        ("mqtt", "mqtt"),
        ("binary, v11.stomp", "v11.stomp"),
        ("x", None),
    ],
)
def test_the_proxy_knows_binary_as_well(offered: str, chosen: str | None) -> None:
    site = FakeSite(wrap_target=silent)
    answer = site.browser().ask(upgrade_request("/tcp/irc.example:6667", subprotocols=offered))
    assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (101, chosen)


@pytest.mark.parametrize(
    "offer, said",
    [
        (
            {"subprotocols": "mqtt, base64"},
            "the sub-protocol 'mqtt, base64' is offered, and known here is v12.stomp, v11.stomp, "
            "v10.stomp; the WebSocket opens without, and browsers close it",
        ),
        (
            {"sec_websocket_extensions": "permessage-bzip2; a=1, permessage-deflate"},
            "the extension 'permessage-bzip2' is offered, and known here is permessage-deflate; "
            "the WebSocket opens without",
        ),
        (
            {"sec_websocket_extensions": "permessage-deflate; server_max_window_bits=8"},
            "the compression 'permessage-deflate; server_max_window_bits=8' is offered, and "
            "cannot be met; the WebSocket opens without",
        ),
    ],
)
def test_an_offer_that_cannot_be_taken_is_logged_once(
    site: FakeSite, logs: Logs, offer: dict[str, str], said: str
) -> None:
    for _ in range(3):
        assert site.browser().ask(upgrade_request(**offer)).status == 101
    assert [line.partition(": /ws: ")[2] for line in logs.lines("info")] == [said]


@pytest.mark.parametrize(
    "offer",
    [
        {},
        {"subprotocols": "mqtt, v10.stomp"},
        {"sec_websocket_extensions": "permessage-deflate; client_max_window_bits"},
        # A list of offers is there to be chosen from.
        {"sec_websocket_extensions": "permessage-deflate; unknown, permessage-deflate"},
    ],
)
def test_an_offer_that_is_taken_is_not_logged(
    site: FakeSite, logs: Logs, offer: dict[str, str]
) -> None:
    assert site.browser().ask(upgrade_request(**offer)).status == 101
    assert logs.lines("info") == []


def test_the_proxy_which_never_compresses_is_silent_about_it(logs: Logs) -> None:
    site = FakeSite(
        wrap_target=lambda target, clock: Factory.forProtocol(Protocol), deflates_targets=False
    )
    offer = "permessage-deflate; server_max_window_bits=8"
    request = upgrade_request("/tcp/irc.example:6667", sec_websocket_extensions=offer)
    assert site.browser().ask(request).status == 101
    assert logs.lines("info") == []


def test_offers_cannot_flood_the_log(site: FakeSite, logs: Logs) -> None:
    for number in range(150):
        browser = site.browser()
        assert browser.ask(upgrade_request(subprotocols=f"\x9bx{number}")).status == 101
        browser.socket.end()
    offers = [line for line in logs.lines("info") if "sub-protocol" in line]
    assert len(offers) == 100
    assert offers[-1].endswith("(further offers like this are not logged)")
    assert all(line.isascii() for line in offers)


def test_sub_protocols_may_stand_in_several_headers(site: FakeSite) -> None:
    request = upgrade_request(subprotocols="v10.stomp")[:-2]
    answer = site.browser().ask(request + b"Sec-WebSocket-Protocol: v12.stomp\r\n\r\n")
    assert answer.headers["sec-websocket-protocol"] == "v12.stomp"


@pytest.mark.parametrize(
    "connection, upgrade",
    [("keep-alive, Upgrade", "websocket"), ("UPGRADE", "WebSocket"), ("upgrade", "h2c, websocket")],
)
def test_a_handshake_may_write_its_headers_in_other_ways(
    site: FakeSite, connection: str, upgrade: str
) -> None:
    request = upgrade_request(connection=connection, upgrade=upgrade)
    assert site.browser().ask(request).status == 101


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD"])
def test_a_method_other_than_get_is_405(site: FakeSite, method: str) -> None:
    answer = site.browser().ask(upgrade_request(method=method), has_body=method != "HEAD")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["/ws", "/tcp/", "/tcp/localhost:22"])
def test_options_says_that_there_is_get(site: FakeSite, path: str) -> None:
    answer = site.browser().ask(http_request("OPTIONS", path, {"Host": "localhost"}))
    assert (answer.status, answer.headers["allow"]) == (200, "GET, OPTIONS")


@pytest.mark.parametrize("upgrade", [None, "h2c", "websockets"])
def test_a_request_that_asks_for_no_websocket_is_426(site: FakeSite, upgrade: str | None) -> None:
    answer = site.browser().ask(upgrade_request(upgrade=upgrade))
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert "new WebSocket(...)" in answer.text


@pytest.mark.parametrize("version", [None, "8", "7", "14", "13, 14", "x"])
def test_another_version_is_426_and_learns_ours(site: FakeSite, version: str | None) -> None:
    answer = site.browser().ask(upgrade_request(sec_websocket_version=version))
    assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")


@pytest.mark.parametrize("connection", [None, "keep-alive", "upgraded"])
def test_a_handshake_without_connection_upgrade_is_400(
    site: FakeSite, connection: str | None
) -> None:
    assert site.browser().ask(upgrade_request(connection=connection)).status == 400


@pytest.mark.parametrize("key", [None, "", "short", "A" * 24, "!" * 22 + "==", "é" * 12, KEY[:-1]])
def test_a_handshake_without_a_key_of_16_bytes_is_400(site: FakeSite, key: str | None) -> None:
    answer = site.browser().ask(upgrade_request(sec_websocket_key=key))
    assert answer.status == 400
    assert "16 bytes in base64" in answer.text


@pytest.mark.parametrize(
    "header", ["origin", "upgrade", "connection", "subprotocols", "sec_websocket_version"]
)
def test_a_header_that_is_not_utf_8_is_no_failure(site: FakeSite, logs: Logs, header: str) -> None:
    headers = {header: "\xe9"}
    assert site.browser().ask(upgrade_request("/ws", **headers)).status != 500
    assert logs.failures() == []


def test_a_handshake_with_two_keys_is_400(site: FakeSite) -> None:
    request = upgrade_request()[:-2] + f"Sec-WebSocket-Key: {KEY}\r\n\r\n".encode()
    assert site.browser().ask(request).status == 400


def test_a_handshake_of_http_1_0_is_400(site: FakeSite) -> None:
    assert site.browser().ask(upgrade_request(version="HTTP/1.0")).status == 400


def test_a_refused_handshake_ends_the_connection(site: FakeSite) -> None:
    browser = site.browser()
    assert browser.ask(upgrade_request(upgrade=None)).headers["connection"] == "close"
    assert browser.socket.is_closed


def test_a_path_that_is_not_text_is_no_failure(site: FakeSite, logs: Logs) -> None:
    assert site.browser().ask(upgrade_request("/ws/%ff%00")).status == 101
    assert logs.failures() == []


def test_frames_may_follow_the_request_in_the_same_read(site: FakeSite) -> None:
    browser = site.browser()
    answer = browser.ask(upgrade_request() + ws_frame(TEXT, CONNECT))
    assert answer.status == 101
    assert browser.expect(TEXT).payload.startswith(b"CONNECTED\n")


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_request_and_frames_may_come_in_any_pieces(site: FakeSite, cut: int) -> None:
    browser = site.browser()
    data = upgrade_request() + ws_frame(TEXT, CONNECT)
    for start in range(0, len(data), cut):
        browser.socket.receive(data[start : start + cut])
    assert browser.socket.taken().startswith(b"HTTP/1.1 101 ")
    browser.send(TEXT, frame_bytes("DISCONNECT", receipt="r"))
    assert browser.expect(TEXT).payload.startswith(b"RECEIPT\n")


def test_a_connection_that_served_pages_may_become_a_websocket() -> None:
    site = FakeSite(children={"health": Health(dict)})
    browser = site.browser()
    for _ in range(3):
        assert browser.get("/health").status == 200
    browser.open()
    browser.send(TEXT, CONNECT)
    assert browser.expect(TEXT).payload.startswith(b"CONNECTED\n")


def test_a_page_and_a_websocket_may_be_asked_for_in_one_read() -> None:
    site = FakeSite(children={"health": Health(dict)})
    browser = site.browser()
    request = http_request("GET", "/health", {"Host": "localhost"})
    browser.socket.receive(request + upgrade_request() + ws_frame(TEXT, CONNECT))
    browser.clock.advance(0)
    data = browser.socket.taken()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 101 Switching Protocols\r\n" in data
    assert b"CONNECTED\n" in data


def test_the_time_out_of_http_does_not_end_a_websocket() -> None:
    site = FakeSite(children={"health": Health(dict)})
    browser = site.browser()
    browser.get("/health")
    browser.open()
    browser.send(TEXT, CONNECT)
    browser.expect(TEXT)
    for _ in range(3600):
        site.clock.advance(1)
    assert browser.received() == []
    assert not browser.socket.is_closed


def test_the_time_out_of_http_ends_a_connection_that_asks_for_nothing(site: FakeSite) -> None:
    browser = site.browser()
    for _ in range(70):
        site.clock.advance(1)
    browser.socket.turn()
    assert browser.socket.is_closed


def test_a_connection_inside_another_protocol_becomes_a_websocket_too(site: FakeSite) -> None:
    # TLS is such a protocol: the channel's transport is the wrapper, not the socket.
    browser = site.browser()
    browser.socket = FakeSocket()
    browser.socket.connect(WrappingFactory(site.site).buildProtocol(browser.socket.peer))
    browser.open()
    browser.send(TEXT, CONNECT)
    assert browser.expect(TEXT).payload.startswith(b"CONNECTED\n")


def test_a_slow_answer_before_the_websocket_is_not_overtaken() -> None:
    site = FakeSite(children={"health": Health(lambda: {"text": "x" * 1000})})
    browser = site.browser()
    browser.socket.room = 10
    browser.socket.receive(http_request("GET", "/health", {"Host": "localhost"}))
    browser.socket.receive(upgrade_request() + ws_frame(TEXT, CONNECT))
    browser.socket.give_room()
    data = bytes(browser.socket.sent)
    assert data.index(b"HTTP/1.1 200") < data.index(b"HTTP/1.1 101") < data.index(b"CONNECTED\n")


class Silent(Factory):
    """A target that says nothing."""

    @override
    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return Protocol()


def silent(target: Target, clock: Clock) -> IProtocolFactory:
    return Silent()


def ask(
    path: str,
    *rules: str,
    origin: str | None = None,
    host: str = "localhost:9000",
    origin_required: bool = False,
) -> Answer:
    """Ask a server that has these rules for a WebSocket."""
    site = FakeSite(rules=rules, wrap_target=silent, origin_required=origin_required)
    return site.browser().ask(upgrade_request(path, origin=origin, host=host))


RULE = "self -> irc.example:6667"


@pytest.mark.parametrize(
    "path, status",
    [
        ("/tcp/irc.example:6667", 101),
        ("/tcp/IRC.Example.:6667", 101),
        ("/tcp/irc.example:6668", 403),  # right host, wrong port
        ("/tcp/irc.example", 403),  # port 80
        ("/tcp/www.example:6667", 403),  # wrong host, right port
        ("/tcp/irc.example.evil.example:6667", 403),
        ("/tcp/evil-irc.example:6667", 403),
        ("/tcp/*:6667", 403),
        ("/tcp/irc.example:6667/more", 403),
        ("/tcp/irc.example%3a6667", 403),
        ("/tcp/irc%2eexample:6667", 403),
        ("/tcp/irc.example:6667%2f", 403),
        ("/tcp/irc.example:06667", 101),
        ("/tcp/irc.example:6667%00", 403),
        ("/tcp/irc.example:6667%20", 403),
        ("/tcp/%ff:6667", 403),
        ("/tcp/", 403),
        ("/tcp", 403),
        ("/tcp//irc.example:6667", 403),
    ],
)
def test_only_the_listed_target_is_reached(path: str, status: int) -> None:
    assert ask(path, RULE).status == status


@pytest.mark.parametrize(
    "rule, asked, status",
    [
        ("* -> localhost:61613", "localhost:61613", 101),
        ("* -> localhost:61613", "127.0.0.1:61613", 403),
        ("* -> localhost:61613", "[::1]:61613", 403),
        ("* -> 127.0.0.1:61613", "127.0.0.1:61613", 101),
        ("* -> 127.0.0.1:61613", "localhost:61613", 403),
        ("* -> 127.0.0.1:61613", "127.1:61613", 403),
        ("* -> 127.0.0.1:61613", "2130706433:61613", 403),
        ("* -> [::1]:61613", "[::1]:61613", 101),
        ("* -> [::1]:61613", "[0:0:0:0:0:0:0:1]:61613", 403),
        ("* -> [::1]:61613", "::1:61613", 403),
    ],
)
def test_a_name_is_not_its_address(rule: str, asked: str, status: int) -> None:
    assert ask(f"/tcp/{asked}", rule).status == status


@pytest.mark.parametrize(
    "source, origin, status",
    [
        ("self", "http://localhost:9000", 101),
        ("self", "https://localhost:9000", 101),
        ("self", "http://localhost:9001", 403),
        ("self", "http://127.0.0.1:9000", 403),
        ("self", "http://localhost", 403),
        ("self", "http://evil.example", 403),
        ("self", "null", 403),
        ("self", "", 403),
        ("self", None, 101),
        ("*", "http://evil.example", 101),
        ("*", "null", 101),
        ("*", None, 101),
        ("www.example", "http://www.example", 101),
        ("www.example", "https://www.example", 101),
        ("www.example", "http://www.example:8080", 403),
        ("www.example", "http://www.example.evil.example", 403),
        ("www.example", "http://evilwww.example", 403),
        ("www.example", None, 403),
        ("www.example:8080", "http://www.example:8080", 101),
        ("www.example:8080", "http://www.example", 403),
        ("[::1]:8080", "http://[::1]:8080", 101),
        ("[::1]:8080", "http://127.0.0.1:8080", 403),
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/tcp/localhost:61613"])
def test_only_the_listed_page_is_served(
    path: str, source: str, origin: str | None, status: int
) -> None:
    assert ask(path, f"{source} -> localhost:61613", origin=origin).status == status


def test_an_origin_in_two_headers_is_nobodys() -> None:
    request = upgrade_request(origin="http://localhost:9000")[:-2]
    request += b"Origin: http://evil.example\r\n\r\n"
    site = FakeSite(rules=["self -> localhost:61613", "evil.example -> localhost:61613"])
    assert site.browser().ask(request).status == 403


@pytest.mark.parametrize("path", ["/ws", "/tcp/localhost:61613"])
def test_a_request_without_origin_may_be_refused_by_configuration(path: str) -> None:
    rule = "* -> localhost:61613"
    assert ask(path, rule, origin_required=True).status == 403
    origin = "http://localhost:9000"
    assert ask(path, rule, origin=origin, origin_required=True).status == 101


def test_the_broker_is_open_to_whoever_may_reach_one_of_its_listeners() -> None:
    site = FakeSite(
        rules=["self -> 127.0.0.1:61613"], own_targets=["localhost:61613", "127.0.0.1:61613"]
    )
    own, foreign = "http://localhost:9000", "http://evil.example"
    assert site.browser().ask(upgrade_request(origin=own)).status == 101
    assert site.browser().ask(upgrade_request(origin=foreign)).status == 403


def test_a_rule_for_another_broker_does_not_open_ours() -> None:
    assert ask("/ws", "* -> localhost:61614").status == 403
    assert ask("/ws", "* -> broker.example:61613").status == 403


def test_without_a_stomp_listener_the_broker_is_closed(logs: Logs) -> None:
    site = FakeSite(rules=["* -> localhost:61613"], own_targets=[])
    assert site.browser().ask(upgrade_request()).status == 403
    assert "there is no stomp:// listener" in logs.text("warn")


def test_without_rules_nothing_is_reachable() -> None:
    assert ask("/ws").status == 403
    assert ask("/tcp/localhost:61613").status == 403


def test_a_path_that_does_not_say_whom_it_serves_serves_nobody() -> None:
    class Undecided(UpgradeResource):
        pass

    site = FakeSite(children={"new": Undecided()})
    assert site.browser().ask(upgrade_request("/new")).status == 403


def test_every_refusal_has_the_same_text() -> None:
    refusals = [
        ask("/tcp/irc.example:1", RULE),  # wrong port
        ask("/tcp/www.example:6667", RULE),  # wrong host
        ask("/tcp/irc.example:6667", RULE, origin="http://evil.example"),  # wrong page
        ask("/tcp/irc.example:6667", RULE, origin_required=True),  # no page
        ask("/tcp/not a target", RULE),
        ask("/tcp/", RULE),
        ask("/ws", RULE),
        ask("/ws", "self -> localhost:61613", origin="http://evil.example"),
    ]
    assert {answer.status for answer in refusals[:4]} == {403}
    del refusals[4]  # spaces end a path: that one is no request at all
    assert {answer.status for answer in refusals} == {403}
    assert len({answer.body for answer in refusals}) == 1
    alike = [{k: v for k, v in each.headers.items() if k != "date"} for each in refusals]
    assert all(each == alike[0] for each in alike)


def test_a_refusal_comes_before_the_upgrade_and_before_any_other_answer() -> None:
    # A refused client learns nothing about the rest of the handshake.
    assert ask("/tcp/irc.example:1", RULE).status == 403
    site = FakeSite(rules=[RULE])
    answer = site.browser().ask(upgrade_request("/tcp/irc.example:1", upgrade=None))
    assert answer.status == 403


@pytest.mark.parametrize(
    "path, origin, why",
    [
        ("/tcp/irc.example:1", None, "no rule names this target"),
        ("/tcp/irc.example:6667", "http://evil.example", "no rule lets this source reach it"),
        ("/tcp/a_*", None, "not HOST:PORT"),
    ],
)
def test_the_log_says_why_and_from_where(
    logs: Logs, path: str, origin: str | None, why: str
) -> None:
    ask(path, RULE, origin=origin)
    (line,) = logs.lines("warn")
    assert line.startswith(f"192.0.2.1:54321: refused {path}: ")
    assert why in line


def test_a_refused_path_cannot_forge_a_line_of_the_log(logs: Logs) -> None:
    ask("/tcp/x%0a2026-01-01:forged", RULE)
    (line,) = logs.lines("warn")
    assert "\n" not in line


def test_a_closed_websocket_leaves_the_browser_nothing_of_http(site: FakeSite) -> None:
    browser = site.browser().open()
    browser.send(CLOSE)
    assert browser.socket.is_closed
    assert isinstance(browser.socket, FakeSocket)
    assert site.clock.getDelayedCalls() == []
