"""What a history is made of: rules, messages with their offsets, and the file as core sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from rtchat.core.broker.message import Message
from rtchat.core.broker.topic import Topic
from rtchat.core.flow.outbound import Waiter
from rtchat.core.stomp.frames import Frame, Version, encode_headers, parse_head

__all__ = [
    "MESSAGE_OVERHEAD_BYTES",
    "Batch",
    "Contents",
    "HistoryRule",
    "HistoryRules",
    "KeptMessage",
    "Row",
    "Store",
    "StoredStream",
    "Stream",
    "StreamGrowth",
    "Trim",
    "Trimmed",
    "message_of",
    "row_of",
]

MESSAGE_OVERHEAD_BYTES = 512
"""What a kept message counts beside its body and headers, as in queues and backlogs."""


class HistoryRule(NamedTuple):
    """What is kept of some destinations.

    Attributes:
        pattern: Their names; ``*`` stands for any characters.
        max_count: How many messages of each.
        max_age_s: For how many seconds; 0 is for ever.
    """

    pattern: str
    max_count: int
    max_age_s: float = 0.0


class HistoryRules:
    """Finds the rule of a destination: the first one that matches.

    Args:
        rules: In their order.
    """

    def __init__(self, rules: Iterable[HistoryRule]) -> None:
        self.rules = tuple(rules)
        self._expressions = [
            re.compile(".*".join(map(re.escape, rule.pattern.split("*"))), re.DOTALL)
            for rule in self.rules
        ]

    def rule_for(self, name: str) -> HistoryRule | None:
        """Give the rule of a destination; None means that nothing of it is kept."""
        for expression, rule in zip(self._expressions, self.rules, strict=True):
            if expression.fullmatch(name):
                return rule
        return None


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


class Row(NamedTuple):
    """A message as it lies in the file.

    Attributes:
        stream: The number of its stream.
        offset: Its place there.
        time_s: When it was accepted, in seconds since 1970.
        message_id: Its ``message-id``.
        head: The publisher's headers that are passed on, a line each, as in STOMP 1.2.
        body: Its body.
    """

    stream: int
    offset: int
    time_s: float
    message_id: str
    head: bytes
    body: bytes

    @property
    def size(self) -> int:
        """What it counts in limits, in bytes."""
        return len(self.head) + len(self.body) + MESSAGE_OVERHEAD_BYTES


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


class StoredStream(NamedTuple):
    """A stream as the file knows it.

    Attributes:
        number: What messages know it by in the file.
        name: The destination.
        epoch: The text that no other life of the destination has.
        first: The offset of the oldest message there.
        next: The offset that the next message gets.
        bytes: The sizes of all its messages.
        oldest_s: The time of the oldest message.
    """

    number: int
    name: str
    epoch: str
    first: int
    next: int
    bytes: int
    oldest_s: float


class Contents(NamedTuple):
    """What a file holds when it is opened, but for the messages.

    Attributes:
        epoch: The epoch of destinations that it does not know.
        streams: Those it knows.
    """

    epoch: str
    streams: Sequence[StoredStream] = ()


class StreamGrowth(NamedTuple):
    """How a stream grows by a batch; it is made if it is not there yet.

    Attributes:
        number: Which.
        name: The destination.
        epoch: Its epoch.
        next: The offset after the batch's last message in it.
        bytes: The sizes of the batch's messages in it.
    """

    number: int
    name: str
    epoch: str
    next: int
    bytes: int


class Batch(NamedTuple):
    """What is written all together or not at all.

    Attributes:
        rows: New messages.
        streams: The streams that they are in.
        forgotten: The numbers of streams that give up their place; nothing is left of them.
        epoch: The epoch of destinations that the file does not know, from now on.
    """

    rows: Sequence[Row]
    streams: Sequence[StreamGrowth]
    forgotten: Sequence[int]
    epoch: str


class Trim(NamedTuple):
    """What is to be deleted of a stream: whatever lies outside one of these.

    Attributes:
        stream: Its number.
        first: The first offset that stays.
        before_s: The time, in seconds since 1970, from which on messages stay.
        max_bytes: How much stays.
    """

    stream: int
    first: int
    before_s: float
    max_bytes: int


class Trimmed(NamedTuple):
    """What is left of a stream.

    Attributes:
        stream: Its number.
        first: The first offset there, or the next one if nothing is left.
        bytes: The sizes of all its messages.
        oldest_s: The time of the first message, 0 without one.
    """

    stream: int
    first: int
    bytes: int
    oldest_s: float


class Store(Protocol):
    """The file. It does one thing after the other, in the order it was asked.

    Every answer comes in a turn of its own, never from inside the call that asked. An answer's last
    argument says what went wrong, in words for people; it is "" when nothing did.
    """

    def write(self, batch: Batch, done: Callable[[str], None]) -> None:
        """Write a batch; the answer comes when it survives the end of the process."""

    def read(
        self, stream: int, first: int, end: int, done: Callable[[Sequence[Row], str], None]
    ) -> None:
        """Give the messages with these offsets, as far as they are there, in order."""

    def find(self, stream: int, since_s: float, done: Callable[[int | None, str], None]) -> None:
        """Give the offset of the first message of this time or later, None if there is none."""

    def trim(self, trims: Sequence[Trim], done: Callable[[Sequence[Trimmed], str], None]) -> None:
        """Delete messages."""


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
        self.followers: dict[Waiter, None] = {}
        self.users = 0
        self.place_prefix = f"\nx-stream-epoch:{stored.epoch}\nx-stream-offset:".encode()

    def __len__(self) -> int:
        """How many messages are kept."""
        return self.next - self.first
