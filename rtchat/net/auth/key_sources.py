"""Where the keys that check tokens come from: a secret, a PEM file, a key set in a file.

A key set at an address is :mod:`rtchat.net.auth.jwks_url`.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from typing_extensions import override

from rtchat.net.auth.verification_keys import (
    KeySet,
    VerificationKey,
    keys_of_jwks,
    keys_of_pem,
    keys_of_secret,
)

__all__ = ["MAX_KEY_BYTES", "Found", "JwksFile", "KeySource", "PemFile", "SecretFile"]

_log = Logger(__package__)

MAX_KEY_BYTES = 256 * 1024
"""How large a file or document with keys may be."""

Found: TypeAlias = "Sequence[VerificationKey] | Deferred[Sequence[VerificationKey]]"
"""Keys, at once or later."""


class KeySource(ABC):
    """Where the keys come from."""

    @property
    def problem(self) -> str:
        """Why the keys may be out of date, or "" if all is well; for ``/health``."""
        return ""

    def start(self) -> None:  # noqa: B027
        """Begin to keep the keys up to date, if that takes anything."""

    def stop(self) -> None:  # noqa: B027
        """End what :meth:`start` began."""

    @abstractmethod
    def find(self, kid: str | None, algorithm: str) -> Found:
        """Return the keys that a token may be signed with: at least one, and only a few.

        Args:
            kid: The key that the token names, or None.
            algorithm: The token's algorithm.

        Returns:
            The keys, or a Deferred of them, which may be cancelled and fails with AccessRefused.

        Raises:
            AccessRefused: There is none; the reason says why.
        """

    @abstractmethod
    def reload(self) -> None:
        """Read the keys again, after SIGHUP.

        Raises:
            OSError: A file cannot be read; ``filename`` says which. The keys in use stay.
            ValueError: A file cannot be used; the text names it. The keys in use stay.
        """


class _KeyFile(KeySource):
    """A file that is read at start and on SIGHUP.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read; ``filename`` names it.
        ValueError: It cannot be used; the text names it, and says what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._problem = ""
        self._keys = self._read()

    @property
    @override
    def problem(self) -> str:
        return self._problem

    @property
    def keys(self) -> KeySet:
        """The keys in use."""
        return self._keys

    @override
    def reload(self) -> None:
        self._problem = "the file could not be read again"
        self._keys = self._read()
        self._problem = ""

    def _read(self) -> KeySet:
        try:
            keys = self._parse(_content(self.path))
        except ValueError as error:
            raise ValueError(f"{self.path} {error}") from None
        for one in keys.skipped:
            _log.warn("{path}: {skipped}; it is not used", path=self.path, skipped=one)
        if any(isinstance(key.material, bytes) for key in keys.keys):
            _warn_of_readers(self.path)
        return keys

    @abstractmethod
    def _parse(self, data: bytes) -> KeySet:
        """Return the keys in the file's content, or raise ValueError."""


class SecretFile(_KeyFile):
    """A secret that site and server share: HS256, and with 48 or 64 bytes HS384 and HS512."""

    @override
    def find(self, kid: str | None, algorithm: str) -> Found:
        return self._keys.fitting(None, algorithm)

    @override
    def _parse(self, data: bytes) -> KeySet:
        return keys_of_secret(data)


class PemFile(_KeyFile):
    """Public keys or certificates in PEM, while keys change an old one beside the new one.

    PEM has no names for keys, so a token's ``kid`` is not looked at.
    """

    @override
    def find(self, kid: str | None, algorithm: str) -> Found:
        return self._keys.fitting(None, algorithm)

    @override
    def _parse(self, data: bytes) -> KeySet:
        return keys_of_pem(data)


class JwksFile(_KeyFile):
    """A JSON Web Key Set in a file; unlike one at an address, it may have symmetric keys."""

    @override
    def find(self, kid: str | None, algorithm: str) -> Found:
        return self._keys.fitting(kid, algorithm)

    @override
    def _parse(self, data: bytes) -> KeySet:
        return keys_of_jwks(data, may_hold_secrets=True)


def _content(path: Path) -> bytes:
    """Return what is in a file, if it is one and not too large."""
    with open(path, "rb", opener=_open_at_once) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ValueError("is not a file")
        data = stream.read(MAX_KEY_BYTES + 1)
    if len(data) > MAX_KEY_BYTES:
        raise ValueError(f"has more than {MAX_KEY_BYTES // 1024} KiB")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open a file, or a pipe that has no writer, which would never return otherwise."""
    return os.open(path, flags | os.O_NONBLOCK)


def _warn_of_readers(path: Path) -> None:
    """Log that a secret is open to every user of the machine, if it is."""
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        _log.warn(
            "{path} holds a secret, and every user of this machine may read or change it; "
            "chmod o-rw {path}",
            path=path,
        )
