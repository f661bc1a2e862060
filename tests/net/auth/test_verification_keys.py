"""Keys that check tokens: what each fits, and what is no key."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, x25519
from support.certificate import Certificate
from support.tokens import (
    SECRET,
    base64url,
    ec_key,
    ed448_key,
    ed25519_key,
    jwk,
    jwks,
    pem,
    private_pem,
    rsa_key,
)

from rtchat.errors import AccessRefused
from rtchat.net.auth.verification_keys import (
    MAX_KEYS,
    MAX_TRIED_KEYS,
    KeySet,
    keys_of_jwks,
    keys_of_pem,
    keys_of_secret,
)

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
KINDS = [
    (rsa_key, RSA),
    (ec_key, {"ES256"}),
    (lambda: ec_key("P-384"), {"ES384"}),
    (lambda: ec_key("P-521"), {"ES512"}),
    (ed25519_key, {"EdDSA"}),
    (ed448_key, {"EdDSA"}),
]


def public_jwks(*entries: object) -> KeySet:
    return keys_of_jwks(jwks(*entries), may_hold_secrets=False)


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    "size, algorithms",
    [
        (32, {"HS256"}),
        (47, {"HS256"}),
        (48, {"HS256", "HS384"}),
        (63, {"HS256", "HS384"}),
        (64, {"HS256", "HS384", "HS512"}),
        (500, {"HS256", "HS384", "HS512"}),
    ],
)
def test_a_secret_is_at_least_as_long_as_the_hash(size: int, algorithms: set[str]) -> None:
    [key] = keys_of_secret(b"s" * size).keys
    assert key.algorithms == algorithms


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_line_end_after_a_secret_is_no_part_of_it(end: bytes) -> None:
    assert keys_of_secret(SECRET + end).keys[0].material == SECRET


def test_other_white_space_is_a_part_of_it() -> None:
    assert keys_of_secret(b" " + SECRET + b" \n\n").keys[0].material == b" " + SECRET + b" \n"


@pytest.mark.parametrize("data", [b"", b"\n", b"s" * 31, b"s" * 31 + b"\n"])
def test_a_short_secret_is_refused(data: bytes) -> None:
    size = len(data.strip())
    with pytest.raises(ValueError, match=f"^has {size} bytes; a secret needs 32; make one with:"):
        keys_of_secret(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pem(rsa_key()),
        lambda: private_pem(rsa_key()),
        lambda: b"\n" + pem(ec_key()),
        lambda: Certificate.make().pem,
        lambda: json.dumps(jwk(rsa_key())).encode(),
        lambda: jwks(jwk(ec_key())),
    ],
)
def test_a_public_key_is_no_secret(make: Any) -> None:
    with pytest.raises(ValueError, match=r"holds a key or a certificate and no secret; name it"):
        keys_of_secret(make())


# ---------------------------------------------------------------- PEM


@pytest.mark.parametrize("make, algorithms", KINDS)
def test_the_kind_of_a_key_fixes_its_algorithms(make: Any, algorithms: set[str]) -> None:
    [key] = keys_of_pem(pem(make())).keys
    assert key.algorithms == algorithms


def test_a_certificate_stands_for_its_key() -> None:
    [key] = keys_of_pem(Certificate.make(ec_key()).pem).keys
    assert key.material == ec_key().public_key()


def test_several_keys_may_be_in_a_file_with_other_text_between_them() -> None:
    data = b"old:\n" + pem(rsa_key("old")) + b"new:\n" + pem(ec_key())
    assert [key.algorithms for key in keys_of_pem(data).keys] == [RSA, {"ES256"}]


def test_a_file_with_more_keys_than_are_tried_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^holds 5 keys; at most 4, or use jwks$"):
        keys_of_pem(pem(ec_key()) * (MAX_TRIED_KEYS + 1))


@pytest.mark.parametrize(
    "make, problem",
    [
        (lambda: b"", "holds no public key in PEM"),
        (lambda: b"hello", "holds no public key in PEM"),
        (lambda: private_pem(rsa_key()), "holds a private key, which belongs to the site alone"),
        (
            lambda: pem(rsa_key()) + private_pem(ec_key()),
            "holds a private key, which belongs to the site alone",
        ),
        (
            lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "holds a key that cannot be read",
        ),
        (
            lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "holds a key that cannot be read",
        ),
        (
            lambda: b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
            "holds X509 CRL and no public key",
        ),
        (
            lambda: pem(rsa_key("small", 1024)),
            "holds a key that has 1024 bits; an RSA key needs 2048 to 8192",
        ),
        (
            lambda: pem(ec.generate_private_key(ec.SECP256K1())),
            "holds a key that is on the curve secp256k1; use P-256, P-384 or P-521",
        ),
        (
            lambda: pem(dsa.generate_private_key(1024)),
            "holds a key that is neither RSA, EC nor Ed25519 or Ed448",
        ),
        (
            lambda: pem(x25519.X25519PrivateKey.generate()),
            "holds a key that is neither RSA, EC nor Ed25519 or Ed448",
        ),
    ],
)
def test_a_file_that_is_no_public_key_is_refused(make: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        keys_of_pem(make())


# ---------------------------------------------------------------- key sets


@pytest.mark.parametrize("make, algorithms", KINDS)
def test_a_key_set_has_keys_of_every_kind(make: Any, algorithms: set[str]) -> None:
    [key] = public_jwks(jwk(make(), "k1")).keys
    assert key.kid == "k1"
    assert key.algorithms == algorithms
    assert key.material == make().public_key()


def test_what_a_key_is_meant_for_is_kept_to() -> None:
    keys = public_jwks(
        jwk(rsa_key(), "a", alg="PS256", use="sig"),
        jwk(ec_key(), "b", key_ops=["verify"], unknown=[1]),
    )
    assert [key.algorithms for key in keys.keys] == [{"PS256"}, {"ES256"}]


def test_a_secret_is_taken_from_a_file_only() -> None:
    data = jwks(jwk(SECRET, "s"), jwk(ec_key(), "k"))
    assert keys_of_jwks(data, may_hold_secrets=True).kids == {"s", "k"}
    keys = keys_of_jwks(data, may_hold_secrets=False)
    assert keys.kids == {"k"}
    assert keys.skipped == (
        "key 1 ('s') is symmetric: every reader of the address could sign tokens",
    )


_NOT_ON_THE_CURVE = jwk(ec_key()) | {"y": base64url(b"\x01" * 32)}


@pytest.mark.parametrize(
    "entry, why",
    [
        (7, "key 1 is not an object"),
        ({}, "key 1 is of the kind 'None'"),
        ({"kty": "AKP", "kid": "pq"}, "key 1 ('pq') is of the kind 'AKP'"),
        ({"kty": "x" * 99}, "key 1 is of the kind 'xxxxxxxxxxxxxxxxxxxx'..."),
        ({"kty": ["RSA"]}, "key 1 has a wrong 'kty'"),
        (jwk(rsa_key(), n=5), "key 1 has a wrong 'n'"),
        (jwk(rsa_key()) | {"kid": 5}, "key 1 has a wrong 'kid'"),
        (jwk(rsa_key(), alg=None), "key 1 has a wrong 'alg'"),
        (jwk(rsa_key(), key_ops="verify"), "key 1 has a wrong 'key_ops'"),
        (jwk(rsa_key(), use="enc"), "key 1 is not meant for checking signatures"),
        (jwk(rsa_key(), key_ops=["sign"]), "key 1 is not meant for checking signatures"),
        (jwk(rsa_key(), alg="RSA-OAEP"), "key 1 does not fit the algorithm 'RSA-OAEP'"),
        (jwk(rsa_key(), alg="HS256"), "key 1 does not fit the algorithm 'HS256'"),
        (jwk(rsa_key(), alg="none"), "key 1 does not fit the algorithm 'none'"),
        (jwk(ec_key(), alg="ES384"), "key 1 does not fit the algorithm 'ES384'"),
        (
            jwk(ec_key(), "a\nb", d="AA"),
            "key 1 ('a\\nb') is a private key: every reader of it could sign tokens; remove it",
        ),
        ({"kty": "RSA"}, "key 1 cannot be read as a key of the kind RSA"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "key 1 "),
        ({"kty": "RSA", "n": "!", "e": "é"}, "key 1 cannot be read as a key of the kind RSA"),
        ({"kty": "EC", "crv": "P-256"}, "key 1 cannot be read as a key of the kind EC"),
        (_NOT_ON_THE_CURVE, "key 1 cannot be read as a key of the kind EC"),
        (
            {"kty": "OKP", "crv": "X25519", "x": base64url(b"x" * 32)},
            "key 1 cannot be read as a key of the kind OKP",
        ),
        ({"kty": "OKP", "crv": "Ed25519"}, "key 1 cannot be read as a key of the kind OKP"),
        (
            jwk(rsa_key("small", 1024)),
            "key 1 has 1024 bits; an RSA key needs 2048 to 8192",
        ),
        (
            {"kty": "RSA", "e": "AQAB", "n": base64url(b"\xff" * 1025)},
            "key 1 has 8200 bits; an RSA key needs 2048 to 8192",
        ),
    ],
)
def test_a_key_that_cannot_be_used_is_skipped_with_the_reason(entry: object, why: str) -> None:
    keys = public_jwks(entry, jwk(ec_key(), "good"))
    assert keys.kids == {"good"}
    [skipped] = keys.skipped
    assert skipped.startswith(why)
    with pytest.raises(ValueError, match=f"^has no key that can be used: {re.escape(why)}"):
        public_jwks(entry)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html>",
        b"[]",
        b'{"keys": {}}',
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"keys": ' + b"[" * 100_000,
        json.dumps(jwk(ec_key())).encode(),
    ],
)
def test_what_is_no_key_set_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^is not a JSON Web Key Set"):
        keys_of_jwks(data, may_hold_secrets=True)


def test_an_empty_key_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^has no key that can be used: it is empty$"):
        public_jwks()


def test_a_key_set_is_not_endless() -> None:
    entries = [jwk(ec_key(), str(number)) for number in range(MAX_KEYS + 1)]
    assert len(public_jwks(*entries[1:]).keys) == MAX_KEYS
    with pytest.raises(ValueError, match=r"^has 101 keys; at most 100$"):
        public_jwks(*entries)


# ---------------------------------------------------------------- which key fits


def refusal(keys: KeySet, kid: str | None, algorithm: str) -> str:
    with pytest.raises(AccessRefused) as error:
        keys.fitting(kid, algorithm)
    return error.value.reason


def test_a_token_names_a_key_by_its_kid() -> None:
    keys = public_jwks(jwk(rsa_key(), "a"), jwk(rsa_key("other"), "b"))
    [key] = keys.fitting("b", "RS256")
    assert key.material == rsa_key("other").public_key()
    assert refusal(keys, "c", "RS256") == "unknown key id"
    assert refusal(keys, "", "RS256") == "unknown key id"
    assert refusal(keys, "A", "RS256") == "unknown key id"


def test_a_key_without_a_name_is_for_tokens_that_name_none() -> None:
    keys = public_jwks(jwk(rsa_key()), jwk(ec_key(), "k"))
    assert len(keys.fitting(None, "RS256")) == 1
    assert len(keys.fitting(None, "ES256")) == 1
    assert refusal(keys, "other", "RS256") == "unknown key id"


@pytest.mark.parametrize("algorithm", ["HS256", "none", "ES256", "EdDSA", "RS1", "", "rs256"])
def test_an_algorithm_of_another_kind_fits_no_key(algorithm: str) -> None:
    keys = public_jwks(jwk(rsa_key(), "a"))
    assert refusal(keys, "a", algorithm) == "wrong algorithm"
    assert refusal(keys, None, algorithm) == "wrong algorithm"


def test_two_kinds_of_keys_may_have_one_name() -> None:
    keys = public_jwks(jwk(rsa_key(), "a"), jwk(ec_key(), "a"))
    assert [key.algorithms for key in keys.fitting("a", "ES256")] == [{"ES256"}]
    assert [key.algorithms for key in keys.fitting("a", "RS256")] == [RSA]


def test_only_a_few_keys_are_tried() -> None:
    few = [jwk(ec_key("P-256", str(number)), "same") for number in range(MAX_TRIED_KEYS)]
    assert len(public_jwks(*few).fitting("same", "ES256")) == MAX_TRIED_KEYS
    many = public_jwks(*few, jwk(ec_key("P-256", "more"), "same"))
    assert refusal(many, "same", "ES256") == "too many keys"
    assert refusal(many, None, "ES256") == "too many keys fit: no key id"


def test_no_text_of_a_key_shows_the_secret() -> None:
    [key] = keys_of_secret(SECRET).keys
    assert SECRET.decode() not in repr(key)
