"""A real server in a process of its own, for tests: with settings, restarted, stopped, killed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from typing_extensions import Self

from rtchat.testing.errors import ServerFailed

__all__ = ["ServerProcess"]

_START_S = 30.0
_STOP_S = 30.0
_LOOK_EVERY_S = 0.02

_READY = " is ready (settings: "
"""What the server logs once its ports are open."""

_LISTEN = "[listen]\nhttp://127.0.0.1:{http_port}\nstomp://127.0.0.1:{stomp_port}\n"
_ACCESS = "[access]\n* -> 127.0.0.1:{stomp_port}\n"


class ServerProcess:
    """A ``twistd rtchat`` in a process of its own; each start has the same ports and folder.

    It is a context manager: it starts at the beginning of the block, and is stopped at its end.

    Args:
        folder: Where it runs. Its chat.ini, its log and the history's file are there.
        settings: Sections of chat.ini. ``{http_port}`` and ``{stomp_port}`` in them stand for the
            ports. Without a section ``[listen]`` it has ``http://`` and ``stomp://`` on loopback,
            and without ``[access]`` any page may connect to the STOMP port.

    Attributes:
        folder: As above.
        host: The host, always ``127.0.0.1``.
        http_port: The port for the page, ``/ws`` and ``/tcp/HOST:PORT``.
        log: The file with all it has logged, in all its lives.
        stomp_port: The port for STOMP clients.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.log = folder / "rtchat.log"
        self._reserved = [_reserve_port(self.host) for _ in range(2)]
        self.http_port, self.stomp_port = (port.getsockname()[1] for port in self._reserved)
        if not _can_share_ports():
            self._release_ports()
        self._process: subprocess.Popen[bytes] | None = None
        self._life_begins_at = 0  # in the log
        self.configure(settings)

    def __enter__(self) -> Self:
        """Start the server.

        Raises:
            ServerFailed: It did not start.
        """
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server if it runs, and give up its ports."""
        self.close()

    @property
    def websocket_url(self) -> str:
        """The URL for STOMP over WebSocket."""
        return f"ws://{self.host}:{self.http_port}/ws"

    @property
    def http_url(self) -> str:
        """The URL of the page, with a slash at its end."""
        return f"http://{self.host}:{self.http_port}/"

    @property
    def pid(self) -> int:
        """The number of the process, for signals such as SIGHUP.

        Raises:
            ServerFailed: The server does not run.
        """
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_text(self) -> str:
        """All it has logged, in all its lives."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def configure(self, settings: str) -> None:
        """Write the chat.ini anew; the next start heeds it.

        Args:
            settings: As for the constructor.
        """
        for section, text in (("access", _ACCESS), ("listen", _LISTEN)):
            if not re.search(rf"^\s*\[{section}\]", settings, re.MULTILINE):
                settings = f"{text}{settings}"
        # Not format(): a right may name {user}.
        for name in ("http_port", "stomp_port"):
            settings = settings.replace(f"{{{name}}}", str(getattr(self, name)))
        (self.folder / "chat.ini").write_text(settings, encoding="utf-8")

    def start(self) -> None:
        """Start the server, and wait until its ports are open.

        Raises:
            ServerFailed: It runs already, or did not start; the text has its log.
        """
        if self.is_running:
            raise ServerFailed("rtchat runs already; stop it, kill it, or let it restart")
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
        command += ["-n", "--pidfile=", "rtchat", "--config", "chat.ini"]
        with self.log.open("ab") as log:
            self._life_begins_at = log.tell()
            process = self._process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + _START_S
        while _READY not in self._log_of_this_life():
            if not self.is_running:
                raise ServerFailed(f"rtchat did not start:\n{self._log_of_this_life()}")
            if time.monotonic() > deadline_s:
                _end(process)
                raise ServerFailed(
                    f"rtchat did not start within {_START_S:g} s:\n{self._log_of_this_life()}"
                )
            time.sleep(_LOOK_EVERY_S)

    def stop(self) -> None:
        """Stop the server as its operator does: clients are told, files are closed.

        Raises:
            ServerFailed: It does not run, or did not end well; the text has its log.
        """
        process = self._running()
        process.terminate()
        try:
            code = process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            _end(process)
            raise ServerFailed(
                f"rtchat did not stop within {_STOP_S:g} s:\n{self._log_of_this_life()}"
            ) from None
        if code:
            raise ServerFailed(f"rtchat ended with {code}:\n{self._log_of_this_life()}")

    def kill(self) -> None:
        """End the server as ``kill -9`` does: it has no time to tell, write or close anything.

        Raises:
            ServerFailed: It does not run.
        """
        _end(self._running())

    def restart(self, settings: str | None = None) -> None:
        """Stop the server if it runs, and start it again on the same ports.

        Args:
            settings: As for the constructor; by default those of the last start.

        Raises:
            ServerFailed: It did not end well, or did not start; the text has its log.
        """
        if self.is_running:
            self.stop()
        if settings is not None:
            self.configure(settings)
        self.start()

    def close(self) -> None:
        """Stop the server if it runs, and give up its ports.

        Raises:
            ServerFailed: It did not end well; the text has its log.
        """
        try:
            if self.is_running:
                self.stop()
        finally:
            self._release_ports()

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is None or not self.is_running:
            raise ServerFailed(f"rtchat does not run:\n{self._log_of_this_life()}")
        return process

    def _log_of_this_life(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._life_begins_at)
            return log.read().decode("utf-8", "replace")

    def _release_ports(self) -> None:
        for port in self._reserved:
            port.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _reserve_port(host: str) -> socket.socket:
    """Return a socket with a free port, where no program listens as long as it is open.

    Neither another server nor an outgoing connection gets the port meanwhile, while this one is
    not running. Its own socket shares the port, because both have SO_REUSEADDR.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((host, 0))
    return reserved


def _can_share_ports() -> bool:
    """Return whether a server may listen on a port that is reserved."""
    return os.uname().sysname == "Linux"
