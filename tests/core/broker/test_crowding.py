"""Memory that is nearly used up: what the operator is told, and whose fault it is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.core import Server

from rtchat.core.broker.events import BrokerEvents, HeldByQueue

LIMIT = 2_000_000


class Reports(BrokerEvents):
    """Keeps what is told about memory."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int, Sequence[HeldByQueue]]] = []

    def memory_short(self, used: int, max_bytes: int, largest: Sequence[HeldByQueue]) -> None:
        self.heard.append((used, max_bytes, largest))


@pytest.fixture
def server() -> Server:
    server = Server()
    server.limit(max_bytes=LIMIT)
    return server


@pytest.fixture
def reports(server: Server) -> Reports:
    reports = Reports()
    server.broker.events.add(reports)
    return reports


def test_the_largest_queues_are_told_once_with_their_sizes(
    server: Server, reports: Reports
) -> None:
    client = server.client()
    for _ in range(16):
        client.publish("/queue/large", b"x" * 100_000)
    client.publish("/queue/second", b"x" * 200_000)
    client.publish("/queue/tiny", b"x")
    for _ in range(3):
        server.expire()
    [(used, most, largest)] = reports.heard
    assert (used, most) == (server.broker.budget.used, LIMIT)
    assert [(one.destination, one.messages, one.consumers) for one in largest] == [
        ("/queue/large", 16, 0),
        ("/queue/second", 1, 0),
    ]
    assert largest[0].bytes == server.broker.queues["/queue/large"].bytes


def test_it_is_told_again_after_much_was_free(server: Server, reports: Reports) -> None:
    client = server.client()
    for _ in range(2):
        for _ in range(18):
            client.publish("/queue/large", b"x" * 100_000)
        server.expire()
        server.expire()
        server.drain("/queue/large")
        server.expire()
    assert len(reports.heard) == 2


def test_a_queue_within_its_share_has_no_part_if_it_is_emptied(server: Server) -> None:
    crowding, client = server.broker.crowding, server.client()
    client.publish("/queue/a", b"x")
    assert crowding.has_part(server.broker.queues["/queue/a"]), "nothing empties it"
    worker = server.client()
    worker.subscribe("/queue/a", ack="client-individual")
    assert not crowding.has_part(server.broker.queues["/queue/a"])
    client.publish("/queue/a", b"x" * (LIMIT // 2))
    assert crowding.has_part(server.broker.queues["/queue/a"])
