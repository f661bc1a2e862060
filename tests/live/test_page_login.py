"""The page of a server that knows users: one logs in, sees who one is and what one may do."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from support.browser import Window, in_both_browsers_if_long
from support.focus import tab_stops
from support.hosts import Host
from support.needs import require_package
from support.passwords import quick_hash
from support.process import Server, free_port, until

pytestmark = [pytest.mark.live, pytest.mark.browser]

OpenWindow = Callable[..., Window]

_INI = """\
[listen]
http://127.0.0.1:{http}
stomp://127.0.0.1:{stomp}
[access]
{people} -> localhost:{stomp}
127.0.0.1:{host} -> localhost:{stomp}
localhost:{host} -> localhost:{stomp}
[presence]
grace = 0
[history]
/topic/chat* = 1000, 7 days
file = :memory:
"""

_WITH_FORM = """\
[users]
file = passwords
[groups]
staff = ada
[rights]
bob = read /topic/chat, write /topic/chat, read /topic/chat.news, all /user/#
eve = read /topic/chat.news
dan = all /topic/chat
@staff = all /topic/chat.#, all /user/#
"""

_WITH_VISITORS = """\
[users]
file = passwords
[rights]
anonymous = read /topic/chat, write /topic/chat
"""

_WITH_TOKENS = """\
[tokens]
secret.file = secret
cookie = shop
leeway = 0
"""

_SECRET = "a secret of the site, of more than 32 bytes"
_USERS = ("ada", "bob", "dan", "eve")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """The web server of a shop, which shows the chat."""
    with Host() as host:
        yield host


@pytest.fixture(scope="module")
def hashes() -> dict[str, str]:
    return {name: quick_hash(f"password of {name}") for name in _USERS}


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, host: Host, hashes: dict[str, str]
) -> Iterator[Callable[..., Server]]:
    """Start servers for all tests of the module."""
    servers: list[Server] = []

    def start(more: str, people: str = "self") -> Server:
        folder = tmp_path_factory.mktemp("server")
        write_users(folder, hashes)
        (folder / "secret").write_text(_SECRET)
        (folder / "secret").chmod(0o600)
        http, stomp = free_port(), free_port()
        text = _INI.format(http=http, stomp=stomp, host=host.port, people=people) + more
        servers.append(Server(folder, text, http=http, stomp=stomp))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    """A server for its own users only."""
    return start(_WITH_FORM)


def write_users(folder: Path, hashes: dict[str, str]) -> None:
    lines = "".join(f"{name}:{text}\n" for name, text in hashes.items())
    (folder / "new").write_text(lines)
    (folder / "new").chmod(0o600)
    (folder / "new").rename(folder / "passwords")


def fill_in(page: Page, name: str, password: str = "") -> None:
    """Fill in the log-in, and press Enter."""
    expect(page.locator("#login-dialog")).to_be_visible()
    page.locator("#login-name").fill(name)
    page.locator("#login-password").fill(password or f"password of {name}")
    page.locator("#login-password").press("Enter")


def log_in(window: Window, name: str) -> Window:
    fill_in(window.page, name)
    expect(window.page.locator("#login-dialog")).to_be_hidden()
    window.wait_for_state("online")
    return window


def sockets(window: Window) -> int:
    """Return how often the page has connected."""
    return sum(url.startswith("ws") for url in window.requests)


def kept(page: Page) -> str:
    """Return all that the page has in its storages and fields."""
    texts: str = page.evaluate(
        """() => JSON.stringify([
          {...localStorage}, {...sessionStorage}, document.cookie, location.href,
          [...document.querySelectorAll("input")].map((field) => field.value)])"""
    )
    return texts


def refuse(route: Route) -> None:
    """Refuse a log-in as the server does; all else goes on."""
    if route.request.method == "POST":
        route.fulfill(
            status=403, json={"user": "", "problem": "The name or the password is wrong."}
        )
    else:
        route.continue_()


def hold(route: Route) -> None:
    """Let a log-in wait for ever; all else goes on."""
    if route.request.method != "POST":
        route.continue_()


def rooms(window: Window, *titles: str) -> None:
    """Wait until the list has exactly these rooms that the reader is in."""
    expect(window.page.locator("#rooms .talk-name")).to_have_text(list(titles))


# ---------------------------------------------------------------- name and password


@in_both_browsers_if_long
def test_one_logs_in_is_shown_and_logs_out(server: Server, open_window: OpenWindow) -> None:
    ada = open_window(server.url)
    page = ada.page
    posted: list[str] = []
    page.on("request", lambda one: posted.append(one.url) if one.method == "POST" else None)
    expect(page.locator("#login-dialog")).to_be_visible()
    expect(page.locator("#nick-dialog")).to_be_hidden()
    expect(page.locator("#login-name")).to_be_focused()

    fill_in(page, "ada", "a wrong one")
    expect(page.get_by_role("alert")).to_contain_text("not right")
    expect(page.locator("#login-password")).to_be_focused()
    expect(page.locator("#login-password")).to_have_value("")
    expect(page.locator("#login-name")).to_have_value("ada")

    log_in(ada, "ada")
    expect(page.locator("#nick-shown")).to_have_text("ada")
    expect(page.locator("#account-user")).to_have_text("ada")
    expect(page.locator("#text")).to_be_focused()
    assert "password of" not in kept(page)
    assert set(posted) == {f"{server.url}login"}, "the password goes into a body, and nowhere else"
    [cookie] = [one for one in ada.context.cookies() if one["name"] == "rtchat_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")

    ada.say("said by a user")
    ada.line("said by a user")
    page.reload()
    ada.wait_for_state("online")
    expect(page.locator("#login-dialog")).to_be_hidden()
    expect(page.locator("#nick-shown")).to_have_text("ada")
    ada.line("said by a user")

    # A user may be called otherwise; the log-in stays.
    ada.say("/nick Countess")
    expect(page.locator("#nick-shown")).to_have_text("Countess")
    expect(page.locator("#account-user")).to_have_text("ada")

    ada.say("/msg bob between us")
    page.locator("#log-out").click()
    expect(page.locator("#login-dialog")).to_be_visible()
    expect(page.locator("#login-name")).to_have_value("")
    for word in ("ada", "Countess", "between us", "bob"):
        assert word not in kept(page), f"{word} is left of the user"
        expect(page.locator("body")).not_to_contain_text(word)
    assert all(one["name"] != "rtchat_session" for one in ada.context.cookies())

    # The next one at this browser is another person.
    log_in(ada, "bob")
    expect(page.locator("#nick-shown")).to_have_text("bob")
    expect(page.locator("#login-password")).to_have_value("")


@pytest.mark.parametrize("width,scheme", [(1280, "light"), (320, "dark")])
def test_the_question_is_for_every_hand_eye_and_ear(
    server: Server, open_window: OpenWindow, width: int, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 740}, "reduced_motion": "reduce"}
    ada = open_window(server.url, color_scheme=scheme, **options)
    page = ada.page
    dialog = page.get_by_role("dialog", name="Log in")
    expect(dialog).to_be_visible()
    expect(dialog).to_have_accessible_description(
        "This chat is for people who have an account. Log in to join."
    )
    assert page.locator("#login-name").get_attribute("autocomplete") == "username"
    assert page.locator("#login-password").get_attribute("autocomplete") == "current-password"
    page.locator("#login-save").click()
    expect(page.locator("#login-name")).to_be_focused()  # it is empty
    # Not by the server, which would slow down the tests after this one.
    page.route("**/login", refuse)
    fill_in(page, "ada", "a wrong one")
    expect(page.get_by_role("alert")).not_to_be_empty()
    page.unroute("**/login")
    axe = require_package("axe-core") / "axe.min.js"
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert found["passes"]
    assert [(one["id"], one["impact"]) for one in found["violations"]] == []
    stops = tab_stops(page)
    names = [stop.name for stop in stops]
    assert names == ["login-name", "login-password", "login-cancel", "login-save"]
    assert [fault for stop in stops for fault in stop.faults()] == []
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [width, width]
    page.set_viewport_size({"width": 740, "height": 360})  # a phone on its side
    shown = ("#login-problem", "#login-name", "#login-password", "#login-cancel", "#login-save")
    for one in shown:
        expect(page.locator(one)).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": width, "height": 740})

    # The server takes its time: one may wait, or not.
    page.route("**/login", hold)
    fill_in(page, "ada")
    save = page.locator("#login-save")
    expect(save).to_have_text("One moment …")
    assert save.evaluate("(one) => one.scrollHeight <= one.clientHeight"), "one line"
    button, field = [one.bounding_box() for one in (save, page.locator("#login-password"))]
    assert button is not None
    assert field is not None
    assert button["x"] + button["width"] <= field["x"] + field["width"]
    expect(save).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#login-password")).not_to_be_editable()
    page.locator("#login-cancel").click()
    expect(page.locator("#login-password")).to_have_value("")
    page.unroute("**/login")
    page.locator("#retry").click()
    expect(save).to_have_text("Log in")

    # Escape: one may read what there is, and nothing asks again by itself.
    page.locator("#login-password").fill("half of it")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#login-password")).to_have_value("")
    expect(page.locator("#offline-text")).to_have_text("You have to log in to join this chat.")
    tried = sockets(ada)
    page.locator("#offline").get_by_role("button", name="Log in").click()
    expect(dialog).to_be_visible()
    assert sockets(ada) == tried + 1

    # A user whom the server does not let in is not asked again and again.
    page.keyboard.press("Escape")
    page.route("**/login", lambda route: route.fulfill(json={"user": "eve", "form": "x"}))
    page.locator("#retry").click()
    expect(page.locator("#offline-text")).to_contain_text("does not let eve in")
    expect(dialog).to_be_hidden()
    assert sockets(ada) == tried + 3


def test_the_form_without_scripts(server: Server, open_window: OpenWindow) -> None:
    ada = open_window(f"{server.url}login", java_script_enabled=False)
    page = ada.page
    page.locator("#name").fill("ada")
    page.locator("#password").fill("a wrong one")
    page.locator("button").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    expect(page.locator("#password")).to_be_focused()
    expect(page.locator("#password")).to_have_accessible_description(re.compile("wrong"))
    page.locator("#password").fill("password of ada")
    page.locator("button").click()
    expect(page).to_have_url(server.url)
    assert any(one["name"] == "rtchat_session" for one in ada.context.cookies())


@in_both_browsers_if_long
def test_the_windows_of_a_browser_log_in_and_out_together(
    server: Server, open_window: OpenWindow
) -> None:
    one = open_window(server.url)
    two = Window(one.context, one.url)
    two.open()
    expect(two.page.locator("#login-dialog")).to_be_visible()
    log_in(one, "dan")
    two.wait_for_state("online")
    expect(two.page.locator("#login-dialog")).to_be_hidden()
    expect(two.page.locator("#nick-shown")).to_have_text("dan")
    two.say("from the other window")
    one.line("from the other window")
    one.page.locator("#log-out").click()
    expect(two.page.locator("#login-dialog")).to_be_visible()
    expect(two.page.locator("#account")).to_be_hidden()
    assert "dan" not in kept(two.page)
    assert two.complaints == []


# ---------------------------------------------------------------- a log-in that does not hold


def test_a_user_who_is_removed_is_asked_again_and_loses_nothing(
    server: Server, open_window: OpenWindow, hashes: dict[str, str]
) -> None:
    dan = log_in(open_window(server.url), "dan")
    dan.say("before")
    dan.line("before")
    dan.page.locator("#text").fill("half a sentence")
    without = {name: text for name, text in hashes.items() if name != "dan"}
    write_users(server.folder, without)
    expect(dan.page.locator("#login-about")).to_contain_text("not logged in any more")
    expect(dan.page.locator("#login-name")).to_have_value("dan")
    fill_in(dan.page, "dan")
    expect(dan.page.get_by_role("alert")).to_contain_text("not right")
    expect(dan.page.locator("#offline-text")).to_contain_text("log in")

    write_users(server.folder, {**without, "dan": quick_hash("another password")})
    os.kill(server.pid, signal.SIGHUP)  # at once instead of soon
    server.until_logged("have been read again")
    fill_in(dan.page, "dan", "another password")
    dan.wait_for_state("online")
    dan.line("before")
    expect(dan.page.locator("#text")).to_have_value("half a sentence")
    write_users(server.folder, hashes)


# ---------------------------------------------------------------- rights


def test_what_is_not_allowed_is_said_and_the_rest_goes_on(
    server: Server, open_window: OpenWindow
) -> None:
    ada = log_in(open_window(f"{server.url}#staff"), "ada")
    rooms(ada, "#staff")
    ada.say("for the staff")
    ada.go_to("news")
    ada.say("the news")

    bob = log_in(open_window(server.url), "bob")
    page = bob.page
    bob.go_to("news")
    bob.line("the news")
    page.locator("#rooms a", has_text="Lobby").click()
    expect(page.locator("#more-rooms-part")).to_be_hidden()  # a room one may not read is not listed

    tried = sockets(bob)
    page.evaluate("location.hash = '#staff'")
    expect(page.locator(".notice")).to_contain_text("#staff is not open to you")
    bob.wait_for_state("online")
    expect(page.locator("#room")).to_have_text("Lobby")
    rooms(bob, "Lobby", "#news")
    assert sockets(bob) == tried + 1
    bob.say("still in the lobby")
    expect(bob.line("still in the lobby").locator(".message-note")).to_have_count(0)

    # Not writable: said while one types, and at the message.
    bob.go_to("news")
    page.locator("#text").press_sequentially("but")
    expect(page.locator(".notice")).to_have_text("You may read here, but not write.")
    page.locator("#text").press("Enter")
    note = bob.line("but").locator(".message-note")
    expect(note).to_contain_text("Not sent: you may read here, but not write.")
    bob.wait_for_state("online")
    assert sockets(bob) == tried + 3
    ada.say("more news")
    bob.line("more news")
    expect(bob.line("but")).to_have_count(1)
    expect(ada.lines("but")).to_have_count(0)
    bob.line("but").get_by_role("button", name="Take back").click()
    expect(page.locator("#text")).to_have_value("but")

    # What was left is not tried again by the next page.
    before = sockets(bob)
    page.reload()
    bob.wait_for_state("online")
    bob.line("more news")
    assert sockets(bob) == before + 1


def test_a_rule_may_ask_for_a_log_in_before_the_page_connects(
    start: Callable[..., Server], open_window: OpenWindow
) -> None:
    server = start(_WITH_FORM, "self @staff")
    window = open_window(server.url)
    page = window.page
    expect(page.locator("#login-dialog")).to_be_visible()
    page.wait_for_timeout(1500)  # longer than the first delay
    assert sockets(window) == 1
    fill_in(page, "bob")
    expect(page.locator("#offline-text")).to_contain_text("bob")
    expect(page.locator("#login-dialog")).to_be_hidden()
    page.locator("#log-out").click()
    log_in(window, "ada")


def test_a_lobby_that_may_not_be_read_says_so_and_others_are_open(
    server: Server, open_window: OpenWindow
) -> None:
    eve = log_in(open_window(server.url), "eve")
    expect(eve.page.locator(".notice")).to_contain_text("Lobby is not open to you.")
    rooms(eve, "Lobby")
    tried = sockets(eve)
    assert tried <= 3
    eve.say("hello?")
    expect(eve.line("hello?").locator(".message-note")).to_contain_text(
        "this room is not open to you"
    )
    eve.go_to("news")
    eve.page.locator("#rooms a", has_text="Lobby").click()
    expect(eve.page.locator("#room")).to_have_text("#news")
    rooms(eve, "#news")
    eve.wait_for_state("online")
    assert sockets(eve) == tried + 1


def test_a_visitor_chooses_a_name_and_may_log_in(
    start: Callable[..., Server], open_window: OpenWindow
) -> None:
    server = start(_WITH_VISITORS)
    visitor = open_window(server.url)
    page = visitor.page
    visitor.choose_nick("Visitor")
    expect(page.locator("#login-dialog")).to_be_hidden()
    expect(page.locator("#account-shown")).to_be_hidden()
    visitor.say("as a visitor")
    page.locator("#log-in").click()
    page.keyboard.press("Escape")
    visitor.wait_for_state("online")
    page.locator("#log-in").click()
    log_in(visitor, "ada")
    expect(page.locator("#nick-shown")).to_have_text("ada")
    expect(page.locator("#account-user")).to_have_text("ada")
    page.locator("#log-out").click()
    visitor.choose_nick("Visitor")
    expect(page.locator("#log-in")).to_be_visible()
    expect(visitor.line("as a visitor")).to_be_visible()


# ---------------------------------------------------------------- the log-in of a site


def give_token(context: BrowserContext, server: Server, name: str, seconds: float) -> None:
    """Log in at the site, which sets its cookie."""
    claims = {"sub": name, "exp": time.time() + seconds}
    token = jwt.encode(claims, _SECRET, "HS256")
    context.add_cookies([{"name": "shop", "value": token, "url": server.url}])


def test_the_site_says_who_one_is_and_for_how_long(
    start: Callable[..., Server], open_window: OpenWindow
) -> None:
    server = start(_WITH_TOKENS)
    begun_s = time.monotonic()
    ada = open_window(server.url)
    page = ada.page
    expect(page.locator("#offline-text")).to_contain_text("logged in at the site")
    # The next token has to be there before the first one ends: a busy machine has more time.
    seconds = max(5.0, 2 * (time.monotonic() - begun_s))
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.wait_for_timeout(300)
    assert sockets(ada) == 1

    give_token(ada.context, server, "ada", seconds)
    ends_s = time.time() + seconds
    page.locator("#retry").click()
    ada.wait_for_state("online")
    give_token(ada.context, server, "ada", seconds + 2)
    assert time.time() < ends_s, "the machine was too slow for this test"
    expect(page.locator("#nick-shown")).to_have_text("ada")
    expect(page.locator("#account-user")).to_have_text("ada")
    expect(page.locator("#log-out")).to_be_hidden()

    def is_back() -> bool:
        page.wait_for_timeout(20)  # the list of requests grows meanwhile
        return sockets(ada) == 3

    until("connection with the new token", is_back, seconds + 10)
    ada.wait_for_state("online")
    expect(page.locator(".notice")).to_have_count(0)
    # And with no new one:
    expect(page.locator("#offline")).to_be_visible(timeout=(seconds + 15) * 1000)
    expect(page.locator("#offline-text")).to_contain_text("logged in at the site")
    assert sockets(ada) == 4

    # Another user of the site at the same browser finds nothing of the first one.
    give_token(ada.context, server, "bob", 60)
    page.locator("#retry").click()
    expect(page.locator("#nick-shown")).to_have_text("bob")
    ada.wait_for_state("online")
    assert "ada" not in kept(page)


# ---------------------------------------------------------------- in a frame


@pytest.mark.parametrize("engine", ["chromium"], indirect=True)  # frames of other sites
def test_a_frame_logs_in_where_the_browser_keeps_it(
    server: Server, host: Host, browser: Browser
) -> None:
    chat = f"http://localhost:{server.http}"
    script = f'<script src="{chat}/static/embed.js" data-room="news"></script>'
    near = host.page("/", f"<!DOCTYPE html><title>Shop</title>{script}", name="localhost")
    far = near.replace("localhost", "127.0.0.1")  # another site than the chat's
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(near)
        frame = page.frame_locator("iframe")
        frame.locator("#cover-button").click()
        frame.locator("#login-name").fill("ada")
        frame.locator("#login-password").fill("password of ada")
        frame.locator("#login-save").click()
        expect(frame.locator("body")).to_have_attribute("data-state", "online")
        expect(frame.locator("#nick-shown")).to_have_text("ada")

        page.goto(far)
        frame.locator("#cover-button").click()
        expect(frame.locator("#offline-text")).to_contain_text("inside a page of another site")
        expect(frame.locator("#login-dialog")).to_be_hidden()
        with context.expect_page() as opened:
            frame.get_by_role("link", name="Open it in a page of its own").click()
        alone = opened.value
        expect(alone.locator("body")).to_have_attribute("data-state", "online")
        expect(alone.locator("#room")).to_have_text("#news")


# ---------------------------------------------------------------- without a log-in


def test_where_there_is_no_log_in_nothing_is_asked_about_it(
    start: Callable[..., Server], open_window: OpenWindow
) -> None:
    server = start("")
    ada = open_window(server.url)
    expect(ada.page.locator("#nick-dialog")).to_be_visible()
    assert sockets(ada) == 0, "nothing connects before there is a name"
    ada.choose_nick("Ada")
    expect(ada.page.locator("#account")).to_be_hidden()
    asked = {urlsplit(url).path for url in ada.requests}
    assert not asked & {"/login", "/static/access.js", "/static/protocol/login.js"}
    assert "/static/view/naming.js" in asked
