"""The tutorial's own page, as it was written, works with its script tags pointed at this server.

The page comes from another web server on another port, as TurboGears' did.
"""

from __future__ import annotations

import json
import string
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.process import Server
from support.stompy import StompPy

pytestmark = [pytest.mark.live, pytest.mark.browser]

_FOLDER = Path(__file__).with_name("tutorial")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def page_url(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page's address on a web server of its own; the template is filled in as it says."""
    folder = tmp_path_factory.mktemp("turbogears")
    template = (_FOLDER / "chat.html").read_text(encoding="utf-8")
    page = string.Template(template).safe_substitute(
        orbited_files=f"http://localhost:{server.http}/static",
        orbited_port=str(server.http),
        chat_server=json.dumps("localhost"),
        stomp_server=json.dumps("localhost"),
        stomp_port=str(server.stomp),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    (folder / "dollar.js").write_bytes((_FOLDER / "dollar.js").read_bytes())
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{web.server_port}/"
    web.shutdown()
    web.server_close()
    thread.join()


@pytest.fixture
def page(browser: Browser, server: Server, page_url: str) -> Iterator[Page]:
    """The page in a window, subscribed."""
    complaints: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    with page.expect_websocket() as opened:
        page.goto(page_url)
    assert opened.value.url == f"ws://localhost:{server.http}/tcp/localhost:{server.stomp}"
    page.wait_for_function("stomp.connected")
    yield page
    context.close()
    assert not complaints, "\n".join(complaints)


def test_the_tutorials_page_chats_with_a_program(server: Server, page: Page) -> None:
    with StompPy(server.stomp) as program:
        program.subscribe("/topic/chat")
        page.locator(".chatter").fill("Grüße von der alten Seite")
        page.locator(".chat-trigger").click()
        assert program.message().body == "Grüße von der alten Seite"
        expect(page.locator(".chatter")).to_have_value("")
        # The page hears itself, so it is subscribed.
        expect(page.locator(".chat-message")).to_have_text(["Grüße von der alten Seite"])

        program.send("/topic/chat", "Hello, 1990s 👋")
        expect(page.locator(".chat-message")).to_have_text(
            ["Grüße von der alten Seite", "Hello, 1990s 👋"]
        )


def test_two_of_the_tutorials_pages_chat(page: Page, page_url: str) -> None:
    other = page.context.new_page()
    other.goto(page_url)
    other.wait_for_function("stomp.connected")
    # The second page is subscribed when it hears itself.
    other.locator(".chatter").fill("Is this on?")
    other.locator(".chat-trigger").click()
    expect(other.locator(".chat-message")).to_have_text(["Is this on?"])
    page.locator(".chatter").fill("It is.")
    page.locator(".chat-trigger").click()
    expect(other.locator(".chat-message")).to_have_text(["Is this on?", "It is."])
    expect(page.locator(".chat-message")).to_have_text(["Is this on?", "It is."])
