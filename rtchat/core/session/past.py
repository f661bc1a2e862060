"""What a session had and has no more, remembered in a bounded number of bytes."""

from __future__ import annotations

from rtchat.core.broker.subscription import Subscription

__all__ = ["PastSubscriptions"]

_HASH_BYTES = 128


class PastSubscriptions:
    """The subscriptions of a session that have ended.

    A client may send UNSUBSCRIBE twice, or acknowledge what it has acknowledged before; neither is
    an error. Ended subscriptions are remembered by the hashes of their keys, the latest ones only;
    deliveries by the largest number that any subscription reached.

    Args:
        limit: The number of ended subscriptions to remember.

    Attributes:
        holding: Ended subscriptions that may have deliveries of queues, by number.
    """

    __slots__ = ("_hashes", "_limit", "_most_deliveries", "holding")

    def __init__(self, limit: int) -> None:
        self.holding: dict[int, Subscription] = {}
        self._limit = limit
        self._hashes: dict[int, None] = {}
        self._most_deliveries = 0

    def add(self, *keys: str) -> int:
        """Remember the keys of a subscription that has ended; return how many bytes that takes."""
        before = len(self._hashes)
        for key in map(hash, keys):
            self._hashes.pop(key, None)
            self._hashes[key] = None
        while len(self._hashes) > self._limit:
            del self._hashes[next(iter(self._hashes))]
        return (len(self._hashes) - before) * _HASH_BYTES

    def add_deliveries(self, count: int) -> None:
        """Remember how many deliveries a subscription had."""
        self._most_deliveries = max(self._most_deliveries, count)

    def had(self, key: str) -> bool:
        """Return whether a subscription with this key has ended."""
        return hash(key) in self._hashes

    def had_delivery(self, number: int) -> bool:
        """Return whether a forgotten subscription may have had a delivery of this number."""
        return 0 < number <= self._most_deliveries
