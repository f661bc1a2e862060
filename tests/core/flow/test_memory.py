"""The memory budget, and which client is closed when memory is used up."""

from __future__ import annotations

import pytest

from rtchat.core.flow.memory import Budget, MemoryPressure


@pytest.fixture
def budget() -> Budget:
    return Budget(1000)


@pytest.mark.parametrize(
    "used, is_near, is_over",
    [
        (0, False, False),
        (849, False, False),
        (850, True, False),
        (1000, True, False),
        (1001, True, True),
    ],
)
def test_it_is_near_at_85_percent_and_over_above_the_limit(
    budget: Budget, used: int, is_near: bool, is_over: bool
) -> None:
    budget.used = used
    assert (budget.is_near, budget.is_over) == (is_near, is_over)


def test_without_a_limit_it_is_neither() -> None:
    budget = Budget(0)
    budget.used = 1 << 50
    assert (budget.is_near, budget.is_over) == (False, False)


def test_the_client_that_has_added_most_is_chosen_once_the_limit_is_exceeded(
    budget: Budget,
) -> None:
    pressure = MemoryPressure[str](budget)
    budget.used = 900
    assert pressure.note_growth("a", 60) is None
    assert pressure.note_growth("b", 50) is None
    budget.used = 1001
    assert pressure.note_growth("b", 20) == ("b", 70)
    assert pressure.growth == {"a": 60}


def test_clients_without_a_backlog_are_not_chosen(budget: Budget) -> None:
    budget.used = 2000
    assert MemoryPressure[str](budget).at_fault({}, 10) == []
    assert MemoryPressure[str](budget).at_fault({"a": 5, "b": 3}, 10) == []


@pytest.mark.parametrize(
    "used, held, chosen",
    [
        (1200, {"a": 400, "b": 250}, "a"),  # clients hold most of it
        (1200, {"a": 100, "b": 150}, "b"),  # without them there would be enough
        (1200, {"a": 90, "b": 80, "c": 60}, ""),  # enough without them, but each is harmless
        (2000, {"a": 400, "b": 100}, ""),  # queues are why
        (1200, {"a": 101, "b": 110, "c": 120}, "cb"),  # as many as it takes
        (1000, {"a": 900}, ""),  # nothing is over
    ],
)
def test_those_for_which_most_is_held_are_chosen_if_that_is_the_reason(
    budget: Budget, used: int, held: dict[str, int], chosen: str
) -> None:
    budget.used = used
    assert MemoryPressure[str](budget).at_fault(held, 100) == list(chosen)
