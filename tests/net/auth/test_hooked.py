"""Sessions with a hook: what it is asked and told, in which order, and what its answers do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from support.core import Client, Server
from support.house import Known, password_of
from support.logs import captured_logs
from support.stomp import frame_bytes
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import Permissions
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.subscription import Subscription
from rtchat.core.flow.token_bucket import TokenBuckets
from rtchat.core.session.connection import CloseReason
from rtchat.errors import ProtocolError
from rtchat.net.auth.hooked import HookedSessions
from rtchat.net.auth.hooks.answers import Answer
from rtchat.net.auth.hooks.hooks import Hooks
from rtchat.net.auth.hooks.visitor import EVENTS, Facts
from rtchat.net.auth.login import Login
from rtchat.net.auth.renewal import open_renewal
from rtchat.net.connection.client_log import ClientLog


class Told:
    """In the place of Hooks: a test answers."""

    def __init__(self, *events: str) -> None:
        self.events = frozenset(events or EVENTS)
        self.calls: list[tuple[str, str, Facts]] = []
        self.answers: dict[str, Answer] = {}
        self.waiting: list[Deferred[Answer]] = []
        self.waits_for = ""
        self.on_answers: list[Callable[[Answer], None]] = []
        self.cancelled = 0

    def ask(self, event: str, facts: Facts, session_id: str) -> Deferred[Answer]:
        self._note(event, facts, session_id)
        answer: Deferred[Answer] = Deferred(self._cancel)
        if event == self.waits_for:
            self.waiting.append(answer)
        else:
            answer.callback(self.answers.get(event, Answer()))
        return answer

    def tell(
        self,
        event: str,
        facts: Facts,
        session_id: str,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        self._note(event, facts, session_id)
        if on_answer is not None:
            self.on_answers.append(on_answer)

    def _note(self, event: str, facts: Facts, session_id: str) -> None:
        if event in self.events:
            self.calls.append((event, session_id, facts))

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    def take(self) -> list[str]:
        """Return what was asked and told since, as short words."""
        calls, self.calls = self.calls, []
        return [
            f"{event} {facts.headers['destination']}" if "destination" in facts.headers else event
            for event, _, facts in calls
        ]


class World:
    """A broker with a hook."""

    def __init__(self, *events: str, limits: BrokerLimits | None = None) -> None:
        clock = self.clock = Clock()
        self.broker = Broker("epoch", limits)
        self.server = Server(self.broker)
        self.told = Told(*events)
        self.told.answers["connect"] = Answer(identity=Identity("ada"))
        self.login = Login(self.broker, clock, clock.seconds, ClientLog(clock), Permissions())
        self.login.hooked = HookedSessions(
            self.broker, cast(Hooks, self.told), self.login.permissions.groups_of
        )
        self.broker.authenticator = self.login

    def client(self, request: dict[str, str] | None = None, /, **headers: str) -> Client:
        client = Client(self.server, None)
        client.line.source = "192.0.2.7"
        client.line.request_headers = request or {}
        client.say("CONNECT", accept_version="1.2", **headers)
        return client

    def logged_in(self, **headers: str) -> Client:
        client = self.client(**headers)
        assert [frame.command for frame in client.received()] == ["CONNECTED"]
        self.told.take()
        return client

    def answer(self, answer: Answer) -> None:
        """Answer what has waited longest."""
        self.told.waiting.pop(0).callback(answer)
        self.server.end_turn()


@pytest.fixture
def world() -> World:
    return World()


def refusal(client: Client) -> str:
    [error] = [frame for frame in client.received() if frame.command == "ERROR"]
    return error.headers["message"]


NO = Answer(is_allowed=False, reason="not today")


# ---------------------------------------------------------------- connecting


def test_the_hook_gets_all_credentials_and_says_who_it_is(world: World) -> None:
    request = {"cookie": "sid=1; lang=en", "authorization": "Basic YTpi"}
    client = world.client(request, login="x", passcode="y", note="z")
    [(event, session_id, facts)] = world.told.calls
    assert (event, session_id) == ("connect", client.session.id)
    assert facts.cookies == {"sid": "1", "lang": "en"}
    assert (facts.login, facts.password) == ("x", "y")
    assert facts.authorization == "Basic YTpi"
    assert facts.headers["note"] == "z"
    assert facts.source == "192.0.2.7"
    assert client.session.user == "ada"


def test_of_two_cookies_of_a_name_the_hook_gets_the_last_one(world: World) -> None:
    world.client({"cookie": "sid=1; lang=en; sid=2"})
    [(_, _, facts)] = world.told.calls
    assert facts.cookies == {"sid": "2", "lang": "en"}


def test_the_hook_decides_about_what_only_the_site_can_read(world: World) -> None:
    client = world.client({"authorization": "Token 9944b09199c62bcf"})
    [(_, _, facts)] = world.told.calls
    assert (facts.user, facts.authorization) == ("", "Token 9944b09199c62bcf")
    assert client.session.user == "ada"


def test_a_hook_that_is_not_asked_who_it_is_makes_no_scheme_known() -> None:
    world = World("send", "disconnect")
    assert refusal(world.client({"authorization": "Token 9944b09199c62bcf"})) == "access refused"
    assert world.told.take() == []


def test_a_client_cannot_say_that_it_asks_for_a_target_of_the_gateway(world: World) -> None:
    world.client(path="/tcp/irc:6667")
    [(_, _, facts)] = world.told.calls
    assert "path" not in facts.headers


def test_a_visitor_whom_the_hook_refuses_is_out_and_no_end_is_told(world: World) -> None:
    world.told.answers["connect"] = NO
    with captured_logs() as log:
        client = world.client()
    assert refusal(client) == "access refused"
    assert "not today" in log.text()
    assert world.told.take() == ["connect"]


def test_a_visitor_without_a_user_needs_rights_for_anonymous(world: World) -> None:
    world.told.answers["connect"] = Answer()
    assert refusal(world.client()) == "access refused"
    # The hook has let it in, and learns that it is gone.
    assert world.told.take() == ["connect", "disconnect"]


def test_what_the_hook_says_adds_to_what_is_known(world: World) -> None:
    world.told.answers["connect"] = Answer(
        identity=Identity("ada", nick="Countess", read=("/topic/x",), expires_s=60.0)
    )
    client = world.logged_in()
    assert client.session.wished_nick == "Countess"
    client.subscribe("/topic/x")


def test_a_slow_hook_holds_its_own_session_only(world: World) -> None:
    quick = world.logged_in()
    world.told.waits_for = "connect"
    slow = world.client()
    assert slow.received() == []
    quick.subscribe("/topic/a")
    quick.publish("/topic/a", "x")
    assert quick.bodies() == ["x"]
    world.answer(Answer(identity=Identity("bob")))
    assert [frame.command for frame in slow.received()] == ["CONNECTED"]


def test_a_client_that_goes_takes_its_question_back(world: World) -> None:
    world.told.waits_for = "connect"
    client = world.client()
    client.drop()
    assert world.told.cancelled == 1


def test_a_session_is_subscribed_once_it_has_connected(world: World) -> None:
    world.told.answers["connect"] = Answer(
        identity=Identity("ada"), autosubscribe=("/topic/a", "/temp-queue/", "/topic/b")
    )
    with captured_logs() as log:
        client = world.client()
    assert [frame.command for frame in client.received()] == ["CONNECTED"]
    assert "/temp-queue/" in log.text()
    client.publish("/topic/a", "x")
    client.publish("/topic/b", "y")
    assert [frame.headers["subscription"] for frame in client.messages()] == [
        "/topic/a",
        "/topic/b",
    ]


# ---------------------------------------------------------------- what it does


def test_each_event_is_told_in_order_and_the_end_comes_last(world: World) -> None:
    client = world.logged_in()
    client.subscribe("/topic/a", "1")
    client.publish("/topic/b", "x")
    client.unsubscribe("1")
    client.subscribe("/queue/c", "2")
    client.drop()
    assert world.told.take() == [
        "subscribe /topic/a",
        "send /topic/b",
        "unsubscribe /topic/a",
        "subscribe /queue/c",
        "unsubscribe /queue/c",
        "disconnect",
    ]


@pytest.mark.parametrize("event", ["subscribe", "send"])
def test_the_hook_may_refuse(world: World, event: str) -> None:
    world.told.answers[event] = NO
    client = world.logged_in()
    if event == "send":
        client.publish("/topic/a", "x")
        assert refusal(client) == "not allowed: write /topic/a"
    else:
        client.say("SUBSCRIBE", id="1", destination="/topic/a")
        assert refusal(client) == "not allowed: read /topic/a"
        assert world.broker.statistics.subscription_count == 0
    assert client.close_reason is CloseReason.NO_RIGHT


def test_frames_of_a_session_stay_in_order_while_the_hook_is_asked(world: World) -> None:
    reader, client = world.logged_in(), world.logged_in()
    reader.subscribe("/topic/a")
    world.told.waits_for = "send"
    data = [
        frame_bytes("SEND", body, destination="/topic/a", content_length="1", receipt="r")
        for body in (b"1", b"2", b"3")
    ]
    client.send(b"".join(data))
    world.told.take()
    for body in (b"1", b"2", b"3"):
        assert reader.received() == []
        world.answer(Answer(body=body * 2))
        assert [message.body for message in reader.messages()] == [body * 2]
        assert client.receipts() == ["r"]


def test_equal_heads_do_not_pass_by_the_hook(world: World) -> None:
    """The fast path would: a head that was seen often, and runs in one read."""
    reader, client = world.logged_in(), world.logged_in()
    reader.subscribe("/topic/a")
    data = frame_bytes("SEND", b"x", destination="/topic/a", content_length="1")
    world.told.take()
    for _ in range(4):
        client.send(data)
    client.send(data * 20)
    assert world.told.take() == ["send /topic/a"] * 24
    assert len(reader.messages()) == 24


def test_an_answer_rewrites_body_and_headers(world: World) -> None:
    reader, client = world.logged_in(), world.logged_in()
    reader.subscribe("/topic/a")
    world.told.answers["send"] = Answer(body=b"longer than it was", headers={"a": "1", "b": None})
    client.publish("/topic/a", "short", b="2", c="3")
    message = reader.message()
    assert message.body == b"longer than it was"
    assert message.headers["content-length"] == "18"
    assert (message.headers["a"], message.headers["c"]) == ("1", "3")
    assert "b" not in message.headers
    assert message.headers["x-user"] == "ada"


def test_a_message_is_asked_about_once_though_it_waits_for_room() -> None:
    world = World(limits=BrokerLimits(max_queue_messages=1))
    client, consumer = world.logged_in(), world.logged_in()
    client.publish("/queue/a", "1")
    client.publish("/queue/a", "2")
    assert world.told.take() == ["send /queue/a"]
    assert client.is_waiting
    consumer.subscribe("/queue/a")
    world.server.end_turn()
    assert consumer.bodies() == ["1", "2"]
    assert world.told.take() == ["subscribe /queue/a", "send /queue/a"]


def test_rates_and_questions_each_count_once(world: World) -> None:
    client = world.logged_in()
    client.session.subscription_rate = rate = TokenBuckets(1.0, 1).rate_of(
        "x", world.broker.cork.ticks
    )
    world.told.waits_for = "subscribe"
    client.say("SUBSCRIBE", id="1", destination="/topic/a")
    assert world.told.take() == ["subscribe /topic/a"]
    world.answer(Answer())
    assert world.broker.statistics.subscription_count == 1
    assert client.line.delays_s == []
    assert rate.reserve(world.broker.cork.ticks, 1) > 0  # the one token is gone


def test_an_answer_subscribes_and_unsubscribes(world: World) -> None:
    client = world.logged_in()
    client.subscribe("/topic/old", "mine")
    world.told.answers["subscribe"] = Answer(
        autosubscribe=("/topic/new",), autounsubscribe=("/topic/old",)
    )
    client.subscribe("/topic/a", "2")
    names = {one.destination for one in client.session.subscriptions}
    assert names == {"/topic/new", "/topic/a"}


def test_the_answer_to_send_subscribes_before_the_message_is_sent(world: World) -> None:
    client = world.logged_in()
    client.subscribe("/topic/old", "mine")
    world.told.answers["send"] = Answer(
        autosubscribe=("/topic/a",), autounsubscribe=("/topic/old",)
    )
    client.say("SEND", b"hello", destination="/topic/a,/topic/old")
    message = client.message()
    assert (message.headers["destination"], message.body) == ("/topic/a", b"hello")
    assert {one.destination for one in client.session.subscriptions} == {"/topic/a"}


def test_the_answer_to_unsubscribe_may_subscribe_and_comes_too_late_after_the_end(
    world: World,
) -> None:
    client = world.logged_in()
    client.subscribe("/topic/a", "1")
    client.unsubscribe("1")
    [on_answer] = world.told.on_answers
    on_answer(Answer(autosubscribe=("/topic/b",)))
    assert {one.destination for one in client.session.subscriptions} == {"/topic/b"}
    client.drop()
    on_answer(Answer(autosubscribe=("/topic/c",)))
    assert world.broker.statistics.subscription_count == 0


def test_a_transaction_asks_about_each_message(world: World) -> None:
    reader, client = world.logged_in(), world.logged_in()
    reader.subscribe("/topic/a")
    client.say("BEGIN", transaction="t")
    world.told.answers["send"] = Answer(body=b"checked")
    client.publish("/topic/a", "x", transaction="t")
    assert world.told.take() == ["subscribe /topic/a", "send /topic/a"]
    client.say("COMMIT", transaction="t")
    assert reader.bodies() == ["checked"]


# ---------------------------------------------------------------- users of this server


def with_password(world: World) -> tuple[Known, Client]:
    """Let bob connect with the password that he has at this server."""
    world.login._passwords = known = Known(["bob"])
    return known, world.client(login="bob", passcode=password_of("bob"))


@pytest.mark.parametrize("is_told", [True, False])
def test_a_user_who_is_removed_while_the_hook_is_asked_is_not_let_in(is_told: bool) -> None:
    world = World("connect")
    world.told.waits_for = "connect"
    known, client = with_password(world)
    known.users.clear()
    if is_told:
        world.login.users_changed()
    if client.close_reason is None:
        world.told.waiting[0].callback(Answer(identity=Identity("robert")))
    assert [frame.headers["message"] for frame in client.received()] == ["access refused"]
    assert client.close_reason is CloseReason.ACCESS


def test_a_user_whom_the_hook_gives_another_name_ends_with_its_password() -> None:
    world = World("connect")
    world.told.answers["connect"] = Answer(identity=Identity("robert"))
    known, client = with_password(world)
    assert client.session.user == "robert"
    client.received()
    world.login.users_changed()
    assert client.close_reason is None
    known.users.clear()
    world.login.users_changed()
    assert client.close_reason is CloseReason.ACCESS


# ---------------------------------------------------------------- some events only


class SitesTokens:
    """Tokens whose text is USER:SECONDS."""

    def verify(self, text: str, now_s: float) -> Identity:
        user, _, seconds = text.partition(":")
        return Identity(user, expires_s=now_s + float(seconds))


def with_token(world: World, told: Identity) -> Client:
    """Return a client with a token of 60 seconds, whom the hook takes for a user."""
    world.login._tokens = SitesTokens()
    world.told.answers["connect"] = Answer(identity=told)
    open_renewal(world.broker, world.login)
    return world.logged_in(passcode="ada:60")


def renew(world: World, client: Client, token: str) -> None:
    client.say("SEND", token, destination="/session/token", receipt="r")
    world.server.end_turn()


def test_what_the_hook_has_said_outlives_a_new_token(world: World) -> None:
    told = Identity("ada of rtchat", frozenset({"staff"}), "Ada", read=("/topic/x",))
    client = with_token(world, told)
    renew(world, client, "ada:600")
    assert client.receipts() == ["r"]
    assert world.login._sessions[client.session].identity == Identity(
        "ada of rtchat", frozenset({"staff"}), "Ada", read=("/topic/x",), expires_s=600.0
    )
    world.told.take()
    client.publish("/topic/a", "x")
    assert client.session.user == "ada of rtchat"


def test_a_new_token_is_the_same_users_whatever_the_hook_calls_it(world: World) -> None:
    client = with_token(world, Identity("one of many"))
    renew(world, client, "eve:600")
    assert refusal(client) == "access refused"


def test_a_new_token_does_not_outlive_what_the_hook_allows(world: World) -> None:
    client = with_token(world, Identity("ada", expires_s=90.0))
    renew(world, client, "ada:600")
    assert client.receipts() == ["r"]
    world.clock.advance(90)
    assert refusal(client) == "token expired"


def test_only_a_session_that_began_with_a_token_gets_a_new_one(world: World) -> None:
    with_token(world, Identity("ada"))
    world.told.answers["connect"] = Answer(identity=Identity("ada", expires_s=90.0))
    client = world.logged_in()
    renew(world, client, "ada:600")
    assert refusal(client) == "access refused"


class EndsAt(BrokerEvents):
    """Ends a session that subscribes to a destination, as too long a backlog would."""

    def __init__(self, destination: str) -> None:
        self._destination = destination

    def subscribed(self, subscription: Subscription) -> None:
        if subscription.destination == self._destination and subscription.principal is not None:
            subscription.principal.fail(ProtocolError("too slow"))


@pytest.mark.parametrize("event", ["connect", "subscribe", "send", "unsubscribe"])
def test_a_session_that_ends_while_it_is_subscribed_is_subscribed_to_nothing_more(
    world: World, event: str
) -> None:
    world.broker.events.add(EndsAt("/topic/end"))
    names = ("/topic/x", "/topic/end", "/topic/y")
    identity = Identity("ada")
    if event == "connect":
        world.told.answers["connect"] = Answer(autosubscribe=names, identity=identity)
        client = world.client()
    else:
        client = world.logged_in()
        client.subscribe("/topic/a")
        answer = Answer(autosubscribe=names, autounsubscribe=("/topic/a",))
        world.told.answers[event] = answer
        if event == "subscribe":
            client.say("SUBSCRIBE", id="b", destination="/topic/b")
        elif event == "send":
            client.say("SEND", destination="/topic/c")
        else:
            client.unsubscribe()
            world.told.on_answers.pop(0)(answer)
    assert client.session.is_closed
    assert world.broker.statistics.subscription_count == 0
    assert not world.broker.router.topics


def test_a_hook_that_is_not_asked_who_it_is_hears_of_those_who_are_let_in() -> None:
    world = World("subscribe", "disconnect")
    world.login._passwords = cast(Any, _Everyone())
    client = world.client(login="bob", passcode="x")
    client.subscribe("/topic/a")
    client.publish("/topic/a", "x")
    client.drop()
    assert [event for event, _, _ in world.told.calls] == ["subscribe", "disconnect"]
    assert {facts.user for _, _, facts in world.told.calls} == {"bob"}


def test_what_no_hook_is_asked_about_takes_the_fast_path() -> None:
    world = World("connect")
    route = world.broker.router.resolve("/topic/a")
    assert route.is_usual
    assert not World().broker.router.resolve("/topic/a").is_usual


class _Everyone:
    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        answer: Deferred[bool] = Deferred()
        answer.callback(True)
        return answer

    def stamp_of(self, name: str) -> str | None:
        return ""
