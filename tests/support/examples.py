"""How many examples the property tests look at: a short form for every run, a long one for soak.

``make test`` and ``.ci/run`` run each property test in its short form; ``make soak`` sets
``RTCHAT_SOAK=1`` and runs the same tests in their long form. ``RTCHAT_EXAMPLES=N`` sets the number
for every one of them, whatever the form.
"""

from __future__ import annotations

import os

from hypothesis import settings

__all__ = ["IS_SOAK", "examples", "load_profile"]

IS_SOAK = os.environ.get("RTCHAT_SOAK") == "1"
"""Whether the tests run in their long form."""

_SHORT, _LONG = 100, 2000
"""For property tests that ask for no number of their own; 100 is Hypothesis's default."""


def examples(short: int, long: int) -> int:
    """Return how many examples a test looks at now.

    Args:
        short: In every run.
        long: In ``make soak``.
    """
    return int(os.environ.get("RTCHAT_EXAMPLES") or (long if IS_SOAK else short))


def load_profile() -> None:
    """Set what holds for property tests without settings of their own.

    A run in parallel on a busy machine says nothing about the time of one example, so there is no
    deadline here; tests of the time that something takes set one. With ``CI=true`` Hypothesis's
    own profile ``ci`` stays in force underneath: the same examples in each run.
    """
    settings.register_profile("rtchat", max_examples=examples(_SHORT, _LONG), deadline=None)
    settings.load_profile("rtchat")
