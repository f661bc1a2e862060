"""What a start loads: nothing that is not needed to open the ports, and no garbage is looked for.

The start is mostly the loading of modules. These tests keep out what was found to cost much and
to be of no use yet; they look at a real ``twistd`` in the moment in which it opens its last port.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.process import ROOT, Server, environment, free_port, tutorial_ini

pytestmark = [pytest.mark.live]

# Runs twistd, notes the loaded modules whenever a TCP port is opened, and stops it again.
WATCHED = """
import gc, json, sys

opened = []

def watch(event, arguments):
    if event == "socket.bind" and isinstance(arguments[1], tuple):
        opened.append(sorted(sys.modules))
        if len(opened) == 2:
            from twisted.internet import reactor
            reactor.callWhenRunning(reactor.stop)

sys.addaudithook(watch)
from twisted.scripts.twistd import run
run()
note = {
    "opened": opened, "running": sorted(sys.modules),
    "frozen": gc.get_freeze_count(), "is_collecting": gc.isenabled(),
}
with open("note.json", "w", encoding="utf-8") as stream:
    json.dump(note, stream)
"""

# Each with all that is below it.
NEVER = {
    "automat": "twisted.application.internet brings it",
    "hypothesis": "a tool of tests",
    "pytest": "a tool of tests",
    "rtchat.blocking": "for other programs",
    "rtchat.cli": "a program of its own",
    "rtchat.net.stomp.client": "for the rtchat command",
    "rtchat.testing": "for other people's tests",
    "stomper": "for the rtchat command",
    "twisted.application.internet": "Service and LoopingCall do",
    "twisted.conch": "nothing speaks SSH",
    "twisted.web.client": "nothing asks other web servers",
    "websockets.asyncio": "only the mask is used",
    "websockets.client": "only the mask is used",
    "websockets.protocol": "only the mask is used",
    "websockets.server": "only the mask is used",
}
WITH_HISTORY = ("rtchat.net.history.sqlite_file", "rtchat.net.history.writer_thread", "sqlite3")
WITH_LOG = ("rtchat.net.message_log",)
WITH_TLS = ("rtchat.net.connection.tls",)
WITH_FRONT_PROXY = ("rtchat.net.connection.front_proxy",)
LATE = (
    "rtchat.core.selector.parser",
    "rtchat.core.selector.selector",
    "rtchat.net.gateway.relay",
    "rtchat.net.gateway.resolver",
)

ON_LOOPBACK = "[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
BUILT_IN = ON_LOOPBACK + "[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"
WITH_MESSAGE_LOG = ON_LOOPBACK + "[log]\nmessages = messages.jsonl\n"


@dataclass(frozen=True)
class Start:
    """What was loaded when the last port was opened, and when the reactor ran."""

    opened: frozenset[str]
    running: frozenset[str]
    frozen: int
    is_collecting: bool


def start(folder: Path, chat_ini: str) -> Start:
    """Start twistd with these settings, let it open its two ports, and stop it."""
    text = chat_ini.format(http=free_port(), stomp=free_port())
    (folder / "chat.ini").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "-n", "--pidfile=", "rtchat", "--config", "chat.ini"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "is ready" in done.stdout
    note = json.loads((folder / "note.json").read_text(encoding="utf-8"))
    assert len(note["opened"]) == 2
    return Start(
        frozenset(note["opened"][1]),
        frozenset(note["running"]),
        note["frozen"],
        note["is_collecting"],
    )


def beside_the_point(modules: frozenset[str]) -> set[str]:
    """Return those of the modules that no start needs."""
    return {
        module
        for module in modules
        for name in NEVER
        if module == name or module.startswith(f"{name}.")
    }


def test_the_built_in_settings_load_what_they_need(tmp_path: Path) -> None:
    seen = start(tmp_path, BUILT_IN)
    assert beside_the_point(seen.opened | seen.running) == set()
    assert seen.opened.isdisjoint({*WITH_LOG, *WITH_TLS, *LATE})
    assert seen.opened >= set(WITH_HISTORY)


def test_parts_that_are_not_configured_are_not_loaded(tmp_path: Path) -> None:
    seen = start(tmp_path, ON_LOOPBACK)
    assert seen.running.isdisjoint({*WITH_LOG, *WITH_TLS, *WITH_HISTORY, *WITH_FRONT_PROXY})


def test_a_part_is_there_before_the_server_may_become_another_user(tmp_path: Path) -> None:
    seen = start(tmp_path, WITH_MESSAGE_LOG)
    assert seen.opened >= set(WITH_LOG)
    assert seen.running.isdisjoint(WITH_HISTORY)


def test_what_only_some_requests_need_follows_the_ports(tmp_path: Path) -> None:
    """With the first of these requests would be too late: the files may have changed by then."""
    seen = start(tmp_path, ON_LOOPBACK)
    assert seen.opened.isdisjoint(LATE)
    assert seen.running >= set(LATE)


def test_what_was_loaded_is_not_looked_through_for_garbage(tmp_path: Path) -> None:
    seen = start(tmp_path, ON_LOOPBACK)
    assert seen.frozen > 10_000
    assert seen.is_collecting


def test_chat_tac_loads_no_more(tmp_path: Path) -> None:
    (tmp_path / "chat.tac").write_bytes((ROOT / "chat.tac").read_bytes())
    text = ON_LOOPBACK.format(http=free_port(), stomp=free_port())
    (tmp_path / "chat.ini").write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-c", WATCHED, "-n", "--pidfile=", "-y", "chat.tac"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=True,
    )
    note = json.loads((tmp_path / "note.json").read_text(encoding="utf-8"))
    assert beside_the_point(frozenset(note["running"])) == set()


def _facts(server: Server) -> dict[str, object]:
    """Return what the system knows of a process that a copy could have of the one it comes from."""
    process = Path(f"/proc/{server.pid}")
    status = process.joinpath("status").read_text(encoding="ascii").splitlines()
    files = sorted(os.readlink(file).partition(":")[0] for file in process.joinpath("fd").iterdir())
    said = re.sub(r"^\S+ |\b\d{5}\b|server-\w+", "", server.log(), flags=re.MULTILINE)
    return {
        # SigQ counts what waits for all processes of the user.
        "signals": [line for line in status if re.match(r"Sig[^Q]|Threads", line)],
        "files": [name.replace(str(server.folder), "") for name in files],
        "folder": os.readlink(process / "cwd") == str(server.folder),
        "said": said,
    }


def test_a_copy_is_like_a_server_that_has_loaded_everything_itself(tmp_path: Path) -> None:
    """Most tests start copies (:mod:`support.warm`), and look at nothing that these share."""
    facts: list[dict[str, object]] = []
    for prefix in ((), ("env",)):
        folder = tmp_path / f"server-{len(facts)}"
        folder.mkdir()
        http, stomp = free_port(), free_port()
        text = tutorial_ini(http, stomp)
        with Server(folder, text, http=http, stomp=stomp, prefix=prefix) as server:
            facts.append(_facts(server))
    assert facts[0] == facts[1]
