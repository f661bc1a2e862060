"""What the selectors and patterns of a session cost others, within limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rtchat.core.broker.destinations import words_of
from rtchat.core.broker.patterns import is_pattern
from rtchat.core.broker.principal import Principal, client_key
from rtchat.core.broker.shares import Shares
from rtchat.core.broker.subscription import SubscribeOptions, Subscription
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded

__all__ = ["Quota", "count_less", "count_more", "too_many"]

_PATTERN_STEPS = 16
"""What a pattern takes beside its words: each name that it matches is delivered to one more."""


class Quota:
    """Counts what each message costs more because of a session's selectors and patterns.

    Args:
        limits: The limits of the session.
        shares: What users and sources have, all of their sessions together.
        principal: The session.

    Attributes:
        selector_steps: How many steps its selectors take for a message.
    """

    __slots__ = (
        "_key",
        "_limits",
        "_pattern_steps",
        "_principal",
        "_shares",
        "selector_steps",
    )

    def __init__(self, limits: Limits, shares: Shares, principal: Principal) -> None:
        self._limits = limits
        self._shares = shares
        self._principal = principal
        self._key = ""
        self._pattern_steps = 0
        self.selector_steps = 0

    def take(self, destination: str, options: SubscribeOptions) -> None:
        """Count a new subscription.

        Raises:
            LimitExceeded: It is over a limit.
        """
        selector, pattern = _steps_of(destination, options)
        limit = self._limits.max_selector_steps
        if selector and self.selector_steps + selector > limit:
            raise LimitExceeded(
                f"selectors over the limit of {limit} steps",
                f"This one takes {selector} steps for a message, the open ones "
                f"{self.selector_steps}. The limit is selector.max_steps of the server, for one "
                "session.",
            )
        if selector or pattern:
            if not self._key:
                principal = self._principal
                self._key = client_key(principal) or f"session {principal.id}"
            self._shares.add(self._key, selector, pattern)
            self.selector_steps += selector
            self._pattern_steps += pattern

    def give_back(self, destination: str, options: SubscribeOptions) -> None:
        """Count a subscription no more: it has ended."""
        selector, pattern = _steps_of(destination, options)
        if selector or pattern:
            self._shares.remove(self._key, selector, pattern)
            self.selector_steps -= selector
            self._pattern_steps -= pattern

    def give_all_back(self) -> None:
        """Count no subscription any more: the session has ended."""
        if self._key:
            self._shares.remove(self._key, self.selector_steps, self._pattern_steps)
            self.selector_steps = self._pattern_steps = 0


def count_more(
    counts: Counter[str] | None, open_ones: Iterable[Subscription], name: str, limits: Limits
) -> Counter[str]:
    """Count one more subscription of a destination.

    Args:
        counts: How many of each are open; None before the first count.
        open_ones: The open subscriptions, temporary queues not included: each has only one.
        name: The destination.
        limits: The limits of the session.

    Returns:
        How many of each are open now.

    Raises:
        LimitExceeded: There are as many of it as are allowed.
    """
    if counts is None:
        counts = Counter(one.destination for one in open_ones)
    if counts[name] >= limits.max_of_destination:
        raise _too_many_of_destination(limits)
    counts[name] += 1
    return counts


def count_less(counts: Counter[str], name: str) -> None:
    """Count one less of a name."""
    counts[name] -= 1
    if counts[name] <= 0:
        del counts[name]


def too_many(limits: Limits) -> LimitExceeded:
    """Return the error for too many subscriptions."""
    return LimitExceeded(
        f"more than {limits.max_subscriptions} subscriptions",
        "The limit is subscription.max_count of the server, for one session.",
    )


def _too_many_of_destination(limits: Limits) -> LimitExceeded:
    """Return the error for too many subscriptions of one destination."""
    return LimitExceeded(
        f"more than {limits.max_of_destination} subscriptions of one destination",
        "The limit is destination.max_subscriptions of the server, for one session. One "
        "subscription is enough: the client can give each message to many readers.",
    )


def _steps_of(destination: str, options: SubscribeOptions) -> tuple[int, int]:
    """Return what a selector and a pattern take, in steps."""
    selector = 0 if options.selector is None else options.selector.steps
    if not is_pattern(destination):
        return selector, 0
    return selector, _PATTERN_STEPS + len(words_of(destination))
