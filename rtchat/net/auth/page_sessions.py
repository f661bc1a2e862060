"""The page's own log-in: the cookie ``rtchat_session`` says who has logged in.

The cookie is signed, so nothing is stored for a log-in, and with a key in a file it outlives a
restart. It ends with its time, with a log-out, and when the user's password changes.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt

from rtchat.core.auth.identity import Identity
from rtchat.errors import AccessRefused

__all__ = ["KEY_BYTES", "CookieSessions", "session_key"]

KEY_BYTES = 32
"""The length of a key."""

_ALGORITHM = "HS256"
_AUDIENCE = "rtchat page"
_MAX_CHARS = 2048
_MAX_CLOSED = 100
"""So many log-outs of a user are remembered; after more of them, the oldest cookie of the same user
would work again."""

_MAX_USERS = 10_000
"""Of so many users log-outs are remembered, those who have logged out last."""


class CookieSessions:
    """Makes the cookies of those who have logged in, and reads them.

    Args:
        key: Signs them; :data:`KEY_BYTES` bytes that cannot be guessed.
        max_age_s: For how long a log-in is good.
        wall_s: Returns the time in seconds since 1970.
        stamp_of: Returns a text that changes with the password of a user, "" if that is not known;
            None if there is no such user.

    Attributes:
        max_age_s: As above.
    """

    def __init__(
        self,
        key: bytes,
        max_age_s: float,
        wall_s: Callable[[], float],
        stamp_of: Callable[[str], str | None],
    ) -> None:
        self._key = key
        self.max_age_s = max_age_s
        self._wall_s = wall_s
        self._stamp_of = stamp_of
        self._closed: dict[str, dict[str, float]] = {}  # by user: log-ins, and when they would end
        self._codec = jwt.PyJWT({"verify_exp": False, "verify_nbf": False, "verify_iat": False})

    def open(self, user: str) -> str:
        """Return the cookie of a user who has logged in; it is another one each time."""
        claims = {
            "sub": user,
            "aud": _AUDIENCE,
            "exp": int(self._wall_s() + self.max_age_s),
            "jti": secrets.token_urlsafe(16),
            "stamp": self._signed_stamp(user),
        }
        value: str = self._codec.encode(claims, self._key, _ALGORITHM)
        return value

    def user_of(self, cookie: str) -> Identity:
        """Return who a cookie is about; its sessions end with it.

        Raises:
            AccessRefused: It is not one of this server, its time is over, its user has logged out
                or has another password, or is not there any more.
        """
        claims = self._claims(cookie)
        user = claims["sub"]
        if claims["exp"] <= self._wall_s():
            raise AccessRefused("a cookie of the page that has expired")
        if claims["jti"] in self._closed.get(user, ()):
            raise AccessRefused("a cookie of the page after a log-out")
        stamp = self._signed_stamp(user)
        if not stamp or not hmac.compare_digest(stamp, claims["stamp"]):
            raise AccessRefused("a cookie of the page whose user was removed or changed")
        return Identity(user, expires_s=float(claims["exp"]))

    def close(self, cookie: str) -> str:
        """End a log-in; return its user, "" if it was none."""
        try:
            user = self.user_of(cookie).user
        except AccessRefused:
            return ""
        claims, now_s = self._claims(cookie), self._wall_s()
        closed = {
            log_in: end_s
            for log_in, end_s in self._closed.pop(user, {}).items()
            if end_s > now_s  # others are refused anyway
        }
        closed[claims["jti"]] = claims["exp"]
        if len(closed) > _MAX_CLOSED:
            del closed[next(iter(closed))]
        self._closed[user] = closed
        if len(self._closed) > _MAX_USERS:
            del self._closed[next(iter(self._closed))]
        return user

    def _claims(self, cookie: str) -> dict[str, Any]:
        if len(cookie) > _MAX_CHARS:
            raise AccessRefused("a cookie of the page that is too long")
        try:
            claims: dict[str, Any] = self._codec.decode(
                cookie,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["sub", "exp", "jti", "stamp"]},
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise AccessRefused("a cookie of the page that this server has not signed") from None
        # Base64 has several texts for the same bytes. A log-out ends the sessions of its cookie, so
        # a log-in must not have two.
        signed, _, signature = cookie.rpartition(".")
        digest = hmac.digest(self._key, signed.encode("ascii"), "sha256")
        if signature != base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii"):
            raise AccessRefused("a cookie of the page that is not written as it was made")
        return claims

    def _signed_stamp(self, user: str) -> str:
        """Return a text that changes with the password; "" if there is no such user."""
        stamp = self._stamp_of(user)
        if stamp is None:
            return ""
        return hmac.new(self._key, f"{user}\0{stamp}".encode(), "sha256").hexdigest()[:32]


def session_key(path: Path | None) -> bytes:
    """Return the key of the cookies; it is created if the file does not exist.

    Args:
        path: The file; None for a key that ends with the process.

    Raises:
        ValueError: The file cannot be used; the text says why, and what to do.
    """
    if path is None:
        return secrets.token_bytes(KEY_BYTES)
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(made, "wb") as new:
            new.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise ValueError(f"cannot be created ({error.strerror}); check its folder") from None
    try:
        text = path.read_text(encoding="ascii").strip()
        key = bytes.fromhex(text)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); check its permissions") from None
    except ValueError:
        raise ValueError("has no key that this server wrote; remove the file") from None
    if len(key) != KEY_BYTES:
        raise ValueError("has no key that this server wrote; remove the file")
    return key
