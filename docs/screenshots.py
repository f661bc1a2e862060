"""Take the screenshots of the chat page for the README: ``python docs/screenshots.py``.

Needs Chromium and the packages of the tests (``make test`` installs them). The script starts a real
server, lets three people have a conversation, and saves the window of one of them to docs/images/.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from playwright.sync_api import ViewportSize, expect

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from support.browser import Window, chromium  # noqa: E402
from support.process import Server, free_port, tutorial_ini  # noqa: E402
from support.wire import Wire  # noqa: E402

CONVERSATION = (
    (
        "Ada",
        "Good morning! The bridge sensors have been quiet since midnight. Is that good or bad?",
    ),
    ("Grace", "Good. The new firmware only speaks when something changes."),
    ("Grace", "It is described at https://sensors.example/firmware/2.1"),
    ("Katherine", "/me reads"),
    ("Katherine", "Nice! Where does it connect, @Ada?"),
    ("Ada", "To port 61613. The room is the same as on this page: /topic/chat"),
    ("", "sensor 7: water level 2.31 m, rising 4 cm an hour"),
    ("Grace", "There it is. I will have a look at the gates"),
    ("Ada", "Thank you. Lunch at half past twelve?"),
)
"""Nickname and text of each line; "" is a program that sends plain text to the STOMP port."""

# File name, window size, colour scheme, pixel ratio, and the first line of the conversation that
# fits into the window.
PICTURES = (
    ("chat-light.png", ViewportSize(width=1280, height=800), "light", 1, 1),
    ("chat-dark.png", ViewportSize(width=1280, height=800), "dark", 1, 1),
    ("chat-phone.png", ViewportSize(width=390, height=844), "light", 2, 3),
)

HISTORY = "\n[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"


def main() -> None:
    """Take the screenshots, each after a conversation of its own."""
    (DOCS / "images").mkdir(exist_ok=True)
    http, stomp = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for name, size, scheme, scale, begin in PICTURES:
            working = Path(folder, name)
            working.mkdir()
            text = tutorial_ini(http, stomp, HISTORY)
            server = Server(working, text, http=http, stomp=stomp).start()
            try:
                context = browser.new_context(
                    viewport=size,
                    color_scheme="dark" if scheme == "dark" else "light",
                    device_scale_factor=scale,
                    has_touch=scale > 1,
                    is_mobile=scale > 1,
                    timezone_id="UTC",
                    locale="en-GB",
                )
                view = Window(context, server.url)
                view.page.clock.install(time=datetime(2026, 5, 4, 9, 41, tzinfo=timezone.utc))
                people = {"Ada": view}
                for nick in ("Grace", "Katherine"):
                    people[nick] = Window(browser.new_context(timezone_id="UTC"), server.url)
                    people[nick].page.clock.install(
                        time=datetime(2026, 5, 4, 9, 41, tzinfo=timezone.utc)
                    )
                for nick, window in people.items():
                    window.open()
                    window.choose_nick(nick)
                talk(people, server, begin)
                elsewhere(people)
                view.page.clock.run_for(1000)
                view.page.wait_for_timeout(500)  # the last line has come to rest
                view.page.screenshot(path=DOCS / "images" / name)
                complaints = [text for window in people.values() for text in window.close()]
                assert not complaints, complaints
            finally:
                server.close()


def elsewhere(people: dict[str, Window]) -> None:
    """Fill the other rooms, so that the side bar has something to show."""
    ada, grace, katherine = people.values()
    ada.page.evaluate("location.hash = '#weather'")
    ada.wait_for_state("online")
    ada.page.evaluate("location.hash = '#'")
    grace.page.evaluate("location.hash = '#weather'")
    grace.wait_for_state("online")
    grace.say("Rain until noon.")
    grace.say("Then sun.")
    grace.page.evaluate("location.hash = '#on-call'")
    grace.wait_for_state("online")
    katherine.say("/msg Ada Surprise party for Grace at four!")
    expect(katherine.page.locator(".message.waiting")).to_have_count(0)
    katherine.page.evaluate("location.hash = '#'")
    katherine.page.clock.run_for(3000)  # the next typing notice is due
    katherine.page.locator("#text").press_sequentially("Half past tw")
    expect(ada.page.locator("#typing")).to_have_text("Katherine is typing …")


def talk(people: dict[str, Window], server: Server, begin: int) -> None:
    """Hold the conversation; each line waits for the one before it."""
    with Wire(server.stomp) as sensor:
        sensor.connect()
        for nick, text in CONVERSATION[begin:]:
            if nick:
                people[nick].say(text)
            else:
                sensor.publish("/topic/chat", text)
            people["Ada"].line(text.removeprefix("/me "))


if __name__ == "__main__":
    main()
