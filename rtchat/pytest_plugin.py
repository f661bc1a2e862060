"""Fixtures for pytest, registered when rtchat is installed.

``rtchat_broker`` is an in-memory :class:`rtchat.testing.Broker`; ``rtchat_server`` is a real server
on free loopback ports.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rtchat.testing import Broker

__all__ = ["Server", "rtchat_broker", "rtchat_server"]

_START_S = 15.0
_STOP_S = 10.0


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        host: The host, always ``127.0.0.1``.
        stomp_port: The port for STOMP clients.
        http_port: The port for the page, ``/ws`` and ``/tcp/HOST:PORT``.
        log: The server's log file.
    """

    host: str
    stomp_port: int
    http_port: int
    log: Path

    @property
    def websocket_url(self) -> str:
        """The URL for STOMP over WebSocket."""
        return f"ws://{self.host}:{self.http_port}/ws"


@pytest.fixture
def rtchat_broker() -> Broker:
    """Return an in-memory broker whose clock the test controls."""
    from rtchat.testing import Broker

    return Broker()


@pytest.fixture(scope="session")
def rtchat_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a real server on free ports, one for the whole test session."""
    folder = tmp_path_factory.mktemp("rtchat")
    server = Server("127.0.0.1", _free_port(), _free_port(), folder / "rtchat.log")
    settings = folder / "chat.ini"
    settings.write_text(
        f"[listen]\nhttp://127.0.0.1:{server.http_port}\nstomp://127.0.0.1:{server.stomp_port}\n"
        f"[access]\n* -> 127.0.0.1:{server.stomp_port}\n"
    )
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    command += ["-n", "--pidfile=", "rtchat", "--config", str(settings)]
    with server.log.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_until_open(process, server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_until_open(process: subprocess.Popen[bytes], server: Server) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection((server.host, server.http_port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"rtchat did not start:\n{server.log.read_text(errors='replace')}")
