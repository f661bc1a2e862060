"""One destination with a history, and its messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rtchat.core.broker.message import SENDER_ID, USER, Message, sender_line, size_of, user_mark
from rtchat.core.broker.topic import Topic
from rtchat.core.flow.outbound import PausedSource
from rtchat.core.history.rules import HistoryRule
from rtchat.core.history.store import Row, StoredStream
from rtchat.core.stomp.frames import Frame, Version, parse_head

__all__ = ["PAGE_MESSAGES", "POSITION", "KeptMessage", "Owner", "Stream", "message_of"]

PAGE_MESSAGES = 256
"""The number of offsets in a page; at most this many messages are read from the file at once."""

POSITION = b"%b%d\n%btimestamp:%d"
"""The header lines of a kept message: the stream's prefix, the offset, the line with the sender's
id or b"", the time in milliseconds."""


@dataclass(slots=True, eq=False, kw_only=True)
class KeptMessage(Message):
    """A message of a stream. Its offset is assigned when its batch is formed.

    Attributes:
        stream: The stream.
        offset: Its offset in the stream, from 0; -1 before it is assigned.
        time_s: The time at which it was accepted, in seconds since 1970.
        sender_line: The header lines with the sender's public id and user, or b"".
        row_size: The size of its row in the store, in bytes.
        held_size: The size that counts towards the limits of memory, in bytes.
    """

    stream: Stream
    offset: int = -1
    time_s: float = 0.0
    sender_line: bytes = b""
    row_size: int
    held_size: int

    @property
    def size(self) -> int:
        """The size that counts towards the limits of memory, in bytes."""
        return self.held_size


def message_of(row: Row, stream: Stream) -> KeptMessage:
    """Return the message that a row contains.

    Raises:
        ProtocolError: The row's headers cannot be parsed: the store is damaged.
    """
    _, headers = parse_head((b"SEND\n" + row.head)[:-1], Version.V12)
    sender_id, user = headers.get(SENDER_ID), headers.get(USER)
    line = b"" if sender_id is None else sender_line(sender_id)
    if user is not None:
        line += b"%b\n" % user_mark(user)[1:]
    frame = Frame("SEND", headers, row.body)
    return KeptMessage(
        row.message_id,
        stream.name,
        frame,
        headers.get("reply-to", ""),
        POSITION % (stream.position_prefix, row.offset, line, int(row.time_s * 1000)),
        stream=stream,
        offset=row.offset,
        time_s=row.time_s,
        sender_line=line,
        row_size=row.size,
        held_size=size_of(frame) + len(line),
    )


class Owner(Protocol):
    """A client, as far as its streams know it.

    Attributes:
        bytes: The size of the stored messages of its streams.
    """

    bytes: int


class Restartable(Protocol):
    """A replay, as far as its stream knows it."""

    def restart(self, end: int) -> None:
        """Begin anew with the stream; the messages before ``end`` are gone."""


class Stream:
    """The messages of one destination with a history.

    Attributes:
        number: The number that identifies the stream in the store.
        name: The destination.
        epoch: Text that identifies this incarnation of the destination's stream.
        owner: The client that has created it since the start of the server, or None.
        replays: The subscriptions that have not caught up yet.
        rule: The retention.
        first: The offset of the oldest message that may be replayed.
        next: The offset of the next message; all messages before it are durable.
        bytes: The size of its stored messages in bytes.
        oldest_s: The time of the oldest stored message, in seconds since 1970.
        stored_first: The offset of the oldest stored message. It is at most ``first``, because
            the store is trimmed only from time to time.
        damaged_pages: The pages of the page cache with messages that could not be read.
        lost: For each damaged page the messages that could not be read: bit N is set for the one
            with the page's offset N.
        failed_pages: The pages that the store could not read for another reason than damage, with
            the time of the first failure, by ``Cork.ticks``.
        is_forgotten: Whether the stream was removed; its name may belong to a new stream.
        is_new: Whether no message of it is in the store yet.
        is_stored: Whether the stream is in the store, or will be with the next batch.
        waiting: The number of messages that wait to be stored.
        topic: The subscriptions that have caught up, or None without any.
        followers: Replays at the end of the stream that have to deliver the next message.
        position_prefix: The header lines of a message's position, up to its offset.
        users: The number of subscriptions.
    """

    __slots__ = (
        "bytes",
        "damaged_pages",
        "epoch",
        "failed_pages",
        "first",
        "followers",
        "is_forgotten",
        "is_new",
        "is_stored",
        "lost",
        "name",
        "next",
        "number",
        "oldest_s",
        "owner",
        "position_prefix",
        "replays",
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
        self.is_new = not is_stored
        self.waiting = 0
        self.owner: Owner | None = None
        self.topic: Topic | None = None
        self.followers: dict[PausedSource, None] = {}
        self.replays: dict[Restartable, None] = {}
        self.users = 0
        self.damaged_pages: set[int] = set()
        self.lost: dict[int, int] = {}
        self.failed_pages: dict[int, float] = {}
        self.position_prefix = _position_prefix(stored.epoch)

    def __len__(self) -> int:
        """Return the number of messages that may be replayed."""
        return self.next - self.first

    def is_damaged_from(self, offset: int) -> bool:
        """Return whether messages from an offset on are known to be unreadable."""
        return any((page + 1) * PAGE_MESSAGES > offset for page in self.damaged_pages)

    def first_readable(self, offset: int) -> int:
        """Return the first offset, from one on, that is not known to be lost."""
        while (self.lost.get(offset // PAGE_MESSAGES, 0) >> offset % PAGE_MESSAGES) & 1:
            offset += 1
        return offset

    def note_damage(self, page: int, first: int, end: int, readable: set[int]) -> None:
        """Take note of what could be read of a page of the page cache.

        Args:
            page: The page.
            first: The first offset that was looked for.
            end: The offset after the last one.
            readable: The offsets that could be read.
        """
        lost = sum(1 << one % PAGE_MESSAGES for one in range(first, end) if one not in readable)
        if lost:
            self.damaged_pages.add(page)
            self.lost[page] = lost
        else:
            self.damaged_pages.discard(page)
            self.lost.pop(page, None)

    def restart(self, number: int, epoch: str) -> None:
        """Begin anew, without messages, for the subscriptions that there are."""
        self.number, self.epoch = number, epoch
        self.first = self.next = self.stored_first = self.bytes = 0
        self.oldest_s = 0.0
        self.is_stored = False
        self.is_new = True
        self.damaged_pages.clear()
        self.lost.clear()
        self.failed_pages.clear()
        self.position_prefix = _position_prefix(epoch)


def _position_prefix(epoch: str) -> bytes:
    return f"\nx-stream-epoch:{epoch}\nx-stream-offset:".encode()
