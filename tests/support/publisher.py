"""A publisher that sends until its socket takes no more."""

from __future__ import annotations

import array
import fcntl
import select
import socket
import termios

from support.stomp import message_bytes
from support.wire import Wire

__all__ = ["Publisher"]

_GUARD_S = 20.0


class Publisher:
    """Publishes numbered messages as fast as its socket takes them.

    Args:
        wire: The connection, logged in.
        destination: Where to.
        name: What stands before the number in each body.
        body_bytes: How long each body is.

    Attributes:
        destination: Where to.
        sent: How many messages the socket has taken, whole or in part.
    """

    def __init__(self, wire: Wire, destination: str, name: str, body_bytes: int) -> None:
        self.sent = 0
        self._wire = wire
        self.destination = destination
        self._name = name
        self._filler = b"." * body_bytes
        self._is_stopped = False
        self._rest = b""  # of a message that the socket has taken in part
        # So much the system holds for us at least; the rest is the server's.
        self._socket = wire.socket
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)

    def stop(self) -> None:
        """End a :meth:`publish` in another thread, after the message it is at."""
        self._is_stopped = True

    def publish(self, count: int, patience_s: float = _GUARD_S) -> bool:
        """Go on until so many messages were sent in all.

        Returns:
            Whether they were; if not, the socket took nothing for as long as the patience.
        """
        self._socket.setblocking(False)
        while (self.sent < count and not self._is_stopped) or self._rest:
            if not self._rest:
                body = f"{self._name} {self.sent} ".encode()
                body += self._filler[len(body) :]
                self._rest = self._wire.stream.packed(message_bytes(self.destination, body))
                self.sent += 1
            try:
                taken = self._socket.send(self._rest)
            except BlockingIOError:
                if not select.select([], [self._wire], [], patience_s)[1]:
                    return False
                continue
            self._rest = self._rest[taken:]
        return True

    @property
    def is_blocked(self) -> bool:
        """Whether the socket takes nothing now, because much in it is not taken by the server."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._socket, termios.TIOCOUTQ, waiting)
        is_writable = bool(select.select([], [self._wire], [], 0)[1])
        return waiting[0] > 0 and not is_writable
