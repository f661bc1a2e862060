"""Plays scripts in several ways and says where what clients receive is not the same."""

from __future__ import annotations

from dataclasses import replace
from difflib import unified_diff
from random import Random

from support.fuzz.script import Script, random_script, with_rights
from support.fuzz.stage import Transcript, play
from support.fuzz.ways import USUAL, WAYS, Way

__all__ = ["difference", "report", "reports", "scripts_of", "smallest", "ways_of"]


def ways_of(seed: int, count: int) -> list[Way]:
    """Return some of the ways, others for each seed, beside the usual one.

    Those of single bytes take longest, and come half as often as the others.
    """
    random, others = Random(seed), [way for way in WAYS if way != USUAL]
    chosen: list[Way] = []
    while len(chosen) < min(count, len(others)):
        way = random.choice(others)
        if way not in chosen and (way.cuts != "bytes" or random.random() < 0.5):
            chosen.append(way)
    return chosen


def difference(script: Script, ways: list[Way]) -> tuple[Way, str] | None:
    """Return the first way whose transcript is not that of the usual way, and where they part."""
    usual = play(script, USUAL)
    for way in ways:
        other = play(script, way)
        if other != usual:
            return way, _first_difference(script, usual, other)
    return None


def smallest(script: Script, way: Way) -> Script:
    """Return the script with as many steps left out as the difference bears."""
    at = 0
    while at < len(script.steps):
        shorter = replace(script, steps=script.steps[:at] + script.steps[at + 1 :])
        if difference(shorter, [way]) is None:
            at += 1
        else:
            script = shorter
    return script


def scripts_of(seed: int) -> list[Script]:
    """Return the script of a seed; of every other seed the same with rights, too."""
    script = random_script(seed)
    return [script, with_rights(script)] if seed % 2 else [script]


def report(seed: int, count: int) -> str:
    """Return how a script of a seed comes out differently, "" if none does."""
    for script in scripts_of(seed):
        found = difference(script, ways_of(seed, count))
        if found is not None:
            return _told(script, found[0])
    return ""


def _told(script: Script, way: Way) -> str:
    script = smallest(script, way)
    found = difference(script, [way])
    assert found is not None
    hello = "\n".join(f"  {name}: {script.hello[name]!r}" for name in script.hello)
    steps = "\n".join(f"  {number}: {step}" for number, step in enumerate(script.steps))
    rights = "" if script.rights is None else f"\n  rights: {script.rights}"
    head = f"seed {script.seed}, {way}; the smallest script:\n{hello}{rights}"
    return f"{head}\n{steps}\n{found[1]}"


def reports(count: int, scripts: int, first: int) -> list[str]:
    """Return the reports of so many scripts, from a seed on, that come out differently."""
    return [text for seed in range(first, first + scripts) if (text := report(seed, count))]


def _first_difference(script: Script, usual: Transcript, other: Transcript) -> str:
    for number, (one, two) in enumerate(zip(usual, other, strict=True)):
        if one != two:
            lines = unified_diff(one, two, "in the usual way", "in this way", lineterm="")
            return "\n".join([f"  step {number}:", *(f"    {line}" for line in lines)])
    return ""
