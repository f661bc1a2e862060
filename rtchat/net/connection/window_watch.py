"""A time-out for machines that vanish, which spares those who only do not read.

``TCP_USER_TIMEOUT`` ends a connection whose bytes are not acknowledged; without it, the system
sends them again for a quarter of an hour. But it also ends one whose other side acknowledges all
that it has room for: a worker that spends ten minutes on a job, a download that its reader has
paused. So connections are looked at every 20 seconds, and those whose window is closed are exempted
until it opens again.
"""

from __future__ import annotations

import socket
from struct import Struct

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rtchat.net.connection.transport import USER_TIMEOUT_S, StreamTransport
from rtchat.net.twisted_internals import socket_of

__all__ = ["WindowWatch"]

_TCP = socket.IPPROTO_TCP
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

_TICK_S = 5.0
_TICKS = 4  # in so many, every connection is looked at

# struct tcp_info of Linux: state, congestion state, retransmits, probes, backoff, …
_INFO: int = getattr(socket, "TCP_INFO", 11)
_SHORT_INFO = Struct("=8B")
_LAST_ACK_AT, _WINDOW_AT, _LONG_INFO_BYTES = 56, 228, 232
_UINT32 = Struct("=I")

_UNANSWERED_PROBES = 2
"""So many probes of a closed window without an answer, and a long silence, mean that the machine is
gone. The first ones are often lost to a limit on answers."""


class WindowWatch:
    """Exempts connections whose peers do not read from the time-out for unacknowledged bytes.

    Args:
        clock: Runs the timer, while there are connections.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watched: dict[StreamTransport, bool] = {}  # whether it is exempt
        self._round: list[StreamTransport] = []  # those still to be looked at
        self._timer: IDelayedCall | None = None

    def watch(self, transport: StreamTransport) -> None:
        """Watch a connection until :meth:`forget`."""
        if _USER_TIMEOUT is None or socket_of(transport) is None:
            return
        self._watched[transport] = False
        if self._timer is None:
            self._timer = self._clock.callLater(_TICK_S, self._look)

    def forget(self, transport: StreamTransport) -> None:
        """Stop watching: the connection is gone. Do nothing if it is not watched."""
        self._watched.pop(transport, None)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._round.clear()

    def _look(self) -> None:
        self._timer = None
        if not self._watched:
            self._round.clear()
            return
        self._timer = self._clock.callLater(_TICK_S, self._look)
        if not self._round:
            self._round = list(self._watched)
        for _ in range(-(-len(self._watched) // _TICKS)):
            if not self._round:
                return
            transport = self._round.pop()
            connection = socket_of(transport)
            if transport in self._watched and connection is not None:
                try:
                    self._check(transport, connection)
                except (OSError, ValueError):  # not TCP, or closed
                    self.forget(transport)

    def _check(self, transport: StreamTransport, connection: socket.socket) -> None:
        info = _SHORT_INFO.unpack(connection.getsockopt(_TCP, _INFO, _SHORT_INFO.size))
        _, _, retransmits, probes, backoff, _, _, _ = info
        assert _USER_TIMEOUT is not None
        is_exempt = self._watched[transport]
        if not backoff:
            if is_exempt:
                self._watched[transport] = False
                connection.setsockopt(_TCP, _USER_TIMEOUT, USER_TIMEOUT_S * 1000)
            return
        if not is_exempt:
            if not retransmits or _window(connection) == 0:
                self._watched[transport] = True
                connection.setsockopt(_TCP, _USER_TIMEOUT, 0)
        elif retransmits + probes >= _UNANSWERED_PROBES:
            more = connection.getsockopt(_TCP, _INFO, _LAST_ACK_AT + _UINT32.size)
            if _UINT32.unpack_from(more, _LAST_ACK_AT)[0] >= USER_TIMEOUT_S * 1000:
                transport.abortConnection()


def _window(connection: socket.socket) -> int | None:
    """Return how many bytes the peer has room for; None where the system does not say."""
    info = connection.getsockopt(_TCP, _INFO, _LONG_INFO_BYTES)
    return _UINT32.unpack_from(info, _WINDOW_AT)[0] if len(info) == _LONG_INFO_BYTES else None
