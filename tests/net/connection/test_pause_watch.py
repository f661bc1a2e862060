"""Real connections that are not read: their end is noticed, and nothing else is."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from twisted.internet.task import Clock

from rtchat.net.connection.pause_watch import PauseWatch


class Transport:
    """What the watch takes of a transport."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection


class Paused:
    """Two ends of a connection; ours is paused.

    Attributes:
        ends: What was reported: for each end, whether the connection broke.
        probes: How often something should have been sent.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.watch = PauseWatch(self.clock)
        self.ends: list[bool] = []
        self.probes = 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.theirs = socket.create_connection(listener.getsockname())
            self.ours, _ = listener.accept()
        self.transport = Transport(self.ours)

    def pause(self) -> None:
        self.watch.watch(self.transport, self.ends.append, self._probe)

    def _probe(self) -> None:
        self.probes += 1

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(1)

    def reset(self) -> None:
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.theirs.close()

    def close(self) -> None:
        self.theirs.close()
        self.ours.close()


@pytest.fixture
def paused() -> Iterator[Paused]:
    paused = Paused()
    yield paused
    paused.close()


def finish(paused: Paused) -> None:
    paused.theirs.close()


def half_close(paused: Paused) -> None:
    paused.theirs.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("unread", [b"", b"not read"])
@pytest.mark.parametrize(
    "end, is_broken", [(finish, False), (half_close, False), (Paused.reset, True)]
)
def test_an_end_is_reported_once(
    paused: Paused, end: Callable[[Paused], None], is_broken: bool, unread: bytes
) -> None:
    paused.theirs.sendall(unread)
    paused.pause()
    paused.look(3)
    assert paused.ends == []
    end(paused)
    paused.look()
    assert paused.ends == [is_broken]
    paused.look(3)
    assert paused.ends == [is_broken]


def test_an_end_before_the_pause_is_reported_too(paused: Paused) -> None:
    finish(paused)
    paused.pause()
    paused.look()
    assert paused.ends == [False]


def test_without_a_file_to_ask_with_it_asks_later(
    paused: Paused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def epoll() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    finish(paused)
    paused.pause()
    with monkeypatch.context() as patch:
        patch.setattr("select.epoll", epoll)
        paused.look(2)
    assert paused.ends == []
    paused.look()
    assert paused.ends == [False]


def test_what_comes_is_no_end(paused: Paused) -> None:
    paused.pause()
    paused.theirs.sendall(b"more")
    paused.look(3)
    assert paused.ends == []


def test_a_connection_that_is_read_again_is_not_looked_at(paused: Paused) -> None:
    paused.pause()
    paused.look()
    paused.watch.forget(paused.transport)
    finish(paused)
    paused.look(3)
    assert paused.ends == []


def test_a_short_pause_asks_the_system_nothing(paused: Paused) -> None:
    paused.pause()
    paused.watch.forget(paused.transport)
    assert paused.watch._poll is None
    paused.look()
    assert paused.clock.getDelayedCalls() == []


def test_after_the_last_one_nothing_is_left(paused: Paused) -> None:
    paused.pause()
    paused.look()
    paused.watch.lost(paused.transport)
    assert paused.clock.getDelayedCalls() == []
    assert paused.watch._poll is None


def test_a_long_pause_is_probed_now_and_then(paused: Paused) -> None:
    paused.pause()
    paused.look(20)
    assert 3 <= paused.probes <= 4


def test_a_closed_socket_does_no_harm(paused: Paused) -> None:
    paused.ours.close()
    paused.pause()
    paused.look()
    paused.watch.lost(paused.transport)
    assert paused.ends == []


def test_a_bug_while_ending_one_leaves_the_others(paused: Paused) -> None:
    def bug(_: bool) -> None:
        raise RuntimeError

    other = Transport(paused.ours.dup())
    paused.watch.watch(other, bug)
    paused.pause()
    finish(paused)
    paused.look()
    assert paused.ends == [False]
    other.socket.close()
