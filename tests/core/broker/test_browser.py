"""Browsers: a queue is read and nothing is taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Client, Server, bodies, clean_server, errors

from rtchat.core.stomp.frames import Frame, Version

Q = "/queue/a"


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def fill(server: Server, texts: str, **headers: str) -> None:
    publisher = server.client()
    for text in texts:
        publisher.publish(Q, text, **headers)
    publisher.drop()


def browser(server: Server, version: Version = Version.V12, **headers: str) -> Client:
    client = server.client(version)
    client.subscribe(Q, browser="true", **headers)
    return client


def browsed(frames: list[Frame]) -> list[str]:
    """Return the bodies before the end, which has to be there, once and last."""
    assert [frame.headers.get("browser") for frame in frames] == [None] * (len(frames) - 1) + [
        "end"
    ]
    assert frames[-1].body == b""
    assert {frame.headers["destination"] for frame in frames} == {Q}
    assert len({frame.headers["message-id"] for frame in frames}) == len(frames)
    return bodies(frames[:-1])


@pytest.mark.parametrize("ack", ["auto", "client", "client-individual"])
@pytest.mark.parametrize("version", list(Version))
def test_a_browser_reads_and_leaves_everything_in_place(
    server: Server, version: Version, ack: str
) -> None:
    fill(server, "abc", app="x")
    client = browser(server, version, ack=ack)
    frames = client.messages()
    assert browsed(frames) == ["a", "b", "c"]
    assert frames[0].headers["app"] == "x"
    assert server.size_of(Q) == 3
    client.unsubscribe()
    client.drop()
    left = server.drain(Q)
    assert bodies(left) == ["a", "b", "c"]
    assert not any("redelivered" in message.headers for message in left)


def test_the_receipt_comes_first(server: Server) -> None:
    fill(server, "a")
    frames = server.client().ask("SUBSCRIBE", id="0", destination=Q, browser="TRUE", receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT", "MESSAGE", "MESSAGE"]


@pytest.mark.parametrize("version", list(Version))
def test_to_acknowledge_what_was_browsed_changes_nothing(server: Server, version: Version) -> None:
    fill(server, "abc")
    client = browser(server, version, ack="client-individual", prefetch_count="1")
    seen = []
    for number in range(4):
        message = client.message()
        seen.append(message)
        (client.nack if number % 2 else client.ack)(message)
    assert browsed(seen) == ["a", "b", "c"]
    client.ack(seen[0])
    assert not client.line.closed
    assert bodies(server.drain(Q)) == ["a", "b", "c"]


def test_priorities_and_selectors_hold(server: Server) -> None:
    for text, priority in [("a", "1"), ("b", "9"), ("c", "4"), ("d", "9"), ("e", "1")]:
        fill(server, text, priority=priority)
    assert browsed(browser(server).messages()) == ["b", "d", "c", "a", "e"]
    assert browsed(browser(server, selector="priority > 2").messages()) == ["b", "d", "c"]


def test_an_empty_queue_ends_at_once_and_is_not_created(server: Server) -> None:
    client = browser(server)
    assert browsed(client.messages()) == []
    assert server.broker.statistics.queue_count == 0
    assert server.broker.statistics.subscription_count == 1
    client.unsubscribe()
    assert server.broker.statistics.subscription_count == 0


def test_after_the_end_nothing_comes(server: Server) -> None:
    client = browser(server)
    client.messages()
    fill(server, "a")
    assert client.messages() == []
    assert server.size_of(Q) == 1


def test_only_what_was_there_at_the_beginning_is_browsed(server: Server) -> None:
    fill(server, "abc")
    client = server.client()
    client.stall()
    client.subscribe(Q, browser="true")
    fill(server, "d")
    fill(server, "e", priority="9")
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="1", selector="priority IS NULL")
    assert worker.message().body == b"a"
    client.read_on()
    assert browsed(client.messages()) == ["b", "c"]


def test_what_a_consumer_has_is_not_browsed_and_comes_with_its_count_later(
    server: Server,
) -> None:
    worker = server.client()
    worker.subscribe(Q, ack="client-individual", prefetch_count="2")
    fill(server, "abc")
    assert browsed(browser(server).messages()) == ["c"]
    worker.drop()
    frames = browser(server).messages()
    assert browsed(frames) == ["a", "b", "c"]
    assert [frame.headers.get("x-delivery-count") for frame in frames] == ["1", "1", None, None]


def test_a_browser_does_not_read_faster_than_its_client(server: Server) -> None:
    publisher = server.client()
    for _ in range(8):
        publisher.publish(Q, b"x" * 20_000)
    client = server.client()
    client.session.receive(f"SUBSCRIBE\nid:0\ndestination:{Q}\nbrowser:true\n\n\0".encode())
    assert len(client.outbound.pending) == 4  # 64 KiB and the message that fills them
    server.end_turn()
    assert len(client.messages()) == 9
    assert server.size_of(Q) == 8


def test_expired_messages_are_not_browsed(server: Server) -> None:
    fill(server, "a", expiration="1000")
    fill(server, "b")
    server.advance(2)
    assert browsed(browser(server).messages()) == ["b"]


def test_a_browser_that_goes_disturbs_nobody(server: Server) -> None:
    fill(server, "ab")
    for how in ("UNSUBSCRIBE", "drop"):
        client = server.client()
        client.stall()
        client.subscribe(Q, browser="true")
        if how == "drop":
            client.drop()
        else:
            client.unsubscribe()
            client.read_on()
            assert client.messages() == []
    assert server.broker.statistics.subscription_count == 0
    assert bodies(server.drain(Q)) == ["a", "b"]


def test_memory_of_taken_messages_is_not_held(server: Server) -> None:
    fill(server, "ab")
    client = browser(server, ack="client")
    [subscription] = client.session.subscriptions
    assert {entry.message.body for entry in subscription.unacked.values()} == {b""}


def test_a_publisher_cannot_end_the_reading(server: Server) -> None:
    worker, publisher = server.client(), server.client()
    worker.subscribe(Q, ack="client")
    for headers in ({"browser": "end"}, {"browser ": " end "}, {"browser": "firefox"}):
        publisher.publish(Q, "x", **headers, app="1")
    worker.drop()
    for version in Version:
        frames = browser(server, version).messages()
        assert browsed(frames) == ["x"] * 3
        assert [frame.headers.get("app") for frame in frames] == ["1", "1", "1", None]
        counts = [frame.headers.get("x-delivery-count") for frame in frames]
        assert counts == ["1", "1", "1", None]
    assert server.drain(Q)[2].headers["browser"] == "firefox"


@pytest.mark.parametrize("headers", [{"browser": "false"}, {}])
def test_without_it_a_consumer_consumes(server: Server, headers: dict[str, str]) -> None:
    fill(server, "a")
    client = server.client()
    client.subscribe(Q, **headers)
    assert client.bodies() == ["a"]
    assert server.size_of(Q) == 0


@pytest.mark.parametrize("value", ["", "yes", "1"])
def test_a_browser_is_true_or_false(server: Server, value: str) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination=Q, browser=value)
    assert errors(frames) == ["browser is neither true nor false"]


def test_a_topic_ignores_it(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", browser="true")
    server.client().publish("/topic/t", "a")
    assert client.bodies() == ["a"]
