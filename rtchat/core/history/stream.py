"""What a history is made of: rules, messages with their offsets, and the file as core sees it."""

from __future__ import annotations

from rtchat.core.broker.message import Message
from rtchat.core.broker.topic import Topic
from rtchat.core.flow.outbound import PausedSource
from rtchat.core.history.rules import HistoryRule
from rtchat.core.history.store import Row, StoredStream
from rtchat.core.stomp.frames import Frame, Version, encode_headers, parse_head

__all__ = ["KeptMessage", "Stream", "message_of", "row_of"]


class KeptMessage(Message):
    """A message with its place in a stream, once it has one.

    Attributes:
        stream: Where it is kept.
        offset: Its number there, from 0.
        time_s: When it was accepted, in seconds since 1970.
    """

    __slots__ = ("_place", "offset", "stream", "time_s")

    def __init__(
        self,
        stream: Stream,
        message_id: str,
        frame: Frame,
        reply_to: str = "",
        time_s: float = 0.0,
    ) -> None:
        super().__init__(message_id, stream.name, frame, reply_to)
        self.stream = stream
        self.time_s = time_s
        self.offset = -1
        self._place = b""

    def put_at(self, offset: int) -> KeptMessage:
        """Give it its place."""
        self.offset = offset
        self._place = b"%b%d" % (self.stream.place_prefix, offset)
        return self

    def marshal(self, prefix: bytes, version: Version, mark: bytes = b"") -> bytes:
        """Give a MESSAGE frame's bytes, offset and epoch included."""
        return super().marshal(prefix, version, mark + self._place)


def row_of(message: KeptMessage) -> Row:
    """Give what the file keeps of a message."""
    memo, head = message.frame.memo, None
    # A publisher repeats its headers; only the address of its answers may differ.
    if not message.reply_to:
        head = memo.get("kept")
    if head is None:
        head = encode_headers(message.headers().items(), Version.V12)
        if not message.reply_to:
            memo["kept"] = head
    number = message.stream.number
    return Row(number, message.offset, message.time_s, message.id, head, message.frame.body)


def message_of(row: Row, stream: Stream) -> KeptMessage:
    """Give the message that :func:`row_of` made a row of.

    Raises:
        ProtocolError: Somebody else has written to the file.
    """
    _, headers = parse_head((b"SEND\n" + row.head)[:-1], Version.V12)
    frame = Frame("SEND", headers, row.body)
    reply_to = headers.get("reply-to", "")
    return KeptMessage(stream, row.message_id, frame, reply_to, row.time_s).put_at(row.offset)


class Stream:
    """One destination with a history.

    Attributes:
        number: What the file knows it by.
        name: The destination.
        epoch: The text that no other life of the destination has.
        rule: What is kept.
        first: The offset of the oldest message that is given out.
        next: The offset that the next message gets; up to here all is in the file.
        bytes: The sizes of its messages in the file.
        oldest_s: The time of the oldest one in the file.
        stored_first: The offset of the oldest one in the file, which is cleaned up now and then.
        is_stored: Whether the file knows it, or will with the next batch.
        waiting: How many messages are on their way to the file.
        topic: Its subscribers that take part in the fan-out.
        followers: Subscribers that are served one by one at the end of the stream.
        place_prefix: The header lines that tell a message's place, up to its offset.
        users: How many subscriptions there are.
    """

    __slots__ = (
        "bytes",
        "epoch",
        "first",
        "followers",
        "is_stored",
        "name",
        "next",
        "number",
        "oldest_s",
        "place_prefix",
        "rule",
        "stored_first",
        "topic",
        "users",
        "waiting",
    )

    def __init__(self, stored: StoredStream, rule: HistoryRule, *, is_stored: bool) -> None:
        self.number = stored.number
        self.name = stored.name
        self.epoch = stored.epoch
        self.rule = rule
        self.stored_first = stored.first
        self.next = stored.next
        self.first = max(stored.first, stored.next - rule.max_count)
        self.bytes = stored.bytes
        self.oldest_s = stored.oldest_s
        self.is_stored = is_stored
        self.waiting = 0
        self.topic: Topic | None = None
        self.followers: dict[PausedSource, None] = {}
        self.users = 0
        self.place_prefix = f"\nx-stream-epoch:{stored.epoch}\nx-stream-offset:".encode()

    def __len__(self) -> int:
        """How many messages are kept."""
        return self.next - self.first
