"""The end of clients whose frame does not come to its end."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rtchat.core.broker.broker import Broker
from rtchat.core.session.session import Session
from rtchat.core.stomp.limits import Limits, frame_too_slow

__all__ = ["IncompleteFrames"]

_LOOKS = 4
"""How often a client is looked at within the time-out."""

_PROGRESS_BYTES = 16 * 1024
"""As much has to arrive within the time-out: 2.2 kbit/s, for the default time."""


class _Client(Protocol):
    session: Session

    @property
    def is_held_up(self) -> bool:
        """Whether the server does not read from it."""


class _Progress(NamedTuple):
    """What had arrived of a client's frame at some time.

    Attributes:
        frames: How many large frames had come to their end.
        size: How many bytes of the next one had arrived.
        since_s: The time, by the clock.
    """

    frames: int
    size: int
    since_s: float


class IncompleteFrames:
    """Watches clients of which an incomplete frame is held, and closes those that add little to it.

    Heart-beats may be off, and a byte now and then would be life.

    Args:
        broker: The broker.
        limits: The limits of each client.
        clock: Runs the timer, while there are such clients.
    """

    def __init__(self, broker: Broker, limits: Limits, clock: IReactorTime) -> None:
        self._broker = broker
        self._limits = limits
        self._clock = clock
        self._watched: dict[_Client, _Progress] = {}
        self._timer: IDelayedCall | None = None

    def watch(self, client: _Client) -> None:
        """Watch a client, unless it is watched already."""
        if client not in self._watched:
            self._watched[client] = self._progress_of(client)
            if self._timer is None:
                self._start()

    def forget(self, client: _Client) -> None:
        """Stop watching: the connection is gone. Do nothing if it is not watched."""
        self._watched.pop(client, None)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        self._timer = self._clock.callLater(self._limits.frame_timeout_s / _LOOKS, self._look)

    def _look(self) -> None:
        self._start()
        with self._broker.turn:
            for client, before in list(self._watched.items()):
                parser = client.session.parser
                now = self._progress_of(client)
                if not parser.held_bytes:
                    self.forget(client)
                elif (
                    client.is_held_up
                    or now.frames != before.frames
                    or now.size - before.size >= _PROGRESS_BYTES
                ):
                    self._watched[client] = now
                elif now.since_s - before.since_s >= self._limits.frame_timeout_s:
                    client.session.fail(frame_too_slow(self._limits, now.size))

    def _progress_of(self, client: _Client) -> _Progress:
        parser = client.session.parser
        return _Progress(parser.held_frames, parser.held_bytes, self._clock.seconds())
