"""The web applications of examples/: each runs as its README says, and is clicked."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import Window
from support.process import ROOT, Server, environment, free_port, until

pytestmark = [pytest.mark.live, pytest.mark.browser]

_EXAMPLES = ROOT / "examples"
_CHAT_INI = (_EXAMPLES / "turbogears" / "chat.ini").read_text(encoding="utf-8")

Start = Callable[[str], str]


@pytest.fixture
def app_port() -> int:
    return free_port()


@pytest.fixture
def chat(serve: Callable[..., Server], app_port: int) -> Server:
    """rtchat with the example's own file, on free ports."""
    text = _CHAT_INI.replace("9000", "{http}").replace("61613", "{stomp}")
    return serve(text.replace("8080", str(app_port)))


@pytest.fixture
def start(chat: Server, app_port: int, tmp_path: Path) -> Iterator[Start]:
    """Start an application beside the chat; give the address of its page."""
    running: list[subprocess.Popen[bytes]] = []
    said = tmp_path / "application.log"

    def is_open() -> bool:
        assert running[0].poll() is None, said.read_text(encoding="utf-8")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", app_port)) == 0

    def start(program: str) -> str:
        command = [sys.executable, str(_EXAMPLES / program), "--port", str(app_port)]
        command += ["--chat", chat.url.rstrip("/"), "--stomp-port", str(chat.stomp)]
        with said.open("wb") as log:
            running.append(
                subprocess.Popen(
                    command, cwd=tmp_path, env=environment(), stdout=log, stderr=subprocess.STDOUT
                )
            )
        until("page of the application", is_open, 20, lambda: said.read_text(encoding="utf-8"))
        return f"http://localhost:{app_port}/"

    yield start
    for process in running:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A visitor's browser; it may have nothing to complain about."""
    complaints: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    yield page
    context.close()
    assert not complaints, "\n".join(complaints)


def come_in(page: Page, nick: str) -> None:
    frame = page.frame_locator("iframe")
    frame.locator("#cover-button").click()
    frame.locator("#nick").fill(nick)
    frame.locator("#nick").press("Enter")
    expect(frame.locator("body")).to_have_attribute("data-state", "online")


def test_the_turbogears_shop_speaks_in_the_room_that_its_page_shows(
    chat: Server, start: Start, page: Page, open_window: Callable[..., Window]
) -> None:
    page.goto(start("turbogears/app.py"))
    expect(page.locator("iframe")).to_have_attribute("title", "Talk to the shop")
    come_in(page, "Ada")
    clerk = open_window(f"{chat.url}#shop", "Clerk")

    page.get_by_label("What would you like?").select_option("quince")
    page.get_by_role("button", name="Order").click()
    expect(page.get_by_role("status").first).to_contain_text("Your quince is on its way.")
    assert clerk.nick_of("Somebody ordered a fresh quince.") == "Shop"

    # Ada's page was loaded anew by her order; she is known and sees what was said meanwhile.
    frame = page.frame_locator("iframe")
    expect(frame.locator(".message-text")).to_have_text(["Somebody ordered a fresh quince."])
    frame.locator("#text").fill("Is it ripe?")
    frame.locator("#text").press("Enter")
    assert clerk.nick_of("Is it ripe?") == "Ada"
    clerk.say("Very.")
    expect(frame.locator(".message-text")).to_have_text(
        ["Somebody ordered a fresh quince.", "Is it ripe?", "Very."]
    )


def test_the_turbogears_shop_sells_on_while_the_chat_is_away(
    chat: Server, start: Start, page: Page
) -> None:
    page.goto(start("turbogears/app.py"))
    chat.stop()
    page.get_by_role("button", name="Order").click()
    words = page.get_by_role("status").first
    expect(words).to_contain_text("Your apple is on its way; the chat was not told")
    expect(words).to_contain_text("refused")


def test_the_turbogears_shop_takes_no_order_from_an_address_alone(
    chat: Server, start: Start, page: Page
) -> None:
    url = start("turbogears/app.py")
    for path in ("order?fruit=apple", "order"):
        answer = page.goto(f"{url}{path}")
        assert answer is not None
        assert answer.status == 400
    assert chat.health()["messages"] == 0


def test_the_flask_kitchen_speaks_in_the_room_that_its_page_shows(
    chat: Server, start: Start, page: Page, open_window: Callable[..., Window]
) -> None:
    page.goto(start("flask_chat.py"))
    come_in(page, "Ada")
    waiter = open_window(f"{chat.url}#kitchen", "Waiter")
    page.get_by_label("Dish").fill("<b>Soup</b>")
    page.get_by_role("button", name="Ready").click()
    assert waiter.nick_of("<b>Soup</b> is ready.") == "Cook"
    waiter.say("On my way.")
    frame = page.frame_locator("iframe")
    expect(frame.locator(".message-text")).to_have_text(["<b>Soup</b> is ready.", "On my way."])


def test_the_flask_kitchen_is_forty_lines() -> None:
    lines = (_EXAMPLES / "flask_chat.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
