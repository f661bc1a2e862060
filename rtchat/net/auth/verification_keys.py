"""Keys that check tokens: which algorithms each fits, and how PEM and JWK write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import InvalidKeyError
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

from rtchat.errors import AccessRefused
from rtchat.net.json_codec import JSON
from rtchat.text import printable

__all__ = [
    "MAX_KEYS",
    "MAX_TRIED_KEYS",
    "KeySet",
    "VerificationKey",
    "keys_of_jwks",
    "keys_of_pem",
    "keys_of_secret",
]

MAX_KEYS = 100
"""How many keys a JWKS may have."""

MAX_TRIED_KEYS = 4
"""How many keys may fit a token: each costs a check of the signature."""

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""A larger key would take the reactor more than a millisecond for each token."""

_HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_MIN_SECRET_BYTES = min(_HASH_BYTES.values())
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----.+?-----END \1-----", re.DOTALL)
_PUBLIC_LABELS = (b"PUBLIC KEY", b"RSA PUBLIC KEY")
_CERTIFICATE = b"CERTIFICATE"

_Material: TypeAlias = (
    "bytes | RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey"
)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key that checks signatures.

    Attributes:
        material: A secret, or a public key.
        algorithms: The algorithms that it may be used with. The kind of the key decides, so that
            no token can have a public key taken for a secret.
        kid: The name that the key has in its JWKS, or None.
    """

    material: _Material = field(repr=False)
    algorithms: frozenset[str]
    kid: str | None = None

    @classmethod
    def of(
        cls, material: object, kid: str | None = None, only: str | None = None
    ) -> VerificationKey:
        """Return the key with the algorithms that it fits.

        Args:
            material: A secret, or a public key of cryptography's.
            kid: The key's name, if it has one.
            only: The one algorithm that the key is meant for, if that is said.

        Raises:
            ValueError: No token may be checked with the key; the text says why.
        """
        if not isinstance(
            material,
            (bytes, RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey, Ed448PublicKey),
        ):
            raise ValueError("is neither RSA, EC nor Ed25519 or Ed448")
        algorithms = _algorithms_of(material)
        if only is not None:
            algorithms &= {only}
            if not algorithms:
                raise ValueError(f"does not fit the algorithm {printable(only, 20)}")
        return cls(material, algorithms, kid)


class KeySet:
    """The keys of one source.

    Args:
        keys: The keys.
        skipped: What the source has besides and is not used, each in a few words.

    Attributes:
        keys: The keys.
        skipped: As above.
        kids: The names of the keys.
    """

    def __init__(self, keys: Iterable[VerificationKey], skipped: Iterable[str] = ()) -> None:
        self.keys = tuple(keys)
        self.skipped = tuple(skipped)
        self._named: dict[str, list[VerificationKey]] = {}
        for key in self.keys:
            if key.kid is not None:
                self._named.setdefault(key.kid, []).append(key)
        self.kids = frozenset(self._named)

    def fitting(self, kid: str | None, algorithm: str) -> tuple[VerificationKey, ...]:
        """Return the keys that a token may be signed with, at least one.

        Args:
            kid: The key that the token names, or None for any.
            algorithm: The token's algorithm.

        Raises:
            AccessRefused: There is none, or there are too many to try them all.
        """
        named = self.keys if kid is None else self._named.get(kid)
        if named is None:
            raise AccessRefused("unknown key id")
        fitting = tuple(key for key in named if algorithm in key.algorithms)
        if not fitting:
            raise AccessRefused("wrong algorithm")
        if len(fitting) > MAX_TRIED_KEYS:
            raise AccessRefused("too many keys fit: no key id" if kid is None else "too many keys")
        return fitting


def keys_of_secret(data: bytes) -> KeySet:
    """Return the key in a file with a secret; a line end after it does not count.

    Raises:
        ValueError: It is no secret; the text says why, and what to do.
    """
    secret = data.removesuffix(b"\n").removesuffix(b"\r")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret or b" ")
    except InvalidKeyError:
        raise ValueError(
            "holds a key or a certificate and no secret; name it with key.file or jwks"
        ) from None
    try:
        return KeySet([VerificationKey.of(secret)])
    except ValueError as error:
        raise ValueError(f"{error}; make one with: openssl rand -hex 32") from None


def keys_of_pem(data: bytes) -> KeySet:
    """Return the public keys in a PEM file; a certificate stands for its key.

    Raises:
        ValueError: The file cannot be used; the text says why, and what to do.
    """
    keys = []
    for block in _PEM.finditer(data):
        if block[1].endswith(b"PRIVATE KEY"):
            raise ValueError(
                "holds a private key, which belongs to the site alone; write the public one: "
                "openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem"
            )
        if block[1] not in (*_PUBLIC_LABELS, _CERTIFICATE):
            raise ValueError(f"holds {block[1].decode('ascii')} and no public key")
        try:
            public: object = (
                x509.load_pem_x509_certificate(block[0]).public_key()
                if block[1] == _CERTIFICATE
                else load_pem_public_key(block[0])
            )
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(
                "holds a key that cannot be read; write an RSA, EC or Ed25519 key"
            ) from None
        try:
            keys.append(VerificationKey.of(public))
        except ValueError as error:
            raise ValueError(f"holds a key that {error}") from None
    if not keys:
        raise ValueError("holds no public key in PEM (-----BEGIN PUBLIC KEY-----)")
    if len(keys) > MAX_TRIED_KEYS:
        raise ValueError(f"holds {len(keys)} keys; at most {MAX_TRIED_KEYS}, or use jwks")
    return KeySet(keys)


def keys_of_jwks(data: bytes, *, may_hold_secrets: bool) -> KeySet:
    """Return the keys of a JSON Web Key Set (RFC 7517).

    A key that cannot be used is skipped: a site may publish keys for other purposes in the same
    set, and kinds that this server does not know.

    Args:
        data: The document.
        may_hold_secrets: Whether it may have symmetric keys: only if no other program can
            read it.

    Raises:
        ValueError: It is none, or no key in it can be used; the text says why.
    """
    try:
        document = JSON.read(data)
    except RecursionError:
        document = None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('is not a JSON Web Key Set: {"keys": […]}')
    if len(entries) > MAX_KEYS:
        raise ValueError(f"has {len(entries)} keys; at most {MAX_KEYS}")
    keys, skipped = [], []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(_key_of_jwk(entry, may_hold_secrets=may_hold_secrets))
        except ValueError as error:
            kid = entry.get("kid") if isinstance(entry, dict) else None
            name = f"{number} ({printable(kid, 40)})" if isinstance(kid, str) else f"{number}"
            skipped.append(f"key {name} {error}")
    if not keys:
        raise ValueError(f"has no key that can be used: {'; '.join(skipped[:3]) or 'it is empty'}")
    return KeySet(keys, skipped)


def _key_of_jwk(entry: object, *, may_hold_secrets: bool) -> VerificationKey:
    """Return the key that an entry of a JWKS describes."""
    if not isinstance(entry, dict):
        raise ValueError("is not an object")
    for name in ("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y", "k"):
        if not isinstance(entry.get(name, ""), str):
            raise ValueError(f"has a wrong {name!r}")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list):
        raise ValueError("has a wrong 'key_ops'")
    if entry.get("use", "sig") != "sig" or "verify" not in operations:
        raise ValueError("is not meant for checking signatures")
    kty = entry.get("kty")
    if kty == "oct" and not may_hold_secrets:
        raise ValueError("is symmetric: every reader of the address could sign tokens")
    if "d" in entry:
        raise ValueError("is a private key: every reader of it could sign tokens; remove it")
    read = _READERS.get(kty)
    if read is None:
        raise ValueError(f"is of the kind {printable(str(kty), 20)}")
    try:
        material = read(entry)
    except (InvalidKeyError, UnsupportedAlgorithm, ValueError, KeyError, TypeError):
        raise ValueError(f"cannot be read as a key of the kind {kty}") from None
    return VerificationKey.of(material, entry.get("kid"), entry.get("alg"))


_READERS: Mapping[object, Callable[[dict[str, Any]], object]] = {
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
    "oct": HMACAlgorithm.from_jwk,
}


def _algorithms_of(material: _Material) -> frozenset[str]:
    """Return what a key fits, or raise ValueError with what is wrong with the key."""
    if isinstance(material, bytes):
        size = len(material)
        if size < _MIN_SECRET_BYTES:
            raise ValueError(f"has {size} bytes; a secret needs {_MIN_SECRET_BYTES}")
        return frozenset(name for name, least in _HASH_BYTES.items() if size >= least)
    if isinstance(material, RSAPublicKey):
        if not MIN_RSA_BITS <= material.key_size <= MAX_RSA_BITS:
            raise ValueError(
                f"has {material.key_size} bits; an RSA key needs {MIN_RSA_BITS} to {MAX_RSA_BITS}"
            )
        return _RSA_ALGORITHMS
    if isinstance(material, EllipticCurvePublicKey):
        algorithm = _CURVE_ALGORITHMS.get(material.curve.name)
        if algorithm is None:
            raise ValueError(f"is on the curve {material.curve.name}; use P-256, P-384 or P-521")
        return frozenset({algorithm})
    return frozenset({"EdDSA"})
