"""Tokens: what is accepted, and every reason to refuse one."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.logs import captured_logs
from support.tokens import (
    NOW_S,
    SECRET,
    base64url,
    by_hand,
    claims,
    ec_key,
    ed448_key,
    ed25519_key,
    hmac_signed,
    jwk,
    jwks,
    pem,
    rsa_key,
    signed,
    signed_as,
)
from twisted.internet.defer import CancelledError, Deferred
from typing_extensions import override

from rtchat.core.auth.identity import Identity
from rtchat.errors import AccessRefused
from rtchat.net.auth.key_sources import Found, KeySource
from rtchat.net.auth.tokens import MAX_TOKEN_BYTES, TokenVerifier
from rtchat.net.auth.verification_keys import (
    KeySet,
    VerificationKey,
    keys_of_jwks,
    keys_of_pem,
    keys_of_secret,
)

ALICE = Identity(user="alice", expires_s=NOW_S + 60)


class Keys(KeySource):
    """Keys that are there, and what they were asked for."""

    def __init__(self, keys: KeySet, *, has_names: bool = False) -> None:
        self._keys = keys
        self._has_names = has_names
        self.asked: list[tuple[str | None, str]] = []

    @override
    def find(self, kid: str | None, algorithm: str) -> Found:
        self.asked.append((kid, algorithm))
        return self._keys.fitting(kid if self._has_names else None, algorithm)

    @override
    def reload(self) -> None:
        """Do nothing."""


def with_secret(secret: bytes = SECRET, **options: Any) -> TokenVerifier:
    return TokenVerifier(Keys(keys_of_secret(secret)), **options)


def with_pem(*keys: Any) -> TokenVerifier:
    return TokenVerifier(Keys(keys_of_pem(b"".join(pem(key) for key in keys))))


def with_jwks(*entries: object) -> TokenVerifier:
    keys = keys_of_jwks(jwks(*entries), may_hold_secrets=True)
    return TokenVerifier(Keys(keys, has_names=True))


def reason(verifier: TokenVerifier, token: str, now_s: float = NOW_S) -> str:
    with pytest.raises(AccessRefused) as error:
        verifier.verify(token, now_s)
    assert str(error.value) == "access refused"
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return error.value.reason


# ---------------------------------------------------------------- what is accepted


@pytest.mark.parametrize("algorithm, size", [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_checks_hmac(algorithm: str, size: int) -> None:
    secret = b"s" * size
    assert with_secret(secret).verify(signed(secret, algorithm), NOW_S) == ALICE


@pytest.mark.parametrize(
    "make, algorithm",
    [
        *((rsa_key, name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        (ec_key, "ES256"),
        (lambda: ec_key("P-384"), "ES384"),
        (lambda: ec_key("P-521"), "ES512"),
        (ed25519_key, "EdDSA"),
        (ed448_key, "EdDSA"),
    ],
)
def test_a_public_key_checks_what_it_fits(make: Any, algorithm: str) -> None:
    token = signed(make(), algorithm)
    assert with_pem(make()).verify(token, NOW_S) == ALICE
    assert with_jwks(jwk(make(), "k")).verify(token, NOW_S) == ALICE


RFC_7515_PAYLOAD = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)


@pytest.mark.parametrize(
    "entry, header, signature",
    [
        (
            {
                "kty": "oct",
                "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
                "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
            },
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            },
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSA"
            "pmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ],
    ids=["A.1", "A.3"],
)
def test_the_tokens_of_rfc_7515_are_signed_as_they_say(
    entry: dict[str, object], header: str, signature: str
) -> None:
    """They have no user, which is looked at last."""
    verifier = with_jwks(entry)
    token = f"{header}.{RFC_7515_PAYLOAD}.{signature}"
    assert reason(verifier, token, 1300819379.9) == "no subject"
    assert reason(verifier, token, 1300819380) == "expired"
    forged = f"{header}.{base64url(b'{}')}.{signature}"
    assert reason(verifier, forged, 1300819379) == "wrong signature"


def test_a_token_of_pyjwt_itself_is_read() -> None:
    token = jwt.encode(claims(), SECRET, "HS256", headers={"kid": "any", "x": 1})
    assert with_secret().verify(token, NOW_S) == ALICE


def test_while_keys_change_either_is_tried() -> None:
    verifier = with_pem(rsa_key("old"), rsa_key("new"))
    for name in ("old", "new"):
        assert verifier.verify(signed(rsa_key(name), "RS256"), NOW_S) == ALICE
    assert reason(verifier, signed(rsa_key("other"), "RS256")) == "wrong signature"


# ---------------------------------------------------------------- confusion of algorithms


@pytest.mark.parametrize("hash_name, algorithm", [("sha256", "HS256"), ("sha512", "HS512")])
@pytest.mark.parametrize("make", [rsa_key, ec_key, ed25519_key])
def test_a_public_key_is_no_secret_for_hmac(make: Any, hash_name: str, algorithm: str) -> None:
    header = {"alg": algorithm, "kid": "k"}
    public = pem(make())
    for secret in (public, public.strip(), json.dumps(jwk(make())).encode(), b""):
        token = hmac_signed(header, claims(), secret, hash_name)
        assert reason(with_pem(make()), token) == "wrong algorithm"
        assert reason(with_jwks(jwk(make(), "k")), token) == "wrong algorithm"


@pytest.mark.parametrize(
    "spelling", ["none", "None", "NONE", "nOnE", "nonE"], ids=lambda name: f"alg-{name}"
)
@pytest.mark.parametrize("make", [with_secret, lambda: with_pem(rsa_key())])
def test_no_signature_is_never_enough(make: Any, spelling: str) -> None:
    header = {"alg": spelling, "typ": "JWT"}
    assert reason(make(), by_hand(header, claims())) == "algorithm none"
    assert reason(make(), by_hand(header, claims(), b"x")) == "algorithm none"
    assert reason(make(), hmac_signed(header, claims(), SECRET)) == "algorithm none"


@pytest.mark.parametrize("spelling", ["none ", "", "\u0578one", "no\u200bne", "NONE\x00", "Hs256"])
def test_no_other_spelling_is_an_algorithm(spelling: str) -> None:
    for token in (
        by_hand({"alg": spelling}, claims()),
        hmac_signed({"alg": spelling}, claims(), SECRET),
    ):
        assert reason(with_secret(), token) == "wrong algorithm"


@pytest.mark.parametrize("value", [None, 5, ["HS256"], {"a": 1}, True])
def test_an_algorithm_is_a_text(value: object) -> None:
    assert reason(with_secret(), hmac_signed({"alg": value}, claims(), SECRET)) == "no algorithm"
    assert reason(with_secret(), hmac_signed({}, claims(), SECRET)) == "no algorithm"


@pytest.mark.parametrize(
    "make, algorithm",
    [
        (ec_key, "RS256"),
        (ec_key, "ES384"),
        (ec_key, "ES512"),
        (ec_key, "ES521"),
        (ec_key, "ES256K"),
        (ec_key, "EdDSA"),
        (lambda: ec_key("P-384"), "ES256"),
        (lambda: ec_key("P-521"), "ES521"),
        (rsa_key, "ES256"),
        (rsa_key, "EdDSA"),
        (ed25519_key, "ES256"),
        (ed25519_key, "Ed25519"),
        (ed25519_key, "PS256"),
    ],
)
def test_a_key_is_not_used_with_another_kinds_algorithm(make: Any, algorithm: str) -> None:
    token = signed_as(make(), {"alg": algorithm, "kid": "k"}, claims())
    assert reason(with_pem(make()), token) == "wrong algorithm"
    assert reason(with_jwks(jwk(make(), "k")), token) == "wrong algorithm"


def test_a_secret_too_short_for_a_hash_does_not_check_it() -> None:
    token = hmac_signed({"alg": "HS512"}, claims(), SECRET, "sha512")
    assert reason(with_secret(), token) == "wrong algorithm"


def test_a_key_set_may_mix_kinds_and_none_stands_for_another() -> None:
    verifier = with_jwks(jwk(rsa_key(), "r"), jwk(SECRET, "s"), jwk(ec_key(), "e"))
    assert verifier.verify(signed(SECRET, "HS256", kid="s"), NOW_S) == ALICE
    assert reason(verifier, signed(SECRET, "HS256", kid="r")) == "wrong algorithm"
    assert reason(verifier, signed(rsa_key(), "RS256", kid="s")) == "wrong algorithm"
    assert reason(verifier, signed(rsa_key(), "RS256", kid="e")) == "wrong algorithm"
    forged = hmac_signed({"alg": "HS256"}, claims(), pem(rsa_key()))
    assert reason(verifier, forged) == "wrong signature"


# ---------------------------------------------------------------- keys that a header brings along


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": jwk(rsa_key("thief"), "k")},
        {"jku": "http://127.0.0.1:9/jwks.json"},
        {"x5u": "http://127.0.0.1:9/cert.pem"},
        {"x5c": ["AAAA"]},
        {"x5t": "AAAA", "x5t#S256": "AAAA"},
        {"jwk": jwk(b"s" * 32)},
    ],
)
def test_a_key_in_the_header_is_not_looked_at(header: dict[str, Any]) -> None:
    for verifier in (with_pem(rsa_key()), with_jwks(jwk(rsa_key(), "k"))):
        stolen = signed(rsa_key("thief"), "RS256", kid="k", **header)
        assert reason(verifier, stolen) == "wrong signature"
        assert verifier.verify(signed(rsa_key(), "RS256", kid="k", **header), NOW_S) == ALICE


# ---------------------------------------------------------------- kid


HOSTILE_KIDS = [
    "../../../../dev/null",
    "/etc/passwd",
    "k\x00",
    "k' OR '1'='1",
    "k\r\nX: y",
    "",
    " k",
    "K",
    "\ud800",
    "k" * 4000,
    "http://127.0.0.1:9/",
    "${jndi:ldap://x}",
]


@pytest.mark.parametrize("kid", HOSTILE_KIDS, ids=repr)
def test_a_kid_is_only_compared(kid: str) -> None:
    verifier = with_jwks(jwk(rsa_key(), "k"))
    assert reason(verifier, signed(rsa_key(), "RS256", kid=kid)) == "unknown key id"
    empty = hmac_signed({"alg": "HS256", "kid": kid}, claims(), b"")
    assert reason(verifier, empty) == "unknown key id"


@pytest.mark.parametrize("kid", [None, 7, ["k"], {"k": 1}, True])
def test_a_kid_is_a_text(kid: object) -> None:
    token = hmac_signed({"alg": "HS256", "kid": kid}, claims(), SECRET)
    assert reason(with_secret(), token) == "unusable header"


def test_of_two_kids_in_a_header_the_last_counts() -> None:
    keys = Keys(keys_of_jwks(jwks(jwk(SECRET, "a")), may_hold_secrets=True), has_names=True)
    verifier = TokenVerifier(keys)
    header = b'{"alg":"none","kid":"b","alg":"HS256","kid":"a"}'
    assert verifier.verify(hmac_signed(header, claims(), SECRET), NOW_S) == ALICE
    header = b'{"alg":"HS256","kid":"a","alg":"none","kid":"b"}'
    assert reason(verifier, hmac_signed(header, claims(), SECRET)) == "algorithm none"
    assert keys.asked == [("a", "HS256")]


def test_both_keys_of_one_name_are_tried() -> None:
    verifier = with_jwks(jwk(ec_key(), "k"), jwk(ec_key("P-256", "new"), "k"))
    for key in (ec_key(), ec_key("P-256", "new")):
        assert verifier.verify(signed(key, "ES256", kid="k"), NOW_S) == ALICE
    assert reason(verifier, signed(ec_key("P-256", "x"), "ES256", kid="k")) == "wrong signature"


# ---------------------------------------------------------------- the form of a token


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"crit": "b64"},
        {"crit": None},
    ],
)
def test_no_extension_is_understood(header: dict[str, object]) -> None:
    token = hmac_signed({"alg": "HS256", **header}, claims(), SECRET)
    assert reason(with_secret(), token) == "unusable header"


def test_a_payload_is_in_the_token() -> None:
    assert reason(with_secret(), hmac_signed({"alg": "HS256", "b64": False}, claims(), SECRET)) in {
        "malformed",
        "unusable header",
    }


GOOD = signed(SECRET, "HS256")
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "alice",
        HEADER,
        f"{HEADER}.{PAYLOAD}",
        f"{GOOD}.",
        f"{GOOD}.{SIGNATURE}",
        f"{HEADER}.{PAYLOAD}.{PAYLOAD}.{PAYLOAD}.{SIGNATURE}",
        f" {GOOD}",
        f"{GOOD}\n",
        f"Bearer {GOOD}",
        f"{HEADER}.{PAYLOAD}.!!!",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}é",
        f"\ud800{GOOD}",
        by_hand(b"", claims()),
        by_hand(b"{", claims()),
        by_hand(b"null", claims()),
        by_hand([], claims()),
        by_hand("alg", claims()),
        by_hand(b"\xff\xff", claims()),
        by_hand(b"[" * 4000, claims()),
        by_hand(b'{"a":' * 800, claims()),
        by_hand(b'{"alg":' + b"9" * 4400 + b"}", claims()),
        "\x00" * 100,
        "." * MAX_TOKEN_BYTES,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    assert reason(with_secret(), token) == "malformed"


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b'"alice"', b"{", b"\xff\xff", b"[" * 4000, b'{"exp":' + b"9" * 4400],
)
def test_what_is_no_set_of_claims_is_refused(payload: bytes) -> None:
    assert reason(with_secret(), hmac_signed({"alg": "HS256"}, payload, SECRET)) == "malformed"


def test_a_token_is_not_endless() -> None:
    token = signed(SECRET, "HS256", claims(more="x" * 6000))
    assert MAX_TOKEN_BYTES - 200 < len(token) <= MAX_TOKEN_BYTES
    assert with_secret().verify(token, NOW_S) == ALICE
    assert reason(with_secret(), token + "x" * MAX_TOKEN_BYTES) == "too long"
    assert reason(with_secret(), "x" * (MAX_TOKEN_BYTES + 1)) == "too long"
    assert reason(with_secret(), "é" * MAX_TOKEN_BYTES) == "malformed"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_changed_token_is_refused(part: int) -> None:
    parts = GOOD.split(".")
    at = len(parts[part]) // 2
    changed = "A" if parts[part][at] != "A" else "B"
    parts[part] = parts[part][:at] + changed + parts[part][at + 1 :]
    assert reason(with_secret(), ".".join(parts)) in {"wrong signature", "malformed"}


def test_a_signature_is_not_left_out_or_cut() -> None:
    verifier = with_pem(ec_key())
    body, _, signature = signed(ec_key(), "ES256").rpartition(".")
    for cut in ("", signature[:-4], signature[:40], base64url(b"\x00" * 64), signature * 2):
        assert reason(verifier, f"{body}.{cut}") in {"wrong signature", "malformed"}


# ---------------------------------------------------------------- who a token is from, and for


def signed_with(**more: object) -> str:
    return signed(SECRET, "HS256", claims(**more))


def test_the_issuer_is_exactly_the_configured_one() -> None:
    verifier = with_secret(issuer="https://id.example/")
    assert verifier.verify(signed_with(iss="https://id.example/"), NOW_S) == ALICE
    for wrong in ("https://id.example", "https://ID.example/", "", ["https://id.example/"], 7):
        assert reason(verifier, signed_with(iss=wrong)) == "wrong issuer"
    assert reason(verifier, signed_with()) == "no issuer"


def test_the_issuer_is_not_looked_at_unless_it_is_configured() -> None:
    assert with_secret().verify(signed_with(iss="https://id.example/"), NOW_S) == ALICE


def test_the_audience_is_the_configured_one() -> None:
    verifier = with_secret(audience="chat")
    assert verifier.verify(signed_with(aud="chat"), NOW_S) == ALICE
    assert verifier.verify(signed_with(aud=["shop", "chat"]), NOW_S) == ALICE
    for wrong in ("shop", "Chat", "chat2", "cha", ["shop"], ["chat", 7], {"chat": 1}, 7):
        assert reason(verifier, signed_with(aud=wrong)) == "wrong audience"
    absences: tuple[object, ...] = (None, "", [])
    for absent in absences:
        assert reason(verifier, signed_with(aud=absent)) == "no audience"


def test_a_token_for_another_server_is_refused_without_an_audience_too() -> None:
    assert reason(with_secret(), signed_with(aud="shop")) == "unexpected audience"


# ---------------------------------------------------------------- claims


@pytest.mark.parametrize(
    "more, refused",
    [
        ({"exp": None}, "no expiry"),
        ({"exp": NOW_S}, "expired"),
        ({"exp": "soon"}, "wrong expiry"),
        ({"nbf": NOW_S + 1}, "not valid yet"),
        ({"iat": NOW_S + 1}, "issued in the future"),
        ({"sub": None}, "no subject"),
        ({"sub": 7}, "wrong subject"),
        ({"nick": 7}, "wrong nick"),
        ({"groups": "staff"}, "wrong groups"),
        ({"groups": ["g"] * 101}, "too many groups"),
        ({"rtchat": {"admin": ["#"]}}, "wrong rights"),
        ({"rtchat": {"read": ["a"] * 101}}, "too many rights"),
    ],
)
def test_claims_are_looked_at_once_the_signature_is_right(
    more: dict[str, object], refused: str
) -> None:
    payload = claims() | more
    payload = {name: value for name, value in payload.items() if value is not None}
    assert reason(with_secret(), signed(SECRET, "HS256", payload)) == refused
    forged = signed(b"x" * 32, "HS256", payload)
    assert reason(with_secret(), forged) == "wrong signature"


def test_the_leeway_is_the_configured_one() -> None:
    token = signed_with(exp=NOW_S, nbf=NOW_S - 60)
    verifier = with_secret(leeway_s=5)
    assert verifier.verify(token, NOW_S + 4.9) == Identity(user="alice", expires_s=NOW_S + 5)
    assert reason(verifier, token, NOW_S + 5) == "expired"
    assert verifier.verify(token, NOW_S - 65).user == "alice"  # type: ignore[union-attr]
    assert reason(verifier, token, NOW_S - 65.1) == "not valid yet"


def test_the_systems_clock_is_not_asked() -> None:
    for now_s in (100.0, 100_000_000_000.0):
        token = signed_with(exp=now_s + 1, iat=now_s, nbf=now_s)
        assert with_secret().verify(token, now_s) == Identity(user="alice", expires_s=now_s + 1)


# ---------------------------------------------------------------- keys that come later


class LateKeys(KeySource):
    """Keys that come when the test says so."""

    def __init__(self) -> None:
        self.answer: Deferred[Sequence[VerificationKey]] = Deferred()

    @override
    def find(self, kid: str | None, algorithm: str) -> Found:
        return self.answer

    @override
    def reload(self) -> None:
        """Do nothing."""


def test_an_identity_may_come_later() -> None:
    keys = LateKeys()
    results: list[Any] = []
    answer = TokenVerifier(keys).verify(GOOD, NOW_S)
    assert isinstance(answer, Deferred)
    answer.addBoth(results.append)
    assert results == []
    keys.answer.callback(keys_of_secret(SECRET).keys)
    assert results == [ALICE]


@pytest.mark.parametrize("refused", ["wrong signature", "no keys yet"])
def test_a_refusal_may_come_later(refused: str) -> None:
    keys = LateKeys()
    results: list[Any] = []
    answer = TokenVerifier(keys).verify(GOOD, NOW_S)
    assert isinstance(answer, Deferred)
    answer.addErrback(lambda failure: results.append(failure.value))
    if refused == "no keys yet":
        keys.answer.errback(AccessRefused(refused))
    else:
        keys.answer.callback(keys_of_secret(b"x" * 32).keys)
    [error] = results
    assert isinstance(error, AccessRefused)
    assert error.reason == refused


def test_a_client_that_has_gone_waits_no_longer() -> None:
    keys = LateKeys()
    failures: list[Any] = []
    answer = TokenVerifier(keys).verify(GOOD, NOW_S)
    assert isinstance(answer, Deferred)
    answer.addErrback(failures.append)
    answer.cancel()
    assert failures[0].check(CancelledError)


# ---------------------------------------------------------------- anything at all

_TEXTS = st.one_of(
    st.text(),
    st.text(string.ascii_letters + string.digits + "-_.=", max_size=200),
    st.builds(
        by_hand,
        st.one_of(
            st.binary(),
            st.dictionaries(
                st.sampled_from(["alg", "kid", "crit", "b64"]),
                st.one_of(
                    st.none(),
                    st.booleans(),
                    st.text(),
                    st.sampled_from(["HS256", "RS256"]),
                    st.lists(st.text()),
                ),
            ),
        ),
        st.binary(),
        st.binary(),
    ),
)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@given(_TEXTS)
def test_any_text_is_refused_with_a_reason(text: str) -> None:
    with captured_logs() as logs:
        assert reason(with_secret(), text)
        assert reason(with_jwks(jwk(rsa_key(), "k")), text)
    assert logs.lines() == []


@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "nbf", "iat", "nick", "groups", "rtchat", "aud", "iss"]),
        _JSON,
    )
)
def test_any_claims_are_an_identity_or_refused(some: dict[str, object]) -> None:
    token = hmac_signed({"alg": "HS256"}, claims() | some, SECRET)
    try:
        identity = with_secret().verify(token, NOW_S)
    except AccessRefused as error:
        assert error.reason
    else:
        assert isinstance(identity, Identity)
        assert identity.user
        assert identity.expires_s is not None
        assert identity.expires_s > NOW_S
        hash(identity)


def test_no_file_and_no_address_is_opened_for_a_token(tmp_path: Path) -> None:
    """A token names files and addresses; were one opened, the empty secret would fit."""
    (tmp_path / "empty").write_bytes(b"")
    header = {"alg": "HS256", "kid": str(tmp_path / "empty")}
    token = hmac_signed(header, claims(), b"")
    assert reason(with_jwks(jwk(SECRET, "k")), token) == "unknown key id"
    assert reason(with_secret(), token) == "wrong signature"
