"""Unix sockets of servers that have gone, and of those that run."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from twisted.internet.error import CannotListenError

from rtchat.server import left_sockets
from rtchat.server.left_sockets import remove_left_socket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


def leave(path: Path, owner: str | None = None) -> None:
    """Leave a socket, with a lock if there is an owner."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    if owner is not None:
        os.symlink(owner, f"{path}.lock")


def locked(path: Path) -> CannotListenError:
    return CannotListenError(None, os.fsencode(path), "Cannot acquire lock")


def taken(path: Path) -> CannotListenError:
    return CannotListenError(None, str(path), OSError(errno.EADDRINUSE, "Address already in use"))


def test_a_socket_with_the_lock_of_this_process_was_left_by_another_life(path: Path) -> None:
    leave(path, str(os.getpid()))
    assert remove_left_socket(locked(path))
    assert list(path.parent.iterdir()) == []


def test_a_socket_without_lock_at_which_nothing_listens_was_left(path: Path) -> None:
    leave(path)
    assert remove_left_socket(taken(path))
    assert list(path.parent.iterdir()) == []


def test_a_lock_without_socket_was_left(path: Path) -> None:
    os.symlink(str(os.getpid()), f"{path}.lock")
    assert remove_left_socket(locked(path))
    assert list(path.parent.iterdir()) == []


def test_a_file_that_is_no_socket_stays_and_what_is_named_like_its_lock(path: Path) -> None:
    lock = Path(f"{path}.lock")
    for file in (path, lock):
        file.write_text("of another program")
    assert not remove_left_socket(taken(path))
    assert path.exists()
    assert lock.exists()


def test_a_socket_at_which_a_program_listens_stays(path: Path) -> None:
    os.symlink(str(os.getpid()), f"{path}.lock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        assert not remove_left_socket(locked(path))
        assert not remove_left_socket(taken(path))
    assert path.exists()


def test_the_lock_of_another_server_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have the lock and not listen yet."""
    monkeypatch.setattr(left_sockets, "is_server", lambda pid: True)
    leave(path, "77")
    assert not remove_left_socket(locked(path))
    assert path.exists()


@pytest.mark.parametrize("owner", [None, "what"])
def test_a_lock_that_cannot_be_read_stays(path: Path, owner: str | None) -> None:
    leave(path, owner)
    assert not remove_left_socket(locked(path))
    assert path.exists()


def test_a_file_that_is_no_socket_stays(path: Path) -> None:
    path.write_text("notes")
    remove_left_socket(taken(path))
    assert path.read_text() == "notes"


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("a bug"),
        CannotListenError("127.0.0.1", 9000, OSError(errno.EADDRINUSE, "Address already in use")),
    ],
)
def test_ports_have_no_file(error: BaseException | None) -> None:
    assert not remove_left_socket(error)
