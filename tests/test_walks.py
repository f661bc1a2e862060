"""How many files a frame enters: few, and none of a feature that it has nothing to do with."""

from __future__ import annotations

import pytest

from benchmarks.walks import WALKS


@pytest.mark.parametrize(
    "name, most",
    [
        ("first SEND to a plain topic", 10),
        ("third SEND with the same head", 8),
        ("SEND to a topic with a history", 18),
    ],
)
def test_a_frame_enters_few_files(name: str, most: int) -> None:
    files = WALKS[name]().files
    assert len(files) <= most, "\n".join(files)


@pytest.mark.parametrize("name", [name for name in WALKS if "history" not in name])
def test_a_plain_send_enters_no_file_of_the_chat_or_the_history(name: str) -> None:
    files = WALKS[name]().files
    assert files
    assert not [file for file in files if "chat/" in file or "history/" in file]


def test_every_walk_is_held() -> None:
    assert len(WALKS) == 3
