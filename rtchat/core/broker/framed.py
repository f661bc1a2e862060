"""Deliveries as they are sent: encoded and framed, and large bodies shared."""

from __future__ import annotations

from rtchat.core.broker.encoder import Encoder
from rtchat.core.broker.message import Message
from rtchat.core.flow.framing import COMPRESSION
from rtchat.core.flow.large_frame import LARGE_BYTES, LargeFrame, Piece
from rtchat.core.flow.outbound import TURN_WORK, Cork, Framing

__all__ = ["framed"]

_END = b"\0\n"


def framed(
    message: Message,
    encoder: Encoder,
    framing: Framing,
    cork: Cork,
) -> Piece:
    """Return a delivery, framed; it shares the body of the message if that is large.

    What the turn has no time to compress is sent as it is.

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
    cost = len(body) >> COMPRESSION
    header = framing.header_of(parts, may_compress=cork.work + cost < TURN_WORK)
    if header is None:
        cork.work += cost
        return framing.wrap(b"".join(parts))
    if around is None:
        return header + parts[0]
    return LargeFrame(header, *parts)
