"""Hashes of passwords: what is written, what is read, and what a line may cost."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import pytest
from support.needs import require

from rtchat.net.auth.hashes import (
    MAX_PASSWORD_BYTES,
    MAX_SCRYPT_BYTES,
    STAND_IN,
    Scrypt,
    hash_password,
    is_password,
    parse_hash,
    verify,
)

# Of the test vectors of crypt_blowfish and passlib, not of this library.
BCRYPT_LINES = [
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
    ("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
]
PASSLIB_SCRYPT = (
    "password",
    "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
)
KEY = "nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"


def quick(password: str) -> Scrypt:
    """Hash a password with little work."""
    return Scrypt.of(password, ln=4, r=1, p=1)


class TestScrypt:
    def test_the_right_password_and_a_wrong_one(self) -> None:
        text = hash_password("open sesame")
        assert verify("open sesame", text)
        assert not verify("open sesam", text)
        assert not verify("", text)

    def test_what_is_written_follows_the_recommendation(self) -> None:
        text = hash_password("x")
        assert re.fullmatch(r"\$scrypt\$ln=15,r=8,p=3\$[\w+/]{22}\$[\w+/]{43}", text)
        assert parse_hash(text).cost == STAND_IN.cost

    def test_equal_passwords_have_different_hashes(self) -> None:
        assert quick("x").text != quick("x").text

    def test_the_same_form_as_that_of_passlib(self) -> None:
        password, text = PASSLIB_SCRYPT
        assert verify(password, text)
        assert not verify("passwort", text)

    def test_a_line_is_read_and_written_alike(self) -> None:
        made = quick("x")
        assert parse_hash(made.text) == made
        assert parse_hash(PASSLIB_SCRYPT[1]).text == PASSLIB_SCRYPT[1]

    def test_the_key_is_that_of_the_standard_library(self) -> None:
        made = Scrypt.of("grüße", ln=4, r=2, p=3)
        key = hashlib.scrypt("grüße".encode(), salt=made.salt, n=16, r=2, p=3, dklen=32)
        assert made.key == key

    @pytest.mark.parametrize(
        "typed",
        [
            "gr\u00fc\u00dfe 1",
            "gru\u0308\u00dfe 1",
            "gr\u00fc\u00dfe\u00a01",
            "gr\u00fc\u00dfe\u30001",
        ],
    )
    def test_one_password_on_all_keyboards(self, typed: str) -> None:
        assert quick("gr\u00fc\u00dfe 1").verify(typed)

    @pytest.mark.parametrize("typed", ["GRÜSSE 1", "grusse 1", "grüsse 1", "grüße  1"])
    def test_what_only_looks_alike_is_another_password(self, typed: str) -> None:
        assert not quick("grüße 1").verify(typed)

    @pytest.mark.parametrize("password", ["\0", "a\0b", "\ud800", "x" * 1000])
    def test_odd_passwords_are_compared_in_full(self, password: str) -> None:
        made = quick(password)
        assert made.verify(password)
        assert not made.verify(password + "x")

    @pytest.mark.parametrize(
        "numbers",
        ["ln=18,r=8,p=1", "ln=17,r=9,p=1", "ln=17,r=8,p=3", "ln=15,r=8,p=9", "ln=10,r=8,p=300"],
    )
    def test_a_line_may_not_cost_too_much(self, numbers: str) -> None:
        with pytest.raises(ValueError, match="too much memory or time"):
            parse_hash(f"$scrypt${numbers}$aM15713r3Xsvxbi31lqr1Q${KEY}")

    def test_what_is_recommended_is_not_too_much(self) -> None:
        for numbers in ["ln=17,r=8,p=1", "ln=16,r=8,p=2", "ln=15,r=8,p=3", "ln=13,r=8,p=10"]:
            parse_hash(f"$scrypt${numbers}$aM15713r3Xsvxbi31lqr1Q${KEY}")
        assert MAX_SCRYPT_BYTES == 128 * 8 * 2**17

    @pytest.mark.parametrize(
        "text",
        [
            "$scrypt$",
            f"$scrypt$ln=15,r=8$aM15713r3Xsvxbi31lqr1Q${KEY}",
            f"$scrypt$ln=-1,r=8,p=1$aM15713r3Xsvxbi31lqr1Q${KEY}",
            f"$scrypt$ln=0,r=8,p=1$aM15713r3Xsvxbi31lqr1Q${KEY}",
            f"$scrypt$ln=99,r=8,p=1$aM15713r3Xsvxbi31lqr1Q${KEY}",
            f"$scrypt$ln=15,r=0,p=1$aM15713r3Xsvxbi31lqr1Q${KEY}",
            f"$scrypt$ln=15,r=8,p=0$aM15713r3Xsvxbi31lqr1Q${KEY}",
            f"$scrypt$ln=15,r=8,p=99999999$aM15713r3Xsvxbi31lqr1Q${KEY}",
            f"$scrypt$ln=15,r=8,p=1$aM15${KEY}",
            f"$scrypt$ln=15,r=8,p=1$aM15713r3Xsvxbi31lqr1R${KEY}",
            "$scrypt$ln=15,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh",
            f"$scrypt$ln=15,r=8,p=1$aM15713r3Xsvxbi31lqr1Q${KEY * 3}",
            f"$scrypt$ln=15,r=8,p=1$aM15713r3Xsvxbi31lqr1Q${KEY}\n",
            f"$scrypt$ln=15,r=8,p=1$aM15713r3Xsvxbi31lqr1${KEY}",
        ],
    )
    def test_what_is_damaged_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="rtchat passwd"):
            parse_hash(text)


class TestBcrypt:
    @pytest.mark.parametrize("password, text", BCRYPT_LINES)
    def test_fixed_lines(self, password: str, text: str) -> None:
        assert verify(password, text)
        assert not verify(password + "x", text)
        assert parse_hash(text).text == text

    def test_more_than_72_bytes_are_not_looked_at(self) -> None:
        """So says bcrypt; the library refuses them, and htpasswd takes them."""
        import bcrypt

        text = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
        assert verify("x" * 72, text)
        assert verify("x" * 80, text)
        assert not verify("x" * 71, text)

    @pytest.mark.parametrize("cost", ["03", "15", "31", "99"])
    def test_a_line_may_not_cost_too_much(self, cost: str) -> None:
        with pytest.raises(ValueError, match=f"the cost of this hash of bcrypt is {cost}"):
            parse_hash(BCRYPT_LINES[0][1].replace("$05$", f"${cost}$"))

    @pytest.mark.parametrize(
        "text",
        ["$2y$05$", "$2y$5$" + "C" * 53, "$2y$05$" + "C" * 53, BCRYPT_LINES[0][1] + "x"],
    )
    def test_what_is_damaged_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="damaged"):
            parse_hash(text)

    def test_each_step_of_the_cost_is_twice_the_work(self) -> None:
        costs = [
            parse_hash(BCRYPT_LINES[0][1].replace("$05$", f"${cost}$")).cost
            for cost in ("05", "06", "10")
        ]
        assert costs == [("bcrypt", 32), ("bcrypt", 64), ("bcrypt", 1024)]

    def test_the_library_is_loaded_only_for_such_a_line(self) -> None:
        program = (
            "import sys\n"
            "from rtchat.net.auth.hashes import parse_hash\n"
            f"parse_hash({PASSLIB_SCRYPT[1]!r})\n"
            "assert 'bcrypt' not in sys.modules\n"
            f"parse_hash({BCRYPT_LINES[0][1]!r})\n"
            "assert 'bcrypt' in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

    def test_without_the_library_the_error_says_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "bcrypt", None)
        with pytest.raises(ValueError, match="pip install bcrypt"):
            parse_hash(BCRYPT_LINES[0][1])


class TestHtpasswd:
    """Lines of Apache's own program."""

    def htpasswd(self, *options: str, password: str) -> str:
        program = require("htpasswd")
        line = subprocess.run(
            [program, "-n", "-i", *options, "ada"],
            input=password,
            capture_output=True,
            check=True,
            text=True,
            encoding="utf-8",
            timeout=30,
        ).stdout
        name, _, text = line.strip().partition(":")
        assert name == "ada"
        return text

    @pytest.mark.parametrize("password", ["secret", "grüße 世界", "a:b", "x" * 72, "abcdefgh" * 10])
    @pytest.mark.parametrize("cost", ["4", "10"])
    def test_its_bcrypt_is_read(self, password: str, cost: str) -> None:
        text = self.htpasswd("-B", "-C", cost, password=password)
        assert verify(password, text)
        assert not verify("y" + password, text)

    @pytest.mark.parametrize("option", ["-m", "-s", "-d", "-2", "-5", "-p"])
    def test_its_other_kinds_are_refused_with_the_remedy(self, option: str) -> None:
        with pytest.raises(ValueError, match=r"; make the line with rtchat passwd or htpasswd -B"):
            parse_hash(self.htpasswd(option, password="secret"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$",
        "$2x$05$" + "C" * 53,
        "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA",
        "{SHA}x",
        "!",
    ],
)
def test_other_texts_are_no_hashes(text: str) -> None:
    with pytest.raises(ValueError, match="make the line with"):
        parse_hash(text)


@pytest.mark.parametrize("length", [1, MAX_PASSWORD_BYTES])
def test_a_password_has_a_length(length: int) -> None:
    assert is_password("x" * length)


@pytest.mark.parametrize(
    "text", ["", "x" * (MAX_PASSWORD_BYTES + 1), "ü" * (MAX_PASSWORD_BYTES // 2 + 1), "a\0b"]
)
def test_no_password(text: str) -> None:
    assert not is_password(text)


def test_nothing_is_the_password_of_the_stand_in() -> None:
    assert not any(STAND_IN.verify(password) for password in ("", "\0", "password"))
