"""Who, when and where: one browser is one person, times are the server's, rooms have one name.

Every scene is played in Chromium and in Firefox.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect
from support.browser import (
    Window,
    in_both_browsers,
    in_both_browsers_if_long,
    in_whole_browsers,
)
from support.process import Server, until
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.browser]

OpenWindow = Callable[..., Window]
OpenAnother = Callable[[Window], Window]
Serve = Callable[..., Server]

IN_A_FILE = "\n[history]\n/topic/chat* = 1000, 7 days\nfile = history.sqlite\n"
IN_MEMORY = "\n[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"

DAY_MS = 86_400_000

OWN = re.compile(r"\bown\b")

_SKEWED = """
const aheadMs = %d;
const Right = Date;
globalThis.Date = class extends Right {
  constructor(...given) {
    if (given.length === 0) super(Right.now() + aheadMs);
    else super(...given);
  }
  static now() { return Right.now() + aheadMs; }
};
"""


@pytest.fixture
def another() -> Iterator[OpenAnother]:
    """Open another window of the same browser profile."""
    windows: list[Window] = []

    def open_(window: Window) -> Window:
        windows.append(Window(window.context, window.url))
        windows[-1].open()
        return windows[-1]

    yield open_
    assert [complaint for window in windows for complaint in window.complaints] == []


def people(window: Window) -> list[str]:
    return window.page.locator("#people .person-name").all_inner_texts()


def see_people(window: Window, *nicks: str, within_s: float = 15) -> None:
    """Wait until exactly these people are listed."""
    listed = window.page.locator("#people .person-name")
    expect(listed).to_have_text(list(nicks), timeout=within_s * 1000)


# ---------------------------------------------------------------- one browser is one person


@in_both_browsers_if_long
def test_the_windows_of_a_browser_are_one_person(
    serve: Serve, open_window: OpenWindow, another: OpenAnother
) -> None:
    server = serve(more=IN_A_FILE)
    bob = open_window(server.url, "Bob")
    one = open_window(server.url, "Ada")
    two = another(one)
    two.wait_for_state("online")
    expect(two.page.locator("#nick-dialog")).to_be_hidden()
    expect(two.page.locator("#nick-shown")).to_have_text("Ada")
    one.wait_for_state("online")
    see_people(bob, "Ada", "Bob")

    one.say("from the first window")
    bob.say("from Bob")
    two.say("from the second window")
    for window in (one, two):
        expect(window.line("from the first window")).to_have_class(OWN)
        expect(window.line("from the second window")).to_have_class(OWN)
        expect(window.line("from Bob")).not_to_have_class(OWN)
        expect(window.page).to_have_title("Lobby · rtchat")  # one's own words are not news
    expect(bob.line("from the second window")).not_to_have_class(OWN)
    expect(bob.line("from Bob")).to_have_class(OWN)

    # A change of the name in one is one in all, and costs neither their messages.
    two.say("/nick Countess")
    expect(one.page.locator("#nick-shown")).to_have_text("Countess")
    see_people(bob, "Bob", "Countess")
    one.say("renamed")
    assert bob.nick_of("renamed") == "Countess"
    expect(two.line("renamed")).to_have_class(OWN)

    # Another person takes the name that is free now; whose is whose holds after a reload, too.
    eve = open_window(server.url, "Ada")
    eve.say("I am Ada now")
    one.line("I am Ada now")
    for window in (one, two):
        window.page.reload()
        window.wait_for_state("online")
        for text in ("from the first window", "from the second window", "renamed"):
            expect(window.line(text)).to_have_class(OWN)
        for text in ("from Bob", "I am Ada now"):
            expect(window.line(text)).not_to_have_class(OWN)
    expect(eve.line("from the first window")).not_to_have_class(OWN)

    # She is there as long as one of her windows is.
    two.page.close()
    one.say("still here")
    bob.line("still here")
    see_people(bob, "Ada", "Bob", "Countess")


@in_both_browsers_if_long
def test_a_tab_that_is_opened_again_at_once_has_its_name(
    serve: Serve, open_window: OpenWindow, another: OpenAnother
) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    ada.page.goto("about:blank")
    again = another(ada)
    again.wait_for_state("online")
    expect(again.page.locator("#nick-dialog")).to_be_hidden()
    expect(again.page.locator("#nick-shown")).to_have_text("Ada")


@in_both_browsers_if_long
def test_a_name_that_is_chosen_in_one_window_is_chosen_in_all(
    serve: Serve, open_window: OpenWindow, another: OpenAnother
) -> None:
    server = serve()
    one = open_window(server.url)
    two = another(one)
    expect(two.page.locator("#nick-dialog")).to_be_visible()
    one.choose_nick("Ada")
    two.wait_for_state("online")
    expect(two.page.locator("#nick-dialog")).to_be_hidden()
    expect(two.page.locator("#nick-shown")).to_have_text("Ada")
    see_people(one, "Ada")


@in_both_browsers_if_long
def test_what_was_ones_own_is_so_after_the_server_was_killed(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(more=IN_A_FILE)
    ada, bob = open_window(server.url, "Ada"), open_window(server.url, "Bob")
    ada.say("before")
    bob.line("before")
    server.kill()
    server.start()
    for window in (ada, bob):
        window.wait_for_state("online", within_s=40)
    ada.say("after")
    bob.line("after")
    ada.page.reload()
    ada.wait_for_state("online")
    for text in ("before", "after"):
        expect(ada.line(text)).to_have_class(OWN)
        expect(bob.line(text)).not_to_have_class(OWN)


# ---------------------------------------------------------------- a page that is left


@in_whole_browsers
def test_a_page_in_the_back_forward_cache_is_no_ghost(
    serve: Serve, open_window: OpenWindow, engine: str
) -> None:
    server = serve(more=IN_MEMORY)
    ada, bob = open_window(server.url, "Ada"), open_window(server.url, "Bob")
    see_people(bob, "Ada", "Bob")
    ada.page.evaluate("window.isSamePage = true")
    ada.page.goto(f"{server.url}health")
    # After the time in which a reload would be back, not after that of a lost connection.
    see_people(bob, "Bob", within_s=15)
    bob.say("meanwhile")
    bob.line("meanwhile")
    ada.page.evaluate("history.back()")
    see_people(bob, "Ada", "Bob")
    ada.wait_for_state("online")
    ada.line("meanwhile")
    ada.say("back again")
    bob.line("back again")
    # A Firefox that a program drives loads the page anew.
    if engine != "firefox":
        assert ada.page.evaluate("window.isSamePage") is True


@in_both_browsers
def test_what_was_read_in_several_rooms_at_once_is_read_after_a_reload(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(more=IN_MEMORY)
    ada = open_window(server.url, "Ada")
    with Wire(server.stomp) as wire:
        wire.connect()
        for room in ("tea", "milk"):
            wire.publish(f"/topic/chat.{room}", json.dumps({"nick": "Eve", "text": "old"}))
            ada.go_to(room)
            ada.line("old")
            ada.page.wait_for_timeout(700)  # that it was read is noted
        ada.go_to("")
        for room in ("tea", "milk"):
            wire.publish(f"/topic/chat.{room}", json.dumps({"nick": "Eve", "text": "news"}))
    badges = ada.page.locator("#rooms .badge:not([hidden])")
    expect(badges).to_have_text(["1", "1"])
    # Through all of them faster than the page stores what was read.
    ada.page.evaluate(
        """async () => {
          for (const hash of ["#tea", "#milk", "#"]) {
            location.hash = hash;
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
        }"""
    )
    expect(badges).to_have_count(0)
    ada.page.reload()
    ada.wait_for_state("online")
    expect(ada.page.locator("#rooms .talk-name")).to_have_text(["Lobby", "#tea", "#milk"])
    expect(badges).to_have_count(0)


@in_both_browsers_if_long
def test_the_title_counts_in_a_tab_that_hid_before_its_frame_came(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve()
    ada, bob = open_window(server.url, "Ada"), open_window(server.url, "Bob")
    # As browsers do it: a frame that was asked for does not come while the tab is hidden.
    ada.page.evaluate(
        """() => {
          window.requestAnimationFrame = () => 0;
          Object.defineProperty(document, "hidden", { get: () => window.isHidden === true });
        }"""
    )
    bob.say("just before")
    ada.page.wait_for_function("document.querySelector('#heard') !== null")
    ada.page.evaluate(
        "() => { isHidden = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    for text in ("one", "two"):
        bob.say(text)
    expect(ada.page).to_have_title(re.compile(r"^\([23]\) Lobby · rtchat$"))


# ---------------------------------------------------------------- the server's time and order


@pytest.fixture
def open_with_clock(browser: Browser) -> Iterator[Callable[[str, str, float], Window]]:
    """Open a window on a computer whose clock is some days ahead."""
    windows: list[Window] = []

    def open_(url: str, nick: str, days: float) -> Window:
        window = Window(browser.new_context(), url)
        windows.append(window)
        window.context.add_init_script(_SKEWED % int(days * DAY_MS))
        window.open()
        window.choose_nick(nick)
        return window

    yield open_
    assert [complaint for window in windows for complaint in window.close()] == []


def rows(window: Window) -> list[str]:
    """Return the texts of messages and notices, and "day" for the line of a day."""
    found: list[str] = window.page.locator("#rows").evaluate(
        """(list) => [...list.children].map((row) => row.matches(".day") ? "day"
             : (row.querySelector(".message-text") ?? row).textContent)"""
    )
    return found


def times(window: Window) -> list[str]:
    """Return the time of each message."""
    found: list[str] = window.page.locator("#rows .message time").evaluate_all(
        "(all) => all.map((time) => time.dateTime)"
    )
    return found


@in_both_browsers_if_long
@pytest.mark.parametrize("history", [IN_MEMORY, ""], ids=["kept", "not kept"])
def test_no_clock_but_the_servers_is_shown(
    serve: Serve, open_with_clock: Callable[[str, str, float], Window], history: str
) -> None:
    server = serve(more=history)
    windows = {
        nick: open_with_clock(server.url, nick, days)
        for nick, days in (("Slow", -2.0), ("Fast", 2.0), ("Right", 0.0))
    }
    said = []
    for number in range(2):
        for nick, window in windows.items():
            said.append(f"{nick} {number}")
            window.say(said[-1])
            for other in windows.values():
                other.line(said[-1])
    # A program cannot do what the page does not do.
    with Wire(server.stomp) as wire:
        wire.connect()
        body = json.dumps({"nick": "Eve", "text": "from 1970"})
        wire.send(f"SEND\ndestination:/topic/chat\ntimestamp:5\n\n{body}\0")
        said.append("from 1970")
        for window in windows.values():
            window.line(said[-1])
    for window in windows.values():
        expect(window.page.locator(".message.waiting")).to_have_count(0)
        assert rows(window) == ["day", *said]
    right = times(windows["Right"])
    assert right == sorted(right)
    assert all(times(window) == right for window in windows.values())


@in_both_browsers_if_long
def test_what_was_written_offline_stands_where_it_arrived(
    serve: Serve, open_with_clock: Callable[[str, str, float], Window]
) -> None:
    server = serve(more=IN_A_FILE)
    slow = open_with_clock(server.url, "Slow", -2.0)
    bob = open_with_clock(server.url, "Bob", 0.0)
    bob.say("before")
    slow.line("before")
    server.kill()
    slow.wait_for_state("offline")
    slow.say("written offline")
    assert rows(slow) == ["day", "before", "written offline"]
    server.start()
    bob.wait_for_state("online", within_s=40)
    slow.wait_for_state("online", within_s=40)
    slow.say("and after")
    for window in (slow, bob):
        window.line("and after")
        expect(window.page.locator(".message.waiting")).to_have_count(0)
        assert rows(window) == ["day", "before", "written offline", "and after"]
    assert times(slow) == times(bob) == sorted(times(bob))


@in_both_browsers_if_long
def test_each_day_has_its_line(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=IN_A_FILE)
    with Wire(server.stomp) as wire:
        wire.connect()
        for text in ("two days ago", "yesterday 1", "yesterday 2", "today"):
            body = json.dumps({"nick": "Eve", "text": text})
            # The sender's clock says the opposite.
            wire.send(f"SEND\ndestination:/topic/chat\ntimestamp:5\nreceipt:{text[0]}\n\n{body}\0")
            wire.frame()
    server.stop()
    with sqlite3.connect(server.folder / "history.sqlite") as file:
        for days, place in ((2, 0), (1, 1), (1, 2)):
            file.execute(
                "UPDATE message SET time_s = time_s - ? WHERE place IN "
                "(SELECT place FROM message ORDER BY place LIMIT 1 OFFSET ?)",
                (days * 86_400, place),
            )
    server.start()
    ada = open_window(server.url, "Ada")
    ada.line("today")
    expected = ["day", "two days ago", "day", "yesterday 1", "yesterday 2", "day", "today"]
    assert rows(ada) == expected
    ada.say("now")
    ada.line("now")
    until("the message stands last", lambda: rows(ada) == [*expected, "now"])
    lines = ada.page.locator("#rows .day").all_inner_texts()
    assert len(set(lines)) == 3


# ---------------------------------------------------------------- rooms


@in_both_browsers
def test_a_room_has_one_name_however_it_is_written(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=IN_MEMORY)
    ada = open_window(f"{server.url}#Caf\u00e9", "Ada")
    bob = open_window(f"{server.url}#CAFE\u0301", "Bob")
    for window in (ada, bob):
        expect(window.page.locator("#room")).to_have_text("#caf\u00e9")
        see_people(window, "Ada", "Bob")
        assert window.page.url == f"{server.url}#caf%C3%A9"
    bob.say("one room")
    ada.line("one room")
    bob.say("/join CAF\u00c9")
    expect(bob.page.locator("#rooms .talk-name")).to_have_text(["#caf\u00e9"])
    # A program's destination that no address leads to is not listed beside it.
    with Wire(server.stomp) as wire:
        wire.send("CONNECT\naccept-version:1.2\nnick:robot\n\n\0")
        assert wire.frame().command == "CONNECTED"
        wire.subscribe("/topic/chat.CAF\u00c9")
        bob.say("/join Tea")
        expect(ada.page.locator("#more-rooms .talk-name")).to_have_text(["#tea"])


@in_both_browsers_if_long
def test_a_sign_is_a_room_and_what_is_none_is_refused(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(more=IN_MEMORY)
    ada = open_window(f"{server.url}#\U0001f44d", "Ada")
    expect(ada.page.locator("#room")).to_have_text("#\U0001f44d")
    ada.say("here")
    bob = open_window(server.url, "Bob")
    bob.page.locator("#more-rooms a").click()
    expect(bob.page.locator("#room")).to_have_text("#\U0001f44d")
    bob.line("here")

    field = bob.page.locator("#join-room")
    reason = (
        "This cannot be the name of a room: a name needs a letter, a digit or a symbol, such as "
        "an emoji."
    )
    field.fill("!?*")
    field.press("Enter")
    expect(bob.page.locator("#rows .notice")).to_have_text([reason])
    expect(bob.page.locator("#heard p").last).to_have_text(reason)
    expect(field).to_have_value("!?*")
    bob.say("/join ...")
    expect(bob.page.locator("#rows .notice")).to_have_text([reason, reason])
    expect(bob.page.locator("#text")).to_have_value("/join ...")
    expect(bob.page.locator("#room")).to_have_text("#\U0001f44d")

    field.fill("Lobby")
    field.press("Enter")
    expect(bob.page.locator("#room")).to_have_text("Lobby")
    assert bob.page.url.rstrip("#") == server.url
    expect(bob.page.locator("#rooms .talk-name")).to_have_text(["Lobby", "#\U0001f44d"])
    # An address that names no room leads to the lobby and says why.
    bob.page.evaluate("location.hash = '#!!!'")
    expect(bob.page.locator("#rows .notice")).to_have_text([reason])
    expect(bob.page.locator("#room")).to_have_text("Lobby")
