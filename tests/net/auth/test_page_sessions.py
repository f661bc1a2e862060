"""The cookie of the page's log-in: what it is good for, and until when."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import jwt
import pytest

from rtchat.core.auth.identity import Identity
from rtchat.errors import AccessRefused
from rtchat.net.auth.page_sessions import KEY_BYTES, CookieSessions, session_key

KEY = bytes(range(KEY_BYTES))


class World:
    def __init__(self, key: bytes = KEY) -> None:
        self.now_s = 1_000_000.0
        self.stamps = {"ada": "hash of ada", "bob": "hash of bob"}
        self.sessions = CookieSessions(key, 3600, lambda: self.now_s, self.stamps.get)

    def reason(self, cookie: str) -> str:
        with pytest.raises(AccessRefused) as caught:
            self.sessions.user_of(cookie)
        assert caught.value.message == "access refused"
        return caught.value.reason


@pytest.fixture
def world() -> World:
    return World()


def test_a_cookie_names_its_user(world: World) -> None:
    cookie = world.sessions.open("ada")
    assert world.sessions.user_of(cookie) == Identity("ada", expires_s=1_003_600.0)


def test_each_log_in_has_another_cookie(world: World) -> None:
    assert world.sessions.open("ada") != world.sessions.open("ada")


def test_it_ends_with_its_time(world: World) -> None:
    cookie = world.sessions.open("ada")
    world.now_s += 3599
    world.sessions.user_of(cookie)
    world.now_s += 1
    assert "expired" in world.reason(cookie)


def test_it_ends_with_a_log_out_and_others_do_not(world: World) -> None:
    cookie, other = world.sessions.open("ada"), world.sessions.open("ada")
    assert world.sessions.close(cookie) == "ada"
    assert "log-out" in world.reason(cookie)
    world.sessions.user_of(other)
    assert world.sessions.close(cookie) == world.sessions.close("nonsense") == ""


def test_a_log_in_has_one_text_only(world: World) -> None:
    cookie = world.sessions.open("ada")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [cookie[:-1] + letter for letter in letters] + [cookie + "=", cookie[:-3] + "!" * 2]
    accepted = []
    for other in others:
        with suppress(AccessRefused):
            world.sessions.user_of(other)
            accepted.append(other)
    assert accepted == [cookie]


def test_no_other_user_can_make_a_log_out_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtchat.net.auth.page_sessions._MAX_CLOSED", 5)
    stolen = world.sessions.open("ada")
    world.sessions.close(stolen)
    for _ in range(50):
        world.sessions.close(world.sessions.open("bob"))
    assert "log-out" in world.reason(stolen)
    assert len(world.sessions._closed["bob"]) == 5


def test_log_outs_are_forgotten_when_their_cookies_have_ended(world: World) -> None:
    for _ in range(50):
        world.sessions.close(world.sessions.open("ada"))
    world.now_s += 3600
    world.sessions.close(world.sessions.open("ada"))
    assert len(world.sessions._closed["ada"]) == 1


def test_it_ends_when_the_user_is_removed_or_has_another_password(world: World) -> None:
    ada, bob = world.sessions.open("ada"), world.sessions.open("bob")
    world.stamps["ada"] = "another hash"
    del world.stamps["bob"]
    assert "removed or changed" in world.reason(ada)
    assert "removed or changed" in world.reason(bob)


def test_the_key_makes_the_difference(world: World) -> None:
    cookie = world.sessions.open("ada")
    assert World().sessions.user_of(cookie).user == "ada"  # after a restart, with its file
    assert "not signed" in World(bytes(KEY_BYTES)).reason(cookie)


@pytest.mark.parametrize(
    "change",
    [
        {"sub": "bob"},
        {"aud": "another"},
        {"stamp": ""},
        {"exp": 10**12},
    ],
)
def test_nothing_in_it_can_be_changed(world: World, change: dict[str, object]) -> None:
    claims = jwt.decode(world.sessions.open("ada"), options={"verify_signature": False})
    for key, algorithm in ((b"x" * 32, "HS256"), ("", "none")):
        forged = jwt.encode({**claims, **change}, key, algorithm)
        assert "not signed" in world.reason(forged)


def test_a_token_of_a_site_with_the_same_key_is_no_cookie(world: World) -> None:
    token = jwt.encode({"sub": "ada", "exp": 10**12}, KEY, "HS256")
    assert "not signed" in world.reason(token)


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "e30.e30.", "x" * 100_000])
def test_what_is_no_cookie(world: World, cookie: str) -> None:
    assert world.reason(cookie)


def test_so_many_log_outs_are_remembered(world: World) -> None:
    world.sessions._closed["ada"] = {str(number): world.now_s + 60 for number in range(100)}
    other = world.sessions.open("bob")
    world.sessions.close(other)
    cookie = world.sessions.open("ada")
    world.sessions.close(cookie)
    assert len(world.sessions._closed["ada"]) == 100
    assert "log-out" in world.reason(cookie)
    assert "log-out" in world.reason(other)


# ---------------------------------------------------------------- the key


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = session_key(path)
    assert len(key) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert session_key(path) == key
    assert session_key(None) != session_key(None)


@pytest.mark.parametrize("text", ["", "xyz", "00" * 5, "é"])
def test_a_file_with_another_content_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="has no key that this server wrote; remove the file"):
        session_key(path)
    assert path.read_text(encoding="utf-8") == text


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be created"):
        session_key(tmp_path / "no" / "key")
