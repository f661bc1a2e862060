"""TLS handshakes: the ciphers of TLS 1.2, and those that take too long."""

from __future__ import annotations

from collections import deque
from typing import Any
from weakref import ReferenceType, ref

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from rtchat.net.twisted_internals import replace_tls

__all__ = [
    "TLS_1_2_CIPHERS",
    "HandshakeTimeout",
    "HandshakeWatch",
    "WatchedTls",
    "is_handshake_done",
    "watch_endpoint",
]

TLS_1_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""With TLS 1.2 only keys that are made for the connection (ECDHE), and only authenticated
encryption (AEAD), as TLS 1.3 has it always."""


class HandshakeTimeout(Exception):
    """A TLS handshake was not complete in time."""


class HandshakeWatch:
    """Cuts connections whose TLS handshake takes too long.

    One timer looks at all of them: a connection costs an entry in a list.

    Args:
        clock: Runs the timer, while there are new connections.
        timeout_s: Seconds that a handshake may take, from the connection on.
    """

    def __init__(self, clock: IReactorTime, timeout_s: float) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        # Those that are gone meanwhile are not kept.
        self._begun: deque[tuple[float, ReferenceType[TLSMemoryBIOProtocol]]] = deque()
        self._timer: IDelayedCall | None = None

    def watch(self, connection: TLSMemoryBIOProtocol) -> None:
        """Watch a connection that begins."""
        self._begun.append((self._clock.seconds() + self._timeout_s, ref(connection)))
        if self._timer is None:
            self._timer = self._clock.callLater(self._timeout_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now_s = self._clock.seconds()
        while self._begun and self._begun[0][0] <= now_s:
            connection = self._begun.popleft()[1]()
            if (
                connection is not None
                and connection.connected
                and not is_handshake_done(connection)
            ):
                why = f"no complete TLS handshake within {self._timeout_s:g} s"
                connection.failVerification(Failure(HandshakeTimeout(why)))
        if self._begun:
            left_s = self._begun[0][0] - now_s
            self._timer = self._clock.callLater(left_s, self._look)


@implementer(IOpenSSLServerConnectionCreator)
class WatchedTls:
    """Starts TLS as another object does, and watches the handshakes.

    Args:
        creator: Makes OpenSSL's connections.
        handshakes: Watches them.
    """

    def __init__(
        self, creator: IOpenSSLServerConnectionCreator, handshakes: HandshakeWatch
    ) -> None:
        self.creator = creator
        self._handshakes = handshakes

    def serverConnectionForTLS(  # noqa: N802
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: N803
    ) -> SSL.Connection:
        """Return OpenSSL's connection for one new client."""
        self._handshakes.watch(tlsProtocol)
        made: SSL.Connection = self.creator.serverConnectionForTLS(tlsProtocol)
        return made


def watch_endpoint(endpoint: object, handshakes: HandshakeWatch) -> None:
    """Treat a port that brings its own certificate (``ssl:…``) like those of ``[ssl]``."""

    def watched(options: Any) -> WatchedTls:
        options.getContext().set_cipher_list(TLS_1_2_CIPHERS.encode("ascii"))
        return WatchedTls(options, handshakes)

    replace_tls(endpoint, watched)


def is_handshake_done(connection: TLSMemoryBIOProtocol) -> bool:
    """Return whether the handshake of a connection that is open is complete."""
    handle: SSL.Connection = connection.getHandle()
    return handle.get_peer_finished() is not None
