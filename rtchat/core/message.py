"""A message on its way from one publisher to any number of subscribers."""

from __future__ import annotations

from collections.abc import Mapping

from rtchat.core.frames import Frame, Version, encode_headers, escape

__all__ = ["Message", "message_prefix"]

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
        "x-stream-epoch",
        "x-stream-offset",
        "x-stream-recovered",
    }
)
# STOMP 1.0 cannot write a name of spaces and line breaks alone.
_NO_NAME = frozenset({""})
_NOT_PASSED_ON = _FOR_THE_SERVER | _WRITTEN_ANEW | _SET_BY_THE_SERVER | _NO_NAME

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

    __slots__ = ("_rests", "_tails", "destination", "frame", "id", "reply_to")

    def __init__(self, message_id: str, destination: str, frame: Frame, reply_to: str = "") -> None:
        self.id = message_id
        self.destination = destination
        self.frame = frame
        self.reply_to = reply_to
        self._tails: dict[Version, bytes] = {}
        self._rests: dict[Version, bytes] = {}

    @property
    def body(self) -> bytes:
        """The body's bytes."""
        return self.frame.body

    @property
    def size(self) -> int:
        """What it counts in the limits of queues and backlogs, in bytes."""
        headers = sum(len(name) + len(value) for name, value in self.frame.headers.items())
        return len(self.frame.body) + headers + _OVERHEAD_BYTES

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

    def tail(self, version: Version) -> bytes:
        """Give the part of a MESSAGE frame that all subscribers of one version share.

        It follows :func:`message_prefix`, and it is made once however many there are.
        """
        tail = self._tails.get(version)
        if tail is None:
            tail = b"message-id:%b\n%b" % (self.id.encode(), self.rest(version))
            self._tails[version] = tail
        return tail

    def rest(self, version: Version) -> bytes:
        """Give the part of a MESSAGE frame that follows ``message-id``."""
        rest = self._rests.get(version)
        if rest is None:
            frame = self.frame
            passed_on = frame.memo.get(version)
            if passed_on is None:
                passed_on = encode_headers(self._own_headers(), version)
                frame.memo[version] = passed_on
            if self.reply_to:
                passed_on += encode_headers([("reply-to", self.reply_to)], version)
            rest = b"destination:%b\ncontent-length:%d\n%b\n%b\0" % (
                escape(self.destination, version).encode(),
                len(frame.body),
                passed_on,
                frame.body,
            )
            self._rests[version] = rest
        return rest
