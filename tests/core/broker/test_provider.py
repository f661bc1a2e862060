"""The seam for kinds of destinations: a provider of ten lines gets what it claims, and no more."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from support.core import Server, bodies, errors

from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse, Target
from rtchat.core.broker.subscription import Subscription
from rtchat.errors import NotAllowed


class EchoTarget(Target):
    """Hands every message to the provider."""

    def __init__(self, name: str, echo: Echo) -> None:
        self.name = name
        self.storage = None
        self._echo = echo

    def put(self, message: Message, sender: Principal | None) -> None:
        if message.body == b"bad":
            raise NotAllowed("not that")
        self._echo.got.append((message.destination, message.body, sender))


class Echo(DestinationProvider):
    """Takes note of what is asked of it."""

    claims = Glob(("/topic/echo*", "/echo/*"))
    namespaces = ("/echo/",)

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes, Principal | None]] = []
        self.subscriptions: list[str] = []
        self.targets: list[str] = []
        self.expired: list[float] = []

    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        self.subscriptions.append(subscription.destination)
        return {"x-echo": "yes"}

    def unsubscribe(self, subscription: Subscription) -> None:
        self.subscriptions.remove(subscription.destination)

    def target(self, name: str) -> Target:
        self.targets.append(name)
        return EchoTarget(name, self)

    def retained_names(self) -> list[str]:
        return ["/topic/echo.old"]

    def expire(self, now: float) -> None:
        self.expired.append(now)

    @property
    def subscription_count(self) -> int:
        return len(self.subscriptions)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def echo(server: Server) -> Echo:
    echo = Echo()
    server.broker.add_provider(echo)
    return echo


def test_it_serves_what_it_claims_and_says_what_the_receipt_says(
    server: Server, echo: Echo
) -> None:
    client = server.client()
    [receipt] = client.ask("SUBSCRIBE", id="0", destination="/topic/echo.a", receipt="r")
    assert receipt.headers == {"receipt-id": "r", "x-echo": "yes"}
    assert server.broker.statistics.subscription_count == 1
    client.unsubscribe()
    assert echo.subscriptions == []


def test_it_gets_messages_with_their_sender(server: Server, echo: Echo) -> None:
    client = server.client()
    client.publish("/topic/echo.a", "x")
    assert echo.got == [("/topic/echo.a", b"x", client.session)]


def test_everything_else_goes_its_usual_way(server: Server, echo: Echo) -> None:
    client = server.client()
    for number, name in enumerate(("/topic/other", "/queue/echo")):
        client.subscribe(name, str(number))
        client.publish(name, "x")
    assert client.bodies() == ["x", "x"]
    assert echo.got == []


def test_patterns_are_the_broker_s_unless_it_takes_them(server: Server, echo: Echo) -> None:
    client = server.client()
    client.subscribe("/topic/echo.*")
    assert echo.subscriptions == []
    echo.takes_patterns = True
    client.subscribe("/topic/echo.#", "1")
    assert echo.subscriptions == ["/topic/echo.#"]


def test_it_is_asked_for_a_target_once(server: Server, echo: Echo) -> None:
    client = server.client()
    for text in "abc":
        client.publish("/topic/echo.a", text)
    server.client().publish("/topic/echo.a", "d", other="header")
    assert [body for _, body, _ in echo.got] == [b"a", b"b", b"c", b"d"]
    assert echo.targets == ["/topic/echo.a"]


def test_in_a_namespace_of_its_own_a_comma_is_part_of_the_name(server: Server, echo: Echo) -> None:
    client = server.client()
    client.publish("/echo/a,b", "x")
    client.publish("/topic/echo.a,/topic/echo.b", "y")
    assert [name for name, _, _ in echo.got] == ["/echo/a,b", "/topic/echo.a", "/topic/echo.b"]


def test_what_it_cannot_deliver_ends_the_sender_s_session(server: Server, echo: Echo) -> None:
    client = server.client()
    assert errors(client.ask("SEND", "bad", destination="/topic/echo.a")) == ["not that"]


def test_what_it_cannot_deliver_at_the_commit_keeps_nothing_else_back(
    server: Server, echo: Echo
) -> None:
    reader, client = server.client(), server.client()
    reader.subscribe("/topic/other")
    client.say("BEGIN", transaction="t")
    client.publish("/topic/echo.a", "bad", transaction="t")
    client.publish("/topic/other", "good", transaction="t")
    assert errors(client.ask("COMMIT", transaction="t")) == ["not that"]
    assert reader.bodies() == ["good"]


def test_the_first_provider_that_claims_a_name_serves_it(server: Server, echo: Echo) -> None:
    other = Echo()
    server.broker.add_provider(other)
    server.client().publish("/topic/echo.a", "x")
    assert (len(echo.got), len(other.got)) == (1, 0)


def test_it_hears_of_the_time_and_names_what_it_retains(server: Server, echo: Echo) -> None:
    server.expire()
    assert echo.expired == [server.broker.now]
    assert list(server.broker.retained_names()) == ["/topic/echo.old"]


def test_a_plain_topic_asks_it_nothing(server: Server, echo: Echo) -> None:
    reader, client = server.client(), server.client()
    reader.subscribe("/topic/other")
    client.publish("/topic/other", "x")
    assert bodies(reader.messages()) == ["x"]
    assert echo.targets == []
