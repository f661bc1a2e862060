"""The demo pages, and a foreign STOMP client, speak to real servers through the gateway."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from support.browser import Window
from support.examples import IS_SOAK
from support.process import Server, free_port, until
from support.services import PASSWORDS, Service, echo_server, ngircd, prosody, rabbitmq
from support.stompjs import stompjs

pytestmark = [pytest.mark.live]

DEMOS = Path(__file__).resolve().parent.parent.parent / "examples" / "demos"

OpenWindow = Callable[..., Window]

both = pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])

_INJECTION = "<img src=x onerror=injected=1><b>bold</b>"


@pytest.fixture(scope="module")
def irc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ngircd(tmp_path_factory.mktemp("ngircd")) as service:
        yield service


@pytest.fixture(scope="module")
def xmpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with prosody(tmp_path_factory.mktemp("prosody")) as service:
        yield service


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as service:
        yield service


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    with echo_server() as port:
        yield port


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start gateways whose own page may reach these targets."""
    servers: list[Server] = []

    def start(
        *targets: str, rules: str = "", is_tls: bool = False, has_demos: bool = True
    ) -> Server:
        http, stomp = free_port(), free_port()
        lines = "\n".join(f"self -> {target}" for target in (f"localhost:{stomp}", *targets))
        text = f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
        text += f"[access]\n{lines}\n{rules}"
        if has_demos:
            text += f"[static]\ndemos = {DEMOS}\n"
        folder = tmp_path_factory.mktemp("gateway")
        server = Server(folder, text, http=http, stomp=stomp, is_tls=is_tls)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def server(gateway: Callable[..., Server], request: pytest.FixtureRequest) -> Callable[..., Server]:
    """Return the gateway to a service, the same for every test."""
    servers: dict[tuple[str, bool], Server] = {}

    def to(name: str, is_tls: bool = False) -> Server:
        if (name, is_tls) not in servers:
            service = request.getfixturevalue(name)
            target = service.target if isinstance(service, Service) else f"localhost:{service}"
            servers[name, is_tls] = gateway(target, is_tls=is_tls)
        return servers[name, is_tls]

    return to


def demo(server: Server, name: str) -> str:
    return f"{server.url}demos/{name}.html"


def message(window: Window, text: str) -> Locator:
    """Return the one message or notice that begins with this text, once it is there."""
    lines = window.page.locator("#log .message-text, #log .notice")
    found = lines.filter(has_text=re.compile(rf"^{re.escape(text)}"))
    expect(found).to_have_count(1)
    return found.locator("xpath=ancestor-or-self::li")


def write(window: Window, text: str) -> None:
    window.page.locator("#text").fill(text)
    window.page.locator("#text").press("Enter")


# ---------------------------------------------------------------- IRC


def join_irc(window: Window, nick: str, rooms: str = "#test") -> None:
    page = window.page
    expect(page.locator("#target")).not_to_have_value("")
    page.get_by_label("Nickname").fill(nick)
    page.get_by_label("Rooms to join").fill(rooms)
    page.get_by_role("button", name="Connect", exact=True).click()
    window.wait_for_state("online")


def people(window: Window) -> Locator:
    return window.page.locator("#people bdi")


def room(window: Window, name: str) -> Locator:
    return window.page.get_by_label("Rooms", exact=True).locator(".room").filter(has_text=name)


@both
@pytest.mark.browser
def test_two_browsers_talk_irc(
    server: Callable[..., Server], open_window: OpenWindow, is_tls: bool
) -> None:
    url = demo(server("irc", is_tls), "irc")
    ada, bob = open_window(url), open_window(url)
    join_irc(ada, "ada", "#talk")
    expect(people(ada)).to_have_text(["ada"])
    expect(ada.page.locator(".rank").first).to_have_text("@")
    join_irc(bob, "bob", "#talk")
    message(ada, "bob has come in.")
    expect(people(ada)).to_have_text(["ada", "bob"])
    expect(people(bob)).to_have_text(["ada", "bob"])

    write(ada, "Grüße, 世界 👋")
    expect(message(bob, "Grüße, 世界 👋")).to_contain_text("ada")
    write(bob, "/me waves")
    message(ada, "* bob waves")
    write(bob, _INJECTION)
    message(ada, _INJECTION)
    expect(ada.page.locator("#log :is(img, b)")).to_have_count(0)
    assert ada.page.evaluate("window.injected") is None

    write(ada, "/topic Bridges & tunnels")
    expect(bob.page.locator("#topic")).to_have_text("Bridges & tunnels")

    write(bob, "/msg ada just between us")
    expect(room(bob, "ada")).to_have_attribute("aria-current", "true")
    expect(room(ada, "bob").locator(".room-count")).to_have_text("1")
    room(ada, "bob").click()
    message(ada, "just between us")
    expect(room(ada, "bob").locator(".room-count")).to_be_hidden()

    room(ada, "#talk").click()
    write(ada, "/nick countess")
    message(ada, "You are countess now.")
    room(bob, "#talk").click()
    expect(people(bob)).to_have_text(["countess", "bob"])
    bob.page.get_by_role("button", name="Disconnect").click()
    bob.wait_for_state("offline")
    message(ada, "bob has gone")
    expect(people(ada)).to_have_text(["countess"])


@pytest.mark.browser
def test_a_nickname_that_is_taken_gets_another(
    server: Callable[..., Server], open_window: OpenWindow
) -> None:
    url = demo(server("irc"), "irc")
    first, second = open_window(url), open_window(url)
    join_irc(first, "grace", "#nicks")
    join_irc(second, "grace", "#nicks")
    expect(second.page.locator("#state")).to_have_text("connected as grace_")
    expect(people(first)).to_have_text(["grace", "grace_"])
    room(second, "Server").click()
    message(second, "The nickname grace is taken; you are grace_.")


@pytest.mark.browser
def test_several_rooms_stay_apart(server: Callable[..., Server], open_window: OpenWindow) -> None:
    url = demo(server("irc"), "irc")
    ada, bob = open_window(url), open_window(url)
    join_irc(ada, "ada2", "#one #two")
    join_irc(bob, "bob2", "#one two")
    expect(room(ada, "#one")).to_have_count(1)
    room(bob, "#one").click()
    room(ada, "#two").click()
    write(bob, "said in one")
    expect(room(ada, "#one").locator(".room-count")).to_have_text("1")
    expect(ada.page.locator("#log")).not_to_contain_text("said in one")
    room(ada, "#one").click()
    message(ada, "said in one")
    ada.page.get_by_role("button", name="Leave").click()
    message(bob, "ada2 has left.")
    message(ada, "You have left #one.")
    write(ada, "am I still here?")
    message(ada, "You are not in #one.")


@pytest.mark.browser
def test_an_irc_page_comes_back_to_its_rooms(
    gateway: Callable[..., Server], irc: Service, open_window: OpenWindow
) -> None:
    server = gateway(irc.target)
    ada = open_window(demo(server, "irc"))
    join_irc(ada, "ada3", "#back")
    write(ada, "/join #later")
    message(ada, "You are in #later.")
    write(ada, "before the break")
    server.kill()
    ada.wait_for_state("offline")
    expect(ada.page.get_by_role("alert")).to_be_visible()
    server.start()
    ada.page.get_by_role("button", name="Connect again").click()
    ada.wait_for_state("online")
    room(ada, "#later").click()
    expect(ada.page.locator("#people bdi").filter(has_text="ada3")).to_have_count(1)
    message(ada, "before the break")


# ---------------------------------------------------------------- XMPP


def log_in(window: Window, jid: str, *, allow_plain: bool = False) -> None:
    page = window.page
    expect(page.locator("#target")).not_to_have_value("")
    page.get_by_label("Address").fill(jid)
    page.get_by_label("Password", exact=True).fill(PASSWORDS.get(jid, "wrong"))
    if allow_plain:
        page.get_by_label("Send the password as it is").check()
    page.get_by_role("button", name="Log in").click()


def contact(window: Window, jid: str) -> Locator:
    return window.page.locator(f'.person[data-jid="{jid}"]')


# A pair that has met in the first run would have nothing to ask each other in the second.
@pytest.mark.parametrize(
    "is_tls, her, him, mechanism",
    [
        (False, "ada@localhost", "bob@localhost", "SCRAM-SHA-256"),
        (True, "carol@sha1.localhost", "bob@localhost", "SCRAM-SHA-1"),
    ],
    ids=["http", "https"],
)
@pytest.mark.browser
def test_two_browsers_talk_xmpp_and_see_each_other(
    server: Callable[..., Server],
    open_window: OpenWindow,
    is_tls: bool,
    her: str,
    him: str,
    mechanism: str,
) -> None:
    url = demo(server("xmpp", is_tls), "xmpp")
    ada, bob = open_window(url), open_window(url)
    log_in(ada, her)
    ada.wait_for_state("online")
    expect(ada.page.locator("#state")).to_contain_text(mechanism)
    log_in(bob, him)
    bob.wait_for_state("online")

    ada.page.get_by_label("Add somebody").fill(him)
    ada.page.get_by_role("button", name="Add").click()
    expect(contact(ada, him)).to_contain_text("does not share presence with you")
    bob.page.get_by_role("button", name="Accept").click()
    # Bob's page asks in return, and Ada is asked.
    ada.page.get_by_role("button", name="Accept").click()
    for window, other in ((ada, him), (bob, her)):
        expect(contact(window, other).locator(".presence-dot")).to_have_attribute(
            "data-show", "online"
        )

    bob.page.get_by_label("You are").select_option("dnd")
    expect(contact(ada, him)).to_contain_text("busy")

    contact(ada, him).click()
    write(ada, f"Grüße, 世界 👋 {_INJECTION} & ]]>")
    room_of_ada = bob.page.get_by_label("Conversations").locator(".room")
    expect(room_of_ada).to_have_text(re.compile(re.escape(her)))
    room_of_ada.click()
    message(bob, f"Grüße, 世界 👋 {_INJECTION} & ]]>")
    expect(bob.page.locator("#log :is(img, b)")).to_have_count(0)
    long = "ü" * 20_000
    write(bob, f"two\nlines {long}")
    expect(ada.page.locator(".message-text").last).to_contain_text("two")
    text = ada.page.locator(".message-text").last.text_content() or ""
    assert text.startswith(f"two\nlines {long[:15_000]}")

    bob.page.get_by_role("button", name="Log out").click()
    bob.wait_for_state("offline")
    expect(contact(ada, him)).to_contain_text("offline")
    # What is said meanwhile is kept by the server; the contacts are too.
    write(ada, "for later")
    log_in(bob, him)
    bob.wait_for_state("online")
    message(bob, "for later")
    expect(contact(bob, her)).to_contain_text("online")


@pytest.mark.browser
def test_xmpp_logs_in_with_what_the_server_has(
    server: Callable[..., Server], open_window: OpenWindow
) -> None:
    url = demo(server("xmpp"), "xmpp")
    carol = open_window(url)
    log_in(carol, "carol@sha1.localhost")
    carol.wait_for_state("online")
    expect(carol.page.locator("#state")).to_contain_text("SCRAM-SHA-1")

    dave = open_window(url)
    log_in(dave, "dave@plain.localhost")
    expect(dave.page.get_by_role("alert")).to_contain_text("only takes the password as it is")
    log_in(dave, "dave@plain.localhost", allow_plain=True)
    dave.wait_for_state("online")
    expect(dave.page.locator("#state")).to_contain_text("PLAIN")


@pytest.mark.browser
def test_a_wrong_password_is_told(server: Callable[..., Server], open_window: OpenWindow) -> None:
    eve = open_window(demo(server("xmpp"), "xmpp"))
    log_in(eve, "eve@localhost")
    expect(eve.page.get_by_role("alert")).to_have_text(
        "Not logged in: the name or password is wrong."
    )
    expect(eve.page.get_by_label("Password", exact=True)).to_be_focused()


# ---------------------------------------------------------------- the console


@both
@pytest.mark.browser
def test_the_console_speaks_to_an_echo(
    server: Callable[..., Server], echo: int, open_window: OpenWindow, is_tls: bool
) -> None:
    ada = open_window(demo(server("echo", is_tls), "console"))
    page = ada.page
    expect(page.locator("#target")).to_have_value(f"localhost:{echo}")
    page.get_by_role("button", name="Connect", exact=True).click()
    ada.wait_for_state("online")
    write(ada, "Grüße, 世界 👋 <b>")
    came = page.locator(".line.in .line-text")
    expect(came).to_have_text(["Grüße, 世界 👋 <b>"])
    expect(page.locator("#lines b")).to_have_count(0)

    page.get_by_label("Line end", exact=True).select_option("crlf")
    page.get_by_label("Show", exact=True).select_option("hex")
    write(ada, "hi")
    expect(came.last).to_contain_text("68 69 0d 0a")
    page.get_by_label("Type", exact=True).select_option("hex")
    write(ada, "00 ff f")
    expect(page.get_by_role("alert")).to_contain_text("not hexadecimal")
    write(ada, "00 ff fe")
    expect(came.last).to_contain_text("00 ff fe")

    page.get_by_label("Show", exact=True).select_option("text")
    expect(came.nth(1)).to_have_text("hi")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save log").click()
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    assert "> Grüße, 世界 👋 <b>\n" in saved
    assert "< Grüße, 世界 👋 <b>\n" in saved
    page.get_by_role("button", name="Disconnect").click()
    ada.wait_for_state("offline")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#lines li")).to_have_count(0)


@pytest.mark.browser
def test_the_console_shows_a_prompt_and_a_character_that_comes_in_two_parts(
    gateway: Callable[..., Server], open_window: OpenWindow
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        go_on = threading.Event()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"name: " + "ü".encode()[:1])
                go_on.wait(20)
                peer.sendall("ü".encode()[1:] + b"\n")
                peer.recv(100)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        ada = open_window(demo(gateway(f"localhost:{port}"), "console"))
        expect(ada.page.locator("#target")).to_have_value(f"localhost:{port}")
        ada.page.get_by_role("button", name="Connect", exact=True).click()
        # The server speaks first, and does not end its line.
        came = ada.page.locator(".line.in .line-text")
        expect(came).to_have_text(["name: "])
        go_on.set()
        expect(came).to_have_text(["name: ü"])
        write(ada, "Ada")
        ada.wait_for_state("offline")
        thread.join(20)


@pytest.mark.browser
def test_a_target_that_no_rule_names_is_told(
    server: Callable[..., Server], open_window: OpenWindow
) -> None:
    there = server("echo")
    ada = open_window(demo(there, "console"))
    ada.page.locator("#target").fill("localhost:9")
    ada.page.get_by_role("button", name="Connect", exact=True).click()
    expect(ada.page.get_by_role("alert")).to_contain_text("access list")
    until("refusal in the log", lambda: "localhost:9" in there.log())


# ---------------------------------------------------------------- what leads there


@pytest.mark.browser
def test_the_chat_page_links_what_a_rule_makes_usable(
    gateway: Callable[..., Server], open_window: OpenWindow
) -> None:
    def links(*targets: str, rules: str = "", has_demos: bool = True) -> list[str]:
        there = gateway(*targets, rules=rules, has_demos=has_demos)
        window = open_window(there.url, "Ada")
        window.page.wait_for_load_state("networkidle")
        names = window.page.locator("#demos a").all_inner_texts()
        assert not window.close()
        there.stop()
        return names

    # The broker is what the chat page itself is for.
    assert links(rules="elsewhere.example -> localhost:6667\n") == []
    assert links("localhost:6667") == ["IRC", "Line console"]
    assert links("localhost:12345") == ["IRC", "XMPP", "Line console"]
    if IS_SOAK:
        assert links() == []
        assert links("[::1]:5222") == ["XMPP", "Line console"]
        assert links("localhost:80") == ["Line console"]
    # A page that is not there is not linked.
    assert links("localhost:6667", has_demos=False) == []


@pytest.mark.browser
def test_a_link_of_the_chat_page_leads_to_the_demo(
    gateway: Callable[..., Server], open_window: OpenWindow
) -> None:
    window = open_window(gateway("localhost:6667").url, "Ada")
    window.page.get_by_role("link", name="IRC").click()
    expect(window.page.locator("#target")).to_have_value("localhost:6667")
    window.page.get_by_role("link", name="Chat page").click()
    expect(window.page.get_by_role("link", name="IRC")).to_be_visible()


def test_the_chat_ini_of_the_document_serves_the_demos(tmp_path: Path) -> None:
    document = (DEMOS.parent.parent / "docs" / "demos.md").read_text(encoding="utf-8")
    example = document.partition("```ini\n")[2].partition("```")[0]
    http, stomp = free_port(), free_port()
    text = example.replace(":9000", f":{http}").replace(":61613", f":{stomp}")
    (tmp_path / "examples").symlink_to(DEMOS.parent)
    server = Server(tmp_path, text, http=http, stomp=stomp).start()
    try:
        for name in ("irc", "xmpp", "console"):
            with urllib.request.urlopen(demo(server, name), timeout=5) as answer:
                assert answer.read() == (DEMOS / f"{name}.html").read_bytes()
                assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
    finally:
        server.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["irc", "xmpp", "console"])
def test_a_demo_without_a_rule_says_which_one_it_needs(
    gateway: Callable[..., Server], open_window: OpenWindow, name: str
) -> None:
    ada = open_window(demo(gateway(), name))
    expect(ada.page.get_by_role("alert")).to_contain_text("self -> localhost:")
    # All that is needed comes from this server, and nothing is inline.
    assert ada.page.locator("style, script:not([src]), [style], [onclick]").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize("name", ["irc", "xmpp", "console"])
def test_everything_one_can_use_has_a_name_and_comes_in_order(
    gateway: Callable[..., Server], open_window: OpenWindow, name: str
) -> None:
    page = open_window(demo(gateway("localhost:12345"), name)).page
    expect(page.locator("#target")).to_have_value("localhost:12345")
    page.locator("a").focus()
    seen = []
    for _ in range(20):
        page.keyboard.press("Tab")
        element = page.evaluate("document.activeElement.id || document.activeElement.tagName")
        if element in ("BODY", "A"):
            break
        seen.append(element)
        label = page.evaluate(
            "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
            " || document.activeElement.getAttribute('aria-label')"
        )
        assert label, f"{element} has no name"
    wanted = {
        "irc": ["nick", "channels", "target", "password", "connect"],
        "xmpp": ["jid", "password", "target", "plain", "connect"],
        "console": [
            *("target", "connect", "view", "input-kind", "line-end", "save", "clear"),
            *("lines", "text", "send"),
        ],
    }
    assert seen == wanted[name]
    expect(page.get_by_role("heading", level=1)).to_have_count(1)


@pytest.mark.browser
def test_who_logs_in_next_does_not_see_what_was_said_before(
    server: Callable[..., Server], open_window: OpenWindow
) -> None:
    window = open_window(demo(server("xmpp"), "xmpp"))
    log_in(window, "carol@sha1.localhost")
    window.wait_for_state("online")
    window.page.get_by_label("Add somebody").fill("nobody@sha1.localhost")
    window.page.get_by_role("button", name="Add").click()
    contact(window, "nobody@sha1.localhost").click()
    write(window, "carol's words")
    message(window, "carol's words")
    message(window, "Not delivered")
    window.page.get_by_role("button", name="Log out").click()
    window.wait_for_state("offline")
    log_in(window, "bob@localhost")
    window.wait_for_state("online")
    expect(window.page.locator("#log li")).to_have_count(0)
    expect(window.page.locator("#rooms .room").filter(has_text="nobody")).to_have_count(0)


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("name", ["irc", "xmpp", "console"])
def test_the_demos_fit_every_width(
    server: Callable[..., Server], open_window: OpenWindow, name: str, width: int
) -> None:
    service = {"irc": "irc", "xmpp": "xmpp", "console": "echo"}[name]
    window = open_window(demo(server(service), name), viewport={"width": width, "height": 700})
    if name == "irc":
        join_irc(window, f"wide{width}", "#wide")
    elif name == "xmpp":
        log_in(window, "carol@sha1.localhost")
    else:
        expect(window.page.locator("#target")).not_to_have_value("")
        window.page.get_by_role("button", name="Connect", exact=True).click()
    window.wait_for_state("online")
    if name != "xmpp":
        write(window, "x" * 300)
    seen = window.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert seen[0] <= seen[1], f"{seen[0]} pixels of page in a window of {seen[1]}"


# ---------------------------------------------------------------- a broker of other people


@both
@pytest.mark.parametrize("mode", ["text", "binary"])
def test_stompjs_uses_rabbitmq_through_the_gateway(
    server: Callable[..., Server], rabbit: Service, mode: str, is_tls: bool
) -> None:
    client = partial(
        stompjs, server("rabbit", is_tls), f"/tcp/{rabbit.target}", f"/topic/{mode}", mode
    )
    with client() as one, client() as two:
        for body in ("Grüße, 世界 👋", "", "y" * 300_000):
            one.order(body=body)
            assert two.body() == body.encode()
            assert one.body() == body.encode()
            two.order(body=body[::-1])
            assert one.body() == body[::-1].encode()
            assert two.body() == body[::-1].encode()
