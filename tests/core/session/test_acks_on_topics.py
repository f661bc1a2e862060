"""ACK and NACK of deliveries of topics."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.core import Server, clean_server, errors
from support.workers import (
    NOT_WAITING,
    VERSIONS,
    numbers,
)

from rtchat.core.stomp.frames import Version


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_a_topic_accepts_acknowledgements(server: Server, version: Version, ack: str) -> None:
    client = server.client(version)
    client.subscribe("/topic/t", ack=ack)
    for text in "ab":
        server.client().publish("/topic/t", text)
    first, second = client.messages()
    client.ack(first)
    client.ack(second)
    assert client.received() == []
    assert not client.line.closed


def test_acknowledgements_of_a_topic_drive_prefetch(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client", prefetch_count="1")
    publisher = server.client()
    for text in "abc":
        publisher.publish("/topic/t", text)
    got = []
    for _ in range(3):
        message = client.message()
        got.append(message.body)
        client.ack(message)
    assert got == [b"a", b"b", b"c"]
    assert server.waiting_bytes == 0


@pytest.mark.parametrize("requeue", ["true", "false"])
def test_a_topic_redelivers_nothing(server: Server, requeue: str) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client", prefetch_count="1")
    publisher = server.client()
    publisher.publish("/topic/t", "a")
    publisher.publish("/topic/t", "b")
    client.nack(client.message(), requeue=requeue)
    message = client.message()
    assert numbers(message) == ("b", "", "")
    client.unsubscribe()
    client.subscribe("/topic/t", ack="client")
    assert client.messages() == []
    assert server.broker.statistics.queue_count == 0


def test_a_topic_s_message_is_acknowledged_once(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client")
    server.client().publish("/topic/t", "a")
    message = client.message()
    client.ack(message)
    frames = client.ask("ACK", **client.naming(message), receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["ACK", "NACK"])
def test_a_topic_s_message_may_be_acknowledged_after_unsubscribe(
    server: Server, version: Version, command: str
) -> None:
    client = server.client(version)
    client.subscribe("/topic/t", ack="client-individual")
    server.client().publish("/topic/t", "a")
    message = client.message()
    client.unsubscribe()
    assert len(client.session.subscriptions._by_number) == 0, "nothing can come back"
    frames = client.ask(command, **client.naming(message), receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]
    wrong = {key: f"{value}9" for key, value in client.naming(message).items()}
    assert errors(client.ask(command, **wrong)) == [f"{command} {NOT_WAITING}"]


def test_a_topic_s_last_acknowledgement_may_come_with_the_end(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", ack="client")
    server.client().publish("/topic/t", "a")
    message = client.message()
    client.say("BEGIN", transaction="t")
    client.ack(message, transaction="t")
    client.unsubscribe()
    assert client.ask("COMMIT", transaction="t", receipt="r")[0].command == "RECEIPT"
