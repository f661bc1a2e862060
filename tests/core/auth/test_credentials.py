"""Which credentials count, of all that a client shows."""

from __future__ import annotations

import base64

import pytest

from rtchat.core.auth.credentials import (
    PageSession,
    Password,
    Token,
    chosen,
    cookie_values,
)
from rtchat.core.broker.authenticator import Visitor
from rtchat.errors import AccessRefused


def visitor(request: dict[str, str] | None = None, /, **headers: str) -> Visitor:
    return Visitor(headers, request or {}, "192.0.2.1")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


EVERYTHING = {
    "authorization": "Bearer from-the-header",
    "cookie": "site=from-the-cookie; rtchat_session=of-the-page",
}


def test_the_first_ones_that_are_there_count() -> None:
    shown = dict(EVERYTHING)
    assert chosen(visitor(shown, login="ada", passcode="x"), "site") == Password("ada", "x")
    assert chosen(visitor(shown, passcode="x"), "site") == Token("x")
    assert chosen(visitor(shown), "site") == Token("from-the-header")
    del shown["authorization"]
    assert chosen(visitor(shown), "site") == Token("from-the-cookie")
    assert chosen(visitor(shown), "") == PageSession("of-the-page")
    assert chosen(visitor({}), "site") is None


def test_a_token_may_be_the_passcode_of_the_login_token() -> None:
    assert chosen(visitor(login="token", passcode="x")) == Token("x")
    assert chosen(visitor(login="", passcode="x")) == Token("x")
    assert chosen(visitor(login="Token", passcode="x")) == Password("Token", "x")


def test_an_empty_password_is_one_and_a_login_alone_is_none() -> None:
    assert chosen(visitor(login="ada", passcode="")) == Password("ada", "")
    assert chosen(visitor(login="ada")) is None
    assert chosen(visitor(passcode="")) is None


def test_basic_is_a_name_and_a_password_of_any_characters() -> None:
    shown = {"authorization": basic("ada:sé:cret ")}
    assert chosen(visitor(shown)) == Password("ada", "sé:cret ")


@pytest.mark.parametrize(
    "header",
    [
        "Digest x",
        "Bearer",
        "Basic",
        "Basic !!!",
        basic("no colon"),
        basic(":no name"),
        "Basic " + base64.b64encode(b"\xff:x").decode(),
    ],
)
def test_what_cannot_be_read_is_refused_and_not_passed_over(header: str) -> None:
    with pytest.raises(AccessRefused):
        chosen(visitor({**EVERYTHING, "authorization": header}), "site")


@pytest.mark.parametrize("name", ["site", "rtchat_session"])
def test_two_cookies_of_a_name_are_refused_unless_they_are_the_same(name: str) -> None:
    with pytest.raises(AccessRefused, match="access refused"):
        chosen(visitor({"cookie": f"{name}=a; {name}=b"}), "site")
    same = chosen(visitor({"cookie": f"{name}=a; {name}=a"}), "site")
    assert same == (Token("a") if name == "site" else PageSession("a"))


def test_cookies_are_read_as_browsers_write_them() -> None:
    cookies = 'a=1; b="quoted"; c=x=y;d=4; A=other; =none; e'
    assert cookie_values(cookies, "a") == ["1"]
    assert cookie_values(cookies, "b") == ["quoted"]
    assert cookie_values(cookies, "c") == ["x=y"]
    assert cookie_values(cookies, "d") == ["4"]
    assert cookie_values(cookies, "e") == [""]
    assert cookie_values(cookies, "f") == []


def test_nothing_secret_is_in_the_reason() -> None:
    with pytest.raises(AccessRefused) as caught:
        chosen(visitor({"authorization": "Basic c2VjcmV0"}))
    assert "c2VjcmV0" not in caught.value.reason + caught.value.detail


@pytest.mark.parametrize("name", ["site", "rtchat_session"])
def test_very_many_cookies_hide_none(name: str) -> None:
    """A browser may send some 180 of a domain, and any site of the domain may set them."""
    many = "; ".join(f"junk{number}=x" for number in range(200))
    cookies = f"{name}=of-another-site; {many}; {name}=own"
    with pytest.raises(AccessRefused, match="access refused"):
        chosen(visitor({"cookie": cookies}), "site")


def test_no_text_of_them_shows_a_secret() -> None:
    shown = visitor({"authorization": "Bearer secret"}, login="ada", passcode="secret")
    for one in (shown, Password("ada", "secret"), Token("secret"), PageSession("secret")):
        assert "secret" not in f"{one} {one!r}"
