"""Counting connections in total, per target and per source."""

from __future__ import annotations

import pytest

from rtchat.net.connection.limits import ConnectionLimiter, ReachedLimit


def test_without_limits_there_are_any_number() -> None:
    limiter = ConnectionLimiter()
    for _ in range(1000):
        assert limiter.reached("192.0.2.1", "a") is None
        limiter.enter("192.0.2.1", "a")
    assert limiter.count == 1000


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize("name", ["total", "per_target", "per_source"])
def test_a_limit_is_reached_by_as_many_as_it_says(name: str, limit: int) -> None:
    limiter = ConnectionLimiter(**{name: limit})
    for _ in range(limit):
        assert limiter.reached("192.0.2.1", "a") is None
        limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") == ReachedLimit(name, limit)
    limiter.leave("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") is None


def test_each_target_and_each_source_has_its_own_number() -> None:
    limiter = ConnectionLimiter(0, 1, 1)
    limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.2", "a") == ReachedLimit("per_target", 1)
    assert limiter.reached("192.0.2.1", "b") == ReachedLimit("per_source", 1)
    assert limiter.reached("192.0.2.2", "b") is None


def test_the_total_is_named_first_and_the_target_before_the_source() -> None:
    limiter = ConnectionLimiter(1, 1, 1)
    limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") == ReachedLimit("total", 1)
    limiter = ConnectionLimiter(0, 1, 1)
    limiter.enter("192.0.2.1", "a")
    assert limiter.reached("192.0.2.1", "a") == ReachedLimit("per_target", 1)


def test_what_is_no_single_source_counts_in_total_only() -> None:
    limiter = ConnectionLimiter(3, per_source=1)
    for _ in range(3):
        assert limiter.reached("") is None
        limiter.enter("")
    assert limiter.reached("") == ReachedLimit("total", 3)


def test_nothing_is_kept_of_those_that_have_left() -> None:
    limiter = ConnectionLimiter(9, 9, 9)
    for number in range(250):
        limiter.enter(f"192.0.2.{number}", number)
        limiter.leave(f"192.0.2.{number}", number)
    assert limiter.count == 0
    assert not limiter._sources
    assert not limiter._targets
