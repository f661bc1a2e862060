"""JSON Web Tokens: a site signs who its visitor is, and this server checks it.

Which key checks a token, and with which algorithm, is never up to the token: it may name a key of
the source by its ``kid``, and the kind of that key decides which algorithms are possible. What else
a header says about keys (``jwk``, ``jku``, ``x5c``, ``x5u``) is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import jwt
from twisted.internet.defer import Deferred

from rtchat.core.auth.identity import Identity
from rtchat.errors import AccessRefused
from rtchat.net.auth.claims import identity_of
from rtchat.net.auth.key_sources import KeySource
from rtchat.net.auth.verification_keys import VerificationKey

__all__ = ["MAX_TOKEN_BYTES", "TokenVerifier"]

MAX_TOKEN_BYTES = 8 * 1024
"""How long a token may be."""


class TokenVerifier:
    """Checks tokens.

    Args:
        keys: Where the keys come from.
        issuer: What ``iss`` has to be, or "" if it is not looked at.
        audience: What ``aud`` has to be or to contain. With "" a token must not have any: it was
            made for another server.
        leeway_s: How far the site's clock may be from this one.
    """

    def __init__(
        self, keys: KeySource, *, issuer: str = "", audience: str = "", leeway_s: float = 0.0
    ) -> None:
        self._keys = keys
        self._issuer = issuer or None
        self._audience = audience or None
        self._leeway_s = leeway_s
        # PyJWT knows the system's clock only, and accepts more kinds of times.
        self._decoder = jwt.PyJWT(
            {
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_sub": False,
                "verify_jti": False,
            }
        )

    def verify(self, text: str, now_s: float) -> Deferred[Identity] | Identity:
        """Return who a token speaks for.

        Args:
            text: The token, from anywhere.
            now_s: The time, in seconds since 1970.

        Returns:
            The identity, or a Deferred of it if keys are fetched first. The Deferred fails with
            AccessRefused; it may be cancelled.

        Raises:
            AccessRefused: The token is wrong, has expired, or there is no key for it. The reason
                is one of a few fixed texts, without any part of the token.
        """
        kid, algorithm = _header_of(text)
        found = self._keys.find(kid, algorithm)
        if isinstance(found, Deferred):
            return found.addCallback(lambda keys: self._identity(text, algorithm, keys, now_s))
        return self._identity(text, algorithm, found, now_s)

    def _identity(
        self, text: str, algorithm: str, keys: Iterable[VerificationKey], now_s: float
    ) -> Identity:
        for key in keys:
            claims = self._claims(text, algorithm, key)
            if claims is not None:
                return identity_of(claims, now_s=now_s, leeway_s=self._leeway_s)
        raise AccessRefused("wrong signature")

    def _claims(
        self, text: str, algorithm: str, key: VerificationKey
    ) -> Mapping[str, object] | None:
        """Return the claims of a token, or None if this key has not signed it."""
        try:
            claims: Mapping[str, object] = self._decoder.decode(
                text,
                key.material,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
            )
        except jwt.InvalidSignatureError:
            return None
        except jwt.MissingRequiredClaimError as error:
            raise AccessRefused(_MISSING[error.claim]) from None
        except jwt.InvalidAudienceError:
            reason = "unexpected audience" if self._audience is None else "wrong audience"
            raise AccessRefused(reason) from None
        except jwt.InvalidIssuerError:
            raise AccessRefused("wrong issuer") from None
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise AccessRefused("malformed") from None
        return claims


_MISSING = {"aud": "no audience", "iss": "no issuer"}


def _header_of(text: str) -> tuple[str | None, str]:
    """Return which key a token names, if any, and its algorithm."""
    if len(text) > MAX_TOKEN_BYTES:
        raise AccessRefused("too long")
    # Without the rest, which PyJWT would decode here as well, and character by character.
    first = text.partition(".")[0]
    try:
        header = jwt.get_unverified_header(f"{first}..")
    except (jwt.DecodeError, ValueError, RecursionError):
        raise AccessRefused("malformed") from None
    except jwt.InvalidTokenError:
        raise AccessRefused("unusable header") from None
    # No extension is understood, not even those that PyJWT knows.
    if "crit" in header:
        raise AccessRefused("unusable header")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str):
        raise AccessRefused("no algorithm")
    if algorithm.lower() == "none":
        raise AccessRefused("algorithm none")
    return kid, algorithm
