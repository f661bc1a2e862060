"""The temporary queues of one session."""

from __future__ import annotations

from collections.abc import Iterator
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
        names: Their names by the keys of their subscriptions.
    """

    __slots__ = ("_by_name", "_reply_queues", "names")

    def __init__(self, reply_queues: ReplyQueues) -> None:
        self._reply_queues = reply_queues
        self._by_name: dict[str, TempQueue] = {}
        self.names: dict[str, str] = {}

    def get(self, name: str) -> TempQueue | None:
        """Return the temporary queue of a name, or None."""
        return self._by_name.get(name)

    def addresses(self) -> Iterator[str]:
        """Return the addresses that other sessions send to."""
        return (queue.address for queue in self._by_name.values())

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
        if name in self._by_name:
            raise ProtocolError(
                "temporary queue in use", "It has a subscription already; UNSUBSCRIBE that first."
            )
        address = self._reply_queues.open(subscription)
        queue = self._by_name[name] = TempQueue(address, key, subscription)
        self.names[key] = name
        return queue

    def close(self, key: str) -> Subscription | None:
        """Close the temporary queue whose subscription has the key; return that, or None."""
        name = self.names.pop(key, None)
        if name is None:
            return None
        queue = self._by_name.pop(name)
        self._reply_queues.close(queue.address)
        return queue.subscription

    def close_all(self) -> None:
        """Close all temporary queues."""
        for queue in self._by_name.values():
            self._reply_queues.close(queue.address)
        self._by_name.clear()
        self.names.clear()
