"""What the subscriptions of one client cost others is limited: by session, and by source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Client, Server, clean_server, errors

from rtchat.core.session.connection import CloseReason


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def from_source(server: Server, source: str, user: str = "", **limits: int) -> Client:
    """Connect a client from an address."""
    client = server.client(**limits)
    client.session.source = source
    client.session.user = user
    return client


def refusal(client: Client, destination: str, subscription_id: str, **headers: str) -> str:
    """Subscribe, and return the ERROR, or ""."""
    frames = client.ask("SUBSCRIBE", id=subscription_id, destination=destination, **headers)
    return "".join(errors(frames))


# ---------------------------------------------------------------- one destination


@pytest.mark.parametrize("destination", ["/topic/a", "/queue/a", "/topic/*", "/topic/#"])
@pytest.mark.parametrize("headers", [{}, {"ack": "client"}, {"selector": "n = 1"}])
def test_a_session_has_so_many_subscriptions_of_one_destination(
    server: Server, destination: str, headers: dict[str, str]
) -> None:
    client = server.client()
    for number in range(16):
        assert refusal(client, destination, f"s{number}", **headers) == ""
    assert refusal(client, "/topic/another", "another") == ""
    [error] = client.ask("SUBSCRIBE", id="one more", destination=destination, **headers)
    assert errors([error]) == ["more than 16 subscriptions of one destination"]
    assert b"destination.max_subscriptions" in error.body
    assert client.close_reason is CloseReason.LIMIT


def test_those_that_have_ended_do_not_count(server: Server) -> None:
    client = server.client(max_of_destination=2)
    for number in range(10):
        client.subscribe("/topic/a", f"s{number}")
        client.subscribe("/topic/a", f"t{number}")
        client.unsubscribe(f"s{number}")
        client.unsubscribe(f"t{number}")


def test_so_256_sessions_are_few_groups(server: Server) -> None:
    for _ in range(8):
        client = server.client()
        for number in range(1000):
            client.say("SUBSCRIBE", id=str(number), destination="/topic/a")
    assert server.broker.statistics.subscription_count == 0  # each has ended with the ERROR


# ---------------------------------------------------------------- one source


def test_selectors_of_all_sessions_of_a_source_have_a_limit_together(server: Server) -> None:
    server.limit(max_shared_selector_steps=100)
    selector = " AND ".join(["n = 1"] * 6)  # 23 steps
    eves = [from_source(server, "192.0.2.1") for _ in range(5)]
    for eve in eves[:4]:
        assert refusal(eve, "/topic/a", "s", selector=selector) == ""
    others = [
        from_source(server, "192.0.2.2"),
        from_source(server, ""),
        from_source(server, ""),
        from_source(server, "192.0.2.1", "anna"),
    ]
    for other in others:
        assert refusal(other, "/topic/a", "s", selector=selector) == ""
    assert refusal(eves[4], "/topic/b", "plain") == ""
    [error] = eves[4].ask("SUBSCRIBE", id="s", destination="/topic/a", selector=selector)
    assert errors([error]) == ["selectors over the limit of 100 steps for one user or address"]
    assert b"selector.max_shared_steps" in error.body
    assert refusal(eves[3], "/topic/b", "plain") == "", "others of the source go on"
    eves[0].unsubscribe("s")
    assert refusal(from_source(server, "192.0.2.1"), "/topic/a", "s", selector=selector) == ""


@pytest.mark.parametrize("how", ["drop", "DISCONNECT", "UNSUBSCRIBE"])
def test_what_a_session_had_is_free_when_it_ends(server: Server, how: str) -> None:
    server.limit(max_shared_selector_steps=100, max_shared_pattern_steps=100)
    for _ in range(10):
        client = from_source(server, "192.0.2.1")
        for number in range(4):
            selector = " AND ".join(["n = 1"] * 5)
            destination = f"/topic/{number}.*"
            assert refusal(client, destination, str(number), selector=selector) == ""
        if how == "drop":
            client.drop()
        elif how == "DISCONNECT":
            client.say("DISCONNECT")
        else:
            for number in range(4):
                client.unsubscribe(str(number))
    shares = server.broker.shares
    assert shares._selectors == shares._patterns == {}


def test_patterns_of_all_sessions_of_a_source_have_a_limit_together(server: Server) -> None:
    server.limit(max_shared_pattern_steps=100)
    eves = [from_source(server, "192.0.2.1") for _ in range(6)]
    for number, eve in enumerate(eves[:5]):  # 16 steps and two words each
        assert refusal(eve, f"/topic/{number}.*", "s") == ""
    other = from_source(server, "192.0.2.2")
    assert refusal(other, "/topic/a.#", "s") == ""
    [error] = eves[5].ask("SUBSCRIBE", id="s", destination="/topic/a.#")
    assert errors([error]) == ["patterns over the limit of 100 steps for one user or address"]
    assert b"pattern.max_shared_steps" in error.body


def test_a_thousand_patterns_of_a_program_are_within_the_limit(server: Server) -> None:
    client = from_source(server, "127.0.0.1")
    for number in range(1000):
        client.subscribe(f"/topic/site.{number}.*.#", str(number))
    assert client.close_reason is None
