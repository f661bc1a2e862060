"""Encoding of deliveries: the interface, and the encoder of STOMP MESSAGE frames."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Protocol

from rtchat.core.broker.message import USER, Message
from rtchat.core.stomp.frames import SPECIAL, Version, escape, head_of, unescape

__all__ = [
    "Encoder",
    "StompEncoder",
    "passed_on_headers",
    "passed_on_lines",
    "selectable_headers",
]

# Addressed to the server; not passed on to subscribers.
_FOR_THE_SERVER = frozenset({"content-length", "receipt", "transaction", "x-copy"})
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
        "x-receiver",
        "x-receiver-id",
        "x-sender",
        "x-sender-id",
        "x-stream-epoch",
        "x-stream-offset",
        "x-stream-damaged",
        "x-stream-recovered",
        "x-stream-unreadable",
        "x-undelivered",
        "x-user",
    }
)
# A name of spaces and line breaks only cannot be encoded for STOMP 1.0.
_NO_NAME = frozenset({""})
_NOT_PASSED_ON = _FOR_THE_SERVER | _WRITTEN_ANEW | _SET_BY_THE_SERVER | _NO_NAME
# Where the server sets the time of messages, it is no publisher's to set.
_TIMESTAMP = "timestamp"
_NOT_PASSED_ON_IF_STAMPED = _NOT_PASSED_ON | {_TIMESTAMP}

_USER_MARK = f"\n{USER}:".encode()

_SERVER_COMMAND = "MESSAGE"


class Encoder(Protocol):
    """Encodes deliveries for one kind of subscriber."""

    @property
    def key(self) -> Hashable:
        """Encoders with equal keys produce identical bytes, so a topic encodes a message once."""

    def encode(self, message: Message, extra: bytes = b"", mark: bytes = b"") -> bytes:
        """Return one delivery.

        Args:
            message: The message.
            extra: Header lines of this delivery only.
            mark: A suffix of ``message-id`` of this delivery only.
        """

    def around(self, message: Message, stem: str) -> tuple[bytes, bytes] | None:
        """Return the bytes before the number in the id, and those between it and the body.

        A run of messages that differ only in number and body is encoded with them at a third of
        the cost.

        Args:
            message: Any message of the run; it has a ``content-length``.
            stem: The common beginning of the ids; the number follows it.

        Returns:
            The two pieces, or None if each message has to be encoded separately.
        """


class StompEncoder:
    """Encodes MESSAGE frames.

    Args:
        subscription_id: The id chosen by the client; with "" (in STOMP 1.0 only) the frames have
            no ``subscription`` header.
        version: The client's version.
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
        """Return a MESSAGE frame's bytes, including its end: NUL and a line feed."""
        frame, version = message.frame, self.version
        # The header lines that an earlier message with the same head has produced, if any.
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
                b"\0\n",
            )
        )

    def around(self, message: Message, stem: str) -> tuple[bytes, bytes]:
        """Return the bytes around the number in the id of each frame of a run."""
        before = b"%bmessage-id:%b" % (self.prefix, stem.encode())
        return before, message.position + _encoded_head(message, self.version)[1]


def passed_on_headers(message: Message) -> dict[str, str]:
    """Return the headers that subscribers see, except those that the server adds."""
    frame = message.frame
    if frame.command == _SERVER_COMMAND:
        headers = dict(frame.headers)
    else:
        # Names are compared trimmed, because STOMP 1.0 clients trim: a publisher's "message-id "
        # must not pass for the server's header.
        position = message.position
        is_stamped = position and _is_stamped(position)
        dropped = _NOT_PASSED_ON_IF_STAMPED if is_stamped else _NOT_PASSED_ON
        headers = {
            name: value
            for name, value in frame.headers.items()
            if (name if SPECIAL.search(name) is None else _without_breaks(name)).strip()
            not in dropped
        }
    if message.reply_to:
        headers["reply-to"] = message.reply_to
    return headers


def selectable_headers(message: Message) -> dict[str, str]:
    """Return the headers that a selector may refer to."""
    headers = {
        **passed_on_headers(message),
        "message-id": message.id,
        "destination": message.destination,
    }
    if message.position:
        for line in message.position[1:].decode().split("\n"):
            name, _, value = line.partition(":")
            headers[name] = unescape(value, Version.V12)
    return headers


def passed_on_lines(message: Message) -> bytes:
    """Return :func:`passed_on_headers` as header lines of STOMP 1.2.

    Messages with the same SEND head share the lines, which are cached in the head. A message with
    a ``reply-to`` is an exception: its address depends on the session. So is one that gets another
    ``timestamp``: only some targets of a composite SEND may give it.
    """
    frame = message.frame
    if message.reply_to or (
        message.position and _TIMESTAMP in frame.headers and _is_stamped(message.position)
    ):
        return _lines(passed_on_headers(message).items(), Version.V12)
    head = frame.head
    if head is None:
        head = head_of(frame)
    lines = head.passed_on
    if lines is None:
        lines = head.passed_on = _lines(passed_on_headers(message).items(), Version.V12)
    return lines


def _encoded_head(message: Message, version: Version) -> tuple[str, bytes]:
    """Return the destination, and the bytes from the end of ``message-id`` to the blank line.

    They are cached in the SEND head if they depend on nothing else, otherwise in the message.
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
        # Few headers need escapes; a search is cheaper than a call of escape().
        if SPECIAL.search(name) is not None:
            name = escape(name, version, is_name=True)
        if SPECIAL.search(value) is not None:
            value = escape(value, version)
        lines.append(f"{name}:{value}\n")
    return "".join(lines).encode()


def _is_stamped(position: bytes) -> bool:
    """Return whether the server sets the ``timestamp`` of a message with a position."""
    return not position.startswith(_USER_MARK) or b"\ntimestamp:" in position


def _without_breaks(name: str) -> str:
    return escape(name, Version.V10, is_name=True)
