"""[log]: the file for messages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused

from rtchat.server.message_log import MessageLogPart


def test_the_message_log_need_not_exist_yet(ini: Path, tmp_path: Path) -> None:
    settings = read(ini, f"{LISTEN}[log]\nmessages = chat.jsonl\n")
    assert settings.of(MessageLogPart).path == tmp_path / "chat.jsonl"
    assert not (tmp_path / "chat.jsonl").exists()


def test_a_message_log_needs_its_folder(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[log]\nmessages = logs/chat.jsonl\n") == (
        "chat.ini:4: [log] messages = logs/chat.jsonl stands in no folder; "
        "create logs or change the path"
    )


def test_a_message_log_is_no_folder(ini: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    assert refused(ini, f"{LISTEN}[log]\nmessages = logs\n") == (
        "chat.ini:4: [log] messages = logs is a folder; write the path of a file in it"
    )


def test_a_message_log_must_be_writable(
    ini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def refuse(path: Path, mode: int) -> bool:
        asked.append(path)
        return mode & os.W_OK == 0

    monkeypatch.setattr(os, "access", refuse)
    error = (
        "chat.ini:4: [log] messages = chat.jsonl cannot be written; "
        "change the permissions or the path"
    )
    assert refused(ini, f"{LISTEN}[log]\nmessages = chat.jsonl\n") == error
    (tmp_path / "chat.jsonl").write_text("")
    assert refused(ini, f"{LISTEN}[log]\nmessages = chat.jsonl\n") == error
    assert asked == [tmp_path, tmp_path / "chat.jsonl"]
