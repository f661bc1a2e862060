"""Whether a STOMP client is read, and the reasons why not."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from rtchat.net.connection.framed_transport import IFramedTransport
from rtchat.net.connection.pause_watch import PauseWatch
from rtchat.net.connection.transport import StreamTransport

__all__ = ["MEMORY", "SESSION", "TURN", "ReadClient"]

MEMORY = "memory"
"""Memory is nearly used up: publishers are read more slowly."""

SESSION = "session"
"""The session waits, for a full queue or its rate limit, for example."""

TURN = "turn"
"""The session has frames for its next turns."""


class ReadClient:
    """The part of a client's protocol that pauses reading, for one or several reasons at a time.

    While it is paused, the end of the connection is watched for: it would not be read.

    Attributes:
        heard_s: When the client was last heard, by the clock.
    """

    heard_s: float

    _clock: IReactorTime
    _framed: IFramedTransport | None  # it watches for the end by itself
    _pauses: tuple[str, ...] = ()
    _stream: StreamTransport

    @property
    def pause_watch(self) -> PauseWatch:
        """What watches for the end of connections that are not read."""
        raise NotImplementedError

    def gone(self, is_broken: bool) -> None:
        """The client has closed the connection, or broken it, while it was not read."""
        raise NotImplementedError

    def probe(self) -> None:
        """Send a byte, so that the system of a dead client objects."""
        raise NotImplementedError

    @property
    def is_held_up(self) -> bool:
        """Whether the client is not read."""
        return bool(self._pauses)

    @property
    def has_its_turns(self) -> bool:
        """Whether it is not read only until it has had its turns, whatever others do."""
        return self._pauses == (TURN,)

    def pause(self, reason: str) -> None:
        """Stop reading, for one more reason."""
        # One whose end was told while it had its turns is watched again.
        if not self._pauses or self.has_its_turns:
            self._stream.pauseProducing()
            if self._framed is None:
                self.pause_watch.watch(self._stream, self.gone, self.probe)
            else:
                self._framed.on_gone = self.gone
        if reason not in self._pauses:
            self._pauses += (reason,)

    def resume(self, *reasons: str) -> None:
        """Drop these reasons not to read; read again if there are no others."""
        if not self._pauses:
            return
        self._pauses = tuple(one for one in self._pauses if one not in reasons)
        if not self._pauses:
            # The silence was ours, not the client's.
            self.heard_s = self._clock.seconds()
            if self._framed is None:
                self.pause_watch.forget(self._stream)
            self._stream.resumeProducing()
