"""How much memory takes what a session holds, in bytes."""

from __future__ import annotations

from rtchat.core.broker.message import size_of
from rtchat.core.broker.subscription import SubscribeOptions
from rtchat.core.flow.holding import Holding
from rtchat.core.stomp.frames import Frame
from rtchat.core.stomp.limits import Limits, too_much_held

__all__ = ["ACTION_BYTES", "charge", "cost_of_waiting"]

ACTION_BYTES = 256
"""What an ACK or NACK in a transaction takes."""

_SUBSCRIPTION_BYTES = 2048
"""What a subscription takes beside its names, and its destination if no other one has it."""

_WORD_BYTES = 512
"""What a word of a pattern takes."""


def charge(
    holding: Holding,
    limits: Limits,
    subscription_id: str,
    destination: str,
    options: SubscribeOptions,
) -> int:
    """Count what a subscription takes; return it.

    Raises:
        LimitExceeded: Too much is held for the client.
    """
    # There are copies of both names.
    size = _SUBSCRIPTION_BYTES + 3 * subscription_id.__sizeof__() + 2 * destination.__sizeof__()
    if "*" in destination or "#" in destination or ">" in destination:
        size += _WORD_BYTES * (1 + destination.count(".") + destination.count("/"))
    if options.selector is not None:
        size += options.selector.size
    if holding.bytes + size > holding.max_bytes:
        raise too_much_held(limits, holding.bytes + size)
    holding.add(size)
    return size


def cost_of_waiting(frame: Frame | None, buffered: int) -> int:
    """Return what a frame that waits takes, with the bytes behind it."""
    return buffered + (0 if frame is None else size_of(frame))
