"""The recipes with passwords: a password file alone, and behind nginx's auth_basic."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect
from support.documents import recipe
from support.front import running_nginx
from support.needs import require
from support.process import Server, environment, free_port, get
from support.stock_clients import STOCK_CLIENTS, Account
from support.stompjs import StompJs

pytestmark = [pytest.mark.live]

_WITHIN_MS = 15_000


def rtchat_passwd(folder: Path, name: str, *more: str) -> None:
    """Run ``rtchat passwd`` as a script does."""
    subprocess.run(
        [Path(sys.executable).with_name("rtchat"), "passwd", "users.txt", name, *more],
        cwd=folder,
        env=environment(),
        input=f"the password of {name}\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=60,
    )


def on_free_ports(folder: Path, text: str) -> Server:
    """Return the server of a recipe; not started."""
    http, stomp = free_port(), free_port()
    text = text.replace("9000", str(http)).replace("61613", str(stomp))
    return Server(folder, f"{text}\n[log]\nclient.max_lines = 0\n", http=http, stomp=stomp)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("passwords")
    for name in ("ada", "grace", "eve"):
        rtchat_passwd(folder, name)
    with on_free_ports(folder, recipe("A password file", "ini")) as chat:
        yield chat


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(_WITHIN_MS)
    yield page
    context.close()


@pytest.mark.parametrize("with_client", STOCK_CLIENTS)
def test_stock_clients_log_in_with_a_password(
    chat: Server, with_client: Callable[[Server, Account], None]
) -> None:
    with_client(chat, Account("ada", "ada", "the password of ada"))


def is_online(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)


def say(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")
    expect(page.locator(".message-text").filter(has_text=text)).to_be_visible()


@pytest.mark.browser
def test_a_user_logs_in_on_the_page_and_is_cut_off_when_removed(chat: Server, page: Page) -> None:
    page.goto(chat.url)
    expect(page.locator("#login-dialog")).to_be_visible(timeout=_WITHIN_MS)
    for password in ("no password of eve", "the password of eve"):
        page.locator("#login-name").fill("eve")
        page.locator("#login-password").fill(password)
        page.locator("#login-password").press("Enter")
        if password.startswith("no"):
            expect(page.locator("#login-problem")).to_contain_text("not right", timeout=_WITHIN_MS)
    is_online(page)
    expect(page.locator("#account-user")).to_have_text("eve")
    say(page, "hello from eve")
    expect(page.locator(".message-nick").last).to_have_text("eve")

    login = {"login": "eve", "passcode": "the password of eve"}
    program = StompJs(chat, "/ws", "/topic/chat", "text", connect_headers=login)
    program.expect("ready")
    rtchat_passwd(chat.folder, "eve", "--delete")
    assert program.expect("error")["headers"]["message"] == "access refused"
    assert program.expect("closed")["code"] == 3501
    program.close()
    expect(page.locator("#login-dialog")).to_be_visible(timeout=_WITHIN_MS)


@pytest.mark.browser
def test_nginx_asks_for_the_password_and_the_chat_knows_the_user(
    tmp_path: Path, browser: Browser
) -> None:
    users = tmp_path / "users.htpasswd"
    subprocess.run(
        [require("htpasswd"), "-i", "-c", "-B", "-C", "5", users, "ada"],
        input="the password of ada\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=60,
    )
    # The worker may have another user.
    users.chmod(0o644)
    tmp_path.chmod(0o755)
    ini = recipe("nginx with auth_basic", "ini")
    conf = recipe("nginx with auth_basic", "nginx")
    with (
        on_free_ports(tmp_path, ini.replace("/etc/rtchat/users.htpasswd", str(users))) as chat,
        running_nginx(
            tmp_path,
            conf.replace("/etc/rtchat/users.htpasswd", str(users)).replace("9000", str(chat.http)),
        ) as url,
    ):
        assert get(urlsplit(url).port or 0, "/")[0] == 401
        credentials = {"username": "ada", "password": "the password of ada"}
        context = browser.new_context(http_credentials=credentials)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(url)
        is_online(page)
        expect(page.locator("#account-user")).to_have_text("ada")
        say(page, "hello through nginx")
        context.close()
