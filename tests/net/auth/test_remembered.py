"""Right passwords of the last minutes."""

from __future__ import annotations

import gc

from twisted.internet.task import Clock

from rtchat.net.auth.remembered import Remembered


def test_only_what_was_right_is_known() -> None:
    remembered = Remembered(Clock())
    remembered.add("ada", "$hash", "secret")
    assert remembered.knows("ada", "$hash", "secret")
    assert not remembered.knows("ada", "$hash", "Secret")
    assert not remembered.knows("ada", "$other", "secret")
    assert not remembered.knows("grace", "$hash", "secret")
    assert not remembered.knows("ada", "$hashsecret", "")


def test_it_is_forgotten_after_five_minutes() -> None:
    clock = Clock()
    remembered = Remembered(clock)
    remembered.add("ada", "$hash", "secret")
    clock.advance(300)
    assert not remembered.knows("ada", "$hash", "secret")
    remembered.add("grace", "$hash", "secret")
    assert len(remembered) == 1


def test_a_use_prolongs_it() -> None:
    """It is true as long as the hash is the same, and requests come all the time."""
    clock = Clock()
    remembered = Remembered(clock)
    remembered.add("ada", "$hash", "secret")
    for _ in range(10):
        clock.advance(299)
        assert remembered.knows("ada", "$hash", "secret")
    assert not remembered.knows("ada", "$hash", "x")
    clock.advance(300)
    assert not remembered.knows("ada", "$hash", "secret")


def test_the_oldest_goes_when_there_are_too_many() -> None:
    remembered = Remembered(Clock(), max_count=2)
    for name in ("ada", "grace", "joan"):
        remembered.add(name, "$hash", "secret")
    known = [remembered.knows(name, "$hash", "secret") for name in ("ada", "grace", "joan")]
    assert known == [False, True, True]


def test_the_password_is_not_kept() -> None:
    remembered = Remembered(Clock())
    remembered.add("ada", "$hash", "a secret that is kept nowhere")
    kept = [one for one in gc.get_referents(remembered) if isinstance(one, (str, bytes))]
    assert "secret" not in repr(remembered.__dict__) + repr(kept)


def test_each_server_has_a_key_of_its_own() -> None:
    one, other = Remembered(Clock()), Remembered(Clock())
    one.add("ada", "$hash", "secret")
    other.add("ada", "$hash", "secret")
    assert one._until_s.keys().isdisjoint(other._until_s)
