"""How the chat page treats people: names, private messages, what the server refuses, keyboard,
screen reader, small screens, hostile guests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.browser import Window, in_both_browsers_if_long
from support.examples import IS_SOAK
from support.focus import tab_stops
from support.needs import require_package
from support.process import ROOT, Server
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.browser]

OpenWindow = Callable[..., Window]
Serve = Callable[..., Server]

HISTORY = "\n[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"

PHONES = [320, 375]


# Fires a copy event at an element and gives what the page puts into the clipboard.
_COPY = """(selector) => {
  const data = new DataTransfer();
  const options = { clipboardData: data, bubbles: true, cancelable: true };
  document.querySelector(selector).dispatchEvent(new ClipboardEvent("copy", options));
  return data.getData("text/plain");
}"""


# ---------------------------------------------------------------- names


def test_a_name_that_is_taken_is_told_kindly(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    other = open_window(server.url)
    other.page.locator("#nick").fill("ada")
    other.page.keyboard.press("Enter")
    problem = other.page.get_by_role("alert")
    expect(problem).to_have_text("ada is taken by another person. How about ada2?")
    expect(other.page.locator("#nick")).to_have_value("ada2")
    other.page.keyboard.press("Enter")
    other.wait_for_state("online")
    other.say("hello")
    assert ada.nick_of("hello") == "ada2"

    # A name that cannot be had later does not cost the one that one has.
    other.say("/nick Ada")
    expect(other.page.locator("#rows .notice")).to_have_text(
        "Ada is taken by somebody else. You keep your nickname; try another one."
    )
    other.wait_for_state("online")
    other.say("/nick Grace")
    expect(ada.page.locator("#people .person-name")).to_have_text(["Ada", "Grace"])
    other.say("renamed")
    assert ada.nick_of("renamed") == "Grace"


def test_a_duplicated_tab_ends_nothing_in_the_first(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    # It has the storage of the first, also that of its session.
    with ada.context.expect_page() as opened:
        ada.page.evaluate("window.open(location.href)")
    newer = opened.value
    expect(newer.locator("body")).to_have_attribute("data-state", "online")
    newer.locator("#text").fill("from the second")
    newer.locator("#text").press("Enter")
    expect(ada.line("from the second")).to_have_class(re.compile(r"\bown\b"))
    ada.wait_for_state("online")
    expect(ada.page.locator("#people .person-name")).to_have_text(["Ada"])


# ---------------------------------------------------------------- private messages, /me, typing


@in_both_browsers_if_long
def test_private_messages_reach_one_person(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada, bob, eve = (open_window(server.url, nick) for nick in ("Ada", "Bob B", "Eve"))
    ada.page.locator("#people button").filter(has_text="Bob B").click()
    expect(ada.page.locator("#room")).to_have_text("Bob B")
    ada.say("just you and me")
    talk = bob.page.locator("#private li")
    expect(talk.locator(".badge")).to_have_text("1")
    expect(bob.page.locator("#announcement")).to_have_text("Ada, privately")
    talk.locator("a").click()
    assert bob.nick_of("just you and me") == "Ada"
    bob.say("/me nods")
    expect(ada.line("nods")).to_have_class(re.compile(r"\baction\b"))
    expect(eve.page.locator("#private li")).to_have_count(0)

    eve.say('/msg "Bob B" hello Bob')
    expect(bob.page.locator("#private .talk-name")).to_have_text(["Ada", "Eve"])
    eve.say("/msg Nobody are you there?")
    expect(eve.line("are you there?")).to_contain_text("Not delivered: Nobody is not here now.")


def test_typing_is_seen_and_goes_away(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    ada.page.locator("#text").press_sequentially("let me think")
    typing = bob.page.locator("#typing")
    expect(typing).to_have_text("Ada is typing …")
    ada.page.locator("#text").press("Enter")
    bob.line("let me think")
    expect(typing).to_have_text("")
    expect(ada.page.locator("#typing")).to_have_text("")
    # It is kept nowhere.
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.subscribe("/topic/typing")
        wire.send("SUBSCRIBE\nid:1\ndestination:/topic/chat\nx-stream-offset:first\n\n\0")
        assert json.loads(wire.frame().body)["text"] == "let me think"


@in_both_browsers_if_long
def test_commands(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    notices = ada.page.locator("#rows .notice")
    ada.say("/help")
    expect(notices.nth(0)).to_contain_text("/me waves")
    ada.say("/nosuch thing")
    expect(notices.nth(1)).to_have_text("There is no command /nosuch. /help lists what there is.")
    expect(ada.page.locator("#text")).to_have_value("/nosuch thing")
    ada.say("/nick")
    expect(notices.nth(2)).to_have_text("/nick needs more words. /help shows how it is used.")
    ada.say("//help is a command")
    ada.line("/help is a command")
    ada.say("/usr/bin is a path")
    ada.line("/usr/bin is a path")
    ada.say("/join #Green Tea")
    expect(ada.page.locator("#room")).to_have_text("#green-tea")
    assert ada.page.url.endswith("#green-tea")
    ada.say("/leave")
    expect(ada.page.locator("#room")).to_have_text("Lobby")


# ---------------------------------------------------------------- what the server refuses


def test_a_text_that_is_too_long_is_kept_and_counted(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more="\n[chat]\ntext.max_characters = 20\n")
    ada = open_window(server.url, "Ada")
    text = ada.page.locator("#text")
    ada.say("😀" * 4001)
    expect(ada.page.locator("#counter")).to_have_text("1 character too many")
    expect(text).to_have_value("😀" * 4001)
    expect(ada.page.locator("#rows .message")).to_have_count(0)
    # The server's limit is smaller: the page learns it, and the text comes back.
    ada.say("twenty-one characters")
    expect(text).to_have_value("twenty-one characters")
    expect(ada.page.locator("#counter")).to_have_text("1 character too many")
    ada.wait_for_state("online")
    ada.say("twenty characters ok")
    expect(ada.line("twenty characters ok")).not_to_have_class(re.compile("waiting"))


def test_who_is_too_fast_waits_and_loses_nothing(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more="\n[rate]\nmessages_per_second = 5\nburst = 5\n")
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    texts = [f"fast {number}" for number in range(20)]
    ada.say_at_once(texts)
    expect(ada.line(texts[-1])).to_contain_text("sending …")
    bob.line(texts[-1])
    assert bob.whole_log() == texts
    expect(ada.page.locator(".message.waiting")).to_have_count(0)


def test_what_follows_a_change_of_room_at_once_goes_to_the_new_room(
    serve: Serve, open_window: OpenWindow
) -> None:
    ada = open_window(serve(more=HISTORY).url, "Ada")
    ada.say_at_once(["in the lobby", "/join tea", "in tea", "/leave", "in the lobby again"])
    ada.line("in the lobby again")
    assert ada.whole_log() == ["in the lobby", "in the lobby again"]
    ada.say_at_once(["/join milk", "in milk", "/join tea"])
    ada.line("in tea")
    ada.go_to("milk")
    ada.line("in milk")
    text = ada.page.locator("#text")
    text.fill("a draft")
    ada.go_to("")
    ada.say("/join milk")
    expect(text).to_have_value("a draft")
    ada.go_to("")
    expect(text).to_have_value("")


@in_both_browsers_if_long
def test_a_server_that_stops_says_so(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    server.stop()
    expect(ada.page.locator("#offline-text")).to_have_text(
        "The server is restarting. Keep writing: your messages wait here and are sent as soon as "
        "it is back."
    )
    ada.say("meanwhile")
    server.start()
    ada.wait_for_state("online", within_s=40)
    expect(ada.line("meanwhile")).not_to_have_class(re.compile("waiting"))


# ---------------------------------------------------------------- hostile guests


def test_a_hostile_nick_and_text(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    bob.say("/nick \u202e<b onclick=x=1>&")
    people = ada.page.locator("#people .person-name")
    expect(people).to_have_text(["<b onclick=x=1>&", "Ada"])
    texts = [
        "javascript:alert(1) data:text/html,x vbscript:x file:///etc/passwd",
        'https://good.example/a?b=1&c="onmouseover="x=1',
        "see https://good.example/wiki_(x). and <https://two.example>",
        "https://user:pw@good.example/ http://[ https:// ///x",
        "Z\u0310\u0310\u0310\u0310\u0310 \u202eevil\u202c \u0000nul",
        '<script>window.injected=1</script>{{7*7}}${7*7}<img src=x onerror="injected=1">',
    ]
    for text in texts:
        bob.say(text)
    ada.line(texts[-1])
    links = ada.page.locator("#rows .message-text a")
    hrefs = links.evaluate_all("links => links.map(link => link.href)")
    assert hrefs == [
        "https://good.example/a?b=1&c=",
        "https://good.example/wiki_(x)",
        "https://two.example/",
        "https://user:pw@good.example/",
    ]
    for rel, target in links.evaluate_all("links => links.map(link => [link.rel, link.target])"):
        assert (rel, target) == ("noopener noreferrer", "_blank")
    with Wire(server.stomp) as wire:
        wire.connect()
        for body in (
            '{"nick":["Ada"],"text":{"a":1}}',
            '{"nick":"__proto__","text":"constructor","id":"__proto__"}',
            json.dumps({"nick": "W" * 32, "text": "long name", "id": "y" * 10_000}),
            "x" * 4000,
            "[" * 3000,
            b"\xff\xfe\x00bytes",
        ):
            wire.publish("/topic/chat", body)
        wire.publish("/topic/typing", '{"nick":"<i>x</i>","typing":true}')
        wire.publish("/topic/typing", "[1,2")
        wire.publish("/topic/chat", "the end")
        ada.line("the end")
    expect(ada.page.locator("#typing")).to_contain_text("<i>x</i>")

    for window in (ada, bob):
        allowed = "#rows script, #rows img, #rows b, #people b, #people img, #typing i"
        expect(window.page.locator(allowed)).to_have_count(0)
        assert window.page.evaluate("[window.injected, window.x, ({}).nick]") == [None] * 3
        wide = window.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1]
    # A message's body cannot take another person's name.
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.publish("/topic/chat", json.dumps({"nick": "Ada", "text": "I am Ada"}))
        assert wire.frame().headers["message"] == "not your nick"
    # Nor have a name that is too long to be anybody's.
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.publish("/topic/chat", json.dumps({"nick": "x" * 10_000, "text": "long name"}))
        assert wire.frame().headers["message"] == "nick longer than 32 characters"


# ---------------------------------------------------------------- keyboard, copying, notifications


@in_both_browsers_if_long
def test_everything_is_reachable_by_keyboard(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    page = ada.page
    bob.say("see https://example.org/")
    ada.line("see https://example.org/")
    ada.come_to_front()
    reached = {stop.name for stop in tab_stops(page)}
    wanted = {
        "rooms a", "join-room", "people button", "copy-all", "search-open", "nick-change", "log",
        "rows button", "rows a", "text", "send", "notify",
    }  # fmt: skip
    assert wanted <= reached, wanted - reached

    page.locator("#text").focus()
    page.keyboard.type("/join tea\n")
    expect(page.locator("#room")).to_have_text("#tea")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.locator("#room")).to_have_text("Lobby")
    page.keyboard.type("hello @bo")
    page.keyboard.press("Tab")
    expect(page.locator("#text")).to_have_value("hello @Bob ")
    page.keyboard.press("Enter")
    expect(bob.line("hello @Bob")).to_have_class(re.compile("names-me"))

    page.keyboard.press("Control+f")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("EXAMPLE")
    expect(page.locator("#found")).to_have_text("1 of 1")
    expect(page.locator("#rows mark")).to_have_text("example")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_be_hidden()
    expect(page.locator("#text")).to_be_focused()


def test_what_is_selected_is_copied_also_where_it_is_not_drawn(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(more=HISTORY)
    with Wire(server.stomp) as wire:
        wire.connect()
        for number in range(250):
            body = {"nick": "Eve", "text": f"line {number}", "id": f"{number}"}
            wire.publish("/topic/chat", json.dumps(body))
        ada = open_window(server.url, "Ada")
        ada.line("line 249")
    page = ada.page
    # From the middle of the last message up to one that is far away.
    page.evaluate(
        """async () => {
          const log = document.getElementById("log");
          const text = (words) => [...document.querySelectorAll("#rows .message-text")]
            .find((one) => one.textContent === words).firstChild;
          const end = text("line 249");
          getSelection().setBaseAndExtent(end, 4, end, 0);
          log.scrollTop = 0;
          for (let i = 0; i < 5; i++) await new Promise(requestAnimationFrame);
          getSelection().setBaseAndExtent(end, 4, text("line 3"), 5);
        }"""
    )
    copied = page.evaluate(_COPY, "#rows .message").splitlines()
    assert len(copied) == 247
    assert copied[0].endswith("Eve: 3")
    assert copied[1].endswith("Eve: line 4")
    assert copied[-1].endswith("Eve: line")
    page.locator("#log").focus()
    page.keyboard.press("Control+a")
    whole = page.evaluate(_COPY, "#log").splitlines()
    assert [line.split(": ")[1] for line in whole] == [f"line {number}" for number in range(250)]


_NOTIFICATION = """
window.shown = [];
window.asked = 0;
window.Notification = class {
  static permission = "default";
  static async requestPermission() { window.asked++; return (this.permission = "granted"); }
  constructor(title, options) { window.shown.push([title, options.body]); }
};
document.hasFocus = () => false;
"""


def test_a_mention_is_notified_of_when_that_was_asked_for(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve()
    ada = open_window(server.url)
    ada.page.add_init_script(_NOTIFICATION)
    ada.page.reload()
    ada.choose_nick("Ada")
    bob = open_window(server.url, "Bob")
    bob.say("Ada, are you there?")
    ada.line("Ada, are you there?")
    assert ada.page.evaluate("[asked, shown.length]") == [0, 0]

    ada.page.get_by_role("button", name="Notify me of mentions").click()
    expect(ada.page.get_by_role("button", name="Notifications on")).to_be_visible()
    for text in ("nothing for anybody", "Adamant is no name", "and you, @ada?"):
        bob.say(text)
        ada.line(text)
    assert ada.page.evaluate("[asked, shown]") == [1, [["Bob in Lobby", "and you, @ada?"]]]
    ada.page.get_by_role("button", name="Notifications on").click()
    bob.say("Ada again")
    ada.line("Ada again")
    assert ada.page.evaluate("shown.length") == 1


# ---------------------------------------------------------------- screens, eyes and ears


def test_the_first_paint_is_quick_and_new_messages_move_nothing(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(more=HISTORY)
    bob = open_window(server.url, "Bob")
    paints: list[float] = []
    while not paints or (paints[-1] >= 1000 and len(paints) < 3):  # the machine may be busy
        ada = open_window(server.url)  # with an empty cache
        ada.page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        [entry] = ada.page.evaluate("performance.getEntriesByName('first-contentful-paint')")
        paints.append(entry["startTime"])
    assert min(paints) < 1000, f"the first paints took {paints} ms"
    ada.choose_nick("Ada")
    ada.page.wait_for_timeout(600)  # what was typed counts as a reason to move for 500 ms
    ada.page.evaluate(
        """() => {
          window.shift = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) window.shift += entry.value;
          }).observe({ type: "layout-shift" });
        }"""
    )
    for number in range(40):
        bob.say(f"message {number} {'and more ' * (number % 30)}".strip())
    expect(ada.page.locator("#rows .message").last).to_contain_text("message 39")
    ada.page.wait_for_timeout(300)
    shift = ada.page.evaluate("window.shift")
    assert shift < 0.01, f"things moved by {shift}"


@pytest.mark.parametrize("width", PHONES)
def test_a_phone(serve: Serve, open_window: OpenWindow, width: int) -> None:
    server = serve(more=HISTORY)
    options: dict[str, Any] = {
        "viewport": {"width": width, "height": 640},
        "is_mobile": True,
        "has_touch": True,
    }
    ada = open_window(server.url, "Ada", **options)
    bob = open_window(server.url, "Bob with a rather long name here", **options)
    bob.say(f"a long word: {'x' * 300}")
    bob.say("/join tea")
    bob.say("in here")
    page = ada.page

    def fits() -> None:
        seen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert seen == [width, width]

    fits()
    side = page.locator("#side")
    expect(side).not_to_be_in_viewport()
    page.get_by_role("button", name="Rooms and people").tap()
    expect(side).to_be_in_viewport()
    expect(page.locator("#people .person-name")).to_have_count(2)
    page.locator("#more-rooms a").tap()
    expect(page.locator("#room")).to_have_text("#tea")
    ada.line("in here")
    expect(side).not_to_be_in_viewport()
    page.get_by_role("button", name="Rooms and people").tap()
    page.keyboard.press("Escape")
    expect(side).not_to_be_in_viewport()
    expect(page.locator("#side-open")).to_be_focused()
    fits()
    page.locator("#search-open").tap()
    page.locator("#query").fill("here")
    expect(page.locator("#found")).to_have_text("1 of 1")
    fits()
    # Fingers find what they aim at.
    for name in ("#side-open", "#search-open", "#nick-change", "#send", "#older"):
        box = page.locator(name).bounding_box()
        assert box is not None, f"{name} is not shown"
        assert min(box["width"], box["height"]) >= 24, f"{name} is {box}"
        assert box["x"] >= 0, f"{name} sticks out on the left"
        assert box["x"] + box["width"] <= width, f"{name} sticks out on the right"


def grave(page: Page) -> list[str]:
    """Ask axe-core what is wrong with the page; give what is serious or critical."""
    axe = require_package("axe-core") / "axe.min.js"
    page.evaluate(axe.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert result["passes"], "axe looked at nothing"
    return [
        f"{problem['impact']}: {problem['id']}: {problem['help']}: {node['html'][:200]}"
        for problem in result["violations"]
        if problem["impact"] in ("serious", "critical")
        for node in problem["nodes"]
    ]


_LOOKS = [(1280, "light"), (375, "dark")]
if IS_SOAK:
    _LOOKS += [(1280, "dark"), (375, "light")]


@pytest.mark.parametrize("width,scheme", _LOOKS)
def test_axe_finds_nothing_serious(
    serve: Serve, open_window: OpenWindow, scheme: str, width: int
) -> None:
    server = serve(more=HISTORY)
    options: dict[str, Any] = {
        "viewport": {"width": width, "height": 740},
        "color_scheme": scheme,
        "reduced_motion": "reduce",
    }
    ada = open_window(server.url, **options)
    page = ada.page
    assert grave(page) == [], "the first question"
    ada.choose_nick("Ada")
    assert grave(page) == [], "an empty room"
    bob = open_window(server.url, "Bob")
    for text in ("hello Ada, see https://example.org/", "/me waves", "more"):
        bob.say(text)
    bob.say("/msg Ada psst")
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.publish("/topic/chat", "plain text")
        wire.publish("/topic/chat.tea", "so that there are more rooms")
    ada.say("/help")
    ada.say("own words, and https://example.org/own")
    ada.say("/me nods")
    ada.line("plain text")
    expect(page.locator("#private .badge")).to_have_text("1")
    assert grave(page) == [], "a conversation"
    page.locator("#search-open").click()
    page.locator("#query").fill("hello")
    expect(page.locator("#found")).to_have_text("1 of 1")
    assert grave(page) == [], "the search"
    page.keyboard.press("Escape")
    if width < 600:
        page.locator("#side-open").click()
        page.wait_for_timeout(300)
        assert grave(page) == [], "rooms and people on a phone"
        page.keyboard.press("Escape")
    server.kill()
    ada.wait_for_state("offline")
    ada.say("written offline")
    assert grave(page) == [], "offline"


def test_the_page_has_no_inline_script_or_style() -> None:
    text = (ROOT / "static" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    for path in sorted(Path(ROOT / "static").rglob("*.js")):
        source = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|document\.write", source
        )
