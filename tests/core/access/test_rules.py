"""Who may reach what: pairs that differ in one thing only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessList, AccessRule, Source
from rtchat.errors import AccessDenied

BROKER = Target("localhost", 61613)


def access(*rules: str, origin_required: bool = False) -> AccessList:
    return AccessList(map(AccessRule.parse, rules), origin_required)


def page(origin: str | None, host: str | None = "chat.example.com:9000") -> Source:
    return Source(origin, host)


# ---------------------------------------------------------------- rules


@pytest.mark.parametrize(
    "text, source, target",
    [
        ("* -> localhost:61613", "*", "localhost:61613"),
        ("self->localhost:61613", "self", "localhost:61613"),
        ("SELF  ->  localhost", "self", "localhost:80"),
        ("Example.COM. -> LOCALHOST.:61613", "example.com", "localhost:61613"),
        ("example.com:8080 -> [::1]:61613", "example.com:8080", "[::1]:61613"),
        ("[::1]:9000 -> [::1]:61613", "[::1]:9000", "[::1]:61613"),
        ("[::1] -> [::1]", "[::1]", "[::1]:80"),
        ("self -> localhost:25 proxy", "self", "localhost:25"),
        ("self -> proxy", "self", "proxy:80"),
        ("self -> unix:App = /run/app.sock", "self", "unix:app"),
        ("self -> unix:app=/run/app.sock   PROXY", "self", "unix:app"),
    ],
)
def test_a_rule_is_read_into_its_source_and_target(text: str, source: str, target: str) -> None:
    rule = AccessRule.parse(text)
    assert (rule.source, str(rule.target)) == (source, target)
    assert AccessRule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    "text, reason",
    [
        ("localhost:61613", "a rule is SOURCE -> HOST:PORT, such as self -> localhost:61613"),
        ("-> localhost:61613", "the source before -> is missing; write host[:port], self or *"),
        ("* ->", "the host is missing"),
        (
            "* -> *:61613",
            "'*:61613' has '*' in it; wildcards are not supported; write the whole host",
        ),
        (
            "*.example.com -> localhost:61613",
            "'*.example.com' has '*' in it; wildcards are not supported; write the whole host",
        ),
        (
            "*:80 -> localhost:61613",
            "'*:80' has '*' in it; wildcards are not supported; write the whole host",
        ),
        (
            "http://example.com -> localhost:61613",
            "the source 'http://example.com' is a URL; write host[:port] only",
        ),
        ("self:9000 -> localhost:61613", "the source self stands alone, without a port"),
        ("example.com:99999 -> a:1", "the port 99999 is out of range; use 1 to 65535"),
        ("::1 -> localhost:61613", "an IPv6 address needs brackets: '::1'"),
        ("a -> b -> c", "'b -> c' has a space or control character"),
        ("self -> localhost:80 prox", "'localhost:80 prox' has a space or control character"),
        (
            "self -> unix:/run/app.sock",
            "a Unix socket needs a name that pages call it by; write unix:NAME = /run/app.sock",
        ),
        (
            "self -> unix:app",
            "a Unix socket is a name and a path, such as self -> unix:app = /run/app.sock",
        ),
        (
            "self -> localhost:80 = /run/app.sock",
            "a Unix socket is a name and a path, such as self -> unix:app = /run/app.sock",
        ),
    ],
)
def test_what_is_no_rule_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        AccessRule.parse(text)
    assert str(refused.value) == reason


def test_a_rule_says_how_its_target_is_reached() -> None:
    rule = AccessRule.parse("self -> unix:app = /run/my app.sock proxy")
    assert (rule.path, rule.has_proxy_header) == ("/run/my app.sock", True)
    assert str(rule) == "self -> unix:app = /run/my app.sock proxy"
    rule = AccessRule.parse("self -> localhost:25")
    assert (rule.path, rule.has_proxy_header) == ("", False)


def test_a_list_knows_the_first_rule_for_a_target() -> None:
    rules = access("a -> localhost:25 proxy", "b -> localhost:25 proxy", "a -> localhost:26")
    assert rules.rule_for(Target("localhost", 25)) == rules.rules[0]
    with pytest.raises(KeyError):
        rules.rule_for(Target("localhost", 27))


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize(
    "origin, host, same",
    [
        ("http://chat.example.com:9000", "chat.example.com:9000", True),
        ("http://chat.example.com:9000", "CHAT.example.com.:9000", True),
        ("HTTP://CHAT.EXAMPLE.COM:9000", "chat.example.com:9000", True),
        ("http://chat.example.com", "chat.example.com", True),
        ("http://chat.example.com", "chat.example.com:80", True),
        ("http://chat.example.com:80", "chat.example.com", True),
        ("https://chat.example.com", "chat.example.com", True),
        ("https://chat.example.com", "chat.example.com:443", True),
        ("https://chat.example.com", "chat.example.com:80", False),
        ("http://chat.example.com", "chat.example.com:443", False),
        ("http://chat.example.com:9000", "chat.example.com:9001", False),
        ("http://chat.example.com:9000", "chat.example.com", False),
        ("http://chat.example.org:9000", "chat.example.com:9000", False),
        ("http://localhost:9000", "127.0.0.1:9000", False),
        ("http://[::1]:9000", "[::1]:9000", True),
        ("http://[::1]:9000", "127.0.0.1:9000", False),
        ("http://chat.example.com:9000", None, False),
        ("http://chat.example.com:9000", "", False),
        ("http://chat.example.com:9000", "me@chat.example.com:9000", False),
        ("http://localhost", "localhost:", True),
        ("http://localhost:9000", "localhost:", False),
        ("null", "null", False),
        ("", "", False),
        (None, "chat.example.com:9000", False),
        (None, None, False),
    ],
)
def test_same_origin_is_the_same_host_and_port(
    origin: str | None, host: str | None, same: bool
) -> None:
    assert Source(origin, host).is_same_origin is same


@pytest.mark.parametrize(
    "origin, is_secure, same",
    [
        ("https://chat.example", True, True),
        ("http://chat.example", True, False),
        ("http://chat.example", False, True),
        # A front proxy ended TLS.
        ("https://chat.example", False, True),
    ],
)
def test_our_own_page_on_a_tls_port_came_over_tls(origin: str, is_secure: bool, same: bool) -> None:
    """An attacker on the network can serve a browser any page under ``http://`` and our name."""
    assert Source(origin, "chat.example", is_secure).is_same_origin is same


# ---------------------------------------------------------------- the list: targets


def test_a_list_without_rules_lets_nobody_reach_anything() -> None:
    assert not access().allows(page(None), BROKER)
    assert not access().allows(page("http://chat.example.com:9000"), BROKER)


@pytest.mark.parametrize(
    "target, allowed",
    [
        ("localhost:61613", True),
        ("LOCALHOST:61613", True),
        ("localhost.:61613", True),
        ("localhost:61614", False),
        ("localhost", False),
        ("otherhost:61613", False),
        ("127.0.0.1:61613", False),
        ("[::1]:61613", False),
        ("localhost.example.com:61613", False),
    ],
)
def test_a_rule_opens_its_own_host_and_port_only(target: str, allowed: bool) -> None:
    assert access("* -> localhost:61613").allows(page(None), Target.parse(target)) is allowed


@pytest.mark.parametrize(
    "target, allowed",
    [
        ("127.0.0.1:61613", True),
        ("localhost:61613", False),
        ("127.0.0.2:61613", False),
        ("[::ffff:127.0.0.1]:61613", False),
    ],
)
def test_an_address_in_a_rule_is_its_text_and_nothing_it_may_mean(
    target: str, allowed: bool
) -> None:
    assert access("* -> 127.0.0.1:61613").allows(page(None), Target.parse(target)) is allowed


def test_an_ipv6_target_is_matched_as_text() -> None:
    rules = access("* -> [::1]:61613")
    assert rules.allows(page(None), Target.parse("[::1]:61613"))
    assert not rules.allows(page(None), Target.parse("[::2]:61613"))
    assert not rules.allows(page(None), Target.parse("[0:0:0:0:0:0:0:1]:61613"))


def test_the_source_of_one_rule_does_not_open_the_target_of_another() -> None:
    rules = access("a.example -> one:1", "b.example -> two:2")
    assert rules.allows(page("http://a.example"), Target("one", 1))
    assert not rules.allows(page("http://a.example"), Target("two", 2))
    assert not rules.allows(page("http://b.example"), Target("one", 1))


def test_several_rules_for_one_target_add_up() -> None:
    rules = access("a.example -> one:1", "b.example -> one:1")
    assert rules.allows(page("http://a.example"), Target("one", 1))
    assert rules.allows(page("http://b.example"), Target("one", 1))
    assert not rules.allows(page("http://c.example"), Target("one", 1))


# ---------------------------------------------------------------- the list: sources


@pytest.mark.parametrize(
    "rule, origin, allowed",
    [
        ("example.com", "http://example.com", True),
        ("example.com", "https://example.com", True),
        ("example.com", "http://example.com:80", True),
        ("example.com", "https://example.com:443", True),
        ("example.com", "HTTPS://EXAMPLE.com", True),
        ("example.com", "http://example.com.", True),
        ("EXAMPLE.com.", "http://example.com", True),
        ("example.com", "http://example.com:8080", False),
        ("example.com", "https://example.com:80", False),
        ("example.com", "http://example.com:443", False),
        ("example.com", "http://www.example.com", False),
        ("example.com", "http://example.com.evil.example", False),
        ("example.com", "http://evil.example", False),
        ("example.com:8080", "http://example.com:8080", True),
        ("example.com:8080", "https://example.com:8080", True),
        ("example.com:8080", "http://example.com:8081", False),
        ("example.com:8080", "http://example.com", False),
        ("example.com:80", "http://example.com", True),
        ("example.com:80", "https://example.com", False),
        ("example.com:443", "https://example.com", True),
        ("example.com:443", "http://example.com", False),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8081", False),
        ("[::1]:8080", "http://localhost:8080", False),
        ("[::1]", "http://[::1]", True),
        ("127.0.0.1:8080", "http://127.0.0.1:8080", True),
        ("127.0.0.1:8080", "http://localhost:8080", False),
        ("localhost:8080", "http://127.0.0.1:8080", False),
    ],
)
def test_a_source_is_the_host_and_port_of_the_origin(rule: str, origin: str, allowed: bool) -> None:
    assert access(f"{rule} -> localhost:61613").allows(page(origin), BROKER) is allowed


ODD_ORIGINS = [
    "null",
    "",
    "example.com",
    "http://",
    "file://",
    "ftp://example.com",
    "chrome-extension://example.com",
    "http://example.com/",
    "http://example.com/path",
    "http://me@example.com",
    "http://me:secret@example.com",
    "http://example.com:0",
    "http://example.com:",
    "http://example.com http://evil.example",
    "http://example.com, http://evil.example",
    " http://example.com",
    "http://example.com\n",
    "http://example%2ecom",
]


@pytest.mark.parametrize("origin", ODD_ORIGINS)
def test_an_odd_origin_passes_a_star_and_neither_self_nor_a_name(origin: str) -> None:
    # The Host is chosen to tempt: it equals what a sloppy reader would make of the Origin.
    source = Source(origin, "example.com")
    assert access("* -> localhost:61613").allows(source, BROKER)
    assert not access("self -> localhost:61613").allows(source, BROKER)
    assert not access("example.com -> localhost:61613").allows(source, BROKER)


@pytest.mark.parametrize(
    "rule, allowed", [("*", True), ("self", True), ("chat.example.com:9000", False)]
)
def test_a_missing_origin_passes_self_and_star_and_no_name(rule: str, allowed: bool) -> None:
    assert access(f"{rule} -> localhost:61613").allows(page(None), BROKER) is allowed


@pytest.mark.parametrize("rule", ["*", "self", "chat.example.com:9000"])
def test_origin_required_refuses_a_missing_origin_whatever_the_rule(rule: str) -> None:
    rules = access(f"{rule} -> localhost:61613", origin_required=True)
    assert not rules.allows(page(None), BROKER)


@pytest.mark.parametrize("rule", ["*", "self", "chat.example.com:9000"])
def test_origin_required_changes_nothing_for_a_page(rule: str) -> None:
    rules = access(f"{rule} -> localhost:61613", origin_required=True)
    assert rules.allows(page("http://chat.example.com:9000"), BROKER)


def test_self_passes_the_page_of_this_server_and_no_other() -> None:
    rules = access("self -> localhost:61613")
    assert rules.allows(page("http://chat.example.com:9000"), BROKER)
    assert not rules.allows(page("http://chat.example.com"), BROKER)
    assert not rules.allows(page("http://evil.example:9000"), BROKER)


def test_self_opens_its_own_target_only() -> None:
    rules = access("self -> localhost:61613")
    assert not rules.allows(page("http://chat.example.com:9000"), Target("localhost", 22))


def test_a_star_passes_any_page() -> None:
    assert access("* -> localhost:61613").allows(page("https://evil.example"), BROKER)


# ---------------------------------------------------------------- the list: reasons


def refusal(rules: AccessList, source: Source, target: Target) -> str:
    with pytest.raises(AccessDenied) as denied:
        rules.check(source, target)
    return str(denied.value)


def test_check_is_silent_when_a_rule_allows() -> None:
    access("* -> localhost:61613").check(page(None), BROKER)


def test_the_reason_says_that_no_rule_names_the_target() -> None:
    assert refusal(access("* -> localhost:61613"), page(None), Target("::1", 22)) == (
        "no Origin (Host 'chat.example.com:9000') may not reach [::1]:22: no rule names this "
        "target. If it should, add to [access]: self -> [::1]:22"
    )


def test_the_reason_says_that_no_rule_lets_the_source_reach_it() -> None:
    rules = access("self -> localhost:61613")
    assert refusal(rules, page("http://evil.example", None), BROKER) == (
        "Origin 'http://evil.example' (no Host) may not reach localhost:61613: "
        "no rule lets this source reach it. If this is this server's own page behind a front "
        "proxy, let the proxy pass Host on (nginx: proxy_set_header Host $http_host). If it "
        "should, add to [access]: evil.example -> localhost:61613"
    )


def test_the_reason_says_that_an_origin_is_required() -> None:
    rules = access("* -> localhost:61613", origin_required=True)
    assert refusal(rules, page(None), BROKER) == (
        "no Origin (Host 'chat.example.com:9000') may not reach localhost:61613: "
        "no Origin and origin.required is set. If programs may come, write: "
        "[global] origin.required = no"
    )


@pytest.mark.parametrize("target", [BROKER, Target("::1", 22), Target("", 0, "app")])
@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "file://",
        "chat.example.com",
        "http://chat.example.com:9000",
        "https://chat.example.com:9000",
        "http://localhost:8080",
        "https://[::1]:8443",
        "HTTP://Public.Example",
        "https://public.example",
    ],
)
@pytest.mark.parametrize("rules", [(), ("self -> localhost:22", "else.example -> [::1]:22")])
def test_the_line_that_the_reason_names_is_the_cure(
    rules: tuple[str, ...], origin: str | None, target: Target
) -> None:
    source = page(origin)
    line = refusal(access(*rules), source, target).rpartition("add to [access]: ")[2]
    cured = access(*rules, line.replace("PATH", "/run/app.sock"))
    assert cured.allows(source, target)
    is_open = any(rule.source == "*" for rule in cured.rules)
    assert is_open is (origin in ("null", "file://", "chat.example.com"))


def test_the_reason_can_neither_forge_nor_flood_the_log() -> None:
    reason = refusal(access(), page("http://a\r\nforged\x1b[2J" + "x" * 9999), BROKER)
    assert "http://a\\r\\nforged\\x1b[2J" in reason
    assert reason.isprintable()
    assert len(reason) < 600


def test_open_rules_are_those_with_a_star() -> None:
    rules = access("self -> a:1", "* -> b:2", "example.com -> c:3", "* -> d:4")
    assert [str(rule) for rule in rules.open_rules] == ["* -> b:2", "* -> d:4"]


@given(st.none() | st.text(), st.none() | st.text())
def test_no_header_breaks_the_check_or_passes_a_rule_for_another_page(
    origin: str | None, host: str | None
) -> None:
    assert not access("example.com:81 -> localhost:61613").allows(Source(origin, host), BROKER)


# ---------------------------------------------------------------- who


@pytest.mark.parametrize(
    "text, source, who",
    [
        ("self -> irc:6667", "self", ""),
        ("self @staff -> irc:6667", "self", "@staff"),
        ("chat.example:8443 ada -> irc:6667", "chat.example:8443", "ada"),
        ("*  *  -> irc:6667", "*", "*"),
        ("SELF Ada Lovelace -> irc:6667", "self", "Ada Lovelace"),
        ("self anonymous -> irc:6667", "self", "anonymous"),
        ("[::1]:9000 @staff -> unix:app = /run/app.sock proxy", "[::1]:9000", "@staff"),
    ],
)
def test_a_rule_may_name_who_uses_the_page(text: str, source: str, who: str) -> None:
    rule = AccessRule.parse(text)
    assert (rule.source, rule.who) == (source, who)
    assert AccessRule.parse(str(rule)) == rule


def test_a_rule_without_a_page_is_told_so() -> None:
    with pytest.raises(ValueError, match=r"^the source before '@staff' is missing; write self"):
        AccessRule.parse("@staff -> irc:6667")


def who_may(*rules: str, origin: str | None = None) -> frozenset[str]:
    access = AccessList(map(AccessRule.parse, rules))
    return access.who_may(Source(origin, "localhost:9000"), Target("irc", 6667))


def test_the_rules_for_a_page_and_a_target_say_together_who_may() -> None:
    rules = ("self @staff -> irc:6667", "self bob -> irc:6667", "chat.example eve -> irc:6667")
    assert who_may(*rules) == {"@staff", "bob"}
    assert who_may(*rules, origin="http://chat.example") == {"eve"}
    assert who_may(*rules, "* * -> irc:6667") == {"@staff", "bob", "*"}


@pytest.mark.parametrize("anybody", ["self -> irc:6667", "self anonymous -> irc:6667"])
def test_a_rule_for_anybody_outweighs_the_others(anybody: str) -> None:
    assert who_may("self @staff -> irc:6667", anybody) == frozenset()
    assert who_may(anybody) == frozenset()


def test_who_it_is_does_not_matter_where_the_page_may_not() -> None:
    with pytest.raises(AccessDenied):
        who_may("self @staff -> irc:6667", origin="http://evil.example")


def test_a_list_knows_whether_any_of_its_rules_asks() -> None:
    assert AccessList([AccessRule.parse("self @staff -> irc:6667")]).asks
    assert not AccessList([AccessRule.parse("self anonymous -> irc:6667")]).asks


@pytest.mark.parametrize(
    "origin, is_trusted",
    [
        (None, True),  # a program
        ("http://localhost:9000", True),
        ("https://named.example", True),
        ("https://named.example:8443", False),
        ("http://evil.example", False),
        ("null", False),
        ("nonsense", False),
    ],
)
def test_only_a_page_that_is_named_acts_for_its_visitors(
    origin: str | None, is_trusted: bool
) -> None:
    rules = access("* -> irc:6667", "named.example -> localhost:61613")
    assert rules.trusts(Source(origin, "localhost:9000")) == is_trusted
    assert access().trusts(Source(origin, "localhost:9000")) == (
        is_trusted and origin != "https://named.example"
    )
