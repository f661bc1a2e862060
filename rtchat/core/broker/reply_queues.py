"""Reply queues: addresses that each reach one subscription of one session."""

from __future__ import annotations

from collections.abc import Callable

from rtchat.core.broker.destinations import DestinationKind
from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import Target
from rtchat.core.broker.subscription import Entry, Subscription

__all__ = ["ReplyQueues", "ReplyTarget"]


class ReplyQueues:
    """The temporary queues of all sessions, by address.

    Args:
        new_token: Returns text that cannot be guessed.
    """

    __slots__ = ("_new_token", "_receivers")

    def __init__(self, new_token: Callable[[], str]) -> None:
        self._new_token = new_token
        self._receivers: dict[str, Subscription] = {}

    def __len__(self) -> int:
        return len(self._receivers)

    def open(self, subscription: Subscription) -> str:
        """Return a new address that reaches the subscription."""
        address = f"{DestinationKind.REPLY_QUEUE.value}{self._new_token()}"
        self._receivers[address] = subscription
        return address

    def close(self, address: str) -> None:
        """Remove an address; replies to it are dropped from now on."""
        del self._receivers[address]

    def deliver(self, address: str, message: Message) -> None:
        """Deliver a reply, or drop it if the address does not exist any more."""
        receiver = self._receivers.get(address)
        if receiver is not None and receiver.wants(message):
            receiver.deliver(Entry(message, 0))


class ReplyTarget(Target):
    """The address of a temporary queue."""

    __slots__ = ("_queues",)

    def __init__(self, name: str, queues: ReplyQueues) -> None:
        self.name = name
        self.storage = None
        self._queues = queues

    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver a reply."""
        self._queues.deliver(self.name, message)
