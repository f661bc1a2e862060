"""A real browser for the tests, and the chat page as the people in front of it use it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Locator,
    Page,
    Playwright,
    expect,
    sync_playwright,
)
from support import firefox_bidi
from support.certificate import browser_pin
from support.examples import IS_SOAK
from support.needs import find, require

__all__ = [
    "ENGINES",
    "HEADLESS_SHELL",
    "REBOUND_HOST",
    "USUAL_ENGINE",
    "Browsers",
    "Window",
    "chromium",
    "in_both_browsers",
    "in_both_browsers_if_long",
    "in_whole_browsers",
]

ENGINES = ("chromium", "firefox")
"""The browsers that a test can be played in."""

HEADLESS_SHELL = "headless shell"
"""Chromium without the windows, menus and profiles around its pages, which cost half of the time.
Without it Chromium itself is used."""

USUAL_ENGINE = "chromium" if IS_SOAK else HEADLESS_SHELL
"""What plays the tests that do not ask for a browser by name."""

in_both_browsers = pytest.mark.parametrize("engine", ENGINES, indirect=True)
"""Marks a test that is played in each of them; without the mark it is played in one Chromium."""

in_both_browsers_if_long = pytest.mark.parametrize(
    "engine", ENGINES if IS_SOAK else [USUAL_ENGINE], indirect=True
)
"""Marks a test that is played in each of them by ``make soak``, else as a test without a mark. A
browser more takes ten seconds of both cores for each test."""

in_whole_browsers = pytest.mark.parametrize(
    "engine", ENGINES if IS_SOAK else ["chromium"], indirect=True
)
"""The same for a test of what the headless shell does in another way: pages in frames of other
sites, and pages that the browser keeps when they are left."""

REBOUND_HOST = "rebound.example"
"""A name that the browser takes to be 127.0.0.1, as an attacker's name server could have it."""

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {REBOUND_HOST} 127.0.0.1",
)

# Firefox stays on this machine, and takes the same name to be 127.0.0.1.
_PREFERENCES: dict[str, str | float | bool] = {
    "browser.region.update.enabled": False,
    "dom.push.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.dns.localDomains": REBOUND_HOST,
    "network.trr.mode": 5,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
}

# A browser reports each failed attempt to connect by itself; no page can keep it from that.
_EXPECTED_WHILE_OFFLINE = re.compile(
    "WebSocket connection to 'wss?://"  # Chromium
    # The page asks why it was cut off.
    "|Failed to load resource: net::ERR_(CONNECTION_REFUSED|SOCKET_NOT_CONNECTED)"
    "|Firefox can.t establish a connection to the server at wss?://"
    "|The connection to wss?://[^ ]* was interrupted while the page was loading"
)

_WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI || event.sourceFile}`);
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a Chromium; the only self-signed certificates that it trusts are the tests' own."""
    with Browsers() as browsers:
        yield browsers["chromium"]


class Browsers:
    """The browsers by their names; each is started when it is first asked for."""

    def __init__(self) -> None:
        self._running: dict[str, Browser] = {}
        self._stack = ExitStack()
        self._playwright: Playwright | None = None

    def __enter__(self) -> Browsers:
        return self

    def __exit__(self, *_: object) -> None:
        for browser in self._running.values():
            browser.close()
        self._stack.close()

    def __getitem__(self, engine: str) -> Browser:
        shell = find("chromium-headless-shell") if engine == HEADLESS_SHELL else None
        if engine == HEADLESS_SHELL and shell is None:
            engine = "chromium"
        if engine not in self._running:
            program = shell or require(engine)
            if self._playwright is None:
                self._playwright = self._stack.enter_context(sync_playwright())
            launch = self._firefox if engine == "firefox" else self._chromium
            self._running[engine] = launch(self._playwright, program)
        return self._running[engine]

    def _chromium(self, playwright: Playwright, program: str) -> Browser:
        trusted = f"--ignore-certificate-errors-spki-list={browser_pin()}"
        return playwright.chromium.launch(
            executable_path=program,
            args=[*_ARGUMENTS, trusted],
            ignore_default_args=["--disable-back-forward-cache"],  # people have it
        )

    def _firefox(self, playwright: Playwright, firefox: str) -> Browser:
        folder = Path(self._stack.enter_context(TemporaryDirectory()))
        program = folder / "firefox"
        command = shlex.join([sys.executable, firefox_bidi.__file__, firefox])
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
        # The channel says: a Firefox as distributions have it, not Playwright's own.
        return playwright.firefox.launch(
            executable_path=program,
            channel="moz-firefox",
            firefox_user_prefs=_PREFERENCES,
            timeout=120_000,
        )


class Window:
    """One person's browser window with the chat page in it.

    Args:
        context: A browser profile of its own.
        url: Where the page is.

    Attributes:
        requests: The address of everything that the page asked for.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._is_closed = False
        context.add_init_script(_WATCH)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_error)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda websocket: self.requests.append(websocket.url))

    def open(self) -> None:
        """Go to the page."""
        self.page.goto(self.url)

    def come_to_front(self) -> None:
        """Make this the window that has the focus; in Firefox, as on a desk, only one has it."""
        self.page.bring_to_front()

    def close(self) -> list[str]:
        """Close the window; return what was not as it should be, the first time."""
        if self._is_closed:
            return []
        self._is_closed = True
        violations = self.page.evaluate("window.violations || []")
        self.context.close()
        own = urlsplit(self.url).netloc
        foreign = [
            url
            for url in self.requests
            if urlsplit(url).scheme != "data" and urlsplit(url).netloc != own
        ]
        return [
            *self.complaints,
            *(f"Content-Security-Policy: {violation}" for violation in violations),
            *(f"asked another host: {url}" for url in foreign),
        ]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type != "error" or _EXPECTED_WHILE_OFFLINE.match(message.text):
            return
        # Before it says why it is offline, the page asks the server; nor can that be kept quiet.
        asked = urlsplit(message.location["url"]).path
        is_question = asked == "/embed/check" and "net::ERR_CONNECTION" in message.text
        is_wrong_password = asked == "/login" and "status of 403" in message.text
        if not (is_question or is_wrong_password):
            self.complaints.append(f"console: {message.text}")

    def _on_error(self, error: Error) -> None:
        # Firefox tells of failed connections in the same way.
        if not _EXPECTED_WHILE_OFFLINE.search(str(error)):
            self.complaints.append(f"uncaught: {error}")

    # What people do

    def choose_nick(self, nick: str) -> None:
        """Answer the page's first question, and wait until the chat is there."""
        expect(self.page.locator("#nick-dialog")).to_be_visible()
        self.page.locator("#nick").fill(nick)
        self.page.locator("#nick").press("Enter")
        expect(self.page.locator("#nick-dialog")).to_be_hidden()
        self.wait_for_state("online")

    def say(self, text: str) -> None:
        """Type a message and send it with Enter."""
        self.page.locator("#text").fill(text)
        self.page.locator("#text").press("Enter")

    def say_at_once(self, texts: list[str]) -> None:
        """Write messages and press Enter after each, faster than people type."""
        self.page.locator("#text").evaluate(
            """(field, texts) => {
              for (const text of texts) {
                field.value = text;
                field.dispatchEvent(new Event("input", { bubbles: true }));
                const enter = { key: "Enter", bubbles: true, cancelable: true };
                field.dispatchEvent(new KeyboardEvent("keydown", enter));
              }
            }""",
            texts,
        )

    def go_to(self, room: str) -> None:
        """Enter a room by its address, ``""`` for the lobby."""
        self.page.evaluate("(hash) => { location.hash = hash; }", f"#{room}")
        title = f"#{room}" if room else "Lobby"
        expect(self.page.locator("#room")).to_have_text(title)
        self.wait_for_state("online")

    # What people see

    def whole_log(self) -> list[str]:
        """Copy all messages with the page's button; return their texts, without time and name.

        Of a long list only a part is elements, so the elements do not tell.
        """
        self.page.evaluate("window.copied = null")
        self.page.evaluate(
            "navigator.clipboard.writeText = async (text) => { window.copied = text; }"
        )
        self.page.locator("#copy-all").click()
        self.page.wait_for_function("window.copied !== null")
        copied: str = self.page.evaluate("window.copied")
        return [re.sub(r"^\[[^]]*\] [^:]*: ", "", line) for line in copied.splitlines()]

    def wait_for_state(self, state: str, within_s: float = 15) -> None:
        """Wait until the page shows that it is online, connecting or offline."""
        expect(self.page.locator("body")).to_have_attribute(
            "data-state", state, timeout=within_s * 1000
        )

    def lines(self, text: str) -> Locator:
        """Return the messages with exactly this text."""
        exact = self.page.locator(".message-text").filter(has_text=text)
        return self.page.locator("#log .message").filter(has=exact)

    def line(self, text: str) -> Locator:
        """Return the one message with this text, once it is there."""
        found = self.lines(text)
        expect(found).to_have_count(1)
        expect(found.locator(".message-text")).to_have_text(text)
        return found

    def nick_of(self, text: str) -> str:
        """Return who said this, as it is shown."""
        return self.line(text).locator(".message-nick").inner_text()
