"""The temporary queues of one session."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.reply_queues import ReplyQueues
from rtchat.core.broker.subscription import AckMode, Subscription
from rtchat.errors import ProtocolError

__all__ = ["TEMP_QUEUE", "TempQueue", "TempQueues"]

TEMP_QUEUE = DestinationKind.TEMP_QUEUE.value


class TempQueue(NamedTuple):
    """A temporary queue of this session.

    Attributes:
        address: The address that other sessions send to.
        key: The key of its subscription within the session.
        subscription: The subscription that receives its messages.
    """

    address: str
    key: str
    subscription: Subscription


class TempQueues:
    """The temporary queues of one session, by name and by the keys of their subscriptions.

    Args:
        reply_queues: The temporary queues of all sessions.

    Attributes:
        keys: The keys of their subscriptions.
    """

    __slots__ = ("_by_name", "_names", "_reply_queues", "keys")

    def __init__(self, reply_queues: ReplyQueues) -> None:
        self._reply_queues = reply_queues
        # Most sessions have none, and a session that is idle shall need little memory.
        self._by_name: dict[str, TempQueue] | None = None
        self._names: dict[str, str] | None = None  # by the keys
        self.keys: Collection[str] = ()

    def get(self, name: str) -> TempQueue | None:
        """Return the temporary queue of a name, or None."""
        return None if self._by_name is None else self._by_name.get(name)

    def addresses(self) -> Iterator[str]:
        """Return the addresses that other sessions send to."""
        return (queue.address for queue in (self._by_name or {}).values())

    def open(self, name: str, key: str, subscription: Subscription) -> TempQueue:
        """Open a temporary queue.

        Args:
            name: Its name.
            key: The key of its subscription, which no other has.
            subscription: The subscription that receives its messages.

        Raises:
            ProtocolError: It is open already, has no name, or would have to be acknowledged.
        """
        if subscription.options.ack is not AckMode.AUTO:
            raise ProtocolError(
                "a temporary queue has ack:auto only", "Leave the ack header out, or say auto."
            )
        if name == TEMP_QUEUE:
            raise ProtocolError("destination without a name", f"{name} needs a name after it.")
        if self._by_name is None or self._names is None:
            self._by_name, self._names = {}, {}
            self.keys = self._names.keys()
        if name in self._by_name:
            raise ProtocolError(
                "temporary queue in use", "It has a subscription already; UNSUBSCRIBE that first."
            )
        address = self._reply_queues.open(subscription)
        queue = self._by_name[name] = TempQueue(address, key, subscription)
        self._names[key] = name
        return queue

    def close(self, key: str) -> Subscription | None:
        """Close the temporary queue whose subscription has the key; return that, or None."""
        if self._by_name is None or self._names is None or key not in self._names:
            return None
        name = self._names.pop(key)
        queue = self._by_name.pop(name)
        self._reply_queues.close(queue.address)
        return queue.subscription

    def close_all(self) -> None:
        """Close all temporary queues."""
        for address in self.addresses():
            self._reply_queues.close(address)
        self._by_name = self._names = None
        self.keys = ()
