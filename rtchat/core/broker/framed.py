"""Deliveries as they are sent: encoded and framed, and large bodies shared."""

from __future__ import annotations

from rtchat.core.broker.encoder import Encoder
from rtchat.core.broker.message import Message
from rtchat.core.flow.large_frame import LARGE_BYTES, LargeFrame, Piece
from rtchat.core.flow.outbound import TURN_WORK, Cork, Framing

__all__ = ["framed"]

_END = b"\0\n"

_COMPRESSION = 6
"""To compress 64 bytes is one unit of work: 2 to the power of this."""


def framed(
    message: Message,
    encoder: Encoder,
    framing: Framing,
    cork: Cork,
) -> Piece:
    """Return a delivery, framed; it shares the body of the message if that is large.

    Once a turn has done its work, nothing more is compressed in it.

    Args:
        message: The message.
        encoder: Encodes it.
        framing: How the connection frames it.
        cork: The turn.
    """
    body, around = message.frame.body, None
    if len(body) >= LARGE_BYTES:
        around = encoder.around(message, message.id)
    if around is None:
        parts = [encoder.encode(message)]
    else:
        parts = [b"".join(around), body, _END]
    header = framing.header_of(parts, may_compress=cork.work < TURN_WORK)
    if header is None:
        cork.work += len(body) >> _COMPRESSION
        return framing.wrap(b"".join(parts))
    if around is None:
        return header + parts[0]
    return LargeFrame(header, *parts)
