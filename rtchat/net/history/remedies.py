"""What to do about a history file that cannot be opened, in one sentence."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

__all__ = ["remedy_for"]


def remedy_for(error: OSError | sqlite3.Error, path: Path | None) -> str:
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
