"""Client addresses behind a front proxy: the PROXY protocol at the start of a connection."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.proxy_protocol import MAX_HEADER_BYTES, read_header
from rtchat.net.connection.client_address import ForwardedAddress
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.transport import as_stream, peer_name
from rtchat.net.twisted_internals import override_peer, replace_protocol

__all__ = ["ProxyProtocolEndpoint", "ProxyProtocolFactory"]

_log = Logger(__package__)


_HEADER_TIMEOUT_S = 10


class ProxyProtocolFactory(Factory):
    """Reads the PROXY protocol header with which front proxies name their clients.

    Connections from a trusted address must begin with the header; on all others it is not looked
    for.

    Args:
        wrapped: Serves the connections; its ``buildProtocol`` receives the client's address.
        trusted: The front proxies.
        clock: Runs the time-out for the header.
        client_log: Where lines about proxies are written; by default a log of its own.
    """

    noisy = False

    def __init__(
        self,
        wrapped: IProtocolFactory,
        trusted: AddressList,
        clock: IReactorTime,
        client_log: ClientLog | None = None,
    ) -> None:
        self.client_log = client_log or ClientLog(clock)
        self.wrapped = wrapped
        self.trusted = trusted
        self.clock = clock

    @override
    def doStart(self) -> None:
        super().doStart()
        self.wrapped.doStart()

    @override
    def doStop(self) -> None:
        self.wrapped.doStop()
        super().doStop()

    @override
    def buildProtocol(self, addr: IAddress | None) -> Any:
        if getattr(addr, "host", None) in self.trusted:
            return _HeaderReader(self)
        return self.wrapped.buildProtocol(cast(IAddress, addr))


@implementer(IStreamServerEndpoint)
class ProxyProtocolEndpoint:
    """Opens a port whose connections begin with the PROXY protocol header, before TLS.

    Args:
        endpoint: The port, without TLS.
        trusted: The front proxies.
        clock: Runs the time-out for the header.
        tls: Starts TLS on each connection; None for a port without TLS.
        client_log: Where lines about proxies are written; by default a log of its own.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        trusted: AddressList,
        clock: IReactorTime,
        tls: IOpenSSLServerConnectionCreator | None = None,
        client_log: ClientLog | None = None,
    ) -> None:
        self._client_log = client_log
        self._endpoint = endpoint
        self._trusted = trusted
        self._clock = clock
        self._tls = tls

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803
        """Open the port."""
        served = protocolFactory
        if self._tls is not None:
            served = TLSMemoryBIOFactory(self._tls, False, served)
        return self._endpoint.listen(
            ProxyProtocolFactory(served, self._trusted, self._clock, self._client_log)
        )


class _HeaderReader(Protocol):
    """Reads the header, then hands the connection over to the protocol that serves it."""

    def __init__(self, factory: ProxyProtocolFactory) -> None:
        self._factory = factory
        self._data = b""
        self._timer: IDelayedCall | None = None

    @override
    def connectionMade(self) -> None:
        self._timer = self._factory.clock.callLater(_HEADER_TIMEOUT_S, self._timed_out)

    @override
    def dataReceived(self, data: bytes) -> None:
        self._data += data
        try:
            header = read_header(self._data[: MAX_HEADER_BYTES + 1])
        except ValueError as error:
            self._refuse(str(error))
            return
        if header is None:
            return
        self._stop_timer()
        transport: Any = self.transport
        if header.source is not None:
            override_peer(transport, ForwardedAddress(*header.source))
        served = self._factory.wrapped.buildProtocol(transport.getPeer())
        if served is None:
            transport.abortConnection()
            return
        replace_protocol(transport, served)
        served.makeConnection(transport)
        rest, self._data = self._data[header.length :], b""
        if rest:
            served.dataReceived(rest)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_timer()

    def _timed_out(self) -> None:
        self._refuse(f"no PROXY protocol header within {_HEADER_TIMEOUT_S} s")

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _refuse(self, why: str) -> None:
        stream = as_stream(self.transport)
        self._factory.client_log.warn(
            _log,
            "{peer}: refused, this front proxy did not name its client: {why}. Make it send the "
            "PROXY protocol, or remove it from [front] trusted",
            peer=peer_name(stream),
            why=why,
        )
        stream.abortConnection()
