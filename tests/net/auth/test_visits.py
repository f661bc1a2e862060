"""Visits: who is let in, and when a connection ends because its user may not have it any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, cast

import pytest
from support.logs import Logs, captured_logs
from support.visitors import Door, basic, bearer
from twisted.internet.defer import Deferred, fail, succeed

from rtchat.core.auth.grants import Grant
from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import ANONYMOUS, Permissions, RightsLine, Verb
from rtchat.core.broker.authenticator import Visitor
from rtchat.core.broker.principal import Principal
from rtchat.errors import AccessRefused
from rtchat.net.auth.visits import END_S
from rtchat.net.websocket.transport import WebSocket
from rtchat.net.websocket.visitors import Visit

STAFF = frozenset({"@staff"})
ANY_USER = frozenset({"*"})


class FakeWebSocket:
    """A WebSocket that takes note of its end."""

    def __init__(self) -> None:
        self.peer = "192.0.2.1:1 -> irc:6667"
        self.is_end_logged = False
        self.on_lost: Callable[[], object] | None = None
        self.closed: list[tuple[int, str]] = []
        self.limits: list[float] = []

    def close_with(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def end_within(self, limit_s: float) -> None:
        self.limits.append(limit_s)

    def lose(self) -> None:
        assert self.on_lost is not None
        self.on_lost()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


@pytest.fixture
def door() -> Door:
    return Door({"staff": ["ada"]})


def ask(door: Door, authorization: str = "") -> Deferred[Visit]:
    credentials = {"authorization": authorization} if authorization else {}
    return door.visits.visit(credentials, "192.0.2.1", "/tcp/irc:6667")


def let_in(door: Door, authorization: str) -> Visit:
    found: list[Any] = []
    ask(door, authorization).addBoth(found.append)
    visit = cast(Visit, found[0])
    assert visit.user, found
    return visit


def open_with(door: Door, authorization: str, whos: Collection[str] = STAFF) -> FakeWebSocket:
    visit = let_in(door, authorization)
    assert visit.may(whos)
    websocket = FakeWebSocket()
    visit.begin(whos, cast(WebSocket, websocket))
    return websocket


def refusal_of(asked: Deferred[Visit]) -> BaseException:
    failures: list[Any] = []
    asked.addErrback(failures.append)
    problem: BaseException = failures[0].value
    return problem


@pytest.mark.parametrize(
    "authorization, whos, may",
    [
        (basic("ada", "ada"), {"@staff"}, True),
        (basic("bob", "bob"), {"@staff"}, False),
        (basic("bob", "bob"), {"bob"}, True),
        (basic("bob", "bob"), {"ada", "@staff"}, False),
        (basic("bob", "bob"), {"ada", "*"}, True),
        (bearer("eve@staff"), {"@staff"}, True),
        (bearer("eve"), {"@staff"}, False),
    ],
)
def test_rules_are_about_users_groups_and_everyone(
    door: Door, authorization: str, whos: set[str], may: bool
) -> None:
    assert let_in(door, authorization).may(whos) is may


@pytest.mark.parametrize(
    "authorization, reason",
    [
        (basic("ada", "bob"), "an unknown name or a wrong password"),
        (basic("mallory", "mallory"), "an unknown name or a wrong password"),
        (bearer("wrong"), "a wrong signature"),
        ("", "no user, and no line of [rights] for anonymous"),
    ],
)
def test_wrong_and_missing_credentials_are_refused_and_the_log_says_why(
    door: Door, logs: Logs, authorization: str, reason: str
) -> None:
    assert isinstance(refusal_of(ask(door, authorization)), AccessRefused)
    assert f"log-in refused: {reason}" in logs.text("warn")
    assert door.login._sessions == {}


def test_an_anonymous_visitor_is_no_user_even_where_the_anonymous_are_let_in(door: Door) -> None:
    grant = Grant(frozenset({Verb.READ}), "/topic/news")
    door.login.use_permissions(Permissions([RightsLine(ANONYMOUS, (grant,))]))
    found: list[Visit] = []
    ask(door).addCallback(found.append)
    assert found[0].user == ""
    assert not found[0].may(ANY_USER)


def test_a_user_who_is_removed_loses_the_connection(door: Door, logs: Logs) -> None:
    ada, bob = (open_with(door, basic(name, name), ANY_USER) for name in ("ada", "bob"))
    del door.passwords.users["ada"]
    door.login.users_changed()
    assert ada.closed == [(3501, "access refused")]
    assert ada.limits == [END_S]
    assert bob.closed == []
    assert "192.0.2.1:1 -> irc:6667: ended for the user ada: the user was removed" in logs.text()


def test_another_password_ends_what_the_old_one_has_opened(door: Door) -> None:
    websocket = open_with(door, basic("ada", "ada"))
    door.passwords.users["ada"] = "2"
    door.login.users_changed()
    assert websocket.closed == [(3501, "access refused")]


def test_a_user_who_leaves_the_group_loses_the_connection(door: Door, logs: Logs) -> None:
    websocket = open_with(door, basic("ada", "ada"))
    door.login.use_permissions(Permissions(None, {"staff": ["ada", "bob"]}))
    assert websocket.closed == []
    door.login.use_permissions(Permissions(None, {"staff": ["bob"]}))
    assert websocket.closed == [(3502, "not allowed: open /tcp/irc:6667")]
    assert "ended for the user ada: not allowed" in logs.text("warn")


def test_a_group_of_the_token_stays_whatever_the_lines_say(door: Door) -> None:
    websocket = open_with(door, bearer("eve@staff"))
    door.login.use_permissions(Permissions(None, {}))
    assert websocket.closed == []


def test_a_token_ends_its_connection_with_its_time(door: Door) -> None:
    websocket = open_with(door, bearer("eve@staff:60"))
    door.clock.advance(59.9)
    assert websocket.closed == []
    door.clock.advance(0.1)
    assert websocket.closed == [(3000, "token expired")]
    assert door.clock.getDelayedCalls() == []


def test_a_connection_that_is_gone_is_forgotten(door: Door) -> None:
    websocket = open_with(door, bearer("eve@staff:60"))
    websocket.lose()
    assert door.login._sessions == {}
    assert door.clock.getDelayedCalls() == []
    door.login.use_permissions(Permissions(None, {}))
    assert websocket.closed == []


def test_a_visit_that_was_left_may_nothing(door: Door) -> None:
    visit = let_in(door, basic("ada", "ada"))
    visit.leave()
    visit.leave()
    assert not visit.may(STAFF)
    assert door.login._sessions == {}


def test_a_right_that_is_gone_before_the_connection_opens_is_gone(door: Door) -> None:
    visit = let_in(door, basic("ada", "ada"))
    del door.passwords.users["ada"]
    door.login.users_changed()
    assert not visit.may(STAFF)


def test_to_cancel_is_to_leave(door: Door) -> None:
    door.passwords.is_slow = True
    asked = ask(door, basic("ada", "ada"))
    refused: list[Any] = []
    asked.addErrback(refused.append)
    asked.cancel()
    assert door.passwords.cancelled == 1
    assert door.login._sessions == {}
    assert len(refused) == 1


def test_an_end_that_is_in_the_log_already_is_not_said_again(door: Door, logs: Logs) -> None:
    websocket = open_with(door, bearer("eve@staff:60"))
    websocket.is_end_logged = True
    door.clock.advance(60)
    assert websocket.closed == [(3000, "token expired")]
    assert "ended for" not in logs.text()


def test_a_log_out_on_the_page_ends_what_its_cookie_has_opened(door: Door, logs: Logs) -> None:
    websockets = []
    for cookie in (door.pages.open("ada"), door.pages.open("ada")):
        found: list[Visit] = []
        credentials = {"cookie": f"rtchat_session={cookie}"}
        door.visits.visit(credentials, "192.0.2.1", "/tcp/irc:6667").addCallback(found.append)
        websockets.append(FakeWebSocket())
        found[0].begin(STAFF, cast(WebSocket, websockets[-1]))
    door.pages.close(cookie)
    door.login.end_page_session(cookie)
    assert [websocket.closed for websocket in websockets] == [[], [(3501, "access refused")]]
    assert "ended for the user ada: logged out on the page" in logs.text("warn")


class Hooked:
    """A hook that lets in the site's users, by their cookie."""

    decides = True

    def __init__(self) -> None:
        self.asked: list[Visitor] = []
        self.told: list[str] = []

    def ask_connect(
        self, principal: Principal, visitor: Visitor, identity: Identity
    ) -> Deferred[Identity]:
        self.asked.append(visitor)
        user = visitor.request.get("cookie", "").removeprefix("site=")
        if not user:
            return fail(AccessRefused("the hook refuses the visitor"))
        return succeed(Identity(user, frozenset({"staff"})))

    def left(self, principal: Principal) -> None:
        self.told.append(principal.id)


def test_a_hook_is_asked_about_a_visit_and_told_of_its_end_once(door: Door) -> None:
    door.login.hooked = hooked = cast(Any, Hooked())
    found: list[Visit] = []
    credentials = {"cookie": "site=carl"}
    door.visits.visit(credentials, "192.0.2.1", "/tcp/irc:6667").addCallback(found.append)
    assert (hooked.asked[0].headers, hooked.asked[0].path) == ({}, "/tcp/irc:6667")
    assert found[0].user == "carl"
    assert found[0].may(STAFF)
    websocket = FakeWebSocket()
    found[0].begin(STAFF, cast(WebSocket, websocket))
    assert hooked.told == []
    websocket.lose()
    assert len(hooked.told) == 1
    assert isinstance(refusal_of(ask(door)), AccessRefused)
