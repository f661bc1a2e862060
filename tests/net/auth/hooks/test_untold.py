"""How many events wait to be told, and which are given up."""

from __future__ import annotations

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
