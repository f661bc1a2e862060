"""``GET /tcp/`` tells a page what it may reach, and no other page anything."""

from __future__ import annotations

import pytest
import simplejson
from support.net import FakeBrowser, FakeSite
from support.websocket import http_request
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.net.gateway.targets import Targets
from rtchat.net.web.site import PageSite

RULES = (
    "self -> localhost:6667",
    "* -> echo.example:7",
    "chat.example -> [2001:db8::1]:5222",
    "chat.example -> localhost:6667",
    "partner.example:8443 -> ledger.example:25",
    "localhost:9000 -> named.example:1234",
)

EVERYBODYS = ["echo.example:7"]
OWN = ["localhost:6667", "echo.example:7"]
OWN_BY_NAME = [*OWN, "named.example:1234"]


def targets(origin_required: bool = False, **headers: str) -> list[str]:
    browser = FakeSite(RULES, origin_required=origin_required).browser()
    answer = browser.get("/tcp/", **headers)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    listed: list[str] = simplejson.loads(answer.body)["targets"]
    return listed


def test_a_page_of_this_server_learns_what_self_and_everybody_may_reach() -> None:
    # A browser sends no Origin with a GET to the page's own server.
    assert targets() == OWN


def test_a_browser_that_says_same_origin_gets_the_rules_that_name_this_server_too() -> None:
    assert targets(Sec_Fetch_Site="same-origin") == OWN_BY_NAME
    assert targets(Sec_Fetch_Site="none") == OWN_BY_NAME
    assert targets(origin_required=True, Sec_Fetch_Site="same-origin") == OWN_BY_NAME


def test_a_page_elsewhere_learns_its_own_targets_only() -> None:
    assert targets(Origin="http://chat.example") == [*OWN, "[2001:db8::1]:5222"]
    assert targets(Origin="https://partner.example:8443") == [*EVERYBODYS, "ledger.example:25"]


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0", ""])
def test_another_protocol_to_upgrade_to_is_ignored(upgrade: str) -> None:
    assert targets(Upgrade=upgrade, Connection="Upgrade, HTTP2-Settings") == OWN


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://partner.example", "x"])
def test_a_stranger_learns_what_everybody_may_reach(origin: str) -> None:
    assert targets(Origin=origin) == EVERYBODYS


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unheard-of"])
def test_a_page_elsewhere_that_hides_its_origin_is_a_stranger(site: str) -> None:
    # As a script or a picture: no Origin, but the browser tells that it is another site.
    assert targets(Sec_Fetch_Site=site) == EVERYBODYS


def test_without_an_origin_nothing_is_listed_when_one_is_required() -> None:
    assert targets(origin_required=True) == []


def test_two_origin_headers_are_nobody() -> None:
    request = (
        b"GET /tcp/ HTTP/1.1\r\nHost: localhost:9000\r\n"
        b"Origin: http://localhost:9000\r\nOrigin: http://chat.example\r\n\r\n"
    )
    answer = FakeSite(RULES).browser().ask(request)
    assert simplejson.loads(answer.body)["targets"] == EVERYBODYS


def test_the_servers_own_listeners_are_marked() -> None:
    own: list[Target] = []
    access = AccessList(map(AccessRule.parse, ("* -> localhost:61613", "* -> localhost:7")))
    root = Resource()
    root.putChild(b"tcp", Targets(access, own))
    browser = FakeBrowser(PageSite(root, HostList(), Clock()))
    assert simplejson.loads(browser.get("/tcp").body)["broker"] == []
    own.append(Target("localhost", 61613))  # its port has been opened meanwhile
    assert simplejson.loads(browser.get("/tcp").body) == {
        "targets": ["localhost:61613", "localhost:7"],
        "broker": ["localhost:61613"],
    }


def test_a_page_that_a_rule_names_may_read_the_answer_and_a_stranger_may_not() -> None:
    rules = ("chat.example -> localhost:6667",)
    answer = FakeSite(rules).browser().get("/tcp/", Origin="http://chat.example")
    assert answer.headers["access-control-allow-origin"] == "http://chat.example"
    answer = FakeSite(rules).browser().get("/tcp/", Origin="http://evil.example")
    assert "access-control-allow-origin" not in answer.headers
    assert simplejson.loads(answer.body) == {"targets": [], "broker": []}


def test_the_answer_is_neither_kept_nor_embedded_nor_guessed_at() -> None:
    headers = FakeSite(RULES).browser().get("/tcp/").headers
    assert headers["cache-control"] == "no-store"
    assert headers["vary"] == "Origin, Sec-Fetch-Site, Authorization, Cookie"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"


def test_only_get_and_head_are_answered() -> None:
    request = http_request("POST", "/tcp/", {"Host": "localhost:9000", "Content-Length": "0"})
    assert FakeSite(RULES).browser().ask(request).status == 405
    request = http_request("HEAD", "/tcp/", {"Host": "localhost:9000"})
    assert FakeSite(RULES).browser().ask(request, has_body=False).status == 200


def test_a_websocket_without_a_target_is_refused_as_before() -> None:
    answer = FakeSite(RULES).browser().get("/tcp/", Upgrade="websocket")
    assert answer.status == 403


@pytest.mark.parametrize("path", ["/tcp", "/tcp//", "/tcp/localhost:6667"])
def test_the_list_is_at_one_address_only(path: str) -> None:
    answer = FakeSite(RULES, wrap_target=None).browser().get(path, Origin="http://evil.example")
    assert answer.status == 403
    assert "6667" not in answer.text
