"""Zero-copy relaying with splice(2): from one socket through a pipe into another.

Linux only: elsewhere a :class:`PipePool` lends no pipes, and bytes are read and written.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from errno import EINVAL, ENOSYS
from struct import Struct

from typing_extensions import override

from rtchat.core.flow.outbound import RAW, Cork, Framing
from rtchat.net.connection.transport import StreamTransport
from rtchat.net.connection.writer import ConnectionWriter
from rtchat.net.twisted_internals import held_bytes

__all__ = ["Pipe", "PipePool", "SplicingWriter"]

_PIPE_BYTES = 1024 * 1024
"""The capacity of a pipe, and the largest that an unprivileged process may set. Most of the cost
is waking the processes at both ends: with a quarter of it, the same bytes take a third longer."""

_HELD_BYTES = 240 * 1024
"""How much may wait in this process if the browser's socket does not take it: less than the 256 KiB
that a stalled side may cost. No more is read from the target; if the socket's buffer shrinks in
between, because the system is short of memory, the rest stays in the pipe."""

_MAX_PIPES = 16
"""Pipes per pool, free or held for stalled browsers: 32 open files."""

_MORE = getattr(socket, "MSG_MORE", 0)
_SIOCOUTQNSD = 0x894B  # linux/sockios.h
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # linux/tcp.h; not every Python has it
_INT = Struct("i")


class Pipe:
    """A pipe of this process, lent by a pool; empty whenever it is lent.

    Args:
        pipes: The pool it goes back to.
    """

    def __init__(self, pipes: PipePool) -> None:
        self._pipes = pipes
        self._reader, self._writer = os.pipe()
        if sys.platform == "linux":
            from fcntl import F_SETPIPE_SZ, fcntl

            with suppress(OSError):  # the pipe stays smaller, and less goes through at once
                fcntl(self._writer, F_SETPIPE_SZ, _PIPE_BYTES)

    def fill_from(self, source: int, most_bytes: int) -> int:
        """Move what a socket has received into the pipe.

        Args:
            source: The socket's file descriptor.
            most_bytes: How much to move at most.

        Returns:
            How many bytes were moved. 0 when nothing has arrived, at the end of the stream, and
            when the kernel cannot splice this kind of socket: a read tells these apart.

        Raises:
            OSError: The connection is lost. The kernel reports this once; a later read would not
                see it.
        """
        if sys.platform == "linux":
            try:
                return os.splice(source, self._writer, most_bytes, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno not in (EINVAL, ENOSYS):
                    raise
        return 0

    def drain_into(self, sink: int, size: int) -> int:
        """Move bytes from the pipe to a non-blocking socket; return how many it took."""
        left = size
        if sys.platform == "linux":
            with suppress(
                OSError
            ):  # it would block; or it is lost, which the transport finds out itself
                while left:
                    left -= os.splice(self._reader, sink, left, flags=os.SPLICE_F_NONBLOCK)
        return size - left

    def read(self, size: int) -> bytes:
        """Read this many bytes back; the pipe must hold them."""
        parts = []
        while size:
            parts.append(os.read(self._reader, size))
            size -= len(parts[-1])
        return b"".join(parts)

    def release(self) -> None:
        """Return the pipe to the pool; it must be empty."""
        self._pipes.free.append(self)

    def close(self) -> None:
        """Close the pipe, and drop what it holds."""
        os.close(self._reader)
        os.close(self._writer)
        self._pipes.count -= 1


class PipePool:
    """Lends a limited number of pipes.

    Attributes:
        free: The pipes that are not lent.
        count: How many pipes there are, lent ones included.
    """

    def __init__(self) -> None:
        self.free: list[Pipe] = []
        self.count = 0
        self._limit = _MAX_PIPES if hasattr(os, "splice") else 0

    def borrow(self) -> Pipe | None:
        """Return an empty pipe, or None when all are lent or none can be made."""
        if self.free:
            return self.free.pop()
        if self.count < self._limit:
            with suppress(OSError):  # too many open files
                pipe = Pipe(self)
                self.count += 1
                return pipe
        return None


def _free_bytes(sink: socket.socket) -> int:
    """Return how many bytes a socket is sure to take.

    Linux doubles ``SO_SNDBUF`` for its own overhead, so half of it counts, less what is queued; and
    it keeps no more than ``TCP_NOTSENT_LOWAT`` for a browser that does not read.
    """
    if sys.platform == "linux":
        from fcntl import ioctl
        from termios import TIOCOUTQ

        with suppress(OSError):
            queued: int = _INT.unpack(ioctl(sink, TIOCOUTQ, bytes(_INT.size)))[0]
            size: int = sink.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            free = size // 2 - queued
            if sink.family != socket.AF_UNIX:
                most: int = sink.getsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT)
                if most > 0:
                    unsent: int = _INT.unpack(ioctl(sink, _SIOCOUTQNSD, bytes(_INT.size)))[0]
                    free = min(free, most - unsent)
            return max(0, free)
    return 0


class SplicingWriter(ConnectionWriter):
    """A connection writer that can also send the content of a pipe.

    Args:
        transport: The transport underneath.
        cork: Collects the writers with gathered bytes until the end of the turn.
        framing: How messages are packed.
        is_busy: Whether the transport may already hold bytes, such as an HTTP answer.
    """

    __slots__ = ("_drained_bytes", "_pipe", "_pipe_bytes")

    def __init__(
        self,
        transport: StreamTransport,
        cork: Cork,
        framing: Framing = RAW,
        *,
        is_busy: bool = False,
    ) -> None:
        self._pipe: Pipe | None = None
        self._pipe_bytes = 0
        self._drained_bytes = 0
        super().__init__(transport, cork, framing, is_busy=is_busy)

    @property
    def splice_capacity_bytes(self) -> int:
        """How many bytes :meth:`write_spliced` accepts now.

        As many as the socket takes, and what may wait here beside it. 0 while other bytes must be
        sent first, and when the transport is not a plain socket.
        """
        cork, sink = self.cork, self._socket
        if (
            sink is None
            or self._is_blocked
            or self._is_closed
            or self.pending
            or cork.gathering is not None
            or cork.unserved
        ):
            return 0
        return min(_PIPE_BYTES, _HELD_BYTES + _free_bytes(sink))

    @property
    def drained_bytes(self) -> int:
        """How many bytes the socket has taken after it took no more at first."""
        if not self.waiting_bytes:
            return self._drained_bytes
        return self._drained_bytes + self._handed_over_bytes - held_bytes(self._transport)

    @property
    def _handed_over_bytes(self) -> int:
        """How many bytes the transport was given at last, if it has not sent all of them."""
        kept = self._pipe_bytes + self._backlog_bytes
        return max(0, self.waiting_bytes - kept)

    def write_spliced(self, header: bytes, pipe: Pipe, size: int) -> None:
        """Send a header and the content of a pipe, then release the pipe.

        Args:
            header: The bytes before the content.
            pipe: The pipe; it belongs to the writer from now on.
            size: How many bytes the pipe holds.
        """
        sink = self._socket
        assert sink is not None
        sent = 0
        with suppress(OSError):
            sent = sink.send(header, _MORE)
        left = size
        if sent == len(header):
            left -= pipe.drain_into(sink.fileno(), size)
        self._pipe, self._pipe_bytes = pipe, left
        self._hand_over_from_pipe(header[sent:])

    def _hand_over_from_pipe(self, first: bytes = b"") -> None:
        """Hand the transport part of what the socket did not take, if anything is left."""
        pipe = self._pipe
        assert pipe is not None
        part = first
        if self._pipe_bytes:
            part += pipe.read(min(self._pipe_bytes, _HELD_BYTES))
            self._pipe_bytes -= len(part) - len(first)
        if not self._pipe_bytes:
            pipe.release()
            self._pipe = None
        if part:
            self._hand_over(part, len(part) + self._pipe_bytes + self._backlog_bytes)

    @override
    def resumeProducing(self) -> None:
        if self.waiting_bytes:
            self._drained_bytes += self._handed_over_bytes
        if self._pipe is not None and self._socket is not None:
            sink = self._socket.fileno()
            self._pipe_bytes -= self._pipe.drain_into(sink, self._pipe_bytes)
            is_empty = not self._pipe_bytes
            self._hand_over_from_pipe()
            if not is_empty:
                return
        super().resumeProducing()

    @override
    def flush_all(self) -> None:
        if self._pipe is not None:
            self._transport.write(self._pipe.read(self._pipe_bytes))
            self._pipe_bytes = 0
            self._hand_over_from_pipe()
        super().flush_all()

    @override
    def stopProducing(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe, self._pipe_bytes = None, 0
        super().stopProducing()
