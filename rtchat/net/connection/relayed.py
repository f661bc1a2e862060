"""Connections that this server makes to a port of its own, for clients of its gateway.

``/tcp/localhost:61613`` leads to the broker through a loopback socket. Without this, all who come
that way would be one source: 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.net.connection.client_address import ClientAddress, ForwardedAddress
from rtchat.net.connection.transport import as_stream
from rtchat.net.twisted_internals import override_peer, replace_protocol

__all__ = ["Newcomer", "Relayed"]

_End = tuple[str, int]


class Relayed:
    """Knows for whom a connection was made that arrives at a port of this server.

    Attributes:
        connecting: How many such connections are being made. Their own ends are not known yet, but
            will be one round of the reactor after they have arrived.
        clients: For whom those were made that have not been asked about, by their own ends.
    """

    __slots__ = ("clients", "connecting")

    def __init__(self) -> None:
        self.connecting = 0
        self.clients: dict[_End, IAddress] = {}

    def note(self, own: IAddress, client: ClientAddress) -> _End:
        """Note a connection that was made; return its own end."""
        end = _end(own)
        if client.host is None:
            self.clients[end] = UNIXAddress(None)
        else:
            self.clients[end] = ForwardedAddress(client.host, client.port)
        return end

    def forget(self, end: _End) -> None:
        """Forget a connection that is gone; do nothing if it has arrived."""
        self.clients.pop(end, None)

    def take(self, peer: IAddress) -> IAddress | None:
        """Return for whom a connection from this address was made, or None; ask once."""
        return self.clients.pop(_end(peer), None)


class Newcomer(Protocol):
    """A client that may come through the gateway: then it has the address of the browser there.

    Args:
        relayed: Knows that; if not now, then in the next round of the reactor.
        address: Where the connection comes from.
        build: Returns what serves a client with an address.
        clock: Runs the timer until then.
    """

    def __init__(
        self,
        relayed: Relayed,
        address: IAddress,
        build: Callable[[IAddress], IProtocol],
        clock: IReactorTime,
    ) -> None:
        self._relayed = relayed
        self._address = address
        self._build = build
        self._clock = clock
        self._timer: IDelayedCall | None = None

    @override
    def connectionMade(self) -> None:
        client = self._relayed.take(self._address)
        if client is not None or not self._relayed.connecting:
            self._go_on(client)
        else:
            as_stream(self.transport).pauseProducing()
            self._timer = self._clock.callLater(
                0, lambda: self._go_on(self._relayed.take(self._address))
            )

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _go_on(self, client: IAddress | None) -> None:
        """Hand the connection over to what serves it."""
        stream = as_stream(self.transport)
        if client is not None:
            override_peer(stream, client)
        protocol = self._build(client or self._address)
        replace_protocol(stream, protocol)
        if self._timer is not None:
            stream.resumeProducing()
        protocol.makeConnection(cast(ITransport, stream))


def _end(address: IAddress) -> _End:
    host: str = getattr(address, "host", None) or ""
    return host.removeprefix("::ffff:"), getattr(address, "port", 0)
