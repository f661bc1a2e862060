"""What is asked of twistd's options before it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.application.twist._options import TwistOptions
from twisted.scripts._twistd_unix import ServerOptions

from rtchat.server.process import process_user
from rtchat.server.runner import prepare


def options(*words: str) -> Any:
    """Return twistd's options for a command line; the last word of a real one is ``rtchat``."""
    parsed: Any = ServerOptions()
    parsed.subCommand = "rtchat"
    parsed.opts["nodaemon"] = False
    for word in words:
        name, has_value, value = word.partition("=")
        parsed.opts[name] = "".join(value) if has_value else True
    return parsed


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(parsed: Any) -> str:
    with pytest.raises(SystemExit) as end:
        prepare(parsed)
    return str(end.value)


def test_in_the_foreground_there_is_no_pid_file_unless_one_is_named() -> None:
    parsed = options("nodaemon")
    prepare(parsed)
    assert parsed["pidfile"] == ""
    named = options("nodaemon")
    named["pidfile"] = "".join(["twistd", ".pid"])  # typed, and equal to the default
    prepare(named)
    assert named["pidfile"] == "twistd.pid"


def test_a_daemon_has_a_pid_file(folder: Path) -> None:
    parsed = options()
    prepare(parsed)
    assert parsed["pidfile"] == "twistd.pid"
    assert list(folder.iterdir()) == [], "the trial is removed"


def test_the_debugger_runs_in_the_foreground() -> None:
    parsed = options("debug")
    prepare(parsed)
    assert parsed["pidfile"] == ""


def test_twist_has_no_such_options() -> None:
    prepare(TwistOptions())


@pytest.mark.parametrize(
    "words, problem",
    [
        ([], "the log /proc/twistd.log cannot be written by {user} (No such file or directory)"),
        (["syslog"], "the pid file /proc/twistd.pid cannot be written by {user} ("),
        (["nodaemon", "logfile=/proc/log"], "the log /proc/log cannot be written by {user} ("),
        (["nodaemon", "pidfile=/proc/pid"], "the pid file /proc/pid cannot be written by {user} ("),
        (["nodaemon", "rundir=/proc/none"], "the folder /proc/none does not exist; create it"),
    ],
)
def test_what_twistd_could_not_write_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, words: list[str], problem: str
) -> None:
    monkeypatch.chdir("/proc")
    said = refusal(options(*words))
    assert said.startswith(f"rtchat: {problem.replace('{user}', process_user())}")


def test_a_folder_that_may_not_be_entered_ends_the_start(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    locked = folder / "locked"
    locked.mkdir()
    locked.chmod(0)
    if (own := os.geteuid()) == 0:  # which may enter all
        request.addfinalizer(lambda: os.seteuid(own))
        os.seteuid(65534)
    said = refusal(options("nodaemon", "rundir=/", f"logfile={locked}/log"))
    assert said.startswith(f"rtchat: the log {locked}/log cannot be written by {process_user()} (")


def test_the_trial_leaves_links_alone(folder: Path) -> None:
    (folder / "twistd.log").symlink_to("elsewhere.log")
    prepare(options())
    assert (folder / "twistd.log").is_symlink()


def test_the_paths_of_another_root_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    prepare(options("chroot=/somewhere"))


@pytest.mark.parametrize("text", ["", "{own}", "4194305"])
def test_a_pid_file_of_a_server_that_has_gone_is_removed(folder: Path, text: str) -> None:
    path = folder / "a.pid"
    path.write_text(text.replace("{own}", str(os.getpid())), encoding="ascii")
    prepare(options("nodaemon", "pidfile=a.pid"))
    assert not path.exists()


def test_another_file_is_not_overwritten(folder: Path) -> None:
    (folder / "a.pid").write_bytes(b"\xff notes")
    assert refusal(options("nodaemon", "pidfile=a.pid")).startswith("rtchat: a.pid is no pid file")
    assert (folder / "a.pid").read_bytes() == b"\xff notes"


def test_a_folder_is_no_pid_file(folder: Path) -> None:
    (folder / "a.pid").mkdir()
    assert refusal(options("nodaemon", "pidfile=a.pid")) == (
        f"rtchat: the pid file a.pid cannot be read by {process_user()} (Is a directory); change "
        "its permissions, or name another file with --pidfile."
    )
