"""Private conversations: with a person, whatever the name is, also after a reload."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from support.browser import Window, in_both_browsers_if_long
from support.process import Server

pytestmark = [pytest.mark.live, pytest.mark.browser]

OpenWindow = Callable[..., Window]
Serve = Callable[..., Server]

KEPT = "Only this window keeps private messages: they are gone when it is closed."


@in_both_browsers_if_long
def test_a_private_talk_survives_a_new_name_on_either_side(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve()
    ada, bob = open_window(server.url, "Ada"), open_window(server.url, "Bob")
    ada.say("/msg Bob one")
    bob.page.locator("#private li a").click()
    bob.line("one")
    # Bob is in another room, so Ada's page is not told of his new name.
    bob.go_to("tea")
    bob.say("/nick Rob")
    expect(bob.page.locator("#nick-shown")).to_have_text("Rob")
    eve = open_window(server.url, "Bob")
    ada.say("two")
    expect(ada.page.locator("#room")).to_have_text("Rob")
    assert ada.page.url.endswith("#@Rob")
    expect(ada.page.locator("#rows .notice").last).to_have_text("Bob is now called Rob.")
    bob.page.locator("#private li a").click()
    bob.line("two")
    expect(eve.page.locator("#private li")).to_have_count(0)

    ada.say("/nick Eda")
    expect(bob.page.locator("#private .talk-name")).to_have_text("Ada")
    ada.say("three")
    assert bob.nick_of("three") == "Eda"
    expect(bob.page.locator("#room")).to_have_text("Eda")
    bob.say("four")
    ada.line("four")
    for window in (ada, bob):
        assert window.whole_log() == ["one", "two", "three", "four"]
        expect(window.page.locator("#private li")).to_have_count(1)
    # A draft stays with its conversation.
    bob.page.locator("#text").fill("a draft")
    ada.say("/nick Ada")
    ada.say("five")
    bob.line("five")
    expect(bob.page.locator("#text")).to_have_value("a draft")


@in_both_browsers_if_long
def test_what_was_not_delivered_can_be_sent_again(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(more="\n[presence]\ngrace = 0\n")
    ada = open_window(server.url, "Ada")
    ada.say("/msg Bob are you there?")
    ada.say("take me back")
    line = ada.line("are you there?")
    expect(line).to_contain_text("Not delivered: Bob is not here now.")
    ada.line("take me back").get_by_role("button", name="Take back").click()
    expect(ada.page.locator("#text")).to_have_value("take me back")
    expect(ada.lines("take me back")).to_have_count(0)
    bob = open_window(server.url, "Bob")
    line.get_by_role("button", name="Try again").click()
    expect(line).not_to_contain_text("Not delivered")
    bob.page.locator("#private li a").click()
    assert bob.whole_log() == ["are you there?"]
    assert bob.nick_of("are you there?") == "Ada"


@in_both_browsers_if_long
def test_a_reload_does_not_end_a_private_talk(serve: Serve, open_window: OpenWindow) -> None:
    server = serve()
    ada, bob = open_window(server.url, "Ada"), open_window(server.url, "Bob")
    ada.say("/msg Bob one")
    expect(ada.page.locator("#rows .notice")).to_have_text(KEPT)
    bob.page.locator("#private li a").click()
    bob.say("two")
    ada.line("two")
    ada.go_to("")
    bob.say("three")
    badge = ada.page.locator("#private .badge")
    expect(badge).to_have_text("1")

    ada.page.reload()
    ada.wait_for_state("online")
    expect(ada.page.locator("#private .talk-name")).to_have_text(["Bob"])
    expect(badge).to_have_text("1")
    ada.page.locator("#private li a").click()
    expect(ada.page.locator(".mark-new")).to_have_text("New since you left")
    assert ada.whole_log() == ["one", "two", "three"]
    expect(ada.line("one")).to_have_class(re.compile(r"\bown\b"))
    # It goes on, in the reloaded window and in one with this address.
    ada.say("four")
    bob.line("four")
    ada.page.reload()
    ada.wait_for_state("online")
    expect(ada.page.locator("#room")).to_have_text("Bob")
    bob.say("five")
    ada.line("five")
    assert ada.whole_log() == ["one", "two", "three", "four", "five"]
    # What was closed stays closed.
    ada.say("/leave")
    ada.page.reload()
    ada.wait_for_state("online")
    expect(ada.page.locator("#private li")).to_have_count(0)
