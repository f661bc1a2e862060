"""Scenes of everyday life with the chat page: restarts, closed lids, hidden tabs, long rooms.

``make soak`` plays the lid for a full minute and the hidden tab for two; ``make test`` plays both
just longer than the heart-beats allow, which is what makes the difference.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from support.browser import HEADLESS_SHELL, Window
from support.cable import Relay
from support.examples import IS_SOAK
from support.process import Server
from support.stomp import Frame
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.browser, pytest.mark.slow]

OpenWindow = Callable[..., Window]
Serve = Callable[..., Server]

HISTORY = "\n[history]\n/topic/chat* = 20000, 7 days\n"

# Two heart-beats of 10 s without a sign of life, and then some.
LID_S = 60.0 if IS_SOAK else 24.0
HIDDEN_S = 120.0 if IS_SOAK else 24.0

MANY = 10_000
MOST_NODES = 200


@pytest.fixture
def engine(engine: str) -> str:
    """Scenes are played in a whole browser, as people have it."""
    return "chromium" if engine == HEADLESS_SHELL else engine


def publish(wire: Wire, nick: str, texts: list[str], room: str = "/topic/chat") -> None:
    for number, text in enumerate(texts):
        body = json.dumps({"nick": nick, "text": text, "id": f"{nick}-{room}-{number}"})
        wire.publish(room, body)
    wire.send("SEND\ndestination:/topic/elsewhere\nreceipt:all-there\n\n\0")
    assert wire.frame().headers["receipt-id"] == "all-there"


def kept(server: Server, count: int, room: str = "/topic/chat") -> list[str]:
    """Return the texts that the server keeps of a room, asked by a plain STOMP client."""
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.send(f"SUBSCRIBE\nid:1\ndestination:{room}\nx-stream-offset:first\n\n\0")
        frames: list[Frame] = [wire.frame() for _ in range(count)]
        wire.send("DISCONNECT\nreceipt:bye\n\n\0")
        rest = [frame for frame in wire.rest() if frame.command == "MESSAGE"]
    return [json.loads(frame.body)["text"] for frame in (*frames, *rest)]


def test_two_people_in_two_rooms(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    people = ada.page.locator("#people .person-name")
    expect(people).to_have_text(["Ada", "Bob"])

    bob.go_to("tea")
    bob.say("the kettle is on")
    expect(ada.page.locator("#more-rooms .talk-name")).to_have_text(["#tea"])
    ada.page.locator("#more-rooms a").click()
    expect(ada.page.locator("#room")).to_have_text("#tea")
    ada.line("the kettle is on")  # it was said before she came
    expect(people).to_have_text(["Ada", "Bob"])

    # Ada goes back to the lobby; what is said in the tea room waits with a number.
    ada.go_to("")
    bob.say("milk?")
    bob.say("sugar?")
    tea = ada.page.locator("#rooms li").filter(has_text="#tea")
    expect(tea.locator(".badge")).to_have_text("2")
    expect(ada.page).to_have_title("(2) Lobby · rtchat")
    expect(ada.lines("milk?")).to_have_count(0)
    tea.locator("a").click()
    expect(ada.page.locator(".mark-new")).to_have_text("New since you left")
    ada.line("milk?")
    expect(tea.locator(".badge")).to_be_hidden()
    expect(ada.page).to_have_title("#tea · rtchat")

    # Bob goes; at once with /leave.
    bob.say("/leave")
    expect(people).to_have_text(["Ada"])


def test_a_server_killed_while_three_people_talk(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    people = {nick: open_window(server.url, nick) for nick in ("Ada", "Bob", "Cleo")}
    said: list[str] = []

    def talk(rounds: range) -> None:
        for number in rounds:
            for nick, window in people.items():
                said.append(f"{nick} {number}")
                window.say(said[-1])

    talk(range(8))
    server.kill()  # while the last ones are under way
    talk(range(8, 12))
    server.start()
    talk(range(12, 16))
    for window in people.values():
        window.wait_for_state("online", within_s=40)
    talk(range(16, 20))
    for nick, window in people.items():
        for other in people:
            window.line(f"{other} 19")
        expect(window.page.locator(".message.waiting")).to_have_count(0)
        log = window.whole_log()
        assert sorted(log) == sorted(said), f"{nick} sees something else"
        # What one person says stays in order.
        for other in people:
            own = [text for text in log if text.startswith(other)]
            assert own == [f"{other} {number}" for number in range(20)]
    # All of them, and the server, have it in the same order.
    logs = [window.whole_log() for window in people.values()]
    assert logs[0] == logs[1] == logs[2]
    assert kept(server, len(said)) == logs[0]


@pytest.mark.soak
def test_a_laptop_lid_closed_for_a_minute(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    with Relay(server.http) as relay:
        ada = open_window(relay.url, "Ada")
        bob = open_window(server.url, "Bob")
        ada.say("before 1")
        bob.line("before 1")
        relay.freeze()
        closed_at = time.monotonic()
        texts = [f"during {number}" for number in range(50)]
        for text in texts[:25]:
            bob.say(text)
        ada.say("from under the lid")
        # The page gets no close: it notices the missing heart-beats.
        ada.wait_for_state("offline", within_s=30)
        for text in texts[25:]:
            bob.say(text)
        bob.line(texts[-1])
        # The others see that she is gone.
        expect(bob.page.locator("#people .person-name")).to_have_text(["Bob"], timeout=40_000)
        bob.page.wait_for_timeout(max(0.0, LID_S - (time.monotonic() - closed_at)) * 1000)
        relay.thaw()
        ada.page.evaluate("dispatchEvent(new Event('online'))")  # as browsers say it
        ada.wait_for_state("online", within_s=40)
        bob.line("from under the lid")
        expected = ["before 1", *texts, "from under the lid"]
        for window in (ada, bob):
            window.line("from under the lid")
            assert window.whole_log() == expected
        expect(bob.page.locator("#people .person-name")).to_have_text(["Ada", "Bob"])
        assert kept(server, len(expected)) == expected


@pytest.mark.soak
def test_a_tab_hidden_for_two_minutes(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    bob.say("seen")
    ada.line("seen")
    ada.page.wait_for_timeout(700)  # that it was read is noted
    ada.page.evaluate(
        """() => {
          window.isHidden = true;
          Object.defineProperty(document, "hidden", { get: () => window.isHidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    # As a browser does with a hidden tab to save power: no timer and no event runs in it.
    cdp = ada.context.new_cdp_session(ada.page)
    cdp.send("Page.setWebLifecycleState", {"state": "frozen"})
    texts = [f"hidden {number}" for number in range(40)]
    for text in texts:
        bob.say(text)
    bob.line(texts[-1])
    bob.page.wait_for_timeout(HIDDEN_S * 1000)
    cdp.send("Page.setWebLifecycleState", {"state": "active"})
    expect(ada.page).to_have_title("(40) Lobby · rtchat", timeout=40_000)
    ada.page.evaluate(
        "() => { isHidden = false; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    ada.wait_for_state("online", within_s=40)
    # The first of what is new is in view, under its mark.
    expect(ada.page.locator(".mark-new")).to_be_in_viewport()
    expect(ada.line("hidden 0")).to_be_in_viewport()
    ada.page.locator("#jump").click()
    expect(ada.line("hidden 39")).to_be_in_viewport()
    expect(ada.page).to_have_title("Lobby · rtchat")
    assert ada.whole_log() == ["seen", *texts]


def test_ten_thousand_messages_stay_smooth(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    with Wire(server.stomp) as wire:
        wire.connect()
        texts = [f"number {number} {'long ' * (number % 40)}".strip() for number in range(MANY)]
        publish(wire, "Eve", texts)

        ada = open_window(server.url, "Ada", viewport={"width": 1280, "height": 800})
        page = ada.page
        ada.line(texts[-1])
        count = "document.querySelectorAll('#rows > li').length"
        assert page.evaluate(count) < MOST_NODES

        # The search reads all of it, and finds what was never drawn.
        page.locator("#search-open").click()
        page.locator("#query").fill("number 17")
        expect(page.locator("#found")).to_have_text("111 of 111", timeout=30_000)
        page.locator("#query").fill(texts[17])
        expect(page.locator("#found")).to_have_text("1 of 1", timeout=30_000)
        expect(page.locator(".message.found")).to_be_in_viewport()
        page.keyboard.press("Escape")
        assert page.evaluate(count) < MOST_NODES
        assert ada.whole_log() == texts

        # Scrolling: every frame another part of the list.
        frames = page.evaluate(
            """async () => {
              const log = document.getElementById("log");
              const times = [];
              const frame = () => new Promise(requestAnimationFrame);
              log.scrollTop = log.scrollHeight / 2;
              await frame();
              for (let i = 0; i < 150; i++) {
                log.scrollTop += i % 100 < 50 ? -700 : 900;
                const begin = performance.now();
                await frame();
                await frame();
                times.push((performance.now() - begin) / 2);
              }
              return times.sort((a, b) => a - b);
            }"""
        )
        assert frames[len(frames) // 2] < 60, f"half of the frames take {frames[75]:.0f} ms"
        assert frames[int(len(frames) * 0.95)] < 150, f"slow frames: {frames[-10:]}"
        assert page.evaluate(count) < MOST_NODES

        # What is read stays where it is while more comes in below.
        top = page.evaluate("document.getElementById('log').scrollTop")
        wire.publish("/topic/chat", json.dumps({"nick": "Eve", "text": "one more", "id": "x"}))
        expect(page.locator("#jump")).to_have_text("1 new message")
        assert abs(page.evaluate("document.getElementById('log').scrollTop") - top) <= 1
        page.locator("#jump").click()
        expect(ada.line("one more")).to_be_in_viewport()


def test_a_flood_does_not_stop_the_page(serve: Serve, open_window: OpenWindow) -> None:
    # Without history: what is not shown now is never shown. The server waits for a slow page.
    server = serve(more="\n[broker]\nbacklog.max_bytes = 32 MiB\n")
    ada = open_window(server.url, "Ada")
    texts = [f"flood {number}" for number in range(MANY)]
    with Wire(server.stomp) as wire:
        wire.connect()
        publish(wire, "Eve", texts)
    expect(ada.lines(texts[-1])).to_have_count(1, timeout=60_000)  # how fast is no matter here
    assert ada.page.evaluate("document.querySelectorAll('#rows > li').length") < MOST_NODES
    assert ada.whole_log() == texts
    ada.say("still here")
    ada.line("still here")


def test_what_was_read_is_marked_after_a_reload(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more=HISTORY)
    ada = open_window(server.url, "Ada")
    bob = open_window(server.url, "Bob")
    bob.say("read")
    ada.line("read")
    ada.page.wait_for_timeout(700)
    ada.page.goto("about:blank")
    for text in ("unread 1", "unread 2"):
        bob.say(text)
        bob.line(text)
    ada.open()
    ada.wait_for_state("online")
    rows = ada.page.locator("#rows > li:not(.day)")
    expect(rows).to_have_count(4)
    assert [row.split("\n")[-1] for row in rows.all_inner_texts()] == [
        "read",
        "New since you left",
        "unread 1",
        "unread 2",
    ]
    # Old messages are not read out.
    expect(ada.page.get_by_role("log", name="New messages")).to_have_text("")
