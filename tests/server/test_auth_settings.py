"""[users], [tokens] and [hooks]: their keys, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.server.auth import AuthPart
from rtchat.server.auth_settings import AuthSettings, HookSettings, TokenSettings, UserSettings


def settings(ini: Path, text: str) -> AuthSettings:
    found = read(ini, LISTEN + text).of(AuthPart)
    assert isinstance(found, AuthSettings)
    return found


def test_without_a_section_there_is_no_log_in(ini: Path) -> None:
    assert settings(ini, "") == AuthSettings()


def test_users_have_a_file_a_checker_or_both(ini: Path) -> None:
    found = settings(ini, "[users]\nfile = users.txt\n").users
    assert found == UserSettings(file=ini.parent / "users.txt")
    found = settings(
        ini, "[users]\nchecker = file:x\nsession.max_age = 60\nsession.key = key\n"
    ).users
    assert found == UserSettings(
        checker="file:x", session_max_age_s=60, session_key=ini.parent / "key"
    )


def test_tokens_have_one_source_of_keys(ini: Path) -> None:
    found = settings(
        ini,
        "[tokens]\nsecret.file = s\nissuer = me\naudience = you\ncookie = c\nleeway = 2.5\n",
    ).tokens
    assert found == TokenSettings(
        secret_file=ini.parent / "s", issuer="me", audience="you", cookie="c", leeway_s=2.5
    )
    found = settings(ini, "[tokens]\njwks = https://id.example/keys\n").tokens
    assert found == TokenSettings(jwks="https://id.example/keys")
    found = settings(ini, "[tokens]\njwks = keys.json\n").tokens
    assert found == TokenSettings(jwks=str(ini.parent / "keys.json"))


def test_hooks_have_an_address_or_a_class(ini: Path) -> None:
    found = settings(
        ini,
        "[hooks]\nurl = http://127.0.0.1:8000/hook\nevents = connect, send\nsecret.file = s\n"
        "timeout = 2\non_failure = allow\n",
    ).hooks
    assert found == HookSettings(
        url="http://127.0.0.1:8000/hook",
        events=("connect", "send"),
        secret_file=ini.parent / "s",
        timeout_s=2,
        allows_on_failure=True,
    )
    found = settings(ini, "[hooks]\npython = site:Hook\n").hooks
    assert found == HookSettings(python="site:Hook")


@pytest.mark.parametrize(
    "text, problem",
    [
        ("[users]\n", "[users] needs file, checker or both"),
        ("[users]\nsession.max_age = 60\n", "[users] needs file, checker or both"),
        ("[users]\nfile = x\nsession.max_age = 5\n", "a number of seconds from 60 to"),
        ("[tokens]\n", "[tokens] needs secret.file, key.file or jwks, and one of them only"),
        ("[tokens]\nsecret.file = a\njwks = b\n", "and one of them only"),
        ("[hooks]\n", "[hooks] needs url or python, and one of them only"),
        ("[hooks]\nurl = http://x/\npython = a:B\n", "and one of them only"),
        ("[hooks]\nurl = http://x/\nevents = conect\n", "did you mean connect?"),
        ("[hooks]\nurl = http://x/\nevents = a,\n", "they are connect, subscribe, send"),
        ("[hooks]\nurl = http://x/\non_failure = maybe\n", "write refuse or allow"),
        ("[rights]\n* = read /#\n", "[rights] has no effect without [users], [tokens] or [hooks]"),
        ("[groups]\nstaff = ada\n", "[groups] has no effect without"),
        ("[users]\nfile = x\n[rights]\n@staf = read /#\n", "is about a group that is not there"),
    ],
)
def test_what_does_not_fit_together_is_refused(ini: Path, text: str, problem: str) -> None:
    assert problem in refused(ini, LISTEN + text)
