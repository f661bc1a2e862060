"""The resource tree over raw HTTP: the page, its files, and who gets a WebSocket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import simplejson
from netfakes import (
    ACCEPT,
    CLOSE,
    CONNECT,
    KEY,
    ROOT,
    TEXT,
    Answer,
    FakeBrowser,
    FakeSite,
    FakeSocket,
    Logs,
    captured_logs,
    cooperation,
    http_request,
    stomp_frame,
    upgrade_request,
    ws_frame,
)
from twisted.internet.address import IPv6Address
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.policies import WrappingFactory
from typing_extensions import override

from rtchat.core.access.hosts import HostList, Target
from rtchat.net.web.files import page_tree
from rtchat.net.web.health import Health
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.upgrade import UpgradeResource

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
    "host", ["evil.example", "evil.example:9000", "2130706433", "", "a b", "é"]
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


def test_two_host_headers_are_misdirected(browser: FakeBrowser) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert browser.ask(request).status == 421


def test_http_1_0_without_a_host_is_answered(browser: FakeBrowser) -> None:
    answer = browser.ask(b"GET /health HTTP/1.0\r\n\r\n")
    assert answer.status == 200
    assert browser.socket.is_closed


def test_a_peer_on_ipv6_is_named_with_brackets(page: PageSite, logs: Logs) -> None:
    browser = FakeBrowser(page, IPv6Address("TCP", "2001:db8::7", 80))
    browser.get("/", host="evil.example")
    assert logs.lines("warn")[0].startswith("[2001:db8::7]:80: refused")


# ---------------------------------------------------------------- the handshake


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


def test_the_example_of_rfc_6455_is_answered_as_it_says(site: FakeSite) -> None:
    answer = site.browser().ask(upgrade_request(sec_websocket_key=KEY))
    assert answer.status == 101
    assert answer.headers["upgrade"].lower() == "websocket"
    assert answer.headers["connection"].lower() == "upgrade"
    assert answer.headers["sec-websocket-accept"] == ACCEPT
    assert "sec-websocket-extensions" not in answer.headers


def test_the_answer_has_a_readable_date(site: FakeSite) -> None:
    # txWS itself writes b'…' there on Python 3.
    date = site.browser().ask(upgrade_request()).headers["date"]
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date)


@pytest.mark.parametrize(
    "offered, chosen",
    [
        ("v12.stomp", "v12.stomp"),
        ("v10.stomp, v11.stomp", "v11.stomp"),
        ("v10.stomp,v12.stomp,v11.stomp", "v12.stomp"),
        ("mqtt, v10.stomp", "v10.stomp"),
        ("base64, v12.stomp", "v12.stomp"),
        (None, None),
        ("", None),
        ("mqtt", None),
        ("binary", None),
        ("V12.STOMP", None),
    ],
)
def test_the_highest_sub_protocol_offered_is_named_and_no_other(
    site: FakeSite, offered: str | None, chosen: str | None
) -> None:
    answer = site.browser().ask(upgrade_request(subprotocols=offered))
    assert answer.status == 101
    assert answer.headers.get("sec-websocket-protocol") == chosen


@pytest.mark.parametrize(
    "offered, chosen",
    [
        ("binary", "binary"),
        ("mqtt", "mqtt"),
        ("binary, v11.stomp", "v11.stomp"),
        ("x", None),
    ],
)
def test_the_proxy_knows_binary_as_well(offered: str, chosen: str | None) -> None:
    site = FakeSite(wrap_target=silent)
    answer = site.browser().ask(upgrade_request("/tcp/irc.example:6667", subprotocols=offered))
    assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (101, chosen)


def test_sub_protocols_may_stand_in_several_headers(site: FakeSite) -> None:
    request = upgrade_request(subprotocols="v10.stomp")[:-2]
    answer = site.browser().ask(request + b"Sec-WebSocket-Protocol: v12.stomp\r\n\r\n")
    assert answer.headers["sec-websocket-protocol"] == "v12.stomp"


@pytest.mark.parametrize(
    "connection, upgrade",
    [("keep-alive, Upgrade", "websocket"), ("UPGRADE", "WebSocket"), ("upgrade", "h2c, websocket")],
)
def test_a_handshake_may_write_its_headers_in_other_ways(
    site: FakeSite, connection: str, upgrade: str
) -> None:
    request = upgrade_request(connection=connection, upgrade=upgrade)
    assert site.browser().ask(request).status == 101


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
def test_a_method_other_than_get_is_405(site: FakeSite, method: str) -> None:
    answer = site.browser().ask(upgrade_request(method=method), has_body=method != "HEAD")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("upgrade", [None, "h2c", "websockets"])
def test_a_request_that_asks_for_no_websocket_is_426(site: FakeSite, upgrade: str | None) -> None:
    answer = site.browser().ask(upgrade_request(upgrade=upgrade))
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
    assert "new WebSocket(...)" in answer.text


@pytest.mark.parametrize("version", [None, "8", "7", "14", "13, 14", "x"])
def test_another_version_is_426_and_learns_ours(site: FakeSite, version: str | None) -> None:
    answer = site.browser().ask(upgrade_request(sec_websocket_version=version))
    assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")


@pytest.mark.parametrize("connection", [None, "keep-alive", "upgraded"])
def test_a_handshake_without_connection_upgrade_is_400(
    site: FakeSite, connection: str | None
) -> None:
    assert site.browser().ask(upgrade_request(connection=connection)).status == 400


@pytest.mark.parametrize("key", [None, "", "short", "A" * 24, "!" * 22 + "==", "é" * 12, KEY[:-1]])
def test_a_handshake_without_a_key_of_16_bytes_is_400(site: FakeSite, key: str | None) -> None:
    answer = site.browser().ask(upgrade_request(sec_websocket_key=key))
    assert answer.status == 400
    assert "16 bytes in base64" in answer.text


@pytest.mark.parametrize(
    "header", ["origin", "upgrade", "connection", "subprotocols", "sec_websocket_version"]
)
def test_a_header_that_is_not_utf_8_is_no_failure(site: FakeSite, logs: Logs, header: str) -> None:
    headers = {header: "\xe9"}
    assert site.browser().ask(upgrade_request("/ws", **headers)).status != 500
    assert logs.failures() == []


def test_a_handshake_with_two_keys_is_400(site: FakeSite) -> None:
    request = upgrade_request()[:-2] + f"Sec-WebSocket-Key: {KEY}\r\n\r\n".encode()
    assert site.browser().ask(request).status == 400


def test_a_handshake_of_http_1_0_is_400(site: FakeSite) -> None:
    assert site.browser().ask(upgrade_request(version="HTTP/1.0")).status == 400


def test_a_refused_handshake_ends_the_connection(site: FakeSite) -> None:
    browser = site.browser()
    assert browser.ask(upgrade_request(upgrade=None)).headers["connection"] == "close"
    assert browser.socket.is_closed


def test_a_path_that_is_not_text_is_no_failure(site: FakeSite, logs: Logs) -> None:
    assert site.browser().ask(upgrade_request("/ws/%ff%00")).status == 101
    assert logs.failures() == []


# ---------------------------------------------------------------- the connection changes hands


def test_frames_may_follow_the_request_in_the_same_read(site: FakeSite) -> None:
    browser = site.browser()
    answer = browser.ask(upgrade_request() + ws_frame(TEXT, CONNECT))
    assert answer.status == 101
    assert browser.expect(TEXT).payload.startswith(b"CONNECTED\n")


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_request_and_frames_may_come_in_any_pieces(site: FakeSite, cut: int) -> None:
    browser = site.browser()
    data = upgrade_request() + ws_frame(TEXT, CONNECT)
    for start in range(0, len(data), cut):
        browser.socket.receive(data[start : start + cut])
    assert browser.socket.taken().startswith(b"HTTP/1.1 101 ")
    browser.send(TEXT, stomp_frame("DISCONNECT", receipt="r"))
    assert browser.expect(TEXT).payload.startswith(b"RECEIPT\n")


def test_a_connection_that_served_pages_may_become_a_websocket() -> None:
    site = FakeSite(children={"health": Health(dict)})
    browser = site.browser()
    for _ in range(3):
        assert browser.get("/health").status == 200
    browser.open()
    browser.send(TEXT, CONNECT)
    assert browser.expect(TEXT).payload.startswith(b"CONNECTED\n")


def test_a_page_and_a_websocket_may_be_asked_for_in_one_read() -> None:
    site = FakeSite(children={"health": Health(dict)})
    browser = site.browser()
    request = http_request("GET", "/health", {"Host": "localhost"})
    browser.socket.receive(request + upgrade_request() + ws_frame(TEXT, CONNECT))
    data = browser.socket.taken()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 101 Switching Protocols\r\n" in data
    assert b"CONNECTED\n" in data


def test_the_time_out_of_http_does_not_end_a_websocket() -> None:
    site = FakeSite(children={"health": Health(dict)})
    browser = site.browser()
    browser.get("/health")
    browser.open()
    browser.send(TEXT, CONNECT)
    browser.expect(TEXT)
    for _ in range(3600):
        site.clock.advance(1)
    assert browser.received() == []
    assert not browser.socket.is_closed


def test_the_time_out_of_http_ends_a_connection_that_asks_for_nothing(site: FakeSite) -> None:
    browser = site.browser()
    for _ in range(70):
        site.clock.advance(1)
    browser.socket.turn()
    assert browser.socket.is_closed


def test_a_connection_inside_another_protocol_becomes_a_websocket_too(site: FakeSite) -> None:
    # TLS is such a protocol: the channel's transport is the wrapper, not the socket.
    browser = site.browser()
    browser.socket = FakeSocket()
    browser.socket.connect(WrappingFactory(site.site).buildProtocol(browser.socket.peer))
    browser.open()
    browser.send(TEXT, CONNECT)
    assert browser.expect(TEXT).payload.startswith(b"CONNECTED\n")


def test_a_slow_answer_before_the_websocket_is_not_overtaken() -> None:
    site = FakeSite(children={"health": Health(lambda: {"text": "x" * 1000})})
    browser = site.browser()
    browser.socket.room = 10
    browser.socket.receive(http_request("GET", "/health", {"Host": "localhost"}))
    browser.socket.receive(upgrade_request() + ws_frame(TEXT, CONNECT))
    browser.socket.give_room()
    data = bytes(browser.socket.sent)
    assert data.index(b"HTTP/1.1 200") < data.index(b"HTTP/1.1 101") < data.index(b"CONNECTED\n")


# ---------------------------------------------------------------- who may


class Silent(Factory):
    """A target that says nothing."""

    @override
    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return Protocol()


def silent(target: Target, clock: Clock) -> IProtocolFactory:
    return Silent()


def ask(
    path: str,
    *rules: str,
    origin: str | None = None,
    host: str = "localhost:9000",
    origin_required: bool = False,
) -> Answer:
    """Ask a server that has these rules for a WebSocket."""
    site = FakeSite(rules=rules, wrap_target=silent, origin_required=origin_required)
    return site.browser().ask(upgrade_request(path, origin=origin, host=host))


RULE = "self -> irc.example:6667"


@pytest.mark.parametrize(
    "path, status",
    [
        ("/tcp/irc.example:6667", 101),
        ("/tcp/IRC.Example.:6667", 101),
        ("/tcp/irc.example:6668", 403),  # right host, wrong port
        ("/tcp/irc.example", 403),  # port 80
        ("/tcp/www.example:6667", 403),  # wrong host, right port
        ("/tcp/irc.example.evil.example:6667", 403),
        ("/tcp/evil-irc.example:6667", 403),
        ("/tcp/*:6667", 403),
        ("/tcp/irc.example:6667/more", 403),
        ("/tcp/irc.example%3a6667", 403),
        ("/tcp/irc%2eexample:6667", 403),
        ("/tcp/irc.example:6667%2f", 403),
        ("/tcp/irc.example:06667", 101),
        ("/tcp/irc.example:6667%00", 403),
        ("/tcp/irc.example:6667%20", 403),
        ("/tcp/%ff:6667", 403),
        ("/tcp/", 403),
        ("/tcp", 403),
        ("/tcp//irc.example:6667", 403),
    ],
)
def test_only_the_listed_target_is_reached(path: str, status: int) -> None:
    assert ask(path, RULE).status == status


@pytest.mark.parametrize(
    "rule, asked, status",
    [
        ("* -> localhost:61613", "localhost:61613", 101),
        ("* -> localhost:61613", "127.0.0.1:61613", 403),
        ("* -> localhost:61613", "[::1]:61613", 403),
        ("* -> 127.0.0.1:61613", "127.0.0.1:61613", 101),
        ("* -> 127.0.0.1:61613", "localhost:61613", 403),
        ("* -> 127.0.0.1:61613", "127.1:61613", 403),
        ("* -> 127.0.0.1:61613", "2130706433:61613", 403),
        ("* -> [::1]:61613", "[::1]:61613", 101),
        ("* -> [::1]:61613", "[0:0:0:0:0:0:0:1]:61613", 403),
        ("* -> [::1]:61613", "::1:61613", 403),
    ],
)
def test_a_name_is_not_its_address(rule: str, asked: str, status: int) -> None:
    assert ask(f"/tcp/{asked}", rule).status == status


@pytest.mark.parametrize(
    "source, origin, status",
    [
        ("self", "http://localhost:9000", 101),
        ("self", "https://localhost:9000", 101),
        ("self", "http://localhost:9001", 403),
        ("self", "http://127.0.0.1:9000", 403),
        ("self", "http://localhost", 403),
        ("self", "http://evil.example", 403),
        ("self", "null", 403),
        ("self", "", 403),
        ("self", None, 101),
        ("*", "http://evil.example", 101),
        ("*", "null", 101),
        ("*", None, 101),
        ("www.example", "http://www.example", 101),
        ("www.example", "https://www.example", 101),
        ("www.example", "http://www.example:8080", 403),
        ("www.example", "http://www.example.evil.example", 403),
        ("www.example", "http://evilwww.example", 403),
        ("www.example", None, 403),
        ("www.example:8080", "http://www.example:8080", 101),
        ("www.example:8080", "http://www.example", 403),
        ("[::1]:8080", "http://[::1]:8080", 101),
        ("[::1]:8080", "http://127.0.0.1:8080", 403),
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/tcp/localhost:61613"])
def test_only_the_listed_page_is_served(
    path: str, source: str, origin: str | None, status: int
) -> None:
    assert ask(path, f"{source} -> localhost:61613", origin=origin).status == status


def test_an_origin_in_two_headers_is_nobodys() -> None:
    request = upgrade_request(origin="http://localhost:9000")[:-2]
    request += b"Origin: http://evil.example\r\n\r\n"
    site = FakeSite(rules=["self -> localhost:61613", "evil.example -> localhost:61613"])
    assert site.browser().ask(request).status == 403


@pytest.mark.parametrize("path", ["/ws", "/tcp/localhost:61613"])
def test_a_request_without_origin_may_be_refused_by_configuration(path: str) -> None:
    rule = "* -> localhost:61613"
    assert ask(path, rule, origin_required=True).status == 403
    origin = "http://localhost:9000"
    assert ask(path, rule, origin=origin, origin_required=True).status == 101


def test_the_broker_is_open_to_whoever_may_reach_one_of_its_listeners() -> None:
    site = FakeSite(
        rules=["self -> 127.0.0.1:61613"], own_targets=["localhost:61613", "127.0.0.1:61613"]
    )
    own, foreign = "http://localhost:9000", "http://evil.example"
    assert site.browser().ask(upgrade_request(origin=own)).status == 101
    assert site.browser().ask(upgrade_request(origin=foreign)).status == 403


def test_a_rule_for_another_broker_does_not_open_ours() -> None:
    assert ask("/ws", "* -> localhost:61614").status == 403
    assert ask("/ws", "* -> broker.example:61613").status == 403


def test_without_a_stomp_listener_the_broker_is_closed(logs: Logs) -> None:
    site = FakeSite(rules=["* -> localhost:61613"], own_targets=[])
    assert site.browser().ask(upgrade_request()).status == 403
    assert "there is no stomp:// listener" in logs.text("warn")


def test_without_rules_nothing_is_reachable() -> None:
    assert ask("/ws").status == 403
    assert ask("/tcp/localhost:61613").status == 403


def test_a_path_that_does_not_say_whom_it_serves_serves_nobody() -> None:
    class Undecided(UpgradeResource):
        pass

    site = FakeSite(children={"new": Undecided()})
    assert site.browser().ask(upgrade_request("/new")).status == 403


def test_every_refusal_has_the_same_text() -> None:
    refusals = [
        ask("/tcp/irc.example:1", RULE),  # wrong port
        ask("/tcp/www.example:6667", RULE),  # wrong host
        ask("/tcp/irc.example:6667", RULE, origin="http://evil.example"),  # wrong page
        ask("/tcp/irc.example:6667", RULE, origin_required=True),  # no page
        ask("/tcp/not a target", RULE),
        ask("/tcp/", RULE),
        ask("/ws", RULE),
        ask("/ws", "self -> localhost:61613", origin="http://evil.example"),
    ]
    assert {answer.status for answer in refusals[:4]} == {403}
    del refusals[4]  # spaces end a path: that one is no request at all
    assert {answer.status for answer in refusals} == {403}
    assert len({answer.body for answer in refusals}) == 1
    alike = [{k: v for k, v in each.headers.items() if k != "date"} for each in refusals]
    assert all(each == alike[0] for each in alike)


def test_a_refusal_comes_before_the_upgrade_and_before_any_other_answer() -> None:
    # Whoever may not come learns nothing of how the handshake would have gone.
    assert ask("/tcp/irc.example:1", RULE).status == 403
    site = FakeSite(rules=[RULE])
    answer = site.browser().ask(upgrade_request("/tcp/irc.example:1", upgrade=None))
    assert answer.status == 403


@pytest.mark.parametrize(
    "path, origin, why",
    [
        ("/tcp/irc.example:1", None, "no rule names this target"),
        ("/tcp/irc.example:6667", "http://evil.example", "no rule lets this source reach it"),
        ("/tcp/a_*", None, "not HOST:PORT"),
    ],
)
def test_the_log_says_why_and_from_where(
    logs: Logs, path: str, origin: str | None, why: str
) -> None:
    ask(path, RULE, origin=origin)
    (line,) = logs.lines("warn")
    assert line.startswith(f"192.0.2.1:54321: refused {path}: ")
    assert why in line


def test_a_refused_path_cannot_forge_a_line_of_the_log(logs: Logs) -> None:
    ask("/tcp/x%0a2026-01-01:forged", RULE)
    (line,) = logs.lines("warn")
    assert "\n" not in line


def test_a_closed_websocket_leaves_the_browser_nothing_of_http(site: FakeSite) -> None:
    browser = site.browser().open()
    browser.send(CLOSE)
    assert browser.socket.is_closed
    assert isinstance(browser.socket, FakeSocket)
    assert site.clock.getDelayedCalls() == []
