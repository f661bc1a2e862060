"""A message on its way from one publisher to any number of subscribers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rtchat.core.stomp.frames import Frame, Version, encode_headers, escape
from rtchat.errors import ProtocolError

__all__ = [
    "Message",
    "Publication",
    "ServerMessage",
    "message_prefix",
    "size_of",
    "time_to_live_ms",
    "with_expires",
    "without_expiry",
]

# Meant for the server alone; a subscriber has no use for them.
_FOR_THE_SERVER = frozenset({"content-length", "receipt", "transaction"})
_WRITTEN_ANEW = frozenset({"destination", "reply-to"})
# "Server-set headers cannot be forged by a publisher."
_SET_BY_THE_SERVER = frozenset(
    {
        "ack",
        "message-id",
        "redelivered",
        "subscription",
        "x-delivery-count",
        "x-dropped",
        "x-presence",
        "x-sender",
        "x-sender-id",
        "x-stream-epoch",
        "x-stream-offset",
        "x-stream-recovered",
        "x-undelivered",
    }
)
# STOMP 1.0 cannot write a name of spaces and line breaks alone.
_NO_NAME = frozenset({""})
_NOT_PASSED_ON = _FOR_THE_SERVER | _WRITTEN_ANEW | _SET_BY_THE_SERVER | _NO_NAME

_Head = tuple[str, bytes]
"""A destination, and how its MESSAGE frames go on after ``message-id``."""

_OVERHEAD_BYTES = 512
"""What a message costs beside its body and headers; a floor for what empty ones count."""

_DEFAULT_PRIORITY = 4
_MAX_PRIORITY = 9


def message_prefix(subscription_id: str, version: Version) -> bytes:
    """Give the part of a MESSAGE frame that differs between subscriptions.

    Args:
        subscription_id: The id the client chose; "" (possible in STOMP 1.0 only) leaves the
            header out.
        version: The version the client speaks.
    """
    if not subscription_id:
        return b"MESSAGE\n"
    return f"MESSAGE\nsubscription:{escape(subscription_id, version)}\n".encode()


class Message:
    """What a SEND carries to its destination.

    Attributes:
        id: Unique for the server's run; the ``message-id`` header.
        frame: The SEND it came with.
        destination: Where it goes; one of several, if the SEND named several.
        reply_to: Where answers go, or "". A publisher's ``/temp-queue/NAME`` has become the
            address under which everybody reaches it.
    """

    __slots__ = ("_heads", "destination", "frame", "id", "reply_to")

    def __init__(self, message_id: str, destination: str, frame: Frame, reply_to: str = "") -> None:
        self.id = message_id
        self.destination = destination
        self.frame = frame
        self.reply_to = reply_to
        self._heads: dict[object, _Head] | None = None

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
        """0 to 9, 4 if the publisher did not say (or said something else)."""
        text = self.frame.headers.get("priority")
        if text is None or not (text.isascii() and text.isdigit()) or len(text) > 9:
            return _DEFAULT_PRIORITY
        return min(int(text), _MAX_PRIORITY)

    @property
    def expires_s(self) -> float:
        """When its time is over, in seconds since 1970; 0 is never."""
        text = self.frame.headers.get("expires")
        if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
            return 0.0
        return int(text) / 1000

    def is_expired(self, now_s: float) -> bool:
        """Tell whether its time is over."""
        if "expires" not in self.frame.headers:
            return False
        return 0 < self.expires_s <= now_s

    def headers(self) -> dict[str, str]:
        """Give the headers that are passed on to subscribers, the publisher's own."""
        headers = dict(self._own_headers())
        if self.reply_to:
            headers["reply-to"] = self.reply_to
        return headers

    def _own_headers(self) -> list[tuple[str, str]]:
        # Names are compared as a client sees them that trims, as those of STOMP 1.0 do: it must
        # not take a publisher's "message-id " for the server's.
        return [
            (name, value)
            for name, value in self.frame.headers.items()
            if escape(name, Version.V10, is_name=True).strip() not in _NOT_PASSED_ON
        ]

    def selectable(self) -> Mapping[str, str]:
        """Give the headers that a selector may ask for."""
        return {
            **self.headers(),
            "message-id": self.id,
            "destination": self.destination,
        }

    def marshal(self, prefix: bytes, version: Version, mark: bytes = b"") -> bytes:
        """Give a MESSAGE frame's bytes.

        Args:
            prefix: How it begins (see :func:`message_prefix`), up to the headers that all its
                subscribers share.
            version: The version the subscriber speaks.
            mark: What follows the message's id in ``message-id``.
        """
        # The head that was made for an earlier message with the same SEND head, if there is one.
        known = self.frame.memo.get(version)
        if known is None or known[0] != self.destination or self.reply_to:
            known = self._head(version)
        return b"".join(
            (prefix, b"message-id:", self.id.encode(), mark, known[1], self.frame.body, b"\0")
        )

    def around(self, stem: str, prefix: bytes, version: Version) -> tuple[bytes, bytes]:
        """Give what stands around the number in the id and the body, in MESSAGE frames.

        For several messages that differ in both alone (see :meth:`marshal`).

        Args:
            stem: What their ids begin with.
            prefix: How the frames begin.
            version: The version the subscriber speaks.
        """
        return b"%bmessage-id:%b" % (prefix, stem.encode()), self._head(version)[1]

    def _head(self, version: Version) -> _Head:
        """Give the headers after ``message-id``, from its end of line to the blank line.

        They are the same for all messages with the same SEND head, if that says all of it: then
        they are remembered there, and a publisher who repeats itself pays once.
        """
        headers = self.frame.headers
        says_all = "content-length" in headers and self.destination == headers.get("destination")
        if says_all and not self.reply_to:
            memo = self.frame.memo
        else:
            if self._heads is None:
                self._heads = {}
            memo = self._heads
        head: _Head | None = memo.get(version)
        if head is None:
            own = encode_headers(self.headers().items(), version)
            destination = escape(self.destination, version).encode()
            length = len(self.frame.body)
            text = b"\ndestination:%b\ncontent-length:%d\n%b\n" % (destination, length, own)
            head = memo[version] = (self.destination, text)
        return head


def size_of(frame: Frame) -> int:
    """Give what a SEND's message counts in the limits of queues and backlogs, in bytes."""
    headers: int | None = frame.memo.get("size")
    if headers is None:
        headers = sum(len(name) + len(value) for name, value in frame.headers.items())
        frame.memo["size"] = headers
    return len(frame.body) + headers + _OVERHEAD_BYTES


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

    def _own_headers(self) -> list[tuple[str, str]]:
        return list(self.frame.headers.items())


def with_expires(frame: Frame, now: float) -> Frame:
    """Turn ``expiration``, in milliseconds from now, into ``expires`` beside it."""
    expires = str(int(now * 1000) + time_to_live_ms(frame))
    return Frame(frame.command, {**frame.headers, "expires": expires}, frame.body)


def time_to_live_ms(frame: Frame) -> int:
    text = frame.headers["expiration"]
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise ProtocolError(
            "expiration is not a number", "Give the time to live as whole milliseconds."
        )
    return int(text)


def without_expiry(frame: Frame) -> Frame:
    """Take away the end of its time: a dead letter waits until somebody looks at it."""
    if "expires" not in frame.headers:
        return frame
    headers = {k: v for k, v in frame.headers.items() if k not in ("expires", "expiration")}
    return Frame(frame.command, headers, frame.body)


class Publication(NamedTuple):
    """A SEND that waits for COMMIT.

    Attributes:
        destination: Where to.
        size: What it counts in the budget, in bytes.
        frame: The SEND.
        reply_to: Where answers go.
    """

    destination: str
    size: int
    frame: Frame
    reply_to: str
