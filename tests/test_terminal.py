"""Standard output that breaks."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from rtchat.terminal import Output


class Reactor:
    """Notes what it watches.

    Attributes:
        watched: Whether each file is a pipe, when its watch begins and ends.
    """

    def __init__(self) -> None:
        self.watched: list[bool] = []

    def addReader(self, output: Output) -> None:  # noqa: N802
        self.watched.append(stat.S_ISFIFO(os.fstat(output.fileno()).st_mode))

    removeReader = addReader  # noqa: N815


def test_the_watch_of_a_pipe_ends_before_the_pipe_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, write = os.pipe()
    reactor = Reactor()
    with os.fdopen(write, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        output = Output()
        output.watch(reactor, lambda _: None)
        os.close(read)
        with pytest.raises(SystemExit) as end:
            output.write(b"x")
        assert end.value.code == 141
        assert reactor.watched == [True, True]
