"""Whether a STOMP client is read, and the reasons why not."""

from __future__ import annotations

from collections.abc import Callable

from rtchat.net.connection.pause_watch import PauseWatch
from rtchat.net.connection.transport import StreamTransport
from rtchat.net.connection.writer import IFramedTransport

__all__ = ["MEMORY", "SESSION", "TURN", "Reading"]

MEMORY = "memory"
"""Memory is nearly used up: publishers are read more slowly."""

SESSION = "session"
"""The session waits, for a full queue or its rate limit, for example."""

TURN = "turn"
"""The session has frames for its next turns."""


class Reading:
    """Pauses the reading of one client, for one or several reasons at a time.

    While it is paused, the end of the connection is watched for: it would not be read.

    Args:
        stream: The connection.
        framed: The same, if it has a framing of its own and watches for its end by itself.
        watch: Watches for the end of other connections.
        gone: Called with whether the connection broke, if the client goes meanwhile.
        probe: Sends a byte, so that the system of a dead client objects.

    Attributes:
        reasons: The reasons not to read.
    """

    __slots__ = ("_framed", "_gone", "_probe", "_stream", "_watch", "reasons")

    def __init__(
        self,
        stream: StreamTransport,
        framed: IFramedTransport | None,
        watch: PauseWatch,
        gone: Callable[[bool], None],
        probe: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._framed = framed
        self._watch = watch
        self._gone = gone
        self._probe = probe
        self.reasons: tuple[str, ...] = ()

    @property
    def is_paused(self) -> bool:
        """Whether the client is not read."""
        return bool(self.reasons)

    @property
    def is_soon(self) -> bool:
        """Whether it is read again as soon as it has had its turns, whatever others do."""
        return self.reasons == (TURN,)

    def pause(self, reason: str) -> None:
        """Stop reading, for one more reason."""
        # One whose end was told while it had its turns is watched again.
        if not self.reasons or self.is_soon:
            self._stream.pauseProducing()
            if self._framed is None:
                self._watch.watch(self._stream, self._gone, self._probe)
            else:
                self._framed.on_gone = self._gone
        if reason not in self.reasons:
            self.reasons += (reason,)

    def resume(self, *reasons: str) -> bool:
        """Drop these reasons; return whether they were the last ones: then call :meth:`begin`."""
        before = self.reasons
        self.reasons = tuple(one for one in before if one not in reasons)
        return bool(before) and not self.reasons

    def begin(self) -> None:
        """Read again."""
        if self._framed is None:
            self._watch.forget(self._stream)
        self._stream.resumeProducing()
