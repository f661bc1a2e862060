"""A bounded number of places, and turns of sources."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rtchat.net.auth.hooks.line import Places, Waiting


def test_sources_take_turns() -> None:
    places = Places(1)
    began: list[str] = []
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        places.enter(name[0], lambda name=name: began.append(name))  # type: ignore[misc]
    while places.taken:
        places.leave(began[-1][0])
    assert began == ["a1", "a2", "b1", "c1", "a3", "c2"]


def test_one_that_has_given_up_is_passed_over() -> None:
    places = Places(1)
    began: list[str] = []
    first = places.enter("a", lambda: began.append("first"))
    second = places.enter("b", lambda: began.append("second"))
    places.enter("b", lambda: began.append("third"))
    places.give_up(first)
    places.give_up(second)
    places.give_up(second)
    places.leave("a")
    assert began == ["first", "third"]
    assert (places.taken, places.waiting) == (1, 0)


def test_one_that_leaves_at_once_needs_no_depth() -> None:
    places = Places(1)
    began: list[int] = []
    places.enter("a", lambda: None)
    for number in range(5000):

        def start(number: int = number) -> None:
            began.append(number)
            places.leave("a")

        places.enter("a", start)
    places.leave("a")
    assert len(began) == 5000
    assert places.taken == 0


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from(["enter", "leave", "give up"]), st.integers(0, 3))),
)
def test_never_more_than_there_are_and_no_place_is_free_in_vain(
    count: int, steps: list[tuple[str, int]]
) -> None:
    places = Places(count)
    most = (count + 1) // 2
    taken: Counter[str] = Counter()
    waiting: dict[Waiting, str] = {}
    begun: set[Waiting] = set()
    for step, number in steps:
        source = f"source{number}"
        if step == "enter":
            mine: list[Waiting] = []

            def start(source: str = source, mine: list[Waiting] = mine) -> None:
                taken[source] += 1
                begun.update(mine)
                mine.append(Waiting("", lambda: None))

            one = places.enter(source, start)
            if mine:
                continue
            mine.append(one)
            waiting[one] = source
        elif step == "leave" and taken[source]:
            taken[source] -= 1
            places.leave(source)
        elif step == "give up":
            for one in [one for one, its in waiting.items() if its == source and one not in begun]:
                places.give_up(one)
                del waiting[one]
                break
        for one in begun & waiting.keys():
            del waiting[one]
        assert places.taken == taken.total() <= count
        assert max(taken.values(), default=0) <= most
        assert places.waiting == len(waiting)
        if places.taken < count:
            assert all(taken[its] == most for its in waiting.values())
