"""A token bucket that limits the rate of a session's SEND frames."""

from __future__ import annotations

__all__ = ["TokenBucket"]

_ALMOST = 1e-6  # tolerance for rounding: a computed wait of this many tokens is over


class TokenBucket:
    """Gains tokens at a constant rate up to its size; each SEND takes one token.

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

    def wait_s(self, now: float) -> float:
        """Return the seconds until a token is available; 0 if one is available now."""
        passed = now - self._now
        self._now = now
        if passed > 0:  # the clock may have been set back
            self._tokens = min(self._size, self._tokens + passed * self._per_second)
        missing = 1.0 - self._tokens
        return missing / self._per_second if missing > _ALMOST else 0.0

    def take(self, count: int = 1) -> None:
        """Take tokens, which may leave less than none. Call it only after :meth:`wait_s`."""
        self._tokens -= count
