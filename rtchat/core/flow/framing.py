"""How STOMP frames are packed for a kind of connection."""

from __future__ import annotations

from typing import Protocol

from rtchat.core.flow.turns import TURN_WORK

__all__ = ["COMPRESSION", "RAW", "Framing", "wrap_large"]

COMPRESSION = 6
"""To compress 64 bytes is one unit of work: 2 to the power of this."""


class Framing(Protocol):
    """How a kind of connection frames STOMP frames (as WebSocket messages, for example).

    Connections that share a framing object receive identical bytes for a STOMP frame, so a
    message is framed once for all of them.
    """

    def wrap(self, data: bytes) -> bytes:
        """Return the bytes to send for one STOMP frame or heart-beat."""

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        """Return the bytes that :meth:`wrap` would put before each of several frames.

        Args:
            length: The length of each frame in bytes.
            parts: Pieces that together contain all bytes of the frames.

        Returns:
            The common prefix, or None if each frame has to be wrapped separately.
        """

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        """Return the bytes that :meth:`wrap` would put before one frame.

        Args:
            parts: The bytes of the frame, in order.
            may_compress: Whether there is time to compress it.

        Returns:
            The header, or None if the frame has to be compressed by :meth:`wrap`.
        """


class _Raw:
    """Framing of plain TCP: none."""

    def wrap(self, data: bytes) -> bytes:
        """Return the bytes unchanged."""
        return data

    def header_of_all(self, length: int, parts: list[bytes]) -> bytes | None:
        """Return an empty prefix."""
        return b""

    def header_of(self, parts: list[bytes], *, may_compress: bool) -> bytes | None:
        """Return an empty header."""
        return b""


RAW: Framing = _Raw()
"""The framing of plain TCP."""


class Working(Protocol):
    """What counts the work of a turn, see :mod:`rtchat.core.flow.turns`."""

    work: int


def wrap_large(framing: Framing, data: bytes, turn: Working) -> bytes:
    """Return a large frame as a connection frames it; compressed if the turn has time for it.

    Args:
        framing: How the connection frames it.
        data: The bytes of the frame.
        turn: The turn.
    """
    cost = len(data) >> COMPRESSION
    header = framing.header_of([data], may_compress=turn.work + cost <= TURN_WORK)
    if header is not None:
        return header + data
    turn.work += cost
    return framing.wrap(data)
