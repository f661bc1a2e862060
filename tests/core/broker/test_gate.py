"""The seam for rights, rooms and rates: what a session and its SENDs have to pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from support.core import Client, Server, errors

from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.gate import Admission, Check, Gate
from rtchat.core.broker.principal import Principal
from rtchat.core.flow.token_bucket import TokenBucket
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.limits import Limits
from rtchat.errors import NotAllowed


class Doorkeeper(Gate):
    """Lets in all but eve, and messages into the cellar only from anna."""

    concerns = Glob(("/topic/cellar*",))

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.asked: list[list[str]] = []

    def admit(self, principal: Principal, headers: Mapping[str, str], now: float) -> Admission:
        if principal.login == "eve":
            raise NotAllowed("access refused")
        self.inside.append(principal.login)
        rate = TokenBucket(1.0, 1, now) if principal.login == "bob" else None
        return Admission({"x-door": "open"}, rate)

    def leave(self, principal: Principal, now: float) -> None:
        if principal.login in self.inside:
            self.inside.remove(principal.login)

    def check_for(self, destinations: Sequence[str]) -> Check | None:
        self.asked.append(list(destinations))
        return self._check

    def _check(self, principal: Principal, frame: Frame) -> None:
        if principal.login != "anna":
            raise NotAllowed("not allowed: write /topic/cellar")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def gate(server: Server) -> Doorkeeper:
    gate = Doorkeeper()
    server.broker.add_gate(gate)
    return gate


def enter(server: Server, login: str) -> tuple[Client, Frame]:
    client = Client(server, None, Limits())
    return client, client.connect(Version.V12, login=login)


def test_it_lets_in_with_more_headers_for_connected(server: Server, gate: Doorkeeper) -> None:
    client, answer = enter(server, "anna")
    assert (answer.command, answer.headers["x-door"]) == ("CONNECTED", "open")
    assert gate.inside == ["anna"]
    client.drop()
    assert gate.inside == []


def test_it_refuses(server: Server, gate: Doorkeeper) -> None:
    client, answer = enter(server, "eve")
    assert (answer.command, answer.headers["message"]) == ("ERROR", "access refused")
    assert client.session.is_closed


@pytest.mark.parametrize("name", ["/pubsub/all", "/topic/x,/pubsub/all", "/pubsub/other,all"])
def test_what_holds_for_a_topic_holds_for_copies_to_it(name: str) -> None:
    server = Server()
    server.declare("all", "/queue/a", "/topic/cellar")
    server.declare("other", "/queue/b")
    server.broker.add_gate(Doorkeeper())
    anna, _ = enter(server, "anna")
    anna.publish(name, "x")
    carol, _ = enter(server, "carol")
    frames = carol.ask("SEND", destination=name)
    assert errors(frames) == ["not allowed: write /topic/cellar"]
    assert server.size_of("/queue/a") == 1


def test_after_a_refusal_no_gate_knows_the_session(server: Server, gate: Doorkeeper) -> None:
    class Open(Doorkeeper):
        def admit(self, principal: Principal, headers: Mapping[str, str], now: float) -> Admission:
            self.inside.append(principal.login)
            return Admission({})

    before = Open()
    server.broker.router.gates.insert(0, before)
    enter(server, "eve")
    assert before.inside == []


def test_its_check_is_asked_for_once_and_holds_for_every_send(
    server: Server, gate: Doorkeeper
) -> None:
    anna, _ = enter(server, "anna")
    for text in "abc":
        anna.publish("/topic/cellar", text)
    other, _ = enter(server, "other")
    frames = other.ask("SEND", "x", destination="/topic/cellar", receipt="r")
    assert errors(frames) == ["not allowed: write /topic/cellar"]
    assert frames[0].headers["receipt-id"] == "r"
    assert gate.asked == [["/topic/cellar"]]


def test_it_sees_all_destinations_of_a_send_together(server: Server, gate: Doorkeeper) -> None:
    other, _ = enter(server, "other")
    frames = other.ask("SEND", "x", destination="/topic/hall,/topic/cellar.a")
    assert errors(frames) == ["not allowed: write /topic/cellar"]
    assert gate.asked == [["/topic/hall", "/topic/cellar.a"]]


def test_it_is_not_asked_about_other_destinations(server: Server, gate: Doorkeeper) -> None:
    other, _ = enter(server, "other")
    other.subscribe("/topic/hall")
    other.publish("/topic/hall", "x")
    assert other.bodies() == ["x"]
    assert gate.asked == []


def test_a_rate_that_it_grants_holds(server: Server, gate: Doorkeeper) -> None:
    bob, _ = enter(server, "bob")
    bob.publish("/topic/hall", "1")
    bob.publish("/topic/hall", "2")
    assert bob.line.delays_s == [1.0]


def test_a_gate_that_overrides_nothing_lets_everything_pass(server: Server) -> None:
    server.broker.add_gate(Gate())
    client, answer = enter(server, "eve")
    client.subscribe("/topic/a")
    client.publish("/topic/a", "x")
    assert answer.command == "CONNECTED"
    assert client.bodies() == ["x"]
    assert Gate().check_for(["/topic/a"]) is None
