"""The chat in pages of other web servers: of those that the access list allows, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Frame,
    FrameLocator,
    Page,
    WebSocket,
    expect,
)
from support.browser import HEADLESS_SHELL, Window
from support.hosts import Host
from support.process import Server, free_port, until

pytestmark = [pytest.mark.live, pytest.mark.browser]

_INI = """\
[listen]
http://127.0.0.1:{http}
stomp://127.0.0.1:{stomp}
[access]
self -> localhost:{stomp}
127.0.0.1:{host} -> localhost:{stomp}
localhost:{host} -> localhost:{stomp}
[history]
/topic/chat* = 1000, 7 days
file = :memory:
[presence]
grace = 0
"""

_WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`);
});
"""


@pytest.fixture
def engine(engine: str) -> str:
    """Frames of other sites are played in a whole browser."""
    return "chromium" if engine == HEADLESS_SHELL else engine


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Another web server, which the access list names."""
    with Host() as host:
        yield host


@pytest.fixture(scope="module")
def stranger() -> Iterator[Host]:
    """Another web server, which it does not name."""
    with Host() as host:
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Iterator[Server]:
    http, stomp = free_port(), free_port()
    text = _INI.format(http=http, stomp=stomp, host=host.port)
    server = Server(tmp_path_factory.mktemp("server"), text, http=http, stomp=stomp)
    try:
        yield server.start()
    finally:
        server.close()


class Visitor:
    """A visitor of pages with an embedded chat."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        self.sockets: list[str] = []
        self.closed: list[str] = []
        self.requests: list[str] = []
        context.add_init_script(_WATCH)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("websocket", self._on_socket)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self._on_console)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _on_socket(self, socket: WebSocket) -> None:
        self.sockets.append(socket.url)
        socket.on("close", lambda _: self.closed.append(socket.url))

    def go(self, url: str) -> Visitor:
        self.page.goto(url)
        return self

    def chat(self, index: int = 0) -> FrameLocator:
        """Return one of the chats on the page."""
        return self.page.frame_locator("iframe").nth(index)

    def frame(self, index: int = 0) -> Frame:
        """Return the document in it, once it is there."""
        handle = self.page.locator("iframe").nth(index).element_handle()
        frame = handle.content_frame()
        assert frame is not None
        return frame

    def is_last_frame_refused(self) -> bool:
        """Return whether the browser shows its error page there, and has said why."""
        self.page.wait_for_timeout(20)  # the page's events arrive meanwhile
        is_error = self.page.frames[-1].url == "chrome-error://chromewebdata/"
        return is_error and "frame-ancestors" in "\n".join(self.complaints)

    def come_in(self, nick: str, index: int = 0) -> None:
        """Press the button and choose a name."""
        chat = self.chat(index)
        chat.locator("#cover-button").click()
        chat.locator("#nick").fill(nick)
        chat.locator("#nick").press("Enter")
        self.wait_until_online(index)

    def wait_until_online(self, index: int = 0) -> None:
        expect(self.chat(index).locator("body")).to_have_attribute("data-state", "online")

    def say(self, text: str, index: int = 0) -> None:
        self.chat(index).locator("#text").fill(text)
        self.chat(index).locator("#text").press("Enter")

    def hears(self, text: str, index: int = 0) -> None:
        found = self.chat(index).locator(".message-text").filter(has_text=text)
        expect(found).to_have_count(1)

    def close(self) -> list[str]:
        violations = [
            f"Content-Security-Policy: {violation}"
            for frame in self.page.frames
            for violation in frame.evaluate("window.violations || []")
        ]
        self.context.close()
        return self.complaints + violations


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Let people visit pages; none of them may have had anything to complain about."""
    visitors: list[Visitor] = []

    def visit(url: str, **options: object) -> Visitor:
        visitor = Visitor(browser.new_context(**options))  # type: ignore[arg-type]
        visitors.append(visitor)
        return visitor.go(url)

    yield visit
    complaints = [complaint for visitor in visitors for complaint in visitor.close()]
    assert not complaints, "\n".join(complaints)


Visit = Callable[..., Visitor]


def embed(server: Server, **data: str) -> str:
    """Return the line that puts the chat into a page."""
    attributes = "".join(f' data-{name}="{value}"' for name, value in data.items())
    return f'<script src="{server.url}static/embed.js"{attributes}></script>'


def html(*parts: str, head: str = "") -> str:
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>'
        '<meta name="viewport" content="width=device-width">'
        f"{head}</head><body><h1>Shop</h1>{''.join(parts)}<p id=after>after it</p></body></html>"
    )


def test_an_allowed_page_has_the_chat_where_its_script_stands(
    server: Server, host: Host, visit: Visit, open_window: Callable[..., Window]
) -> None:
    ada = visit(host.page("/shop", html(embed(server, room="shop")), name="localhost"))
    bob = open_window(f"{server.url}#shop", "Bob")
    # The visitor is not asked for a name, and nothing is connected, before the button is pressed.
    expect(ada.chat().get_by_role("button", name="Join the conversation")).to_be_visible()
    assert ada.sockets == []
    frame = ada.page.locator("iframe")
    expect(frame).to_have_attribute("title", "Chat: shop")
    order = "node => node.parentElement.nextElementSibling.id"
    assert frame.evaluate(order) == "after"

    ada.come_in("Ada")
    assert ada.sockets == [f"ws://localhost:{server.http}/ws"]
    ada.say("Is it in stock?")
    assert bob.nick_of("Is it in stock?") == "Ada"
    bob.say("It is.")
    ada.hears("It is.")

    # She is known the next time, and what was said is there.
    ada.page.reload()
    ada.wait_until_online()
    ada.hears("It is.")
    expect(ada.chat().locator("#nick-shown")).to_have_text("Ada")


def test_a_page_that_no_rule_names_gets_a_sentence_and_nothing_else(
    server: Server, stranger: Host, visit: Visit
) -> None:
    eve = visit(stranger.page("/shop", html(embed(server))))
    note = eve.page.get_by_role("status")
    site = f"127.0.0.1:{stranger.port}"
    expect(note).to_contain_text(f"is not open to pages of {site} yet")
    expect(note.locator("pre")).to_have_text(f"{site} -> localhost:61613")
    expect(eve.page.locator("iframe")).to_have_count(0)
    assert eve.sockets == []
    own = f"http://localhost:{server.http}/"
    assert [url for url in eve.requests if url.startswith(own)] == [
        f"{own}static/embed.js",
        f"{own}embed/check",
    ]
    assert f"add to [access]: {site} -> localhost:{server.stomp}" in server.log()


def test_a_page_that_does_not_ask_gets_no_frame_either(
    server: Server, host: Host, stranger: Host, browser: Browser
) -> None:
    inside = f'<iframe src="{server.url}embed?window=1&nick=Eve"></iframe>'
    page = f'<iframe src="{server.url}"></iframe>'
    allowed = host.page("/frame", html(inside))
    for url, frames in (
        (stranger.page("/frame", html(inside)), 1),
        # An allowed page within a page of a stranger's is not allowed.
        (stranger.page("/around", html(f'<iframe src="{allowed}"></iframe>')), 2),
        # And the chat's own page, where one may ask for notifications, is for itself alone.
        (host.page("/page", html(page)), 1),
    ):
        visitor = Visitor(browser.new_context()).go(url)
        visitor.page.wait_for_load_state("networkidle")
        until(f"refusal of the frame in {url}", visitor.is_last_frame_refused)
        assert len(visitor.page.frames) == 1 + frames
        assert visitor.sockets == []
        visitor.context.close()


def test_the_page_keeps_its_focus_and_its_place(
    server: Server, host: Host, visit: Visit, open_window: Callable[..., Window]
) -> None:
    """Playwright comes into a frame like a person, so others have to tell what goes on in it."""
    far = '<input id="field" autofocus><div style="height: 3000px"></div>'
    url = host.page("/far", html(far, embed(server, room="far", nick="Ada the Calm")))
    eve = open_window(f"{server.url}#far", "Eve")
    where = "[document.activeElement.id, scrollY]"

    ada = visit(url)
    expect(eve.page.locator("#people")).to_contain_text("Ada the Calm")
    eve.say("a message to scroll to")
    ada.page.wait_for_timeout(300)
    assert ada.page.evaluate(where) == ["field", 0]

    # Now another person has the name: that is a question, but not before a visitor comes.
    bob = visit(url)
    while not bob.closed:
        bob.page.wait_for_timeout(50)
    bob.page.wait_for_timeout(300)
    assert bob.page.evaluate(where) == ["field", 0]
    expect(bob.chat().locator("#cover")).to_contain_text("Choose another nickname to go on.")
    expect(bob.chat().locator("#nick-dialog")).to_be_hidden()
    bob.chat().get_by_role("button", name="Change your nickname").and_(
        bob.chat().locator("#cover-button")
    ).click()
    expect(bob.chat().locator("#nick")).to_be_focused()
    bob.chat().locator("#nick").fill("Bob the Calm")
    bob.chat().locator("#nick").press("Enter")
    bob.wait_until_online()
    expect(bob.chat().locator("#text")).to_be_focused()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_two_chats_on_one_page_are_one_person_in_two_rooms(
    server: Server, host: Host, visit: Visit, open_window: Callable[..., Window], name: str
) -> None:
    """Also where the browser gives the frames no storage, as for a page of another site."""
    both = html(embed(server, room=f"left-{name}"), embed(server, room=f"right-{name}"))
    url = host.page("/both", both, name=name)
    ada = visit(url, viewport={"width": 1000, "height": 1400})
    expect(ada.chat().locator("#cover-button")).to_be_visible()
    has_storage = "(() => { try { return !!localStorage } catch { return false } })()"
    assert ada.frame().evaluate(has_storage) == (name == "localhost")
    ada.come_in("Ada Two")
    # The second knows the name already.
    ada.chat(1).locator("#cover-button").click()
    ada.wait_until_online(1)
    ada.wait_until_online(0)
    left = open_window(f"{server.url}#left-{name}", "Leo")
    right = open_window(f"{server.url}#right-{name}", "Rita")
    ada.say("to the left", 0)
    ada.say("to the right", 1)
    assert left.nick_of("to the left") == "Ada Two"
    assert right.nick_of("to the right") == "Ada Two"
    expect(left.lines("to the right")).to_have_count(0)
    left.say("from the left")
    right.say("from the right")
    ada.hears("from the left", 0)
    ada.hears("from the right", 1)
    for index in (0, 1):
        expect(ada.chat(index).locator(".message")).to_have_count(2)

    # A new name in one of them is the name in both.
    ada.chat(1).locator("#nick-change").click()
    ada.chat(1).locator("#nick").fill("Ada Three")
    ada.chat(1).locator("#nick").press("Enter")
    expect(ada.chat(0).locator("#nick-shown")).to_have_text("Ada Three")
    ada.wait_until_online(1)
    ada.say("under a new name", 0)
    assert left.nick_of("under a new name") == "Ada Three"

    ada.page.reload()
    if name == "localhost":
        ada.wait_until_online(0)
        ada.wait_until_online(1)
        left.say("still there?")
        ada.hears("still there?", 0)
    else:
        expect(ada.chat(0).locator("#cover-button")).to_be_visible()


def test_a_page_may_give_the_name_the_height_and_the_title(
    server: Server, host: Host, visit: Visit
) -> None:
    data = {"room": "team", "nick": "Grace", "height": "300", "title": "Talk to us"}
    grace = visit(host.page("/given", html(embed(server, **data))))
    grace.wait_until_online()
    expect(grace.chat().locator("#nick-shown")).to_have_text("Grace")
    frame = grace.page.locator("iframe")
    expect(frame).to_have_attribute("title", "Talk to us")
    box = frame.bounding_box()
    assert box is not None
    assert box["height"] == 300
    # The page's own window of the chat is not called so.
    grace.page.goto(server.url)
    expect(grace.page.locator("#nick-dialog")).to_be_visible()


@pytest.mark.parametrize("width", [320, 700, 1400])
def test_it_fits_into_every_width(server: Server, host: Host, visit: Visit, width: int) -> None:
    nick = f"Wide {width}"
    url = host.page(f"/wide{width}", html(embed(server, room=f"w{width}", nick=nick)))
    ada = visit(url, viewport={"width": width, "height": 640})
    ada.wait_until_online()
    ada.say("x" * 300)
    ada.hears("x" * 300)
    for seen in (
        ada.page.evaluate("[document.documentElement.scrollWidth, innerWidth]"),
        ada.frame().evaluate("[document.documentElement.scrollWidth, innerWidth]"),
    ):
        assert seen[0] <= seen[1], f"{seen[0]} pixels in a window of {seen[1]}"
    for name in ("#text", "#send", "#nick-change"):
        box = ada.chat().locator(name).bounding_box()
        assert box is not None, f"{name} is not shown"
        assert box["x"] >= 0, f"{name} sticks out on the left"
        assert box["x"] + box["width"] <= width, f"{name} sticks out on the right"
    # What belongs to the chat's own page is not here.
    for name in ("#join-form", "#notify", "#demos", "#more-rooms-part"):
        expect(ada.chat().locator(name)).to_be_hidden()


@pytest.mark.parametrize("scheme, own", [("light", ""), ("dark", ""), ("light", "dark")])
def test_it_is_light_or_dark_as_the_page_around_it(
    server: Server, host: Host, visit: Visit, scheme: str, own: str
) -> None:
    head = f"<style>:root {{ color-scheme: {scheme} }}</style>"
    data = {"nick": f"Hue {scheme} {own}", **({"scheme": own} if own else {})}
    # Playwright's own idea of the scheme would hide the page's.
    ada = visit(
        host.page(f"/hue-{scheme}-{own}", html(embed(server, **data), head=head)),
        color_scheme="null",
    )
    ada.wait_until_online()
    is_dark = ada.frame().evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert is_dark == ((own or scheme) == "dark")


def test_a_strict_page_has_to_name_the_chat_in_three_directives(
    server: Server, host: Host, visit: Visit
) -> None:
    chat = server.url.rstrip("/")
    policy = f"default-src 'none'; script-src {chat}; connect-src {chat}; frame-src {chat}"
    url = host.page(
        "/strict",
        html(embed(server, nick="Strict")),
        Content_Security_Policy=policy,
    )
    ada = visit(url)
    ada.wait_until_online()
    box = ada.page.locator("iframe").bounding_box()
    assert box is not None
    assert box["height"] > 300, "the policy has taken the frame's style away"


def test_a_page_that_forbids_the_frame_says_after_a_while_what_is_wrong(
    server: Server, host: Host, browser: Browser
) -> None:
    chat = server.url.rstrip("/")
    url = host.page(
        "/forbids", html(embed(server)), Content_Security_Policy=f"script-src {chat}; frame-src x"
    )
    visitor = Visitor(browser.new_context())
    visitor.page.clock.install()
    visitor.go(url)
    expect(visitor.page.locator("iframe")).to_have_count(1)
    # A *ready* from another window changes nothing.
    visitor.page.evaluate("postMessage({ rtchat: 'ready' }, '*')")
    visitor.page.clock.run_for(16_000)
    note = visitor.page.get_by_role("status")
    expect(note).to_contain_text(f"its frame-src and connect-src have to name {chat}")
    expect(visitor.page.locator("iframe")).to_be_hidden()
    visitor.context.close()


def test_a_chat_may_be_put_elsewhere_than_the_script(
    server: Server, host: Host, visit: Visit
) -> None:
    head = embed(server, nick="Elsewhere", target="#there")
    ada = visit(host.page("/there", html("<div id=there></div>", head=head)))
    ada.wait_until_online()
    expect(ada.page.locator("#there iframe")).to_have_count(1)


def test_a_file_has_no_address_and_is_told_so(server: Server, visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(html(embed(server)), encoding="utf-8")
    ada = visit(file.as_uri())
    expect(ada.page.get_by_role("status")).to_contain_text("This page has none")
    expect(ada.page.locator("iframe")).to_have_count(0)


def test_without_self_the_operator_is_told_of_it(
    serve: Callable[..., Server], host: Host, browser: Browser
) -> None:
    server = serve(
        "[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n[access]\n"
        f"127.0.0.1:{host.port} -> localhost:{{stomp}}\n"
    )
    visitor = Visitor(browser.new_context()).go(host.page("/noself", html(embed(server))))
    expect(visitor.page.get_by_role("status").locator("pre")).to_have_text(
        "self -> localhost:61613"
    )
    expect(visitor.page.locator("iframe")).to_have_count(0)
    visitor.context.close()


def test_an_address_that_is_opened_by_itself_is_a_chat_too(server: Server, visit: Visit) -> None:
    ada = visit(f"{server.url}embed#alone")
    ada.page.locator("#cover-button").click()
    ada.page.locator("#nick").fill("Ada Alone")
    ada.page.locator("#nick").press("Enter")
    expect(ada.page.locator("body")).to_have_attribute("data-state", "online")
    expect(ada.page.locator("#room")).to_have_text("#alone")
