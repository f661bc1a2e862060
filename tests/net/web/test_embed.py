"""``/embed`` over raw HTTP: who may frame the page, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import simplejson
from support.logs import captured_logs
from support.net import FakeBrowser, cooperation
from support.process import ROOT
from twisted.internet.task import Clock

from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.net.web.embed import EmbedPage
from rtchat.net.web.files import page_tree
from rtchat.net.web.site import PageSite

STATIC = ROOT / "static"
BROKER = Target("localhost", 61613)
RULES = (
    "self -> localhost:61613",
    "www.example:8080 -> localhost:61613",
    "irc.example -> localhost:6667",
)


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with cooperation(clock):
        yield clock


def browser_of(
    clock: Clock, *rules: str, broker: tuple[Target, ...] = (BROKER,), page: Path | None = None
) -> FakeBrowser:
    access = AccessList(map(AccessRule.parse, rules))
    embed = EmbedPage(page or STATIC / "embed.html", access, broker)
    return FakeBrowser(PageSite(page_tree(STATIC, {}, {"embed": embed}), HostList(()), clock))


def test_the_frame_is_a_page_with_the_policy_of_the_access_list(clock: Clock) -> None:
    answer = browser_of(clock, *RULES).get("/embed?host=x#room")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.endswith(
        "frame-ancestors 'self' http://www.example:8080 https://www.example:8080"
    )
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    # It would forbid what the policy allows.
    assert "x-frame-options" not in answer.headers


def test_the_chat_page_itself_stays_in_its_own_house(clock: Clock) -> None:
    browser = browser_of(clock, *RULES)
    for path in ("/", "/static/index.html", "/static/embed.html", "/static/chat.js"):
        policy = browser.get(path).headers["content-security-policy"]
        assert policy.endswith("frame-ancestors 'self'"), path


def test_listeners_that_open_later_count(clock: Clock) -> None:
    broker: list[Target] = []
    access = AccessList(map(AccessRule.parse, RULES))
    embed = EmbedPage(STATIC / "embed.html", access, broker)
    browser = FakeBrowser(PageSite(page_tree(STATIC, {}, {"embed": embed}), HostList(()), clock))
    assert "frame-ancestors 'none'" in browser.get("/embed").headers["content-security-policy"]
    broker.append(BROKER)
    assert "frame-ancestors 'self'" in browser.get("/embed").headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/embed/", "/embed/other", "/embed/embed.html"])
def test_there_is_nothing_else_at_this_address(clock: Clock, path: str) -> None:
    assert browser_of(clock, *RULES).get(path).status == 404


@pytest.mark.parametrize(
    "headers, lacking",
    [
        ({"Origin": "http://www.example:8080"}, []),
        ({"Origin": "http://www.example"}, ["www.example"]),
        ({"Origin": "http://irc.example"}, ["irc.example"]),
        ({"Origin": "http://localhost:9000"}, []),
        ({"Sec_Fetch_Site": "same-origin"}, []),
        # Loaded as an image: the page cannot read the answer, and is not allowed anything by it.
        ({"Sec_Fetch_Site": "cross-site"}, ["*"]),
    ],
)
def test_a_page_may_ask_what_it_lacks(
    clock: Clock, headers: dict[str, str], lacking: list[str]
) -> None:
    with captured_logs() as logs:
        answer = browser_of(clock, *RULES).get("/embed/check", **headers)
    assert answer.status == 200
    assert simplejson.loads(answer.body) == {"lacking": lacking}
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Origin, Sec-Fetch-Site"
    assert bool(logs.lines("warn")) == bool(lacking)


def test_the_log_says_which_line_to_add(clock: Clock) -> None:
    with captured_logs() as logs:
        browser_of(clock, "irc.example -> localhost:6667").get(
            "/embed/check", Origin="https://www.example:8443"
        )
    assert logs.lines("warn") == [
        "192.0.2.1:54321: refused, Origin 'https://www.example:8443' (Host 'localhost:9000') may "
        "not show the chat. If it should, add to [access]: "
        "www.example:8443 -> localhost:61613 and self -> localhost:61613"
    ]


def test_without_a_listener_the_log_says_so(clock: Clock) -> None:
    with captured_logs() as logs:
        browser_of(clock, *RULES, broker=()).get("/embed/check", Origin="http://www.example:8080")
    assert "there is no stomp:// listener" in logs.text()


@pytest.mark.parametrize(
    "page, lacking",
    [
        # A front proxy has changed Host: the page's own word is all there is.
        ("https://chat.example", ["chat.example"]),
        ("http://localhost:9000", []),
        ("null", ["*"]),
        ("", ["*"]),
    ],
)
def test_the_chat_page_may_ask_for_itself(clock: Clock, page: str, lacking: list[str]) -> None:
    browser = browser_of(clock, "self -> localhost:61613")
    answer = browser.get(f"/embed/check?page={quote(page, safe='')}")
    assert simplejson.loads(answer.body) == {"lacking": lacking}


@pytest.mark.parametrize(
    "rules, asks",
    [
        (["self @staff -> localhost:61613"], True),
        (["self @staff -> localhost:61613", "self * -> localhost:61613"], True),
        (["self @staff -> localhost:61613", "self -> localhost:61613"], False),
        (["self -> localhost:61613", "self @staff -> irc.example"], False),
    ],
)
def test_the_page_hears_that_its_rules_ask_for_a_user(
    clock: Clock, rules: list[str], asks: bool
) -> None:
    browser = browser_of(clock, *rules)
    answer = browser.get(f"/embed/check?page={quote('http://localhost:9000', safe='')}")
    expected = {"lacking": [], "asks": True} if asks else {"lacking": []}
    assert simplejson.loads(answer.body) == expected


def test_another_page_cannot_speak_for_ours(clock: Clock) -> None:
    browser = browser_of(clock, "self -> localhost:61613")
    path = "/embed/check?page=http%3A%2F%2Flocalhost%3A9000"
    answer = browser.get(path, Origin="http://evil.example")
    assert simplejson.loads(answer.body) == {"lacking": ["evil.example"]}


def test_nor_can_an_image_in_another_page(clock: Clock) -> None:
    browser = browser_of(clock, "self -> localhost:61613")
    path = "/embed/check?page=https%3A%2F%2Fwiki.example"
    with captured_logs() as logs:
        answer = browser.get(path, **{"Sec-Fetch-Site": "cross-site"})
    assert simplejson.loads(answer.body) == {"lacking": ["*"]}
    assert "wiki.example" not in "".join(logs.lines())


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_a_browser_that_says_where_it_asks_from_may_ask(clock: Clock, site: str) -> None:
    browser = browser_of(clock, "self -> localhost:61613")
    path = "/embed/check?page=https%3A%2F%2Fchat.example"
    answer = browser.get(path, **{"Sec-Fetch-Site": site})
    assert simplejson.loads(answer.body) == {"lacking": ["chat.example"]}


def test_the_log_says_what_a_rule_for_every_page_means(clock: Clock) -> None:
    with captured_logs() as logs:
        browser_of(clock, "self -> localhost:61613").get("/embed/check?page=nonsense")
    assert "every page in the world: * -> localhost:61613" in "".join(logs.lines())
