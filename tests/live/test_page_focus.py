"""One sees where the keyboard's focus is, and who is there, whatever else is on the page."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from support.browser import Window, in_both_browsers_if_long
from support.examples import IS_SOAK
from support.focus import tab_stops
from support.process import Server
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.browser]

OpenWindow = Callable[..., Window]
Serve = Callable[..., Server]

HISTORY = "\n[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"

_PLAYED = [("chromium", 1280), ("chromium", 375)]
if IS_SOAK:
    _PLAYED += [("firefox", 1280), ("firefox", 375)]


def walk(window: Window, state: str) -> set[str]:
    """Go through the page with Tab; every stop has to be seen. Return their names."""
    window.come_to_front()
    stops = tab_stops(window.page)
    assert stops, f"{state}: no stop at all"
    faults = [fault for stop in stops for fault in stop.faults()]
    assert not faults, f"{state}:\n" + "\n".join(faults)
    return {stop.name for stop in stops}


@pytest.mark.parametrize("engine,width", _PLAYED, indirect=["engine"])
def test_the_focus_is_seen_in_every_state(
    serve: Serve, open_window: OpenWindow, width: int
) -> None:
    server = serve(more=HISTORY)
    ada = open_window(server.url, viewport={"width": width, "height": 700})
    page = ada.page
    reached = walk(ada, "the first question")
    ada.choose_nick("Ada")
    reached |= walk(ada, "an empty room")

    bob = open_window(server.url, "Bob")
    for text in ("x " * 900, "/me waves", "one", "two, see https://example.org/", "three"):
        bob.say(text)
    bob.say("/msg Ada psst")
    with Wire(server.stomp) as wire:
        wire.connect()
        for number in range(30):
            wire.publish(f"/topic/chat.empty{number}", "x")
        wire.publish("/topic/chat", "plain text")
    ada.say("/help")
    ada.say("my own, too")
    ada.line("plain text")
    ada.say("/msg Nobody hello?")
    expect(ada.line("hello?")).to_contain_text("Not delivered")
    reached |= walk(ada, "a private conversation")
    ada.go_to("tea")
    ada.go_to("")
    reached |= walk(ada, "a conversation")
    page.locator("#log").evaluate("log => { log.scrollTop = 0; }")
    expect(page.locator("#jump")).to_be_visible()
    reached |= walk(ada, "scrolled up")

    page.keyboard.press("Control+f")
    page.locator("#query").fill("three")
    expect(page.locator("#found")).to_have_text("1 of 1")
    reached |= walk(ada, "the search")
    page.locator("#query").press("Escape")
    page.locator("#nick-change").click()
    reached |= walk(ada, "the rename")
    page.locator("#nick-cancel").click()
    if width < 600:
        page.locator("#side-open").click()
        page.wait_for_timeout(300)  # it slides in
    page.locator("#rooms-fold").click()
    reached |= walk(ada, "all rooms")
    if width < 600:
        page.locator("#side-close").click()
    server.kill()
    ada.wait_for_state("offline")
    ada.say("written offline")
    reached |= walk(ada, "offline")
    wanted = {
        "nick", "nick-save", "nick-cancel", "log", "text", "send", "rows a", "rows button", "query",
        "search-close", "rooms a", "rooms button", "rooms-fold", "more-rooms a", "people button",
        "retry",
    }  # fmt: skip
    assert wanted <= reached, wanted - reached


@in_both_browsers_if_long
def test_no_list_of_rooms_hides_the_people(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    with Wire(server.stomp) as eve, Wire(server.stomp) as wire:
        # One person writes to fifty names, and sits in fifty others.
        wire.connect()
        eve.send("CONNECT\naccept-version:1.2\nhost:x\nnick:Eve\nx-presence-token:eve\n\n\0")
        assert eve.frame().command == "CONNECTED"
        for number in range(50):
            wire.publish(f"/topic/chat.aaa-{number:02}", json.dumps({"nick": "x", "text": "x"}))
            eve.send(f"SUBSCRIBE\nid:{number}\ndestination:/topic/chat.bbb-{number:02}\n\n\0")
        bob = open_window(server.url, "Bob")
        bob.say("/join tea")
        bob.wait_for_state("online")
        cleo = open_window(f"{server.url}#tea", "Cleo")
        cleo.wait_for_state("online")
        ada = open_window(server.url, "Ada", viewport={"width": 1280, "height": 600})
        page = ada.page
        expect(page.locator("#people .person-name")).to_have_text(["Ada", "Bob"])
        for name in ("#people-title", "#people li >> nth=1", "#join-form"):
            expect(page.locator(name)).to_be_in_viewport(ratio=1)
        # The room with two people in it comes first, and not many follow.
        rooms = page.locator("#more-rooms .talk-name")
        expect(rooms.first).to_have_text("#tea")
        expect(rooms).to_have_count(5)
        fold = page.locator("#rooms-fold")
        expect(fold).to_have_text("95 more rooms")
        expect(fold).to_have_attribute("aria-expanded", "false")
        fold.click()
        expect(rooms).to_have_count(100)
        expect(fold).to_have_text("Fewer rooms")
        expect(fold).to_have_attribute("aria-expanded", "true")
        expect(page.locator("#people li").nth(1)).to_be_in_viewport(ratio=1)
        fold.click()
        expect(rooms).to_have_count(5)
