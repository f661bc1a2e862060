"""Whether the other side of a connection lives, by what the system knows about the connection.

A byte that comes is a sign of life, but so is a byte that is taken: on a slow line the answer to a
ping stands behind all that was sent before it.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from math import inf
from struct import Struct
from typing import NamedTuple, Protocol

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IReactorTime

from rtchat.net.connection.pause_watch import PauseWatch
from rtchat.net.connection.transport import StreamTransport, expect_life
from rtchat.net.connection.window_watch import WindowWatch
from rtchat.net.twisted_internals import held_bytes, is_plain_socket, socket_of

__all__ = [
    "Liveness",
    "Silence",
    "Taken",
    "Taking",
    "peek",
    "progress_of",
    "taken_by_peer",
    "unread_bytes",
]

_SLOWEST_BYTES_PER_S = 32 * 1024
"""A peer that has everything may still be reading it, from its own buffers or a proxy's, at least
this fast: 262 kbit/s."""

_MOST_UNREAD_BYTES = 16 * 1024 * 1024
"""No more than this is taken to stand unread in other buffers: two systems' and a proxy's."""

_FEW_BYTES = 1024
"""Up to this many bytes that wait are a ping or a heart-beat. That a system takes them, says
nothing about its program."""

_INT = Struct("i")
_TCP_INFO = getattr(socket, "TCP_INFO", 11)
_BYTES_ACKED_AT = 120  # in struct tcp_info of Linux, since 4.1
_UINT64 = Struct("=Q")
_INFO_BYTES = _BYTES_ACKED_AT + _UINT64.size


class Taken(NamedTuple):
    """What the other side has taken.

    Attributes:
        total: Bytes since the connection began; for a Unix socket, a number that changes as bytes
            are taken.
        left: Bytes that still wait for it.
    """

    total: int
    left: int


class Taking(Protocol):
    """A peer that takes bytes."""

    def taken(self) -> Taken | None:
        """Return what it has taken by now; see :func:`taken_by_peer`."""


class Liveness:
    """What one factory's connections need to notice that their peers are gone.

    Args:
        clock: Runs the timers.

    Attributes:
        pauses: Watches connections that are not read.
        windows: Spares those who read slowly from the system's time-out.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.pauses = PauseWatch(clock)
        self.windows = WindowWatch(clock)

    def keep_alive(self, stream: StreamTransport) -> None:
        """Notice it if the peer's machine vanishes, whatever the peer promises to send.

        Ports that this server opens give their options to what they accept, others do not.
        """
        method = getattr(stream, "setTcpKeepAlive", None)
        if method is None or isinstance(stream.getPeer(), UNIXAddress):
            return
        method(True)
        connection = socket_of(stream)
        if connection is not None:
            expect_life(connection)
            self.windows.watch(stream)


def taken_by_peer(
    transport: object, waiting_bytes: int = 0, drained_bytes: int = 0
) -> Taken | None:
    """Return what the other side has taken, or None where the system does not say.

    Args:
        transport: The connection's.
        waiting_bytes: How many bytes wait in this process, beside those that the system holds.
        drained_bytes: How many have waited and were handed to the system. It does not say what
            the peer at a Unix socket has taken, but what it has not.
    """
    connection = socket_of(transport)
    if connection is None or sys.platform != "linux":
        return None
    from fcntl import ioctl
    from termios import TIOCOUTQ

    # Asked for each connection that closes, and every few seconds for each silent one: without the
    # three calls of a context manager.
    try:
        left: int = _INT.unpack(ioctl(connection, TIOCOUTQ, bytes(_INT.size)))[0]
        if connection.family == socket.AF_UNIX:
            return Taken(drained_bytes - left, left + waiting_bytes)
        info = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
    except (OSError, ValueError):  # it is closed
        return None
    if len(info) < _INFO_BYTES:
        return None
    return Taken(_UINT64.unpack_from(info, _BYTES_ACKED_AT)[0], left + waiting_bytes)


def unread_bytes(transport: object) -> int:
    """Return how many bytes have come that were not read, 0 where the system does not say."""
    connection = socket_of(transport)
    if connection is not None and sys.platform == "linux":
        from fcntl import ioctl
        from termios import FIONREAD

        with suppress(OSError, ValueError):
            size: int = _INT.unpack(ioctl(connection, FIONREAD, bytes(_INT.size)))[0]
            return size
    return 0


def peek(transport: object) -> bytes:
    """Return what has come and was not read, and leave it there; b"" unless it is in the clear."""
    connection, size = socket_of(transport), unread_bytes(transport)
    if connection is not None and size and is_plain_socket(transport):
        with suppress(OSError):
            return connection.recv(size, socket.MSG_PEEK)
    return b""


def progress_of(transport: object, waiting_bytes: int) -> object:
    """Return what changes whenever the other side takes something; see :func:`taken_by_peer`."""
    return taken_by_peer(transport, waiting_bytes), held_bytes(transport), waiting_bytes


_NOTHING = Taken(0, 0)


class Silence:
    """Judges a peer that was not heard for some time.

    It lives while it takes bytes that wait for it, and once it has taken all, for as long as it
    may need to read them.

    Args:
        peer: Knows what the peer has taken.
    """

    __slots__ = ("_heard_s", "_heard_total", "_last", "_moved_s", "_peer", "_took_s")

    def __init__(self, peer: Taking) -> None:
        self._peer = peer
        self._last = _NOTHING
        self._took_s = -inf  # when it had taken something
        self._moved_s = -inf  # the same, while more than a few bytes waited
        self._heard_s = -inf
        self._heard_total = 0  # what it had taken when it was heard, or less

    def note(self, now_s: float, heard_s: float) -> None:
        """Take note of what was taken by now; call it from time to time, and before a ping.

        Args:
            now_s: The time.
            heard_s: When the peer was last heard.
        """
        now, before = self._peer.taken(), self._last
        if now is None:
            return
        self._last = now
        if heard_s > self._heard_s:
            self._heard_s = heard_s
            self._heard_total = before.total
        # It falls for a Unix socket only, by what was sent at once when there was room again.
        if now.total > before.total or before.total - now.total > _FEW_BYTES:
            self._took_s = now_s
            if max(now.left, before.left) > _FEW_BYTES:
                self._moved_s = now_s

    @property
    def left_bytes(self) -> int:
        """How many bytes waited for the peer at the latest note."""
        return self._last.left

    def left_s(self, now_s: float, quiet_s: float, allowed_s: float, heard_s: float) -> float:
        """Return when to ask again, in seconds; 0 or less means that the peer is gone.

        Args:
            now_s: The time.
            quiet_s: Since when an answer is awaited.
            allowed_s: How long an answer may take if nothing stands before it.
            heard_s: When the peer was last heard.
        """
        self.note(now_s, heard_s)
        reading_s, (total, left) = 0.0, self._last
        if not left or now_s < self._took_s + allowed_s:
            unread = min(total - self._heard_total, _MOST_UNREAD_BYTES)
            reading_s = max(unread, 0) / _SLOWEST_BYTES_PER_S
        left_s = max(quiet_s, self._moved_s) + allowed_s + reading_s - now_s
        return min(left_s, allowed_s)
