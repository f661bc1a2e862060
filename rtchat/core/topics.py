"""A topic: every subscriber gets each message, nothing is kept."""

from __future__ import annotations

from rtchat.core.frames import Version
from rtchat.core.message import Message
from rtchat.core.outlet import Cork, OutletGroup, Wire
from rtchat.core.subscription import Subscription

__all__ = ["Topic"]


class Topic:
    """The subscribers of one destination.

    Subscriptions whose MESSAGE frames are the same to the byte (same subscription id, same
    version, same wire) form a group: a message is encoded once per group.
    """

    __slots__ = ("_cork", "_groups", "name")

    def __init__(self, name: str, cork: Cork) -> None:
        self.name = name
        self._cork = cork
        self._groups: dict[tuple[bytes, Version, Wire], _Alike] = {}

    def __len__(self) -> int:
        return sum(len(group.members) for group in self._groups.values())

    def add(self, subscription: Subscription) -> None:
        """Deliver to the subscription from now on."""
        key = (subscription.prefix, subscription.version, subscription.outlet.wire)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Alike(self._cork, *key)
        group.add(subscription.outlet)

    def remove(self, subscription: Subscription) -> None:
        """Deliver no further message to the subscription."""
        key = (subscription.prefix, subscription.version, subscription.outlet.wire)
        group = self._groups[key]
        group.remove(subscription.outlet)
        if not group.members:
            del self._groups[key]

    def publish(self, message: Message) -> None:
        """Hand the message to every subscriber."""
        for group in self._groups.values():
            group.send(group.wire.wrap(group.prefix + message.tail(group.version)))


class _Alike(OutletGroup):
    """Subscriptions of a topic whose MESSAGE frames are the same to the byte."""

    __slots__ = ("prefix", "version", "wire")

    def __init__(self, cork: Cork, prefix: bytes, version: Version, wire: Wire) -> None:
        super().__init__(cork)
        self.prefix = prefix
        self.version = version
        self.wire = wire
