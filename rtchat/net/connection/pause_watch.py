"""Noticing the end of connections that are not read.

The end of a connection that is paused is not looked for, and stands behind bytes that were not
read. Here the system is asked once a second about those that have been paused for that long; a
pause that is over sooner costs an entry in a dictionary.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from rtchat.net.twisted_internals import socket_of

__all__ = ["PauseWatch"]

_log = Logger(__package__)

_EVERY_S = 1.0
_PROBE_EVERY = 5  # looks

_Gone = Callable[[bool], None]
_Probe = Callable[[], None]


class PauseWatch:
    """Notices that the other side of a paused connection has closed it, or that it broke.

    Args:
        clock: Runs the timer, while a connection is paused.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._watched: dict[object, tuple[_Gone, _Probe | None]] = {}
        self._descriptors: dict[object, int] = {}  # of those the system is asked about
        self._poll: Any = None  # select.epoll, or select.poll elsewhere
        self._timer: IDelayedCall | None = None
        self._looks = 0

    def watch(self, transport: object, gone: _Gone, probe: _Probe | None = None) -> None:
        """Watch a connection whose reading is paused.

        Args:
            transport: Its transport, TLS or not.
            gone: Called once, at most two seconds after the other side closed its direction, or
                after the connection broke (then with True). Bytes may be left unread.
            probe: Sends a byte or a few; None if the connection is never quiet. A process that
                dies while it sends leaves bytes in its system for which there is no room here,
                and its end stands behind them. But what comes for it is answered with a reset.
        """
        self._watched[transport] = gone, probe
        if self._timer is None:
            self._timer = self._clock.callLater(_EVERY_S, self._look)

    def forget(self, transport: object) -> None:
        """Stop watching: the connection is read again. Do nothing if it is not watched."""
        if self._watched.pop(transport, None) is not None:
            descriptor = self._descriptors.pop(transport, None)
            if descriptor is not None:
                with suppress(OSError, ValueError, KeyError):  # a closed one removes itself
                    self._poll.unregister(descriptor)

    def lost(self, transport: object) -> None:
        """Stop watching a connection that is gone, and the clock if it was the last one."""
        self.forget(transport)
        if self._timer is not None and not self._watched:
            self._timer.cancel()
            self._look()

    def _look(self) -> None:
        self._timer = None
        if not self._watched:
            if self._poll is not None and hasattr(self._poll, "close"):
                self._poll.close()
            self._poll = None
            return
        self._timer = self._clock.callLater(_EVERY_S, self._look)
        self._looks += 1
        if self._looks % _PROBE_EVERY == 0:
            self._send_probes()
        for transport in self._watched:
            if transport not in self._descriptors:
                self._add(transport)
        events = dict(self._poll.poll(0)) if self._poll is not None else {}
        if events:
            self._report(events)

    def _send_probes(self) -> None:
        """Probe those that have been paused for a while."""
        for transport in list(self._descriptors):
            _, probe = self._watched.get(transport, (None, None))
            if probe is not None:
                probe()

    def _report(self, events: Mapping[int, int]) -> None:
        for transport, descriptor in list(self._descriptors.items()):
            watched = self._watched.get(transport)
            if descriptor in events and watched is not None:  # an earlier one may have ended it
                self.forget(transport)
                try:
                    watched[0](bool(events[descriptor] & select.POLLERR))
                except Exception:
                    _log.failure("bug while ending a connection")

    def _add(self, transport: object) -> None:
        connection = socket_of(transport)
        if connection is None:
            return
        if self._poll is None:
            self._poll = select.epoll() if sys.platform == "linux" else select.poll()
        # Elsewhere, poll(2) tells of errors and hang-ups without being asked to.
        wanted = select.EPOLLRDHUP if sys.platform == "linux" else 0
        with suppress(OSError, ValueError):  # it is closed already
            descriptor = connection.fileno()
            self._poll.register(descriptor, wanted)
            self._descriptors[transport] = descriptor
