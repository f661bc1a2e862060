"""The recipe for Django: a site with its own log-in says who may chat, through a hook."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect
from support.needs import require_module
from support.process import ROOT, Server, free_port
from support.stock_clients import STOCK_CLIENTS, Account
from support.stompjs import StompJs
from support.web_site import run_command, running_site

pytestmark = [pytest.mark.live]

_SITE = ROOT / "examples" / "django_chat"
_RECHECK_S = 3
_WITHIN_MS = 15_000

_SET_UP = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import Group, User
team = Group.objects.create(name="team")
ada = User.objects.create_user("ada", password="the password of ada", first_name="Ada")
ada.groups.add(team)
User.objects.create_user("grace", password="the password of grace", is_staff=True)
User.objects.create_user("eve", password="the password of eve")
"""


class Site(NamedTuple):
    """The Django site, and rtchat beside it.

    Attributes:
        url: Where the site is.
        chat: The server.
    """

    url: str
    chat: Server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_module("django")
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    for name in ("site.secret", "hook.secret"):
        (folder / name).write_text(os.urandom(32).hex())
    command = [sys.executable, str(_SITE / "manage.py")]
    http, stomp = free_port(), free_port()
    text = (_SITE / "chat.ini").read_text(encoding="utf-8")
    text = text.replace("9000", str(http)).replace("61613", str(stomp)).replace("8000", str(port))
    # A check of a password takes the site its time while other tests run.
    text = text.replace("events = connect", "events = connect\ntimeout = 30")
    text += "\n[log]\nclient.max_lines = 0\n"
    settings = {
        "SITE_DATA": str(folder),
        "CHAT_URL": f"http://localhost:{http}",
        "CHAT_RECHECK_S": str(_RECHECK_S),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        run_command([*command, "shell", "-c", _SET_UP], folder)
        serve = [*command, "runserver", "--noreload", f"127.0.0.1:{port}"]
        with (
            running_site(serve, folder, port),
            Server(folder, text, http=http, stomp=stomp) as chat,
        ):
            yield Site(f"http://localhost:{port}/", chat)


@pytest.mark.parametrize("with_client", STOCK_CLIENTS)
def test_stock_clients_log_in_with_the_sites_passwords(
    site: Site, with_client: Callable[[Server, Account], None]
) -> None:
    with_client(site.chat, Account("ada", "ada", "the password of ada"))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(_WITHIN_MS)
    yield page
    context.close()


def log_in(page: Page, site: Site, name: str) -> None:
    page.goto(site.url)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(f"the password of {name}")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("body")).to_contain_text(f"You are {name}.")


def say(page: Page, text: str) -> None:
    frame = page.frame_locator("iframe")
    frame.locator("#text").fill(text)
    frame.locator("#text").press("Enter")
    expect(frame.locator(".message-text").filter(has_text=text)).to_be_visible()


@pytest.mark.browser
def test_a_log_in_at_the_site_is_a_log_in_to_the_chat_and_ends_with_it(
    site: Site, page: Page
) -> None:
    log_in(page, site, "ada")
    frame = page.frame_locator("iframe")
    body = frame.locator("body")
    frame.locator("#cover-button").click()
    # No one is asked for a name: the site has told it.
    expect(body).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)
    say(page, "hello from the site")
    expect(frame.locator(".message-nick").last).to_have_text("Ada")

    # The chat asks again and again, and goes on while the site's session does.
    site.chat.until_logged("token expired")
    expect(body).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)
    say(page, "still here")

    cookie = next(one["value"] for one in page.context.cookies() if one["name"] == "sessionid")
    program = StompJs(
        site.chat, "/ws", "/topic/chat", "text", request_headers={"Cookie": f"sessionid={cookie}"}
    )
    program.expect("ready")
    chat = page.context.new_page()
    chat.goto(site.chat.url)
    expect(chat.locator("body")).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)
    page.get_by_role("button", name="Log out").click()
    error = program.expect("error")["headers"]
    assert error["message"] == "token expired"
    assert program.expect("closed")["code"] == 3000
    program.close()
    expect(chat.locator("#offline-text")).to_contain_text("Log in there", timeout=_WITHIN_MS)
    site.chat.until_logged("not logged in at the site")


@pytest.mark.browser
def test_the_sites_groups_have_rights(site: Site, page: Page) -> None:
    log_in(page, site, "grace")
    page.goto(f"{site.chat.url}#secret")
    expect(page.locator("body")).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)
    expect(page.locator("#account-user")).to_have_text("grace")
    page.locator("#text").fill("for the staff")
    page.locator("#text").press("Enter")
    expect(page.locator(".message-text").filter(has_text="for the staff")).to_be_visible()


def test_a_user_who_is_not_active_any_more_is_refused(site: Site) -> None:
    login = {"login": "eve", "passcode": "the password of eve"}
    eve = StompJs(site.chat, "/ws", "/topic/chat", "text", connect_headers=login)
    eve.expect("ready")
    with closing(sqlite3.connect(site.chat.folder / "db.sqlite3", timeout=20)) as database:
        database.execute("UPDATE auth_user SET is_active = 0 WHERE username = 'eve'")
        database.commit()
    assert eve.expect("error")["headers"]["message"] == "token expired"
    eve.close()
    again = StompJs(site.chat, "/ws", "/topic/chat", "text", connect_headers=login)
    assert again.expect("error")["headers"]["message"] == "access refused"
    again.close()
