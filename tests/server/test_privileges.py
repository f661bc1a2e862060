"""[global] user and group."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.config.ini import SourceLine
from rtchat.server.privileges import PrivilegeSettings, PrivilegesPart


def with_global(ini: Path, line: str) -> PrivilegeSettings:
    return read(ini, f"{LISTEN}[global]\n{line}\n").of(PrivilegesPart)


def test_user_and_group_come_with_their_places(ini: Path) -> None:
    settings = with_global(ini, "user = nobody\ngroup = nogroup")
    assert settings.user == SourceLine(str(ini), 4, "user", "nobody", "global")
    assert settings.group == SourceLine(str(ini), 5, "group", "nogroup", "global")


@pytest.mark.parametrize("key", ["user", "group", "hosts"])
def test_a_name_without_value_is_refused(ini: Path, key: str) -> None:
    assert refused(ini, f"{LISTEN}[global]\n{key} =\n") == (
        f"chat.ini:4: [global] {key} has no value; write {key} = …, or remove the line"
    )
