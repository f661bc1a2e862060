"""``/login`` and ``/logout`` over raw HTTP: form, token and cookie, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from support.logs import captured_logs
from support.net import FakeBrowser, cooperation
from support.process import ROOT
from support.websocket import Answer, http_request
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.hosts import HostList
from rtchat.core.auth.credentials import SESSION_COOKIE
from rtchat.core.auth.identity import Identity
from rtchat.core.broker.authenticator import Visitor
from rtchat.errors import AccessRefused, LimitExceeded
from rtchat.net.auth.login_page import FORM_COOKIE, Forms, LoginPage, LogoutPage
from rtchat.net.auth.page_sessions import KEY_BYTES, CookieSessions
from rtchat.net.web.files import page_tree
from rtchat.net.web.site import PageSite

KEY = bytes(range(KEY_BYTES))
HOST = "chat.example"


class World:
    """A site with both pages, and a browser that keeps cookies."""

    def __init__(self, clock: Clock, *, has_passwords: bool = True, front: bool = False) -> None:
        self.sessions = CookieSessions(KEY, 3600, clock.seconds, {"ada": "hash"}.get)
        self.ended: list[str] = []
        self.asked: list[tuple[str, str, str]] = []
        self.answer: Deferred[bool] | None = None
        self.problem: Exception | None = None
        trusted = AddressList.parse(["192.0.2.1"]) if front else None
        tree = page_tree(ROOT / "static", {}, {})
        self.site = PageSite(tree, HostList([HOST]), clock, trusted=trusted)
        forms = Forms(KEY, self.site.is_secure)
        passwords = self if has_passwords else None
        tree.putChild(b"login", LoginPage(forms, self.sessions, self, passwords))
        tree.putChild(b"logout", LogoutPage(forms, self.sessions, self))
        self.browser = FakeBrowser(self.site, IPv4Address("TCP", "192.0.2.1", 50000))
        self.cookies: dict[str, str] = {}

    # In the place of the log-in of sessions, and of the passwords

    def who(self, visitor: Visitor) -> Identity:
        cookie = self.cookies.get(SESSION_COOKIE)
        if cookie is None:
            raise AccessRefused("no credentials")
        assert visitor.request["cookie"]
        return self.sessions.user_of(cookie)

    def end_page_session(self, cookie: str) -> None:
        self.ended.append(cookie)

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        self.asked.append((name, password, source))
        if self.answer is not None:
            return self.answer
        answer: Deferred[bool] = Deferred()
        if self.problem is not None:
            answer.errback(self.problem)
        else:
            answer.callback((name, password) == ("ada", "secret"))
        return answer

    # The browser

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given: dict[str, str | None] = {
            "Host": HOST,
            "Cookie": cookie or None,
            "Accept": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if body:
            given["Content-Type"] = "application/x-www-form-urlencoded"
            given["Content-Length"] = str(len(body))
        answer = self.browser.ask(http_request(method, path, given) + body.encode())
        name, _, rest = answer.headers.get("set-cookie", "").partition("=")
        if name:
            self.cookies[name] = rest.partition(";")[0]
        return answer

    def form(self) -> str:
        return str(json.loads(self.ask("GET", "/login").body)["form"])

    def post(self, path: str, /, headers: dict[str, str] | None = None, **fields: str) -> Answer:
        return self.ask("POST", path, urlencode(fields), **(headers or {}))

    def log_in(self, **fields: str) -> Answer:
        given = {"name": "ada", "password": "secret", "form": self.form(), **fields}
        return self.post("/login", None, **given)


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with cooperation(clock):
        yield clock


@pytest.fixture
def world(clock: Clock) -> World:
    return World(clock)


# ---------------------------------------------------------------- log-in


def test_the_right_password_sets_a_cookie_that_no_script_reads(world: World) -> None:
    answer = world.log_in()
    assert answer.status == 200
    assert json.loads(answer.body)["user"] == "ada"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{SESSION_COOKIE}=")
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600")
    assert world.sessions.user_of(world.cookies[SESSION_COOKIE]).user == "ada"
    assert world.asked == [("ada", "secret", "192.0.2.1")]
    assert json.loads(world.ask("GET", "/login").body)["user"] == "ada"


def test_over_a_front_proxy_with_tls_it_is_for_tls_only(clock: Clock) -> None:
    world = World(clock, front=True)
    form = world.form()
    secure = {"X_Forwarded_Proto": "https"}
    answer = world.post("/login", secure, name="ada", password="secret", form=form)
    assert answer.headers["set-cookie"].endswith("; Secure")
    # No other client can claim it.
    other = World(clock)
    form = other.form()
    answer = other.post("/login", secure, name="ada", password="secret", form=form)
    assert "Secure" not in answer.headers["set-cookie"]


@pytest.mark.parametrize("scheme, is_secure", [("https", True), ("http", False)])
def test_behind_a_front_proxy_that_does_not_tell_of_tls_the_browser_does(
    world: World, scheme: str, is_secure: bool
) -> None:
    form = world.form()
    headers = {"Origin": f"{scheme}://{HOST}"}
    answer = world.post("/login", headers, name="ada", password="secret", form=form)
    assert answer.headers["set-cookie"].endswith("; Secure") is is_secure


@pytest.mark.parametrize(
    "fields", [{"password": "wrong"}, {"name": "eve"}, {"name": ""}, {"name": "x" * 2000}]
)
def test_all_wrong_ones_get_the_same_words(world: World, fields: dict[str, str]) -> None:
    with captured_logs() as log:
        answer = world.log_in(**fields)
    assert answer.status == 403
    assert json.loads(answer.body) == {
        "user": "",
        "problem": "The name or the password is wrong. After several wrong ones the answer takes "
        "longer.",
        "reason": "wrong",
    }
    assert "set-cookie" not in answer.headers
    assert "secret" not in log.text()
    assert "wrong\n" not in log.text()


def test_a_check_that_is_refused_is_a_wrong_one_and_too_many_are_told_to_wait(
    world: World,
) -> None:
    world.problem = AccessRefused("the check has failed")
    assert world.log_in().status == 403
    world.problem = LimitExceeded("too many log in at once")
    answer = world.log_in()
    assert answer.status == 503
    assert answer.headers["retry-after"] == "10"
    assert json.loads(answer.body)["reason"] == "busy"
    form = world.form()
    page = world.post("/login", {"Accept": "text/html"}, name="ada", password="secret", form=form)
    assert page.status == 503
    assert "try again a little later" in page.text
    assert 'value="ada"' in page.text


def test_a_bug_is_logged_and_answered(world: World) -> None:
    world.problem = RuntimeError("bug")
    with captured_logs() as log:
        answer = world.log_in()
    assert answer.status == 500
    assert len(log.failures()) == 1


def test_a_browser_that_goes_takes_its_check_back(world: World) -> None:
    cancelled: list[object] = []
    form = world.form()
    world.answer = Deferred(cancelled.append)
    body = urlencode({"name": "ada", "password": "secret", "form": form})
    head = http_request(
        "POST",
        "/login",
        {
            "Host": HOST,
            "Cookie": f"{FORM_COOKIE}={world.cookies[FORM_COOKIE]}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(body)),
        },
    )
    world.browser.socket.receive(head + body.encode())
    assert len(world.asked) == 1
    world.browser.socket.end()
    assert len(cancelled) == 1


def test_a_form_without_scripts(world: World) -> None:
    html = {"Accept": "text/html"}
    page = world.ask("GET", "/login", **html)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    [form] = re.findall(r'name="form" value="([0-9a-f]+)"', page.text)
    wrong = world.post("/login", html, name='<b>"ada', password="x", form=form)
    assert wrong.status == 403
    assert "The name or the password is wrong." in wrong.text
    assert "&lt;b&gt;&quot;ada" in wrong.text
    assert "<b>" not in wrong.text
    right = world.post("/login", html, name="ada", password="secret", form=form)
    assert (right.status, right.headers["location"]) == (303, "/")
    assert SESSION_COOKIE in world.cookies


def test_without_passwords_there_is_no_form(clock: Clock) -> None:
    world = World(clock, has_passwords=False)
    answer = world.ask("GET", "/login")
    assert json.loads(answer.body) == {"user": "", "form": ""}
    assert "set-cookie" not in answer.headers
    page = world.ask("GET", "/login", Accept="text/html")
    assert "Log in there" in page.text
    assert "<form" not in page.text
    assert "set-cookie" not in page.headers


# ---------------------------------------------------------------- requests of others


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize(
    "headers, fields",
    [
        ({"Origin": "https://evil.example"}, {}),
        ({"Origin": "null"}, {}),
        ({"Origin": f"http://{HOST}:1"}, {}),
        ({"Sec_Fetch_Site": "cross-site"}, {}),
        ({"Sec_Fetch_Site": "same-site"}, {}),
        ({}, {"form": ""}),
        ({}, {"form": "0" * 64}),
        ({}, {"form": "é"}),
    ],
)
def test_a_request_of_another_site_does_nothing(
    world: World, path: str, headers: dict[str, str], fields: dict[str, str]
) -> None:
    world.log_in()
    world.asked.clear()
    before = dict(world.cookies)
    given = {"name": "ada", "password": "secret", "form": world.form(), **fields}
    answer = world.post(path, headers, **given)
    assert answer.status == 403
    assert (world.asked, world.ended) == ([], [])
    assert world.cookies == before
    assert world.sessions.user_of(before[SESSION_COOKIE]).user == "ada"


@pytest.mark.parametrize("origin", [f"http://{HOST}", f"https://{HOST}"])
def test_a_request_of_its_own_page_is_taken(world: World, origin: str) -> None:
    form = world.form()
    headers = {"Origin": origin, "Sec_Fetch_Site": "same-origin"}
    assert world.post("/login", headers, name="ada", password="secret", form=form).status == 200


def test_over_tls_a_page_without_it_is_no_page_of_its_own(clock: Clock) -> None:
    world = World(clock, front=True)
    secure = {"X_Forwarded_For": "198.51.100.7", "X_Forwarded_Proto": "https"}
    for scheme, status in (("http", 403), ("https", 200)):
        fields = {"name": "ada", "password": "secret", "form": world.form()}
        headers = {**secure, "Origin": f"{scheme}://{HOST}"}
        assert world.post("/login", headers, **fields).status == status


def test_the_token_of_another_browser_is_none(clock: Clock, world: World) -> None:
    other = World(clock)
    assert world.log_in(form=other.form()).status == 403


def test_a_browser_without_cookies_is_told(world: World) -> None:
    form = world.form()
    world.cookies.clear()
    answer = world.post("/login", name="ada", password="secret", form=form)
    assert answer.status == 403
    assert json.loads(answer.body)["reason"] == "form"
    assert "has to keep cookies" in json.loads(answer.body)["problem"]


def test_a_get_logs_nobody_in_or_out(world: World) -> None:
    world.log_in()
    world.ask("GET", "/login?name=eve&password=x")
    assert world.ask("GET", "/logout").status == 405
    assert world.ended == []


def test_a_cookie_that_was_there_before_is_not_the_one_after(world: World) -> None:
    planted = world.sessions.open("ada")
    world.cookies[SESSION_COOKIE] = planted
    world.log_in()
    assert world.cookies[SESSION_COOKIE] != planted
    with pytest.raises(AccessRefused):
        world.sessions.user_of(planted)
    assert world.ended == [planted]


# ---------------------------------------------------------------- log-out


def test_a_log_out_ends_cookie_and_sessions(world: World) -> None:
    world.log_in()
    cookie = world.cookies[SESSION_COOKIE]
    answer = world.post("/logout", form=world.form())
    assert answer.status == 200
    assert json.loads(answer.body) == {"user": ""}
    assert answer.headers["set-cookie"] == (
        f"{SESSION_COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
    )
    assert world.ended == [cookie]
    with pytest.raises(AccessRefused):
        world.sessions.user_of(cookie)


def test_a_log_out_without_scripts_leads_to_the_page(world: World) -> None:
    world.log_in()
    answer = world.post("/logout", {"Accept": "text/html"}, form=world.form())
    assert (answer.status, answer.headers["location"]) == (303, "/")
