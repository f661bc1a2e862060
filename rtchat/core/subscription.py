"""One SUBSCRIBE of one session: what it asked for, and what it has not acknowledged yet."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rtchat.core.frames import Version
from rtchat.core.message import Message, message_prefix
from rtchat.core.outlet import Outlet
from rtchat.core.people import Visit

if TYPE_CHECKING:
    from rtchat.core.selector import Selector

__all__ = [
    "AckMode",
    "Entry",
    "SlowPolicy",
    "Source",
    "StartAt",
    "StreamStart",
    "Subscription",
    "SubscriptionTerms",
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


class SubscriptionTerms(NamedTuple):
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


_USUAL_TERMS = SubscriptionTerms()


class Entry:
    """A message's place where it waits.

    Attributes:
        message: The message.
        seq: Its number there; the original order, whatever happens to it.
        deliveries: How often it was handed to a consumer and came back.
        size: What it counts there, if that is counted.
    """

    __slots__ = ("deliveries", "message", "seq", "size")

    def __init__(self, message: Message, seq: int) -> None:
        self.message = message
        self.seq = seq
        self.deliveries = 0
        self.size = 0


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

    Attributes:
        id: The id the client chose; "" when a STOMP 1.0 client chose none.
        number: Its number within the session; part of the ack ids.
        destination: Where its messages come from.
        version: The version the client speaks.
        outlet: The client's way out.
        terms: What it asked for.
        prefix: How its MESSAGE frames begin, encoded once.
        source: Where its messages come from, unless they reach its outlet directly.
        unacked: What was delivered and neither acknowledged nor returned, by number, in order.
        reserved: How many deliveries an open transaction acknowledges.
        cursors: How far its selector has looked through a queue, by priority.
        visit: Who listens; None is somebody without a name.
    """

    __slots__ = (
        "_deliveries",
        "cursors",
        "destination",
        "id",
        "number",
        "outlet",
        "prefix",
        "reserved",
        "source",
        "terms",
        "unacked",
        "version",
        "visit",
    )

    def __init__(
        self,
        subscription_id: str,
        number: int,
        destination: str,
        version: Version,
        outlet: Outlet,
        terms: SubscriptionTerms = _USUAL_TERMS,
    ) -> None:
        self.id = subscription_id
        self.number = number
        self.destination = destination
        self.version = version
        self.outlet = outlet
        self.terms = terms
        self.prefix = message_prefix(subscription_id, version)
        self.source: Source | None = None
        self.unacked: dict[int, Entry] = {}
        self.reserved = 0
        self.cursors: dict[int, int] = {}
        self.visit: Visit | None = None
        self._deliveries = 0

    @property
    def is_plain(self) -> bool:
        """Whether a topic may hand it every message at once, the same bytes as to others."""
        terms = self.terms
        return terms.ack is AckMode.AUTO and terms.slow is SlowPolicy.CLOSE

    @property
    def has_credit(self) -> bool:
        """Whether it may get another message before it acknowledges one."""
        prefetch = self.terms.prefetch
        # With auto nothing is ever unacknowledged.
        return prefetch == 0 or len(self.unacked) + self.reserved < prefetch

    def wants(self, message: Message, deliveries: int = 0) -> bool:
        """Whether its selector lets the message through.

        Args:
            message: The message.
            deliveries: How often it was handed to a consumer and came back.
        """
        selector = self.terms.selector
        if selector is None:
            return True
        headers = message.selectable()
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
        message, version = entry.message, self.version
        prefix, mark = self.prefix, b""
        if self.terms.ack is not AckMode.AUTO:
            self._deliveries = number = self._deliveries + 1
            self.unacked[number] = entry
            # With the message's id before it, what a client still knows from an earlier
            # connection acknowledges nothing on this one.
            mark = b"@%d.%d" % (self.number, number)
            if version is Version.V12:
                prefix = b"%back:%b%b\n" % (prefix, message.id.encode(), mark)
                mark = b""
            # 1.0 and 1.1 acknowledge by message-id: there it names the delivery as well.
        data = message.marshal(prefix + extra if extra else prefix, version, mark)
        self.outlet.send(data)

    def take_unacked(self, number: int, message_id: str) -> list[tuple[int, Entry]]:
        """Take what an ACK or NACK of this delivery is about.

        Args:
            number: The delivery's.
            message_id: The id of the message that was delivered then.

        Raises:
            KeyError: It is not waiting to be acknowledged.
        """
        if self.unacked[number].message.id != message_id:
            raise KeyError(number)
        if self.terms.ack is AckMode.INDIVIDUAL:
            return [(number, self.unacked.pop(number))]
        # "the ACK operates on the message specified in the ACK frame and all messages sent to
        # the subscription before the ACK'ed message"
        earlier = list(takewhile(number.__ge__, self.unacked))
        return [(each, self.unacked.pop(each)) for each in earlier]

    def put_back(self, deliveries: Sequence[tuple[int, Entry]]) -> None:
        """Undo :meth:`take_unacked`; the order of delivery is kept."""
        self.unacked = dict(sorted([*self.unacked.items(), *deliveries]))
