"""What holds for all tests: how many examples, how many workers, and in which order."""

from __future__ import annotations

import os

import pytest
from support.examples import load_profile

load_profile()


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers ``-n auto`` starts: one more than cores, for most live tests wait."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that no worker is left alone with one at the end.

    Those that drive a browser, which keeps the processors busy, are spread over the other live
    ones, which mostly wait. Within a file, and between files of a kind, the order stays.
    """
    ranks: dict[object, int] = {}
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        rank = 0 if "browser" in marks else 1 if marks & {"live", "slow"} else 2
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    places: dict[object, float] = {}
    for rank in range(3):
        paths = [path for path, its_rank in ranks.items() if its_rank == rank]
        for at, path in enumerate(paths):
            places[path] = at / len(paths) if rank < 2 else 1.0
    items.sort(key=lambda item: places[item.path])
