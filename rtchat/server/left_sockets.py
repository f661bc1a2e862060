"""Unix sockets that a killed server has left in the file system, so that its next life can start.

Twisted marks a socket with a link to the process that listens on it, and refuses the path while a
process has that number. In a container the next life of the server has it, and elsewhere any other
program may.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

from twisted.internet.error import CannotListenError

from rtchat.server.process import is_server
from rtchat.text import parse_digits

__all__ = ["remove_left_socket"]


def remove_left_socket(error: BaseException | None) -> bool:
    """Remove the Unix socket that could not be opened, if no program listens there any more.

    Args:
        error: What opening the port failed with.

    Returns:
        Whether it was removed, so that another try may succeed.
    """
    if not isinstance(error, CannotListenError) or not isinstance(error.port, (str, bytes)):
        return False
    path = os.fsdecode(error.port)
    is_taken = getattr(error.socketError, "errno", None) == errno.EADDRINUSE
    if not (is_taken or _has_left_lock(path)) or _is_other_file(path) or _is_listening(path):
        return False
    for left in (f"{path}.lock", path):
        with suppress(OSError):
            os.unlink(left)
    return True


def _is_other_file(path: str) -> bool:
    """Return whether something that is no socket has the path."""
    try:
        return not stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def _has_left_lock(path: str) -> bool:
    """Return whether the lock of a socket names a process that is no other server."""
    try:
        owner = parse_digits(os.readlink(f"{path}.lock"), 10)
    except OSError:
        return False
    return owner is not None and not is_server(owner)


def _is_listening(path: str) -> bool:
    """Return whether a program answers at a Unix socket, or might."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True
