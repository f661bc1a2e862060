"""What the selectors and patterns of a user or source take is counted, and forgotten."""

from __future__ import annotations

import pytest

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.shares import Shares
from rtchat.errors import LimitExceeded


def test_what_is_refused_is_not_counted() -> None:
    shares = Shares(BrokerLimits(max_shared_selector_steps=100, max_shared_pattern_steps=200))
    shares.add("a", 60, 0)
    shares.add("a", 0, 150)
    with pytest.raises(LimitExceeded):
        shares.add("a", 50, 10)
    with pytest.raises(LimitExceeded):
        shares.add("a", 10, 60)
    shares.add("a", 40, 50)
    shares.add("b", 100, 200)
    shares.remove("a", 100, 200)
    shares.add("a", 100, 0)
    shares.remove("a", 100, 0)
    shares.remove("b", 100, 200)
    assert shares._selectors == shares._patterns == {}


def test_at_the_limit_a_plain_subscription_is_free() -> None:
    shares = Shares(BrokerLimits(max_shared_selector_steps=100))
    shares.add("a", 100, 0)
    shares.add("a", 0, 0)
