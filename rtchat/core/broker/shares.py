"""What the subscriptions of each user or source cost others, all of its sessions together."""

from __future__ import annotations

from rtchat.core.broker.limits import BrokerLimits
from rtchat.errors import LimitExceeded

__all__ = ["Shares"]


class Shares:
    """Counts the steps that selectors and patterns take for a message, by user or source.

    The sum over many sessions has a limit: every publisher of a topic pays for its selectors, and
    every publisher for patterns.

    Args:
        limits: The limits.
    """

    __slots__ = ("_limits", "_patterns", "_selectors")

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits
        self._selectors: dict[str, int] = {}
        self._patterns: dict[str, int] = {}

    def add(self, key: str, selector_steps: int, pattern_steps: int) -> None:
        """Count a subscription.

        Args:
            key: The user or source.
            selector_steps: The steps that its selector takes for a message.
            pattern_steps: The steps that its pattern takes for a new name.

        Raises:
            LimitExceeded: All of them together would take too many.
        """
        limit = self._limits.max_shared_selector_steps
        selectors = self._selectors.get(key, 0) + selector_steps
        if selector_steps and selectors > limit:
            raise LimitExceeded(
                f"selectors over the limit of {limit} steps for one user or address",
                f"With this one they take {selectors} steps for a message, those of other sessions "
                "included. The limit is selector.max_shared_steps of the server.",
            )
        limit = self._limits.max_shared_pattern_steps
        patterns = self._patterns.get(key, 0) + pattern_steps
        if pattern_steps and patterns > limit:
            raise LimitExceeded(
                f"patterns over the limit of {limit} steps for one user or address",
                f"With this one they take {patterns} steps for a name, those of other sessions "
                "included. The limit is pattern.max_shared_steps of the server.",
            )
        if selector_steps:
            self._selectors[key] = selectors
        if pattern_steps:
            self._patterns[key] = patterns

    def remove(self, key: str, selector_steps: int, pattern_steps: int) -> None:
        """Count subscriptions no more."""
        for counts, steps in ((self._selectors, selector_steps), (self._patterns, pattern_steps)):
            if steps:
                counts[key] -= steps
                if not counts[key]:
                    del counts[key]
