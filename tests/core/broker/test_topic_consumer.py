"""Subscribers of a topic that acknowledge or may lag: what waits for them, and what is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Client, Server, bodies, clean_server, errors, message_size

from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Version

T = "/topic/t"
SIZE = message_size({"destination": T, "content-length": "1"}, b"x")


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def slow(server: Server, policy: str, /, *, room: int = 3, **headers: str) -> Client:
    """Return a subscriber that does not read, for whom so many small messages may wait."""
    client = server.client(max_backlog_bytes=SIZE * room)
    client.subscribe(T, x_slow=policy, **headers)
    client.stall()
    return client


def publish(server: Server, texts: str, destination: str = T, **headers: str) -> None:
    publisher = server.client()
    for text in texts:
        publisher.publish(destination, text, **headers)
    publisher.drop()


def read(client: Client) -> list[tuple[str, str]]:
    """Read all that waits: each body with its ``x-dropped``."""
    client.read_on()
    return [(m.body.decode(), m.headers.get("x-dropped", "")) for m in client.messages()]


def plain(texts: str) -> list[tuple[str, str]]:
    return [(text, "") for text in texts]


POLICIES = ["close", "drop-oldest", "latest"]


# ---------------------------------------------------------------- who keeps up


@pytest.mark.parametrize("policy", POLICIES)
def test_who_keeps_up_gets_everything(server: Server, policy: str) -> None:
    client = server.client()
    client.subscribe(T, x_slow=policy)
    publish(server, "abc")
    assert [(m.body, "x-dropped" in m.headers) for m in client.messages()] == [
        (b"a", False),
        (b"b", False),
        (b"c", False),
    ]


@pytest.mark.parametrize("policy", ["drop-oldest", "latest"])
def test_messages_look_like_those_of_others(server: Server, policy: str) -> None:
    lagging, other = server.client(), server.client()
    lagging.subscribe(T, x_slow=policy)
    other.subscribe(T)
    publish(server, "a", app="x", content_type="text/plain")
    assert lagging.messages() == other.messages()


@pytest.mark.parametrize("version", list(Version))
def test_every_version_may_lag(server: Server, version: Version) -> None:
    client = server.client(version)
    client.subscribe(T, x_slow="drop-oldest")
    publish(server, "a")
    assert client.message().headers["subscription"] == "0"


@pytest.mark.parametrize("policy", ["", "Close", "drop", "x" * 100])
def test_a_policy_that_is_none_is_refused_and_not_repeated(server: Server, policy: str) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination=T, x_slow=policy)
    assert errors(frames) == ["unknown x-slow"]
    assert b"close, drop-oldest, latest" in frames[0].body
    assert server.broker.statistics.subscription_count == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_queue_loses_nothing_whatever_the_policy(server: Server, policy: str) -> None:
    client = server.client(max_backlog_bytes=SIZE)
    client.subscribe("/queue/a", x_slow=policy)
    client.stall()
    publish(server, "abcdef", "/queue/a")
    assert read(client) == plain("abcdef")
    assert client.close_reason is None


# ---------------------------------------------------------------- what waits


@pytest.mark.parametrize("policy", ["drop-oldest", "latest"])
def test_a_connection_without_room_gets_nothing(server: Server, policy: str) -> None:
    client = slow(server, policy)
    publish(server, "ab")
    assert client.messages() == []


def test_what_waits_follows_in_order(server: Server) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "abc")
    assert read(client) == plain("abc")


def test_what_waits_comes_before_what_is_new(server: Server) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "ab")
    client.outbound.waiting_bytes = 0
    publish(server, "c")
    assert client.bodies() == ["a", "b", "c"]


def test_what_can_be_sent_is_not_dropped(server: Server) -> None:
    """Room that came unnoticed counts before the limit does."""
    client = slow(server, "drop-oldest", room=2)
    publish(server, "ab")
    client.outbound.waiting_bytes = 0
    publish(server, "c")
    assert [(m.body, m.headers.get("x-dropped")) for m in client.messages()] == [
        (b"a", None),
        (b"b", None),
        (b"c", None),
    ]


def test_others_do_not_wait(server: Server) -> None:
    slow(server, "drop-oldest")
    slow(server, "latest")
    healthy, acking = server.client(), server.client()
    healthy.subscribe(T)
    acking.subscribe(T, ack="client")
    publish(server, "abc")
    assert healthy.bodies() == acking.bodies() == ["a", "b", "c"]


def test_what_waits_counts_in_the_budget(server: Server) -> None:
    client = slow(server, "drop-oldest")
    used, held = server.broker.budget.used, client.session.holding.bytes
    publish(server, "ab")
    assert server.broker.budget.used == used + 2 * SIZE
    assert client.session.holding.bytes == held + 2 * SIZE
    read(client)
    assert (server.broker.budget.used, client.session.holding.bytes) == (used, held)


@pytest.mark.parametrize("how", ["unsubscribe", "drop", "DISCONNECT"])
def test_what_waits_is_gone_with_the_subscription(server: Server, how: str) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "ab")
    if how == "unsubscribe":
        client.unsubscribe()
    elif how == "drop":
        client.drop()
    else:
        client.say(how)
    assert server.waiting_bytes == 0
    assert server.broker.statistics.topic_count == 0
    assert not client.outbound.paused_sources
    assert read(client) == []


def test_unacknowledged_messages_hold_up_the_next(server: Server) -> None:
    client = server.client()
    client.subscribe(T, ack="client", prefetch_count="2")
    publish(server, "abc")
    _, second = client.messages()
    assert server.waiting_bytes == SIZE
    client.ack(second)
    assert client.bodies() == ["c"]


def test_the_rest_waits_when_the_room_is_filled(server: Server) -> None:
    client = server.client(max_backlog_bytes=10**6)
    client.subscribe(T, x_slow="drop-oldest")
    client.stall()
    for _ in range(4):
        server.client().publish(T, b"x" * 40_000)
    client.outbound.waiting_bytes = 0
    client.outbound.on_drain()
    assert len(client.outbound.pending) == 2  # 64 KiB and the message that fills them
    server.end_turn()
    assert len(client.messages()) == 4


# ---------------------------------------------------------------- close


@pytest.mark.parametrize("count, is_closed", [(2, False), (3, False), (4, True)])
def test_close_ends_who_lags_by_more_than_the_limit(
    server: Server, count: int, is_closed: bool
) -> None:
    client = slow(server, "close", ack="client")
    publish(server, "abcd"[:count])
    assert client.close_reason is (CloseReason.SLOW if is_closed else None)
    assert server.waiting_bytes == (0 if is_closed else SIZE * count)


@pytest.mark.parametrize("over, is_closed", [(-1, False), (0, False), (1, True)])
def test_close_is_exact_to_the_byte(server: Server, over: int, is_closed: bool) -> None:
    client = server.client(max_backlog_bytes=2 * SIZE + 5)
    client.subscribe(T, ack="client")
    client.stall()
    publish(server, "a")
    server.client().publish(T, b"x" * (1 + 5 + over))
    assert client.close_reason is (CloseReason.SLOW if is_closed else None)


def test_one_message_larger_than_the_limit_may_wait(server: Server) -> None:
    client = slow(server, "close", ack="client")
    server.client().publish(T, b"x" * 5000)
    assert client.close_reason is None
    publish(server, "b")
    assert client.close_reason is CloseReason.SLOW


def test_without_acknowledgements_in_time_close_ends_the_session(server: Server) -> None:
    client = server.client(max_backlog_bytes=SIZE * 2)
    client.subscribe(T, ack="client", prefetch_count="1")
    publish(server, "abc")
    assert client.bodies() == ["a"]
    assert client.close_reason is None
    publish(server, "d")
    assert client.close_reason is CloseReason.SLOW
    assert errors(client.received()) == ["too slow"]


def test_a_session_that_is_too_slow_loses_all_its_subscriptions_at_once(server: Server) -> None:
    client = slow(server, "close", ack="client", room=1)
    client.subscribe("/topic/#", "pattern", ack="client")
    client.subscribe(T, "again", ack="client")
    client.subscribe(T, "plain")
    client.subscribe("/queue/a", "queue")
    other = server.client()
    other.subscribe(T, ack="client")
    publish(server, "ab")
    assert client.close_reason is CloseReason.SLOW
    assert other.bodies() == ["a", "b"]
    assert server.broker.statistics.subscription_count == 1
    commands = [frame.command for frame in client.received()]
    assert commands[-1] == "ERROR"
    assert server.waiting_bytes == 0


def test_a_publisher_that_is_too_slow_for_itself_gets_no_receipt(server: Server) -> None:
    """Nothing follows an ERROR."""
    client = slow(server, "close", ack="client", room=1)
    client.publish(T, "a", receipt="1")
    client.publish(T, "b", receipt="2")
    assert [frame.command for frame in client.received()] == ["RECEIPT", "ERROR"]
    assert client.close_reason is CloseReason.SLOW


def test_a_commit_goes_on_when_it_costs_its_own_session(server: Server) -> None:
    client = slow(server, "close", ack="client", room=1)
    client.subscribe("/queue/a", "q", ack="client")
    publish(server, "work", "/queue/a")
    client.outbound.waiting_bytes = 0
    client.outbound.on_drain()
    server.end_turn()
    [*_, last] = client.messages()
    client.stall()
    client.say("BEGIN", transaction="t")
    for text in "abc":
        client.publish(T, text, transaction="t")
    client.ack(last, transaction="t")
    client.publish("/queue/b", "done", transaction="t")
    client.say("COMMIT", transaction="t", receipt="r")
    assert [frame.command for frame in client.received()] == ["ERROR"]
    assert server.size_of("/queue/a") == 0
    assert bodies(server.drain("/queue/b")) == ["done"]


def test_a_session_lost_to_a_topic_gives_its_queue_s_messages_back(server: Server) -> None:
    client = slow(server, "close", ack="client", room=1)
    client.outbound.waiting_bytes = 0
    client.subscribe("/queue/a", "q", ack="client")
    publish(server, "xy", "/queue/a")
    client.stall()
    publish(server, "ab")
    assert client.close_reason is CloseReason.SLOW
    assert bodies(server.drain("/queue/a")) == ["x", "y"]


# ---------------------------------------------------------------- drop-oldest


def test_drop_oldest_keeps_the_newest(server: Server) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "abcde")
    assert read(client) == [("c", "2"), ("d", ""), ("e", "")]
    assert client.close_reason is None


@pytest.mark.parametrize("count, dropped", [(2, ""), (3, ""), (4, "1")])
def test_drop_oldest_begins_over_the_limit(server: Server, count: int, dropped: str) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "abcd"[:count])
    assert server.waiting_bytes == SIZE * min(count, 3)
    assert read(client)[0][1] == dropped


@pytest.mark.parametrize("over, dropped", [(-1, ""), (0, ""), (1, "1")])
def test_drop_oldest_is_exact_to_the_byte(server: Server, over: int, dropped: str) -> None:
    client = server.client(max_backlog_bytes=2 * SIZE + 5)
    client.subscribe(T, x_slow="drop-oldest")
    client.stall()
    publish(server, "a")
    server.client().publish(T, b"x" * (1 + 5 + over))
    assert read(client)[0][1] == dropped


def test_one_large_message_pushes_out_many_small_ones(server: Server) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "abc")
    server.client().publish(T, b"x" * 5000)
    assert read(client) == [("x" * 5000, "3")]


def test_a_loss_is_told_once(server: Server) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "abcd")
    assert read(client)[0] == ("b", "1")
    publish(server, "e")
    assert client.message().headers.get("x-dropped") is None
    client.stall()
    publish(server, "fghij")
    assert read(client) == [("h", "2"), ("i", ""), ("j", "")]


def test_losses_add_up_until_they_are_told(server: Server) -> None:
    client = slow(server, "drop-oldest", room=1)
    publish(server, "abcdefghijkl")
    assert read(client) == [("l", "11")]


def test_a_loss_of_one_subscription_is_not_told_to_others(server: Server) -> None:
    client = slow(server, "drop-oldest", room=1)
    client.subscribe("/topic/u", "1", x_slow="drop-oldest")
    publish(server, "ab")
    publish(server, "c", "/topic/u")
    client.read_on()
    got = [(m.headers["subscription"], m.headers.get("x-dropped")) for m in client.messages()]
    assert got == [("0", "1"), ("1", None)]


def test_a_publisher_cannot_forge_a_loss(server: Server) -> None:
    client = server.client()
    client.subscribe(T, x_slow="drop-oldest")
    publish(server, "a", x_dropped="7")
    assert "x-dropped" not in client.message().headers


def test_a_lagging_subscriber_may_acknowledge(server: Server) -> None:
    client = server.client(max_backlog_bytes=SIZE * 2)
    client.subscribe(T, x_slow="drop-oldest", ack="client-individual", prefetch_count="1")
    publish(server, "abcde")
    client.ack(client.message())
    message = client.message()
    assert (message.body, message.headers["x-dropped"]) == (b"d", "2")
    client.ack(message)
    assert client.bodies() == ["e"]


# ---------------------------------------------------------------- latest


def test_latest_keeps_one_message_a_key(server: Server) -> None:
    client = slow(server, "latest", room=10)
    publish(server, "ab", x_key="one")
    publish(server, "cd", x_key="two")
    assert read(client) == [("b", "2"), ("d", "")]


def test_without_a_key_it_is_the_destination(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/#", x_slow="latest")
    client.stall()
    publish(server, "ab", "/topic/one")
    publish(server, "cd", "/topic/two")
    publish(server, "e", "/topic/one", x_key="key")
    assert read(client) == [("b", "2"), ("d", ""), ("e", "")]


def test_an_empty_key_is_none(server: Server) -> None:
    client = slow(server, "latest")
    publish(server, "a")
    publish(server, "b", x_key="")
    assert read(client) == [("b", "1")]


def test_a_newer_message_comes_at_its_own_place(server: Server) -> None:
    client = slow(server, "latest", room=10)
    for text, key in [("a", "one"), ("b", "two"), ("c", "one")]:
        publish(server, text, x_key=key)
    assert [text for text, _ in read(client)] == ["b", "c"]


def test_keys_have_a_limit_as_well(server: Server) -> None:
    size = message_size({"destination": T, "content-length": "1", "x-key": "a"}, b"x")
    client = server.client(max_backlog_bytes=2 * size)
    client.subscribe(T, x_slow="latest")
    client.stall()
    for text in "abcd":
        publish(server, text, x_key=text)
    assert server.waiting_bytes == 2 * size
    assert read(client) == [("c", "2"), ("d", "")]


def test_the_key_is_passed_on(server: Server) -> None:
    client = server.client()
    client.subscribe(T, x_slow="latest")
    publish(server, "a", x_key="k")
    assert client.message().headers["x-key"] == "k"


def test_who_keeps_up_gets_every_message_of_a_key(server: Server) -> None:
    client = server.client()
    client.subscribe(T, x_slow="latest")
    publish(server, "abc", x_key="k")
    assert client.bodies() == ["a", "b", "c"]


# ---------------------------------------------------------------- expiry and selectors


def test_messages_that_expire_while_they_wait_are_not_sent(server: Server) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "a", expiration="1000")
    publish(server, "b", expiration="9000")
    server.advance(1)
    assert read(client) == plain("b")
    assert server.waiting_bytes == 0


def test_an_expired_message_is_no_loss(server: Server) -> None:
    client = slow(server, "drop-oldest")
    publish(server, "a", expiration="1000")
    server.advance(5)
    assert read(client) == []
    publish(server, "b")
    assert "x-dropped" not in client.message().headers


def test_what_is_not_wanted_does_not_wait(server: Server) -> None:
    client = slow(server, "drop-oldest", room=3, selector="color = 'red'")
    publish(server, "ab", color="blue")
    publish(server, "cd", color="red")
    publish(server, "e")
    assert read(client) == plain("cd")
