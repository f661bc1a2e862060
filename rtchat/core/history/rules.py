"""Which destinations have a history, and the retention of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rtchat.config.keys import GIB, KIB, MIB, key
from rtchat.core.broker.destinations import Glob

__all__ = ["HistoryLimits", "HistoryRule", "HistoryRules"]


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """The limits of all streams.

    Attributes:
        max_destinations: Number of destinations with stored messages.
        max_destination_bytes: Size of one destination's stored messages (bodies and headers), in
            bytes.
        max_memory_bytes: Size of the page cache in bytes. The file has all messages.
        max_client_destinations: Number of destinations that one user, or one source, may have
            created before they are the first to give up their places; 0 is an eighth of all.
        max_client_bytes: Size of the messages stored there before they are the first to lose
            some, in bytes; 0 is an eighth of the file's size.
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
    max_client_destinations: int = key(
        "[history] client.max_destinations",
        0,
        unit="destinations",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    max_client_bytes: int = key(
        "[history] client.max_bytes", 0, unit="bytes", low=64 * KIB, high=1024 * GIB, or_zero=True
    )


class HistoryRule(NamedTuple):
    """The retention of some destinations.

    Attributes:
        pattern: The names of the destinations; ``*`` stands for any characters.
        max_count: The number of messages to keep of each destination.
        max_age_s: The age in seconds up to which messages are kept; 0 means no limit.
    """

    pattern: str
    max_count: int
    max_age_s: float = 0.0


class HistoryRules:
    """Finds the rule of a destination: the first one whose pattern matches.

    Args:
        rules: The rules, in order.
    """

    def __init__(self, rules: Iterable[HistoryRule]) -> None:
        self.rules = tuple(rules)
        self._globs = [Glob([rule.pattern]) for rule in self.rules]

    def rule_for(self, name: str) -> HistoryRule | None:
        """Return the rule of a destination, or None if it has no history."""
        for glob, rule in zip(self._globs, self.rules, strict=True):
            if name in glob:
                return rule
        return None
