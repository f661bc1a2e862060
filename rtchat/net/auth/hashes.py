"""Hashes of passwords: scrypt, which ``rtchat passwd`` writes, and the bcrypt of ``htpasswd -B``.

A hash is read from a file, so what it costs is looked at before it is used: a line cannot take
more memory or time than :data:`MAX_SCRYPT_BYTES` and about a second.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Protocol

__all__ = [
    "MAX_PASSWORD_BYTES",
    "STAND_IN",
    "PasswordHash",
    "Scrypt",
    "hash_password",
    "is_password",
    "parse_hash",
    "verify",
]

MAX_PASSWORD_BYTES = 1024
"""How long a password may be, in UTF-8."""

MAX_SCRYPT_BYTES = 128 * 1024 * 1024
_MAX_SCRYPT_WORK = 2**21  # N * r * p; about a second
_MAX_BCRYPT_COST = 14  # about a second
_BCRYPT_BYTES = 72  # bcrypt does not look at more

# What OWASP's Password Storage Cheat Sheet recommends for 32 MiB.
_LN, _R, _P = 15, 8, 3
_SALT_BYTES = 16
_KEY_BYTES = 32

_SCRYPT = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
# The last character of the salt stands for two bits only.
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")

_MAKE_ONE = "make the line with rtchat passwd or htpasswd -B"
_NOT_READ = {
    "$apr1$": "an MD5 hash of htpasswd -m",
    "$1$": "an MD5 hash",
    "$5$": "a SHA-256 hash of crypt(3)",
    "$6$": "a SHA-512 hash of crypt(3)",
    "$7$": "an scrypt hash of crypt(3)",
    "$y$": "a yescrypt hash of crypt(3)",
    "$2x$": "a bcrypt hash of a faulty program",
    "$argon2": "an Argon2 hash",
    "{": "a hash of LDAP, such as that of htpasswd -s",
}


class PasswordHash(Protocol):
    """A hash that passwords are compared with."""

    @property
    def text(self) -> str:
        """As it is written in a file."""

    @property
    def cost(self) -> tuple[str, int]:
        """Its kind, and how much work it is; equal for hashes that take the same time."""

    def verify(self, password: str) -> bool:
        """Return whether this is the password. It takes its time: call it in a thread."""


@dataclass(frozen=True, slots=True)
class Scrypt:
    """A hash of scrypt (RFC 7914).

    Attributes:
        ln: The binary logarithm of N.
        r: The block size.
        p: The parallelization.
        salt: The salt.
        key: The result for the right password.
    """

    ln: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, password: str, *, ln: int = _LN, r: int = _R, p: int = _P) -> Scrypt:
        """Hash a password with a new salt."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(ln, r, p, salt, _scrypt(password, ln, r, p, salt, _KEY_BYTES))

    @property
    def text(self) -> str:
        """As it is written in a file."""
        return (
            f"$scrypt$ln={self.ln},r={self.r},p={self.p}${_encode(self.salt)}${_encode(self.key)}"
        )

    @property
    def cost(self) -> tuple[str, int]:
        """Its kind, and how much work it is."""
        return "scrypt", (self.p * self.r) << self.ln

    def verify(self, password: str) -> bool:
        """Return whether this is the password."""
        made = _scrypt(password, self.ln, self.r, self.p, self.salt, len(self.key))
        return hmac.compare_digest(made, self.key)


@dataclass(frozen=True, slots=True)
class Bcrypt:
    """A hash of bcrypt, as ``htpasswd -B`` makes it.

    Attributes:
        text: As it is written in a file.
    """

    text: str = field(repr=False)

    @property
    def cost(self) -> tuple[str, int]:
        """Its kind, and how much work it is."""
        return "bcrypt", 1 << int(self.text[4:6])

    def verify(self, password: str) -> bool:
        """Return whether this is the password; like all of bcrypt, look at 72 bytes of it."""
        import bcrypt  # parse_hash has loaded it

        data = _utf8(password)[:_BCRYPT_BYTES]
        return bcrypt.checkpw(data, self.text.encode("ascii"))


STAND_IN = Scrypt(_LN, _R, _P, bytes(_SALT_BYTES), bytes(_KEY_BYTES))
"""What passwords are compared with if there is no hash at all, for the time that it takes."""


def is_password(text: str) -> bool:
    """Return whether a text may be a password: not empty, not too long, and without NUL."""
    if "\0" in text:
        return False  # what compares passwords in C fails at it
    return bool(text) and len(text) <= MAX_PASSWORD_BYTES >= len(_utf8(text))


def hash_password(password: str) -> str:
    """Return a new hash of a password, as it is written in a file. It takes its time."""
    return Scrypt.of(password).text


def verify(password: str, text: str) -> bool:
    """Return whether this is the password of a hash. It takes its time.

    Raises:
        ValueError: The text is no hash that can be used; the error says why.
    """
    return parse_hash(text).verify(password)


def parse_hash(text: str) -> PasswordHash:
    """Read a hash.

    Raises:
        ValueError: It is none that can be used; the error says why, and what to do.
    """
    if text.startswith("$scrypt$"):
        return _parse_scrypt(text)
    if text.startswith(("$2a$", "$2b$", "$2y$")):
        return _parse_bcrypt(text)
    for beginning, what in _NOT_READ.items():
        if text.startswith(beginning):
            raise ValueError(f"this is {what}, which is not read; {_MAKE_ONE}")
    raise ValueError(f"this is no hash of scrypt or bcrypt; {_MAKE_ONE}")


def _parse_scrypt(text: str) -> Scrypt:
    found = _SCRYPT.fullmatch(text)
    if found is None:
        raise ValueError(f"this hash of scrypt is not complete; {_MAKE_ONE}")
    ln, r, p = (int(number) for number in found.group(1, 2, 3))
    try:
        salt, key = _decode(found[4]), _decode(found[5])
    except ValueError:
        raise ValueError(f"this hash of scrypt is damaged; {_MAKE_ONE}") from None
    if not (8 <= len(salt) <= 64 and 16 <= len(key) <= 64):
        raise ValueError(f"this hash of scrypt is too short or too long; {_MAKE_ONE}")
    if not (1 <= ln <= 20 and r and p):
        raise ValueError(f"ln={ln},r={r},p={p} is not possible in scrypt; {_MAKE_ONE}")
    if (128 * r) << ln > MAX_SCRYPT_BYTES or (r * p) << ln > _MAX_SCRYPT_WORK:
        raise ValueError(
            f"ln={ln},r={r},p={p} takes too much memory or time for each log-in; {_MAKE_ONE}"
        )
    return Scrypt(ln, r, p, salt, key)


def _parse_bcrypt(text: str) -> Bcrypt:
    found = _BCRYPT.fullmatch(text)
    if found is None:
        raise ValueError(f"this hash of bcrypt is damaged; {_MAKE_ONE}")
    if not 4 <= int(found[1]) <= _MAX_BCRYPT_COST:
        raise ValueError(
            f"the cost of this hash of bcrypt is {found[1]}, and 04 to {_MAX_BCRYPT_COST} is "
            f"possible: each step doubles the time of a log-in; {_MAKE_ONE}"
        )
    try:
        import bcrypt  # noqa: F401  # what is missing is said at the start, not at a log-in
    except ImportError:
        raise ValueError(
            "this is a hash of bcrypt, and the package bcrypt is not installed; "
            "pip install bcrypt, or make the line with rtchat passwd"
        ) from None
    return Bcrypt(text)


def _scrypt(password: str, ln: int, r: int, p: int, salt: bytes, length: int) -> bytes:
    return hashlib.scrypt(
        _utf8(_prepared(password)),
        salt=salt,
        n=1 << ln,
        r=r,
        p=p,
        maxmem=128 * r * ((1 << ln) + p + 2) + 1024 * 1024,
        dklen=length,
    )


def _prepared(password: str) -> str:
    """Return what the same password is on every keyboard (RFC 8265, OpaqueString)."""
    if password.isascii():
        return password
    spaced = "".join(" " if unicodedata.category(one) == "Zs" else one for one in password)
    return unicodedata.normalize("NFC", spaced)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _encode(data: bytes) -> str:
    return b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    data = b64decode(text + "=" * (-len(text) % 4), validate=True)
    if _encode(data) != text:
        raise ValueError("there are bits left over")
    return data
