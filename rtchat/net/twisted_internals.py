"""Everything that goes beyond Twisted's public interfaces, in one place.

Two kinds of things are here: private attributes and methods (a leading underscore), and parts of a
live object that Twisted does not expect to be replaced (a transport's protocol, its peer, its
``doRead``). No other module may do either. ``tests/net/test_twisted_internals.py`` enforces that,
tries each function on Twisted's own transports, and lists the releases that each was checked with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from socket import socket
from types import FrameType
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import IAddress, IProtocol, ISystemHandle
from twisted.logger import globalLogPublisher
from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import HTTPChannel
from typing_extensions import override

__all__ = [
    "HTTPConnection",
    "Send",
    "accept_at_most",
    "direct_send",
    "held_bytes",
    "is_daemonizing",
    "is_log_on_screen",
    "is_plain_socket",
    "override_peer",
    "override_read",
    "read_once",
    "replace_protocol",
    "replace_tls",
    "restore_read",
    "set_read_size",
    "socket_of",
    "use_monotonic_clock",
    "waiting_bytes",
]

Send = Callable[[Any], "int | BaseException"]
"""Takes bytes or a view of them; returns how many were sent, or why the connection is lost."""


# ---------------------------------------------------------------- transports


def is_plain_socket(transport: object) -> bool:
    """Return whether a transport is one of Twisted's own sockets, TCP or Unix, without TLS.

    TLS is a protocol of its own above the socket; after ``startTLS`` the socket's class gets the
    attribute ``TLS``.
    """
    return isinstance(transport, FileDescriptor) and not getattr(transport, "TLS", False)


def direct_send(transport: Any) -> tuple[Send | None, socket | None]:
    """Return the function that sends on a plain socket at once, and the socket.

    Bytes sent this way overtake what waits in the transport; send only while nothing does.

    Returns:
        Both are None for TLS and other transports. The socket is None, too, when the transport
        does not offer it; then the function is the transport's own ``writeSomeData``.
    """
    if not isinstance(transport, FileDescriptor) or getattr(transport, "TLS", False):
        return None, None
    if ISystemHandle.providedBy(transport):
        # What writeSomeData does beside this (a view of the bytes, a loop for interrupted calls,
        # which Python itself has had since 3.5) costs a quarter as much as the send.
        handle: Any = transport.getHandle()
        return handle.send, handle
    return transport.writeSomeData, None


def held_bytes(transport: object) -> int:
    """Return how many bytes wait in a plain socket's transport; 0 for other transports."""
    if not isinstance(transport, FileDescriptor):
        return 0
    return len(transport.dataBuffer) - transport.offset + transport._tempDataLen


def waiting_bytes(transport: Any) -> int:
    """Return how many bytes wait in a plain socket's transport, or in the one below TLS."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return held_bytes(transport)


def socket_of(transport: object) -> socket | None:
    """Return the socket below a transport, also below TLS, or None when there is none.

    (``getHandle`` returns OpenSSL's connection under TLS; wrappers pass ``socket`` through.)
    """
    found: socket | None = getattr(transport, "socket", None)
    return found


def set_read_size(transport: object, size: int) -> None:
    """Read pieces of up to this many bytes from a plain socket instead of Twisted's 64 KiB.

    From 128 KiB on malloc asks the kernel anew for each piece.
    """
    if isinstance(transport, FileDescriptor):
        transport.bufferSize = size


def accept_at_most(port: Any, count: int) -> None:
    """Let a listening port accept no more connections than this in a round of the reactor.

    Twisted accepts 20 more in each round than in the one before, as long as so many wait. All of
    them are read in the next round, which takes as long as all their log-ins.
    """
    if not hasattr(port, "numberAccepts"):  # the port of a plug-in
        return
    read = port.doRead

    def read_some() -> object:
        port.numberAccepts = min(port.numberAccepts, count)
        return read()

    port.doRead = read_some


def override_peer(transport: Any, address: IAddress) -> None:
    """Let ``getPeer`` return the client that a front proxy named.

    (Twisted's wrapper for HAProxy does this, too, but stays between for every byte.)
    """
    if transport.getPeer() != address:
        transport.getPeer = lambda: address


def replace_protocol(transport: Any, protocol: IProtocol) -> None:
    """Hand a live transport over: from now on what it reads goes to this protocol.

    ``makeConnection`` is left to the caller.
    """
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol


def replace_tls(endpoint: object, replace: Callable[[Any], Any]) -> None:
    """Start TLS in another way on an endpoint that Twisted has made of ``ssl:…``.

    Args:
        endpoint: Any endpoint; others than such ones are left as they are.
        replace: Returns what starts TLS, given what would have.
    """
    if isinstance(endpoint, SSL4ServerEndpoint):
        endpoint._sslContextFactory = replace(endpoint._sslContextFactory)


def override_read(transport: Any, read: Callable[[], object]) -> None:
    """Let the reactor call this instead of a plain socket's ``doRead``.

    Args:
        transport: A plain socket.
        read: Returns what ``doRead`` does: None, or an exception that ends the connection.
    """
    transport.doRead = read


def restore_read(transport: Any) -> None:
    """Undo :func:`override_read`."""
    del transport.doRead


def read_once(transport: Any) -> object:
    """Do what the reactor does when a plain socket can be read; return what ``doRead`` returns."""
    return transport.doRead()


# ---------------------------------------------------------------- reactors


class _SteadyClock:
    """Counts on by itself from a time in seconds."""

    __slots__ = ("_offset_s",)

    def __init__(self, now_s: float) -> None:
        self._offset_s = now_s - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self._offset_s


def use_monotonic_clock(reactor: Any) -> Callable[[], float]:
    """Let a reactor's timers run by a clock that is never set, also those that run already.

    Twisted's reactors take the time of day: set back by an hour, no timer ends for an hour. Now the
    reactor begins with the time of day and then counts on by itself, so what others show of
    ``reactor.seconds()`` is right until the time of day is set.

    Returns:
        A function that returns the time in seconds since 1970. For a simulated clock, which is left
        as it is, that is its own time.
    """
    if not isinstance(reactor, ReactorBase):
        simulated: Callable[[], float] = reactor.seconds
        return simulated
    if not isinstance(reactor.seconds, _SteadyClock):
        seconds = _SteadyClock(reactor.seconds())
        for call in (*reactor._pendingTimedCalls, *reactor._newTimedCalls):
            call.seconds = seconds
        reactor.seconds = seconds
    return time.time


# ---------------------------------------------------------------- runners


def is_daemonizing(frame: FrameType) -> bool:
    """Return whether it is ``twistd`` that forks in this frame, to become a daemon."""
    twistd = sys.modules.get("twisted.scripts._twistd_unix")
    runner = getattr(twistd, "UnixApplicationRunner", None)
    return runner is not None and frame.f_code is runner.daemonize.__code__


def is_log_on_screen() -> bool:
    """Return whether the log goes to standard output or standard error, not to a file."""
    screen = (sys.__stdout__, sys.__stderr__)
    observers = getattr(globalLogPublisher, "_observers", ())
    return any(getattr(observer, "_outFile", observer) in screen for observer in observers)


# ---------------------------------------------------------------- HTTP


class HTTPConnection(HTTPChannel):
    """Twisted's HTTP/1.1 connection, with the private parts that a subclass needs under names.

    Subclasses override :meth:`bad_request_received`.
    """

    @property
    def received_head_bytes(self) -> int:
        """How many bytes of the current request's head came so far, line ends left out."""
        return self._receivedHeaderSize

    @property
    def received_headers(self) -> int:
        """How many header lines of the current request came so far."""
        return self._receivedHeaderCount

    @property
    def requested_path(self) -> bytes:
        """The target of the request that is being read, or b"" before its first line came."""
        path: bytes | None = getattr(self, "_path", None)
        return path or b""

    @property
    def unhandled_bytes(self) -> int:
        """How many bytes were read and not handled: later requests, or the begin of a line."""
        return len(self._buffer) + sum(map(len, self._dataBuffer))

    def take_unhandled(self) -> bytes:
        """Return what was read and not handled, and forget it."""
        data = b"".join(self._dataBuffer) + self._buffer
        self._dataBuffer, self._buffer = [], b""
        return data

    def bad_request_received(self) -> None:
        """Answer a request that is not HTTP, and close the connection."""
        super()._respondToBadRequestAndDisconnect()

    @override
    def _respondToBadRequestAndDisconnect(self) -> None:
        self.bad_request_received()

    def close_or_abort(self) -> None:
        """Close; abort should the client not take the rest within ``abortTimeout`` seconds."""
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    @override
    def forceAbortClient(self) -> None:
        """Abort. (Twisted's own writes a second line about it to the log.)"""
        self._abortingCall = None
        self.transport.abortConnection()  # type: ignore[union-attr]  # it is connected
