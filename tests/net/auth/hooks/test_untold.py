"""How many events wait to be told, and which are given up."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from support.calls import calls
from support.examples import examples

from rtchat.net.auth.hooks.untold import Untold


def test_a_flood_costs_the_one_who_causes_it() -> None:
    untold: Untold[str] = Untold(4)
    for one in ("a1", "b1", "b2", "b3"):
        assert untold.add(one[0], one) is None
    assert untold.add("c", "c1") == "b1", "the oldest of those with the most"
    assert untold.add("b", "b4") == "b2"
    assert len(untold) == 4


def test_what_was_told_makes_room() -> None:
    untold: Untold[str] = Untold(2)
    untold.add("a", "a1")
    untold.add("a", "a2")
    untold.remove("a", "a1")
    untold.remove("a", "a1")
    untold.remove("b", "b1")
    assert len(untold) == 1
    assert untold.add("b", "b1") is None


@settings(max_examples=examples(100, 2000))
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=60))
def test_the_one_given_up_is_of_a_source_with_the_most(steps: list[tuple[str, bool]]) -> None:
    untold: Untold[int] = Untold(8)
    kept: dict[int, str] = {}
    for number, (source, is_new) in enumerate(steps):
        if not is_new:
            told = next((one for one, of in kept.items() if of == source), -1)
            untold.remove(source, told)
            kept.pop(told, None)
            continue
        kept[number] = source
        surplus = untold.add(source, number)
        assert (surplus is not None) == (len(kept) > 8)
        if surplus is not None:
            counts = Counter(kept.values())
            assert counts[kept[surplus]] == max(counts.values())
            assert surplus == min(one for one, of in kept.items() if of == kept[surplus])
            del kept[surplus]
        assert len(untold) == len(kept)


def test_many_sources_are_no_more_work() -> None:
    """A hook that is down, and a network that goes with all its clients."""
    untold: Untold[int] = Untold(5000)
    for number in range(5000):
        untold.add(str(number), number)
    assert calls(lambda: untold.add("one more", -1)) < 25
