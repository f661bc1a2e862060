"""The resource tree over raw HTTP: the page, its files, and the names that it answers to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import simplejson
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeSite, cooperation
from support.process import ROOT
from support.websocket import (
    http_request,
    upgrade_request,
)
from twisted.internet.address import IPv6Address
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Request
from typing_extensions import override

from rtchat.core.access.hosts import HostList
from rtchat.net.web.files import page_tree
from rtchat.net.web.health import Health
from rtchat.net.web.site import PageSite

STATIC = ROOT / "static"


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A folder to mount, with a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    (folder / "cat.svg").write_text("<svg/>")
    (folder / "note.txt").write_text("note")
    return folder


@pytest.fixture
def page(mounted: Path) -> Iterator[PageSite]:
    facts = {"status": "ok", "stomp_sessions": 3}
    tree = page_tree(
        STATIC,
        {"pictures": mounted, "robots.txt": mounted / "note.txt"},
        {"health": Health(lambda: facts)},
    )
    clock = Clock()
    site = PageSite(tree, HostList(["chat.example"]), clock)
    with cooperation(clock):
        yield site


@pytest.fixture
def browser(page: PageSite) -> FakeBrowser:
    return FakeBrowser(page)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


# ---------------------------------------------------------------- the page and its files


def test_the_root_is_the_page(browser: FakeBrowser) -> None:
    answer = browser.get("/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.body == (STATIC / "index.html").read_bytes()


@pytest.mark.parametrize("path", ["/", "/static/", "/static/chat.js", "/static/chat.css"])
def test_the_page_and_its_files_say_what_a_browser_may_load(
    browser: FakeBrowser, path: str
) -> None:
    policy = browser.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "frame-ancestors 'self'" in policy


def test_the_policy_names_our_own_websockets_for_browsers_that_do_not_count_them_as_self(
    browser: FakeBrowser,
) -> None:
    policy = browser.get("/", host="chat.example:9000").headers["content-security-policy"]
    assert "connect-src 'self' ws://chat.example:9000 wss://chat.example:9000;" in policy


@pytest.mark.parametrize("path", ["/", "/static/chat.js", "/pictures/cat.svg", "/health", "/no"])
def test_every_answer_forbids_to_guess_its_type(browser: FakeBrowser, path: str) -> None:
    answer = browser.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["server"] == "rtchat"


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/static/chat.js", "text/javascript; charset=utf-8"),
        ("/static/chat.css", "text/css; charset=utf-8"),
        ("/static/favicon.svg", "image/svg+xml"),
        ("/static/index.html", "text/html; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml"),
        ("/pictures/cat.svg", "image/svg+xml"),
    ],
)
def test_every_file_has_its_type(browser: FakeBrowser, path: str, kind: str) -> None:
    answer = browser.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)


def test_every_file_that_the_page_names_is_there(browser: FakeBrowser) -> None:
    text = browser.get("/").text
    names = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert names
    for name in names:
        assert "//" not in name, "the page loads from another host"
        path = name if name.startswith("/") else f"/{name}"
        assert browser.get(path).status == 200, name


@pytest.mark.parametrize(
    "alias, name",
    [("Orbited.js", "tcpsocket.js"), ("protocols/stomp/stomp.js", "stomp.js")],
)
def test_old_pages_find_orbiteds_files_under_their_old_names(
    browser: FakeBrowser, alias: str, name: str
) -> None:
    answer = browser.get(f"/static/{alias}")
    assert answer.status == 200
    assert answer.body == (STATIC / name).read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_pages_of_other_hosts_may_load_the_scripts(browser: FakeBrowser) -> None:
    headers = browser.get("/static/stomp.js").headers
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"


def test_head_gives_the_headers_alone(browser: FakeBrowser) -> None:
    request = http_request("HEAD", "/static/chat.js", {"Host": "localhost"})
    answer = browser.ask(request, has_body=False)
    assert answer.status == 200
    assert int(answer.headers["content-length"]) == (STATIC / "chat.js").stat().st_size
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert browser.get("/health").status == 200  # the connection is in step


def test_a_file_that_has_not_changed_is_not_sent_again(browser: FakeBrowser) -> None:
    first = browser.get("/static/chat.js")
    assert first.headers["cache-control"] == "no-cache"
    again = browser.get("/static/chat.js", If_Modified_Since=first.headers["last-modified"])
    assert (again.status, again.body) == (304, b"")
    assert browser.get("/health").status == 200


def test_what_is_not_there_is_a_short_404(browser: FakeBrowser) -> None:
    for path in ("/static/no.js", "/pictures/no.png", "/pictures/note.txt/more"):
        answer = browser.get(path)
        assert (answer.status, answer.text) == (404, "There is nothing at this address.\n")


def test_other_methods_are_refused(browser: FakeBrowser) -> None:
    request = http_request("POST", "/static/chat.js", {"Host": "localhost", "Content-Length": "0"})
    assert browser.ask(request).status == 405


def test_a_request_with_a_body_is_answered_like_one_without(browser: FakeBrowser) -> None:
    request = http_request("POST", "/health", {"Host": "localhost", "Content-Length": "5"})
    browser.socket.receive(request)
    assert browser.ask(b"hello").status == 405
    assert browser.get("/health").status == 200


# ---------------------------------------------------------------- folders and [static]


@pytest.mark.parametrize("path", ["/pictures/", "/pictures/sub/", "/static/protocols/"])
def test_a_folder_is_not_listed(browser: FakeBrowser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status == 404
    assert "cat.svg" not in answer.text


def test_a_mounted_folder_gives_its_files(browser: FakeBrowser) -> None:
    assert browser.get("/pictures/cat.svg").text == "<svg/>"


def test_a_mounted_file_is_that_file(browser: FakeBrowser) -> None:
    answer = browser.get("/robots.txt")
    assert (answer.status, answer.text) == (200, "note")


def test_a_mounted_page_is_not_bound_to_the_policy_of_ours(browser: FakeBrowser) -> None:
    assert "content-security-policy" not in browser.get("/pictures/cat.svg").headers


def with_demos(page: PageSite, folder: Path) -> FakeBrowser:
    """Return a browser at a site like ``page`` that mounts a folder as ``demos``."""
    tree = page_tree(STATIC, {"demos": folder}, {})
    return FakeBrowser(PageSite(tree, HostList(["chat.example"]), page.clock))


def test_the_chat_page_learns_of_mounted_demos(page: PageSite) -> None:
    browser = with_demos(page, ROOT / "examples" / "demos")
    answer = browser.get("/static/demos.js")
    assert (answer.status, answer.headers["location"]) == (302, "/demos/links.js")
    assert "export async function demoLinks()" in browser.get("/demos/links.js").text


def test_mounted_demos_have_the_headers_of_the_page(page: PageSite) -> None:
    browser = with_demos(page, ROOT / "examples" / "demos")
    for name in ("irc.html", "irc.js", "demos.css"):
        mounted = browser.get(f"/demos/{name}").headers
        for header in ("content-security-policy", "referrer-policy", "cache-control"):
            assert mounted[header] == browser.get("/").headers[header]


def test_without_demos_the_chat_page_has_nothing_to_link(
    browser: FakeBrowser, page: PageSite, mounted: Path
) -> None:
    for each in (browser, with_demos(page, mounted)):
        answer = each.get("/static/demos.js")
        assert (answer.status, answer.body) == (200, (STATIC / "demos.js").read_bytes())
        assert each.get("/static/demos/irc.html").status == 404
    other = with_demos(page, mounted).get("/demos/cat.svg")
    assert "content-security-policy" not in other.headers


@pytest.mark.parametrize(
    "path",
    [
        "/pictures/../secret.txt",
        "/pictures/%2e%2e/secret.txt",
        "/pictures/%2E%2E/secret.txt",
        "/pictures/..%2fsecret.txt",
        "/pictures/%2e%2e%2fsecret.txt",
        "/pictures/sub/../../secret.txt",
        "/pictures/sub/..%2f..%2fsecret.txt",
        "/pictures/..%5csecret.txt",
        "/pictures/%252e%252e/secret.txt",
        "/pictures/..%c0%afsecret.txt",
        "/pictures//../secret.txt",
        "/pictures/%2fetc%2fpasswd",
        "/static/../pyproject.toml",
        "/static/../../etc/passwd",
        "/static/%2e%2e/pyproject.toml",
        "/static/..%2fpyproject.toml",
        "/static/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/../pyproject.toml",
    ],
)
def test_no_path_leads_out_of_a_folder(browser: FakeBrowser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status == 404
    assert "secret" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("path", ["/static/%00", "/static/chat.js%00.txt", "/static/%ff"])
def test_a_path_that_is_no_file_name_is_a_404_and_no_failure(
    browser: FakeBrowser, logs: Logs, path: str
) -> None:
    assert browser.get(path).status == 404
    assert logs.events == []


def test_a_path_that_is_too_long_for_a_file_name_is_a_404(browser: FakeBrowser) -> None:
    assert browser.get("/static/" + "a" * 5000).status == 404


# ---------------------------------------------------------------- health


def test_health_is_json_that_is_never_cached(browser: FakeBrowser) -> None:
    answer = browser.get("/health")
    assert answer.status == 200
    assert simplejson.loads(answer.text) == {"status": "ok", "stomp_sessions": 3}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


# ---------------------------------------------------------------- the name in the request


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9000", "chat.example", "Chat.Example.:80", "127.0.0.1:1", "[::1]:80"],
)
def test_a_name_of_ours_is_answered(browser: FakeBrowser, host: str) -> None:
    assert browser.get("/", host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9000", "2130706433", "evil.example:"]
)
def test_another_name_is_misdirected_and_the_log_says_what_to_add(
    browser: FakeBrowser, logs: Logs, host: str
) -> None:
    answer = browser.get("/", host=host)
    assert answer.status == 421
    assert logs.failures() == []
    assert "evil" not in answer.text
    (line,) = logs.lines("warn")
    assert line.startswith("192.0.2.1:54321: refused /: Host ")
    if "evil" in host:
        assert line.endswith("add it to the configuration: [global] hosts = evil.example")


def test_a_name_from_a_stranger_can_neither_forge_nor_flood_the_log(
    browser: FakeBrowser, logs: Logs
) -> None:
    browser.get("/", host="\x1b[2J" + "a" * 5000)
    (line,) = logs.lines("warn")
    assert line.isprintable()
    assert len(line) < 700


def test_a_misdirected_websocket_is_not_opened() -> None:
    browser = FakeSite().browser()
    assert browser.ask(upgrade_request(host="evil.example")).status == 421


@pytest.mark.parametrize("path", ["/", "/health", "/static/chat.js", "/pictures/cat.svg"])
def test_options_says_what_a_path_takes(browser: FakeBrowser, path: str) -> None:
    """HAProxy and others ask so whether the server lives, by default with HTTP/1.0."""
    for request in (
        http_request("OPTIONS", path, {"Host": "localhost"}),
        f"OPTIONS {path} HTTP/1.0\r\n\r\n".encode(),
    ):
        answer = browser.ask(request)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_options_of_what_is_not_there_or_not_here_is_refused(browser: FakeBrowser) -> None:
    assert browser.ask(http_request("OPTIONS", "/no", {"Host": "localhost"})).status == 404
    assert browser.ask(http_request("OPTIONS", "/", {"Host": "evil.example"})).status == 421


def test_a_resource_with_an_answer_of_its_own_to_options_gives_it() -> None:
    class Own(Resource):
        isLeaf = True

        def render_OPTIONS(self, request: Request) -> bytes:
            return b"mine"

    class All(Resource):
        isLeaf = True

        @override
        def render(self, request: Request) -> bytes:
            return request.method

    root = Resource()
    root.putChild(b"own", Own())
    root.putChild(b"all", All())
    browser = FakeBrowser(PageSite(root, HostList(), Clock()))
    for path, text in (("/own", "mine"), ("/all", "OPTIONS")):
        assert browser.ask(http_request("OPTIONS", path, {"Host": "localhost"})).text == text


def test_http_1_0_without_a_host_is_answered(browser: FakeBrowser) -> None:
    answer = browser.ask(b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.status == 200
    assert browser.socket.is_closed


def test_a_peer_on_ipv6_is_named_with_brackets(page: PageSite, logs: Logs) -> None:
    browser = FakeBrowser(page, IPv6Address("TCP", "2001:db8::7", 80))
    browser.get("/", host="evil.example")
    assert logs.lines("warn")[0].startswith("[2001:db8::7]:80: refused")
