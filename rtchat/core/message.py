"""A message on its way from one publisher to any number of subscribers."""

from __future__ import annotations

from rtchat.core.frames import Frame, Version, encode_headers, escape

__all__ = ["Message", "message_prefix"]

# Meant for the server alone; a subscriber has no use for them.
_FOR_THE_SERVER = frozenset({"content-length", "receipt", "transaction"})
_WRITTEN_ANEW = frozenset({"destination"})
# "Server-set headers cannot be forged by a publisher."
_SET_BY_THE_SERVER = frozenset(
    {
        "ack",
        "message-id",
        "redelivered",
        "subscription",
        "x-dropped",
        "x-stream-epoch",
        "x-stream-offset",
        "x-stream-recovered",
    }
)
# STOMP 1.0 cannot write a name of spaces and line breaks alone.
_NO_NAME = frozenset({""})
_NOT_PASSED_ON = _FOR_THE_SERVER | _WRITTEN_ANEW | _SET_BY_THE_SERVER | _NO_NAME


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
        destination: Where it was sent to.
    """

    __slots__ = ("_tails", "destination", "frame", "id")

    def __init__(self, message_id: str, destination: str, frame: Frame) -> None:
        self.id = message_id
        self.destination = destination
        self.frame = frame
        self._tails: dict[Version, bytes] = {}

    @property
    def body(self) -> bytes:
        """The body's bytes."""
        return self.frame.body

    def headers(self) -> dict[str, str]:
        """Give the publisher's own headers, those that are passed on to subscribers."""
        # Names are compared as a client sees them that trims, as those of STOMP 1.0 do: it must
        # not take a publisher's "message-id " for the server's.
        return {
            name: value
            for name, value in self.frame.headers.items()
            if escape(name, Version.V10, is_name=True).strip() not in _NOT_PASSED_ON
        }

    def tail(self, version: Version) -> bytes:
        """Give the part of a MESSAGE frame that all subscribers of one version share.

        It follows :func:`message_prefix`, and it is made once however many there are.
        """
        tail = self._tails.get(version)
        if tail is None:
            frame = self.frame
            passed_on = frame.memo.get(version)
            if passed_on is None:
                passed_on = frame.memo[version] = encode_headers(self.headers().items(), version)
            tail = b"message-id:%b\ndestination:%b\ncontent-length:%d\n%b\n%b\0" % (
                self.id.encode(),
                escape(self.destination, version).encode(),
                len(frame.body),
                passed_on,
                frame.body,
            )
            self._tails[version] = tail
        return tail
