"""A key set at an address: when it is fetched, what waits for it, and what an outage changes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.http_site import Site, answer, site
from support.logs import Logs, captured_logs
from support.real_reactor import RealReactor, real_reactor
from support.tokens import NOW_S, ec_key, jwk, jwks, rsa_key, signed
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock

from rtchat.core.auth.identity import Identity
from rtchat.errors import AccessRefused
from rtchat.net.auth.fetching import Fetcher
from rtchat.net.auth.jwks_url import (
    CHECKED_AT_ONCE,
    MAX_WAITING,
    MIN_GAP_S,
    REFRESH_S,
    JwksUrl,
    jwks_url,
)
from rtchat.net.auth.key_sources import MAX_KEY_BYTES
from rtchat.net.auth.tokens import TokenVerifier

URL = "https://id.example/jwks.json"
OLD = jwks(jwk(rsa_key(), "old"))
NEW = jwks(jwk(rsa_key(), "old"), jwk(ec_key(), "new"))


class FakeSite:
    """A site whose answers come when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Deferred[bytes]] = []

    def fetch(self, url: str) -> Deferred[bytes]:
        assert url == URL
        self.asked.append(Deferred())
        return self.asked[-1]

    def answer(self, data: bytes) -> None:
        """Answer the last question."""
        self.asked[-1].callback(data)

    def fail(self, why: str = "the site is down") -> None:
        """Fail to answer the last question."""
        self.asked[-1].errback(ValueError(why))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake() -> FakeSite:
    return FakeSite()


@pytest.fixture
def source(fake: FakeSite, clock: Clock) -> JwksUrl:
    return JwksUrl(URL, clock, fake.fetch)


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs
    assert logs.failures() == []


def names(found: Any) -> list[str | None]:
    assert isinstance(found, tuple), found
    return [key.kid for key in found]


def reason(source: JwksUrl, kid: str | None, algorithm: str = "ES256") -> str:
    with pytest.raises(AccessRefused) as error:
        source.find(kid, algorithm)
    return error.value.reason


class Waiting:
    """A token that waits for keys."""

    def __init__(self, source: JwksUrl, kid: str | None = "new", algorithm: str = "ES256") -> None:
        self.results: list[Any] = []
        found = source.find(kid, algorithm)
        assert isinstance(found, Deferred)
        self.found: Deferred[Any] = found
        found.addBoth(self.results.append)

    @property
    def result(self) -> object:
        """The names of the keys, or the reason of the refusal."""
        [result] = self.results
        if isinstance(result, tuple):
            return [key.kid for key in result]
        error = result.value
        return error.reason if isinstance(error, AccessRefused) else error


# ---------------------------------------------------------------- at start


def test_the_keys_are_fetched_at_start(source: JwksUrl, fake: FakeSite, logs: Logs) -> None:
    source.start()
    assert len(fake.asked) == 1
    fake.answer(NEW)
    assert names(source.find("old", "RS256")) == ["old"]
    assert names(source.find("new", "ES256")) == ["new"]
    assert source.problem == ""
    assert logs.lines() == [f"tokens are checked with 2 keys of {URL}: 'new', 'old'"]


def test_a_token_waits_for_the_first_keys(source: JwksUrl, fake: FakeSite) -> None:
    source.start()
    waiting = [Waiting(source), Waiting(source, "old", "RS256"), Waiting(source, None)]
    assert source.waiting == 3
    assert [one.results for one in waiting] == [[], [], []]
    fake.answer(NEW)
    assert [one.result for one in waiting] == [["new"], ["old"], ["new"]]
    assert source.waiting == 0
    assert len(fake.asked) == 1


def test_keys_come_without_a_start_too(source: JwksUrl, fake: FakeSite, clock: Clock) -> None:
    waiting = Waiting(source)
    fake.answer(NEW)
    assert waiting.result == ["new"]
    assert clock.getDelayedCalls() == []


def test_keys_may_be_there_at_once(clock: Clock) -> None:
    source = JwksUrl(URL, clock, lambda url: succeed(NEW))
    assert Waiting(source).result == ["new"]


def test_a_site_that_is_down_at_start_is_asked_more_often(
    source: JwksUrl, fake: FakeSite, clock: Clock, logs: Logs
) -> None:
    source.start()
    waiting = Waiting(source)
    fake.fail()
    assert waiting.result == "no keys yet"
    assert source.problem == "the site is down"
    gaps = []
    for _ in range(8):
        asked, before_s = len(fake.asked), clock.seconds()
        assert reason(source, "new") == "no keys yet"
        while len(fake.asked) == asked:
            clock.advance(1)
        gaps.append(clock.seconds() - before_s)
        fake.fail()
    assert gaps == [2, 4, 8, 16, 32, 60, 60, 60]
    assert logs.lines() == [
        f"the keys of {URL} were not read: the site is down. No token is accepted without them, "
        "and this server tries again"
    ]
    clock.advance(60)
    fake.answer(NEW)
    assert source.problem == ""
    assert names(source.find("new", "ES256")) == ["new"]
    assert logs.lines()[1:] == [
        f"the keys of {URL} are there again",
        f"tokens are checked with 2 keys of {URL}: 'new', 'old'",
    ]


# ---------------------------------------------------------------- an unknown kid


@pytest.fixture
def settled(source: JwksUrl, fake: FakeSite, clock: Clock) -> JwksUrl:
    """A source with the old keys, whose last fetch was a minute ago."""
    source.start()
    fake.answer(OLD)
    clock.advance(MIN_GAP_S)
    assert len(fake.asked) == 1
    return source


def test_an_unknown_kid_has_the_keys_fetched_again(
    settled: JwksUrl, fake: FakeSite, logs: Logs
) -> None:
    waiting = Waiting(settled)
    assert len(fake.asked) == 2
    assert names(settled.find("old", "RS256")) == ["old"]  # who is known does not wait
    fake.answer(NEW)
    assert waiting.result == ["new"]
    assert logs.lines()[1:] == [f"tokens are checked with 2 keys of {URL}: 'new', 'old'"]


def test_one_fetch_is_for_all_that_wait(settled: JwksUrl, fake: FakeSite) -> None:
    waiting = [Waiting(settled) for _ in range(10)]
    stranger = Waiting(settled, "other")
    assert len(fake.asked) == 2
    fake.answer(NEW)
    assert [one.result for one in waiting] == [["new"]] * 10
    assert stranger.result == "unknown key id"


def test_unknown_kids_are_asked_for_once_a_minute(
    settled: JwksUrl, fake: FakeSite, clock: Clock
) -> None:
    first = Waiting(settled, "x1")
    clock.advance(5)
    fake.answer(OLD)
    assert first.result == "unknown key id"
    for number in range(1000):
        assert reason(settled, f"x{number}") == "unknown key id"
    clock.advance(MIN_GAP_S - 5.001)
    assert reason(settled, "new") == "unknown key id"
    assert len(fake.asked) == 2
    clock.advance(0.001)
    waiting = Waiting(settled)
    assert len(fake.asked) == 3
    fake.answer(NEW)
    assert waiting.result == ["new"]


def test_a_known_kid_with_a_wrong_algorithm_asks_for_nothing(
    settled: JwksUrl, fake: FakeSite
) -> None:
    assert reason(settled, "old", "HS256") == "wrong algorithm"
    assert reason(settled, None, "ES256") == "wrong algorithm"
    assert len(fake.asked) == 1


def test_a_key_that_the_site_has_withdrawn_is_not_used(settled: JwksUrl, fake: FakeSite) -> None:
    waiting = Waiting(settled)
    fake.answer(jwks(jwk(ec_key(), "new")))
    assert waiting.result == ["new"]
    assert reason(settled, "old", "RS256") == "unknown key id"


# ---------------------------------------------------------------- who waits


def test_only_so_many_wait(settled: JwksUrl, fake: FakeSite, clock: Clock) -> None:
    waiting = [Waiting(settled) for _ in range(MAX_WAITING)]
    assert reason(settled, "new") == "too many wait for keys"
    assert names(settled.find("old", "RS256")) == ["old"]
    waiting[0].found.cancel()
    Waiting(settled)
    assert reason(settled, "new") == "too many wait for keys"
    fake.answer(NEW)
    clock.pump([0] * (MAX_WAITING // CHECKED_AT_ONCE))
    assert all(one.result == ["new"] for one in waiting[1:])


def test_who_has_waited_goes_on_a_few_at_a_time(
    settled: JwksUrl, fake: FakeSite, clock: Clock
) -> None:
    waiting = [Waiting(settled) for _ in range(3 * CHECKED_AT_ONCE)]
    fake.answer(NEW)
    done = [sum(bool(one.results) for one in waiting)]
    for _ in range(2):
        turn = clock.calls.pop(0)  # advance() would do what this one adds as well
        assert turn.getTime() == clock.seconds()
        turn.func(*turn.args)
        done.append(sum(bool(one.results) for one in waiting))
    assert done == [CHECKED_AT_ONCE, 2 * CHECKED_AT_ONCE, 3 * CHECKED_AT_ONCE]
    assert [one.result for one in waiting] == [["new"]] * len(waiting)


def test_a_client_that_has_gone_waits_no_longer(
    settled: JwksUrl, fake: FakeSite, clock: Clock
) -> None:
    waiting = [Waiting(settled) for _ in range(2 * CHECKED_AT_ONCE)]
    waiting[0].found.cancel()
    assert isinstance(waiting[0].result, CancelledError)
    assert settled.waiting == len(waiting) - 1
    fake.answer(NEW)
    waiting[-1].found.cancel()  # between its keys and its turn
    assert isinstance(waiting[-1].result, CancelledError)
    clock.advance(0)
    assert [one.result for one in waiting[1:-1]] == [["new"]] * (len(waiting) - 2)


def test_one_that_goes_on_may_end_another(settled: JwksUrl, fake: FakeSite) -> None:
    first, second = Waiting(settled), Waiting(settled)
    first.found.addBoth(lambda _: second.found.cancel())
    fake.answer(NEW)
    assert first.result == ["new"]
    assert isinstance(second.result, CancelledError)


# ---------------------------------------------------------------- from time to time


def test_the_keys_are_renewed_from_time_to_time(
    source: JwksUrl, fake: FakeSite, clock: Clock, logs: Logs
) -> None:
    source.start()
    fake.answer(OLD)
    clock.advance(REFRESH_S - 0.001)
    assert len(fake.asked) == 1
    clock.advance(0.001)
    assert len(fake.asked) == 2
    fake.answer(OLD)
    clock.advance(REFRESH_S)
    fake.answer(NEW)
    assert names(source.find("new", "ES256")) == ["new"]
    assert len(logs.lines()) == 2  # what has not changed is not said


def test_a_fetch_for_a_token_moves_the_next_one(
    settled: JwksUrl, fake: FakeSite, clock: Clock
) -> None:
    Waiting(settled)
    fake.answer(NEW)
    clock.advance(REFRESH_S - 0.001)
    assert len(fake.asked) == 2
    clock.advance(0.001)
    assert len(fake.asked) == 3
    assert len(clock.getDelayedCalls()) == 0


# ---------------------------------------------------------------- an outage


@pytest.mark.parametrize(
    "data, why",
    [
        (None, "the site is down"),
        (b"<!doctype html>", 'the document is not a JSON Web Key Set: {"keys": […]}'),
        (b"[" * 100_000, 'the document is not a JSON Web Key Set: {"keys": […]}'),
        (b'{"keys": []}', "the document has no key that can be used: it is empty"),
        (
            jwks({"kty": "AKP", "kid": "a"}),
            "the document has no key that can be used: key 1 ('a') is of the kind 'AKP'",
        ),
    ],
)
def test_an_outage_keeps_the_keys(
    settled: JwksUrl, fake: FakeSite, clock: Clock, logs: Logs, data: bytes | None, why: str
) -> None:
    waiting = Waiting(settled)
    for _ in range(5):
        if data is None:
            fake.fail()
        else:
            fake.answer(data)
        assert settled.problem == why
        assert names(settled.find("old", "RS256")) == ["old"]
        assert reason(settled, "new") == "unknown key id"
        clock.advance(MIN_GAP_S - 0.001)
        asked = len(fake.asked)
        clock.advance(0.001)
        assert len(fake.asked) == asked + 1
    assert waiting.result == "unknown key id"
    assert logs.lines("error") == [
        f"the keys of {URL} were not read: {why}. Those in use stay, and this server tries again"
    ]
    fake.answer(NEW)
    assert settled.problem == ""
    assert names(settled.find("new", "ES256")) == ["new"]
    assert f"the keys of {URL} are there again" in logs.lines("info")
    clock.advance(REFRESH_S)
    fake.fail()
    assert len(logs.lines("error")) == 2


def test_a_slow_failure_is_not_followed_by_another_fetch_at_once(
    settled: JwksUrl, fake: FakeSite, clock: Clock
) -> None:
    Waiting(settled)
    clock.advance(10)
    fake.fail()
    clock.advance(MIN_GAP_S - 10.001)
    assert len(fake.asked) == 2
    clock.advance(0.001)
    assert len(fake.asked) == 3


def test_keys_that_are_skipped_are_said_once(
    source: JwksUrl, fake: FakeSite, clock: Clock, logs: Logs
) -> None:
    odd = jwks(jwk(rsa_key(), "old"), {"kty": "AKP", "kid": "pq"}, jwk(b"s" * 32, "secret"))
    source.start()
    for _ in range(3):
        fake.answer(odd)
        clock.advance(REFRESH_S)
    assert logs.lines("warn") == [
        f"{URL}: key 2 ('pq') is of the kind 'AKP'; it is not used",
        f"{URL}: key 3 ('secret') is symmetric: every reader of the address could sign tokens; "
        "it is not used",
    ]


def test_a_bug_in_fetching_is_said_and_ends_nothing(clock: Clock, logs: Logs) -> None:
    def fetch(url: str) -> Deferred[bytes]:
        raise ZeroDivisionError

    source = JwksUrl(URL, clock, fetch)
    source.start()
    assert reason(source, "new") == "no keys yet"
    assert [failure.type for failure in logs.failures()] == [ZeroDivisionError]
    logs.events.clear()


# ---------------------------------------------------------------- SIGHUP, and the end


def test_sighup_fetches_the_keys_in_any_case(
    source: JwksUrl, fake: FakeSite, clock: Clock, logs: Logs
) -> None:
    source.start()
    fake.answer(OLD)
    clock.advance(1)
    source.reload()
    assert len(fake.asked) == 2
    fake.answer(OLD)
    assert logs.lines() == 2 * [f"tokens are checked with 1 key of {URL}: 'old'"]
    source.reload()
    fake.fail()
    source.reload()
    source.reload()
    assert len(fake.asked) == 4
    fake.fail("the site is away")
    assert len(logs.lines("error")) == 2
    assert names(source.find("old", "RS256")) == ["old"]
    assert len(clock.getDelayedCalls()) == 1


def test_what_waits_at_the_end_is_refused(settled: JwksUrl, fake: FakeSite, clock: Clock) -> None:
    waiting = Waiting(settled)
    settled.stop()
    assert waiting.result == "unknown key id"
    assert clock.getDelayedCalls() == []
    assert settled.problem == ""


def test_at_the_end_nothing_is_asked_any_more(settled: JwksUrl, clock: Clock) -> None:
    settled.stop()
    assert clock.getDelayedCalls() == []
    settled.stop()


# ---------------------------------------------------------------- a real site


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealReactor]:
    with real_reactor(monkeypatch) as real:
        yield real


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as web:
        web.answers = answer(OLD)
        yield web


class Checked:
    """Tokens are checked with the keys of a real site, and time passes on request."""

    def __init__(self, real: RealReactor, web: Site, clock: Clock) -> None:
        fetcher = Fetcher(real.reactor, clock, max_bytes=MAX_KEY_BYTES, timeout_s=10)
        self.source = JwksUrl(web.url, clock, fetcher.fetch)
        self.verifier = TokenVerifier(self.source)
        self._real = real

    def result(self, token: str) -> str:
        """Return whom a token speaks for, or why it is refused."""
        try:
            identity = self.verifier.verify(token, NOW_S)
            if isinstance(identity, Deferred):
                identity = self._real.wait(identity)
        except AccessRefused as error:
            return error.reason
        assert isinstance(identity, Identity)
        return identity.user


@pytest.fixture
def checked(real: RealReactor, web: Site, clock: Clock) -> Iterator[Checked]:
    checked = Checked(real, web, clock)
    yield checked
    checked.source.stop()


OLD_TOKEN = signed(rsa_key(), "RS256", kid="old")
NEW_TOKEN = signed(ec_key(), "ES256", kid="new")


def test_a_real_site_changes_its_keys(checked: Checked, web: Site, clock: Clock) -> None:
    assert checked.result(OLD_TOKEN) == "alice"
    web.answers = answer(NEW)
    assert checked.result(NEW_TOKEN) == "unknown key id"
    clock.advance(MIN_GAP_S)
    assert checked.result(NEW_TOKEN) == "alice"
    assert checked.result(OLD_TOKEN) == "alice"
    web.answers = answer(jwks(jwk(ec_key(), "new")))
    clock.advance(MIN_GAP_S)
    assert checked.result(signed(ec_key(), "ES256", kid="third")) == "unknown key id"
    assert checked.result(OLD_TOKEN) == "unknown key id"
    assert len(web.requests) == 3


@pytest.mark.parametrize(
    "reply, why",
    [
        (b"", ""),
        (answer(NEW, "503 Down"), "the site answers with status 503"),
        (answer(NEW, "302 Found", "Location: /"), "the site redirects (302); write the final"),
        (answer(b" " * (MAX_KEY_BYTES + 1)), "the document has more than 256 KiB"),
        (answer(NEW[:-1]), "the document is not a JSON Web Key Set"),
        (answer(b"<html>"), "the document is not a JSON Web Key Set"),
    ],
)
def test_a_real_site_has_an_outage(
    checked: Checked, web: Site, clock: Clock, reply: bytes, why: str
) -> None:
    assert checked.result(OLD_TOKEN) == "alice"
    web.answers = reply
    clock.advance(MIN_GAP_S)
    assert checked.result(NEW_TOKEN) == "unknown key id"
    assert checked.source.problem.startswith(why)
    assert checked.source.problem
    assert checked.result(OLD_TOKEN) == "alice"
    web.answers = answer(NEW)
    clock.advance(MIN_GAP_S)
    assert checked.result(NEW_TOKEN) == "alice"
    assert checked.source.problem == ""
    assert len(web.requests) == 3


def test_a_real_site_is_silent(
    real: RealReactor, checked: Checked, web: Site, clock: Clock
) -> None:
    assert checked.result(OLD_TOKEN) == "alice"

    def silent(client: socket.socket) -> None:
        client.recv(1)

    web.answers = silent
    clock.advance(MIN_GAP_S)
    results: list[Any] = []
    late = checked.verifier.verify(NEW_TOKEN, NOW_S)
    assert isinstance(late, Deferred)
    late.addBoth(results.append)
    real.turn_until(lambda: len(web.requests) == 2)
    assert checked.result(OLD_TOKEN) == "alice"
    assert results == []
    clock.advance(10)
    assert [one.value.reason for one in results] == ["unknown key id"]
    assert checked.source.problem == "no complete answer within 10 s"


def test_a_key_that_a_token_names_by_address_is_not_fetched(checked: Checked, web: Site) -> None:
    with site() as thief:
        thief.answers = answer(jwks(jwk(rsa_key("thief"), "old")))
        for name in ("jku", "x5u"):
            header: dict[str, Any] = {"kid": "old", name: thief.url}
            stolen = signed(rsa_key("thief"), "RS256", **header)
            assert checked.result(stolen) == "wrong signature"
        assert checked.result(signed(rsa_key("thief"), "RS256", kid=thief.url)) == "unknown key id"
        assert thief.requests == []
    assert len(web.requests) == 1


def test_a_real_reactor_fetches_and_keeps_time(real: RealReactor, web: Site) -> None:
    source = jwks_url(web.url, real.reactor)
    source.start()
    found = source.find("old", "RS256")
    assert isinstance(found, Deferred)
    assert names(real.wait(found)) == ["old"]
    assert len(web.requests) == 1
    real.turn_until(lambda: len(real.reactor.getDelayedCalls()) == 1)
    [timer] = real.reactor.getDelayedCalls()
    assert 0 < timer.getTime() - real.reactor.seconds() <= REFRESH_S
    source.stop()
    assert real.reactor.getDelayedCalls() == []


def test_keys_come_from_no_address_in_clear(real: RealReactor) -> None:
    with pytest.raises(ValueError, match="is not encrypted"):
        jwks_url("http://id.example/keys", real.reactor)
