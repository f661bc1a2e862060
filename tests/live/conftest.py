"""Fixtures of the live tests: servers, a browser and its windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.browser import USUAL_ENGINE, Browsers, Window
from support.process import Server, free_port, tutorial_ini

Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers; each is stopped, and has to have run well, when the test is over.

    ``serve()`` runs the tutorial's file on free ports; ``serve(more="…")`` adds lines to it;
    ``serve(chat_ini="…")`` runs another file, in which ``{http}`` and ``{stomp}`` are the ports.
    ``makes`` names folders to make beside the file.
    """
    servers: list[Server] = []

    def start(chat_ini: str | None = None, more: str = "", *, makes: Sequence[str] = ()) -> Server:
        http, stomp = free_port(), free_port()
        text = (
            tutorial_ini(http, stomp, more)
            if chat_ini is None
            else chat_ini.format(http=http, stomp=stomp)
        )
        folder = tmp_path / f"server-{len(servers)}"
        folder.mkdir()
        for name in makes:
            (folder / name).mkdir()
        server = Server(folder, text, http=http, stomp=stomp)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The tutorial's file on free ports, one server for all tests of a module.

    All of a module's clients are one source. Its lines are not limited: tests look for them.
    """
    http, stomp = free_port(), free_port()
    folder = tmp_path_factory.mktemp("server")
    text = tutorial_ini(http, stomp, "\n[log]\nclient.max_lines = 0\n")
    server = Server(folder, text, http=http, stomp=stomp)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    """The browsers; for a module only, because Playwright keeps an event loop in this thread."""
    with Browsers() as browsers:
        yield browsers


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """Which browser a test uses: a Chromium, unless a mark or its file says which."""
    return str(getattr(request, "param", USUAL_ENGINE))


@pytest.fixture
def browser(browsers: Browsers, engine: str) -> Browser:
    """The browser of this test."""
    return browsers[engine]


@pytest.fixture
def open_window(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Open windows of different people; none of them may have had anything to complain about."""
    windows: list[Window] = []

    def open_(url: str, nick: str | None = None, **options: object) -> Window:
        window = Window(browser.new_context(**options), url)  # type: ignore[arg-type]
        windows.append(window)
        window.open()
        if nick is not None:
            window.choose_nick(nick)
        return window

    yield open_
    complaints = [complaint for window in windows for complaint in window.close()]
    assert not complaints, "\n".join(complaints)
