"""The page says where users log in, and is a file like any other beside that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.logs import captured_logs
from support.net import FakeBrowser, cooperation
from support.process import ROOT
from twisted.internet.task import Clock

from rtchat.core.access.hosts import HostList
from rtchat.net.auth.front_page import FORM, SITE, FrontPage
from rtchat.net.web.files import page_tree
from rtchat.net.web.site import PageSite

_INDEX = ROOT / "static" / "index.html"


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with cooperation(clock), captured_logs() as logs:
        yield clock
        assert logs.failures() == []


def browser_of(clock: Clock, path: Path = _INDEX, log_in: str = FORM) -> FakeBrowser:
    root = page_tree(ROOT / "static", {}, {})
    root.putChild(b"", FrontPage(path, log_in))
    return FakeBrowser(PageSite(root, HostList(), clock))


@pytest.mark.parametrize("log_in", [FORM, SITE])
def test_it_is_the_page_with_the_place_of_the_log_in(clock: Clock, log_in: str) -> None:
    answer = browser_of(clock, log_in=log_in).get("/")
    assert answer.status == 200
    mark = f'<meta name="rtchat-log-in" content="{log_in}">'.encode()
    before = _INDEX.read_bytes()
    assert answer.body.count(mark) == 1
    assert answer.body.replace(mark, b'<meta name="rtchat-log-in" content="">') == before


def test_without_a_log_in_the_place_is_empty() -> None:
    assert _INDEX.read_bytes().count(b'<meta name="rtchat-log-in" content="">') == 1


def test_it_is_kept_and_checked_like_a_file(clock: Clock) -> None:
    browser = browser_of(clock)
    answer = browser.get("/")
    plain = FakeBrowser(PageSite(page_tree(ROOT / "static", {}, {}), HostList(), clock)).get("/")
    tag = answer.headers["etag"]
    assert tag != plain.headers["etag"], "a browser would keep the page of before"
    assert answer.headers["last-modified"] == plain.headers["last-modified"]
    policy = "content-security-policy"
    assert answer.headers[policy] == plain.headers[policy]
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert browser.get("/", If_None_Match=tag).status == 304
    part = browser.get("/", Range="bytes=0-14")
    assert (part.status, part.body) == (206, b"<!DOCTYPE html>")


def test_a_page_of_ones_own_without_the_mark_is_sent_as_it_is(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>own</p>")
    assert browser_of(clock, tmp_path / "index.html").get("/").body == b"<p>own</p>"
