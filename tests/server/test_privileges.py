"""[global] user and group."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused
from support.in_memory import InMemory, Log

from rtchat.config.ini import SourceLine
from rtchat.server import privileges
from rtchat.server.privileges import PrivilegeSettings, PrivilegesPart
from rtchat.server.process import process_user


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


# ---------------------------------------------------------------- the running server


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int | None, int | None]]:
    """Become root, and another user as far as the test can see."""
    calls: list[tuple[int | None, int | None]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "switchUID", lambda uid, gid: calls.append((uid, gid)))
    return calls


def test_without_user_and_group_the_server_stays_who_it_is(
    in_memory: InMemory, switches: list[object], log: Log
) -> None:
    in_memory.start(LISTEN)
    assert switches == []
    assert log.lines("privileges") == []


@pytest.mark.parametrize(
    "lines, said",
    [
        ("user = {user}", "user {user}, group the user's"),
        ("group = {group}", "user unchanged, group {group}"),
        ("user = {user}\ngroup = {group}", "user {user}, group {group}"),
    ],
)
def test_root_is_given_up_once_the_ports_are_open(
    in_memory: InMemory, switches: list[object], log: Log, lines: str, said: str
) -> None:
    me = pwd.getpwuid(os.getuid())
    names = {"user": me.pw_name, "group": grp.getgrgid(me.pw_gid).gr_name}
    server = in_memory.make(f"{LISTEN}[global]\n{lines.format_map(names)}\n")
    server.service.privilegedStartService()
    assert len(in_memory.reactor.tcpServers) == 1
    assert switches == []
    server.service.startService()
    uid = me.pw_uid if "user =" in lines else None
    assert switches == [(uid, me.pw_gid)]
    assert log.lines("privileges dropped") == [f"privileges dropped: {said.format_map(names)}"]


@pytest.mark.parametrize(
    "line, problem",
    [
        (
            "user = no-such-user",
            "is not a user of this machine; name one that exists, such as nobody.",
        ),
        (
            "group = no-such-group",
            "is not a group of this machine; name one that exists, such as nogroup.",
        ),
    ],
)
def test_a_name_that_does_not_exist_ends_the_start(
    in_memory: InMemory, line: str, problem: str
) -> None:
    with pytest.raises(SystemExit) as end:
        in_memory.make(f"{LISTEN}[global]\n{line}\n")
    assert str(end.value) == f"rtchat: {in_memory.ini}:4: [global] {line} {problem}"


def test_a_root_without_the_right_to_do_so_ends_the_start(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(uid: int | None, gid: int | None) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(privileges, "switchUID", refuse)
    server = in_memory.make(f"{LISTEN}[global]\ngroup = root\n")
    with pytest.raises(SystemExit) as end:
        server.service.startService()
    assert str(end.value) == (
        f"rtchat: {in_memory.ini}:4: [global] group = root is not permitted (Operation not "
        "permitted); give the process the capabilities setuid and setgid, or remove the line."
    )


def test_only_root_can_become_another_user(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as end:
        in_memory.make(f"{LISTEN}[global]\nuser = root\n")
    assert str(end.value) == (
        f"rtchat: {in_memory.ini}:4: [global] user = root needs a start as root: "
        "only root can become another user. Remove the line."
    )


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert process_user() == "user 4000000"
    monkeypatch.undo()
    assert process_user() == pwd.getpwuid(os.geteuid()).pw_name
