"""A message on its way from one publisher to any number of subscribers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtchat.core.stomp.frames import Frame, Version, head_of
from rtchat.errors import ProtocolError
from rtchat.text import parse_digits

__all__ = [
    "OVERHEAD_BYTES",
    "Message",
    "ServerMessage",
    "size_of",
    "time_to_live_ms",
    "with_expires",
    "without_expiry",
]

OVERHEAD_BYTES = 512
"""What a message counts beside its body and headers; a floor for what empty ones count."""

_DEFAULT_PRIORITY = 4
_MAX_PRIORITY = 9


@dataclass(slots=True, eq=False)
class Message:
    """What a SEND carries to its destination.

    Attributes:
        id: Unique for the server's run; the ``message-id`` header.
        destination: Where it goes; one of several, if the SEND named several.
        frame: The SEND it came with. A frame with the command MESSAGE is one of the server's own.
        reply_to: Where answers go, or "". A publisher's ``/temp-queue/NAME`` has become the
            address under which every session reaches it.
        position: Header lines that follow ``message-id`` in every MESSAGE frame, as the
            destination's provider sets them; the first one begins with its line end.
        encoded: As :attr:`~rtchat.core.stomp.frames.Head.encoded`, for what this message alone
            has in its headers.
    """

    id: str
    destination: str
    frame: Frame
    reply_to: str = ""
    position: bytes = b""
    encoded: dict[Version, tuple[str, bytes]] | None = None

    @property
    def body(self) -> bytes:
        """The body's bytes."""
        return self.frame.body

    @property
    def size(self) -> int:
        """What it counts in the limits of queues and backlogs, in bytes."""
        return size_of(self.frame)

    @property
    def priority(self) -> int:
        """0 to 9; 4 if the publisher gave none, or none that is a number."""
        text = self.frame.headers.get("priority")
        if text is None:
            return _DEFAULT_PRIORITY
        priority = parse_digits(text, 9)
        return _DEFAULT_PRIORITY if priority is None else min(priority, _MAX_PRIORITY)

    @property
    def expires_s(self) -> float:
        """When it expires, in seconds since 1970; 0 is never."""
        text = self.frame.headers.get("expires")
        return 0.0 if text is None else (parse_digits(text, 18) or 0) / 1000

    def is_expired(self, now_s: float) -> bool:
        """Return whether it has expired."""
        if "expires" not in self.frame.headers:
            return False
        return 0 < self.expires_s <= now_s


def size_of(frame: Frame) -> int:
    """Return what a SEND's message counts in the limits of queues and backlogs, in bytes.

    That is the body, the header block as it came, and :data:`OVERHEAD_BYTES`.
    """
    head = frame.head
    if head is None:
        head = head_of(frame)
    return len(frame.body) + head.size + OVERHEAD_BYTES


class ServerMessage(Message):
    """A message with headers that only the server may set.

    Args:
        message_id: Its id.
        destination: What it says as its destination.
        headers: All others that its receivers see.
        body: Its body.
    """

    __slots__ = ()

    def __init__(
        self, message_id: str, destination: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        super().__init__(message_id, destination, Frame("MESSAGE", headers, body))


def with_expires(frame: Frame, now: float) -> Frame:
    """Return the frame with the absolute ``expires`` beside its ``expiration``."""
    expires = str(int(now * 1000) + time_to_live_ms(frame))
    return Frame(frame.command, {**frame.headers, "expires": expires}, frame.body)


def time_to_live_ms(frame: Frame) -> int:
    """Return the value of ``expiration`` in milliseconds.

    Raises:
        ProtocolError: It is not a whole number.
    """
    time_ms = parse_digits(frame.headers["expiration"], 15)
    if time_ms is None:
        raise ProtocolError(
            "expiration is not a number", "Give the time to live as whole milliseconds."
        )
    return time_ms


def without_expiry(frame: Frame) -> Frame:
    """Return the frame without an expiry: a dead letter stays until a person deals with it."""
    if "expires" not in frame.headers:
        return frame
    headers = {k: v for k, v in frame.headers.items() if k not in ("expires", "expiration")}
    return Frame(frame.command, headers, frame.body)
