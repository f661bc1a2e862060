"""[static]: folders and files beside the page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.server.web import WebPart


def test_static_mounts_folders_and_files_relative_to_the_ini(ini: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "robots.txt").write_text("")
    settings = read(ini, f"{LISTEN}[static]\nimg = pictures\nrobots.txt = robots.txt\n")
    assert dict(settings.of(WebPart).static) == {
        "img": tmp_path / "pictures",
        "robots.txt": tmp_path / "robots.txt",
    }


@pytest.mark.parametrize(
    "name", ["static", "ws", "stomp", "tcp", "embed", "health", "metrics", "Status"]
)
def test_a_mount_cannot_take_a_path_of_rtchats_own(ini: Path, name: str) -> None:
    assert refused(ini, f"{LISTEN}[static]\n{name} = .\n") == (
        f"chat.ini:4: [static] {name} = . takes the path /{name}, which rtchat needs; "
        "choose another name"
    )


@pytest.mark.parametrize("name", ["/img", "a/b", "..", ".hidden", "a b", "img?", "%41", "-x"])
def test_a_mount_is_one_part_of_a_url(ini: Path, name: str) -> None:
    assert refused(ini, f"{LISTEN}[static]\n{name} = .\n") == (
        f"chat.ini:4: [static] {name} = . has a name that cannot be part of a URL; "
        "use letters, digits, '.', '_' and '-', beginning with a letter or digit"
    )


def test_a_mount_that_does_not_exist_is_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[static]\nimg = pictures\n") == (
        "chat.ini:4: [static] img = pictures does not exist; write the path of a folder or file "
        "(pictures was tried)"
    )


def test_a_mount_that_may_not_be_read_is_refused(
    ini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refused(ini, f"{LISTEN}[static]\nimg = .\n") == (
        "chat.ini:4: [static] img = . cannot be read; change its permissions or the path"
    )
