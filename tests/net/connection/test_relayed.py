"""For whom a connection to a port of this server was made."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from rtchat.net.connection.client_address import ClientAddress
from rtchat.net.connection.relayed import Relayed
from rtchat.net.connection.transport import address_name

BROWSER = ClientAddress.at(IPv4Address("TCP", "192.0.2.7", 1234))
OWN = IPv4Address("TCP", "127.0.0.1", 40_000)


@pytest.mark.parametrize(
    "own, peer",
    [
        (OWN, OWN),
        (OWN, IPv6Address("TCP", "::ffff:127.0.0.1", 40_000)),
        (IPv6Address("TCP", "::1", 40_000), IPv6Address("TCP", "::1", 40_000)),
    ],
)
def test_a_connection_that_arrives_is_known_once(own: IAddress, peer: IAddress) -> None:
    relayed = Relayed()
    relayed.note(own, BROWSER)
    assert relayed.take(IPv4Address("TCP", "127.0.0.1", 40_001)) is None
    client = relayed.take(peer)
    assert client is not None
    assert address_name(client) == "192.0.2.7:1234"
    assert relayed.take(peer) is None


def test_one_that_is_gone_before_it_arrives_is_forgotten() -> None:
    relayed = Relayed()
    end = relayed.note(OWN, BROWSER)
    relayed.forget(end)
    relayed.forget(end)
    assert relayed.take(OWN) is None


def test_a_browser_behind_a_unix_socket_has_no_address_here_either() -> None:
    relayed = Relayed()
    relayed.note(OWN, ClientAddress.at(UNIXAddress(None)))
    client = relayed.take(OWN)
    assert client is not None
    assert address_name(client) == "unix socket"
    assert getattr(client, "host", None) is None
