"""Log-in: what strangers learn of it, what they can forge, and what their floods cost others."""

from __future__ import annotations

import base64
import gc
import itertools
import json
import re
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import urlencode

import pytest
from support.hostile import (
    MIB,
    NO_END,
    GuardedServer,
    Scene,
    attack,
    guarded,
    times,
)
from support.house import House
from support.passwords import quick_hash
from support.process import get, until
from support.sockets import RealWebSocket
from support.stomp import Frame, StompReader, frame_bytes
from support.tokens import SECRET, base64url, by_hand, hmac_signed, pem, rsa_key, signed, signed_as
from support.websocket import CLOSE, TEXT
from support.wire import Wire
from twisted.internet.defer import Deferred, succeed

from rtchat.net.auth.hashes import hash_password
from rtchat.net.auth.password_file import PasswordFile
from rtchat.net.auth.passwords import Passwords

pytestmark = [pytest.mark.live, pytest.mark.soak]

PASSWORD = "canary-password-of-ada"
HONEST = "anonymous = read /topic/honest, write /topic/honest\n"
USERS = f"[users]\nfile = users\n[rights]\n* = all /topic/#\n{HONEST}"
SECRET_TOKENS = f"[tokens]\nsecret.file = secret\n[rights]\n* = all /topic/#\n{HONEST}"
KEY_TOKENS = f"[tokens]\nkey.file = key.pem\n[rights]\n* = all /topic/#\n{HONEST}"
BOTH = f"[users]\nfile = users\n[tokens]\nsecret.file = secret\n[rights]\n* = all /#\n{HONEST}"
COSTLY = "# The hashes have the usual cost.\n"
NAMES = [f"user{number}" for number in range(12)]

Open = Callable[[str], GuardedServer]

_T = TypeVar("_T")


@pytest.fixture(scope="module")
def hashed() -> dict[bool, str]:
    """The hash of the password: one that takes its time, and one that does not."""
    return {True: hash_password(PASSWORD), False: quick_hash(PASSWORD)}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, hashed: dict[bool, str]) -> Iterator[Open]:
    """Start servers with users, keys and secrets: one for each text of settings."""
    servers: dict[str, GuardedServer] = {}

    def open_one(config: str) -> GuardedServer:
        if config not in servers:
            folder = tmp_path_factory.mktemp("server")
            text = hashed[config.endswith(COSTLY)]
            files = {
                "users": "".join(f"{name}:{text}\n" for name in ["ada", *NAMES]).encode(),
                "secret": SECRET,
                "key.pem": pem(rsa_key()),
            }
            for name, data in files.items():
                (folder / name).write_bytes(data)
                (folder / name).chmod(0o600)
            servers[config] = guarded(folder, config)
            servers[config].start()
        return servers[config]

    yield open_one
    for server in servers.values():
        server.close()


_SOURCES = itertools.cycle(
    f"127.{net}.{n}.{host}" for net in range(70, 90) for n in range(256) for host in range(1, 255)
)


def sources(count: int) -> list[str]:
    """Return addresses that no other test uses."""
    return list(itertools.islice(_SOURCES, count))


def claims(**more: object) -> dict[str, object]:
    return {"sub": "ada", "exp": int(time.time()) + 3600, **more}


def log_in(server: GuardedServer, *, source: str = "", **headers: str) -> Frame:
    """Return the answer to a CONNECT over TCP."""
    with Wire(server.stomp, source=source) as wire:
        wire.send(frame_bytes("CONNECT", accept_version="1.2", host="test", **headers))
        return wire.frame(40)


def as_ada(server: GuardedServer, source: str = "") -> Frame:
    return log_in(server, login="ada", passcode=PASSWORD, source=source)


# ---------------------------------------------------------------- known and unknown names


class Here:
    """Does in this thread what others do in their own."""

    count = 1

    def __call__(self, work: Callable[[], _T]) -> Deferred[_T]:
        """Do it at once."""
        return succeed(work())

    def stop(self) -> None:
        """Do nothing."""


def test_a_name_that_is_known_is_no_more_work(
    tmp_path: Path, hashed: dict[bool, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From CONNECT to the ERROR: the same hashes, and as good as the same calls."""
    file = tmp_path / "users"
    file.write_text("".join(f"{name}:{hashed[False]}\n" for name in NAMES), encoding="utf-8")
    threads: Any = Here()
    house = House([], passwords=lambda clock: Passwords(clock, threads, file=PasswordFile(file)))
    hashes: list[tuple[object, ...]] = []

    def scrypt(password: bytes, *, salt: bytes, n: int, r: int, p: int, **_: int) -> bytes:
        hashes.append((len(password), len(salt), n, r, p))
        return bytes(32)

    monkeypatch.setattr("hashlib.scrypt", scrypt)

    def work(name: str) -> tuple[int, bytes]:
        stranger = house.stranger(name, source=sources(1)[0])
        calls = 0

        def seen(frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call") and "/rtchat/" in frame.f_code.co_filename

        hello = stranger.hello()
        gc.disable()  # what other tests have left would end here, and count
        sys.setprofile(seen)
        try:
            stranger.send(hello)
        finally:
            sys.setprofile(None)
            gc.enable()
        said = stranger.socket.taken()
        stranger.leave()
        return calls, said

    work("warm1"), work(NAMES[0])  # what is done once
    hashes.clear()
    known = [work(name) for name in NAMES[1:6]]
    made, hashes[:] = list(hashes), []
    unknown = [work(f"else{number}"[:5]) for number in range(1, 6)]
    assert len(made) == 5
    assert made == hashes
    assert {said for _, said in known} == {said for _, said in unknown}
    assert b"access refused" in known[0][1]
    most, least = (choose(count for count, _ in known + unknown) for choose in (max, min))
    assert most - least < 15
    assert least > 100
    house.close()


def test_a_name_that_is_known_takes_no_longer(opened: Open) -> None:
    """What is done is the same, and so is the time it takes.

    The shortest times are compared: other work on the machine only makes a log-in longer. If they
    differ, more are taken, and a difference that is the server's stays.
    """
    server = opened(USERS + COSTLY)
    scene = Scene(server)
    took: dict[bool, list[float]] = {True: [], False: []}
    said = set()
    for number, name in enumerate(NAMES, 1):
        for is_known in (True, False):
            source = f"127.67.{number}.{1 + is_known}"
            begun_s = time.monotonic()
            answer = log_in(
                server, login=name if is_known else f"{name}?", passcode="wrong", source=source
            )
            took[is_known].append(time.monotonic() - begun_s)
            said.add((answer.command, *answer.pairs, answer.body))
        known_s, unknown_s = (min(took[one]) for one in (True, False))
        is_equal = abs(known_s - unknown_s) < 0.02 + 0.1 * min(known_s, unknown_s)
        if is_equal and number >= 2:
            break
    assert len(said) == 1, "the answers differ"
    assert len(scene.lines("an unknown name or a wrong password")) == 2 * number
    assert is_equal, f"{known_s:.3f} s for a known name, {unknown_s:.3f} s for another one"


# ---------------------------------------------------------------- forged tokens


def forged() -> dict[str, str]:
    """Return tokens that a server with an RSA key may not accept, by what they try."""
    public, other = pem(rsa_key()), rsa_key("other")
    hs256: dict[str, object] = {"alg": "HS256", "typ": "JWT"}
    numbers = rsa_key("other").public_key().public_numbers()
    own_key = {
        "kty": "RSA",
        "n": base64url(numbers.n.to_bytes(256, "big")),
        "e": base64url(numbers.e.to_bytes(3, "big")),
    }
    made = {
        "none": by_hand({"alg": "none"}, claims()),
        "None": by_hand({"alg": "NonE"}, claims(), b"x"),
        "no algorithm": by_hand({"typ": "JWT"}, claims()),
        "public key as secret": hmac_signed(hs256, claims(), public),
        "public key as secret, stripped": hmac_signed(hs256, claims(), public.strip()),
        "empty secret": hmac_signed(hs256, claims(), b""),
        "another key": signed(other, "RS256", claims()),
        "its own key": signed(other, "RS256", claims(), jwk=own_key),
        "a key elsewhere": signed(other, "RS256", claims(), jku="http://127.0.0.1:9/keys"),
        "a key file": hmac_signed({**hs256, "kid": "../../../../dev/null"}, claims(), b""),
        "hash of the header's word": signed_as(other, {"alg": "RS512"}, claims()),
        "critical": signed(rsa_key(), "RS256", claims(), crit=["b64"], b64=False),
        "expired": signed(rsa_key(), "RS256", claims(exp=int(time.time()) - 60)),
        "no end": signed(rsa_key(), "RS256", {"sub": "ada"}),
        "not yet": signed(rsa_key(), "RS256", claims(nbf=int(time.time()) + 600)),
        "nobody": signed(rsa_key(), "RS256", {"exp": int(time.time()) + 60}),
        "a number": signed(rsa_key(), "RS256", claims(sub=1)),
    }
    good = signed(rsa_key(), "RS256", claims())
    head, body, signature = good.split(".")
    made["another body"] = (
        f"{head}.{base64url(json.dumps(claims(sub='boss')).encode())}.{signature}"
    )
    made["no signature"] = f"{head}.{body}."
    made["too many parts"] = f"{good}.{signature}"
    made["long"] = f"{head}.{body * 90}.{signature}"[:8000]
    return made


@pytest.mark.parametrize("what", list(forged()))
def test_a_forged_token_is_refused(opened: Open, what: str) -> None:
    server, token = opened(KEY_TOKENS), forged()[what]
    scene = Scene(server)
    begun = len(server.log())
    answer = log_in(server, passcode=token)
    assert answer.command == "ERROR"
    assert answer["message"] == "access refused"
    until("a line", lambda: scene.lines("log-in refused: "))
    assert not leaks(server.log()[begun:], token)


def test_the_token_of_the_site_is_accepted(opened: Open) -> None:
    server = opened(KEY_TOKENS)
    answer = log_in(server, passcode=signed(rsa_key(), "RS256", claims()))
    assert answer["x-user"] == "ada"


def test_a_secret_is_no_public_key(opened: Open) -> None:
    server = opened(SECRET_TOKENS)
    for token in (
        signed(rsa_key(), "RS256", claims()),
        signed_as(rsa_key(), {"alg": "HS256"}, claims()),
        by_hand({"alg": "none"}, claims()),
        hmac_signed({"alg": "RS256"}, claims(), SECRET),
        hmac_signed({"alg": "HS256"}, claims(), SECRET[:-1]),
    ):
        assert log_in(server, passcode=token)["message"] == "access refused"
    good = hmac_signed({"alg": "HS256"}, claims(), SECRET)
    assert log_in(server, passcode=good)["x-user"] == "ada"


# ---------------------------------------------------------------- what the log must not have


def leaks(log: str, secret: str) -> bool:
    """Return whether a log has a secret, or a large part of it."""
    pieces = [secret[at : at + 16] for at in range(0, max(1, len(secret) - 16), 8)]
    return any(piece in log for piece in pieces[-8:])


def ask_page(server: GuardedServer, method: str, path: str, body: str = "", **headers: str) -> int:
    """Return the status of the answer to a request."""
    return Browser(server).ask(method, path, body, **headers)[0]


def test_a_token_in_the_address_is_no_token_and_is_not_logged(opened: Open) -> None:
    server = opened(BOTH)
    token = hmac_signed({"alg": "HS256"}, claims(canary="a token in the address"), SECRET)
    for name in ("token", "access_token", "passcode", "authorization", "jwt"):
        path = f"/ws?{name}={token}"
        with RealWebSocket(server.http, path, subprotocols="v12.stomp") as browser:
            browser.send(TEXT, frame_bytes("CONNECT", accept_version="1.2", host="test"))
            answer = browser.read().payload
            assert answer.startswith(b"CONNECTED\n")
            assert b"x-user" not in answer
            subscribe = frame_bytes("SUBSCRIBE", id="0", destination="/topic/secret")
            browser.send(TEXT, subscribe)
            assert b"not allowed: read /topic/secret" in browser.read().payload
            close = browser.read()
            assert (close.opcode, close.code) == (CLOSE, 3502)
        _, _, text = get(server.http, f"/login?{name}={token}", Accept="application/json")
        assert json.loads(text)["user"] == ""
        for path in ("/", "/nowhere", "/tcp/localhost:1", "/health", "/embed"):
            ask_page(server, "GET", f"{path}?{name}={token}")
    assert not leaks(server.log(), token)
    # Without the canary of the address it is a good one.
    assert log_in(server, passcode=token)["x-user"] == "ada"


def test_a_password_in_the_address_logs_nobody_in(opened: Open) -> None:
    server = opened(BOTH)
    browser = Browser(server)
    form = browser.form()
    query = urlencode({"name": "ada", "password": PASSWORD, "form": form})
    status, _ = browser.ask("POST", f"/login?{query}")
    assert status == 403
    status, _ = browser.ask("POST", f"/login?name=ada&password={PASSWORD}", f"form={form}")
    assert status == 403
    assert browser.user() == ""
    assert not leaks(server.log(), PASSWORD)


def wrong_hellos(secret: str, names: Iterator[str]) -> Iterator[bytes]:
    """Return what clients say with a secret in it, at its place or where it should not be."""

    def hello(**headers: str) -> bytes:
        return frame_bytes("CONNECT", **{"accept_version": "1.2", "host": "test", **headers})

    yield hello(login=next(names), passcode=secret)
    yield hello(passcode=secret)
    yield hello(login=next(names), passcode=secret, accept_version="9.9")
    yield hello(login=next(names), passcode=secret + "\\q")
    yield hello(login=next(names), passcode=secret * 100)
    yield hello(heart_beat=secret)
    yield hello(nick=secret)
    yield hello().replace(b"\n\n\0", b"\n\n" + secret.encode() + b"\0")
    yield b"CONNECT\npasscode " + secret.encode() + b"\n\n\0"
    yield b"CONNECT\naccept-version:1.2\npasscode:" + secret.encode() + b"\xff\n\n\0"
    yield secret.encode() + b"\n\n\0"
    new_token = frame_bytes("SEND", secret.encode(), destination="/session/token")
    yield hello() + new_token
    yield hello() + new_token.replace(b"/token", b"/token,/topic/honest")
    begin = frame_bytes("BEGIN", transaction="t")
    yield hello() + begin + new_token.replace(b"SEND\n", b"SEND\ntransaction:t\n")


def test_no_secret_is_in_the_log_whatever_is_wrong_with_it(opened: Open) -> None:
    server = opened(BOTH)
    secrets = {
        "password": "canary-password-zyxwv-0123456789",
        "token": hmac_signed({"alg": "HS256"}, claims(canary="zyxwv"), b"not the secret" * 3),
        "cookie": by_hand({"alg": "HS256"}, claims(canary="vwxyz"), b"no signature at all"),
    }
    scene = Scene(server)
    names = (f"eve{number}" for number in itertools.count())  # the same one would have to wait
    for secret in secrets.values():
        for hello in wrong_hellos(secret, names):
            eve = scene.stranger(logs_in=False, source=sources(1)[0])
            eve.pour(hello + frame_bytes("DISCONNECT", receipt="bye"))
            eve.frames_until(lambda frame: frame.command == "RECEIPT", 40)
            eve.close()
        pair = base64.b64encode(f"{next(names)}:{secret}".encode()).decode()
        shown: tuple[dict[str, str], ...] = (
            {"Authorization": f"Bearer {secret}"},
            {"Authorization": f"Basic {pair}"},
            {"Authorization": f"Basic {secret}", "Cookie": secret},
            {"Authorization": secret, "Cookie": f"{secret}=1"},
            {"Cookie": f"rtchat_session={secret}"},
            {"Cookie": f"rtchat_session={secret}; rtchat_session=x; rtchat_form={secret}"},
        )
        for headers in shown:
            ask_page(server, "GET", "/login", Accept="application/json", **headers)
            ask_page(server, "POST", "/logout", **headers)
            lower = {name.lower(): value for name, value in headers.items()}
            websocket, answer = session_with(server, **lower)
            with websocket:
                assert b"x-user" not in answer
        browser = Browser(server)
        form = browser.form()
        for fields in (
            {"name": next(names), "password": secret, "form": form},
            {"name": next(names), "password": secret, "form": secret},
            {"name": "", "password": secret, "form": form},
            {"name": next(names), "password": secret * 50, "form": form},
        ):
            browser.ask("POST", "/login", urlencode(fields))
    scene.close()
    log = server.log()
    assert log.count("log-in refused") >= 10
    for what, secret in secrets.items():
        assert not leaks(log, secret), what


# ---------------------------------------------------------------- other sites


class Browser:
    """A browser: it keeps its cookies, and says where a request comes from.

    Attributes:
        cookies: Its cookies.
        source: Its address: another one for each browser, because wrong tries make their source
            wait.
    """

    def __init__(self, server: GuardedServer, cookies: dict[str, str] | None = None) -> None:
        self.cookies = dict(cookies or {})
        self.source = sources(1)[0]
        self._server = server

    def ask(
        self, method: str, path: str, body: str = "", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Return status and JSON of the answer; a header that is "" is not sent."""
        sent = {"Accept": "application/json", "Host": f"localhost:{self._server.http}"}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{key}={value}" for key, value in self.cookies.items())
        if body:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        connection = HTTPConnection(
            "127.0.0.1", self._server.http, timeout=60, source_address=(self.source, 0)
        )
        try:
            connection.request(
                method, path, body, {name: value for name, value in sent.items() if value}
            )
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.split(";")[0].partition("=")
                self.cookies[name] = value
            text = answer.read()
        finally:
            connection.close()
        with suppress(ValueError):
            return answer.status, dict(json.loads(text))
        return answer.status, {}

    def form(self) -> str:
        """Return the token of the form, as the page gets it."""
        _, facts = self.ask("GET", "/login")
        return str(facts["form"])

    def user(self) -> str:
        """Return who has logged in."""
        _, facts = self.ask("GET", "/login")
        return str(facts["user"])

    def log_in(self, form: str | None = None, **headers: str) -> int:
        """Send the form; return the status of the answer."""
        token = self.form() if form is None else form
        fields = urlencode({"name": "ada", "password": PASSWORD, "form": token})
        return self.ask("POST", "/login", fields, **headers)[0]

    def log_out(self, form: str | None = None, **headers: str) -> int:
        """Log out; return the status of the answer."""
        token = self.form() if form is None else form
        return self.ask("POST", "/logout", f"form={token}", **headers)[0]


ELSEWHERE: tuple[dict[str, str], ...] = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:1"},
    {"Origin": "http://localhost.evil.example"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Cookie": ""},
    {"Cookie": "rtchat_form=" + "x" * 43},
)
"""Headers of a request that another site has caused."""


def test_the_form_logs_in_and_out(opened: Open) -> None:
    browser = Browser(opened(USERS))
    origin = f"http://localhost:{opened(USERS).http}"
    assert browser.log_in(Origin=origin, Sec_Fetch_Site="same-origin") == 200
    assert browser.user() == "ada"
    assert browser.log_out(Origin=origin, Sec_Fetch_Site="same-origin") == 200
    assert browser.user() == ""


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_another_site_logs_nobody_in_or_out(opened: Open, headers: dict[str, str]) -> None:
    server = opened(USERS)
    browser = Browser(server)
    form = browser.form()
    assert browser.log_in(form, **headers) == 403
    assert "rtchat_session" not in browser.cookies
    assert browser.log_in(form) == 200
    before = dict(browser.cookies)
    assert browser.log_out(form, **headers) == 403
    assert browser.cookies == before
    assert browser.user() == "ada"


@pytest.mark.parametrize("form", ["", "x", "0" * 64])
def test_a_form_that_is_not_of_this_server_is_refused(opened: Open, form: str) -> None:
    server = opened(USERS)
    browser = Browser(server)
    own = browser.form()
    assert browser.log_in(form) == 403
    assert browser.log_in(Browser(server).form()) == 403, "of another browser"
    assert browser.log_in(own) == 200
    assert browser.log_out(form) == 403
    assert browser.user() == "ada"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_a_post_changes_who_has_logged_in(opened: Open, method: str) -> None:
    server = opened(USERS)
    browser = Browser(server)
    form = browser.form()
    fields = urlencode({"name": "ada", "password": PASSWORD, "form": form})
    browser.ask(method, "/login", fields)
    assert "rtchat_session" not in browser.cookies
    assert browser.log_in(form) == 200
    browser.ask(method, "/logout", f"form={form}")
    assert browser.user() == "ada"


@pytest.mark.parametrize("door", ["publish", "events", "messages", "api"])
def test_a_page_of_another_site_publishes_nothing_with_a_visitors_cookie(
    opened: Open, door: str
) -> None:
    """A form of any page can be sent to any path; none but those of the log-in take a POST."""
    server = opened(USERS)
    browser = Browser(server)
    form = browser.form()
    assert browser.log_in(form) == 200
    path = f"/{door}/topic/mine"
    with Wire(server.stomp) as ada:
        ada.connect(login="ada", passcode=PASSWORD)
        ada.subscribe("/topic/mine")
        for origin in ("https://evil.example", "null", f"http://localhost:{server.http}", ""):
            fields = urlencode({"form": form, "body": "x"})
            status, _ = browser.ask("POST", path, fields, Origin=origin)
            assert status in (404, 405), origin
        ada.ask("BEGIN", transaction="nothing has come")


OPEN = "* -> localhost:{stomp}\nfriend.example -> localhost:{stomp}\n"
"""Rules as in the tutorial: every page may come, and one is named."""

ORIGINS = {
    "": True,  # a program
    "http://localhost:{http}": True,
    "http://friend.example": True,
    "https://evil.example": False,
    "http://localhost:1": False,
    "null": False,
}


@pytest.mark.parametrize("origin, is_trusted", ORIGINS.items(), ids=str)
def test_a_page_that_no_rule_names_does_not_act_for_its_visitors(
    opened: Open, origin: str, is_trusted: bool
) -> None:
    """Browsers send cookies and passwords by themselves, also for a page of a stranger."""
    server = opened(OPEN + USERS)
    ada = Browser(server)
    assert ada.log_in() == 200
    pair = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    for shown in (
        {"cookie": f"rtchat_session={ada.cookies['rtchat_session']}"},
        {"authorization": f"Basic {pair}"},
    ):
        sent = {**shown, "origin": origin.format(http=server.http)} if origin else shown
        if origin:
            sent["host"] = f"localhost:{server.http}"
        websocket, answer = session_with(server, **sent)
        with websocket:
            assert answer.startswith(b"CONNECTED\n")  # anonymous may come here
            assert (b"x-user:ada" in answer) == is_trusted
    assert is_trusted or "no rule names that page" in server.log()


# ---------------------------------------------------------------- cookies


def session_with(server: GuardedServer, **shown: str) -> tuple[RealWebSocket, bytes]:
    """Open a session with headers on the upgrade; return it and the answer to its CONNECT."""
    more: dict[str, Any] = {"subprotocols": "v12.stomp", **shown}
    websocket = RealWebSocket(server.http, "/ws", **more)
    websocket.send(TEXT, frame_bytes("CONNECT", accept_version="1.2", host="test"))
    return websocket, websocket.read().payload


def test_a_cookie_from_before_the_log_in_is_worth_nothing(opened: Open) -> None:
    """A stranger who has planted one does not share the session of the user who logs in with it."""
    server = opened(USERS)
    mallory = Browser(server)
    assert mallory.log_in() == 200
    planted = mallory.cookies["rtchat_session"]
    mallory.log_out()
    for value in ("planted", planted):
        ada = Browser(server, {"rtchat_session": value})
        assert ada.log_in() == 200
        assert ada.cookies["rtchat_session"] != value
        assert Browser(server, {"rtchat_session": value}).user() == ""
        websocket, answer = session_with(server, cookie=f"rtchat_session={value}")
        with websocket:
            assert b"access refused" in answer


def test_each_log_in_has_a_cookie_of_its_own(opened: Open) -> None:
    server = opened(USERS)
    first = Browser(server)
    assert first.log_in() == 200
    before = first.cookies["rtchat_session"]
    assert first.log_in() == 200
    assert first.cookies["rtchat_session"] != before
    # A log-in ends the one before in the same browser.
    assert Browser(server, {"rtchat_session": before}).user() == ""


def test_two_cookies_of_a_name_are_nobody(opened: Open) -> None:
    """A page of a neighbouring domain can add one; which of them counts must not be its choice."""
    server = opened(USERS)
    ada, mallory = Browser(server), Browser(server)
    assert ada.log_in() == mallory.log_in() == 200
    good, bad = (one.cookies["rtchat_session"] for one in (ada, mallory))
    for pair in ((good, bad), (bad, good), ("", good), (good, "")):
        cookie = "; ".join(f"rtchat_session={value}" for value in pair)
        _, facts = Browser(server).ask("GET", "/login", Cookie=cookie)
        assert facts["user"] == "", pair
        websocket, answer = session_with(server, cookie=cookie)
        with websocket:
            assert b"access refused" in answer, pair
    # The same for the form's own cookie.
    form = ada.form()
    both = f"rtchat_form={ada.cookies['rtchat_form']}; rtchat_form={mallory.cookies['rtchat_form']}"
    assert ada.log_in(form, Cookie=both) == 403


def test_the_end_of_a_log_in_ends_its_sessions_and_its_cookie(opened: Open) -> None:
    server = opened(USERS)
    ada = Browser(server)
    assert ada.log_in() == 200
    cookie = f"rtchat_session={ada.cookies['rtchat_session']}"
    websocket, answer = session_with(server, cookie=cookie)
    with websocket:
        assert b"x-user:ada" in answer
        assert ada.log_out() == 200
        assert b"access refused" in websocket.read().payload
        assert websocket.read().code == 3501
    websocket, answer = session_with(server, cookie=cookie)
    with websocket:
        assert b"access refused" in answer


def test_a_cookie_cannot_be_changed(opened: Open) -> None:
    server = opened(USERS)
    ada = Browser(server)
    assert ada.log_in() == 200
    head, body, signature = ada.cookies["rtchat_session"].split(".")
    text = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = base64url(json.dumps({**text, "sub": "user1"}).encode())
    for forged_cookie in (
        f"{head}.{other}.{signature}",
        f"{base64url(json.dumps({'alg': 'none'}).encode())}.{body}.",
        hmac_signed({"alg": "HS256"}, text, SECRET),
    ):
        assert Browser(server, {"rtchat_session": forged_cookie}).user() == ""


def test_scripts_of_a_page_cannot_read_the_cookie(opened: Open) -> None:
    server = opened(USERS)
    browser = Browser(server)
    form = browser.form()
    connection = HTTPConnection("127.0.0.1", server.http, timeout=60)
    fields = urlencode({"name": "ada", "password": PASSWORD, "form": form})
    headers = {
        "Host": f"localhost:{server.http}",
        "Cookie": f"rtchat_form={browser.cookies['rtchat_form']}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.request("POST", "/login", fields, headers)
    answer = connection.getresponse()
    [cookie] = answer.headers.get_all("Set-Cookie") or []
    connection.close()
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert not re.search(rf"{PASSWORD}|{form}", cookie)


# ---------------------------------------------------------------- floods


A_SECOND = 1000
"""How many log-ins a flood begins in a second."""

MACHINE = 0.3
"""What part of that a busy machine has to manage, or the flood is none."""

_AT_ONCE = 500
"""So many connections it has at once: for one more it leaves the oldest one, answered or not."""


class Flood:
    """Log-ins without a pause, each on a connection of its own.

    Args:
        port: Where they go.
        sources: Their addresses, in turn.
        hello: Returns what the log-in of a number sends.

    Attributes:
        answers: How often the server has said what; "" is a connection without an answer.
        begun: How many log-ins were begun.
    """

    def __init__(self, port: int, sources: list[str], hello: Callable[[int], bytes]) -> None:
        self.answers: Counter[str] = Counter()
        self.begun = 0
        self._port = port
        self._sources = sources
        self._hello = hello
        self._open: dict[socket.socket, bytearray] = {}
        self._poll = select.epoll()
        self._by_number: dict[int, socket.socket] = {}

    def run(self, seconds: float) -> None:
        """Begin as many a second as said above, or as many as the machine can."""
        begun_s = time.monotonic()
        while (passed_s := time.monotonic() - begun_s) < seconds:
            due = min(int(passed_s * A_SECOND) - self.begun, 50)
            for _ in range(due):
                if len(self._open) >= _AT_ONCE:
                    self._end(next(iter(self._open)))
                self._begin(self.begun)
                self.begun += 1
            self._look(0.002)
        deadline_s = time.monotonic() + 2
        while self._open and time.monotonic() < deadline_s:
            self._look(0.05)
        for client in list(self._open):
            self._end(client)
        self._poll.close()

    def _begin(self, number: int) -> None:
        client = socket.socket()
        source = self._sources[number % len(self._sources)]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.settimeout(5)
        try:
            client.bind((source, 0))
            client.connect(("127.0.0.1", self._port))
            client.sendall(self._hello(number))
        except OSError:
            self.answers["no connection"] += 1
            client.close()
            return
        self._open[client] = bytearray()
        self._by_number[client.fileno()] = client
        self._poll.register(client.fileno(), select.EPOLLIN)

    def _look(self, within_s: float) -> None:
        for number, _ in self._poll.poll(within_s):
            client = self._by_number[number]
            data = b""
            with suppress(OSError):
                data = client.recv(65536)
            self._open[client] += data
            if not data or b"\0" in data or b"\r\n\r\n" in data:
                self._end(client)

    def _end(self, client: socket.socket) -> None:
        data = bytes(self._open.pop(client))
        del self._by_number[client.fileno()]
        self._poll.unregister(client.fileno())
        client.close()
        if data.startswith(b"HTTP/"):
            self.answers[data.split()[1].decode()] += 1
        else:
            frames = StompReader("1.2").read(data) if data else []
            self.answers[frames[0].headers.get("message", "in") if frames else ""] += 1


def wrong_password(number: int) -> bytes:
    name = ("ada", NAMES[number % 12], f"unknown{number % 500}")[number % 3]
    return frame_bytes("CONNECT", accept_version="1.2", login=name, passcode=f"wrong{number}")


def wrong_token(number: int) -> bytes:
    body = {"sub": "ada", "exp": 2_000_000_000, "jti": number}
    token = hmac_signed({"alg": "HS256"}, body, b"this is not the secret of the site")
    return frame_bytes("CONNECT", accept_version="1.2", passcode=token)


@pytest.mark.parametrize("count", [1, 500], ids=["one source", "many sources"])
@pytest.mark.parametrize("hello", [wrong_password, wrong_token])
def test_others_do_not_wait_while_strangers_try_to_log_in(
    opened: Open, hello: Callable[[int], bytes], count: int
) -> None:
    server = opened(BOTH + COSTLY)
    as_ada(server, "127.0.0.9")  # a source from which she has logged in before
    # Each check that runs takes 32 MiB for a moment, and each client that waits is a session.
    with attack(server, NO_END, holds=128 * MIB, is_compared=True) as scene:
        flood = Flood(server.stomp, sources(count), hello)
        flood.run(times(3, 12))
        assert flood.begun >= times(3, 12) * A_SECOND * MACHINE
        assert flood.answers["in"] == 0
        assert flood.answers.total() > flood.answers[""]
        known = ("access refused", "too many log-ins at once", "too many connections", "no connect")
        assert [one for one in flood.answers if one and not one.startswith(known)] == []
        # It ends with its clients: nothing is left that is still to be checked.
        until("end of the flood", lambda: server.health()["stomp_sessions"] <= 1, 10)
        begun_s = time.monotonic()
        assert as_ada(server, "127.0.0.9")["x-user"] == "ada"
        assert time.monotonic() - begun_s < 5
        assert as_ada(server, "127.0.0.10")["x-user"] == "ada", "from elsewhere she waits a little"
        assert time.monotonic() - begun_s < 20
        assert len(scene.log().splitlines()) < 500 + 250 * count


def test_others_do_not_wait_while_strangers_send_forms(opened: Open) -> None:
    server = opened(USERS + COSTLY)
    browser = Browser(server)
    form = browser.form()
    cookie = f"rtchat_form={browser.cookies['rtchat_form']}"

    def post(number: int) -> bytes:
        body = urlencode({"name": f"user{number % 40}", "password": "wrong", "form": form})
        head = (
            f"POST /login HTTP/1.1\r\nHost: localhost:{server.http}\r\nCookie: {cookie}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
            f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()

    with attack(server, NO_END, holds=128 * MIB, is_compared=True):
        flood = Flood(server.http, sources(200), post)
        flood.run(times(3, 12))
        assert flood.begun >= times(3, 12) * A_SECOND * MACHINE
        assert set(flood.answers) <= {"403", "503", ""}
        assert get(server.http, "/")[0] == 200
