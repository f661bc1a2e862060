"""What a broker has to do: a model of queues, topics, acknowledgements and transactions.

The model leaves open which of several consumers gets a message; all else is fixed. A player tells
it each step and each delivery, and it says what a broker did that the model does not allow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from support.differential.traits import Nack, Traits

__all__ = ["Delivery", "Difference", "Model", "Sub", "Transaction"]

NO_LIMIT = 1 << 30


class Difference(AssertionError):
    """A broker did what the model does not allow."""


@dataclass(eq=False)
class Item:
    """A message in a queue, or in what waits for one subscription of a topic.

    Attributes:
        number: The body.
        place: Its place in the source, which never changes.
        was_delivered: Whether it was delivered before.
    """

    number: int
    place: int
    was_delivered: bool = False


@dataclass(eq=False)
class Source:
    """What messages come from: a queue, or a topic for one subscription.

    Attributes:
        destination: Its destination.
        ready: The messages that wait, in order.
        subs: The subscriptions that take from it.
        is_topic: Whether it belongs to one subscription of a topic.
    """

    destination: str
    ready: list[Item] = field(default_factory=list)
    subs: list[Sub] = field(default_factory=list)
    is_topic: bool = False

    def put_back(self, items: Iterable[Item]) -> None:
        """Return messages to their places."""
        self.ready = sorted([*self.ready, *items], key=lambda item: item.place)


@dataclass(eq=False)
class Delivery:
    """A message in the hands of a session.

    Attributes:
        sub: The subscription that it came for.
        item: The message.
        headers: The headers of its MESSAGE.
        number: Its place among all deliveries.
        is_taken: Whether an open transaction acknowledges or rejects it.
    """

    sub: Sub
    item: Item
    headers: dict[str, str]
    number: int
    is_taken: bool = False


@dataclass(eq=False)
class Sub:
    """A subscription.

    Attributes:
        session: The name of its session.
        id: Its id.
        source: What it takes from.
        mode: The ``ack`` header.
        prefetch: How many deliveries may be unacknowledged, 0 for any number.
        held: Its deliveries that are unacknowledged, in order.
        is_open: False after UNSUBSCRIBE.
    """

    session: str
    id: str
    source: Source
    mode: str
    prefetch: int
    held: list[Delivery] = field(default_factory=list)
    is_open: bool = True

    @property
    def credit(self) -> int:
        """How many more messages may come."""
        if self.mode == "auto" or not self.prefetch:
            return NO_LIMIT
        return max(0, self.prefetch - len(self.held))


@dataclass
class Transaction:
    """What waits for COMMIT.

    Attributes:
        sent: Messages, as destination and number.
        settled: Acknowledged and rejected deliveries; True for an ACK.
    """

    sent: list[tuple[str, int]] = field(default_factory=list)
    settled: list[tuple[list[Delivery], bool]] = field(default_factory=list)


class Model:
    """The state of one broker, as far as a script can see it.

    Args:
        traits: Where the broker differs, explained in docs/protocol.md.

    Attributes:
        sources: All sources with messages or subscriptions.
        subs: The subscriptions of each session, the closed ones with deliveries included.
        was_ambiguous: Whether several consumers could have got the same message.
    """

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        self.queues: dict[str, Source] = {}
        self.subs: dict[str, list[Sub]] = {}
        self.was_ambiguous = False
        self._expected: dict[Source, list[Item]] = {}
        self._deliveries = itertools.count()
        self._places = itertools.count()

    # What the script does

    def send(self, destination: str, number: int) -> None:
        """A message was published."""
        if destination.startswith("/queue/"):
            self._queue(destination).ready.append(Item(number, next(self._places)))
            return
        for sub in self.all_subs():
            if sub.is_open and sub.source.destination == destination:
                sub.source.ready.append(Item(number, next(self._places)))

    def subscribe(self, session: str, name: str, destination: str, mode: str, prefetch: int) -> Sub:
        """A session has subscribed."""
        if destination.startswith("/queue/"):
            source = self._queue(destination)
        else:
            source = Source(destination, is_topic=True)
        sub = Sub(session, name, source, mode, prefetch)
        source.subs.append(sub)
        self.subs.setdefault(session, []).append(sub)
        return sub

    def unsubscribe(self, sub: Sub) -> None:
        """A session has unsubscribed; what it has not acknowledged stays with it."""
        sub.is_open = False
        sub.source.subs.remove(sub)
        if self.traits.unsubscribe_returns:
            self._give_back(sub)

    def settle(self, delivery: Delivery, *, is_ack: bool) -> None:
        """A delivery was acknowledged or rejected."""
        self._settle(self.covered(delivery, is_ack=is_ack), is_ack=is_ack)

    def take(self, transaction: Transaction, delivery: Delivery, *, is_ack: bool) -> None:
        """A delivery was acknowledged or rejected in a transaction."""
        covered = self.covered(delivery, is_ack=is_ack)
        for each in covered:
            each.is_taken = True
        transaction.settled.append((covered, is_ack))

    def commit(self, transaction: Transaction) -> None:
        """A transaction was committed."""
        for destination, number in transaction.sent:
            self.send(destination, number)
        for deliveries, is_ack in transaction.settled:
            self._settle(deliveries, is_ack=is_ack)

    def abort(self, transaction: Transaction) -> None:
        """A transaction was aborted."""
        for deliveries, _ in transaction.settled:
            for delivery in deliveries:
                delivery.is_taken = False

    def end(self, session: str) -> None:
        """A session has ended."""
        for sub in self.subs.pop(session, []):
            if sub.is_open:
                sub.is_open = False
                sub.source.subs.remove(sub)
            self._give_back(sub)

    # What the broker does

    def begin_phase(self) -> None:
        """Fix what has to be delivered now: as many of the first messages as there is credit."""
        self._expected = {}
        for source in self._all_sources():
            credit = sum(sub.credit for sub in source.subs)
            expected = source.ready[: min(credit, len(source.ready))]
            if expected:
                self._expected[source] = list(expected)
                able = sum(sub.credit > 0 for sub in source.subs)
                self.was_ambiguous |= able > 1

    @property
    def missing(self) -> int:
        """How many deliveries have not come yet."""
        return sum(map(len, self._expected.values()))

    def describe_missing(self) -> str:
        """Return what has not come."""
        return ", ".join(
            f"{[item.number for item in items]} of {source.destination}"
            for source, items in self._expected.items()
            if items
        )

    def deliver(self, session: str, name: str, number: int, headers: dict[str, str]) -> None:
        """A MESSAGE has come."""
        what = f"{session}/{name} got {number}"
        found = [sub for sub in self.subs.get(session, []) if sub.id == name and sub.is_open]
        if not found:
            raise Difference(f"{what}, and has no such subscription")
        sub = found[0]
        expected = self._expected.get(sub.source, [])
        item = next((item for item in expected if item.number == number), None)
        if item is None and expected and not self.traits.keeps_order_of_returned:
            item = self._out_of_order(sub.source, expected, number)
        if item is None:
            ready = [item.number for item in sub.source.ready]
            raise Difference(f"{what}, which may not come now; ready: {ready}")
        if sub.credit <= 0:
            raise Difference(f"{what}, more than its prefetch of {sub.prefetch}")
        is_redelivered = headers.get("redelivered") == "true"
        if is_redelivered != item.was_delivered:
            raise Difference(f"{what} with redelivered:{is_redelivered}")
        expected.remove(item)
        sub.source.ready.remove(item)
        item.was_delivered = True
        if sub.mode != "auto":
            sub.held.append(Delivery(sub, item, headers, next(self._deliveries)))

    # Looking

    def all_subs(self) -> list[Sub]:
        """Return all subscriptions."""
        return [sub for subs in self.subs.values() for sub in subs]

    def held(self, session: str, is_wanted: Callable[[Delivery], bool]) -> list[Delivery]:
        """Return the deliveries in the hands of a session."""
        found = [each for sub in self.subs.get(session, []) for each in sub.held]
        return [each for each in found if not each.is_taken and is_wanted(each)]

    def covered(self, delivery: Delivery, *, is_ack: bool) -> list[Delivery]:
        """Return the deliveries that an ACK or NACK of this one is about."""
        sub = delivery.sub
        if sub.mode == "client-individual" or not (is_ack or self.traits.nacks_cumulatively):
            return [delivery]
        beside = self.beside(sub)
        return [each for each in beside if each.number <= delivery.number and not each.is_taken]

    def beside(self, sub: Sub) -> list[Delivery]:
        """Return the deliveries that a cumulative ACK on a subscription could be about."""
        if not self.traits.acknowledges_sessions:
            return sub.held
        return [each for other in self.subs[sub.session] for each in other.held]

    # Inside

    def _out_of_order(self, source: Source, expected: list[Item], number: int) -> Item | None:
        """Return a message that may come instead of an expected one, which then may not.

        Messages that came back have lost their places.
        """
        if not any(item.was_delivered for item in source.ready):
            return None
        item = next((item for item in source.ready if item.number == number), None)
        if item is not None:
            expected[-1] = item
        return item

    def _queue(self, destination: str) -> Source:
        return self.queues.setdefault(destination, Source(destination))

    def _all_sources(self) -> list[Source]:
        topics = [sub.source for sub in self.all_subs() if sub.is_open and sub.source.is_topic]
        return [*self.queues.values(), *topics]

    def _settle(self, deliveries: list[Delivery], *, is_ack: bool) -> None:
        for delivery in deliveries:
            sub = delivery.sub
            if delivery not in sub.held:
                continue
            sub.held.remove(delivery)
            if is_ack:
                continue
            fate = self.traits.nack_on_topic if sub.source.is_topic else self.traits.nack_on_queue
            if fate is Nack.REQUEUED and (sub.is_open or not sub.source.is_topic):
                sub.source.put_back([delivery.item])

    def _give_back(self, sub: Sub) -> None:
        if not sub.source.is_topic:
            sub.source.put_back(delivery.item for delivery in sub.held)
        sub.held.clear()
