"""[log]: the file for messages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused
from support.in_memory import InMemory

from rtchat.server.message_log import MessageLogPart
from rtchat.server.process import process_user


def test_the_message_log_need_not_exist_yet(ini: Path, tmp_path: Path) -> None:
    settings = read(ini, f"{LISTEN}[log]\nmessages = chat.jsonl\n")
    assert settings.of(MessageLogPart).path == tmp_path / "chat.jsonl"
    assert not (tmp_path / "chat.jsonl").exists()


def test_a_message_log_needs_its_folder(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[log]\nmessages = logs/chat.jsonl\n") == (
        "chat.ini:4: [log] messages = logs/chat.jsonl is in a folder that does not exist; "
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


# ---------------------------------------------------------------- the running server


def test_without_a_line_there_is_no_message_log(in_memory: InMemory) -> None:
    server = in_memory.start(LISTEN)
    part = server.part(MessageLogPart)
    assert part.service() is None
    assert not part.reload()


def test_a_file_that_the_new_user_may_not_write_ends_the_start(
    in_memory: InMemory, tmp_path: Path
) -> None:
    server = in_memory.make(f"{LISTEN}[log]\nmessages = chat.jsonl\n")
    server.service.privilegedStartService()
    (tmp_path / "chat.jsonl").mkdir()
    with pytest.raises(SystemExit) as end:
        server.service.startService()
    assert str(end.value) == (
        f"rtchat: {in_memory.ini}:4: [log] messages = chat.jsonl cannot be written by "
        f"{process_user()} (Is a directory: {tmp_path}/chat.jsonl); change the permissions or the "
        "path."
    )


def test_the_file_is_closed_at_the_end(in_memory: InMemory, tmp_path: Path) -> None:
    server = in_memory.start(f"{LISTEN}[log]\nmessages = chat.jsonl\n")
    assert (tmp_path / "chat.jsonl").read_bytes() == b""
    stopped: list[object] = []
    server.service.stopService().addCallback(stopped.append)
    in_memory.reactor.turn()
    assert len(stopped) == 1
