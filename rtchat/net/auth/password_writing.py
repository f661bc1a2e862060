"""Changes of a password file, for the command ``rtchat passwd``.

The new file takes the place of the old one in one step, so that a server never reads half of it.
Lines of other users and comments stay as they are.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rtchat.errors import ConfigError
from rtchat.net.auth.password_file import name_in, read_bytes

__all__ = ["remove_user", "set_user"]

_PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.05
_MODE = 0o600


def set_user(path: Path, name: str, text: str, *, patience_s: float = _PATIENCE_S) -> bool:
    """Write the line of a user; the file is made if it is not there.

    Args:
        path: The password file.
        name: The user.
        text: The hash of the password.
        patience_s: How long to wait for another program that writes it.

    Returns:
        Whether the user had a line before.

    Raises:
        ConfigError: The file cannot be changed, and is as it was.
    """
    line = f"{name}:{text}".encode()
    with _changing(path, patience_s) as real:
        lines, status = _lines(real, may_be_missing=True)
        places = _places(lines, name, real)
        if places:
            lines[places[0]] = line
            for place in reversed(places[1:]):
                del lines[place]
        else:
            lines = [*lines[:-1], line, b""] if not lines[-1] else [*lines, line, b""]
        _replace(real, b"\n".join(lines), status)
    return bool(places)


def remove_user(path: Path, name: str, *, patience_s: float = _PATIENCE_S) -> bool:
    """Remove the line of a user; arguments and errors are those of :func:`set_user`.

    Returns:
        Whether there was one. If not, the file is left alone.
    """
    with _changing(path, patience_s) as real:
        lines, status = _lines(real, may_be_missing=False)
        places = _places(lines, name, real)
        if places:
            kept = [line for place, line in enumerate(lines) if place not in places]
            _replace(real, b"\n".join(kept), status)
    return bool(places)


@contextmanager
def _changing(path: Path, patience_s: float) -> Iterator[Path]:
    """Keep other programs from writing; yield the file, also if the path is a link to it."""
    real = Path(os.path.realpath(path))
    try:
        # The file itself is replaced, so it is no place for a lock.
        folder = os.open(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"its folder cannot be opened: {error.strerror}; make the folder, or name another file",
            file=str(path),
        ) from None
    try:
        _lock(folder, path, patience_s)
        yield real
        with suppress(OSError):  # not every file system can
            os.fsync(folder)
    except OSError as error:
        raise ConfigError(
            f"it cannot be written: {error.strerror}; it is as it was", file=str(path)
        ) from None
    finally:
        os.close(folder)  # with it goes the lock


def _lock(folder: int, path: Path, patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline_s:
                raise ConfigError(
                    "another program holds a lock on its folder; try again when that has ended",
                    file=str(path),
                ) from None
        time.sleep(_LOOK_EVERY_S)


def _lines(real: Path, *, may_be_missing: bool) -> tuple[list[bytes], os.stat_result | None]:
    """Return the lines of the file, and what the system says of it."""
    if may_be_missing and not os.path.lexists(real):
        return [b""], None
    data, status = read_bytes(real)
    return data.split(b"\n"), status


def _places(lines: list[bytes], name: str, real: Path) -> list[int]:
    """Return which lines are those of a user."""
    places = []
    for place, line in enumerate(lines):
        try:
            found = name_in(line)
        except ValueError as error:
            raise ConfigError(str(error), file=str(real), line=place + 1) from None
        if found is not None and found[0] == name:
            places.append(place)
    return places


def _replace(real: Path, data: bytes, status: os.stat_result | None) -> None:
    """Put a new file in the place of the old one, with its owner and permissions."""
    number, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    try:
        with open(number, "wb") as stream:
            if status is None:
                os.fchmod(number, _MODE)
            else:
                _take_over(number, status, real)
            stream.write(data)
            stream.flush()
            os.fsync(number)
        os.rename(temporary, real)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _take_over(number: int, status: os.stat_result, real: Path) -> None:
    made = os.fstat(number)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        try:
            os.fchown(number, status.st_uid, status.st_gid)
        except OSError:
            raise ConfigError(
                f"it belongs to user {status.st_uid} and group {status.st_gid}, and would not any "
                "longer; run this as that user or as root",
                file=str(real),
            ) from None
    os.fchmod(number, stat.S_IMODE(status.st_mode))
