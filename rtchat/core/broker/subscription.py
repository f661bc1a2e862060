"""One SUBSCRIBE of one session: what it asked for, and what it has not acknowledged yet."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rtchat.core.broker.encoder import Encoder, StompEncoder, selectable_headers
from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.flow.outbound import Outbound, PausedSource
from rtchat.core.stomp.frames import Version
from rtchat.errors import ProtocolError

if TYPE_CHECKING:
    from rtchat.core.selector.selector import Selector

__all__ = [
    "AckMode",
    "Entry",
    "SlowPolicy",
    "Source",
    "StartAt",
    "StreamStart",
    "SubscribeOptions",
    "Subscription",
    "nothing_kept",
]


class AckMode(Enum):
    """What a subscriber has to acknowledge."""

    AUTO = "auto"
    CUMULATIVE = "client"
    INDIVIDUAL = "client-individual"


class SlowPolicy(Enum):
    """What happens to a subscriber of a topic that lags behind."""

    CLOSE = "close"
    DROP_OLDEST = "drop-oldest"
    LATEST = "latest"


class StartAt(Enum):
    """Where in a history a subscription begins."""

    NEXT = "next"
    FIRST = "first"
    LAST = "last"
    OFFSET = "offset"
    TIMESTAMP = "timestamp"


class StreamStart(NamedTuple):
    """Where in a history a subscription begins.

    Attributes:
        at: The kind of place.
        value: The offset, or the time in seconds since 1970.
    """

    at: StartAt = StartAt.NEXT
    value: float = 0


class SubscribeOptions(NamedTuple):
    """What a SUBSCRIBE asks for, beside the destination.

    Attributes:
        ack: What has to be acknowledged.
        prefetch: How many messages may be unacknowledged; 0 is no limit.
        slow: What to do when the subscriber lags.
        selector: Which messages it wants; None is all.
        start: Where in a history it begins.
        epoch: The epoch that an offset to begin with belongs to, "" if that was not said.
    """

    ack: AckMode = AckMode.AUTO
    prefetch: int = 0
    slow: SlowPolicy = SlowPolicy.CLOSE
    selector: Selector | None = None
    start: StreamStart = StreamStart()
    epoch: str = ""


_DEFAULT_OPTIONS = SubscribeOptions()
_NO_LIMIT = 1 << 62


class Entry:
    """A message's place where it waits.

    Attributes:
        message: The message.
        seq: Its number there; the original order, whatever happens to it.
        deliveries: How often it was handed to a consumer and came back.
        size: What it counts there, if that is counted.
    """

    __slots__ = ("deliveries", "message", "seq", "size")

    def __init__(self, message: Message, seq: int, size: int = 0) -> None:
        self.message = message
        self.seq = seq
        self.deliveries = 0
        self.size = size


class Source(Protocol):
    """Where a subscription's messages come from, and who hears what became of them."""

    def acknowledged(self, entries: Sequence[Entry]) -> None:
        """The subscriber is done with them."""

    def returned(self, entries: Sequence[Entry], *, requeue: bool) -> None:
        """The subscriber does not want them, or is gone.

        Args:
            entries: What comes back, in any order.
            requeue: Whether somebody else may have them.
        """


class Subscription:
    """What the broker needs to know of a SUBSCRIBE.

    Args:
        subscription_id: The id the client chose; "" when a STOMP 1.0 client chose none.
        number: Its number within the session; part of the ack ids.
        destination: Where its messages come from.
        version: The version the client speaks.
        outbound: The client's way out.
        options: What it asked for.
        encoder: How its deliveries are written; MESSAGE frames when left out.
        principal: Who subscribes; None is a client of no session.

    Attributes:
        source: Where its messages come from, unless they reach its outbound directly.
        unacked: What was delivered and neither acknowledged nor returned, by its ack id, in
            order. An ack id is the message's id, ``@``, the subscription's number, ``.`` and the
            delivery's number in the subscription.
        reserved: How many deliveries an open transaction acknowledges.
        cursors: How far its selector has looked through a queue, by priority.
    """

    __slots__ = (
        "_deliveries",
        "cursors",
        "destination",
        "encoder",
        "id",
        "number",
        "options",
        "outbound",
        "principal",
        "reserved",
        "source",
        "unacked",
        "version",
    )

    def __init__(
        self,
        subscription_id: str,
        number: int,
        destination: str,
        version: Version,
        outbound: Outbound,
        options: SubscribeOptions = _DEFAULT_OPTIONS,
        encoder: Encoder | None = None,
        principal: Principal | None = None,
    ) -> None:
        self.id = subscription_id
        self.number = number
        self.destination = destination
        self.version = version
        self.outbound = outbound
        self.options = options
        self.encoder: Encoder = (
            StompEncoder(subscription_id, version) if encoder is None else encoder
        )
        self.principal = principal
        self.source: Source | None = None
        self.unacked: dict[str, Entry] = {}
        self.reserved = 0
        self.cursors: dict[int, int] = {}
        self._deliveries = 0

    @property
    def is_plain(self) -> bool:
        """Whether a topic may hand it every message at once, the same bytes as to others."""
        options = self.options
        return options.ack is AckMode.AUTO and options.slow is SlowPolicy.CLOSE

    @property
    def credit(self) -> int:
        """How many more messages it may get before it acknowledges one."""
        options = self.options
        if not options.prefetch or options.ack is AckMode.AUTO:
            return _NO_LIMIT  # with auto nothing is ever unacknowledged
        return options.prefetch - len(self.unacked) - self.reserved

    def is_ready_for(self, source: PausedSource) -> bool:
        """Return whether a source may deliver now; if the connection is full, it is told when.

        Without credit nothing is registered: an acknowledgement reaches the source by itself.
        """
        return self.credit > 0 and self.outbound.is_writable_for(source)

    def wants(self, message: Message, deliveries: int = 0) -> bool:
        """Whether its selector lets the message through.

        Args:
            message: The message.
            deliveries: How often it was handed to a consumer and came back.
        """
        selector = self.options.selector
        if selector is None:
            return True
        headers = selectable_headers(message)
        if deliveries:
            headers = {**headers, "redelivered": "true", "x-delivery-count": str(deliveries)}
        return selector.matches(headers)

    def deliver(self, entry: Entry, dropped: int = 0, extra: bytes = b"") -> None:
        """Send a MESSAGE, and remember it if it has to be acknowledged.

        Args:
            entry: The message in its place.
            dropped: How many messages were lost before it.
            extra: Header lines for this delivery alone.
        """
        if entry.deliveries:
            extra += b"redelivered:true\nx-delivery-count:%d\n" % entry.deliveries
        if dropped:
            extra += b"x-dropped:%d\n" % dropped
        message = entry.message
        if self.options.ack is AckMode.AUTO:
            self.outbound.send(self.encoder.encode(message, extra))
            return
        self._deliveries = number = self._deliveries + 1
        # With the message's id before it, what a client still knows from an earlier connection
        # acknowledges nothing on this one.
        mark = f"@{self.number}.{number}"
        ack_id = message.id + mark
        self.unacked[ack_id] = entry
        if self.version is Version.V12:
            extra = b"ack:%b\n%b" % (ack_id.encode(), extra)
            self.outbound.send(self.encoder.encode(message, extra))
        else:
            # 1.0 and 1.1 acknowledge by message-id: there it names the delivery as well.
            self.outbound.send(self.encoder.encode(message, extra, mark.encode()))

    def take(self, ack_ids: Sequence[str]) -> tuple[list[tuple[str, Entry]], int]:
        """Take the deliveries that ACKs or NACKs are about, until one is of no delivery here.

        Args:
            ack_ids: The ack id of each ACK or NACK, in order.

        Returns:
            The deliveries by their ack ids, and how many of the ACKs that was; 0 if already the
            first one is of a delivery that does not wait here.
        """
        unacked = self.unacked
        deliveries: list[tuple[str, Entry]] = []
        if self.options.ack is AckMode.INDIVIDUAL:
            for ack_id in ack_ids:
                entry = unacked.pop(ack_id, None)
                if entry is None:
                    break
                deliveries.append((ack_id, entry))
            return deliveries, len(deliveries)
        taken = 0
        for ack_id in ack_ids:
            if ack_id not in unacked:
                break
            # "the ACK operates on the message specified in the ACK frame and all messages sent
            # to the subscription before the ACK'ed message"
            earlier = [*takewhile(ack_id.__ne__, unacked), ack_id]
            deliveries += [(each, unacked.pop(each)) for each in earlier]
            taken += 1
        return deliveries, taken

    def put_back(self, deliveries: Sequence[tuple[str, Entry]]) -> None:
        """Undo :meth:`take`; the order of delivery is kept."""
        self.unacked = dict(sorted([*self.unacked.items(), *deliveries], key=_delivery))


def _delivery(item: tuple[str, Entry]) -> int:
    """Return a delivery's number."""
    return int(item[0].rpartition(".")[2])


def nothing_kept() -> ProtocolError:
    """Return the error for a subscriber that asks for messages from before, which are not kept."""
    return ProtocolError(
        "no history here",
        "x-stream-offset needs a topic that a line in [history] of the server's settings names, "
        "and no wildcards; only x-stream-offset:next is possible everywhere.",
    )
