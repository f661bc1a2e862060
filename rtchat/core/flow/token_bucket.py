"""Token buckets: rates that hold for a session, or for all sessions of one user or source."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

__all__ = ["Rate", "TokenBucket", "TokenBuckets"]

_ALMOST = 1e-6  # tolerance for rounding: a computed wait of this many tokens is over
_MAX_BUCKETS = 65_536
_FORGOTTEN_AT_ONCE = 2


class Rate(Protocol):
    """What limits how often something may be done."""

    def reserve(self, now: float, count: int = 1) -> float:
        """Take tokens; return the seconds until they are there, or 0 if they are."""

    def give_back(self, count: int = 1) -> None:
        """Return tokens that were taken and not used."""


class TokenBucket:
    """Gains tokens at a constant rate up to its size.

    Tokens may be taken before they are there: then the taker waits for them, and those who come
    later wait for theirs. So everyone has a turn, however many wait.

    Args:
        per_second: The rate in tokens per second.
        size: The capacity in tokens. A new bucket is full.
        now: The current time in seconds.
    """

    __slots__ = ("_now", "_per_second", "_size", "_tokens")

    def __init__(self, per_second: float, size: int, now: float) -> None:
        self._per_second = per_second
        self._size = float(size)
        self._tokens = self._size
        self._now = now

    def reserve(self, now: float, count: int = 1) -> float:
        """Take tokens; return the seconds until they are there, or 0 if they are."""
        self._fill(now)
        self._tokens -= count
        return -self._tokens / self._per_second if self._tokens < -_ALMOST else 0.0

    def give_back(self, count: int = 1) -> None:
        """Return tokens that were taken and not used."""
        self._tokens += count

    def wait_s(self, now: float) -> float:
        """Return the seconds until a token is available; 0 if one is available now."""
        self._fill(now)
        missing = 1.0 - self._tokens
        return missing / self._per_second if missing > _ALMOST else 0.0

    def take(self, count: int = 1) -> None:
        """Take tokens, which may leave less than none. Call it only after :meth:`wait_s`."""
        self._tokens -= count

    def is_full(self, now: float) -> bool:
        """Return whether it is as good as a new one."""
        self._fill(now)
        return self._tokens >= self._size

    def _fill(self, now: float) -> None:
        passed = now - self._now
        self._now = now
        if passed > 0:  # the clock may have been set back
            self._tokens = min(self._size, self._tokens + passed * self._per_second)


class TokenBuckets:
    """A bucket for each user or source, which all of its sessions share, and later ones, too.

    Full buckets are forgotten. If very many are not full, those that were not used for the longest
    time are forgotten as well.

    Args:
        per_second: The rate of each bucket in tokens per second.
        size: The capacity of each in tokens.
        max_count: How many are remembered.
    """

    __slots__ = ("_buckets", "_max_count", "_per_second", "_size")

    def __init__(self, per_second: float, size: int, max_count: int = _MAX_BUCKETS) -> None:
        self._per_second = per_second
        self._size = size
        self._max_count = max_count
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def rate_of(self, key: str, now: float) -> Rate:
        """Return the rate of one session.

        Args:
            key: The user or source; "" is unknown, and then the session has a bucket of its own.
            now: The current time in seconds.
        """
        return _Shared(self, key) if key else TokenBucket(self._per_second, self._size, now)

    def reserve(self, key: str, now: float, count: int = 1) -> float:
        """Take tokens of a user or source; the result is that of :meth:`TokenBucket.reserve`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget_full(now)
            bucket = self._buckets[key] = TokenBucket(self._per_second, self._size, now)
        else:
            self._buckets.move_to_end(key)
        return bucket.reserve(now, count)

    def give_back(self, key: str, count: int = 1) -> None:
        """Return tokens that were taken and not used."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.give_back(count)

    def _forget_full(self, now: float) -> None:
        for _ in range(min(_FORGOTTEN_AT_ONCE, len(self._buckets))):
            key, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) < self._max_count and not bucket.is_full(now):
                break
            del self._buckets[key]


class _Shared:
    """The rate of one session, whose bucket is that of its user or source."""

    __slots__ = ("_buckets", "_key")

    def __init__(self, buckets: TokenBuckets, key: str) -> None:
        self._buckets = buckets
        self._key = key

    def reserve(self, now: float, count: int = 1) -> float:
        return self._buckets.reserve(self._key, now, count)

    def give_back(self, count: int = 1) -> None:
        self._buckets.give_back(self._key, count)
