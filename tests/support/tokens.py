"""A site that signs tokens: its keys, tokens made by hand, and its key set."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import der_to_raw_signature

__all__ = [
    "NOW_S",
    "SECRET",
    "base64url",
    "by_hand",
    "claims",
    "ec_key",
    "ed448_key",
    "ed25519_key",
    "hmac_signed",
    "jwk",
    "jwks",
    "pem",
    "private_pem",
    "rsa_key",
    "signed",
    "signed_as",
]

NOW_S = 1_800_000_000.0
"""The time in these tests, in seconds since 1970."""

SECRET = b"0123456789abcdef0123456789abcdef"
"""32 bytes."""

_CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@functools.cache
def rsa_key(name: str = "site", bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return an RSA key; the same one for the same name."""
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key(curve: str = "P-256", name: str = "site") -> ec.EllipticCurvePrivateKey:
    """Return an EC key; the same one for the same name."""
    return ec.generate_private_key(_CURVES[curve])


@functools.cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    """Return an Ed25519 key, always the same one."""
    return ed25519.Ed25519PrivateKey.generate()


@functools.cache
def ed448_key() -> ed448.Ed448PrivateKey:
    """Return an Ed448 key, always the same one."""
    return ed448.Ed448PrivateKey.generate()


def pem(key: Any) -> bytes:
    """Return the public half of a key in PEM."""
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def private_pem(key: Any) -> bytes:
    """Return a key in PEM, with its private half."""
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return data


def jwk(key: Any, kid: str | None = None, **more: object) -> dict[str, Any]:
    """Return the public half of a key, or a secret, as an entry of a key set."""
    if isinstance(key, bytes):
        entry: dict[str, Any] = {"kty": "oct", "k": base64url(key)}
    elif isinstance(key, rsa.RSAPrivateKey):
        entry = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        entry = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        entry = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    entry.pop("key_ops", None)
    if kid is not None:
        entry["kid"] = kid
    return entry | more


def jwks(*entries: object) -> bytes:
    """Return a key set."""
    return json.dumps({"keys": entries}).encode()


def claims(**more: object) -> dict[str, object]:
    """Return the claims of a token that holds for a minute; None removes one."""
    made = {"sub": "alice", "exp": NOW_S + 60, **more}
    return {name: value for name, value in made.items() if value is not None}


def signed(
    key: Any, algorithm: str, payload: dict[str, object] | None = None, **header: object
) -> str:
    """Return a token as a site's library makes it."""
    data = json.dumps(claims() if payload is None else payload).encode()
    return PyJWS().encode(data, key, algorithm, headers=header)


def base64url(data: bytes) -> str:
    """Return bytes as a token has them."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: object, payload: object, signature: bytes = b"") -> str:
    """Return a token that no library would make; bytes are taken as they are."""
    parts = [
        one if isinstance(one, bytes) else json.dumps(one).encode() for one in (header, payload)
    ]
    return ".".join(base64url(part) for part in (*parts, signature))


def hmac_signed(header: object, payload: object, secret: bytes, hash_name: str = "sha256") -> str:
    """Return a token signed with any bytes as the secret, whatever the header says."""
    body = by_hand(header, payload).rpartition(".")[0]
    digest = hmac.new(secret, body.encode(), getattr(hashlib, hash_name)).digest()
    return f"{body}.{base64url(digest)}"


def signed_as(key: Any, header: dict[str, object], payload: object) -> str:
    """Return a token signed in the way of its key, whatever its header says.

    The hash is the one that the header names, so that a verifier that took the header's word for it
    could find the signature to be right.
    """
    body = by_hand(header, payload).rpartition(".")[0]
    message = body.encode()
    name = str(header["alg"])
    hashed = {"384": hashes.SHA384, "512": hashes.SHA512}.get(name[-3:], hashes.SHA256)()
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(message, padding.PKCS1v15(), hashed)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        signature = der_to_raw_signature(key.sign(message, ec.ECDSA(hashed)), key.curve)
    else:
        signature = key.sign(message)
    return f"{body}.{base64url(signature)}"
