"""The interface of stream transports, socket options, and names of addresses for the log."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Protocol, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IProducer, IPushProducer, ITransport
from zope.interface import implementer

from rtchat.net.twisted_internals import accept_at_most, is_plain_socket, socket_of
from rtchat.text import escaped

__all__ = [
    "SLOW_UNSENT_BYTES",
    "UNSENT_BYTES",
    "USER_TIMEOUT_S",
    "PauseForwarder",
    "StreamTransport",
    "address_name",
    "as_stream",
    "end_sending",
    "expect_life",
    "limit_unsent",
    "peer_name",
    "set_no_delay",
    "set_up_port",
]

USER_TIMEOUT_S = 90
"""How long sent bytes may stay unacknowledged: as long as keep-alive waits when all is silent."""

UNSENT_BYTES = 1024 * 1024
"""How much the system may hold unsent for a browser. With a quarter of it, bulk data takes a third
longer."""

SLOW_UNSENT_BYTES = 128 * 1024
"""The same on a slow line: little stands before a ping."""

_ACCEPTS_IN_A_ROUND = 8
"""How many connections a port accepts before others are read: a log-in takes about a millisecond,
and what the log-ins of a round take, each message of the others waits."""

_LIFE_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 60),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", USER_TIMEOUT_S * 1000),
        )
        if hasattr(socket, name)  # not all systems have all of them
    ),
]


class StreamTransport(Protocol):
    """The interface that all of Twisted's stream transports have in common.

    Twisted spreads it over ITransport, ITCPTransport, IConsumer and IPushProducer; TCP, TLS and
    Unix sockets provide all of it, and so does our WebSocket.
    """

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def loseConnection(self) -> None:
        """Close once everything written is sent."""

    def loseWriteConnection(self) -> None:
        """Half-close: end our direction once everything written is sent."""

    def abortConnection(self) -> None:
        """Close at once; unsent bytes are lost."""

    def pauseProducing(self) -> None:
        """Stop reading."""

    def resumeProducing(self) -> None:
        """Resume reading."""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Pause and resume this producer as the send buffer fills and empties."""

    def unregisterProducer(self) -> None:
        """Stop pausing and resuming the producer."""

    def getPeer(self) -> IAddress:
        """Return the other side's address."""


@implementer(IPushProducer)
class PauseForwarder:
    """A producer that pauses and resumes the reading of another transport.

    It ignores that the consumer is gone: the transport's own protocol decides what that means.
    """

    def __init__(self, stream: StreamTransport) -> None:
        self._stream = stream

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._stream.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume reading."""
        self._stream.resumeProducing()

    def stopProducing(self) -> None:
        """Do nothing."""


def as_stream(transport: ITransport | None) -> StreamTransport:
    """Return a protocol's transport with its full type.

    Raises:
        ValueError: The protocol is not connected.
    """
    if transport is None:
        raise ValueError("not connected")
    return cast(StreamTransport, transport)


def end_sending(stream: StreamTransport) -> None:
    """Close our direction once everything is sent, or both where there is no half-close (TLS).

    To close both at once would be a reset if the other side is still sending, and that may
    overtake our last bytes.
    """
    if is_plain_socket(stream):
        stream.loseWriteConnection()
    else:
        stream.loseConnection()


def set_no_delay(stream: StreamTransport) -> None:
    """Set TCP_NODELAY, so that small writes are sent at once; do nothing without TCP.

    Unix sockets have the method, too, but before Twisted 24.11 it fails there.
    """
    method = getattr(stream, "setTcpNoDelay", None)
    if method is not None and not isinstance(stream.getPeer(), UNIXAddress):
        method(True)


def expect_life(connection: socket.socket) -> None:
    """Let the system notice that a machine has vanished, within 90 s; do nothing without TCP.

    On a listening socket, this holds for each connection that it accepts. Probes start after 60 s
    of silence; after three of them, 10 s apart, without an answer the connection is lost. So it is
    when sent bytes were not acknowledged for as long: while they are sent again, there are no
    probes. Whose window is closed, must be exempted (:mod:`rtchat.net.connection.window_watch`).
    """
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, number, value in _LIFE_OPTIONS:
        try:
            connection.setsockopt(level, number, value)
        except OSError:
            # Some systems refuse this for a connection that is gone, and not all kernels that run
            # Linux programs know all of them.
            continue


def set_up_port(port: object, *, is_http: bool) -> None:
    """Set how many connections a listening port accepts at a time, and their options.

    Args:
        port: The port; those of other kinds than TCP have no options.
        is_http: Whether web browsers come, rather than STOMP clients.
    """
    accept_at_most(port, _ACCEPTS_IN_A_ROUND)
    listening = socket_of(port)
    if listening is None or listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    expect_life(listening)
    if is_http:
        limit_unsent(listening, UNSENT_BYTES)


def limit_unsent(connection: socket.socket | None, most_bytes: int) -> None:
    """Let the system hold no more unsent bytes than this; do nothing without TCP.

    On a listening socket, this holds for each connection that it accepts.
    """
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with suppress(OSError):  # it is closed
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most_bytes)


def address_name(address: object) -> str:
    """Return ``host:port``, with brackets around IPv6, or ``unix:PATH`` for a Unix socket.

    A port of 0 is unknown, and left out.
    """
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        name = getattr(address, "name", None)
        text = name.decode(errors="replace") if isinstance(name, bytes) else name
        return f"unix:{escaped(text)}" if text else "unix socket"
    host = host.removeprefix("::ffff:")  # IPv4 on a port that is open for both
    name = f"[{host}]" if ":" in host else host
    return f"{name}:{port}" if port else name


def peer_name(transport: StreamTransport) -> str:
    """Return the name of the peer's address."""
    return address_name(transport.getPeer())
