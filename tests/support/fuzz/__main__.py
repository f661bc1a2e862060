"""``make fuzz``: random scripts, played in several ways, until one comes out differently.

make fuzz                                 20,000 scripts
make fuzz ARGS='--scripts 100000'         so many
make fuzz ARGS='--first 4711 --scripts 1' one, again
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context

from support.fuzz.compare import report, reports

__all__ = ["main"]

_AT_ONCE = 10
_SAY_EVERY_S = 10.0


def main(arguments: Sequence[str]) -> int:
    """Play the scripts; return the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    scripts = int(os.environ.get("RTCHAT_EXAMPLES") or 20_000)
    parser.add_argument("--scripts", type=int, default=scripts, help="how many scripts")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first one")
    parser.add_argument("--ways", type=int, default=3, help="ways to play each in, of 17")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    if options.scripts == 1:
        text = report(options.first, options.ways)
        sys.stdout.write(f"{text or 'no difference'}\n")
        return bool(text)
    begun_s = said_s = time.monotonic()
    firsts = range(options.first, options.first + options.scripts, _AT_ONCE)
    with get_context("spawn").Pool(options.jobs) as pool:
        for number, texts in enumerate(
            pool.imap(partial(reports, options.ways, _AT_ONCE), firsts), 1
        ):
            done, now_s = number * _AT_ONCE, time.monotonic()
            if texts:
                sys.stdout.write("\n\n".join(texts) + "\n")
                return 1
            if now_s - said_s > _SAY_EVERY_S or number == len(firsts):
                said_s = now_s
                rate = done / (now_s - begun_s)
                sys.stdout.write(f"{done} scripts, {rate:.1f} a second, no difference\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
