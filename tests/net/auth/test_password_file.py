"""The password file: its lines, its mistakes, and what happens when it changes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from support.logs import captured_logs
from support.needs import require

from rtchat.errors import ConfigError
from rtchat.net.auth.hashes import STAND_IN, Scrypt, parse_hash
from rtchat.net.auth.password_file import PasswordFile, Users, name_problem

BCRYPT = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"  # U*U


def quick(password: str, r: int = 1) -> str:
    """Hash a password with little work."""
    return Scrypt.of(password, ln=4, r=r, p=1).text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A password file with two users, which was changed long ago."""
    path = tmp_path / "users"
    path.write_text(f"ada:{quick('a')}\ngrace:{BCRYPT}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let some time pass, so that what was written before is not fresh."""
    later = time.time() + 3600
    monkeypatch.setattr("rtchat.net.auth.password_file.time.time", lambda: later)


class TestLines:
    def test_users_are_read(self, path: Path) -> None:
        file = PasswordFile(path)
        assert sorted(file.names) == ["ada", "grace"]
        ada, grace = file.hash_of("ada"), file.hash_of("grace")
        assert ada is not None
        assert grace is not None
        assert ada.verify("a")
        assert grace.verify("U*U")
        assert file.hash_of("Ada") is None

    def test_comments_blank_lines_and_line_ends(self, path: Path) -> None:
        path.write_bytes(
            f"\ufeff# people\r\n\r\n  ada lovelace:{BCRYPT}  \r\n\t\n#x:y\njörg:{BCRYPT}".encode()
        )
        assert sorted(PasswordFile(path).names) == ["ada lovelace", "jörg"]

    def test_what_follows_a_second_colon_is_a_comment(self, path: Path) -> None:
        path.write_text(f"ada:{BCRYPT}:the first\n", encoding="utf-8")
        found = PasswordFile(path).hash_of("ada")
        assert found is not None
        assert found.text == BCRYPT

    def test_an_empty_file_has_no_users(self, path: Path) -> None:
        path.write_bytes(b"")
        assert list(PasswordFile(path).names) == []

    @pytest.mark.parametrize(
        "line, problem",
        [
            (b"bob", "there is no colon"),
            (b"bob:", "no hash of scrypt or bcrypt"),
            (b"bob:secret", "no hash of scrypt or bcrypt; make the line with rtchat passwd"),
            (b"bob:$apr1$x$y", "an MD5 hash"),
            (b"bob:" + BCRYPT.replace("$05$", "$31$").encode(), "the cost of this hash"),
            (b":" + BCRYPT.encode(), "'' cannot be the name of a user"),
            (b"ada :" + BCRYPT.encode(), "'ada ' cannot be the name of a user"),
            (b"a\x00b:" + BCRYPT.encode(), "cannot be the name of a user"),
            (b"x" * 129 + b":" + BCRYPT.encode(), "cannot be the name of a user"),
            (b"j\xf6rg:" + BCRYPT.encode(), "this is not UTF-8"),
            (b"grace:" + BCRYPT.encode(), "'grace' has a line already, line 2"),
            (b"@staff:" + BCRYPT.encode(), "another meaning in \\[rights\\]"),
            (b"anonymous:" + BCRYPT.encode(), "another meaning in \\[rights\\]"),
            (b"*:" + BCRYPT.encode(), "another meaning in \\[rights\\]"),
        ],
    )
    def test_a_mistake_has_file_line_and_remedy(
        self, path: Path, line: bytes, problem: str
    ) -> None:
        path.write_bytes(path.read_bytes() + b"# more\n" + line + b"\n")
        with pytest.raises(ConfigError, match=problem) as caught:
            PasswordFile(path)
        assert (caught.value.file, caught.value.line) == (str(path), 4)
        assert str(caught.value).startswith(f"{path}:4: ")
        assert BCRYPT not in str(caught.value), "a hash is not for the log"

    @pytest.mark.parametrize("name", ["ada", "ada@example.org", "x#y", "a b", "anonymous2"])
    def test_a_name_that_may_stand_there(self, name: str) -> None:
        assert name_problem(name) == ""

    @pytest.mark.parametrize("name", ["", "a:b", "#a", "a\nb", "@a", "*", "anonymous"])
    def test_a_name_that_may_not(self, name: str) -> None:
        assert "use" in name_problem(name) or "leave out" in name_problem(name)

    def test_lines_of_htpasswd_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "htpasswd"
        program = require("htpasswd")
        for options, name in [("-cbB", "ada"), ("-bB", "jörg"), ("-bB", "grace"), ("-bB", "ada")]:
            subprocess.run(
                [program, options, str(path), name, f"of {name}"],
                check=True,
                capture_output=True,
                timeout=30,
            )
        file = PasswordFile(path)
        assert sorted(file.names) == ["ada", "grace", "jörg"]
        for name in file.names:
            found = file.hash_of(name)
            assert found is not None
            assert found.verify(f"of {name}")


class TestFilesThatCannotBeUsed:
    def test_none_is_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"rtchat passwd .*/none NAME makes it"):
            PasswordFile(tmp_path / "none")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="it is no file"):
            PasswordFile(tmp_path)

    def test_a_named_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ConfigError, match="it is no file"):
            PasswordFile(tmp_path / "pipe")

    def test_one_that_may_not_be_read(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("rtchat.net.auth.password_file.os.open", refuse)
        with pytest.raises(ConfigError, match="cannot be read: Permission denied; change"):
            PasswordFile(path)

    def test_a_very_large_one(self, path: Path) -> None:
        with path.open("r+b") as stream:
            stream.truncate(8 * 1024 * 1024 + 1)
        with pytest.raises(ConfigError, match="more than 8388608 bytes"):
            PasswordFile(path)


class TestChanges:
    def test_nothing_is_read_while_nothing_changes(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle(monkeypatch)
        file = PasswordFile(path)
        assert not file.changed()
        monkeypatch.setattr(PasswordFile, "look", None)
        assert not file.reload()

    def test_a_user_is_added_and_another_one_removed(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle(monkeypatch)
        file = PasswordFile(path)
        path.write_text(f"ada:{quick('b')}\njoan:{BCRYPT}\n", encoding="utf-8")
        assert file.changed()
        assert file.reload()
        assert sorted(file.names) == ["ada", "joan"]
        ada = file.hash_of("ada")
        assert ada is not None
        assert ada.verify("b")
        assert not file.changed()
        assert not file.reload()

    def test_another_file_in_its_place(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settle(monkeypatch)
        file = PasswordFile(path)
        other = path.with_name("other")
        other.write_text(f"joan:{BCRYPT}\n", encoding="utf-8")
        other.rename(path)
        assert file.reload()
        assert list(file.names) == ["joan"]

    def test_a_new_date_alone_changes_no_users(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle(monkeypatch)
        file = PasswordFile(path)
        users = file.users
        os.utime(path, (1, 1))
        assert file.changed()
        assert not file.reload()
        assert file.users is users
        assert not file.changed()

    def test_two_changes_in_one_moment_are_both_seen(self, path: Path) -> None:
        """A file system's clock may stand still meanwhile, and the sizes be equal."""
        file = PasswordFile(path)
        assert file.changed(), "it was just written"
        file._seen = file.look()
        path.write_text(path.read_text(encoding="utf-8").replace("ada", "bob"), encoding="utf-8")
        os.utime(path, ns=(0, 0))
        assert file.reload()
        assert "bob" in file.names

    @pytest.mark.parametrize(
        "break_it, words",
        [
            (lambda path: path.write_text("ada\n", encoding="utf-8"), ":1: there is no colon"),
            (lambda path: path.unlink(), "there is no such file"),
            (lambda path: (path.unlink(), path.mkdir()), "it is no file"),
        ],
    )
    def test_a_mistake_keeps_the_users_and_is_said_once(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, break_it: object, words: str
    ) -> None:
        settle(monkeypatch)
        file = PasswordFile(path)
        before = path.read_bytes()
        with captured_logs() as logs:
            assert callable(break_it)
            break_it(path)
            assert not file.reload()
            os.utime(path.parent)
            file.apply(file.look())
        assert sorted(file.names) == ["ada", "grace"]
        assert words in file.problem
        assert [words in line for line in logs.lines()] == [True]
        if path.is_dir():
            path.rmdir()
        with captured_logs() as logs:
            path.write_bytes(before)
            assert not file.reload(), "the users are the same as before"
            assert file.problem == ""
        assert "can be read again" in logs.text()
        assert not file.changed()

    def test_users_that_were_removed_with_the_mistake_go_when_it_is_mended(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settle(monkeypatch)
        file = PasswordFile(path)
        path.write_text("ada\n", encoding="utf-8")
        assert not file.reload()
        path.write_text(f"ada:{BCRYPT}\n", encoding="utf-8")
        assert file.reload()
        assert list(file.names) == ["ada"]


class TestPermissions:
    @pytest.mark.parametrize("mode", [0o604, 0o602, 0o644])
    def test_a_file_for_everyone_is_warned_about_once(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        with captured_logs() as logs:
            file = PasswordFile(path)
            file.reload()
        assert logs.text().count("every user of this machine") == 1
        assert f"chmod o= {path}" in logs.text()

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
    def test_a_file_for_owner_and_group_is_not(self, path: Path, mode: int) -> None:
        path.chmod(mode)
        with captured_logs() as logs:
            PasswordFile(path)
        assert logs.text() == ""


class TestStandIns:
    def test_without_users_it_is_what_rtchat_passwd_would_write(self) -> None:
        assert Users({}).stand_in("ada") is STAND_IN

    def test_a_name_has_the_same_one_again(self) -> None:
        users = Users({str(n): parse_hash(quick("x", r=n + 1)) for n in range(10)})
        assert all(users.stand_in(str(n)) is users.stand_in(str(n)) for n in range(100))

    def test_unknown_names_take_the_times_of_known_ones(self) -> None:
        """Three in four users have one kind of hash, and so have three in four unknown names."""
        cheap, dear = parse_hash(quick("x")), parse_hash(quick("x", r=2))
        users = Users({str(n): dear if n % 4 else cheap for n in range(40)})
        costs = [users.stand_in(f"unknown {n}").cost for n in range(4000)]
        assert 2850 < costs.count(dear.cost) < 3150
        assert costs.count(dear.cost) + costs.count(cheap.cost) == 4000
