"""Who is silent and lives, by what the system says was taken."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace

import pytest

from rtchat.net.connection.liveness import Silence, Taken, taken_by_peer, unread_bytes

ALLOWED_S = 20.0
KIB = 1024
MIB = 1024 * KIB

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what was taken")


class Peer:
    """A peer that was asked something at 0, and was heard before."""

    def __init__(self, total: int = 0, left: int = 0) -> None:
        self.has_taken: Taken | None = Taken(total, left)
        self.silence = Silence(self)
        self.silence.note(-2, -10.0)
        self.silence.note(-1, -5.0)

    def taken(self) -> Taken | None:
        return self.has_taken

    def left_s(self, now_s: float) -> float:
        return self.silence.left_s(now_s, 0.0, ALLOWED_S, -5.0)


def test_without_a_byte_the_time_is_what_is_allowed() -> None:
    peer = Peer()
    assert peer.left_s(5) == 15
    assert peer.left_s(20) == 0


def test_where_the_system_does_not_say_the_time_is_what_is_allowed() -> None:
    peer = Peer()
    peer.has_taken = None
    assert peer.left_s(19) == 1
    assert peer.left_s(21) == -1


def test_a_peer_that_takes_bytes_lives_as_long_as_it_does() -> None:
    peer = Peer(0, 4 * MIB)
    for step in range(1, 10):
        peer.has_taken = Taken(step * 400 * KIB, 4 * MIB - step * 400 * KIB)
        assert peer.left_s(step * 20) > 0
    # Then it takes no more, though bytes wait.
    assert peer.left_s(200) <= 0


def test_a_peer_that_takes_nothing_of_what_waits_is_gone() -> None:
    peer = Peer(5 * MIB, 4 * MIB)
    assert peer.left_s(20) <= 0


def test_a_peer_whose_system_does_not_take_a_ping_is_gone_at_once() -> None:
    # However much was taken before: this is a machine that has vanished.
    peer = Peer(0, 0)
    peer.has_taken = Taken(8 * MIB, 6)
    peer.left_s(1)
    assert peer.left_s(40) <= 0


def test_a_peer_that_has_taken_much_may_still_read_it() -> None:
    peer = Peer(0, 0)
    peer.has_taken = Taken(4 * MIB, 0)
    peer.silence.note(0, -5.0)
    # 128 s for 4 MiB at 32 KiB/s, and the time for an answer after it.
    assert peer.left_s(140) > 0
    assert peer.left_s(149) <= 0


def test_what_a_peer_had_taken_before_it_was_heard_gives_it_no_time() -> None:
    peer = Peer(4 * MIB, 0)
    assert peer.left_s(21) <= 0


def test_a_ping_that_a_system_takes_is_no_life_of_its_program() -> None:
    peer = Peer(0, 0)
    for ping in range(1, 5):
        peer.has_taken = Taken(ping * 2, 2)
        peer.silence.note(ping * 5 - 1, -5.0)
        peer.has_taken = Taken(ping * 2 + 2, 0)
        peer.silence.note(ping * 5, -5.0)
    assert peer.left_s(21) <= 0


def test_the_time_to_read_has_an_end() -> None:
    peer = Peer(0, 0)
    peer.has_taken = Taken(1 << 40, 0)
    assert peer.left_s(500) > 0
    assert peer.left_s(540) <= 0


@linux
def test_the_system_says_what_a_tcp_peer_has_taken_and_what_is_unread() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        server, _ = listener.accept()
        with server:
            transport = SimpleNamespace(socket=server)
            before = taken_by_peer(transport)
            assert before is not None
            server.sendall(bytes(1000))
            while len(client.recv(2000, socket.MSG_PEEK)) < 1000:
                pass
            after = taken_by_peer(transport, 70)
            assert after is not None
            assert after.total - before.total + (after.left - 70) == 1000
            assert unread_bytes(SimpleNamespace(socket=client)) == 1000
    assert taken_by_peer(transport) is None
    assert unread_bytes(transport) == 0


@linux
def test_a_unix_peer_takes_bytes_by_reading_them() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = SimpleNamespace(socket=ours)
        ours.sendall(bytes(1000))
        before = taken_by_peer(transport)
        theirs.recv(1000)
        after = taken_by_peer(transport)
        assert before is not None
        assert after is not None
        assert after.total > before.total
        assert after.left == 0


def test_a_transport_without_a_socket_says_nothing() -> None:
    assert taken_by_peer(SimpleNamespace()) is None
