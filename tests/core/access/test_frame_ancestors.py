"""Whose pages may show the chat in a frame: the access list and the policy say the same."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.access.frame_ancestors import frame_ancestors, sources_without_rule
from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessList, AccessRule, Source

BROKER = (Target("localhost", 61613), Target("127.0.0.1", 61613))
HOST = "chat.example:9000"


def access(*rules: str) -> AccessList:
    return AccessList(map(AccessRule.parse, rules))


@pytest.mark.parametrize(
    "rules, policy",
    [
        ([], "'none'"),
        (["www.example -> localhost:6667"], "'none'"),
        (["self -> localhost:61613"], "'self'"),
        (["self -> localhost:61613", "self -> 127.0.0.1:61613"], "'self'"),
        (["* -> 127.0.0.1:61613"], "*"),
        (["www.example -> localhost:61613"], "http://www.example https://www.example"),
        (
            ["self -> localhost:61613", "WWW.Example:8080 -> localhost:61613"],
            "'self' http://www.example:8080 https://www.example:8080",
        ),
        # A policy has no way to write an IPv6 address.
        (["[::1]:8080 -> localhost:61613"], "'none'"),
    ],
)
def test_the_policy_names_the_sources_of_the_rules_for_the_broker(
    rules: list[str], policy: str
) -> None:
    assert frame_ancestors(access(*rules), BROKER) == policy


def test_without_a_listener_of_ours_nobody_gets_the_frame() -> None:
    rules = access("* -> localhost:61613")
    assert frame_ancestors(rules, ()) == "'none'"
    page = Source("http://www.example", HOST)
    assert sources_without_rule(rules, (), page) == ("www.example", "self")


@pytest.mark.parametrize(
    "rules, origin, lacking",
    [
        (["self", "www.example"], "http://www.example", ()),
        (["self", "www.example"], "https://www.example", ()),
        (["*"], "http://www.example:8080", ()),
        (["*"], "null", ()),
        (["self"], f"http://{HOST}", ()),
        (["chat.example:9000"], f"http://{HOST}", ()),
        (["self"], "http://www.example:8080", ("www.example:8080",)),
        (["self"], "https://www.example", ("www.example",)),
        (["self"], "http://[::1]:80", ("[::1]",)),
        (["self"], "null", ("*",)),
        (["self"], "not an origin", ("*",)),
        (["www.example"], "http://www.example", ("self",)),
        (["www.example"], f"http://{HOST}", ("self",)),
        ([], "http://www.example", ("www.example", "self")),
    ],
)
def test_what_is_lacking_is_said_as_a_rule_says_it(
    rules: list[str], origin: str, lacking: tuple[str, ...]
) -> None:
    listed = access(*(f"{source} -> localhost:61613" for source in rules))
    assert sources_without_rule(listed, BROKER, Source(origin, HOST)) == lacking
    # With the rules that are said to be lacking nothing lacks.
    more = access(*(f"{source} -> localhost:61613" for source in (*rules, *lacking)))
    assert sources_without_rule(more, BROKER, Source(origin, HOST)) == ()


_DEFAULT_PORTS = {"http": 80, "https": 443}


def admits(policy: str, own: str, origin: str) -> bool:
    """Compare an origin with a policy, as browsers do (CSP level 3, 6.7.2)."""
    page = urlsplit(origin)
    default = _DEFAULT_PORTS[page.scheme]
    for one in policy.split():
        if one == "*" or (one == "'self'" and origin == own):
            return True
        if one.startswith("http"):
            source = urlsplit(one)
            has_scheme = page.scheme == source.scheme or source.scheme == "http"
            has_port = (page.port or default) == (source.port or default)
            if has_scheme and has_port and page.hostname == source.hostname:
                return True
    return False


_SOURCES = st.sampled_from(
    ["self", "*", "a.example", "b.example", "a.example:80", "a.example:443", "b.example:8080"]
)
# As browsers write them: without a port that is the scheme's own.
_ORIGINS = (
    st.builds(
        str.__add__,
        st.sampled_from(["http://a.example", "http://b.example", "http://c.example"]),
        st.sampled_from(["", ":443", ":8080"]),
    )
    | st.builds(
        str.__add__,
        st.sampled_from(["https://a.example", "https://b.example", "https://c.example"]),
        st.sampled_from(["", ":80", ":8080"]),
    )
    | st.just(f"http://{HOST}")
)


@given(st.lists(_SOURCES, max_size=4), _ORIGINS)
def test_the_frame_is_for_those_whom_the_list_lets_reach_the_broker(
    sources: list[str], origin: str
) -> None:
    listed = access(*(f"{source} -> localhost:61613" for source in sources))
    page = Source(origin, HOST)
    policy = frame_ancestors(listed, BROKER)
    assert admits(policy, f"http://{HOST}", origin) == any(
        listed.allows(page, target) for target in BROKER
    )


def test_who_uses_the_page_does_not_matter_for_showing_it() -> None:
    rules = ("self @staff -> localhost:61613", "chat.example * -> localhost:61613")
    access = AccessList(map(AccessRule.parse, rules))
    broker = [Target("localhost", 61613)]
    assert frame_ancestors(access, broker) == "'self' http://chat.example https://chat.example"
    assert sources_without_rule(access, broker, Source("http://chat.example", "h")) == ()
