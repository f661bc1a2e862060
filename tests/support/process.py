"""A real server for the tests: started, watched, asked and stopped.

Each server is a ``twistd`` process of its own, in a folder of its own, on ports of its own.
What it says goes to a file, so that a test can look for a line; memory and user are read from
``/proc``.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

import pytest
from support import warm
from support.certificate import Certificate
from typing_extensions import Self

__all__ = [
    "ROOT",
    "STOP_WITHIN_S",
    "TUTORIAL_HTTP",
    "TUTORIAL_INI",
    "TUTORIAL_STOMP",
    "Server",
    "environment",
    "free_port",
    "get",
    "tutorial_ini",
    "tutorial_ports",
    "twistd",
    "until",
]

ROOT = Path(__file__).resolve().parent.parent.parent

TUTORIAL_HTTP = 9000
TUTORIAL_STOMP = 61613

START_WITHIN_S = 20.0
STOP_WITHIN_S = 6.0
"""How long a server may take to stop; a promise of the README."""
_EXIT_S = 20.0
"""How long Python may take to end after that."""

TUTORIAL_INI = """\
[listen]
# this is the server which provides the socket-proxy for javascript
http://:9000
# the following enables the MorbidQ STOMP Message Queue
stomp://:61613

[access]
# allow incoming HTTP requests on port 9000 to connect to
# localhost:61613 (i.e. the MorbidQ STOMP server)
# The * refers to the
* -> localhost:61613

[global]
session.ping_interval = 20
"""
"""The configuration of the tutorial, to the letter."""

_LISTEN = "http://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}"

_SSL_INI = """
[ssl]
crt = cert.pem
key = key.pem
"""

_T = TypeVar("_T")

# Below the ports that the system gives to outgoing connections, so that none of the many
# connections of other tests takes the port of a server that is about to come back. Workers of
# pytest-xdist, gw0, gw1, …, each have ports of their own.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PORTS = list(range(20_000 + _WORKER, 32_000, _WORKERS))
random.shuffle(_PORTS)


def free_port() -> int:
    """Return a free port that was not returned before."""
    while True:
        port = _PORTS.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port


@contextmanager
def tutorial_ports() -> Iterator[None]:
    """Have the ports of the tutorial's, and of the built-in, file for one test.

    Tests in other processes wait meanwhile. A port that another program has fails the test with a
    sentence.
    """
    with (Path(tempfile.gettempdir()) / "rtchat-tests-tutorial-ports").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in (TUTORIAL_HTTP, TUTORIAL_STOMP):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("", port))
                except OSError as error:
                    pytest.fail(
                        f"port {port} cannot be opened ({error.strerror}), and this test takes the "
                        "file as it stands: stop the program that has the port and try again"
                    )
        yield


def tutorial_ini(http: int, stomp: int, more: str = "") -> str:
    """Return the tutorial's configuration with other ports, and with lines at its end."""
    text = TUTORIAL_INI.replace(str(TUTORIAL_HTTP), str(http))
    return text.replace(str(TUTORIAL_STOMP), str(stomp)) + more


def until(
    what: str,
    probe: Callable[[], _T],
    seconds: float = 10.0,
    details: Callable[[], str] = lambda: "",
) -> _T:
    """Ask again and again until the answer is true, and give it; fail when time is up.

    Args:
        what: The thing waited for, for the failure's text.
        probe: Asked every few milliseconds.
        seconds: When to give up.
        details: What else the failure should say.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still no {what}\n{details()}")
        time.sleep(0.02)


def twistd() -> Path:
    """Return the ``twistd`` of the environment that runs the tests."""
    return Path(sys.executable).with_name("twistd")


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which Twisted finds this project, installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}


def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """Fetch a page; return the status, the headers (names in small letters) and the text."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, names, answer.read().decode()
    finally:
        connection.close()


class Server:
    """One ``twistd`` process, and the same one again after a restart.

    Args:
        folder: Where it runs and writes; ``chat.ini`` is put there.
        chat_ini: The configuration, or None for the built-in one.
        http: The port of the page.
        stomp: The port of the broker.
        arguments: What ``twistd`` is called with, if not with the usual.
        program: The runner, if it is not ``twistd``.
        prefix: Words before ``twistd``, to start it in another way.
        is_tls: Let every ``http://`` in the configuration be ``https://``, with a certificate
            that the browser of the tests trusts.

    Attributes:
        certificate: What an ``https://`` server shows first, or None.
    """

    def __init__(
        self,
        folder: Path,
        chat_ini: str | None,
        *,
        http: int,
        stomp: int,
        arguments: Sequence[str] | None = None,
        program: str = "twistd",
        prefix: Sequence[str] = (),
        is_tls: bool = False,
    ) -> None:
        self.folder = folder
        self.http = http
        self.stomp = stomp
        self.log_path = folder / "twistd.log"
        self.is_expected_to_complain = False
        self._process: warm.Process | None = None
        self._started_at = 0  # where in the log the latest start begins
        self._is_usual = arguments is None and program == "twistd" and not prefix
        if arguments is None:
            arguments = ["-n", "--pidfile=", "rtchat"]
            if chat_ini is not None:
                arguments += ["--config", "chat.ini"]
        self.certificate: Certificate | None = None
        if is_tls:
            assert chat_ini is not None, "the built-in settings have no TLS"
            chat_ini = chat_ini.replace("http://", "https://") + _SSL_INI
            self.certificate = Certificate.for_browsers()
            self.certificate.write(folder)
        if chat_ini is not None:
            (folder / "chat.ini").write_text(chat_ini, encoding="utf-8")
        self._command = [*prefix, str(twistd().with_name(program)), *arguments]

    @classmethod
    def on_free_ports(cls, folder: Path, config: str = "", listen: str = _LISTEN) -> Self:
        """Return a server on free ports; not started.

        Args:
            folder: Where it runs and writes.
            config: The sections after ``[listen]``.
            listen: The lines of ``[listen]``. In both ``{http}`` and ``{stomp}`` are the ports.
        """
        http, stomp = free_port(), free_port()
        text = f"[listen]\n{listen}\n{config}"
        text = text.replace("{http}", str(http)).replace("{stomp}", str(stomp))
        return cls(folder, text, http=http, stomp=stomp)

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it, and see that nothing went wrong inside."""
        self.close()

    # Life

    def start(self) -> Server:
        """Start it and wait until it is ready."""
        self.launch()
        until(
            "'is ready' in the server's log",
            lambda: self._has_ended() or "is ready" in self.log_since_start(),
            START_WITHIN_S,
            self.log,
        )
        assert not self._has_ended(), f"the server ended:\n{self.log_since_start()}"
        return self

    def launch(self) -> None:
        """Start it and do not wait."""
        self._started_at = len(self.log())
        self._process = warm.start(
            self._command, self.folder, environment(), self.log_path, is_usual=self._is_usual
        )

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        self._running().send_signal(number)

    def wait(self, seconds: float = STOP_WITHIN_S) -> int:
        """Wait for the end, which has to come in time; return the exit code.

        The server's own log says when it has stopped: on a busy machine, Python itself may take
        seconds to end after that.
        """
        process = self._running()
        try:
            code = process.wait(seconds + _EXIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"runs on after {seconds + _EXIT_S:g} s:\n{self.log_since_start()}"
            ) from None
        assert self.stopping_s() <= seconds, f"stopped late:\n{self.log_since_start()}"
        return code

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask it to stop and see it end well, in time."""
        self.send_signal(number)
        code = self.wait()
        assert code == 0, f"exit code {code}:\n{self.log_since_start()}"

    def kill(self) -> None:
        """End it as a power cut would."""
        process = self._running()
        process.kill()
        process.wait()

    def close(self) -> None:
        """Leave nothing behind, and see that nothing went wrong inside."""
        process = self._process
        try:
            if process is not None and process.poll() is None:
                self.stop()
        finally:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        if not self.is_expected_to_complain:
            said = self.log()
            for sign in ("Traceback", "bug while", "Unhandled"):
                assert sign not in said, f"{sign!r} in the server's log:\n{said}"

    def _running(self) -> warm.Process:
        assert self._process is not None, "the server was not started"
        return self._process

    def _has_ended(self) -> bool:
        return self._running().poll() is not None

    # What it says and what it is

    @property
    def pid(self) -> int:
        """The process."""
        return self._running().pid

    @property
    def url(self) -> str:
        """The page's address."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://localhost:{self.http}/"

    @property
    def websocket_url(self) -> str:
        """The address of its WebSockets, without the path."""
        return f"ws{self.url.removeprefix('http')}"

    def log(self) -> str:
        """Return all it said, in all its lives."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def stopping_s(self) -> int:
        """Return how long it took to stop, in whole seconds, by its own log; 0 if it did not."""
        log = self.log_since_start()
        begun, ended = (
            re.findall(rf"^(\S{{19}})[+-]\d{{4}} .*{text}", log, re.MULTILINE)
            for text in ("received: stopping", "Main loop terminated")
        )
        if not begun or not ended:
            return 0
        passed = datetime.fromisoformat(ended[-1]) - datetime.fromisoformat(begun[0])
        return int(passed.total_seconds())

    def log_since_start(self) -> str:
        """Return what it said in this life."""
        return self.log()[self._started_at :]

    def until_logged(self, text: str, seconds: float = 15.0) -> None:
        """Wait until it has said something in this life."""
        until(
            f"{text!r} in the server's log",
            lambda: text in self.log_since_start() or self._has_ended(),
            seconds,
            self.log,
        )
        assert text in self.log_since_start(), f"the server ended:\n{self.log_since_start()}"

    def health(self) -> dict[str, Any]:
        """Return what ``/health`` says, also with status 503: a promise cannot be kept now."""
        context = None if self.certificate is None else self.certificate.trusted()
        url = f"{self.url}health"
        try:
            with urllib.request.urlopen(url, timeout=10, context=context) as answer:
                facts: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            assert error.code == 503, error
            facts = json.load(error)
        return facts

    def until_empty(self, seconds: float = 10.0) -> None:
        """Wait until no session, WebSocket or subscription is left."""
        names = ("stomp_sessions", "stomp_websockets", "proxied_websockets", "subscriptions")
        until(
            "server without clients",
            lambda: not any(self.health()[name] for name in names),
            seconds,
            lambda: f"{self.health()}",
        )

    @property
    def is_asleep(self) -> bool:
        """Whether all its threads wait for something; one that waits for a processor is awake."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/stat")
        states = [task.read_text(encoding="utf-8").rpartition(")")[2].split()[0] for task in tasks]
        return all(state == "S" for state in states)

    def resident_bytes(self) -> int:
        """Return how much memory the process has in use."""
        return self._bytes("VmRSS")

    def peak_bytes(self) -> int:
        """Return the most memory that it had in use since :meth:`reset_peak`."""
        return self._bytes("VmHWM")

    def reset_peak(self) -> None:
        """Let the peak begin anew (Linux, proc(5): clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def uids(self) -> set[int]:
        """Return the real, effective, saved and file-system user of the process."""
        return {int(uid) for uid in self._status("Uid").split()}

    def gids(self) -> set[int]:
        """Return the real, effective, saved and file-system group of the process."""
        return {int(gid) for gid in self._status("Gid").split()}

    def groups(self) -> set[int]:
        """Return the supplementary groups of the process."""
        return {int(gid) for gid in self._status("Groups").split()}

    def _bytes(self, name: str) -> int:
        return int(self._status(name).split()[0]) * 1024

    def _status(self, name: str) -> str:
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{name}:\s*(.*)$", text, re.MULTILINE)
        assert found is not None, f"no {name} in:\n{text}"
        return found.group(1)
