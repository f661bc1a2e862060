"""Log-in: which credentials decide, what a wrong one gets, and what happens when things change."""

from __future__ import annotations

import pytest
from support.core import Client, Server
from support.logs import Logs, captured_logs
from support.stomp import frame_bytes
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rtchat.core.auth.grants import Grant
from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import Permissions, RightsLine
from rtchat.core.auth.verbs import Verb
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.rights import Rights
from rtchat.core.flow.token_bucket import TokenBuckets
from rtchat.core.session.connection import CloseReason
from rtchat.errors import AccessRefused
from rtchat.net.auth.login import Login
from rtchat.net.auth.page_sessions import CookieSessions
from rtchat.net.auth.renewal import open_renewal
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.stomp.connect_rate import PacedConnects

START_S = 1_000_000.0


class KnownPasswords:
    """Passwords that a test answers about."""

    def __init__(self) -> None:
        self.users = {"ada": "secret"}
        self.asked: list[tuple[str, str, Deferred[bool]]] = []
        self.answers_at_once = True
        self.cancelled = 0

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        answer: Deferred[bool] = Deferred(self._cancel)
        self.asked.append((name, source, answer))
        if self.answers_at_once:
            answer.callback(self.users.get(name) == password)
        return answer

    def stamp_of(self, name: str) -> str | None:
        return self.users.get(name)

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


class KnownTokens:
    """Tokens whose text is USER:SECONDS."""

    def __init__(self) -> None:
        self.later: Deferred[Identity] | None = None

    def verify(self, text: str, now_s: float) -> Identity | Deferred[Identity]:
        if self.later is not None:
            return self.later
        user, colon, seconds = text.partition(":")
        if not colon:
            raise AccessRefused("malformed")
        return Identity(user, expires_s=now_s + float(seconds))


class KnownCookies:
    """Cookies whose text is the user."""

    def user_of(self, cookie: str) -> Identity:
        if cookie == "old":
            raise AccessRefused("expired")
        return Identity(cookie)


class World:
    """A broker with log-in, on a clock."""

    def __init__(self, *lines: tuple[str, str, str]) -> None:
        self.clock = Clock()
        self.clock.advance(START_S)
        self.broker = Broker("epoch")
        self.server = Server(self.broker)
        self.passwords, self.tokens = KnownPasswords(), KnownTokens()
        self.login = Login(
            self.broker,
            self.clock,
            self.clock.seconds,
            ClientLog(self.clock),
            permissions(*lines),
            passwords=self.passwords,
            tokens=self.tokens,
            pages=KnownCookies(),
            token_cookie="site",
        )
        self.broker.authenticator = self.login
        open_renewal(self.broker, self.login)

    def client(self, request: dict[str, str] | None = None, /, **headers: str) -> Client:
        """Connect a client and send CONNECT."""
        client = Client(self.server, None)
        client.line.source = "192.0.2.7"
        client.line.request_headers = request or {}
        client.say("CONNECT", accept_version="1.2", **headers)
        return client

    def logged_in(self, request: dict[str, str] | None = None, /, **headers: str) -> Client:
        """Connect a client that is let in."""
        client = self.client(request, **headers)
        assert [frame.command for frame in client.received()] == ["CONNECTED"]
        return client

    def settle(self) -> None:
        """Do what was put off."""
        self.server.end_turn()


def permissions(*lines: tuple[str, str, str]) -> Permissions:
    """Return permissions of lines: who, verbs, destination."""
    if not lines:
        return Permissions()
    return Permissions(
        [
            RightsLine(who, (Grant(frozenset(map(Verb, verbs.split())), name),))
            for who, verbs, name in lines
        ]
    )


@pytest.fixture
def world() -> World:
    return World()


def refusal(client: Client) -> str:
    """Return the message of the ERROR that has ended a session."""
    [error] = [frame for frame in client.received() if frame.command == "ERROR"]
    assert client.session.is_closed
    return error.headers["message"]


# ---------------------------------------------------------------- who it is


def test_a_password_a_token_and_cookies_let_one_in(world: World) -> None:
    for request, headers in (
        ({}, {"login": "ada", "passcode": "secret"}),
        ({}, {"passcode": "ada:60"}),
        ({"authorization": "Bearer ada:60"}, {}),
        ({"cookie": "site=ada:60"}, {}),
        ({"cookie": "rtchat_session=ada"}, {}),
    ):
        client = world.logged_in(request, **headers)
        assert client.session.user == "ada"
        assert client.session.rights is not None


def test_connected_names_the_user(world: World) -> None:
    client = world.client(login="ada", passcode="secret")
    [answer] = client.received()
    assert answer.headers["x-user"] == "ada"


@pytest.mark.parametrize(
    "request_headers, headers, reason",
    [
        ({}, {}, "no user, and no line of [rights] for anonymous"),
        ({}, {"login": "ada", "passcode": "wrong"}, "an unknown name or a wrong password"),
        ({}, {"login": "eve", "passcode": "secret"}, "an unknown name or a wrong password"),
        ({}, {"passcode": "nonsense"}, "malformed"),
        ({"cookie": "rtchat_session=old"}, {}, "expired"),
        ({"authorization": "Digest x"}, {}, "a scheme other than Bearer and Basic"),
    ],
)
def test_all_refusals_are_the_same_to_the_client_and_the_reason_is_logged(
    world: World, request_headers: dict[str, str], headers: dict[str, str], reason: str
) -> None:
    with captured_logs() as log:
        client = world.client(request_headers, **headers)
    assert refusal(client) == "access refused"
    assert client.close_reason is CloseReason.ACCESS
    [line] = lines_of(log, "log-in refused")
    assert reason in line
    assert "192.0.2.7" in line
    for secret in ("wrong", "secret", "nonsense"):
        if secret not in reason:
            assert secret not in line


def test_what_is_not_configured_accepts_nothing(world: World) -> None:
    world.broker.authenticator = Login(
        world.broker, world.clock, world.clock.seconds, ClientLog(world.clock), Permissions()
    )
    for request, headers in (
        ({}, {"login": "ada", "passcode": "secret"}),
        ({}, {"passcode": "ada:60"}),
        ({"cookie": "rtchat_session=ada"}, {}),
    ):
        assert refusal(world.client(request, **headers)) == "access refused"


def test_anonymous_comes_in_where_a_line_names_it() -> None:
    world = World(("anonymous", "read", "/topic/news"))
    client = world.logged_in()
    client.subscribe("/topic/news")
    client.say("SUBSCRIBE", id="1", destination="/topic/other")
    assert refusal(client) == "not allowed: read /topic/other"


def test_a_slow_check_is_waited_for_and_cancelled_when_the_client_goes(world: World) -> None:
    world.passwords.answers_at_once = False
    client = world.client(login="ada", passcode="secret")
    other = world.client(login="ada", passcode="secret")
    assert client.received() == other.received() == []
    world.passwords.asked[0][2].callback(True)
    world.settle()
    assert [frame.command for frame in client.received()] == ["CONNECTED"]
    other.drop()
    assert world.passwords.cancelled == 1


def test_a_failure_of_the_check_is_a_refusal_and_is_logged(world: World) -> None:
    world.passwords.answers_at_once = False
    client = world.client(login="ada", passcode="secret")
    with captured_logs() as log:
        world.passwords.asked[0][2].errback(RuntimeError("disk"))
    world.settle()
    assert refusal(client) == "access refused"
    assert lines_of(log, "bug; a log-in failed")


def test_a_failure_while_it_is_answered_is_a_refusal_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(identity: Identity) -> None:
        raise RuntimeError("bug")

    client = world.logged_in(passcode="ada:60")
    monkeypatch.setattr(world.login, "rights_of", fail)
    world.passwords.answers_at_once = False
    other = world.client(login="ada", passcode="secret")
    with captured_logs() as log:
        world.passwords.asked[0][2].callback(True)
        world.settle()
        renewed(client, "ada:60")
    assert refusal(other) == refusal(client) == "access refused"
    assert len(lines_of(log, "bug; a log-in failed")) == 2


def test_those_who_may_do_the_same_share_their_rights() -> None:
    world = World(("*", "read write", "/topic/#"), ("eve", "read", "/queue/x"))
    ada, bob, eve = (world.logged_in(passcode=f"{name}:60") for name in ("ada", "bob", "eve"))
    assert ada.session.rights is bob.session.rights
    assert eve.session.rights is not ada.session.rights


# ---------------------------------------------------------------- tokens end


def test_a_token_ends_its_session_at_the_second(world: World) -> None:
    client = world.logged_in(passcode="ada:60")
    world.clock.advance(59.9)
    assert client.received() == []
    world.clock.advance(0.1)
    assert refusal(client) == "token expired"
    assert client.close_reason is CloseReason.EXPIRED


def test_a_log_in_of_the_page_ends_its_sessions_with_its_time(world: World) -> None:
    pages = CookieSessions(bytes(32), 60, world.clock.seconds, world.passwords.stamp_of)
    world.login._pages = pages
    client = world.logged_in({"cookie": f"rtchat_session={pages.open('ada')}"})
    world.clock.advance(60)
    assert refusal(client) == "token expired"


def test_a_time_of_day_that_was_set_back_does_not_end_it_early(world: World) -> None:
    client = world.logged_in(passcode="ada:60")
    world.login._wall_s = lambda: world.clock.seconds() - 30
    world.clock.advance(60)
    assert not client.session.is_closed
    world.clock.advance(30)
    assert refusal(client) == "token expired"


def test_nothing_runs_for_a_session_that_has_ended(world: World) -> None:
    client = world.logged_in(passcode="ada:60")
    client.drop()
    assert world.clock.getDelayedCalls() == []


def renewed(client: Client, token: str, **headers: str) -> None:
    client.say("SEND", token, destination="/session/token", receipt="r", **headers)


def test_a_new_token_goes_on_without_a_gap(world: World) -> None:
    client = world.logged_in(passcode="ada:60")
    reader = world.logged_in(passcode="bob:600")
    reader.subscribe("#")
    world.clock.advance(50)
    renewed(client, "ada:60")
    assert client.receipts() == ["r"]
    world.clock.advance(59)
    client.subscribe("/topic/a")
    world.clock.advance(1)
    assert refusal(client) == "token expired"
    assert reader.messages() == []  # no token goes to anyone


def test_a_new_token_that_has_to_be_looked_at_is_confirmed_when_it_holds(world: World) -> None:
    client = world.logged_in(passcode="ada:60")
    later: Deferred[Identity] = Deferred()
    world.tokens.later = later
    renewed(client, "x")
    assert client.received() == []
    later.callback(Identity("ada", expires_s=START_S + 120))
    world.settle()
    assert client.receipts() == ["r"]


@pytest.mark.parametrize("token", ["eve:60", "nonsense"])
def test_a_new_token_that_is_wrong_ends_the_session(world: World, token: str) -> None:
    client = world.logged_in(passcode="ada:60")
    with captured_logs() as log:
        renewed(client, token)
    assert refusal(client) == "access refused"
    assert not lines_of(log, token)


def test_a_session_of_a_password_has_no_token_to_renew(world: World) -> None:
    client = world.logged_in(login="ada", passcode="secret")
    renewed(client, "ada:60")
    assert refusal(client) == "access refused"


@pytest.mark.parametrize("more", ["/session/token,/topic/a", "/topic/a,/session/token"])
def test_a_token_goes_to_no_other_destination(world: World, more: str) -> None:
    reader = world.logged_in(passcode="bob:600")
    reader.subscribe("/topic/a")
    client = world.logged_in(passcode="ada:60")
    client.say("SEND", "ada:60", destination=more)
    assert "token with other destinations" in refusal(client)
    assert reader.messages() == []


def test_a_token_is_no_part_of_a_transaction(world: World) -> None:
    client = world.logged_in(passcode="ada:60")
    client.say("BEGIN", transaction="t")
    renewed(client, "ada:60", transaction="t")
    assert "in a transaction" in refusal(client)


def test_nothing_else_is_under_session(world: World) -> None:
    for command in ("SEND", "SUBSCRIBE"):
        client = world.logged_in(passcode="ada:60")
        client.say(command, id="1", destination="/session/other")
        assert client.session.is_closed


# ---------------------------------------------------------------- changes


def test_rights_that_are_gone_act_on_open_sessions() -> None:
    world = World(("*", "read write", "/topic/#"), ("anonymous", "read", "/topic/news"))
    ada, guest = world.logged_in(passcode="ada:600"), world.logged_in()
    ada.subscribe("/topic/a")
    guest.subscribe("/topic/news")
    world.login.use_permissions(permissions(("*", "read write", "/topic/#")))
    world.settle()
    assert refusal(guest) == "access refused"
    assert ada.received() == []
    world.login.use_permissions(permissions(("*", "read", "/topic/b")))
    world.settle()
    assert refusal(ada) == "not allowed: read /topic/a"


def test_rights_that_are_new_hold_at_once(world: World) -> None:
    world = World(("*", "read", "/topic/a"))
    ada = world.logged_in(passcode="ada:600")
    world.login.use_permissions(permissions(("*", "read write", "/topic/#")))
    world.settle()
    ada.subscribe("/topic/b")
    ada.publish("/topic/b", "x")
    assert ada.bodies() == ["x"]


def test_a_session_whose_new_token_is_being_looked_at_has_the_rights_of_now() -> None:
    world = World(("*", "read write", "/topic/#"))
    ada = world.logged_in(passcode="ada:600")
    ada.subscribe("/topic/a")
    world.tokens.later = Deferred()
    renewed(ada, "ada:900")
    assert ada.received() == []
    world.login.use_permissions(permissions(("*", "read", "/topic/b")))
    world.settle()
    assert refusal(ada) == "not allowed: read /topic/a"


def test_a_bug_about_one_session_leaves_no_other_with_its_old_rights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(("*", "read write", "/topic/#"))
    ada, bob = (world.logged_in(passcode=f"{name}:600") for name in ("ada", "bob"))
    for client in (ada, bob):
        client.subscribe("/topic/a")
    rights_of = world.login.rights_of

    def odd(identity: Identity) -> Rights:
        if identity.user == "ada":
            raise LookupError("odd")
        return rights_of(identity)

    monkeypatch.setattr(world.login, "rights_of", odd)
    with captured_logs() as logs:
        world.login.use_permissions(permissions(("*", "read", "/topic/b")))
        world.settle()
    assert "bug; session" in logs.text()
    assert refusal(ada) == "access refused"
    assert refusal(bob) == "not allowed: read /topic/a"


def test_many_sessions_get_new_rights_in_turns() -> None:
    world = World(("*", "read", "/topic/a"))
    clients = [world.logged_in(passcode=f"user{number}:600") for number in range(300)]
    for client in clients:
        client.subscribe("/topic/a")
    world.login.use_permissions(permissions(("*", "read", "/topic/b")))
    ended = sum(client.session.is_closed for client in clients)
    assert 0 < ended < len(clients)
    world.settle()
    assert all(client.session.is_closed for client in clients)


def test_a_user_who_is_removed_is_out(world: World) -> None:
    world.passwords.users["bob"] = "b"
    by_password = world.logged_in(login="ada", passcode="secret")
    by_cookie = world.logged_in({"cookie": "rtchat_session=ada"})
    by_token = world.logged_in(passcode="ada:600")
    other = world.logged_in(login="bob", passcode="b")
    del world.passwords.users["ada"]
    with captured_logs() as log:
        world.login.users_changed()
        world.settle()
    assert refusal(by_password) == refusal(by_cookie) == "access refused"
    assert by_token.received() == other.received() == []  # the site answers for its tokens
    assert len(lines_of(log, "the user was removed")) == 2


def test_another_password_ends_the_sessions_of_the_old_one(world: World) -> None:
    client = world.logged_in(login="ada", passcode="secret")
    world.passwords.users["ada"] = "other"
    world.login.users_changed()
    world.settle()
    assert refusal(client) == "access refused"
    world.logged_in(login="ada", passcode="other")


def test_a_log_out_ends_the_sessions_of_that_browser(world: World) -> None:
    here = world.logged_in({"cookie": "rtchat_session=ada"})
    elsewhere = world.logged_in(login="ada", passcode="secret")
    world.login.end_page_session("ada")
    world.settle()
    assert refusal(here) == "access refused"
    assert elsewhere.received() == []


def test_many_sessions_of_a_log_in_or_a_user_end_in_turns(world: World) -> None:
    cookie = {"cookie": "rtchat_session=ada"}
    for end in (lambda: world.login.end_page_session("ada"), world.login.users_changed):
        world.passwords.users["ada"] = "secret"
        clients = [world.logged_in(cookie) for _ in range(300)]
        world.passwords.users["ada"] = "other"
        end()
        assert 0 < sum(client.session.is_closed for client in clients) < len(clients)
        world.settle()
        assert all(client.session.is_closed for client in clients)


def test_a_session_that_is_still_asked_about_gets_the_rights_of_now() -> None:
    world = World(("*", "read write", "/topic/a"))
    world.passwords.answers_at_once = False
    client = world.client(login="ada", passcode="secret")
    world.login.use_permissions(permissions(("*", "read", "/topic/b")))
    world.passwords.asked[0][2].callback(True)
    world.settle()
    client.received()
    client.send(frame_bytes("SUBSCRIBE", id="1", destination="/topic/a"))
    assert refusal(client) == "not allowed: read /topic/a"


def test_rights_that_change_between_the_answer_and_connected_hold() -> None:
    world = World(("*", "read write", "/topic/a"), ("anonymous", "read", "/topic/news"))
    rates = {"users": TokenBuckets(1, 1), "guests": TokenBuckets(1, 1)}
    world.broker.authenticator = PacedConnects(
        world.broker, world.clock, world.login, **rates, login_timeout_s=10
    )
    world.logged_in(passcode="ada:600")
    late = world.client(passcode="ada:600")  # it is known who it is, and it waits for its turn
    assert late.received() == []
    world.login.use_permissions(permissions(("*", "read", "/topic/b")))
    world.settle()
    world.clock.advance(1)
    world.settle()
    assert [frame.command for frame in late.received()] == ["CONNECTED"]
    late.publish("/topic/a", "x")
    assert refusal(late) == "not allowed: write /topic/a"


def lines_of(log: Logs, text: str) -> list[str]:
    """Return the lines of a log that contain a text."""
    return [line for line in log.lines() if text in line]
