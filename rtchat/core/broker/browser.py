"""Browsers read the messages of a queue and leave everything in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rtchat.core.broker.message import Message, ServerMessage
from rtchat.core.broker.queue import Queue
from rtchat.core.broker.selection import LOOK_WORK
from rtchat.core.broker.subscription import Entry, Subscription
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.frames import Frame

__all__ = ["Browsers", "QueueBrowser"]


class QueueBrowser:
    """Delivers what is ready in a queue to one subscription, as fast as its client reads.

    It delivers each message that was ready when it began and still is when its turn comes, then a
    MESSAGE with ``browser:end``, then nothing. An ACK or NACK makes room for more and changes
    nothing else.

    Args:
        subscription: The subscription.
        queue: The queue, or None if there is none of the name.
        cork: The cork of the server, whose ``now`` decides which messages have expired.
        end: The last message.
    """

    __slots__ = ("_cork", "_end", "_last", "_place", "_queue", "_subscription")

    def __init__(
        self, subscription: Subscription, queue: Queue | None, cork: Cork, end: Message
    ) -> None:
        self._subscription = subscription
        # Nothing comes back, and the queue alone answers for the memory of its messages.
        subscription.gives_back = False
        self._queue = queue
        self._cork = cork
        self._end: Message | None = end
        self._last = 0 if queue is None else queue.last_seq
        self._place = (-10, 0)  # before the highest priority

    def dispatch(self) -> None:
        """Deliver messages while the subscriber has credit and capacity."""
        subscription = self._subscription
        while self._end is not None and subscription.is_ready_for(self):
            if self._cork.work >= TURN_WORK:
                self._cork.put_off(self.dispatch)
                return
            entry = self._next()
            if entry is None:
                entry, self._end = Entry(self._end, 0), None
            elif not self._selects(entry):
                continue
            else:
                entry = _without_end(entry)
            subscription.deliver(entry)

    def on_drain(self) -> None:
        """Continue: the outbound is writable again."""
        self.dispatch()

    def close(self) -> None:
        """Stop delivering: the subscription has ended."""
        self._end = self._queue = None
        self._subscription.outbound.paused_sources.pop(self, None)

    def acknowledged(self, entries: Sequence[Entry], consumer: Subscription) -> None:
        """Continue: acknowledgements give the subscriber more credit."""
        self._subscription.hold(-len(entries))
        self.dispatch()

    def returned(
        self, entries: Sequence[Entry], *, requeue: bool, consumer: Subscription | None = None
    ) -> None:
        """Continue: the queue has the messages anyway."""
        self._subscription.hold(-len(entries))
        self.dispatch()

    def _next(self) -> Entry | None:
        """Return the next message of the queue, or None after the last one."""
        if self._queue is None:
            return None
        entry = self._queue.first_after(self._place, self._last)
        if entry is None:
            self._queue = None
        else:
            self._place = (-entry.message.priority, entry.seq)
        return entry

    def _selects(self, entry: Entry) -> bool:
        """Return whether the subscription wants a message."""
        self._cork.work += LOOK_WORK
        message = entry.message
        wants = self._subscription.wants(message, entry.deliveries)
        return wants and not message.is_expired(self._cork.now)


def _without_end(entry: Entry) -> Entry:
    """Return a message without the header that only the server may add to one of a browser."""
    message, frame = entry.message, entry.message.frame
    # Compared trimmed, because STOMP 1.0 clients trim.
    if not any(name.strip() == "browser" for name in frame.headers):
        return entry
    headers = {name: value for name, value in frame.headers.items() if name.strip() != "browser"}
    own = Frame(frame.command, headers, frame.body)
    copy = Message(message.id, message.destination, own, message.reply_to, message.position)
    browsed = Entry(copy, entry.seq)
    browsed.deliveries = entry.deliveries
    return browsed


class Browsers:
    """The browsers of all queues.

    Args:
        find_queue: Returns the queue of a name, or None.
        cork: The cork of the server.
        epoch: The beginning of message ids.
    """

    __slots__ = ("_cork", "_count", "_epoch", "_find_queue", "_open")

    def __init__(self, find_queue: Callable[[str], Queue | None], cork: Cork, epoch: str) -> None:
        self._find_queue = find_queue
        self._cork = cork
        self._epoch = epoch
        self._count = 0
        self._open: dict[Subscription, QueueBrowser] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, subscription: Subscription) -> QueueBrowser:
        """Return a browser for a subscription; call its :meth:`~QueueBrowser.dispatch`."""
        self._count += 1
        name = subscription.destination
        end = ServerMessage(f"{self._epoch}-b{self._count}", name, {"browser": "end"}, b"")
        browser = QueueBrowser(subscription, self._find_queue(name), self._cork, end)
        subscription.source = self._open[subscription] = browser
        return browser

    def close(self, subscription: Subscription) -> bool:
        """Close the browser of a subscription; return False if it has none."""
        browser = self._open.pop(subscription, None)
        if browser is not None:
            browser.close()
        return browser is not None
