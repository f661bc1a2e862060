"""One destination with a history, and its messages."""

from __future__ import annotations

from dataclasses import dataclass

from rtchat.core.broker.message import Message
from rtchat.core.broker.topic import Topic
from rtchat.core.flow.outbound import PausedSource
from rtchat.core.history.rules import HistoryRule
from rtchat.core.history.store import Row, StoredStream
from rtchat.core.stomp.frames import Frame, Version
from rtchat.core.stomp.parser import parse_head

__all__ = ["KeptMessage", "Stream", "message_of"]


@dataclass(slots=True, eq=False, kw_only=True)
class KeptMessage(Message):
    """A message of a stream; it has its offset once a batch was made of it.

    Attributes:
        stream: Where it is kept.
        offset: Its number there, from 0.
        time_s: When it was accepted, in seconds since 1970.
        row_size: What it counts in limits, in bytes, here and in the file.
    """

    stream: Stream
    offset: int = -1
    time_s: float = 0.0
    row_size: int

    @property
    def size(self) -> int:
        """What it counts in limits, in bytes: the same as its row in the file."""
        return self.row_size


def message_of(row: Row, stream: Stream) -> KeptMessage:
    """Return the message that a row was made of.

    Raises:
        ProtocolError: The row is damaged: it was not written by this program.
    """
    _, headers = parse_head((b"SEND\n" + row.head)[:-1], Version.V12)
    return KeptMessage(
        row.message_id,
        stream.name,
        Frame("SEND", headers, row.body),
        headers.get("reply-to", ""),
        b"%b%d" % (stream.position_prefix, row.offset),
        stream=stream,
        offset=row.offset,
        time_s=row.time_s,
        row_size=row.size,
    )


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
        is_forgotten: Whether its place was given to another one; its name leads elsewhere now.
        is_stored: Whether the file knows it, or will with the next batch.
        waiting: How many messages are on their way to the file.
        topic: Its subscribers that take part in the fan-out.
        followers: Subscribers that are served one by one at the end of the stream.
        position_prefix: The header lines that tell a message's place, up to its offset.
        users: How many subscriptions there are.
    """

    __slots__ = (
        "bytes",
        "epoch",
        "first",
        "followers",
        "is_forgotten",
        "is_stored",
        "name",
        "next",
        "number",
        "oldest_s",
        "position_prefix",
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
        self.is_forgotten = False
        self.waiting = 0
        self.topic: Topic | None = None
        self.followers: dict[PausedSource, None] = {}
        self.users = 0
        self.position_prefix = f"\nx-stream-epoch:{stored.epoch}\nx-stream-offset:".encode()

    def __len__(self) -> int:
        """How many messages are kept."""
        return self.next - self.first
