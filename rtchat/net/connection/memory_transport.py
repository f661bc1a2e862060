"""A transport in memory, for the broker in other people's tests."""

from __future__ import annotations

from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProducer, IPushProducer
from twisted.python.failure import Failure

__all__ = ["MemoryTransport"]

_HEARTBEAT = b"\n"

_SOCKET_BYTES = 256 * 1024
"""The simulated socket buffer of a stalled client, in bytes: more pauses the server's output."""


class MemoryTransport:
    """The server's transport of a connection in memory.

    Args:
        number: The number of the client, which is its made-up port.
        host: The client's made-up address.
    """

    def __init__(self, number: int, host: str = "127.0.0.1") -> None:
        self.from_server = bytearray()
        self.heartbeats = 0
        self.is_stalled = False
        self.is_closed = False
        self.is_paused = False
        self.disconnecting = False
        self.on_close = _ignore
        self._address = _address(host, number)
        self._to_server: list[bytes] = []
        self._producer: IPushProducer | None = None
        self._is_producer_paused = False
        self._receive = _ignore_bytes

    def to_server(self, data: bytes, receive: object) -> None:
        """Pass the client's bytes to the server, now or when the server continues reading."""
        self._receive = receive  # type: ignore[assignment]
        self._to_server.append(data)
        self._pass_input()

    def drain(self) -> None:
        """Resume the server's producer: the client has read all output."""
        if self._producer is not None and self._is_producer_paused:
            self._is_producer_paused = False
            self._producer.resumeProducing()

    def _pass_input(self) -> None:
        while self._to_server and not (self.is_paused or self.is_closed):
            self._receive(self._to_server.pop(0))

    # The interface of a Twisted transport

    def write(self, data: bytes) -> None:
        """Buffer output of the server."""
        self.from_server += data
        if data == _HEARTBEAT:
            self.heartbeats += 1
        is_full = self.is_stalled and len(self.from_server) > _SOCKET_BYTES
        if is_full and self._producer is not None and not self._is_producer_paused:
            self._is_producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: list[bytes]) -> None:
        """Buffer output of the server, in pieces."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close the connection."""
        self.disconnecting = True
        if not self.is_closed:
            self.is_closed = True
            self.on_close(Failure(ConnectionDone()))

    def loseWriteConnection(self) -> None:
        """Close the connection: half-closed connections are not simulated."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """Close the connection."""
        self.loseConnection()

    def pauseProducing(self) -> None:
        """Hold the client's bytes back: the server stops reading."""
        self.is_paused = True

    def resumeProducing(self) -> None:
        """Pass the client's bytes again: the server continues reading."""
        self.is_paused = False
        self._pass_input()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register the producer to pause when the client stalls."""
        self._producer = IPushProducer(producer)

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        self._producer = None

    def getPeer(self) -> IAddress:
        """Return the client's address, which is made up; its port is the client's number."""
        return self._address

    getHost = getPeer


def _address(host: str, port: int) -> IAddress:
    """Return an address as Twisted's sockets have it."""
    is_ipv6 = isIPv6Address(host)
    return IPv6Address("TCP", host, port) if is_ipv6 else IPv4Address("TCP", host, port)


def _ignore(reason: Failure) -> None:
    """Ignore the close before a callback is set."""


def _ignore_bytes(data: bytes) -> None:
    """Ignore bytes before the server's callback is known."""
