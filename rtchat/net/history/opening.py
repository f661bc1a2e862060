"""The lock beside the history file, its kind, and what to do if the file cannot be opened."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from rtchat.errors import StoreUnusable

__all__ = ["APPLICATION_ID", "FORMAT", "boot_id", "check_kind", "lock_file", "remedy"]

APPLICATION_ID = 0x72746368  # "rtch"
FORMAT = 1


def lock_file(path: Path) -> int:
    """Create the file if necessary, and lock it against other processes; return the lock.

    Raises:
        OSError: It cannot be written.
        StoreUnusable: Another process has locked it.
    """
    # SQLite's own locks are released when any code in the process closes the file, so ours is on
    # a file beside it. The system releases it when the process ends, in whatever way.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o640))
    lock = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreUnusable("another rtchat uses it; stop that one, or name another file") from None
    return lock


def remedy(error: OSError | sqlite3.Error, path: Path | None) -> str:
    """Return what SQLite or the system reports as a sentence with a remedy."""
    if isinstance(error, OSError):
        if path is None or error.filename in (None, str(path), path):
            return f"{error.strerror}; change the permissions or the path"
        return _companion_remedy(Path(error.filename), error.strerror or "")
    text = str(error)
    if path is not None and ("unable to open" in text or "readonly" in text):
        # SQLite does not say which of its files it means.
        for companion in (Path(f"{path}{end}") for end in ("-wal", "-shm", "-journal")):
            if companion.exists() and not (companion.is_file() and _may_write(companion)):
                return _companion_remedy(companion, "Permission denied")
        if not _may_write(path.parent):
            return f"its folder {path.parent} cannot be written; change its permissions or the path"
    for sign, words in _REMEDIES.items():
        if sign in text:
            return words
    return f"{text}; name another file"


def _companion_remedy(companion: Path, reason: str) -> str:
    """Return what to do about a file beside the database: its lock, or one of SQLite's."""
    if not companion.exists():
        return (
            f"{companion} beside it cannot be created ({reason}); change the permissions of the "
            "folder or the path"
        )
    if companion.is_dir():
        return f"{companion} beside it is a folder; move it away"
    return (
        f"{companion} beside it cannot be opened for writing ({reason}); change the owner or the "
        "permissions of that file, too"
    )


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


_REMEDIES = {
    "not a database": "it is no SQLite database; name another file",
    "malformed": "it is damaged; move it away, or bring back a copy of it",
    "locked": "another program is writing to it; stop that one, or name another file",
    "readonly": "it may not be written; change the permissions or the path",
    "is full": "the disk is full; make room",
}


def boot_id() -> str:
    """Return a text that changes with every boot of the machine, or "" if it is unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def check_kind(db: sqlite3.Connection) -> None:
    """Check that a database is a history of this format.

    Raises:
        StoreUnusable: It is not.
    """
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StoreUnusable("it is the database of another program; name another file")
    if db.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
        raise StoreUnusable(
            "it was written by a newer rtchat; start that one, or name another file"
        )
