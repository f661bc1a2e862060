"""Messages, from one publisher to any number of subscribers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtchat.core.stomp.frames import Frame, Head, Version, escape, head_of, unescape
from rtchat.errors import ProtocolError
from rtchat.text import kept_bytes, parse_digits

__all__ = [
    "HEADER_BYTES",
    "OVERHEAD_BYTES",
    "SENDER_ID",
    "STORED_OVERHEAD_BYTES",
    "USER",
    "Message",
    "ServerMessage",
    "sender_line",
    "size_of",
    "time_to_live_ms",
    "user_mark",
    "user_of",
    "with_expires",
    "without_expiry",
]

OVERHEAD_BYTES = 640
"""The overhead of a message in limits, in bytes, in addition to its body and headers."""

HEADER_BYTES = 136
"""The overhead of a header, in bytes, in addition to its text."""

STORED_OVERHEAD_BYTES = 512
"""The overhead of a message in the limits of a file, in bytes."""

SENDER_ID = "x-sender-id"
"""The header with the sender's public id; a publisher's own is not passed on."""

USER = "x-user"
"""The header with the name of the sender's user; a publisher's own is not passed on."""

_USER_BEGIN = f"{USER}:".encode()

_DEFAULT_PRIORITY = 4
_MAX_PRIORITY = 9


@dataclass(slots=True, eq=False)
class Message:
    """A message to one destination.

    Attributes:
        id: The ``message-id`` header; unique while the server runs.
        destination: The destination; one of several, if the SEND was composite.
        frame: The SEND. The server's own messages have a frame with the command MESSAGE.
        reply_to: The destination of replies, or "". A publisher's ``/temp-queue/NAME`` is replaced
            by the address of that queue.
        position: Header lines that follow ``message-id`` in each MESSAGE frame, set by the server
            for some destinations: ``timestamp``, the sender's id, the position in a history. Each
            begins with a line feed; the last one has none after it.
        encoded: As :attr:`~rtchat.core.stomp.frames.Head.encoded`, if the headers of this message
            differ from those of others with the same head.
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
        """The size that counts towards the limits of queues and backlogs, in bytes."""
        return size_of(self.frame)

    @property
    def priority(self) -> int:
        """The priority, 0 to 9; 4 if the header is missing or not a number."""
        text = self.frame.headers.get("priority")
        if text is None:
            return _DEFAULT_PRIORITY
        priority = parse_digits(text, 9)
        return _DEFAULT_PRIORITY if priority is None else min(priority, _MAX_PRIORITY)

    @property
    def expires_s(self) -> float:
        """The time at which the message expires, in seconds since 1970; 0 means never."""
        text = self.frame.headers.get("expires")
        return 0.0 if text is None else (parse_digits(text, 18) or 0) / 1000

    def is_expired(self, now_s: float) -> bool:
        """Return whether the message has expired at a time in seconds since 1970."""
        if "expires" not in self.frame.headers:
            return False
        return 0 < self.expires_s <= now_s


def size_of(frame: Frame) -> int:
    """Return the size of a SEND's message that counts towards limits, in bytes.

    It is what the message takes in memory: the body, the header block twice (as text, and as it is
    sent to subscribers), :data:`HEADER_BYTES` for each header, and :data:`OVERHEAD_BYTES`.
    """
    head = frame.head
    if head is None:
        head = head_of(frame)
    return len(frame.body) + (head.held_bytes or _held_bytes_of(head)) + OVERHEAD_BYTES


def _held_bytes_of(head: Head) -> int:
    """Return what a head takes in memory, in bytes; it is kept in the head."""
    size = sum(map(kept_bytes, [*head.headers, *head.headers.values()]))
    head.held_bytes = size + head.size + len(head.headers) * HEADER_BYTES
    return head.held_bytes


def sender_line(sender_id: str) -> bytes:
    """Return a sender's public id as a header line.

    Args:
        sender_id: The id, of characters that need no escapes in a header.
    """
    return f"{SENDER_ID}:{sender_id}\n".encode()


def user_of(message: Message) -> str:
    """Return the user who has sent a message; "" if that is no user."""
    for line in message.position.split(b"\n"):
        if line.startswith(_USER_BEGIN):
            return unescape(line[len(_USER_BEGIN) :].decode(), Version.V12)
    return ""


def user_mark(user: str) -> bytes:
    """Return the position of a message of which only the sender's user is known.

    Args:
        user: The user's name; "" for an anonymous sender.
    """
    # Receivers with STOMP 1.0, which knows no escapes, get the others' as they are.
    return f"\n{USER}:{escape(user, Version.V12)}".encode() if user else b""


class ServerMessage(Message):
    """A message from the server, with headers that a publisher may not set.

    Args:
        message_id: The ``message-id`` header.
        destination: The ``destination`` header.
        headers: All other headers that subscribers see.
        body: The body.
    """

    __slots__ = ()

    def __init__(
        self, message_id: str, destination: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        super().__init__(message_id, destination, Frame("MESSAGE", headers, body))


def with_expires(frame: Frame, now: float) -> Frame:
    """Return a copy of the frame with ``expires``, computed from ``expiration``; 0 is for ever.

    Args:
        frame: A SEND with ``expiration``.
        now: The time in seconds since 1970.

    Raises:
        ProtocolError: ``expiration`` is not a whole number.
    """
    to_live_ms = time_to_live_ms(frame)
    if not to_live_ms and "expires" not in frame.headers:
        return frame
    expires = str(int(now * 1000) + to_live_ms) if to_live_ms else "0"
    return Frame(frame.command, {**frame.headers, "expires": expires}, frame.body)


def time_to_live_ms(frame: Frame) -> int:
    """Return the value of ``expiration`` in milliseconds.

    Raises:
        ProtocolError: The value is not a whole number.
    """
    time_ms = parse_digits(frame.headers["expiration"], 15)
    if time_ms is None:
        raise ProtocolError(
            "expiration is not a number", "Give the time to live as whole milliseconds."
        )
    return time_ms


def without_expiry(frame: Frame) -> Frame:
    """Return the frame without its expiry: dead letters stay until the operator removes them."""
    if "expires" not in frame.headers:
        return frame
    headers = {k: v for k, v in frame.headers.items() if k not in ("expires", "expiration")}
    return Frame(frame.command, headers, frame.body)
