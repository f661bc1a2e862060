"""SENDs that come too fast wait for their bytes, as for their number; users and guests apart."""

from __future__ import annotations

from typing import Any

import pytest

from rtchat.core.chat.limits import ChatPolicy, GuestRates
from rtchat.testing import Broker, Client

RIGHTS = {"*": "all /topic/#", "anonymous": "all /topic/#"}


def broker(**rates: Any) -> Broker:
    return Broker(chat=ChatPolicy(**rates), users={"ada": "a", "bob": "b"}, rights=RIGHTS)


def reader_of(broker: Broker) -> Client:
    reader = broker.connect(address="2001:db8::1")
    reader.subscribe("/topic/a")
    return reader


def bodies(client: Client) -> list[int]:
    """Return the lengths of the messages that came."""
    return [len(frame.body) for frame in client.received() if frame.command == "MESSAGE"]


def test_bytes_above_the_rate_wait_for_their_time() -> None:
    server = broker(bytes_per_second=1000, bytes_burst=2000)
    reader, sender = reader_of(server), server.connect()
    for _ in range(4):
        sender.send("/topic/a", "x" * 950)  # with its head, about 1000
    assert bodies(reader) == [950, 950]
    assert sender.is_paused
    server.advance(0.9)
    assert bodies(reader) == []
    server.advance(0.2)
    assert bodies(reader) == [950]
    server.advance(1.1)
    assert bodies(reader) == [950]
    assert not sender.is_paused


def test_the_head_counts_as_the_body_does() -> None:
    server = broker(bytes_per_second=1000, bytes_burst=2000)
    reader, sender = reader_of(server), server.connect()
    for _ in range(3):
        sender.send("/topic/a", "", note="x" * 950)
    assert len(bodies(reader)) == 2
    assert sender.is_paused


def test_a_message_of_more_than_the_burst_gets_through_once_it_is_paid_for() -> None:
    server = broker(bytes_per_second=1000, bytes_burst=1000)
    reader, sender = reader_of(server), server.connect()
    sender.send("/topic/a", "x" * 3000)
    server.advance(1.9)
    assert bodies(reader) == []
    server.advance(0.3)
    assert bodies(reader) == [3000]


def test_bytes_count_once_for_each_destination() -> None:
    server = broker(bytes_per_second=1000, bytes_burst=3000)
    sender = server.connect()
    sender.send("/topic/a,/topic/b,/topic/c,/topic/d", "x" * 900)
    assert sender.is_paused


def test_messages_and_bytes_both_have_to_be_there() -> None:
    server = broker(messages_per_second=1, burst=2, bytes_per_second=1000, bytes_burst=100_000)
    reader, sender = reader_of(server), server.connect()
    for _ in range(3):
        sender.send("/topic/a", "x")
    assert len(bodies(reader)) == 2
    server.advance(1.1)
    assert len(bodies(reader)) == 1
    sender.send("/topic/a", "x" * 110_000)
    server.advance(2)
    assert bodies(reader) == []
    server.advance(12)
    assert bodies(reader) == [110_000]


def test_a_client_that_goes_gives_back_the_bytes_it_has_not_sent() -> None:
    server = broker(bytes_per_second=1000, bytes_burst=1000)
    reader = reader_of(server)
    leaving = server.connect(address="192.0.2.1")
    leaving.send("/topic/a", "x" * 500_000)
    assert leaving.is_paused
    leaving.drop()
    server.connect(address="192.0.2.1").send("/topic/a", "x" * 900)
    assert bodies(reader) == [900]


def test_the_sessions_of_a_user_share_a_rate_wherever_they_come_from() -> None:
    server = broker(bytes_per_second=1000, bytes_burst=2000)
    reader = reader_of(server)
    first = server.connect(user="ada", address="192.0.2.1")
    second = server.connect(user="ada", address="192.0.2.2")
    other = server.connect(user="bob", address="192.0.2.1")
    for client in (first, second, second, other):
        client.send("/topic/a", "x" * 900)
    assert bodies(reader) == [900, 900, 900]
    assert second.is_paused
    assert not other.is_paused


@pytest.mark.parametrize("address", ["2001:db8:1::1", "2001:db8:1::2"])
def test_guests_have_rates_of_their_own(address: str) -> None:
    server = broker(
        messages_per_second=10, burst=10, guests=GuestRates(messages_per_second=1, burst=2)
    )
    reader = reader_of(server)
    user = server.connect(user="ada", address="2001:db8:1::1")
    guest = server.connect(address="2001:db8:1::1")
    for _ in range(10):
        user.send("/topic/a", "u")
    guest.send("/topic/a", "g")
    assert len(bodies(reader)) == 11
    server.connect(address=address).send("/topic/a", "g")
    server.connect(address=address).send("/topic/a", "g")
    assert len(bodies(reader)) == 1  # of two, from the /64 network that has one left
    assert not user.is_paused


def test_subscriptions_of_guests_have_a_rate_of_their_own() -> None:
    server = broker(guests=GuestRates(subscriptions_per_second=1, subscriptions_burst=2))
    user, guest = server.connect(user="ada"), server.connect()
    for number in range(5):
        user.subscribe(f"/topic/{number}")
    assert server.subscriptions == 5
    for number in range(3):
        guest.subscribe(f"/topic/{number}")
    assert server.subscriptions == 7
    server.advance(1.1)
    assert server.subscriptions == 8


def test_guests_alone_may_have_a_rate() -> None:
    server = broker(guests=GuestRates(bytes_per_second=1000, bytes_burst=1000))
    reader = reader_of(server)
    user, guest = server.connect(user="ada"), server.connect()
    for client in (user, guest):
        for _ in range(3):
            client.send("/topic/a", "x" * 900)
    assert len(bodies(reader)) == 4
    assert guest.is_paused
    assert not user.is_paused


def test_other_rights_do_not_lift_a_rate_of_bytes() -> None:
    server = broker(bytes_per_second=1000, bytes_burst=1000)
    reader, sender = reader_of(server), server.connect(user="ada")
    sender.send("/topic/a", "x" * 900)
    server.set_rights(RIGHTS)
    for _ in range(3):
        sender.send("/topic/a", "x" * 900)
    assert len(bodies(reader)) == 1
    assert sender.is_paused
