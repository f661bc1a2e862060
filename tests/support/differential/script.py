"""Random scripts: what two consumers and a publisher do, without saying with which message."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

__all__ = ["KINDS", "MODES", "Script", "Step", "random_script"]

MODES = ("auto", "client", "client", "client-individual", "client-individual")
"""The ``ack`` headers, the interesting ones twice."""

_WEIGHTS = {
    "send": 8,
    "subscribe": 4,
    "ack": 6,
    "nack": 2,
    "unsubscribe": 2,
    "settle again": 2,
    "begin": 3,
    "send in transaction": 3,
    "ack in transaction": 5,
    "nack in transaction": 2,
    "commit": 2,
    "abort": 1,
    "disconnect": 1,
    "drop": 1,
}
KINDS = tuple(_WEIGHTS)
"""All kinds of steps."""


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        what: One of the kinds above.
        session: ``A`` or ``B``, who does it.
        choices: Numbers from 0 to 1 that choose among what is possible when the step is played.
    """

    what: str
    session: str
    choices: tuple[float, float, float]

    def pick(self, index: int, count: int) -> int:
        """Return a number below ``count``."""
        return min(count - 1, int(self.choices[index] * count))


@dataclass(frozen=True)
class Script:
    """The steps of one run.

    Attributes:
        seed: What it was made from.
        steps: The steps.
        versions: The STOMP version of each session.
    """

    seed: int
    steps: tuple[Step, ...]
    versions: dict[str, str]


def random_script(seed: int, length: int = 32) -> Script:
    """Return the script of a seed."""
    random = Random(seed)
    whats = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=length)
    steps = tuple(
        Step(what, random.choice("AB"), (random.random(), random.random(), random.random()))
        for what in whats
    )
    return Script(seed, steps, {name: random.choice(("1.1", "1.2")) for name in "AB"})
