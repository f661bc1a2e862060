"""Changes of a password file: what stays, who waits, and what a failure leaves."""

from __future__ import annotations

import fcntl
import os
import subprocess
import threading
from pathlib import Path

import pytest
from support.needs import require

from rtchat.errors import ConfigError
from rtchat.net.auth.hashes import Scrypt
from rtchat.net.auth.password_file import PasswordFile
from rtchat.net.auth.password_writing import remove_user, set_user


def quick(password: str) -> str:
    """Hash a password with little work."""
    return Scrypt.of(password, ln=4, r=1, p=1).text


ONE, TWO = quick("one"), quick("two")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


class TestAUserIsSet:
    def test_in_a_new_file_that_only_its_owner_reads(self, path: Path) -> None:
        before = os.umask(0)
        try:
            assert not set_user(path, "ada", ONE)
        finally:
            os.umask(before)
        assert path.read_text(encoding="utf-8") == f"ada:{ONE}\n"
        assert mode(path) == 0o600

    def test_at_the_end_or_in_the_old_place(self, path: Path) -> None:
        path.write_text(f"# people\nada:{ONE}\n\ngrace:{ONE}:admiral\n", encoding="utf-8")
        assert not set_user(path, "jörg", TWO)
        assert set_user(path, "ada", TWO)
        assert path.read_text(encoding="utf-8") == (
            f"# people\nada:{TWO}\n\ngrace:{ONE}:admiral\njörg:{TWO}\n"
        )

    @pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n"])
    def test_whatever_the_last_line_ends_with(self, path: Path, end: str) -> None:
        path.write_bytes(f"ada:{ONE}{end}".encode())
        set_user(path, "grace", TWO)
        assert sorted(PasswordFile(path).names) == ["ada", "grace"]

    def test_a_second_line_of_the_same_user_goes(self, path: Path) -> None:
        path.write_text(f"ada:{ONE}\ngrace:{ONE}\nada:{ONE}\n", encoding="utf-8")
        assert set_user(path, "ada", TWO)
        assert path.read_text(encoding="utf-8") == f"ada:{TWO}\ngrace:{ONE}\n"

    def test_htpasswd_understands_the_file(self, path: Path) -> None:
        set_user(path, "ada", ONE)
        program = require("htpasswd")
        subprocess.run(
            [program, "-bB", str(path), "grace", "x"], check=True, capture_output=True, timeout=30
        )
        assert sorted(PasswordFile(path).names) == ["ada", "grace"]


class TestAUserIsRemoved:
    def test_with_every_line(self, path: Path) -> None:
        path.write_text(f"ada:{ONE}\n# x\ngrace:{ONE}\nada:{TWO}\n", encoding="utf-8")
        assert remove_user(path, "ada")
        assert path.read_text(encoding="utf-8") == f"# x\ngrace:{ONE}\n"

    def test_an_unknown_one_leaves_the_file_alone(self, path: Path) -> None:
        path.write_text(f"ada:{ONE}\n", encoding="utf-8")
        before = path.stat().st_ino
        assert not remove_user(path, "grace")
        assert path.stat().st_ino == before

    def test_a_missing_file_is_not_made(self, path: Path) -> None:
        with pytest.raises(ConfigError, match="there is no such file"):
            remove_user(path, "ada")
        assert not path.exists()


class TestTheFileIsReplaced:
    @pytest.mark.parametrize("bits", [0o600, 0o640, 0o644])
    def test_permissions_stay(self, path: Path, bits: int) -> None:
        path.write_text(f"ada:{ONE}\n", encoding="utf-8")
        path.chmod(bits)
        set_user(path, "ada", TWO)
        assert mode(path) == bits

    def test_the_owner_stays(self, path: Path) -> None:
        path.write_text(f"ada:{ONE}\n", encoding="utf-8")
        # Only root may give a file to others; its owner may give it to another group of theirs.
        owner = (12345, 23456) if not os.geteuid() else (os.geteuid(), os.getgroups()[-1])
        os.chown(path, *owner)
        set_user(path, "ada", TWO)
        assert (path.stat().st_uid, path.stat().st_gid) == owner

    def test_a_file_that_would_change_its_owner_is_left_alone(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_text(f"ada:{ONE}\n", encoding="utf-8")
        made = os.fstat

        def other_owner(number: int) -> os.stat_result:
            status = list(made(number))
            if not status[6]:  # the new file is empty yet
                status[4] += 1
            return os.stat_result(status)

        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("rtchat.net.auth.password_writing.os.fstat", other_owner)
        monkeypatch.setattr("rtchat.net.auth.password_writing.os.fchown", refuse)
        with pytest.raises(ConfigError, match="run this as that user or as root"):
            set_user(path, "ada", TWO)
        assert path.read_text(encoding="utf-8") == f"ada:{ONE}\n"
        assert list(path.parent.iterdir()) == [path]

    def test_a_link_stays_a_link(self, path: Path, tmp_path: Path) -> None:
        path.symlink_to(tmp_path / "real")
        set_user(path, "ada", ONE)
        assert path.is_symlink()
        assert (tmp_path / "real").read_text(encoding="utf-8") == f"ada:{ONE}\n"

    @pytest.mark.parametrize("function", ["fsync", "rename"])
    def test_a_failure_leaves_the_old_one_and_nothing_else(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, function: str
    ) -> None:
        path.write_text(f"ada:{ONE}\n", encoding="utf-8")

        def refuse(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(f"rtchat.net.auth.password_writing.os.{function}", refuse)
        with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
            set_user(path, "ada", TWO)
        assert path.read_text(encoding="utf-8") == f"ada:{ONE}\n"
        assert list(path.parent.iterdir()) == [path]

    def test_an_interruption_leaves_the_old_one_and_nothing_else(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path.write_text(f"ada:{ONE}\n", encoding="utf-8")

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("rtchat.net.auth.password_writing.os.rename", interrupt)
        with pytest.raises(KeyboardInterrupt):
            set_user(path, "ada", TWO)
        assert list(path.parent.iterdir()) == [path]

    def test_a_file_with_a_mistake_is_left_alone(self, path: Path) -> None:
        path.write_text(f"ada:{ONE}\nnonsense\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=":2: there is no colon"):
            set_user(path, "ada", TWO)
        assert path.read_text(encoding="utf-8") == f"ada:{ONE}\nnonsense\n"

    def test_a_folder_that_is_not_there(self, path: Path) -> None:
        with pytest.raises(ConfigError, match="its folder cannot be opened: No such file"):
            set_user(path / "users", "ada", ONE)

    def test_a_folder_in_the_place_of_the_file(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(ConfigError, match="it is no file"):
            set_user(path, "ada", ONE)


class TestOneAtATime:
    def test_many_at_once_lose_nothing(self, path: Path) -> None:
        names = [f"user{n}" for n in range(12)]
        threads = [
            threading.Thread(target=set_user, args=(path, name, ONE), kwargs={"patience_s": 60})
            for name in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(PasswordFile(path).names) == sorted(names)
        assert list(path.parent.iterdir()) == [path]

    def test_a_lock_that_stays_is_given_up_on(self, path: Path) -> None:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            with pytest.raises(ConfigError, match="another program holds a lock"):
                set_user(path, "ada", ONE, patience_s=0)
            assert not path.exists()
        finally:
            os.close(folder)
        set_user(path, "ada", ONE, patience_s=0)
