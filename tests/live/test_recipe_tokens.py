"""The recipes with tokens: FastAPI and Flask sites, nginx's auth_request, OpenID Connect."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import NamedTuple

import jwt
import pytest
from playwright.sync_api import Browser, Page, expect
from support.documents import recipe
from support.front import running_nginx
from support.http_site import answer, site
from support.needs import require_module
from support.process import ROOT, Server, free_port, until
from support.stock_clients import STOCK_CLIENTS, Account
from support.stompjs import StompJs
from support.stompy import StompPy
from support.tokens import jwk, jwks, private_pem, rsa_key
from support.web_site import running_site

pytestmark = [pytest.mark.live]

_PASSWORD = "correct horse battery"
_SECONDS = 5
_WITHIN_MS = 15_000


class Team(NamedTuple):
    """A site that signs tokens, and rtchat beside it.

    Attributes:
        port: The site's port.
        chat: The server.
        secret: What the tokens are signed with.
    """

    port: int
    chat: Server
    secret: str

    @property
    def url(self) -> str:
        """The site's address."""
        return f"http://localhost:{self.port}/"

    def token(self, name: str) -> str:
        """Return a token as the site gives it to a program."""
        basic = base64.b64encode(f"{name}:{_PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.url}token", b"", {"Authorization": f"Basic {basic}"}
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            token: str = json.load(response)
        return token

    def signed(self, user: str, expires_s: float, *groups: str) -> str:
        """Return a token like those of the site, with an end of the test's own."""
        claims = {"sub": user, "iss": "team-site", "aud": "team-chat", "exp": expires_s}
        return jwt.encode({**claims, "groups": groups}, self.secret, "HS256")


@contextmanager
def running_team(folder: Path, heading: str, example: str, *more: str) -> Iterator[Team]:
    """Run an example, and rtchat with the chat.ini of a recipe."""
    secret = os.urandom(32).hex()
    (folder / "chat.secret").write_text(secret)
    port, http, stomp = free_port(), free_port(), free_port()
    text = recipe(heading, "ini").replace("9000", str(http)).replace("61613", str(stomp))
    text = text.replace("8000", str(port)) + "\n[log]\nclient.max_lines = 0\n"
    command = [sys.executable, str(ROOT / "examples" / example), "--port", str(port)]
    command += ["--chat", f"http://localhost:{http}", "--password", _PASSWORD, *more]
    with running_site(command, folder, port), Server(folder, text, http=http, stomp=stomp) as chat:
        yield Team(port, chat, secret)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    require_module("fastapi")
    folder = tmp_path_factory.mktemp("team")
    with running_team(folder, "FastAPI", "fastapi_chat.py", "--seconds", str(_SECONDS)) as team:
        yield team


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(_WITHIN_MS)
    yield page
    context.close()


def log_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("body")).to_contain_text(f"You are {name}.")


# ---------------------------------------------------------------- FastAPI


@pytest.mark.parametrize("with_client", STOCK_CLIENTS)
def test_stock_clients_log_in_with_a_token(
    team: Team, with_client: Callable[[Server, Account], None]
) -> None:
    token = team.signed("grace", time.time() + 120)
    with_client(team.chat, Account("grace", "token", token))


def test_a_token_ends_at_its_second_and_a_new_one_goes_on(team: Team) -> None:
    ends = time.time() + 8
    login = {"login": "token", "passcode": team.signed("ada", ends, "staff")}
    clients = [
        StompJs(team.chat, "/ws", "/queue/jobs", "text", connect_headers=login) for _ in range(2)
    ]
    stays, goes = clients
    for client in clients:
        client.expect("ready")
    stays.order(token=team.signed("ada", ends + 120, "staff"))
    stays.expect("renewed")
    assert time.time() < ends
    assert goes.expect("error")["headers"]["message"] == "token expired"
    # Exact times are those of tests/net/auth/test_login.py; here other processes have a part.
    assert ends <= time.time() < ends + 5
    assert goes.expect("closed")["code"] == 3000
    stays.order(body=json.dumps("still here"))
    assert stays.expect("message")["headers"]["x-user"] == "ada"
    for client in clients:
        client.close()


def test_the_site_gives_tokens_to_programs(team: Team) -> None:
    with StompPy(team.chat.stomp, connects=False) as client:
        client.connection.connect("token", team.token("ada"), wait=True)
        assert client.connected["x-user"] == "ada"


def test_a_token_of_another_user_does_not_renew(team: Team) -> None:
    login = {"login": "token", "passcode": team.signed("ada", time.time() + 120)}
    client = StompJs(team.chat, "/ws", "/topic/chat", "text", connect_headers=login)
    client.expect("ready")
    client.order(token=team.signed("grace", time.time() + 120))
    assert client.expect("error")["headers"]["message"] == "access refused"
    assert client.expect("closed")["code"] == 3501
    client.close()


@pytest.mark.browser
def test_the_sites_cookie_lets_its_users_into_the_chat_and_is_renewed(
    team: Team, page: Page
) -> None:
    log_in(page, team.url, "ada")
    frame = page.frame_locator("iframe")
    frame.locator("#cover-button").click()
    body = frame.locator("body")
    expect(body).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)
    before = team.chat.log().count("token expired")
    team.chat.until_logged("token expired")
    while team.chat.log().count("token expired") == before:
        page.wait_for_timeout(100)
    frame.locator("#text").fill("hello after the end of the first token")
    frame.locator("#text").press("Enter")
    said = frame.locator(".message-text").filter(has_text="hello after the end")
    expect(said).to_be_visible(timeout=_WITHIN_MS)
    expect(frame.locator(".message-nick").last).to_have_text("Ada")

    # After a log-out there is no new token, and the chat ends with the last one.
    chat = page.context.new_page()
    chat.goto(team.chat.url)
    expect(chat.locator("body")).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)
    page.get_by_role("button", name="Log out").click()
    expect(chat.locator("#offline-text")).to_contain_text("Log in there", timeout=_WITHIN_MS)


# ---------------------------------------------------------------- Flask


def test_the_cookie_of_the_flask_site_lets_its_user_in(tmp_path: Path) -> None:
    with running_team(tmp_path, "FastAPI", "flask_login.py") as team:
        jar = CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        form = urllib.parse.urlencode({"name": "ada", "password": _PASSWORD}).encode()
        opener.open(team.url, form, timeout=20).close()
        [cookie] = jar
        assert cookie.has_nonstandard_attr("HttpOnly")
        headers = {"Cookie": f"{cookie.name}={cookie.value}"}
        client = StompJs(team.chat, "/ws", "/topic/chat", "text", request_headers=headers)
        client.expect("ready")
        client.order(body=json.dumps("hello"))
        assert client.expect("message")["headers"]["x-user"] == "ada"
        client.close()
        stranger = StompJs(team.chat, "/ws", "/topic/chat", "text")
        assert stranger.expect("error")["headers"]["message"] == "access refused"
        stranger.close()


# ---------------------------------------------------------------- nginx


@pytest.mark.browser
def test_nginx_asks_the_site_and_the_chat_knows_the_user(tmp_path: Path, page: Page) -> None:
    require_module("fastapi")
    heading = "nginx with auth_request"
    with running_team(tmp_path, heading, "fastapi_chat.py", "--seconds", str(_SECONDS)) as team:
        conf = recipe(heading, "nginx").replace("9000", str(team.chat.http))
        conf = conf.replace("8000", str(team.port)).replace("https://www.example.com/", team.url)
        with running_nginx(tmp_path, conf) as url:
            page.goto(url)
            assert page.url == team.url  # where one logs in
            log_in(page, team.url, "ada")
            page.goto(url)
            body = page.locator("body")
            expect(body).to_have_attribute("data-state", "online", timeout=_WITHIN_MS)
            expect(page.locator("#account-user")).to_have_text("ada")
            page.locator("#text").fill("hello through nginx")
            page.locator("#text").press("Enter")
            expect(page.locator(".message-text")).to_have_text("hello through nginx")
            page.context.clear_cookies()
            team.chat.until_logged("token expired")
            # The site says that no one has logged in, and nginx opens no WebSocket.
            expect(body).to_have_attribute("data-state", "offline", timeout=_WITHIN_MS)


# ---------------------------------------------------------------- OpenID Connect


def id_token(key: str, **more: object) -> str:
    """Return an ID token of the provider."""
    now = int(time.time())
    claims = {"sub": "7f1c", "iss": "{issuer}", "aud": "team-chat", "iat": now, "exp": now + 60}
    return jwt.encode(
        {**claims, "nick": "Ada", "groups": ["staff"], **more},
        private_pem(rsa_key(key)),
        "RS256",
        headers={"kid": key},
    )


def test_tokens_of_a_provider_are_accepted_and_its_new_keys_are_fetched(tmp_path: Path) -> None:
    with site() as provider:
        provider.answers = answer(jwks(jwk(rsa_key("spring"), "spring", alg="RS256", use="sig")))
        issuer = f"http://{provider.host}:{provider.port}/realms/team"
        text = recipe("OpenID Connect", "ini").replace(
            "https://login.example.com/realms/team", issuer
        )
        http, stomp = free_port(), free_port()
        listen = f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n[access]\n"
        listen += f"self -> localhost:{stomp}\n"
        with Server(tmp_path, listen + text, http=http, stomp=stomp) as chat:

            def connects(token: str) -> bool:
                login = {"login": "token", "passcode": token}
                client = StompJs(chat, "/ws", "/queue/jobs", "text", connect_headers=login)
                try:
                    return bool(client.next()["event"] == "ready")
                finally:
                    client.close()

            assert connects(id_token("spring", iss=issuer))
            assert not connects(id_token("spring", iss=issuer, aud="another application"))
            assert not connects(id_token("spring", iss="http://another.example"))
            assert not connects(id_token("summer", iss=issuer))
            asked = len(provider.requests)
            both = [jwk(rsa_key(name), name) for name in ("spring", "summer")]
            provider.answers = answer(jwks(*both))
            chat.send_signal(signal.SIGHUP)
            until("question to the provider", lambda: len(provider.requests) > asked)
            assert connects(id_token("summer", iss=issuer))
            assert "wrong audience" in chat.log()
            assert "unknown key id" in chat.log()
