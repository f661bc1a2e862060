"""Pages that the access list refuses: the log names the cure, and the cure cures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from support.hosts import Host
from support.process import ROOT, Server, until
from support.relay import relay
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.browser]

Serve = Callable[..., Server]

LISTEN = "[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
OWN_PAGES = LISTEN + "[access]\nself -> localhost:{stomp}\n"


def cure_in(server: Server, page: str) -> str:
    """Return the line for [access] that the log names for a page."""
    pattern = rf"refused /\S+: Origin '{re.escape(page)}' .* add to \[access\]: (.+)"
    until("refusal in the log", lambda: re.search(pattern, server.log()) is not None)
    found = re.search(pattern, server.log())
    assert found is not None
    return str(found[1])


def apply(server: Server, line: str) -> None:
    """Add a line at the end of [access] and start again."""
    server.stop()
    path = server.folder / "chat.ini"
    path.write_text(f"{path.read_text(encoding='utf-8')}{line}\n", encoding="utf-8")
    server.start()


def test_behind_a_front_that_changes_host_log_and_page_say_what_is_wrong(
    serve: Serve, browser: Browser
) -> None:
    server = serve(OWN_PAGES)
    with relay(server.http, host=f"127.0.0.1:{server.http}") as front:
        public = f"http://localhost:{front.port}"
        page = browser.new_page()
        page.clock.install()
        page.goto(f"{public}/")
        page.locator("#nick").fill("Ada")
        page.keyboard.press("Enter")
        expect(page.locator("#offline-text")).to_contain_text(
            f"This chat does not accept pages from localhost:{front.port} yet."
        )
        cure = cure_in(server, public)
        assert cure == f"localhost:{front.port} -> localhost:{server.stomp}"
        assert "let the proxy pass Host on" in server.log()

        # The page's clock stands still: it must not come back before the button is pressed.
        page.clock.pause_at(page.evaluate("Date.now() + 100"))
        apply(server, cure)
        page.locator("#retry").click()
        expect(page.locator("#state")).to_have_text("online")
        expect(page.locator("#offline")).to_be_hidden()
        page.close()


def test_a_server_that_is_down_is_not_called_unwilling(serve: Serve, browser: Browser) -> None:
    server = serve(OWN_PAGES)
    page = browser.new_page()
    page.goto(server.url)
    server.stop()
    page.locator("#nick").fill("Ada")
    page.keyboard.press("Enter")
    expect(page.locator("#offline-text")).to_contain_text("Keep writing")
    expect(page.locator("#offline-text")).not_to_contain_text("does not accept")
    server.start()
    page.close()


def test_the_front_s_own_page_is_admitted_once_host_is_passed_on(
    serve: Serve, browser: Browser
) -> None:
    server = serve(OWN_PAGES)
    with relay(server.http) as front:
        page = browser.new_page()
        page.goto(f"http://localhost:{front.port}/")
        page.locator("#nick").fill("Ada")
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_text("online")
        page.close()


def readme_page(server: Server) -> str:
    """Return README's page with the server's ports."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [page] = [block for block in re.findall(r"```html\n(.*?)```", readme, re.S) if "STOMP" in block]
    return str(page).replace("9000", str(server.http)).replace("61613", str(server.stomp))


def test_readme_s_page_works_where_readme_says(serve: Serve, browser: Browser) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [ini] = [text for text in re.findall(r"```ini\n(.*?)```", readme, re.S) if "[static]" in text]
    server = serve(ini.replace("9000", "{http}").replace("61613", "{stomp}"), makes=["pages"])
    (server.folder / "pages" / "hello.html").write_text(readme_page(server), encoding="utf-8")
    said: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: said.append(message.text))
    [address] = re.findall(r"`(http://[^`]+/pages/hello\.html)`", readme)
    page.goto(address.replace("9000", str(server.http)))
    until("subscription", lambda: server.health()["subscriptions"] == 1)
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.publish("/topic/chat", "hello, page")
    # evaluate() lets Playwright hand over what the console got.
    until("message", lambda: page.evaluate("1") == 1 and "hello, page" in said)
    page.close()


def test_readme_s_page_from_disk_is_refused_with_the_way_out(
    serve: Serve, browser: Browser, tmp_path: Path
) -> None:
    server = serve(OWN_PAGES)
    file = tmp_path / "hello.html"
    file.write_text(readme_page(server), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    assert cure_in(server, "null") == f"* -> localhost:{server.stomp}"
    assert "with [static] NAME = FOLDER" in server.log()
    page.close()


def test_a_page_on_another_port_is_admitted_by_the_line_of_the_log(
    serve: Serve, browser: Browser
) -> None:
    server = serve(OWN_PAGES)
    with Host() as host:
        address = host.page("/", readme_page(server))
        page = browser.new_page()
        page.goto(address)
        cure = cure_in(server, address.rstrip("/"))
        apply(server, cure)
        page.reload()
        until("subscription", lambda: server.health()["subscriptions"] == 1)
        page.close()
