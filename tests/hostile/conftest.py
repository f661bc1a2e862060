"""Servers to attack: with the settings of a file that has only ports and an access list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.hostile import GuardedServer, TooSlowError, guarded

Serve = Callable[..., GuardedServer]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Have an attack twice more if the honest client had to wait for too long; see ``judge``.

    It passes both times, or the test fails: a server that stalls now and then must not pass by
    being tried often.

    Returns:
        True if the test has passed; None if pytest has to run it, for the third and last time.
    """
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    try:
        pyfuncitem.obj(**arguments)
    except TooSlowError:
        pyfuncitem.obj(**arguments)
        return None
    return True


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers of a test's own: ``serve(config)``, with more sections in chat.ini."""
    servers: list[GuardedServer] = []

    def start(
        config: str = "",
        listen: str | None = None,
        modules: Path | None = None,
    ) -> GuardedServer:
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        server = guarded(folder, config, listen, modules)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedServer]:
    """One server for all attacks of a file."""
    with guarded(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedServer]:
    """One server that keeps the messages of rooms."""
    history = "[history]\n/topic/chat* = 20000, 7 days\nfile = :memory:\n"
    with guarded(tmp_path_factory.mktemp("keeper"), history) as started:
        yield started
