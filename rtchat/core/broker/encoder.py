"""How deliveries are written for subscribers: the seam, and MESSAGE frames of STOMP."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Protocol

from rtchat.core.broker.message import Message
from rtchat.core.stomp.frames import SPECIAL, Version, escape, head_of

__all__ = [
    "Encoder",
    "StompEncoder",
    "passed_on_headers",
    "passed_on_lines",
    "selectable_headers",
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

_SERVER_COMMAND = "MESSAGE"


class Encoder(Protocol):
    """Writes deliveries for one kind of subscriber."""

    @property
    def key(self) -> Hashable:
        """Encoders with equal keys write the same bytes, so a topic encodes once for all."""

    def encode(self, message: Message, extra: bytes = b"", mark: bytes = b"") -> bytes:
        """Return one delivery.

        Args:
            message: The message.
            extra: Header lines for this delivery alone.
            mark: What follows the message's id in ``message-id``, for this delivery alone.
        """

    def around(self, message: Message, stem: str) -> tuple[bytes, bytes] | None:
        """Return what stands before the id's number, and between it and the body.

        A run of messages that differ in both alone is then encoded at a third of the cost.

        Args:
            message: Any message of the run; it has a ``content-length``.
            stem: What the ids begin with.

        Returns:
            None if each message has to be encoded by itself.
        """


class StompEncoder:
    """Writes MESSAGE frames.

    Args:
        subscription_id: The id the client chose; "" (possible in STOMP 1.0 only) leaves the
            header out.
        version: The version the client speaks.
    """

    __slots__ = ("key", "prefix", "version")

    def __init__(self, subscription_id: str, version: Version) -> None:
        prefix = b"MESSAGE\n"
        if subscription_id:
            prefix = f"MESSAGE\nsubscription:{escape(subscription_id, version)}\n".encode()
        self.prefix = prefix
        self.version = version
        self.key = (prefix, version)

    def encode(self, message: Message, extra: bytes = b"", mark: bytes = b"") -> bytes:
        """Return a MESSAGE frame's bytes, the closing NUL included."""
        frame, version = message.frame, self.version
        # The lines that were made for an earlier message with the same SEND head, if any.
        head = frame.head
        known = None if head is None else head.encoded.get(version)
        if known is None or known[0] != message.destination or message.reply_to:
            known = _encoded_head(message, version)
        return b"".join(
            (
                self.prefix,
                extra,
                b"message-id:",
                message.id.encode(),
                mark,
                message.position,
                known[1],
                frame.body,
                b"\0",
            )
        )

    def around(self, message: Message, stem: str) -> tuple[bytes, bytes]:
        """Return what stands around the number in the id of each frame of a run."""
        before = b"%bmessage-id:%b" % (self.prefix, stem.encode())
        return before, message.position + _encoded_head(message, self.version)[1]


def passed_on_headers(message: Message) -> dict[str, str]:
    """Return the headers that subscribers see beside those that the server sets for them."""
    frame = message.frame
    if frame.command == _SERVER_COMMAND:
        headers = dict(frame.headers)
    else:
        # Names are compared as a client sees them that trims, as those of STOMP 1.0 do: it must
        # not take a publisher's "message-id " for the server's.
        headers = {
            name: value
            for name, value in frame.headers.items()
            if (name if SPECIAL.search(name) is None else _without_breaks(name)).strip()
            not in _NOT_PASSED_ON
        }
    if message.reply_to:
        headers["reply-to"] = message.reply_to
    return headers


def selectable_headers(message: Message) -> dict[str, str]:
    """Return the headers that a selector may ask for."""
    return {
        **passed_on_headers(message),
        "message-id": message.id,
        "destination": message.destination,
    }


def passed_on_lines(message: Message) -> bytes:
    """Return :func:`passed_on_headers` as header lines of STOMP 1.2.

    A publisher repeats its headers, and only the address for replies may differ, so all messages
    with the same SEND head share the lines if there is none.
    """
    frame = message.frame
    if message.reply_to:
        return _lines(passed_on_headers(message).items(), Version.V12)
    head = frame.head
    if head is None:
        head = head_of(frame)
    lines = head.passed_on
    if lines is None:
        lines = head.passed_on = _lines(passed_on_headers(message).items(), Version.V12)
    return lines


def _encoded_head(message: Message, version: Version) -> tuple[str, bytes]:
    """Return the destination, and the lines from the end of ``message-id`` to the blank line.

    They are the same for all messages with the same SEND head, if that says all of it: then they
    are remembered there.
    """
    frame = message.frame
    headers = frame.headers
    says_all = "content-length" in headers and message.destination == headers.get("destination")
    if says_all and not message.reply_to:
        head = frame.head
        if head is None:
            head = head_of(frame)
        known = head.encoded
    else:
        if message.encoded is None:
            message.encoded = {}
        known = message.encoded
    encoded = known.get(version)
    if encoded is None:
        if version is Version.V12:
            own = passed_on_lines(message)
        else:
            own = _lines(passed_on_headers(message).items(), version)
        destination = message.destination
        if SPECIAL.search(destination) is not None:
            destination = escape(destination, version)
        lines = b"\ndestination:%b\ncontent-length:%d\n%b\n" % (
            destination.encode(),
            len(frame.body),
            own,
        )
        encoded = known[version] = (message.destination, lines)
    return encoded


def _lines(headers: Iterable[tuple[str, str]], version: Version) -> bytes:
    lines = []
    for name, value in headers:
        # Most need no escape, which one search tells.
        if SPECIAL.search(name) is not None:
            name = escape(name, version, is_name=True)
        if SPECIAL.search(value) is not None:
            value = escape(value, version)
        lines.append(f"{name}:{value}\n")
    return "".join(lines).encode()


def _without_breaks(name: str) -> str:
    return escape(name, Version.V10, is_name=True)
