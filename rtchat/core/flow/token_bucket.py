"""How fast one session may send: a bucket of tokens, one for each SEND."""

from __future__ import annotations

__all__ = ["TokenBucket"]

_ALMOST = 1e-6  # a wait that was computed to the end of a float is over


class TokenBucket:
    """Fills at a steady rate up to its size; every SEND takes a token out.

    Args:
        per_second: How many tokens come in a second.
        size: How many it holds; it begins full.
        now: What time it is, in seconds.
    """

    __slots__ = ("_now", "_per_second", "_size", "_tokens")

    def __init__(self, per_second: float, size: int, now: float) -> None:
        self._per_second = per_second
        self._size = float(size)
        self._tokens = self._size
        self._now = now

    def wait_s(self, now: float) -> float:
        """Give how many seconds it takes until there is a token; 0 if there is one."""
        passed = now - self._now
        self._now = now
        if passed > 0:  # a clock may be set back
            self._tokens = min(self._size, self._tokens + passed * self._per_second)
        missing = 1.0 - self._tokens
        return missing / self._per_second if missing > _ALMOST else 0.0

    def take(self) -> None:
        """Take a token; :meth:`wait_s` was asked before, and said 0."""
        self._tokens -= 1.0
