"""The target's side of the gateway: what it sends goes to the browser, copied or spliced."""

from __future__ import annotations

import typing
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from rtchat.core.flow.outbound import Cork
from rtchat.net.connection.liveness import Liveness, progress_of, unread_bytes
from rtchat.net.connection.pause_watch import PauseWatch
from rtchat.net.connection.splice import PipePool
from rtchat.net.connection.transport import (
    PauseForwarder,
    StreamTransport,
    as_stream,
    set_no_delay,
)
from rtchat.net.connection.writer import ConnectionWriter
from rtchat.net.twisted_internals import (
    is_plain_socket,
    override_read,
    read_once,
    replace_protocol,
    restore_read,
    set_read_size,
)
from rtchat.net.websocket.transport import WebSocket

__all__ = ["READ_BYTES", "BrowserSide", "TargetFactory", "TargetProtocol"]

READ_BYTES = 120 * 1024
"""Bytes per read. Relays half as much again per CPU second as Twisted's 64 KiB (see benchmarks/).
With the 64 KiB that may wait before a pause, it stays well below the 256 KiB that a stalled side
may cost, and below the 128 KiB from which on malloc asks the kernel for every buffer."""

_SPLICE_FROM_BYTES = 32 * 1024
"""A read of at least this size switches to splicing, until a splice moves less. Splicing relays
nearly twice as much per CPU second; for small pieces, a read is cheaper."""


class BrowserSide(typing.Protocol):
    """The browser's side of the gateway, as the target's side sees it.

    Attributes:
        transport: The browser's WebSocket.
    """

    transport: WebSocket

    def note_activity(self) -> None:
        """The target has sent something; called only while ``is_timed`` of its side is set."""

    def target_finished(self) -> None:
        """The target has closed its direction; it may still read."""

    def target_lost(self, reason: Failure) -> None:
        """The connection to the target has ended."""


class _TargetWriter(ConnectionWriter):
    """Knows afterwards what it could not send.

    Attributes:
        lost_bytes: How many bytes waited when the connection was lost.
    """

    __slots__ = ("lost_bytes",)

    def __init__(self, transport: StreamTransport, cork: Cork) -> None:
        super().__init__(transport, cork)
        self.lost_bytes = 0

    @override
    def stopProducing(self) -> None:
        self.lost_bytes = self.waiting_bytes
        super().stopProducing()


@implementer(IHalfCloseableProtocol)
class TargetProtocol(Protocol):
    """The target's side of the gateway.

    Attributes:
        writer: Sends to the target.
        is_timed: Whether to call ``note_activity`` of the browser's side, for its idle time-out.
    """

    is_timed = False

    browser: BrowserSide | None = None
    _has_finished = False
    _has_ended = False
    _end_reason = Failure(ConnectionLost())
    _can_splice = False

    def __init__(self, cork: Cork, pipes: PipePool, liveness: Liveness) -> None:
        self._cork = cork
        self._pipes = pipes
        self._liveness = liveness

    @override
    def connectionMade(self) -> None:
        self._stream = as_stream(self.transport)
        self._liveness.keep_alive(self._stream)
        self.writer = _TargetWriter(self._stream, self._cork)
        self._is_draining = False

    def pair_with(self, browser: BrowserSide) -> None:
        """Relay to this browser from now on.

        Bytes that came earlier wait in the socket; an end that came earlier is reported now.
        """
        self.browser = browser
        if self._has_ended:
            browser.target_lost(self._end_reason)
            return
        set_no_delay(self._stream)
        if is_plain_socket(self._stream):
            # The endpoint's wrapper is no longer needed; without it, each read is one call less.
            replace_protocol(self._stream, self)
        # Behind TLS, the bytes that wait are not known exactly: two more reads may come before the
        # pause takes effect, so they must be small.
        if is_plain_socket(browser.transport.transport):
            set_read_size(self._stream, READ_BYTES)
            self._can_splice = is_plain_socket(self._stream)
        # Each side is the other's producer: if one does not read, the other is not read either.
        browser.transport.registerProducer(_Pauses(self._stream, self._liveness.pauses), True)
        self.writer.register_producer(PauseForwarder(browser.transport))
        if self._has_finished:
            browser.target_finished()

    def finish(self) -> None:
        """The browser is gone: send what is left, then half-close."""
        self._is_draining = True
        self.writer.unregister_producer()
        self.writer.flush_all()
        self._stream.unregisterProducer()
        if self._has_finished:
            self._stream.loseConnection()
        else:
            self._stream.resumeProducing()
            self._stream.loseWriteConnection()

    def progress(self) -> object:
        """Return what changes whenever the target takes something."""
        return progress_of(self._stream, self.writer.waiting_bytes)

    @property
    def has_lost_bytes(self) -> bool:
        """Whether the connection ended while bytes waited for the target."""
        return self.writer.lost_bytes > 0

    def abort(self) -> None:
        """Close at once."""
        self._stream.abortConnection()

    @override
    def dataReceived(self, data: bytes) -> None:
        browser = self.browser
        if browser is not None and not self._is_draining:
            if self.is_timed:
                browser.note_activity()
            browser.transport.write(data)
            if len(data) >= _SPLICE_FROM_BYTES and self._can_splice:
                override_read(self._stream, self._splice_once)

    def _splice_once(self) -> object:
        """Stand in for the transport's ``doRead`` while much arrives: move bytes without a copy."""
        stream: Any = self._stream
        browser, size = self.browser, 0
        if browser is not None and not self._is_draining:
            capacity = browser.transport.splice_capacity_bytes
            pipe = self._pipes.borrow() if capacity else None
            if pipe is not None:
                try:
                    size = pipe.fill_from(stream.fileno(), capacity)
                except OSError:
                    pipe.release()
                    restore_read(stream)
                    return CONNECTION_LOST
                if size:
                    if self.is_timed:
                        browser.note_activity()
                    browser.transport.write_spliced(pipe, size)
                else:
                    pipe.release()
        if size < _SPLICE_FROM_BYTES:
            restore_read(stream)
        return None if size else read_once(stream)

    def readConnectionLost(self) -> None:  # noqa: N802
        """The target has closed its direction."""
        self._has_finished = True
        if self._is_draining:
            self._stream.loseConnection()
        elif self.browser is not None:
            self.browser.target_finished()

    def writeConnectionLost(self) -> None:  # noqa: N802
        """Our own half-close is done."""

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._has_ended = True
        self._end_reason = reason
        self._liveness.windows.forget(self._stream)
        self._liveness.pauses.lost(self._stream)
        browser, self.browser = self.browser, None
        if browser is not None:
            browser.target_lost(reason)


class _Pauses(PauseForwarder):
    """Pauses a target whose browser does not read, and notices if it breaks off meanwhile."""

    def __init__(self, stream: StreamTransport, pauses: PauseWatch) -> None:
        super().__init__(stream)
        self._pauses = pauses

    @override
    def pauseProducing(self) -> None:
        self._pauses.watch(self._stream, self._gone)
        super().pauseProducing()

    @override
    def resumeProducing(self) -> None:
        self._pauses.forget(self._stream)
        super().resumeProducing()

    def _gone(self, is_broken: bool) -> None:
        # What it sent before is for the browser; with it the end will be read.
        if is_broken and not unread_bytes(self._stream):
            self._stream.abortConnection()


class TargetFactory(Factory):
    """Builds the target's side.

    Args:
        pipes: Lends pipes for splicing.
        liveness: Notices targets that are gone.
    """

    noisy = False

    def __init__(self, pipes: PipePool, liveness: Liveness) -> None:
        self._cork = Cork()
        self._pipes = pipes
        self._liveness = liveness

    @override
    def buildProtocol(self, addr: IAddress | None) -> TargetProtocol:
        return TargetProtocol(self._cork, self._pipes, self._liveness)
