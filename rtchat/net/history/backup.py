"""Copies of a history file: made while the server runs, and put back while it does not."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from rtchat.errors import StoreUnusable
from rtchat.net.history.opening import check_kind, lock_file, remedy

__all__ = ["back_up", "restore"]


def back_up(path: Path, copy: Path) -> int:
    """Copy a history file, also while a server uses it.

    Args:
        path: The history file.
        copy: The new file.

    Returns:
        The number of messages in the copy.

    Raises:
        StoreUnusable: It cannot be copied; the text says which file is the reason, and why.
    """
    if copy.exists():
        raise StoreUnusable(f"{copy}: it exists already; name a new file")
    with _beside(copy) as part:
        count = _copied(path, part)
        with _reasons(copy):
            os.replace(part, copy)
    return count


def restore(copy: Path, path: Path) -> int:
    """Put a copy in the place of a history file; it gets new epochs.

    Args:
        copy: The copy; it stays as it is.
        path: The history file. It need not exist.

    Returns:
        The number of messages in the file.

    Raises:
        StoreUnusable: Nothing was changed; the text says which file is the reason, and why.
    """
    is_new = not path.exists()
    with _reasons(path):
        lock = lock_file(path)
    target = path.resolve()  # a link stays one
    try:
        with _beside(target) as part:
            count = _copied(copy, part)
            with _reasons(path), closing(sqlite3.connect(part, isolation_level=None)) as file:
                epoch = token_hex(8)
                file.execute("UPDATE stream SET epoch = ?", (epoch,))
                file.execute("UPDATE server SET epoch = ?, is_open = 0", (epoch,))
                with suppress(sqlite3.OperationalError):  # an older rtchat wrote no life
                    file.execute("UPDATE server SET life = ''")
            with _reasons(path):
                _give_as(target, part)
                for end in ("-wal", "-shm"):
                    Path(f"{target}{end}").unlink(missing_ok=True)
                os.replace(part, target)
                os.ftruncate(lock, 0)
    except BaseException:  # a signal, too
        if is_new:
            for end in ("", "-lock"):
                Path(f"{path}{end}").unlink(missing_ok=True)
        raise
    finally:
        os.close(lock)
    return count


def _copied(path: Path, part: Path) -> int:
    """Copy a database, checked; return the number of messages in the copy."""
    with _reasons(path):
        if not path.is_file():
            raise StoreUnusable("there is no such file")
        # Read-only, so that what a killed server has left stays as it is. Where nothing waits to
        # be tidied up, only a connection that may write removes the files that SQLite needs.
        mode = "ro" if Path(f"{path.resolve()}-wal").exists() else "rw"
        with (
            closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True)) as source,
            closing(sqlite3.connect(part, isolation_level=None)) as target,
        ):
            check_kind(source)
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
            if target.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise StoreUnusable("it is damaged")
            return int(target.execute("SELECT count(*) FROM message").fetchone()[0])


def _give_as(path: Path, part: Path) -> None:
    """Set the permissions and the owner of a file to those of the one that it replaces."""
    there = path.stat()
    part.chmod(stat.S_IMODE(there.st_mode))
    with suppress(PermissionError):  # only root may give files away
        os.chown(part, there.st_uid, there.st_gid)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Create an empty file that may replace another one; remove it if it does not."""
    part = Path(f"{path}-part")
    with _reasons(path):
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640))
    try:
        yield part
    finally:
        for end in ("", "-journal"):
            Path(f"{part}{end}").unlink(missing_ok=True)


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    """Name the file in errors."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"{path}: {remedy(error, path)}") from None
    except StoreUnusable as error:
        raise StoreUnusable(f"{path}: {error}") from None
