"""Requests wait until it is known who sends them: WebSockets of /tcp and /ws, and the list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeEndpoint, FakeSite
from support.stomp import frame_bytes
from support.visitors import Door, basic, bearer, by_hand
from support.websocket import (
    BINARY,
    CLOSE,
    Answer,
    http_request,
    read_answer,
    upgrade_request,
    ws_frame,
)
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from typing_extensions import override

from rtchat.core.access.hosts import Target
from rtchat.core.auth.permissions import Permissions
from rtchat.net.connection.limits import ConnectionLimiter
from rtchat.net.gateway.relay import ProxyFactory
from rtchat.net.websocket.upgrade import WebSocketResource
from rtchat.net.websocket.visitors import ASK_TIMEOUT_S

IRC = "/tcp/irc.example:6667"
RULES = (
    "self @staff -> irc.example:6667",
    "self bob -> irc.example:6667",
    "self * -> users.example:7",
    "self anonymous -> open.example:7",
    "partner.example @staff -> partner.example:7",
    "self -> mixed.example:7",
    "self ada -> mixed.example:7",
)


class Echo(Protocol):
    """Sends back what it gets."""

    @override
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def echo(target: Target, clock: Clock) -> IProtocolFactory:
    return Factory.forProtocol(Echo)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


class House:
    """A site with a log-in."""

    def __init__(self, *rules: str, own: str = "localhost:61613") -> None:
        self.door = Door({"staff": ["ada"]})
        self.site = FakeSite(
            rules or RULES, own_targets=(own,), wrap_target=echo, visitors=self.door.visits
        )
        # One clock for both: what waits is answered by the site's.
        self.clock = self.site.clock

    def ask(self, path: str = IRC, authorization: str | None = None, **more: Any) -> Answer:
        return self.site.browser().ask(upgrade_request(path, authorization=authorization, **more))

    def list(self, authorization: str | None = None, **headers: str) -> dict[str, list[str]]:
        if authorization is not None:
            headers["Authorization"] = authorization
        answer = self.site.browser().get("/tcp/", **headers)
        assert answer.status == 200
        listed: dict[str, list[str]] = json.loads(answer.body)
        return listed

    def waiting(self, path: str = IRC) -> FakeBrowser:
        """Send an upgrade of ada's, whose password is being checked."""
        self.door.passwords.is_slow = True
        browser = self.site.browser()
        request = upgrade_request(path, authorization=basic("ada", "ada"))
        assert by_hand(browser, request) == b""
        return browser

    def let_in(self, is_right: bool = True) -> None:
        """Answer the oldest check of a password."""
        self.door.passwords.waiting.pop(0).callback(is_right)
        self.clock.advance(0)


@pytest.fixture
def house() -> House:
    return House()


# ---------------------------------------------------------------- who is let in


@pytest.mark.parametrize(
    "authorization, status",
    [
        (basic("ada", "ada"), 101),
        (bearer("eve@staff"), 101),
        (basic("bob", "bob"), 101),
        (bearer("eve"), 403),
        (basic("ada", "wrong"), 401),
        (bearer("wrong"), 401),
        ("Digest x", 401),
        (None, 401),
    ],
)
def test_the_gateway_lets_in_whom_a_rule_names(
    house: House, authorization: str | None, status: int
) -> None:
    assert house.ask(authorization=authorization).status == status


def test_what_anybody_may_open_asks_nothing(house: House, logs: Logs) -> None:
    assert house.ask("/tcp/open.example:7").status == 101
    assert house.ask("/tcp/open.example:7", bearer("wrong")).status == 101
    assert "log-in" not in logs.text()


def test_a_rule_for_anybody_beside_one_for_a_user_lets_anybody_in(house: House) -> None:
    assert house.ask("/tcp/mixed.example:7").status == 101


def test_who_it_is_does_not_make_up_for_the_wrong_page(house: House, logs: Logs) -> None:
    answer = house.ask("/tcp/partner.example:7", basic("ada", "ada"))
    assert answer.status == 403
    assert "no rule lets this source reach it" in logs.text("warn")
    origin = "http://partner.example"
    assert house.ask("/tcp/partner.example:7", basic("ada", "ada"), origin=origin).status == 101


def test_the_decision_for_one_user_is_not_that_for_the_next(house: House) -> None:
    for _ in range(2):
        assert house.ask(authorization=basic("ada", "ada")).status == 101
        assert house.ask(authorization=bearer("eve")).status == 403
        assert house.ask().status == 401


def test_the_log_says_why_and_names_the_path(house: House, logs: Logs) -> None:
    house.ask(authorization=bearer("eve"))
    assert f"refused {IRC}: its rules let in @staff, bob, not the user eve" in logs.text("warn")
    house.ask(authorization=bearer("wrong"))
    assert "log-in refused: a wrong signature" in logs.text("warn")
    assert logs.text("warn").endswith(f"refused {IRC}: its rules let in @staff, bob")


def test_401_says_how_to_log_in_and_does_not_make_a_browser_ask_for_a_password(
    house: House,
) -> None:
    answer = house.ask()
    assert answer.headers["www-authenticate"] == 'Bearer realm="rtchat"'
    assert answer.headers["connection"] == "close"
    assert "log in" in answer.text


def test_a_target_that_no_rule_names_is_refused_without_a_question(house: House) -> None:
    assert house.ask("/tcp/other.example:7", bearer("wrong")).status == 403


def test_without_a_log_in_such_a_rule_lets_no_one_in(logs: Logs) -> None:
    site = FakeSite(("self * -> irc.example:6667", "self * -> localhost:61613"), wrap_target=echo)
    for path in (IRC, "/ws"):
        assert site.browser().ask(upgrade_request(path)).status == 403
    assert "nothing knows any" in logs.text("warn")


def test_a_websocket_of_ones_own_has_sources_without_users() -> None:
    with pytest.raises(ValueError, match=r"self @staff is not a source: nothing asks who it is"):
        WebSocketResource(FakeSite().websockets, sources=("self @staff",))


# ---------------------------------------------------------------- waiting


def test_what_is_sent_meanwhile_comes_after_the_handshake(house: House) -> None:
    browser = house.waiting()
    browser.send(BINARY, b"one")
    browser.send_raw(ws_frame(BINARY, b"two")[:3])
    house.let_in()
    answer, rest = read_answer(browser.socket.taken())
    assert answer.status == 101
    browser._take(rest)
    assert browser.expect(BINARY).payload == b"one"
    browser.send_raw(ws_frame(BINARY, b"two")[3:])
    assert browser.expect(BINARY).payload == b"two"


def test_what_comes_with_the_request_comes_after_the_handshake(house: House) -> None:
    browser = house.site.browser()
    request = upgrade_request(IRC, authorization=basic("ada", "ada"))
    answer, rest = read_answer(by_hand(browser, request + ws_frame(BINARY, b"early")))
    assert answer.status == 101
    browser._take(rest)
    assert browser.expect(BINARY).payload == b"early"


def test_others_do_not_wait_meanwhile(house: House) -> None:
    browser = house.waiting()
    assert house.ask(authorization=bearer("eve@staff")).status == 101
    assert house.ask("/tcp/open.example:7").status == 101
    house.let_in()
    assert read_answer(browser.socket.taken())[0].status == 101


def test_a_client_that_goes_meanwhile_is_asked_about_no_more(house: House, logs: Logs) -> None:
    browser = house.waiting()
    browser.socket.end()
    assert house.door.passwords.cancelled == 1
    assert house.door.login._sessions == {}
    house.clock.advance(ASK_TIMEOUT_S)
    assert browser.socket.taken() == b""
    assert logs.failures() == []


def test_a_client_that_goes_between_the_answer_and_the_next_turn_leaves_nothing(
    house: House, logs: Logs
) -> None:
    browser = house.waiting()
    house.door.passwords.waiting.pop().callback(True)
    browser.socket.end()
    house.clock.advance(ASK_TIMEOUT_S)
    assert house.door.login._sessions == {}
    assert house.site.proxied == {} or not any(one.protocols for one in house.site.proxied.values())
    assert logs.failures() == []


def test_a_client_that_has_closed_its_direction_meanwhile_is_closed(house: House) -> None:
    browser = house.waiting()
    browser.socket.protocol.readConnectionLost()
    house.let_in()
    assert browser.socket.taken() == b""
    browser.socket.turn()
    assert browser.socket.is_closed or browser.socket.disconnecting
    assert house.door.login._sessions == {}


def test_it_does_not_wait_for_ever(house: House, logs: Logs) -> None:
    browser = house.waiting()
    house.clock.advance(ASK_TIMEOUT_S - 0.1)
    assert browser.socket.taken() == b""
    house.clock.advance(0.1)
    house.clock.advance(0)
    answer, _ = read_answer(browser.socket.taken())
    assert answer.status == 503
    assert answer.headers["retry-after"] == "30"
    assert house.door.passwords.cancelled == 1
    assert f"refused {IRC}: it was not known within 30 s who sends it" in logs.text("warn")


def test_a_bug_of_the_log_in_is_answered_and_logged(house: House, logs: Logs) -> None:
    browser = house.waiting()
    house.door.passwords.waiting.pop().errback(ZeroDivisionError())
    house.clock.advance(0)
    assert read_answer(browser.socket.taken())[0].status == 401
    assert "a log-in failed" in logs.text("critical")


def test_a_server_that_stops_meanwhile_opens_nothing_more(house: House) -> None:
    house.ask(authorization=bearer("eve@staff"))
    browser = house.waiting()
    house.site.proxied[Target.parse("irc.example:6667")].is_stopping = True
    house.let_in()
    assert read_answer(browser.socket.taken())[0].status == 503
    house.door.passwords.is_slow = False


def test_a_right_that_is_lost_meanwhile_is_lost(house: House) -> None:
    browser = house.waiting()
    house.door.passwords.waiting.pop().callback(True)
    del house.door.passwords.users["ada"]
    house.door.login.users_changed()
    house.clock.advance(0)
    assert read_answer(browser.socket.taken())[0].status == 403


# ---------------------------------------------------------------- afterwards


def test_an_open_connection_ends_with_the_right(house: House) -> None:
    browser = house.site.browser().open(IRC, authorization=basic("ada", "ada"))
    other = house.site.browser().open(IRC, authorization=basic("bob", "bob"))
    del house.door.passwords.users["ada"]
    house.door.login.users_changed()
    frame = browser.expect(CLOSE)
    assert (frame.code, frame.reason) == (3501, "access refused")
    assert other.received() == []
    browser.send(BINARY, b"still here")
    assert browser.received() == []  # nothing goes to the target any more
    house.clock.advance(2.0)
    assert browser.socket.was_cut  # it has not answered the close frame
    assert len(house.door.login._sessions) == 1


def test_a_connection_that_has_ended_is_watched_no_more(house: House) -> None:
    browser = house.site.browser().open(IRC, authorization=basic("ada", "ada"))
    assert len(house.door.login._sessions) == 1
    browser.socket.end()
    assert house.door.login._sessions == {}


def test_a_user_has_a_number_of_connections_and_the_log_names_the_user(logs: Logs) -> None:
    house = House()
    limiter = ConnectionLimiter(per_source=1, per_user=2)
    house.site.wrap_target = lambda target, clock: ProxyFactory(
        target, lambda target: FakeEndpoint(), clock, 10, limiter=limiter
    )
    for _ in range(2):
        browser = house.site.browser().open(IRC, authorization=basic("ada", "ada"))
        assert browser.received() == []
    frame = house.site.browser().open(IRC, authorization=basic("ada", "ada")).expect(CLOSE)
    assert (frame.code, frame.reason) == (1008, "too many connections")
    assert (
        "(no Origin, user ada) -> irc.example:6667: refused: [proxy] connections.per_user = 2"
        in (logs.text("warn"))
    )
    browser.socket.end()
    assert house.site.browser().open(IRC, authorization=basic("ada", "ada")).received() == []
    assert house.site.browser().open(IRC, authorization=basic("bob", "bob")).received() == []


# ---------------------------------------------------------------- /ws


def test_ws_asks_if_its_rules_do() -> None:
    house = House("self @staff -> localhost:61613")
    assert house.ask("/ws").status == 401
    assert house.ask("/ws", basic("bob", "bob")).status == 403
    browser = house.site.browser().open("/ws", authorization=basic("ada", "ada"))
    browser.send(BINARY, frame_bytes("CONNECT", accept_version="1.2"))
    assert browser.expect(BINARY).payload.startswith(b"CONNECTED")
    house.door.login.use_permissions(Permissions(None, {}))
    frame = browser.expect(CLOSE)
    assert (frame.code, frame.reason) == (3502, "not allowed: open /ws")


def test_ws_is_open_if_one_of_its_names_is() -> None:
    house = House("self @staff -> localhost:61613", "self -> 127.0.0.1:61613")
    house.site.targets.append(Target.parse("127.0.0.1:61613"))
    assert house.ask("/ws").status == 101


def test_ws_lets_in_whom_a_rule_for_one_of_its_names_names() -> None:
    house = House("self @staff -> localhost:61613", "self bob -> 127.0.0.1:61613")
    house.site.targets.append(Target.parse("127.0.0.1:61613"))
    assert house.ask("/ws", basic("bob", "bob")).status == 101
    assert house.ask("/ws", basic("ada", "ada")).status == 101
    assert house.ask("/ws", bearer("eve")).status == 403


# ---------------------------------------------------------------- the list


def test_the_list_has_what_the_visitor_may_open(house: House, logs: Logs) -> None:
    everybodys = ["open.example:7", "mixed.example:7"]
    assert house.list()["targets"] == everybodys
    assert "log-in" not in logs.text()  # a visitor without credentials is not asked about
    assert house.list(basic("ada", "ada"))["targets"] == [
        "irc.example:6667",
        "users.example:7",
        *everybodys,
    ]
    assert house.list(bearer("eve"))["targets"] == ["users.example:7", *everybodys]
    assert house.list(bearer("wrong"))["targets"] == everybodys
    assert house.door.login._sessions == {}


def test_the_list_marks_the_broker_for_those_who_may_open_it() -> None:
    house = House("self @staff -> localhost:61613")
    assert house.list() == {"targets": [], "broker": []}
    own = ["localhost:61613"]
    assert house.list(basic("ada", "ada")) == {"targets": own, "broker": own}


def test_the_list_waits_as_long_as_a_websocket_does(house: House) -> None:
    house.door.passwords.is_slow = True
    browser = house.site.browser()
    headers = {"Host": "localhost:9000", "Authorization": basic("ada", "ada")}
    assert by_hand(browser, http_request("GET", "/tcp/", headers)) == b""
    house.let_in()
    answer, _ = read_answer(browser.socket.taken())
    assert "irc.example:6667" in json.loads(answer.body)["targets"]
