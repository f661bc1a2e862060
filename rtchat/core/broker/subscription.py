"""Subscriptions: their options, and the deliveries that are not acknowledged yet."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rtchat.core.broker.encoder import Encoder, StompEncoder
from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.selection import selects
from rtchat.core.flow.holding import Holding
from rtchat.core.flow.outbound import Outbound, PausedSource
from rtchat.core.stomp.frames import Frame, Version
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
    """The ``ack`` header: how a subscriber acknowledges deliveries."""

    AUTO = "auto"
    CUMULATIVE = "client"
    INDIVIDUAL = "client-individual"


class SlowPolicy(Enum):
    """The ``x-slow`` header: what happens when a subscriber of a topic is too slow."""

    CLOSE = "close"
    DROP_OLDEST = "drop-oldest"
    LATEST = "latest"


class StartAt(Enum):
    """The kinds of positions in a history at which a subscription can begin."""

    NEXT = "next"
    FIRST = "first"
    LAST = "last"
    OFFSET = "offset"
    TIMESTAMP = "timestamp"


class StreamStart(NamedTuple):
    """The position in a history at which a subscription begins.

    Attributes:
        at: The kind of position.
        value: The offset, or the time in seconds since 1970; unused for other kinds.
    """

    at: StartAt = StartAt.NEXT
    value: float = 0


class SubscribeOptions(NamedTuple):
    """The options of a SUBSCRIBE.

    Attributes:
        ack: The acknowledgement mode.
        prefetch: The number of messages that may be unacknowledged; 0 means no limit.
        slow: What to do when the subscriber is too slow.
        selector: Selects messages; None selects all.
        start: The position in a history at which to begin.
        epoch: The epoch of the offset in ``start``, or "" if unknown.
        browses: Whether it reads the messages of a queue and leaves them in place.
    """

    ack: AckMode = AckMode.AUTO
    prefetch: int = 0
    slow: SlowPolicy = SlowPolicy.CLOSE
    selector: Selector | None = None
    start: StreamStart = StreamStart()
    epoch: str = ""
    browses: bool = False


_DEFAULT_OPTIONS = SubscribeOptions()
_NO_LIMIT = 1 << 62
_MAX_GAPS = 64

_DELIVERY_BYTES = 192
"""What a delivery that waits for ACK takes, without its message."""


class Entry:
    """A message in a source, such as a queue.

    Attributes:
        message: The message.
        seq: Its sequence number in the source, which never changes.
        deliveries: The number of deliveries that were returned.
        failures: The number of these deliveries that failed, see :meth:`Source.returned`.
        size: The size in bytes that counts towards the limits of the source; 0 if not counted.
    """

    __slots__ = ("deliveries", "failures", "message", "seq", "size")

    def __init__(self, message: Message, seq: int, size: int = 0) -> None:
        self.message = message
        self.seq = seq
        self.deliveries = 0
        self.failures = 0
        self.size = size


_NO_MESSAGE = Entry(Message("", "", Frame("")), 0)
"""Stands for a delivery whose message no source wants back."""


class Source(Protocol):
    """The source of a subscription's messages; it learns the fate of each delivery."""

    def acknowledged(self, entries: Sequence[Entry], consumer: Subscription) -> None:
        """Called when the subscriber has acknowledged messages.

        Args:
            entries: The messages.
            consumer: The subscription, which may have got credit, and may have ended.
        """

    def returned(
        self, entries: Sequence[Entry], *, requeue: bool, consumer: Subscription | None = None
    ) -> None:
        """Called when the subscriber has rejected messages, or its session ended without an ACK.

        The caller has counted ``failures``: each message of a NACK has failed; of those that a
        lost connection had, at most the oldest, since the others may never have been looked at.

        Args:
            entries: The messages, in any order.
            requeue: Whether they may be redelivered.
            consumer: The subscription, which may have ended; None if there are several.
        """


class MessageIndex(Protocol):
    """An index of a session's deliveries by the ids of their messages."""

    def note(self, subscription: Subscription, ack_id: str) -> None:
        """Add a delivery, which is pending."""


class Subscription:
    """A subscription of a session to a destination.

    Args:
        subscription_id: The id chosen by the client; "" for a STOMP 1.0 client that chose none.
        number: Its number within the session; part of the ack ids.
        destination: The destination or pattern.
        version: The client's version.
        outbound: The client's output buffer.
        options: The options of the SUBSCRIBE.
        encoder: Encodes its deliveries; by default as MESSAGE frames.
        principal: The session, or None for a subscription outside a session.
        holding: What is held for the client, or None for a subscription outside a session.

    Attributes:
        cost_bytes: What it takes itself; the session counts it in ``holding``.
        gives_back: Whether its source wants back what was not acknowledged. If not, only the ids of
            such deliveries are kept, and counted in ``holding``.
        source: The source of its messages; None if they are sent to its outbound directly.
        deliveries: The number of deliveries that had to be acknowledged, so far.
        unacked: Deliveries that are neither acknowledged nor returned, by ack id, in order; out of
            order with ``client-individual`` after a transaction was aborted. An ack id is the
            message's id, ``@``, the session's id, ``@``, the subscription's number, ``.`` and the
            delivery's number in the subscription.
        given_back: With ``ack:client`` and after a transaction was aborted: deliveries that are
            pending again, and older than those in ``unacked``; by ack id, the oldest last. None
            before the first.
        message_ids: The index of the session's deliveries by the ids of their messages; None
            before its first use.
        is_consuming: Whether it is among the consumers of a queue.
        reserved: The number of deliveries that open transactions acknowledge or reject.
        cursors: For each priority of a queue, the sequence number up to which its selector has
            searched.
        returned: For each priority, the sequence numbers up to the cursor that were returned to the
            queue after the search, as a heap.
    """

    __slots__ = (
        "_gaps",
        "_is_mixed",
        "_mark",
        "cost_bytes",
        "cursors",
        "deliveries",
        "destination",
        "encoder",
        "given_back",
        "gives_back",
        "holding",
        "id",
        "is_consuming",
        "message_ids",
        "number",
        "options",
        "outbound",
        "principal",
        "reserved",
        "returned",
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
        holding: Holding | None = None,
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
        self.holding = holding
        self.gives_back = True
        self.cost_bytes = 0
        self.source: Source | None = None
        self.unacked: dict[str, Entry] = {}
        self.given_back: dict[str, Entry] | None = None
        self.message_ids: MessageIndex | None = None
        self.is_consuming = False
        self.reserved = 0
        self.cursors: dict[int, int] = {}
        self.returned: dict[int, list[int]] = {}
        self.deliveries = 0
        if options.ack is not AckMode.AUTO:
            self._gaps = 0  # how many of the first items of `unacked` were removed
            self._is_mixed = False  # whether `unacked` is out of order
            # The ack id includes the ids of message and session, so that an ack id from an earlier
            # connection is not valid on this one.
            self._mark = f"@{'' if principal is None else principal.id}@{number}."

    @property
    def is_plain(self) -> bool:
        """Whether it can be member of a group: it needs no acknowledgements, and may not lag."""
        options = self.options
        return options.ack is AckMode.AUTO and options.slow is SlowPolicy.CLOSE

    @property
    def credit(self) -> int:
        """The number of messages that may be delivered before the next acknowledgement."""
        options = self.options
        if not options.prefetch or options.ack is AckMode.AUTO:
            return _NO_LIMIT  # in auto mode no delivery is ever unacknowledged
        credit = options.prefetch - len(self.unacked) - self.reserved
        return credit - len(self.given_back) if self.given_back else credit

    def is_ready_for(self, source: PausedSource) -> bool:
        """Return whether a source may deliver now.

        If the outbound is not writable, the source is paused and resumed by ``on_drain``. If only
        credit is missing, the next acknowledgement reaches the source anyway.
        """
        return self.credit > 0 and self.outbound.is_writable_for(source)

    def wants(self, message: Message, deliveries: int = 0) -> bool:
        """Return whether its selector matches a message; true without a selector.

        Args:
            message: The message.
            deliveries: The number of earlier deliveries of the message that were returned.
        """
        selector = self.options.selector
        return selector is None or selects(selector, message, self.outbound.cork, deliveries)

    def deliver(self, entry: Entry, dropped: int = 0, extra: bytes = b"") -> None:
        """Send a MESSAGE, and add it to ``unacked`` unless the ack mode is ``auto``.

        Args:
            entry: The message.
            dropped: The number of messages dropped before it (``x-dropped``).
            extra: Header lines of this delivery only.
        """
        if entry.deliveries:
            extra += b"redelivered:true\nx-delivery-count:%d\n" % entry.deliveries
        if dropped:
            extra += b"x-dropped:%d\n" % dropped
        message = entry.message
        if self.options.ack is AckMode.AUTO:
            self.outbound.send(self.encoder.encode(message, extra))
            return
        self.deliveries = number = self.deliveries + 1
        mark = f"{self._mark}{number}"
        ack_id = message.id + mark
        if self.gives_back:
            self.unacked[ack_id] = entry
        else:
            self.unacked[ack_id] = _NO_MESSAGE
            self.hold(1)
        if self.message_ids is not None:
            self.message_ids.note(self, ack_id)
        if self.version is Version.V12:
            extra = b"ack:%b\n%b" % (ack_id.encode(), extra)
            self.outbound.send(self.encoder.encode(message, extra))
        else:
            # 1.0 and 1.1 acknowledge by message-id, so there it has to identify the delivery.
            self.outbound.send(self.encoder.encode(message, extra, mark.encode()))

    def hold(self, count: int) -> None:
        """Count so many deliveries more that wait for ACK and whose messages are not kept."""
        if self.holding is not None:
            self.holding.add(count * _DELIVERY_BYTES)

    def has(self, ack_id: str) -> bool:
        """Return whether a delivery is pending: neither acknowledged nor in a transaction."""
        return ack_id in self.unacked or ack_id in (self.given_back or ())

    @property
    def pending(self) -> int:
        """The number of deliveries that are pending."""
        return len(self.unacked) + len(self.given_back or ())

    def take(self, ack_ids: Sequence[str]) -> tuple[list[tuple[str, Entry]], int]:
        """Remove acknowledged or rejected deliveries, up to the first ack id that is unknown.

        Args:
            ack_ids: The ack id of each ACK or NACK, in order.

        Returns:
            The deliveries with their ack ids, and the number of ACKs or NACKs that were valid; 0
            if the first one is not. With ``ack:client`` there may be more deliveries than ACKs.
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
            # "the ACK operates on the message specified in the ACK frame and all messages sent
            # to the subscription before the ACK'ed message"
            if ack_id not in self.unacked and ack_id not in (self.given_back or ()):
                break
            if self.given_back:
                self._take_given_back(ack_id, deliveries)
            if ack_id in self.unacked:
                self._take_earlier(ack_id, deliveries)
            taken += 1
        return deliveries, taken

    def put_back(self, deliveries: Sequence[tuple[str, Entry]]) -> None:
        """Undo :meth:`take`: the deliveries are pending again.

        Acknowledged one by one, they need no order before :meth:`take_all`. Else they are older
        than all others but for some that were given back before, so the others are not looked at:
        there may be very many.
        """
        self.outbound.cork.work += len(deliveries)
        if self.options.ack is AckMode.INDIVIDUAL:
            self.unacked.update(deliveries)
            self._is_mixed = True
        else:
            self._give_back(deliveries)
        if self.message_ids is not None:
            for ack_id, _ in deliveries:
                self.message_ids.note(self, ack_id)

    def take_all(self) -> list[Entry]:
        """Remove all pending deliveries; return their messages, the oldest first."""
        deliveries = [*reversed((self.given_back or {}).items()), *self.unacked.items()]
        if self._is_mixed:
            deliveries.sort(key=_number)
        self.unacked, self.given_back, self._is_mixed = {}, None, False
        return [entry for _, entry in deliveries]

    def _give_back(self, deliveries: Sequence[tuple[str, Entry]]) -> None:
        newest = max(map(_number, deliveries))
        given_back = self.given_back = self.given_back or {}
        together = list(deliveries)
        while given_back:
            oldest = given_back.popitem()
            if _number(oldest) > newest:
                given_back[oldest[0]] = oldest[1]
                break
            together.append(oldest)
        self.outbound.cork.work += len(together)
        given_back.update(sorted(together, key=_number, reverse=True))

    def _take_given_back(self, ack_id: str, deliveries: list[tuple[str, Entry]]) -> None:
        """Remove deliveries that were given back: up to one of them, or all."""
        while self.given_back:
            delivery = self.given_back.popitem()
            deliveries.append(delivery)
            if delivery[0] == ack_id:
                return

    def _take_earlier(self, ack_id: str, deliveries: list[tuple[str, Entry]]) -> None:
        """Remove a delivery and all that were sent before."""
        unacked = self.unacked
        earlier = [*takewhile(ack_id.__ne__, unacked), ack_id]
        deliveries += [(each, unacked.pop(each)) for each in earlier]
        # A look for the first item of a dict passes by all that were removed before it.
        self._gaps += len(earlier)
        if self._gaps > len(unacked) + _MAX_GAPS:
            self.unacked, self._gaps = dict(unacked), 0


def _number(delivery: tuple[str, Entry]) -> int:
    """Return a delivery's number."""
    return int(delivery[0].rpartition(".")[2])


def nothing_kept() -> ProtocolError:
    """Return the error for a request to replay messages of a destination without a history."""
    return ProtocolError(
        "no history here",
        "x-stream-offset needs a topic that a line in [history] of the server's settings names, "
        "and no wildcards; only x-stream-offset:next is possible everywhere.",
    )
