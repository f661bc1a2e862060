"""[users], [tokens], [hooks]: what ends the start, and what SIGHUP reads again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chat_ini import LISTEN
from support.in_memory import InMemory, Log
from support.tokens import SECRET

from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import Verb
from rtchat.net.auth.hashes import Scrypt
from rtchat.server.auth import AuthPart
from rtchat.server.part import Server

RIGHTS = "[rights]\n* = read /topic/news\n"
TOKENS = "[tokens]\nsecret.file = chat.secret\n"
USERS = "[users]\nfile = users.txt\n"


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "chat.secret").write_bytes(SECRET)
    os.chmod(tmp_path / "chat.secret", 0o600)
    (tmp_path / "hook.secret").write_bytes(SECRET)
    line = f"ada:{Scrypt.of('a', ln=2, r=1, p=1).text}\n"
    (tmp_path / "users.txt").write_text(line)
    os.chmod(tmp_path / "users.txt", 0o600)


@pytest.fixture
def started(in_memory: InMemory) -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.part(AuthPart).close()


def may(server: Server, user: str, destination: str) -> bool:
    login = server.part(AuthPart).login
    assert login is not None
    return login.permissions.rights_of(Identity(user)).may(Verb.READ, destination)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("[users]\nfile = none.txt\n", "4: [users] file = none.txt cannot be used: "),
        ("[users]\nchecker = nonsense:secret\n", "4: [users] checker = nonsense cannot be used: "),
        (f"{USERS}checker = nonsense:secret\n", "5: [users] checker = nonsense cannot be used: "),
        (
            "[tokens]\nsecret.file = none\n",
            "4: [tokens] secret.file = none cannot be used: FOLDER/none cannot be read "
            "(No such file or directory); ",
        ),
        (
            "[hooks]\nurl = http://127.0.0.1:1/\nsecret.file = none\n",
            "5: [hooks] secret.file = none cannot be read ",
        ),
        ("[hooks]\npython = none.at:All\n", "4: [hooks] python = none.at:All cannot be used: "),
    ],
)
def test_a_mistake_ends_the_start_with_a_line(in_memory: InMemory, text: str, problem: str) -> None:
    with pytest.raises(SystemExit) as end:
        in_memory.make(LISTEN + text)
    said = str(end.value).replace(str(in_memory.ini.parent), "FOLDER")
    assert said.startswith(f"rtchat: FOLDER/chat.ini:{problem}")
    assert "secret" not in said.partition("nonsense")[2]


# ---------------------------------------------------------------- SIGHUP


@pytest.mark.parametrize("mistake", ["gone", "garbage"])
def test_a_mistake_in_a_file_of_keys_holds_up_nothing_else(
    in_memory: InMemory, started: list[Server], log: Log, tmp_path: Path, mistake: str
) -> None:
    server = in_memory.start(f"{LISTEN}{USERS}{TOKENS}{RIGHTS}")
    started.append(server)
    keys = server.part(AuthPart).checks()["tokens"]
    if mistake == "gone":
        (tmp_path / "chat.secret").unlink()
    else:
        (tmp_path / "chat.secret").write_bytes(b"short")
    in_memory.ini.write_text(in_memory.ini.read_text().replace("news", "plans"))
    in_memory.signal(signal.SIGHUP)
    assert may(server, "ada", "/topic/plans")
    assert len(log.lines("the keys of tokens stay as they were: ")) == 1
    assert log.failures() == []
    assert keys.problem() == "the file could not be read again"
    (tmp_path / "chat.secret").write_bytes(SECRET)
    in_memory.signal(signal.SIGHUP)
    assert keys.problem() == ""


def test_a_mistake_in_the_secret_of_the_hook_holds_up_nothing_else(
    in_memory: InMemory, started: list[Server], log: Log, tmp_path: Path
) -> None:
    hooks = "[hooks]\nurl = http://127.0.0.1:1/\nsecret.file = hook.secret\n"
    server = in_memory.start(f"{LISTEN}{hooks}{RIGHTS}")
    started.append(server)
    (tmp_path / "hook.secret").unlink()
    # Another file in [hooks] counts after a restart only.
    text = in_memory.ini.read_text().replace("news", "plans")
    in_memory.ini.write_text(text.replace("secret.file = hook.secret\n", ""))
    in_memory.signal(signal.SIGHUP)
    assert may(server, "ada", "/topic/plans")
    assert len(log.lines("the secret of the hook stays as it was: ")) == 1
    assert log.failures() == []


@pytest.mark.parametrize("kept", [0, len(LISTEN), len(LISTEN + USERS)])
def test_a_file_without_rights_does_not_give_everything_to_everybody(
    in_memory: InMemory, started: list[Server], log: Log, kept: int
) -> None:
    text = f"{LISTEN}{USERS}{RIGHTS}"
    server = in_memory.start(text)
    started.append(server)
    in_memory.ini.write_text(text[:kept])
    in_memory.signal(signal.SIGHUP)
    assert not may(server, "ada", "/topic/plans")
    assert may(server, "ada", "/topic/news")
    assert len(log.lines("the rights stay as they were: ")) == 1


def test_rights_may_come_with_a_reload_and_not_go_again(
    in_memory: InMemory, started: list[Server]
) -> None:
    server = in_memory.start(f"{LISTEN}{USERS}")
    started.append(server)
    assert may(server, "ada", "/topic/plans")
    for text in (RIGHTS, ""):
        in_memory.ini.write_text(f"{LISTEN}{USERS}{text}")
        in_memory.signal(signal.SIGHUP)
        assert not may(server, "ada", "/topic/plans")


def test_the_file_is_found_from_any_folder(
    in_memory: InMemory, started: list[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    in_memory.ini = Path("chat.ini")
    server = in_memory.start(f"{LISTEN}{USERS}{RIGHTS}")
    started.append(server)
    in_memory.ini.write_text(in_memory.ini.read_text().replace("news", "plans"))
    monkeypatch.chdir("/")  # as twistd --rundir=/
    in_memory.signal(signal.SIGHUP)
    assert may(server, "ada", "/topic/plans")


def test_a_pipe_is_not_waited_for(in_memory: InMemory, started: list[Server], log: Log) -> None:
    server = in_memory.start(f"{LISTEN}{USERS}{RIGHTS}")
    started.append(server)
    in_memory.ini.unlink()
    os.mkfifo(in_memory.ini)
    in_memory.signal(signal.SIGHUP)
    [line] = log.lines("the rights stay as they were: ")
    assert line.endswith("a pipe cannot be read again; name a file")


def test_health_names_no_user(
    in_memory: InMemory, started: list[Server], log: Log, tmp_path: Path
) -> None:
    server = in_memory.start(f"{LISTEN}{USERS}")
    started.append(server)
    users = server.part(AuthPart).checks()["users"]
    assert users.problem() == ""
    line = (tmp_path / "users.txt").read_text()
    (tmp_path / "users.txt").write_text(line * 2)
    in_memory.signal(signal.SIGHUP)
    assert users.problem().startswith("the password file has a mistake")
    assert "'ada' has a line already" in "".join(log.lines(str(tmp_path)))
    assert "ada" not in users.problem()
    assert str(tmp_path) not in users.problem()
