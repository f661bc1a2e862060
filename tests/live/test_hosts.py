"""The Host check: a page of another name, pointed at this machine, gets nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect
from support.browser import REBOUND_HOST, Window
from support.process import Server, get

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

_HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_foreign_name_gets_421_everywhere_and_the_log_says_what_to_add(serve: Serve) -> None:
    server = serve()
    foreign = f"{REBOUND_HOST}:{server.http}"
    for path in ("/", "/static/chat.js", "/health", "/nothing", f"/tcp/localhost:{server.stomp}"):
        status, _, text = get(server.http, path, Host=foreign)
        assert status == 421, path
        assert "does not answer to the name" in text
        assert REBOUND_HOST not in text
    status, _, _ = get(server.http, "/ws", Host=foreign, Origin=f"http://{foreign}", **_HANDSHAKE)
    assert status == 421
    assert f"[global] hosts = {REBOUND_HOST}\n" in server.log()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST.", "192.0.2.7"])
def test_its_own_names_are_answered(server: Server, host: str) -> None:
    for suffix in ("", f":{server.http}"):
        assert get(server.http, "/health", Host=f"{host}{suffix}")[0] == 200


@pytest.mark.browser
def test_a_rebound_page_gets_nothing_and_works_once_hosts_has_its_name(
    serve: Serve, browser: Browser, open_window: Callable[..., Window]
) -> None:
    stranger = serve()
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(f"http://{REBOUND_HOST}:{stranger.http}/")
    assert answer is not None
    assert answer.status == 421
    expect(page.locator("#log")).to_have_count(0)
    context.close()

    friend = serve(
        f"[listen]\nhttp://:{{http}}\nstomp://:{{stomp}}\n[access]\nself -> localhost:{{stomp}}\n"
        f"[global]\nhosts = {REBOUND_HOST}\n"
    )
    window = open_window(f"http://{REBOUND_HOST}:{friend.http}/", "Ada")
    window.say("under my own name")
    window.line("under my own name")
    assert f"ws://{REBOUND_HOST}:{friend.http}/ws" in window.requests
    assert "421" not in friend.log()
