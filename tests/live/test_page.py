"""Two people chat in two browser windows, first with the tutorial's configuration to the letter.

This is the main job: what is promised here is what a stranger sees in the first minute. Nothing is
kept by these servers: what they have to do without is told by ``test_page_scenes.py``. With
https:// for http:// in the file all of it holds as well.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect
from support.browser import Window
from support.examples import IS_SOAK
from support.process import (
    TUTORIAL_HTTP,
    TUTORIAL_INI,
    TUTORIAL_STOMP,
    Server,
    free_port,
    tutorial_ini,
    tutorial_ports,
)
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.browser]

OpenWindow = Callable[..., Window]

_INJECTION = "<img src=x onerror=\"window.injected = 'yes'\">"
_INJECTED = "window.injected"


# What TLS has no part in is looked at once.
without_tls = pytest.mark.parametrize("server", ["http"], indirect=True)


@pytest.fixture(scope="module", params=["http", "https"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The tutorial's file on free ports; a name is free as soon as its window is closed."""
    http, stomp = free_port(), free_port()
    folder = tmp_path_factory.mktemp("server")
    text = tutorial_ini(http, stomp, "\n[presence]\ngrace = 0\n")
    server = Server(folder, text, http=http, stomp=stomp, is_tls=request.param == "https")
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module", params=["http", "https"])
def tutorial(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The tutorial's file with the tutorial's ports."""
    server = Server(
        tmp_path_factory.mktemp("tutorial"),
        TUTORIAL_INI,
        http=TUTORIAL_HTTP,
        stomp=TUTORIAL_STOMP,
        is_tls=request.param == "https",
    )
    with tutorial_ports(), server:
        yield server


def test_two_people_chat_and_see_whose_message_is_whose(
    tutorial: Server, open_window: OpenWindow
) -> None:
    ada = open_window(tutorial.url, "Ada")
    bob = open_window(tutorial.url, "Bob")

    ada.say("Hello, is anybody here?")
    assert bob.nick_of("Hello, is anybody here?") == "Ada"
    bob.say("I am. Grüße aus 東京 👋")
    assert ada.nick_of("I am. Grüße aus 東京 👋") == "Bob"

    own, other = ada.line("Hello, is anybody here?"), bob.line("Hello, is anybody here?")
    assert "own" in (own.get_attribute("class") or "").split()
    expect(own).to_contain_text("You")
    expect(other).not_to_contain_text("You")
    assert "own" not in (other.get_attribute("class") or "").split()
    # It has arrived: nothing says that it waits.
    expect(own.locator(".message-note")).to_have_count(0)


@without_tls
def test_the_nickname_is_kept_over_a_reload(server: Server, open_window: OpenWindow) -> None:
    ada = open_window(server.url, "Ada the First")
    ada.page.reload()
    ada.wait_for_state("online")
    expect(ada.page.locator("#nick-dialog")).to_be_hidden()
    expect(ada.page.locator("#nick-shown")).to_have_text("Ada the First")

    bob = open_window(server.url, "Bob")
    ada.say("still me")
    assert bob.nick_of("still me") == "Ada the First"


@without_tls
def test_enter_sends_and_shift_enter_starts_a_new_line(
    server: Server, open_window: OpenWindow
) -> None:
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    text = ada.page.locator("#text")

    text.press_sequentially("one")
    text.press("Shift+Enter")
    text.press_sequentially("two")
    expect(text).to_have_value("one\ntwo")
    expect(ada.page.locator("#log .message")).to_have_count(0)

    text.press("Enter")
    expect(text).to_have_value("")
    expect(bob.page.locator("#log .message")).to_have_count(1)
    assert bob.page.locator(".message-text").evaluate("node => node.textContent") == "one\ntwo"
    # Both lines are seen, one below the other.
    assert bob.page.locator(".message-text").inner_text().split("\n") == ["one", "two"]


@without_tls
def test_the_send_button_sends_and_an_empty_message_is_none(
    server: Server, open_window: OpenWindow
) -> None:
    ada = open_window(server.url, "Ada")
    ada.say("   ")
    ada.page.locator("#text").fill("by button")
    ada.page.locator("#send").click()
    ada.line("by button")
    expect(ada.page.locator("#log .message")).to_have_count(1)


@pytest.mark.parametrize("end", ["killed", "stopped"] if IS_SOAK else ["killed"])
def test_the_pages_survive_a_restart_and_nothing_typed_is_lost(
    tutorial: Server, open_window: OpenWindow, end: str
) -> None:
    server = tutorial
    ada = open_window(server.url, f"Ada {end}")  # the names of the test before are not free yet
    bob = open_window(server.url, f"Bob {end}")
    ada.say("before")
    bob.line("before")
    for window in (ada, bob):
        window.page.evaluate("window.sameDocument = true")

    if end == "killed":
        server.kill()
    else:
        server.stop(signal.SIGTERM)
    ada.wait_for_state("offline")
    bob.wait_for_state("offline")
    expect(ada.page.locator("#offline")).to_be_visible()
    ada.say("typed while offline")
    expect(ada.line("typed while offline").locator(".message-note")).to_have_text(
        "Not sent yet: goes out as soon as you are online again."
    )

    server.start()
    ada.wait_for_state("online")
    bob.wait_for_state("online")
    # Bob may have come back after the message was sent, and then it is not for him: a topic
    # keeps nothing. What he is sure to get is what is sent from now on.
    expect(ada.line("typed while offline").locator(".message-note")).to_have_count(0)
    expect(ada.page.locator("#offline")).to_be_hidden()
    ada.say("after")
    bob.line("after")
    bob.say("welcome back")
    ada.line("welcome back")
    for window in (ada, bob):
        expect(window.lines("before")).to_have_count(1)
        assert window.page.evaluate("window.sameDocument") is True, "the page was loaded anew"


def test_a_message_typed_while_offline_arrives_exactly_once(
    serve: Callable[..., Server], open_window: OpenWindow
) -> None:
    server = serve(more="\n[log]\nmessages = messages.jsonl\n")
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    # A topic keeps nothing, so Bob has to be back before Ada: her page's clock stands still.
    ada.page.clock.install()
    server.kill()
    ada.wait_for_state("offline")
    ada.page.clock.pause_at(ada.page.evaluate("Date.now() + 100"))
    texts = ["first of three", "second of three", "third of three"]
    for text in texts:
        ada.say(text)

    server.start()
    bob.wait_for_state("online")
    ada.page.locator("#retry").click()
    ada.wait_for_state("online")
    ada.say("and one more")
    bob.line("and one more")
    expect(bob.page.locator(".message-text")).to_have_text([*texts, "and one more"])
    expect(ada.page.locator(".message-text")).to_have_text([*texts, "and one more"])

    server.stop()
    lines = (server.folder / "messages.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    rooms = [one for one in records if one["destination"] == "/topic/chat"]
    sent = [json.loads(one["body"]) for one in rooms]
    said = [{"nick": one["nick"], "text": one["text"]} for one in sent]
    assert said == [{"nick": "Ada", "text": text} for text in (*texts, "and one more")]
    assert len({one["id"] for one in sent}) == 4


@without_tls
def test_what_looks_like_html_stays_text(server: Server, open_window: OpenWindow) -> None:
    mallory = open_window(server.url, "Mallory")
    ada = open_window(server.url, "Ada")

    mallory.say(_INJECTION)
    ada.line(_INJECTION)
    mallory.page.locator("#nick-change").click()
    mallory.page.locator("#nick").evaluate("(input) => input.removeAttribute('maxlength')")
    mallory.page.locator("#nick").fill("<img src=x onerror=injected=1>")
    mallory.page.locator("#nick-save").click()
    expect(mallory.page.locator("#nick-dialog")).to_be_hidden()
    mallory.say("and now my name")
    assert ada.nick_of("and now my name") == "<img src=x onerror=injected=1>"

    # Programs can send what the page would not let people type.
    with Wire(server.stomp) as wire:
        wire.connect()
        name = "<script>injected=1</script>"
        wire.publish("/topic/chat", json.dumps({"nick": name, "text": "odd name"}))
        wire.publish("/topic/chat", f"not JSON {_INJECTION}")
        wire.publish("/topic/chat", json.dumps({"nick": "x", "text": "</div><script>1</script>"}))
        assert ada.nick_of("odd name") == name
        ada.line(f"not JSON {_INJECTION}")
        ada.line("</div><script>1</script>")

    for window in (ada, mallory):
        expect(window.page.locator("#log img, #log script")).to_have_count(0)
        expect(window.page.locator("#nick-change img")).to_have_count(0)
        assert window.page.evaluate(_INJECTED) is None


@without_tls
def test_the_address_names_the_room(server: Server, open_window: OpenWindow) -> None:
    ada = open_window(f"{server.url}#games", "Ada")
    bob = open_window(f"{server.url}#games", "Bob")
    eve = open_window(server.url, "Eve")
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.subscribe("/topic/chat.games")
        ada.say("chess?")
        bob.line("chess?")
        body = json.loads(wire.frame().body)
        assert (body["nick"], body["text"]) == ("Ada", "chess?")
    eve.say("quiet in the lobby")
    eve.line("quiet in the lobby")
    expect(eve.page.locator("#log .message")).to_have_count(1)

    eve.page.evaluate("location.hash = '#games'")
    eve.wait_for_state("online")
    bob.say("gladly")
    eve.line("gladly")
    expect(eve.page.locator("#log .message")).to_have_count(1)


def test_everything_comes_from_this_server(server: Server, open_window: OpenWindow) -> None:
    ada = open_window(server.url, "Ada")
    own = (server.url, server.websocket_url)
    assert all(url.startswith(own) for url in ada.requests), ada.requests
    assert f"{server.websocket_url}ws" in ada.requests


@without_tls
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_fits_every_width(server: Server, open_window: OpenWindow, width: int) -> None:
    ada = open_window(server.url, "Ada", viewport={"width": width, "height": 700})
    word = "x" * 300
    ada.say(word)
    ada.line(word)
    seen = ada.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert seen[0] <= seen[1], f"{seen[0]} pixels of page in a window of {seen[1]}"
    for name in ("#text", "#send", "#nick-change"):
        box = ada.page.locator(name).bounding_box()
        assert box is not None, f"{name} is not shown"
        assert box["x"] >= 0, f"{name} sticks out on the left"
        assert box["x"] + box["width"] <= width, f"{name} sticks out on the right"


@without_tls
def test_dark_and_light_follow_the_system(server: Server, open_window: OpenWindow) -> None:
    brightness = """() => {
      const color = getComputedStyle(document.body).backgroundColor;
      const canvas = document.createElement("canvas").getContext("2d");
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      return Math.max(...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3));
    }"""
    light = open_window(server.url, "Ada", color_scheme="light")
    dark = open_window(server.url, "Bob", color_scheme="dark")
    assert light.page.evaluate(brightness) > 200
    assert dark.page.evaluate(brightness) < 60


@without_tls
def test_a_screen_reader_hears_the_messages_and_the_state(
    server: Server, open_window: OpenWindow
) -> None:
    ada = open_window(server.url, "Ada")
    expect(ada.page.get_by_role("region", name="Messages")).to_be_visible()
    heard = ada.page.get_by_role("log", name="New messages")
    expect(ada.page.locator("#announcement")).to_have_text("Connected.")
    expect(ada.page.get_by_role("textbox", name="Your message")).to_be_focused()
    bob = open_window(server.url, "Bob")
    bob.say("Can you hear me?")
    expect(heard).to_have_text("Bob: Can you hear me?")
    # One's own words are not read back.
    ada.say("Yes, I can.")
    bob.line("Yes, I can.")
    expect(heard).to_have_text("Bob: Can you hear me?")
    expect(ada.page.get_by_role("button", name="Send")).to_be_enabled()
