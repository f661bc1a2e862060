"""Fixtures for pytest, registered when rtchat is installed.

``rtchat_broker`` is an in-memory :class:`rtchat.testing.Broker`; ``rtchat_server`` is a real server
on free loopback ports; ``rtchat_server_factory`` starts real servers with settings, which the test
may restart, stop and kill. If a test fails, its report has the logs of its servers.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    # Each run of pytest loads this file, and most have no use for rtchat.
    from rtchat.testing import Broker, ServerProcess

__all__ = [
    "Server",
    "ServerFactory",
    "pytest_runtest_makereport",
    "rtchat_broker",
    "rtchat_server",
    "rtchat_server_factory",
]

_MOST_CHARS = 20_000
"""So much of the end of a log is shown."""


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


class ServerFactory(Protocol):
    """Starts servers; the type of the fixture ``rtchat_server_factory``."""

    def __call__(self, settings: str = "") -> ServerProcess:
        """Return a real server that is ready; it is stopped after the test.

        Args:
            settings: Sections of chat.ini; see :class:`rtchat.testing.ServerProcess`.

        Raises:
            ServerFailed: It did not start; the text has its log.
        """


@pytest.fixture
def rtchat_broker() -> Iterator[Broker]:
    """Yield an in-memory broker whose clock the test controls."""
    from rtchat.testing import Broker

    broker = Broker()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def rtchat_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a real server on free ports, one for the whole test session."""
    from rtchat.testing import ServerProcess

    with ServerProcess(tmp_path_factory.mktemp("rtchat")) as server:
        yield Server(server.host, server.stomp_port, server.http_port, server.log)


@pytest.fixture
def rtchat_server_factory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerFactory]:
    """Yield what starts real servers with settings; they are stopped after the test."""
    from rtchat.testing import ServerProcess

    with ExitStack() as stack:

        def start(settings: str = "") -> ServerProcess:
            server = ServerProcess(tmp_path_factory.mktemp("rtchat"), settings)
            request.node.stash.setdefault(_LOGS, []).append(server.log)
            return stack.enter_context(server)

        yield start


_LOGS = pytest.StashKey[list[Path]]()
"""The logs of the servers that a test has started."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add the logs of the servers that a test has used to the report of its failure."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.failed:
        for path in _logs_of(item):
            text = path.read_text("utf-8", "replace") if path.exists() else ""
            report.sections.append((f"rtchat log: {path}", text[-_MOST_CHARS:]))


def _logs_of(item: pytest.Item) -> list[Path]:
    """Return the logs of the servers that a test has started, or has from its fixtures."""
    testing = sys.modules.get("rtchat.testing")  # without it, there is no server
    if testing is None:
        return []
    started: list[Path] = item.stash.get(_LOGS, [])
    logs = dict.fromkeys(started)
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, (Server, testing.ServerProcess)):
            logs[value.log] = None
    return list(logs)
