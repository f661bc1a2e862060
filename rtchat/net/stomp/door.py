"""How many STOMP clients there may be: the others get an ERROR frame, and are closed."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override

from rtchat.core.session.refusals import error_frame
from rtchat.core.stomp.frames import encode
from rtchat.errors import LimitExceeded
from rtchat.net.connection.framed_transport import IFramedTransport
from rtchat.net.connection.limits import ReachedLimit, SourceLimiter
from rtchat.net.connection.relayed import Newcomer, Relayed
from rtchat.net.connection.transport import as_stream, end_sending
from rtchat.net.stomp.server import StompFactory

__all__ = ["StompDoor"]

_TRY_LATER = 1013

_REFUSED_S = 2.0
"""How long a refused client has for reading why, and closing."""

_MAX_REFUSED = 100
"""How many are waited for at once; one more is closed before it has read anything."""


class StompDoor(Factory):
    """Lets clients in as long as there is room.

    Args:
        stomp: Serves those that are let in.
        limiter: Counts them.
        relayed: Knows which connections the gateway makes, and for whom.

    Attributes:
        limiter: Counts them.
        relayed: As above.
    """

    noisy = False

    def __init__(
        self, stomp: StompFactory, limiter: SourceLimiter, relayed: Relayed | None = None
    ) -> None:
        self.limiter = limiter
        self.relayed = relayed or Relayed()
        self.clock: IReactorTime = stomp.clock
        self.refused: set[RefusedClient] = set()
        self._stomp = stomp

    @override
    def buildProtocol(self, addr: IAddress | None, *, is_known: bool = False) -> Any:
        relayed = self.relayed
        may_be_relayed = (relayed.connecting or relayed.clients) and not is_known
        # Clients of /ws have another kind of address.
        if may_be_relayed and isinstance(addr, (IPv4Address, IPv6Address)):
            build = partial(self.buildProtocol, is_known=True)
            return Newcomer(relayed, addr, build, self.clock)
        reached = self.limiter.refused(addr)
        if reached is not None:
            return RefusedClient(self, reached)
        protocol = self._stomp.buildProtocol(addr)
        protocol.limiter, protocol.place = self.limiter, self.limiter.enter(addr)
        return protocol


class RefusedClient(Protocol):
    """A client for which there is no room."""

    def __init__(self, door: StompDoor, reached: ReachedLimit) -> None:
        self._door = door
        self._reached = reached
        self._timer: IDelayedCall | None = None

    @override
    def connectionMade(self) -> None:
        stream, waiting = as_stream(self.transport), self._door.refused
        if len(waiting) >= _MAX_REFUSED:
            stream.abortConnection()
            return
        waiting.add(self)
        self._timer = self._door.clock.callLater(_REFUSED_S, stream.abortConnection)
        stream.write(_error(self._reached))
        if IFramedTransport.providedBy(stream):
            cast(IFramedTransport, stream).close_with(_TRY_LATER, "too many connections")
        else:
            end_sending(stream)  # what it sends is read and dropped

    @override
    def dataReceived(self, data: bytes) -> None:
        """Drop it."""

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._door.refused.discard(self)
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


def _error(reached: ReachedLimit) -> bytes:
    whose = " from one address" if reached.name == "per_source" else ""
    problem = LimitExceeded(
        f"too many connections{whose}, {reached.maximum} are allowed",
        f"Try again later. The limit is connections.{reached.name} of the server.",
    )
    return encode("ERROR", *error_frame(problem, None))
