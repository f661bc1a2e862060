"""A request's target in every form, its Host, its body, and the words of its status."""

from __future__ import annotations

import pytest
from support.net import FakeBrowser
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import Request

from rtchat.core.access.hosts import HostList
from rtchat.net.web.page_request import MAX_BODY_BYTES
from rtchat.net.web.requests import RefusalPage
from rtchat.net.web.site import PageSite


class Echo(Resource):
    """Answers with what it was asked."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        host = request.getHeader(b"Host") or b"none"
        return b" ".join((host, request.uri, *request.args.get(b"q", [])))


@pytest.fixture
def browser() -> FakeBrowser:
    root = Resource()
    root.putChild(b"echo", Echo())
    for status in (421, 426, 429, 404):
        root.putChild(b"%d" % status, RefusalPage(status, "No.\n"))
    return FakeBrowser(PageSite(root, HostList(["chat.example"]), Clock()))


def head(target: str, *hosts: str, version: str = "1.1") -> bytes:
    lines = [f"GET {target} HTTP/{version}", *(f"Host: {host}" for host in hosts)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    "request_, said",
    [
        (head("/echo", "localhost"), "localhost /echo"),
        (head("/echo", "localhost:"), "localhost: /echo"),
        (head("/echo", "LOCALHOST.:9000"), "LOCALHOST.:9000 /echo"),
        (head("/echo", version="1.0"), "none /echo"),
        # "A server MUST accept the absolute-form", and take the host from it.
        (head("http://localhost/echo", "localhost"), "localhost /echo"),
        (head("http://chat.example:9000/echo", "localhost"), "chat.example:9000 /echo"),
        (head("HTTPS://chat.example/echo?q=a/b", "evil.example"), "chat.example /echo?q=a/b a/b"),
        (head("http://localhost/echo", version="1.0"), "localhost /echo"),
    ],
)
def test_a_target_in_any_form_is_found(browser: FakeBrowser, request_: bytes, said: str) -> None:
    answer = browser.ask(request_)
    assert (answer.status, answer.text) == (200, said)


@pytest.mark.parametrize(
    "request_",
    [
        head("/echo"),
        head("/echo", "localhost", "localhost"),
        head("/echo", "localhost", "evil.example"),
        head("/echo", "localhost", "localhost", version="1.0"),
        head("/echo", ""),
        head("/echo", "a b"),
        head("/echo", "é"),
        head("/echo", "me@localhost"),
        head("/echo", "[::1"),
        head("/echo", "localhost:http"),
        head("http://localhost/echo"),
        head("http://localhost/echo", "localhost", "localhost"),
        head("http:///echo", "localhost"),
        head("http://me@localhost/echo", "localhost"),
        head("ftp://localhost/echo", "localhost"),
        head("echo", "localhost"),
        head("localhost:80", "localhost"),
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        head("*", "localhost"),
    ],
)
def test_a_request_without_one_good_host_or_target_is_400(
    browser: FakeBrowser, request_: bytes
) -> None:
    answer = browser.ask(request_)
    assert answer.status == 400
    assert answer.text.startswith("This is no request of HTTP/1.1: ")


@pytest.mark.parametrize(
    "target", ["http://evil.example/echo", "https://evil.example:9000/echo", "http://evil.example"]
)
def test_a_target_at_another_server_is_misdirected(browser: FakeBrowser, target: str) -> None:
    assert browser.ask(head(target, "localhost")).status == 421


def test_options_for_the_whole_server_is_answered(browser: FakeBrowser) -> None:
    answer = browser.ask(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (answer.status, answer.headers["allow"]) == (200, "GET, HEAD, OPTIONS")
    assert answer.headers["server"] == "rtchat"


@pytest.mark.parametrize(
    "status, words",
    [
        (421, "Misdirected Request"),
        (426, "Upgrade Required"),
        (429, "Too Many Requests"),
        (404, "Not Found"),
    ],
)
def test_every_status_has_its_words(browser: FakeBrowser, status: int, words: str) -> None:
    browser.socket.receive(head(f"/{status}", "localhost"))
    assert browser.socket.taken().startswith(f"HTTP/1.1 {status} {words}\r\n".encode())


def chunked(*sizes: int) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in (*sizes, 0))
    return b"GET /echo HTTP/1.1\r\nHost: x:1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


@pytest.mark.parametrize("sizes", [(), (1,), (MAX_BODY_BYTES,), (100,) * 100])
def test_a_body_in_chunks_is_taken(browser: FakeBrowser, sizes: tuple[int, ...]) -> None:
    for _ in range(2):
        answer = browser.ask(chunked(*sizes).replace(b"x:1", b"localhost"))
        assert (answer.status, answer.text) == (200, "localhost /echo")


@pytest.mark.parametrize("sizes", [(MAX_BODY_BYTES + 1,), (MAX_BODY_BYTES, 1), (9000,) * 9])
@pytest.mark.parametrize("piece", [1 << 20, 1000])
def test_a_body_in_too_many_chunks_is_413(
    browser: FakeBrowser, sizes: tuple[int, ...], piece: int
) -> None:
    data = chunked(*sizes).replace(b"x:1", b"localhost")
    for start in range(0, len(data), piece):
        if not browser.socket.is_closed and browser.socket.is_reading:
            browser.socket.receive(data[start : start + piece])
            browser.clock.advance(0)
    sent = browser.socket.taken()
    assert sent.startswith(b"HTTP/1.1 413 ")
    assert sent.count(b"HTTP/1.1 ") == 1
    assert browser.socket.is_closed
