"""The user that this process runs as, and whether another process is a server of Twisted's."""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path

__all__ = ["is_server", "process_user"]

_INTERPRETER = re.compile(rb"python|pypy|twist|rtchat", re.I)
_SERVER = re.compile(rb"twist|rtchat|\.tac\b", re.I)


def process_user() -> str:
    """Return the name of the user that this process runs as, for error texts."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container the user may have only a number
        return f"user {os.geteuid()}"


def is_server(pid: int) -> bool:
    """Return whether a process may be a server of Twisted's, and is not this process.

    A process id that was written down says little once its process has gone: the next one may
    have it, and in a container the next life of the same server has it.
    """
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it belongs to another user
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return True  # a system without /proc, or one that hides others' processes
    return bool(_INTERPRETER.search(os.path.basename(words[0])) and any(map(_SERVER.search, words)))
