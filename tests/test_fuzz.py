"""What clients receive depends neither on the wire, nor on how bytes are cut, nor on caches."""

from __future__ import annotations

import pytest
from support.examples import examples
from support.fuzz.compare import difference, report, ways_of
from support.fuzz.script import random_script
from support.fuzz.ways import WAYS

from rtchat.core.stomp.parser import FrameParser

pytestmark = [pytest.mark.soak]

PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_a_script_comes_out_the_same_in_every_way(part: int) -> None:
    for seed in range(part, examples(64, 4000), PARTS):
        assert report(seed, count=3) == ""


def test_every_way_is_tried() -> None:
    assert {way for seed in range(100) for way in ways_of(seed, 3)} == set(WAYS[1:])


def test_a_short_way_that_loses_a_message_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = FrameParser.same_head_bodies
    monkeypatch.setattr(FrameParser, "same_head_bodies", lambda *given: real(*given)[:-1])
    assert any(difference(random_script(seed), ways_of(seed, 3)) for seed in range(40))
