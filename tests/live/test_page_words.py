"""What the page says: when a name is taken, when nothing can be sent, when a text is too long."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from playwright.sync_api import expect
from support.browser import REBOUND_HOST, Window, in_both_browsers, in_both_browsers_if_long
from support.process import Server, until
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.browser]

OpenWindow = Callable[..., Window]
Serve = Callable[..., Server]

HISTORY = "\n[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"

# All that a screen reader was told, in order.
_LISTEN = """() => {
  window.told = [];
  const note = (element) => { if (element.textContent) window.told.push(element.textContent); };
  for (const id of ["announcement", "nick-problem"]) {
    const element = document.getElementById(id);
    new MutationObserver(() => note(element)).observe(element, { childList: true });
  }
}"""


# ---------------------------------------------------------------- names


@in_both_browsers
def test_a_taken_name_is_the_reason_that_is_shown_and_said(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve()
    open_window(server.url, "Ada")
    other = open_window(server.url)
    other.page.evaluate(_LISTEN)
    other.page.locator("#nick").fill("Ada")
    other.page.locator("#nick").press("Enter")
    expect(other.page.get_by_role("alert")).to_contain_text("Ada is taken")
    other.wait_for_state("offline")
    text = other.page.locator("#offline-text")
    expect(text).to_have_text("Choose another nickname to go on.")
    expect(other.page.locator("#announcement")).to_have_text("Choose another nickname to go on.")
    told = other.page.evaluate("window.told")
    assert not [words for words in told if "losed by the server" in words], told
    assert [words for words in told if words.startswith("Ada is taken")], told
    # It is not forgotten that it was said when the next loss has another cause.
    other.page.locator("#nick-save").click()
    other.wait_for_state("online")
    server.kill()
    other.wait_for_state("offline")
    expect(text).to_contain_text("You are offline.")


def test_the_dialog_stays_open_when_the_new_name_is_taken(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    page = bob.page
    page.locator("#nick-change").click()
    page.locator("#nick").fill("ada")
    page.locator("#nick").press("Enter")
    problem = page.get_by_role("alert")
    expect(problem).to_have_text("ada is taken by another person. How about ada2?")
    expect(page.locator("#nick-dialog")).to_be_visible()
    expect(page.locator("#nick")).to_have_value("ada2")
    expect(page.locator("#nick-save")).to_be_enabled()
    bob.wait_for_state("online")
    expect(page.locator("#nick-shown")).to_have_text("Bob")
    expect(page.locator("#rows .notice")).to_have_count(0)

    page.locator("#nick").press("Enter")
    expect(page.locator("#nick-dialog")).to_be_hidden()
    expect(page.locator("#nick-shown")).to_have_text("ada2")
    expect(ada.page.locator("#people .person-name")).to_have_text(["Ada", "ada2"])
    # One that cannot be asked for now is asked for later, and the dialog does not wait for it.
    server.kill()
    bob.wait_for_state("offline")
    page.locator("#nick-change").click()
    page.locator("#nick").fill("Robert")
    page.locator("#nick").press("Enter")
    expect(page.locator("#nick-dialog")).to_be_hidden()
    server.start()
    bob.wait_for_state("online", within_s=40)
    expect(page.locator("#nick-shown")).to_have_text("Robert")


# ---------------------------------------------------------------- commands and the Back button


def test_no_command_swallows_what_was_typed(serve: Serve, open_window: OpenWindow) -> None:
    ada = open_window(serve().url, "Ada")
    text = ada.page.locator("#text")
    notices = ada.page.locator("#rows .notice")
    for typed, answer in (
        ("/leave", "This is the only room you are in; /join ROOM goes to another one."),
        ("/leave milk", "You are in no room called milk."),
        ("/nick \u202e", "A nickname needs at least one letter or sign."),
    ):
        ada.say(typed)
        expect(notices.last).to_have_text(answer)
        expect(ada.page.locator("#heard p").last).to_have_text(answer)
        expect(text).to_have_value(typed)
    # What has an effect leaves the field.
    ada.go_to("tea")
    ada.go_to("")
    ada.say("/leave tea")
    expect(ada.page.locator("#rooms .talk-name")).to_have_text(["Lobby"])
    expect(text).to_have_value("")
    ada.say("/nick Ada")
    expect(notices.last).to_have_text("You are called Ada now.")
    expect(text).to_have_value("")


def test_rooms_whose_names_look_like_others_are_marked(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(more=HISTORY)
    ada, eve = open_window(server.url, "Ada"), open_window(server.url, "Eve")
    eve.go_to("t\u0435a")
    other = ada.page.locator("#more-rooms .doubt")
    expect(other).to_have_attribute("title", "This name mixes alphabets")
    expect(other).to_be_visible()
    ada.go_to("tea")
    mine = ada.page.locator("#rooms li").filter(has_text="#tea").locator(".doubt")
    expect(mine).to_have_attribute("aria-label", "Another room has a name that looks the same")
    expect(mine).to_be_visible()
    lobby = ada.page.locator("#rooms li").filter(has_text="Lobby").locator(".doubt")
    expect(lobby).to_be_hidden()


def test_who_leaves_the_last_room_is_in_the_lobby(serve: Serve, open_window: OpenWindow) -> None:
    ada = open_window(f"{serve().url}#tea", "Ada")
    expect(ada.page.locator("#rooms .talk-name")).to_have_text(["#tea"])
    ada.say("/leave")
    expect(ada.page.locator("#room")).to_have_text("Lobby")
    expect(ada.page.locator("#rooms .talk-name")).to_have_text(["Lobby"])
    ada.wait_for_state("online")


@in_both_browsers_if_long
def test_back_does_not_lead_into_what_was_left(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    page = ada.page
    rooms = page.locator("#rooms .talk-name")
    for typed in ("/join tea", "/join milk", "/msg Bob", "/join tea"):
        ada.say(typed)
    expect(page.locator("#room")).to_have_text("#tea")
    ada.say("/leave")
    expect(rooms).to_have_text(["Lobby", "#milk"])
    # Back: Bob, milk, the first visit of tea, the lobby.
    for shown in ("Bob", "#milk", "#milk", "Lobby"):
        page.evaluate("history.back()")
        expect(page.locator("#room")).to_have_text(shown)
        expect(rooms).to_have_text(["Lobby", "#milk"])
    # An address that is new leads there as ever.
    page.evaluate("location.hash = '#tea'")
    expect(page.locator("#room")).to_have_text("#tea")
    expect(rooms).to_have_text(["Lobby", "#milk", "#tea"])
    # It holds for conversations, too, and the close button.
    ada.say("/msg Bob")
    ada.go_to("milk")
    page.locator("#private li").hover()
    page.get_by_role("button", name="Close the conversation with Bob").click()
    page.evaluate("history.back()")
    page.wait_for_timeout(300)
    expect(page.locator("#private li")).to_have_count(0)
    expect(page.locator("#room")).to_have_text("#milk")


# ---------------------------------------------------------------- what is shown of what was done


@in_both_browsers_if_long
def test_copying_everything_is_seen_and_said(serve: Serve, open_window: OpenWindow) -> None:
    ada = open_window(serve().url, "Ada")
    ada.say("one")
    ada.say("two")
    assert ada.whole_log() == ["one", "two"]
    expect(ada.page.locator("#toast")).to_have_text("2 messages copied.")
    expect(ada.page.locator("#toast")).to_be_in_viewport()
    expect(ada.page.locator("#announcement")).to_have_text("2 messages copied.")
    expect(ada.page.locator("#toast")).to_be_hidden(timeout=10_000)


@in_both_browsers_if_long
def test_without_https_notifications_are_not_the_settings_fault(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(
        "[listen]\nhttp://:{http}\nstomp://:{stomp}\n[access]\nself -> localhost:{stomp}\n"
        f"[global]\nhosts = {REBOUND_HOST}\n"
    )
    url = f"http://{REBOUND_HOST}:{server.http}/"
    ada = open_window(url, "Ada")
    assert ada.page.evaluate("isSecureContext") is False
    words = "Browsers allow notifications only for pages on https or on localhost."
    button = ada.page.get_by_role("button", name="Notifications off")
    expect(button).to_have_attribute("title", words)
    button.click()
    expect(ada.page.locator("#toast")).to_have_text(words)
    expect(ada.page.locator("#announcement")).to_have_text(words)


def test_offline_a_message_says_what_becomes_of_it(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    server.kill()
    ada.wait_for_state("offline")
    ada.say("written offline")
    note = ada.line("written offline").locator(".message-note")
    expect(note).to_have_text("Not sent yet: goes out as soon as you are online again.")
    expect(note).to_be_visible()
    server.start()
    ada.wait_for_state("online", within_s=40)
    expect(note).to_have_count(0)


# ---------------------------------------------------------------- texts that are too much


def test_stacked_marks_paint_over_nobody_else(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    zalgo = "A" + "\u0301" * 20 + "\u0323" * 20
    with Wire(server.stomp) as wire:
        wire.connect()
        ada = open_window(server.url, "Ada", reduced_motion="reduce")

        def publish(nick: str, text: str) -> None:
            wire.publish("/topic/chat", json.dumps({"nick": nick, "text": text}))
            ada.line(text)

        publish("Eve", "above")
        publish("Eve", "between")
        publish("Eve", "below")
        around = [ada.line("above"), ada.line("below")]
        [place] = ada.line("between").locator(".message-text").element_handles()
        place.evaluate("node => { node.style.width = '9rem'; }")

        def look(text: str) -> list[bytes]:
            place.evaluate("(node, text) => { node.textContent = text; }", text)
            return [line.screenshot() for line in around]

        # The marks stand in the place of a message that is there, so that nothing moves. What else
        # changes here, such as the line of the last message read, comes to rest; marks would stay.
        until("lines that look the same", lambda: look("between") == look(zalgo), 20)
        # A name is no way around it.
        publish("Eve", "last")
        people = ada.page.locator("#rows .message-nick").first
        box = people.evaluate("node => getComputedStyle(node).overflowY")
        assert box in ("hidden", "clip")


@in_both_browsers_if_long
def test_a_very_long_message_is_folded(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    ada = open_window(server.url, "Ada", viewport={"width": 1000, "height": 700})
    page = ada.page
    lines = [f"line {number}" for number in range(60)]
    many = "\n".join([*lines, "see https://example.org/"])
    with Wire(server.stomp) as wire:
        wire.connect()
        for text in ("short", many, "word " * 700, "x" * 20):
            wire.publish("/topic/chat", json.dumps({"nick": "Eve", "text": text}))
    expect(ada.line("x" * 20)).to_be_in_viewport()
    more = page.get_by_role("button", name="Show more")
    expect(more).to_have_count(2)
    heights = page.locator("#rows .message-text").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert max(heights) < 350, heights
    first = page.locator("#rows .message").filter(has_text="line 59")
    button = first.locator(".unfold")
    button.click()
    expect(button).to_have_text("Show less")
    expect(button).to_have_attribute("aria-expanded", "true")
    assert first.locator(".message-text").evaluate("one => one.offsetHeight") > 1000
    # The message below has made room.
    tops = page.locator("#rows .message").evaluate_all(
        "all => all.map(one => [one.getBoundingClientRect().top, one.offsetHeight])"
    )
    for (top, height), (next_top, _) in pairwise(tops):
        assert top + height <= next_top + 1, tops
    button.click()
    expect(button).to_have_text("Show more")
    # What cannot be seen is not reached unseen: the focus unfolds it.
    first.locator("a").focus()
    expect(button).to_have_text("Show less")
    expect(first.locator("a")).to_be_in_viewport()
    # Everything is there for a copy, and for the search, which shows what it finds.
    button.click()
    assert ada.whole_log()[1:62] == [*lines, "see https://example.org/"]
    page.locator("#search-open").click()
    page.locator("#query").fill("line 57")
    expect(page.locator("#found")).to_have_text("1 of 1")
    expect(page.locator("#rows mark")).to_be_visible()
    expect(first.locator(".unfold")).to_have_text("Show less")
