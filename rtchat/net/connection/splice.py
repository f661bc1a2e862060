"""Much, from one socket to another: through a pipe, so that this process copies none of it.

Linux only: elsewhere :func:`shared_pipes` has none to lend, and bytes are read and written.
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

__all__ = ["Pipe", "PipePool", "SplicingWriter"]

_PIPE_BYTES = 1024 * 1024
"""How much goes through a pipe at once, and the largest pipe that anybody may make. What costs
here is to wake those at both ends: a quarter as much each time takes a third more time."""

_HELD_BYTES = 240 * 1024
"""How much may wait in this process of what the browser's socket does not take: below the 256 KiB
that a stalled side may cost. No more is taken from the target; should the socket's buffer shrink
in between, because the system is short of memory, the pipe keeps the rest."""

_MAX_PIPES = 16
"""So many there may be, free or held by browsers that stall: 32 open files."""

_MORE = getattr(socket, "MSG_MORE", 0)
_INT = Struct("i")


class Pipe:
    """A pipe of this process; empty whenever it is lent.

    Args:
        pipes: Where it is given back to.
    """

    def __init__(self, pipes: PipePool) -> None:
        self._pipes = pipes
        self._reader, self._writer = os.pipe()
        if sys.platform == "linux":
            from fcntl import F_SETPIPE_SZ, fcntl

            with suppress(OSError):  # then less goes through at once
                fcntl(self._writer, F_SETPIPE_SZ, _PIPE_BYTES)

    def fill_from(self, source: int, most_bytes: int) -> int:
        """Take what a socket holds, up to so much, and give how much that is.

        It is 0 when nothing is there, when nothing will ever come, and when the kernel cannot do
        it with this kind of socket: a read will tell.

        Raises:
            OSError: The connection is lost. It is said here once, and not to who reads next.
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
        """Give so many bytes to a socket that does not block; give how many it took."""
        left = size
        if sys.platform == "linux":
            with suppress(OSError):  # no room; or it is lost, and the transport will find out
                while left:
                    left -= os.splice(self._reader, sink, left, flags=os.SPLICE_F_NONBLOCK)
        return size - left

    def read(self, size: int) -> bytes:
        """Take so many bytes back, which have to be there."""
        parts = []
        while size:
            parts.append(os.read(self._reader, size))
            size -= len(parts[-1])
        return b"".join(parts)

    def release(self) -> None:
        """Let somebody else have it; it has to be empty."""
        self._pipes.free.append(self)

    def close(self) -> None:
        """Forget what it holds."""
        os.close(self._reader)
        os.close(self._writer)
        self._pipes.count -= 1


class PipePool:
    """Lends pipes, a few.

    Attributes:
        free: Those that nobody has.
        count: How many there are.
    """

    def __init__(self) -> None:
        self.free: list[Pipe] = []
        self.count = 0
        self._limit = _MAX_PIPES if hasattr(os, "splice") else 0

    def borrow(self) -> Pipe | None:
        """Lend a pipe, if there is one."""
        if self.free:
            return self.free.pop()
        if self.count < self._limit:
            with suppress(OSError):  # too many open files
                pipe = Pipe(self)
                self.count += 1
                return pipe
        return None


def _free_bytes(sink: socket.socket) -> int:
    """Give how much a socket takes for sure: what is free, with as much again for its own heads."""
    if sys.platform == "linux":
        from fcntl import ioctl
        from termios import TIOCOUTQ

        with suppress(OSError):
            queued: int = _INT.unpack(ioctl(sink, TIOCOUTQ, bytes(_INT.size)))[0]
            size: int = sink.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            return max(0, size // 2 - queued)
    return 0


class SplicingWriter(ConnectionWriter):
    """An outbox that can send what a pipe holds.

    Args:
        transport: The transport underneath.
        cork: Where to register for the end of the turn.
        framing: How messages are packed.
        is_busy: Whether the transport may hold bytes of somebody else.
    """

    __slots__ = ("_pipe", "_pipe_bytes")

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
        super().__init__(transport, cork, framing, is_busy=is_busy)

    @property
    def splice_capacity_bytes(self) -> int:
        """How much :meth:`write_spliced` may be given now.

        So much that the socket takes all but what may wait here; 0 when something comes before,
        and when it is no plain socket.
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

    def write_spliced(self, header: bytes, pipe: Pipe, size: int) -> None:
        """Send a header and what a pipe holds; then give the pipe back.

        Args:
            header: What comes before it.
            pipe: The outbox has it from now on.
            size: How much it holds.
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
        """Let the transport have a part of what the socket did not take, if it is not all out."""
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
            self._hand_over(part, len(part) + self._pipe_bytes + sum(map(len, self._backlog)))

    @override
    def resumeProducing(self) -> None:
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
