"""Services under runners that leave steps out, and what is said when one fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import environment
from twisted.application.service import Service
from twisted.logger import capturedLogs, formatEvent
from typing_extensions import override

from rtchat.errors import StartFailed
from rtchat.server.start import DaemonWatch, StartService


class Step(Service):
    """Takes note of the steps of the start, and fails at one of them."""

    def __init__(self, fails_at: str = "", end: BaseException | None = None) -> None:
        self.steps: list[str] = []
        self._fails_at = fails_at
        self._end = end or SystemExit("rtchat: no such port.")

    @override
    def privilegedStartService(self) -> None:
        self._take("ports")

    @override
    def startService(self) -> None:
        self._take("start")

    def _take(self, step: str) -> None:
        self.steps.append(step)
        if step == self._fails_at:
            raise self._end


def server_of(step: Step) -> StartService:
    service = StartService()
    step.setServiceParent(service)
    return service


def test_a_runner_that_opens_no_ports_gets_them_all_the_same() -> None:
    step = Step()
    server_of(step).startService()
    assert step.steps == ["ports", "start"]


def test_ports_are_opened_once_in_each_life() -> None:
    step = Step()
    service = server_of(step)
    service.privilegedStartService()
    service.startService()
    assert step.steps == ["ports", "start"]
    service.stopService()
    service.startService()
    assert step.steps == ["ports", "start"] * 2


@pytest.mark.parametrize("fails_at", ["ports", "start"])
def test_a_failure_is_said_once_on_standard_error_and_logged(
    capfd: pytest.CaptureFixture[str], fails_at: str
) -> None:
    service = server_of(Step(fails_at))
    with capturedLogs() as events, pytest.raises(StartFailed) as end:
        service.startService()
    assert capfd.readouterr().err == "rtchat: no such port.\n"
    assert [formatEvent(event) for event in events] == ["no such port."]
    assert (str(end.value), end.value.code) == ("rtchat: no such port.", 1)


def test_the_end_is_an_exception_for_runners_and_silent_for_python() -> None:
    assert issubclass(StartFailed, Exception)
    code = "from rtchat.errors import StartFailed; raise StartFailed('said already')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_bug_stays_what_it_is_for_the_runner() -> None:
    with pytest.raises(ValueError, match="a bug"):
        server_of(Step("ports", ValueError("a bug"))).startService()


def test_a_failure_without_standard_error_is_no_second_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    with pytest.raises(StartFailed):
        server_of(Step("ports")).startService()


def test_a_fork_that_is_no_daemon_is_left_alone() -> None:
    watch = DaemonWatch()
    child = os.fork()
    if child == 0:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert not watch.failed("there is no shell that waits")
    watch.started()


# Forks as twistd does; what the daemon does is in {daemon}.
DAEMON = """
import os
from twisted.application import service
from twisted.internet import reactor
from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner
from rtchat.server.start import DaemonWatch

watch = DaemonWatch()
runner = UnixApplicationRunner(ServerOptions())
status = runner.daemonize(reactor)
{daemon}
"""


def become_daemon(folder: Path, daemon: str) -> tuple[int, str]:
    """Return how the process of the shell ended, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", DAEMON.replace("{daemon}", daemon)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_shell_hears_of_a_daemon_that_runs(tmp_path: Path) -> None:
    daemon = "watch.started(); os.write(status, b'0')"
    assert become_daemon(tmp_path, daemon) == (0, "")


def test_the_shell_hears_why_a_daemon_has_failed(tmp_path: Path) -> None:
    assert become_daemon(tmp_path, "watch.failed('rtchat: Grüße.')") == (1, "rtchat: Grüße.\n")


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "raise SystemExit(0)"])
def test_a_daemon_that_ends_without_a_word_holds_up_no_shell(tmp_path: Path, end: str) -> None:
    assert become_daemon(tmp_path, end) == (
        1,
        "rtchat: the server ended during its start; its log says why.\n",
    )
