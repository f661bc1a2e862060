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


class Place:
    """A queue, as far as memory is concerned."""

    def __init__(self, size: int) -> None:
        self.bytes = size
        self.is_emptied = False


def test_the_client_that_has_added_most_is_chosen_once_the_limit_is_exceeded(
    budget: Budget,
) -> None:
    pressure, place = MemoryPressure[str](budget), Place(900)
    budget.used = 900
    pressure.note_growth("a", {place: 60})
    pressure.note_growth("b", {place: 50})
    assert pressure.take_worst() is None
    budget.used = 1001
    pressure.note_growth("b", {place: 20})
    assert pressure.take_worst() == ("b", 70)
    assert pressure.take_worst() == ("a", 60)
    assert pressure.take_worst() is None


def test_what_was_taken_out_again_does_not_count(budget: Budget) -> None:
    pressure, emptied, full = MemoryPressure[str](budget), Place(10), Place(990)
    budget.used = 1001
    pressure.note_growth("busy", {emptied: 5000})
    pressure.note_growth("filler", {full: 40})
    assert pressure.take_worst() == ("filler", 40)
    emptied.bytes = 0
    assert pressure.take_worst() is None


def test_with_very_many_places_a_client_takes_no_more_memory(budget: Budget) -> None:
    pressure = MemoryPressure[str](budget)
    budget.used = 1001
    for _ in range(1000):
        pressure.note_growth("a", {Place(1): 3})
    assert len(pressure.growth["a"]) < 100
    assert pressure.take_worst() == ("a", 64 * 1 + 936 * 3)


def test_what_has_grown_is_told_once(budget: Budget) -> None:
    place = Place(1)
    budget.note_grown(place, 3)
    budget.note_grown(place, 4)
    assert budget.take_grown() == {place: 7}
    assert budget.take_grown() == {}


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
