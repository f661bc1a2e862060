"""What clients receive depends neither on the wire, nor on how bytes are cut, nor on caches."""

from __future__ import annotations

import pytest
from support.examples import examples
from support.fuzz.compare import difference, report, scripts_of, ways_of
from support.fuzz.script import Change, random_script, with_rights
from support.fuzz.ways import WAYS, Way

from rtchat.core.broker.rights import Rights
from rtchat.core.session.asking import AskingSession
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


def test_a_script_with_rights_is_the_one_without_them_and_more() -> None:
    for seed in range(1, 40, 2):
        plain, other = scripts_of(seed)
        assert plain == random_script(seed)
        assert tuple(one for one in other.steps if not isinstance(one, Change)) == plain.steps
        assert other.rights is not None
        assert plain.rights is None


def test_a_right_that_sessions_share_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that another session has used is no right to use it."""
    real = AskingSession._use

    def use(session: AskingSession, rights: Rights) -> None:
        real(session, rights)
        session.fast = None

    monkeypatch.setattr(AskingSession, "_use", use)
    scripts = (with_rights(random_script(seed)) for seed in range(200))
    long_way = Way("tcp", "whole", has_short_ways=False)
    assert any(difference(script, [long_way]) for script in scripts)
