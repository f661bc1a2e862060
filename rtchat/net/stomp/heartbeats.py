"""The heart-beats of one STOMP client: sent at their interval, and expected at its own."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from rtchat.core.session.connection import HeartBeat
from rtchat.net.connection.liveness import Silence, Taken

__all__ = ["BeatingClient", "HeartBeats"]

_SEND_SHARE = 0.8  # "sends at 0.8 of what was agreed": early enough for a slow network
_SILENCE_SHARE = 2.0  # "cuts after twice the agreed silence"


class BeatingClient(Protocol):
    """A client, as its heart-beats see it.

    Attributes:
        heard_s: When it was last heard, by the clock.
    """

    heard_s: float

    @property
    def can_be_heard(self) -> bool:
        """Whether its bytes are read now."""

    def taken(self) -> Taken | None:
        """Return what it has taken, or None where the system does not say."""

    def send_heartbeat(self) -> None:
        """Send a heart-beat."""

    def fell_silent(self, allowed_s: float) -> None:
        """It was not heard for this long, nor did it take bytes."""


class HeartBeats:
    """Sends heart-beats, and expects those of the client; runs until :meth:`stop`.

    Args:
        client: The client.
        agreed: The intervals; 0 is none in that direction.
        clock: Runs the timers.
    """

    __slots__ = ("_agreed", "_client", "_clock", "_send_timer", "_silence", "_silence_timer")

    def __init__(self, client: BeatingClient, agreed: HeartBeat, clock: IReactorTime) -> None:
        self._client = client
        self._agreed = agreed
        self._clock = clock
        self._send_timer: IDelayedCall | None = None
        self._silence_timer: IDelayedCall | None = None
        if agreed.send_ms:
            self._wait_to_send()
        if agreed.receive_ms:
            self._silence = Silence(client)
            self._listen(self._allowed_s)

    def stop(self) -> None:
        """Send none, and expect none."""
        for timer in (self._send_timer, self._silence_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._send_timer = self._silence_timer = None

    @property
    def _allowed_s(self) -> float:
        return self._agreed.receive_ms * _SILENCE_SHARE / 1000

    def _wait_to_send(self) -> None:
        delay_s = self._agreed.send_ms * _SEND_SHARE / 1000
        self._send_timer = self._clock.callLater(delay_s, self._send)

    def _send(self) -> None:
        self._wait_to_send()
        self._client.send_heartbeat()

    def _listen(self, delay_s: float) -> None:
        self._silence_timer = self._clock.callLater(delay_s, self._check_silence)

    def _check_silence(self) -> None:
        client, allowed_s = self._client, self._allowed_s
        if not client.can_be_heard:
            self._listen(allowed_s)
            return
        heard_s = client.heard_s
        left_s = self._silence.left_s(self._clock.seconds(), heard_s, allowed_s, heard_s)
        if left_s > 0:
            self._listen(left_s)
        else:
            client.fell_silent(allowed_s)
