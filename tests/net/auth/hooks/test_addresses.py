"""Which URLs a hook may have."""

from __future__ import annotations

import pytest

from rtchat.net.auth.hooks.addresses import plain_url, restq_addresses, url_problem
from rtchat.net.auth.hooks.answers import BrokenAnswer


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:5000",
        "https://example.org/rtchat/hook?site=1",
        "http://[::1]:8000/{event}",
        "restq+http://localhost:5000/",
        "restq+https://example.org/restq",
    ],
)
def test_a_url(url: str) -> None:
    assert url_problem(url) == ""


@pytest.mark.parametrize(
    "url, problem",
    [
        ("", "is not a URL"),
        ("localhost:5000", "is not a URL"),
        ("ftp://localhost/", "is not a URL"),
        ("http:///path", "is not a URL"),
        ("http://host:0/", "is not a URL"),
        ("http://host:99999/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("restq+restq+http://host/", "is not a URL"),
        ("http://anna:secret@host/", "holds a name or password"),
        ("http://host/#top", "has a fragment"),
        ("http://host/a b", "holds spaces"),
        ("http://höst/", "not ASCII"),
    ],
)
def test_what_is_none(url: str, problem: str) -> None:
    assert problem in url_problem(url)


def test_the_log_shows_no_query() -> None:
    assert plain_url("https://example.org/hook?key=secret") == "https://example.org/hook"


def test_a_controller_says_where_events_go() -> None:
    data = b'{"connect": "http://a:1/c", "send": "s", "subscribe": null, "other": 7}'
    assert restq_addresses(data, "http://site:5000/restq/") == {
        "connect": "http://a:1/c",
        "send": "http://site:5000/restq/s",
    }
    assert restq_addresses(b"{}", "http://site/") == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"connect": 7}',
        b'{"connect": "ftp://a/"}',
        b'{"connect": "http://a:b@c/"}',
        b'{"connect": "http://[::1/"}',
        b'{"connect": "restq+http://a/"}',
        b'{"connect": "http://site/"}',
    ],
)
def test_what_it_must_not_say(data: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        restq_addresses(data, "https://site/")
