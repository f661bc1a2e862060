"""A hook over HTTP, with a real server."""

from __future__ import annotations

import gzip
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.certificate import write_certificate
from support.hook_site import HookSite, Received, run_on_reactor, sleep
from support.logs import captured_logs
from twisted.internet.defer import gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from typing_extensions import override

from rtchat.net.auth.hooks.answers import Answer, BrokenAnswer, HookFailed
from rtchat.net.auth.hooks.client import MAX_ANSWER_BYTES
from rtchat.net.auth.hooks.hooks import Hooks
from rtchat.net.auth.hooks.http import HttpHook
from rtchat.net.auth.hooks.visitor import Event, Facts

FACTS = Facts("192.0.2.7", user="anna", headers={"destination": "/topic/chat"}, body=b"hello")

Answering = Callable[[Any, Received], object]


def ask(
    answer: Answering, event: Event = "send", facts: Facts = FACTS, **options: Any
) -> tuple[Answer, list[Received]]:
    """Ask a site once."""

    async def main(reactor: Any) -> tuple[Answer, list[Received]]:
        site = HookSite(reactor, answer)
        hook = HttpHook(reactor, f"{site.url}/hook", **options)
        result = await hook.call(event, facts, "s1", "d1").answer
        hook.close()
        return result, site.received

    return run_on_reactor(main)


def failure(answer: Answering, event: Event = "send") -> HookFailed:
    """Ask a site once, and return how that has failed."""
    with pytest.raises(HookFailed) as failed:
        ask(answer, event)
    return failed.value


def status(code: int, body: bytes = b"{}", **headers: str) -> Answering:
    """Answer with a status."""

    def answer(request: Any, _received: Received) -> object:
        request.setResponseCode(code)
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        return body

    return answer


def test_a_question_and_its_answer() -> None:
    answer, (received,) = ask(lambda *_: {"body": "HELLO"})
    assert answer.is_allowed
    assert answer.body == b"HELLO"
    assert received.method == "POST"
    assert received.path == "/hook"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["x-rtchat-delivery"] == "d1"
    assert "x-rtchat-signature" not in received.headers
    assert "cookie" not in received.headers
    assert received.json == {
        "event": "send",
        "session": "s1",
        "source": "192.0.2.7",
        "username": "anna",
        "destination": "/topic/chat",
        "body": "hello",
    }


def test_the_signature_is_an_hmac_of_the_very_bytes() -> None:
    _, (received,) = ask(lambda *_: {}, secret=b"a shared secret")
    digest = hmac.new(b"a shared secret", received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-rtchat-signature"] == f"sha256={digest}"


def test_a_new_secret_signs_the_next_request() -> None:
    async def main(reactor: Any) -> list[Received]:
        site = HookSite(reactor)
        hook = HttpHook(reactor, site.url, secret=b"old")
        await hook.call("send", FACTS, "s", "1").answer
        hook.renew(b"new")
        await hook.call("send", FACTS, "s", "2").answer
        hook.close()
        return site.received

    for secret, received in zip((b"old", b"new"), run_on_reactor(main), strict=True):
        digest = hmac.new(secret, received.body, hashlib.sha256).hexdigest()
        assert received.headers["x-rtchat-signature"] == f"sha256={digest}"


def test_no_redirect_is_followed() -> None:
    failed = failure(status(302, location="/elsewhere"))
    assert failed.kind == "status 302"
    assert "redirect, which is not followed" in failed.detail
    assert not failed.is_untold


@pytest.mark.parametrize("code", [307, 308])
def test_nor_one_that_keeps_the_method(code: int) -> None:
    with pytest.raises(HookFailed):
        ask(status(code, location="/elsewhere"))


@pytest.mark.parametrize("code", [401, 403])
def test_a_site_that_says_no_by_status_refuses(code: int) -> None:
    answer, _ = ask(status(code, b"<h1>Log in first</h1>"))
    assert not answer.is_allowed
    assert answer.reason == f"the hook has answered with status {code}"


def test_status_204_allows() -> None:
    answer, _ = ask(status(204, b""))
    assert answer == Answer()


@pytest.mark.parametrize("code, is_untold", [(500, False), (404, False), (201, False), (503, True)])
def test_another_status_is_a_failure(code: int, is_untold: bool) -> None:
    failed = failure(status(code))
    assert failed.kind == f"status {code}"
    assert failed.is_untold == is_untold


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b"null", b"\xff", b'{"allow": "maybe"}'])
def test_an_answer_that_is_not_valid_is_a_failure(body: bytes) -> None:
    failed = failure(lambda *_: body)
    assert isinstance(failed, BrokenAnswer)


def test_what_is_told_may_be_answered_with_anything() -> None:
    answer, _ = ask(status(202, b"thanks"), "disconnect")
    assert answer == Answer()


class Flood:
    """Writes an answer without end, as long as the other side takes it."""

    def __init__(self, reactor: Any, request: Any) -> None:
        self.written = 0
        self.is_cut = False
        self._reactor = reactor
        self._request = request
        request.notifyFinish().addErrback(self._cut)
        self._write()

    def _cut(self, _reason: object) -> None:
        self.is_cut = True

    def _write(self) -> None:
        if not self.is_cut:
            self.written += 1 << 14
            self._request.write(b" " * (1 << 14))
            self._reactor.callLater(0.001, self._write)


@pytest.mark.parametrize("has_length", [True, False])
def test_a_large_answer_is_a_failure_and_is_not_read_to_its_end(has_length: bool) -> None:
    floods: list[Flood] = []

    async def main(reactor: Any) -> None:
        def answer(request: Any, _received: Received) -> object:
            if has_length:
                request.setHeader("content-length", str(10**9))
            floods.append(Flood(reactor, request))
            return None

        hook = HttpHook(reactor, HookSite(reactor, answer).url)
        with pytest.raises(BrokenAnswer, match=f"longer than {MAX_ANSWER_BYTES} bytes"):
            await hook.call("send", FACTS, "s", "1").answer
        while not floods[0].is_cut:
            await sleep(reactor, 0.005)

    run_on_reactor(main)
    assert floods[0].written < 100 * MAX_ANSWER_BYTES


def test_the_longest_answer_is_taken() -> None:
    body = b'{"allow": "yes"}'.ljust(MAX_ANSWER_BYTES)
    answer, _ = ask(lambda *_: body)
    assert answer == Answer()


def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    failed = failure(status(200, bomb, content_encoding="gzip"))
    assert "compressed" in failed.detail


def test_compression_is_not_asked_for() -> None:
    _, (received,) = ask(status(200, b"{}", content_encoding="identity"))
    assert received.headers["accept-encoding"] == "identity"


def test_a_connection_is_used_again() -> None:
    async def main(reactor: Any) -> list[Received]:
        site = HookSite(reactor)
        hook = HttpHook(reactor, site.url)
        for number in range(5):
            await hook.call("send", FACTS, "s", str(number)).answer
        site.answer = status(403)
        await hook.call("send", FACTS, "s", "5").answer
        await hook.call("send", FACTS, "s", "6").answer
        hook.close()
        return site.received

    received = run_on_reactor(main)
    assert len(received) == 7
    assert len({one.port for one in received}) == 1


def test_the_log_says_nothing_of_connections() -> None:
    with captured_logs() as logs:
        ask(status(200))
    assert "HTTP11ClientFactory" not in logs.text()


def test_no_cookie_of_an_answer_is_kept() -> None:
    async def main(reactor: Any) -> list[Received]:
        site = HookSite(reactor, status(200, b"{}", set_cookie="session=annas; Path=/"))
        hook = HttpHook(reactor, site.url)
        for number in range(3):
            await hook.call("connect", FACTS, f"s{number}", str(number)).answer
        hook.close()
        return site.received

    assert all("cookie" not in one.headers for one in run_on_reactor(main))


def test_a_refused_connection_is_said_and_nothing_was_told() -> None:
    async def main(reactor: Any) -> HookFailed:
        site = HookSite(reactor)
        await site.port.stopListening()
        hook = HttpHook(reactor, f"{site.url}/path?key=secret")
        with pytest.raises(HookFailed) as failed:
            await hook.call("disconnect", FACTS, "s", "1").answer
        return failed.value

    failed = run_on_reactor(main)
    assert failed.kind == "connection refused"
    assert failed.is_untold
    assert "/path refuses connections" in failed.detail
    assert "secret" not in failed.detail


class Raw(Protocol):
    """Plays a server that is none: answers each connection with some bytes, and may close it."""

    def __init__(self, factory: RawServer) -> None:
        self._factory = factory

    @override
    def connectionMade(self) -> None:
        self._factory.connections += 1

    @override
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self._factory.data)
        if self._factory.closes:
            self.transport.loseConnection()


class RawServer(Factory):
    """What :class:`Raw` answers."""

    noisy = False

    def __init__(self, reactor: Any, data: bytes, closes: bool = True) -> None:
        self.data = data
        self.closes = closes
        self.connections = 0
        port = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{port.getHost().port}"

    @override
    def buildProtocol(self, addr: object) -> Raw:
        return Raw(self)


def raw(data: bytes, event: Event = "send", closes: bool = True) -> tuple[HookFailed, int]:
    """Return how a hook fails with a server that answers with these bytes."""

    async def main(reactor: Any) -> tuple[HookFailed, int]:
        server = RawServer(reactor, data, closes)
        hook = HttpHook(reactor, server.url)
        with pytest.raises(HookFailed) as failed:
            await hook.call(event, FACTS, "s", "1").answer
        return failed.value, server.connections

    return run_on_reactor(main)


def test_what_is_not_http_is_a_failure() -> None:
    failed, _ = raw(b"SSH-2.0-OpenSSH\r\n")
    assert failed.kind == "an answer that is not HTTP"


def test_an_answer_that_breaks_off_is_a_failure() -> None:
    failed, connections = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
    assert failed.kind == "an answer that breaks off"
    assert connections == 1


def test_a_question_is_put_again_once_if_the_connection_is_lost() -> None:
    failed, connections = raw(b"")
    assert failed.kind == "connection lost"
    assert connections == 2


def test_what_is_told_is_not_told_again_if_the_connection_is_lost() -> None:
    failed, connections = raw(b"", "disconnect")
    assert failed.kind == "connection lost"
    assert not failed.is_untold
    assert connections == 1


def test_an_old_server_that_closes_the_connection_is_understood() -> None:
    async def main(reactor: Any) -> Answer:
        server = RawServer(reactor, b'HTTP/1.0 200 OK\r\n\r\n{"body": "from 2010"}')
        hook = HttpHook(reactor, server.url)
        return await hook.call("send", FACTS, "s", "1").answer

    assert run_on_reactor(main).body == b"from 2010"


def test_a_server_that_closes_each_connection_is_told_everything() -> None:
    """It does not say that it will, so the connection looks as if it could be used again."""

    async def main(reactor: Any) -> int:
        server = RawServer(reactor, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        hook = HttpHook(reactor, server.url)
        for event in ("connect", "unsubscribe", "subscribe", "disconnect"):
            await hook.call(event, FACTS, "s", event).answer
        return server.connections

    assert run_on_reactor(main) == 4


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_a_slow_answer_is_given_up_and_the_connection_closed(data: bytes) -> None:
    async def main(reactor: Any) -> Answer:
        server = RawServer(reactor, data, closes=False)
        hook = HttpHook(reactor, server.url, timeout_s=0.2)
        hooks = Hooks(hook, clock=reactor, wall_s=reactor.seconds, timeout_s=0.2)
        answer = await hooks.ask("send", FACTS, "s")
        assert hooks.problem().endswith("no answer in 0.2 s")
        while len(reactor.getReaders()) > 2:
            await sleep(reactor, 0.01)
        assert server.connections == 1
        hooks.close()
        return answer

    answer = run_on_reactor(main)
    assert not answer.is_allowed
    assert answer.is_failure


def test_so_many_requests_at_a_time() -> None:
    """A hundred sessions ask; five are being asked, the others follow."""

    async def main(reactor: Any) -> None:
        running: list[Any] = []
        most = 0

        def answer(request: Any, _received: Received) -> object:
            nonlocal most
            running.append(request)
            most = max(most, len(running))
            reactor.callLater(0.002, finish, request)
            return None

        def finish(request: Any) -> None:
            running.remove(request)
            request.write(b"{}")
            request.finish()

        site = HookSite(reactor, answer)
        hook = HttpHook(reactor, site.url, max_connections=5)
        hooks = Hooks(hook, clock=reactor, wall_s=reactor.seconds, max_calls=5)
        answers = [
            hooks.ask("connect", Facts(f"192.0.2.{number}"), f"s{number}") for number in range(100)
        ]
        assert all(one.is_allowed for one in await gatherResults(answers))
        assert most == 5
        assert len({one.port for one in site.received}) == 5
        hooks.close()

    run_on_reactor(main)


def test_events_are_told_when_the_site_is_there_again() -> None:
    """What is told reaches the site once, in order; the log has a line for each change."""

    async def main(reactor: Any) -> list[str]:
        site = HookSite(reactor)
        address = site.port.getHost()
        await site.port.stopListening()
        hook = HttpHook(reactor, site.url)
        hooks = Hooks(hook, clock=reactor, wall_s=reactor.seconds)
        hooks.tell("unsubscribe", FACTS, "s1")
        hooks.tell("disconnect", FACTS, "s1")
        hooks.tell("disconnect", FACTS, "s2")
        while not hooks.problem():
            await sleep(reactor, 0.01)
        assert hooks.problem().endswith("connection refused; events still to be told: 3")
        reactor.listenTCP(address.port, site.port.factory, interface="127.0.0.1")
        await hooks.drain()
        assert hooks.problem() == ""
        hooks.close()
        return [f"{one.json['event']} {one.json['session']}" for one in site.received]

    with captured_logs() as logs:
        told = run_on_reactor(main)
    assert sorted(told) == ["disconnect s1", "disconnect s2", "unsubscribe s1"]
    assert told.index("unsubscribe s1") < told.index("disconnect s1")
    down, back = [line for line in logs.lines() if line.startswith("The hook")]
    assert "is down" in down
    assert "refuses connections. What it is asked is refused." in down
    assert "answers again" in back


def test_an_event_has_a_url_of_its_own() -> None:
    async def main(reactor: Any) -> list[str]:
        site = HookSite(reactor)
        hook = HttpHook(reactor, f"{site.url}/on/{{event}}?x=1")
        assert hook.where.endswith("/on/{event}")
        for event in ("connect", "send"):
            await hook.call(event, FACTS, "s", event).answer
        hook.close()
        return [one.path for one in site.received]

    assert run_on_reactor(main) == ["/on/connect?x=1", "/on/send?x=1"]


def test_a_key_that_means_nothing_is_said_once() -> None:
    async def main(reactor: Any) -> None:
        hook = HttpHook(reactor, HookSite(reactor, lambda *_: {"alow": "no"}).url)
        for number in range(3):
            assert (await hook.call("send", FACTS, "s", str(number)).answer).is_allowed
        hook.close()

    with captured_logs() as logs:
        run_on_reactor(main)
    (line,) = [line for line in logs.lines() if "means nothing" in line]
    assert "the key alow" in line


def restq(reactor: Any, events: dict[str, str]) -> HookSite:
    """Return a site that speaks as controllers of RestQ did."""

    def answer(_request: Any, received: Received) -> object:
        path = received.path
        if path == "/":
            return events
        said = received.json
        if path == "/connect" and said["username"] == "mallory":
            return {"allow": "no"}
        if path == "/send":
            return {"body": said["body"].replace("apples", "bananas")}
        if path == "/subscribe" and said["destination"] == "auto":
            return {"autosubscribe": ["room1", "room2"]}
        return {}

    return HookSite(reactor, answer)


def test_a_controller_of_restq_says_where_events_go() -> None:
    async def main(reactor: Any) -> list[Received]:
        site = restq(reactor, {"connect": "/connect", "send": "", "subscribe": "/subscribe"})
        site_events = {"connect": f"{site.url}/connect", "subscribe": "/subscribe", "send": "/send"}
        inner = site.answer
        site.answer = lambda request, one: site_events if one.path == "/" else inner(request, one)
        hook = HttpHook(reactor, f"restq+{site.url}/", secret=b"s")
        connecting = Facts("", login="anna", password="pw")
        answers = [
            hook.call("connect", connecting, "s1", "1").answer,
            hook.call("connect", Facts("", login="mallory"), "s2", "2").answer,
            hook.call(
                "send", Facts("", headers={"destination": "a"}, body=b"apples"), "s", "3"
            ).answer,
            hook.call("subscribe", Facts("", headers={"destination": "auto"}), "s", "4").answer,
            hook.call("disconnect", Facts("", user="anna"), "s1", "5").answer,
        ]
        connected, refused, sent, subscribed, disconnected = await gatherResults(answers)
        assert connected.identity.user == "anna"
        assert not refused.is_allowed
        assert sent.body == b"bananas"
        assert subscribed.autosubscribe == ("room1", "room2")
        assert disconnected.is_allowed
        hook.close()
        return site.received

    first, *others = run_on_reactor(main)
    assert (first.method, first.path) == ("GET", "/")
    assert sorted(one.path for one in others) == ["/connect", "/connect", "/send", "/subscribe"]
    (connect,) = [one for one in others if b'"anna"' in one.body]
    assert connect.json["password"] == "pw"


def test_a_login_is_no_user_unless_the_site_is_a_controller_of_restq() -> None:
    answer, _ = ask(lambda *_: {}, "connect", Facts("", login="admin", password="x"))
    assert answer.identity.user == ""


def test_a_login_is_no_user_where_the_server_knows_the_user() -> None:
    """A client with the cookie or token of one user may write any login in CONNECT."""

    async def main(reactor: Any) -> None:
        site = HookSite(reactor, lambda *_: {})
        site.answer = lambda *_: {"connect": "/connect"} if len(site.received) == 1 else {}
        hook = HttpHook(reactor, f"restq+{site.url}/")
        answer = await hook.call("connect", Facts("", "bob", login="admin"), "s", "1").answer
        assert answer.identity.user == ""
        assert site.received[-1].json["username"] == "bob"
        hook.close()

    run_on_reactor(main)


def test_a_controller_that_is_down_is_asked_again() -> None:
    async def main(reactor: Any) -> None:
        site = HookSite(reactor, status(500))
        hook = HttpHook(reactor, f"restq+{site.url}/")
        calls = [hook.call("send", FACTS, "s", str(number)).answer for number in range(3)]
        for one in calls:
            with pytest.raises(HookFailed, match="status 500") as failed:
                await one
            assert failed.value.is_untold
        assert len(site.received) == 1, "they have waited for one answer"
        site.answer = lambda *_: {"send": "/send"} if len(site.received) == 2 else {"body": "!"}
        assert (await hook.call("send", FACTS, "s", "4").answer).body == b"!"
        hook.renew(b"")
        site.answer = lambda *_: {}
        assert (await hook.call("send", FACTS, "s", "5").answer).body is None
        assert [one.path for one in site.received] == ["/", "/", "/send", "/"]
        hook.close()

    run_on_reactor(main)


def test_one_that_gives_up_does_not_end_the_wait_of_others() -> None:
    async def main(reactor: Any) -> None:
        site = HookSite(reactor, lambda *_: None)
        waiting: list[Any] = []
        site.answer = lambda request, _: waiting.append(request)
        hook = HttpHook(reactor, f"restq+{site.url}/")
        first = hook.call("send", FACTS, "s1", "1")
        second = hook.call("send", FACTS, "s2", "2")
        while not waiting:
            await sleep(reactor, 0.005)
        first.give_up()
        with pytest.raises(BaseException):  # noqa: B017, PT011
            await first.answer
        waiting[0].write(b"{}")
        waiting[0].finish()
        assert (await second.answer).is_allowed
        hook.close()

    run_on_reactor(main)


@pytest.mark.parametrize("is_trusted", [False, True])
def test_the_certificate_of_a_site_is_checked(
    is_trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = write_certificate(tmp_path)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def main(reactor: Any) -> Answer:
        # Twisted's TLS gathers small writes with a timer of the global reactor.
        monkeypatch.setattr("twisted.protocols.tls._get_default_clock", lambda: reactor)
        site = HookSite(reactor)
        context = DefaultOpenSSLContextFactory(str(key), str(certificate))
        port = reactor.listenSSL(0, site.port.factory, context, interface="127.0.0.1")
        hook = HttpHook(reactor, f"https://localhost:{port.getHost().port}/")
        return await hook.call("disconnect", FACTS, "s", "1").answer

    if is_trusted:
        assert run_on_reactor(main) == Answer()
        return
    with pytest.raises(HookFailed) as failed:
        run_on_reactor(main)
    assert failed.value.kind == "no TLS connection"
    assert "certificate verify failed" in failed.value.detail
    assert failed.value.is_untold
