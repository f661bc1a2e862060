"""Fetching a document from a real web server: what is read, and what ends it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.certificate import Certificate
from support.http_site import Site, answer, site
from support.logs import captured_logs
from support.real_reactor import RealReactor, real_reactor
from twisted.internet.defer import CancelledError
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.task import Clock
from twisted.web.client import BrowserLikePolicyForHTTPS

from rtchat.net.auth.fetching import Fetcher, check_url

MAX_BYTES = 100 * 1024


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealReactor]:
    with real_reactor(monkeypatch) as real:
        yield real


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as web:
        yield web


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fetcher(real: RealReactor, clock: Clock) -> Fetcher:
    return Fetcher(real.reactor, clock, max_bytes=MAX_BYTES, timeout_s=10)


def why(real: RealReactor, fetcher: Fetcher, url: str) -> str:
    with pytest.raises(ValueError, match=r".") as error:
        real.wait(fetcher.fetch(url))
    return str(error.value)


def connections(real: RealReactor) -> int:
    """Return how many sockets the reactor looks at, its own waker apart."""
    reactor = real.reactor
    return len(set(reactor.getReaders()) - reactor._internalReaders) + len(reactor.getWriters())


# ---------------------------------------------------------------- what is read


def test_a_document_is_fetched(real: RealReactor, web: Site, fetcher: Fetcher) -> None:
    web.answers = answer(b"hello")
    assert real.wait(fetcher.fetch(web.url)) == b"hello"
    [request] = web.requests
    assert request.startswith("GET /keys HTTP/1.1\r\n")
    assert "User-Agent: rtchat\r\n" in request
    assert "Cookie" not in request
    assert "Accept-Encoding" not in request
    real.turn_until(lambda: web.ended == 1 and connections(real) == 0)


def test_the_log_says_nothing_of_connections(
    real: RealReactor, web: Site, fetcher: Fetcher
) -> None:
    web.answers = answer(b"hello")
    with captured_logs() as logs:
        real.wait(fetcher.fetch(web.url))
        real.turn_until(lambda: web.ended == 1 and connections(real) == 0)
    assert logs.lines() == []


def test_the_largest_document_is_read(real: RealReactor, web: Site, fetcher: Fetcher) -> None:
    web.answers = answer(b"x" * MAX_BYTES)
    assert len(real.wait(fetcher.fetch(web.url))) == MAX_BYTES


def test_chunks_are_read(real: RealReactor, web: Site, fetcher: Fetcher) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    web.answers = head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert real.wait(fetcher.fetch(web.url)) == b"abcde"


def test_the_end_of_the_connection_may_end_a_document(
    real: RealReactor, web: Site, fetcher: Fetcher
) -> None:
    web.answers = b"HTTP/1.0 200 OK\r\n\r\nabc"
    assert real.wait(fetcher.fetch(web.url)) == b"abc"


def test_a_name_is_resolved(real: RealReactor, web: Site, fetcher: Fetcher) -> None:
    web.answers = answer(b"hello")
    assert real.wait(fetcher.fetch(web.url.replace("127.0.0.1", "localhost"))) == b"hello"


# ---------------------------------------------------------------- what is not


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 T", "308 P"])
def test_no_redirect_is_followed(
    real: RealReactor, web: Site, fetcher: Fetcher, status: str
) -> None:
    with site() as other:
        web.answers = answer(b"go", status, f"Location: {other.url}")
        code = status.partition(" ")[0]
        problem = f"the site redirects ({code}); write the final address"
        assert why(real, fetcher, web.url) == problem
        assert other.requests == []
    real.turn_until(lambda: connections(real) == 0)


@pytest.mark.parametrize("status", ["204 No", "206 Part", "401 Who", "404 Not", "500 No", "503 N"])
def test_only_200_is_an_answer(real: RealReactor, web: Site, fetcher: Fetcher, status: str) -> None:
    web.answers = answer(b"" if status == "204 No" else b'{"keys": []}', status)
    assert why(real, fetcher, web.url) == f"the site answers with status {status[:3]}"
    real.turn_until(lambda: connections(real) == 0)


@pytest.mark.parametrize("form", ["length", "chunked", "until closed"])
def test_what_is_too_large_is_cut(
    real: RealReactor, web: Site, fetcher: Fetcher, form: str
) -> None:
    head = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "until closed": b"HTTP/1.0 200 OK\r\n\r\n",
    }[form]
    piece = b"x" * 10_000
    sent = 0

    def endless(client: socket.socket) -> None:
        nonlocal sent
        client.sendall(head)
        while True:
            client.sendall(b"2710\r\n" + piece + b"\r\n" if form == "chunked" else piece)
            sent += len(piece)

    web.answers = endless
    assert why(real, fetcher, web.url) == "the document has more than 100 KiB"
    real.turn_until(lambda: web.ended == 1 and connections(real) == 0)
    assert sent < 50_000_000


def test_an_error_is_not_read_to_its_end(real: RealReactor, web: Site, fetcher: Fetcher) -> None:
    def endless(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 404 Not\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            client.sendall(b"x" * 10_000)

    web.answers = endless
    assert why(real, fetcher, web.url) == "the site answers with status 404"
    real.turn_until(lambda: web.ended == 1 and connections(real) == 0)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
def test_an_answer_that_breaks_off_is_none(
    real: RealReactor, web: Site, fetcher: Fetcher, reply: bytes
) -> None:
    web.answers = reply
    assert why(real, fetcher, web.url)
    real.turn_until(lambda: connections(real) == 0)


@pytest.mark.parametrize("reply", [b"hello\r\n\r\n", b"HTTP/1.1 two\r\n\r\n", b"\x00" * 100])
def test_what_is_no_http_is_no_answer(
    real: RealReactor, web: Site, fetcher: Fetcher, reply: bytes
) -> None:
    web.answers = reply
    assert why(real, fetcher, web.url)
    real.turn_until(lambda: connections(real) == 0)


def test_a_site_that_is_down_is_said(real: RealReactor, web: Site, fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in why(real, fetcher, f"http://127.0.0.1:{port}/keys")


# ---------------------------------------------------------------- what takes too long

SLOW = {
    "silent": b"",
    "in the head": b"HTTP/1.1 200 OK\r\n",
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    "in an endless body": b"HTTP/1.1 200 OK\r\n\r\nabc",
}


class Slow:
    """A fetch of a document that will never be complete, once its beginning is there."""

    def __init__(self, real: RealReactor, web: Site, fetcher: Fetcher, begin: bytes) -> None:
        web.answers = partial(_begin_only, begin)
        self.results: list[Any] = []
        self.fetched = fetcher.fetch(web.url)
        self.fetched.addBoth(self.results.append)
        real.turn_until(lambda: len(web.requests) == 1)
        for _ in range(5):
            real.reactor.iterate(0.01)
        assert self.results == []


def _begin_only(begin: bytes, client: socket.socket) -> None:
    client.sendall(begin)
    while client.recv(1000):
        pass


@pytest.mark.parametrize("where", SLOW)
def test_a_slow_site_has_its_time(
    real: RealReactor, web: Site, fetcher: Fetcher, clock: Clock, where: str
) -> None:
    slow = Slow(real, web, fetcher, SLOW[where])
    clock.advance(9.9)
    assert slow.results == []
    clock.advance(0.1)
    assert [str(one.value) for one in slow.results] == ["no complete answer within 10 s"]
    real.turn_until(lambda: web.ended == 1 and connections(real) == 0)
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("where", SLOW)
def test_a_fetch_may_be_cancelled(
    real: RealReactor, web: Site, fetcher: Fetcher, clock: Clock, where: str
) -> None:
    slow = Slow(real, web, fetcher, SLOW[where])
    slow.fetched.cancel()
    assert slow.results[0].check(CancelledError)
    real.turn_until(lambda: web.ended == 1 and connections(real) == 0)
    assert clock.getDelayedCalls() == []


def test_a_site_that_takes_no_connection_has_its_time(
    real: RealReactor, fetcher: Fetcher, clock: Clock
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.socket() as first, socket.socket() as second:
            for client in (first, second):
                client.setblocking(False)
                client.connect_ex(address)
            fetched = fetcher.fetch(f"http://127.0.0.1:{address[1]}/")
            for _ in range(5):
                real.reactor.iterate(0.01)
            clock.advance(10)
            with pytest.raises(ValueError, match=r"^no complete answer within 10 s$"):
                real.wait(fetched)
            real.turn_until(lambda: connections(real) == 0)


# ---------------------------------------------------------------- https


def with_trust(real: RealReactor, clock: Clock, trusted: Certificate) -> Fetcher:
    root = TwistedCertificate.loadPEM(trusted.pem)
    policy = BrowserLikePolicyForHTTPS(trustRoot=root)
    return Fetcher(real.reactor, clock, max_bytes=MAX_BYTES, timeout_s=10, policy=policy)


def test_a_site_shows_who_it_is(real: RealReactor, clock: Clock) -> None:
    certificate = Certificate.make()
    fetcher = with_trust(real, clock, certificate)
    with site(certificate.shown()) as web:
        web.answers = answer(b"hello")
        for host in ("127.0.0.1", "localhost"):
            url = web.url.replace("127.0.0.1", host)
            assert real.wait(fetcher.fetch(url)) == b"hello"
        real.turn_until(lambda: web.ended == 2 and connections(real) == 0)


def test_an_authority_of_ones_own_is_named_to_openssl(
    real: RealReactor, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate.make()
    path, _ = certificate.write(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with site(certificate.shown()) as web:
        web.answers = answer(b"hello")
        assert real.wait(fetcher.fetch(web.url)) == b"hello"


def test_a_certificate_that_is_not_trusted_is_refused(real: RealReactor, clock: Clock) -> None:
    for fetcher in (
        with_trust(real, clock, Certificate.make()),
        Fetcher(real.reactor, clock, max_bytes=MAX_BYTES, timeout_s=10),
    ):
        with site(Certificate.make().shown()) as web:
            web.answers = answer(b"forged")
            assert "certificate verify failed" in why(real, fetcher, web.url)
            real.turn_until(lambda: connections(real) == 0)
            assert web.requests == []


def test_a_certificate_for_another_name_is_refused(real: RealReactor, clock: Clock) -> None:
    certificate = Certificate.make()
    fetcher = with_trust(real, clock, certificate)
    with site(certificate.shown(), host="127.0.0.2") as web:
        web.answers = answer(b"forged")
        assert re.search("VerificationError|mismatch", why(real, fetcher, web.url))
        assert web.requests == []
        real.turn_until(lambda: connections(real) == 0)


def test_a_slow_site_with_encryption_is_cut_as_well(real: RealReactor, clock: Clock) -> None:
    certificate = Certificate.make()
    fetcher = with_trust(real, clock, certificate)
    with site(certificate.shown()) as web:
        slow = Slow(real, web, fetcher, SLOW["in the body"])
        clock.advance(10)
        assert [str(one.value) for one in slow.results] == ["no complete answer within 10 s"]
        real.turn_until(lambda: web.ended == 1 and connections(real) == 0)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example/.well-known/jwks.json",
        "https://id.example:8443/keys?x=1",
        "https://192.0.2.1/keys",
        "https://[2001:db8::1]/keys",
        "http://127.0.0.1:8000/keys",
        "http://127.5.5.5/",
        "http://localhost/keys",
        "http://[::1]:80/keys",
    ],
)
def test_keys_may_come_from_https_and_from_this_machine(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url, problem",
    [
        ("", "is not a web address; write https://HOST/PATH"),
        ("keys.json", "is not a web address; write https://HOST/PATH"),
        ("https://", "is not a web address; write https://HOST/PATH"),
        ("ftp://id.example/", "is not a web address; write https://HOST/PATH"),
        ("file:///etc/keys", "is not a web address; write https://HOST/PATH"),
        ("https://[::1/", "is not a URL; write https://HOST/PATH"),
        ("https://id.example:x/", "is not a URL; write https://HOST/PATH"),
        ("https://id.example:99999/", "is not a URL; write https://HOST/PATH"),
        ("https://bücher.example/", "has characters that a URL cannot have; escape them"),
        ("https://id.example/a b", "has characters that a URL cannot have; escape them"),
        ("https://id.example/a\x7f", "has characters that a URL cannot have; escape them"),
        ("https://u:p@id.example/", "has a user's name in it; remove it"),
        ("https://@id.example/", "has a user's name in it; remove it"),
        ("https://id.example/#a", "has a part after #; remove it"),
        (
            "http://id.example/",
            "is not encrypted: keys could be forged on the way; write https://…",
        ),
        ("http://10.0.0.1/", "is not encrypted: keys could be forged on the way; write https://…"),
        (
            "http://127.0.0.1.example/",
            "is not encrypted: keys could be forged on the way; write https://…",
        ),
        (
            "http://localhost.example/",
            "is not encrypted: keys could be forged on the way; write https://…",
        ),
    ],
)
def test_keys_come_from_nowhere_else(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        check_url(url)
