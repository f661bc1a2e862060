"""The password file: lines ``NAME:HASH``, which ``rtchat passwd`` and ``htpasswd -B`` write.

A server reads it again when it changes. What cannot be read leaves the users that were read
before, and is said once.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from rtchat.core.auth.identity import is_user_name
from rtchat.errors import ConfigError
from rtchat.net.auth.hashes import STAND_IN, PasswordHash, parse_hash
from rtchat.text import printable

__all__ = ["Contents", "PasswordFile", "Users", "look_at", "name_in", "name_problem", "read_bytes"]

_log = Logger()

_MAX_BYTES = 8 * 1024 * 1024  # some 80,000 users
_FRESH_S = 2.0
"""A file that was changed so recently may be changed again without a sign of it."""

_WRITTEN_S = 0.5
"""An editor that does not replace a file writes it within this time."""

_RESERVED = ("anonymous", "*")  # [rights] means something else by them


class Users:
    """The users of a file, and their hashes.

    Args:
        hashes: The hashes, by the users' names.
    """

    __slots__ = ("_by_cost", "hashes")

    def __init__(self, hashes: Mapping[str, PasswordHash]) -> None:
        self.hashes = hashes
        self._by_cost = sorted(hashes.values(), key=lambda one: one.cost)

    def stand_in(self, name: str) -> PasswordHash:
        """Return a hash for an unknown user, so that looking at the password takes its time.

        It is the hash of one of the users, so that unknown names take the same times as known
        ones, also in a file of several kinds of hashes; a name takes the same time again. What
        the comparison says is of no meaning.
        """
        if not self._by_cost:
            return STAND_IN
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") * len(self._by_cost) >> 64
        return self._by_cost[place]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a look at the file has found.

    Attributes:
        users: The users, or None if there was a mistake.
        mistake: The mistake, or None.
        warning: What to say about its permissions, or "".
        digest: Equal for equal bytes.
        signature: What the system says of the file, or None if it is not there.
        is_fresh: Whether it may change without a change of the signature.
    """

    users: Users | None = None
    mistake: ConfigError | None = None
    warning: str = ""
    digest: bytes = b""
    signature: tuple[int, ...] | None = None
    is_fresh: bool = False


class PasswordFile:
    """The users of a password file.

    Args:
        path: The file.

    Attributes:
        path: The same.
        users: The users as they were read last.
        problem: Why the last look at it has failed, or "".

    Raises:
        ConfigError: It cannot be used; the text has file and line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self.users = Users({})
        self._digest = b""
        self._warning = ""
        self._seen = self.look()
        if self._seen.mistake is not None:
            raise self._seen.mistake
        self.apply(self._seen)

    @property
    def names(self) -> Collection[str]:
        """The names of all users."""
        return self.users.hashes.keys()

    def hash_of(self, name: str) -> PasswordHash | None:
        """Return the hash of a user's password, or None if there is no such user."""
        return self.users.hashes.get(name)

    def changed(self) -> bool:
        """Return whether the file may have changed since it was read; this is quick."""
        return self._seen.is_fresh or _signature(self.path) != self._seen.signature

    def is_being_written(self) -> bool:
        """Return whether it was changed so recently that it may not be complete yet."""
        try:
            return abs(time.time() - os.stat(self.path).st_ctime) < _WRITTEN_S
        except OSError:
            return True  # another one may be about to take its place

    def look(self) -> Contents:
        """Read the file. This takes its time, and may be done in any thread."""
        return look_at(self.path)

    def apply(self, contents: Contents) -> bool:
        """Use what :meth:`look` has found.

        Returns:
            Whether the users are others than before. After a mistake they are those of before,
            and the log says which mistake it is.
        """
        self._seen = contents
        if contents.users is None:
            problem = str(contents.mistake)
            if problem != self.problem:
                self.problem = problem
                _log.error("{problem}; until then the users of before hold", problem=problem)
            return False
        if self.problem:
            self.problem = ""
            _log.info("{file} can be read again", file=str(self.path))
        if contents.warning and contents.warning != self._warning:
            _log.warn("{warning}", warning=contents.warning)
        self._warning = contents.warning
        if contents.digest == self._digest:
            return False
        self._digest = contents.digest
        self.users = contents.users
        return True

    def reload(self) -> bool:
        """Read the file again if it may have changed; the result is that of :meth:`apply`."""
        return self.changed() and self.apply(self.look())


def look_at(path: Path) -> Contents:
    """Return what is in a password file, or what the mistake is."""
    try:
        data, status = read_bytes(path)
    except ConfigError as error:
        return Contents(mistake=error, signature=_signature(path))
    signature = _signature_of(status)
    is_fresh = abs(time.time() - status.st_ctime) < _FRESH_S
    try:
        users = Users(_parse(data, str(path)))
    except ConfigError as error:
        return Contents(mistake=error, signature=signature, is_fresh=is_fresh)
    warning = ""
    if status.st_mode & stat.S_IRWXO:
        warning = (
            f"{path}: every user of this machine may read or write it; take that away "
            f"with chmod o= {path}"
        )
    return Contents(users, None, warning, hashlib.sha256(data).digest(), signature, is_fresh)


def read_bytes(path: Path) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a password file, and what the system says of it.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        # A named pipe would wait for its writer.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            os.close(number)
            raise ConfigError("it is no file; name the password file", file=str(path))
        with open(number, "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no such file; rtchat passwd {path} NAME makes it", file=str(path)
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the password file cannot be read: {error.strerror}; change its owner or its "
            "permissions, or name another file",
            file=str(path),
        ) from None
    if len(data) > _MAX_BYTES:
        raise ConfigError(
            f"it has more than {_MAX_BYTES} bytes, too many for a password file; use tokens or a "
            "hook for so many users",
            file=str(path),
        )
    return data, status


def _parse(data: bytes, file: str) -> dict[str, PasswordHash]:
    """Read the lines of a password file.

    Raises:
        ConfigError: One of them is not right; the text has file and line.
    """
    hashes: dict[str, PasswordHash] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            found = name_in(line)
            if found is None:
                continue
            name, text = found
            if name in lines:
                raise ValueError(
                    f"the user {printable(name)} has a line already, line {lines[name]}; delete "
                    "one of them"
                )
            hashes[name] = parse_hash(text)
        except ValueError as error:
            raise ConfigError(str(error), file=file, line=number) from None
        lines[name] = number
    return hashes


def name_in(line: bytes) -> tuple[str, str] | None:
    """Return name and hash in a line, or None if it is blank or a comment.

    Raises:
        ValueError: It is neither; the error says what to do.
    """
    try:
        text = line.decode("utf-8").strip(" \t\r\ufeff")
    except UnicodeDecodeError:
        raise ValueError("this is not UTF-8; save the file as UTF-8") from None
    if not text or text.startswith("#"):
        return None
    name, colon, rest = text.partition(":")
    if not colon:
        raise ValueError("there is no colon; a line is NAME:HASH, and a comment begins with #")
    problem = name_problem(name)
    if problem:
        raise ValueError(problem)
    return name, rest.partition(":")[0]  # Apache and nginx let more follow


def name_problem(name: str) -> str:
    """Return why a name cannot be that of a user in a password file, and what to do; or ""."""
    if not is_user_name(name):
        return (
            f"{printable(name)} cannot be the name of a user; use 1 to 128 characters, without "
            "control characters, and without spaces at the ends"
        )
    if ":" in name or name.startswith("#"):
        return f"{printable(name)} cannot stand in a password file; leave out : and # at its start"
    if name in _RESERVED or name.startswith("@"):
        return f"{printable(name)} has another meaning in [rights]; use another name"
    return ""


def _signature(path: Path) -> tuple[int, ...] | None:
    """Return what is different after a change of the file, or None without a file."""
    try:
        return _signature_of(os.stat(path))
    except OSError:
        return None


def _signature_of(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
