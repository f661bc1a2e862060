"""Testing a program that uses a STOMP queue, without a server and without sleeping.

Run it with ``pytest examples/test_jobs.py`` where rtchat is installed, which provides the
fixtures ``rtchat_broker`` and ``rtchat_server``.
"""

from __future__ import annotations

import socket

from rtchat.pytest_plugin import Server
from rtchat.testing import Broker, Client


class Worker:
    """The program under test: takes jobs one by one and acknowledges those it completed."""

    def __init__(self, connection: Client) -> None:
        self.connection = connection
        self.done: list[str] = []
        connection.subscribe("/queue/jobs", ack="client-individual", prefetch_count="1")

    def work(self) -> None:
        """Process the waiting jobs."""
        for job in self.connection.received():
            text = job.body.decode()
            if text == "impossible":
                self.connection.nack(job, requeue=False)
            else:
                self.done.append(text)
                self.connection.ack(job)


def test_a_job_survives_the_worker_that_took_it(rtchat_broker: Broker) -> None:
    rtchat_broker.connect().send("/queue/jobs", "paint the fence")
    first = Worker(rtchat_broker.connect())
    first.connection.drop()

    second = Worker(rtchat_broker.connect())
    second.work()
    assert second.done == ["paint the fence"]
    assert rtchat_broker.held_messages == 0


def test_an_impossible_job_becomes_a_dead_letter(rtchat_broker: Broker) -> None:
    rtchat_broker.connect().send("/queue/jobs", "impossible")
    Worker(rtchat_broker.connect()).work()

    dead_letters = rtchat_broker.connect()
    dead_letters.subscribe("/queue/DLQ.jobs")
    assert dead_letters.receive().body == b"impossible"


def test_a_worker_that_falls_silent_is_cut_after_twice_its_heartbeat(
    rtchat_broker: Broker,
) -> None:
    worker = rtchat_broker.connect(heartbeat=(10_000, 10_000))
    rtchat_broker.advance(19)
    assert not worker.is_closed
    rtchat_broker.advance(2)
    assert worker.is_closed


def test_a_real_server_answers_on_a_real_port(rtchat_server: Server) -> None:
    address = (rtchat_server.host, rtchat_server.stomp_port)
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        assert connection.recv(4096).startswith(b"CONNECTED\nversion:1.2\n")
