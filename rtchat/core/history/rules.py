"""Which destinations are kept, how many messages of each, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rtchat.config.keys import GIB, KIB, MIB, key
from rtchat.core.broker.destinations import Glob

__all__ = ["HistoryLimits", "HistoryRule", "HistoryRules"]


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What kept messages may use.

    Attributes:
        max_destinations: Destinations with kept messages.
        max_destination_bytes: Bytes of body and headers that are kept of one destination.
        max_memory_bytes: Bytes of kept messages in memory; the file has all of them.
    """

    max_destinations: int = key(
        "[history] destinations.max_count", 10_000, unit="destinations", low=1, high=1_000_000
    )
    max_destination_bytes: int = key(
        "[history] destination.max_bytes", 16 * MIB, unit="bytes", low=64 * KIB, high=1024 * GIB
    )
    max_memory_bytes: int = key(
        "[history] memory.max_bytes", 64 * MIB, unit="bytes", low=MIB, high=1024 * GIB
    )


class HistoryRule(NamedTuple):
    """What is kept of some destinations.

    Attributes:
        pattern: Their names; ``*`` stands for any characters.
        max_count: How many messages of each.
        max_age_s: For how many seconds; 0 is for ever.
    """

    pattern: str
    max_count: int
    max_age_s: float = 0.0


class HistoryRules:
    """Finds the rule of a destination: the first one that matches.

    Args:
        rules: In their order.
    """

    def __init__(self, rules: Iterable[HistoryRule]) -> None:
        self.rules = tuple(rules)
        self._globs = [Glob([rule.pattern]) for rule in self.rules]

    def rule_for(self, name: str) -> HistoryRule | None:
        """Return the rule of a destination; None means that nothing of it is kept."""
        for glob, rule in zip(self._globs, self.rules, strict=True):
            if name in glob:
                return rule
        return None
