"""Processor time as a ratio, for tests that some work is short on every machine."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["effort"]

_ATTEMPTS = 3


def effort(work: Callable[[], object]) -> float:
    """Return the processor time of ``work``, in units of a loop of 100,000 turns beside it.

    A slow or busy machine is slow at both. Of three attempts the least counts: a test fails only
    if none of them was short.
    """
    return min(_ratio(work) for _ in range(_ATTEMPTS))


def _ratio(work: Callable[[], object]) -> float:
    before_s = _seconds(_yardstick)
    took_s = _seconds(work)
    return took_s / max(before_s, _seconds(_yardstick))


def _seconds(work: Callable[[], object]) -> float:
    begun_s = time.process_time()
    work()
    return time.process_time() - begun_s


def _yardstick() -> int:
    total = 0
    for number in range(100_000):
        total += number & 7
    return total
