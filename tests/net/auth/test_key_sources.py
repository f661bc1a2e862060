"""Keys in files: read at start and again on SIGHUP; a mistake keeps what was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.logs import captured_logs
from support.tokens import SECRET, ec_key, jwk, jwks, pem, rsa_key

from rtchat.errors import AccessRefused
from rtchat.net.auth.key_sources import (
    MAX_KEY_BYTES,
    JwksFile,
    KeySource,
    PemFile,
    SecretFile,
)
from rtchat.net.auth.verification_keys import VerificationKey


def found(source: KeySource, kid: str | None, algorithm: str) -> list[object]:
    keys = source.find(kid, algorithm)
    assert isinstance(keys, tuple)
    assert all(isinstance(key, VerificationKey) for key in keys)
    return [key.material for key in keys]


def refusal(source: KeySource, kid: str | None, algorithm: str) -> str:
    with pytest.raises(AccessRefused) as error:
        source.find(kid, algorithm)
    return error.value.reason


def public(key: Any) -> object:
    return key.public_key()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


CASES = [
    (SecretFile, lambda: SECRET + b"\n", "HS256", lambda: SECRET),
    (PemFile, lambda: pem(rsa_key()), "RS256", lambda: public(rsa_key())),
    (JwksFile, lambda: jwks(jwk(rsa_key(), "k")), "RS256", lambda: public(rsa_key())),
]


@pytest.mark.parametrize("kind, data, algorithm, key", CASES)
def test_a_file_is_read_at_once(path: Path, kind: Any, data: Any, algorithm: str, key: Any) -> None:
    with captured_logs() as logs:
        source: KeySource = kind(written(path, data()))
        source.start()
        assert found(source, None, algorithm) == [key()]
        assert source.problem == ""
        source.stop()
    assert logs.lines() == []


def test_a_kid_chooses_in_a_key_set_and_nowhere_else(path: Path) -> None:
    assert found(SecretFile(written(path, SECRET)), "any", "HS256") == [SECRET]
    assert found(PemFile(written(path, pem(ec_key()))), "any", "ES256") == [public(ec_key())]
    keys = JwksFile(written(path, jwks(jwk(SECRET, "s"), jwk(ec_key(), "e"))))
    assert found(keys, "s", "HS256") == [SECRET]
    assert refusal(keys, "any", "HS256") == "unknown key id"


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("kind", [SecretFile, PemFile, JwksFile])
def test_a_file_that_is_not_there_is_named(path: Path, kind: Any) -> None:
    with pytest.raises(FileNotFoundError) as error:
        kind(path)
    assert error.value.filename == str(path)


@pytest.mark.parametrize("kind", [SecretFile, PemFile, JwksFile])
def test_a_folder_is_no_file(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(IsADirectoryError) as error:
        kind(tmp_path)
    assert error.value.filename == str(tmp_path)


@pytest.mark.parametrize("kind", [SecretFile, PemFile, JwksFile])
def test_a_pipe_is_not_waited_for(path: Path, kind: Any) -> None:
    os.mkfifo(path)
    with pytest.raises(ValueError, match=f"^{path} is not a file$"):
        kind(path)


@pytest.mark.parametrize("kind", [SecretFile, PemFile, JwksFile])
def test_a_file_is_not_endless(path: Path, kind: Any) -> None:
    with pytest.raises(ValueError, match=f"^{path} has more than 256 KiB$"):
        kind(written(path, b" " * (MAX_KEY_BYTES + 1)))


def test_the_largest_file_is_read(path: Path) -> None:
    assert found(SecretFile(written(path, b"s" * MAX_KEY_BYTES)), None, "HS512")


@pytest.mark.parametrize(
    "kind, data, problem",
    [
        (SecretFile, b"short", "has 5 bytes; a secret needs 32"),
        (PemFile, b"hello", "holds no public key in PEM"),
        (JwksFile, b"hello", "is not a JSON Web Key Set"),
    ],
)
def test_a_file_with_something_else_is_named(
    path: Path, kind: Any, data: bytes, problem: str
) -> None:
    with pytest.raises(ValueError, match=f"^{path} {problem}"):
        kind(written(path, data))


# ---------------------------------------------------------------- SIGHUP


@pytest.mark.parametrize("kind, data, algorithm, key", CASES)
@pytest.mark.parametrize("mistake", ["gone", "garbage"])
def test_a_mistake_keeps_the_keys(
    path: Path, kind: Any, data: Any, algorithm: str, key: Any, mistake: str
) -> None:
    source: KeySource = kind(written(path, data()))
    if mistake == "gone":
        path.unlink()
    else:
        path.write_bytes(b"garbage")
    with pytest.raises((OSError, ValueError)):
        source.reload()
    assert found(source, None, algorithm) == [key()]


def test_new_keys_replace_the_old_ones(path: Path) -> None:
    source = JwksFile(written(path, jwks(jwk(rsa_key(), "old"))))
    path.write_bytes(jwks(jwk(rsa_key(), "old"), jwk(ec_key(), "new")))
    assert refusal(source, "new", "ES256") == "unknown key id"
    source.reload()
    assert found(source, "new", "ES256") == [public(ec_key())]
    assert found(source, "old", "RS256") == [public(rsa_key())]
    path.write_bytes(jwks(jwk(ec_key(), "new")))
    source.reload()
    assert refusal(source, "old", "RS256") == "unknown key id"


def test_another_kind_of_key_may_replace_one(path: Path) -> None:
    source = PemFile(written(path, pem(rsa_key())))
    path.write_bytes(pem(ec_key()))
    source.reload()
    assert refusal(source, None, "RS256") == "wrong algorithm"
    assert found(source, None, "ES256") == [public(ec_key())]


# ---------------------------------------------------------------- what the log says


def test_a_key_that_is_skipped_is_said(path: Path) -> None:
    data = jwks(jwk(rsa_key(), "enc", use="enc"), jwk(rsa_key(), "sig"))
    with captured_logs() as logs:
        JwksFile(written(path, data))
    assert logs.lines("warn") == [
        f"{path}: key 1 ('enc') is not meant for checking signatures; it is not used"
    ]


@pytest.mark.parametrize("mode, is_open", [(0o600, False), (0o640, False), (0o644, True)])
def test_a_secret_that_every_user_may_read_is_said(path: Path, mode: int, is_open: bool) -> None:
    for kind, data in ((SecretFile, SECRET), (JwksFile, jwks(jwk(SECRET, "s")))):
        with captured_logs() as logs:
            kind(written(path, data, mode))
        assert logs.lines("warn") == is_open * [
            f"{path} holds a secret, and every user of this machine may read or change it; "
            f"chmod o-rw {path}"
        ]


def test_a_public_key_may_be_read_by_every_user(path: Path) -> None:
    with captured_logs() as logs:
        PemFile(written(path, pem(rsa_key()), 0o644))
        JwksFile(written(path, jwks(jwk(rsa_key(), "k")), 0o644))
    assert logs.lines() == []
