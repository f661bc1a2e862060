"""[access] and the keys of [global] about who may reach what."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused
from twisted.internet.address import IPv4Address, UNIXAddress

from rtchat.server.access import AccessPart, targets_of
from rtchat.server.settings import Settings


def with_global(ini: Path, line: str) -> Settings:
    return read(ini, f"{LISTEN}[global]\n{line}\n")


def test_rules_keep_the_order_of_the_file(ini: Path) -> None:
    settings = read(
        ini,
        f"{LISTEN}[access]\nself -> localhost:61613\n[::1]:9000 -> [::1]:61613\n"
        "example.com -> irc.example.com:6667\n* -> localhost\n",
    )
    assert [str(rule) for rule in settings.of(AccessPart).rules] == [
        "self -> localhost:61613",
        "[::1]:9000 -> [::1]:61613",
        "example.com -> irc.example.com:6667",
        "* -> localhost:80",
    ]


@pytest.mark.parametrize(
    "line, error",
    [
        (
            "localhost:61613",
            "localhost:61613 is not a rule: "
            "a rule is SOURCE -> HOST:PORT, such as self -> localhost:61613",
        ),
        (
            "* => localhost:61613",
            "* = > localhost:61613 is not a rule: "
            "a rule is SOURCE -> HOST:PORT, such as self -> localhost:61613",
        ),
        (
            "* -> localhost:99999",
            "* -> localhost:99999 is not a rule: the port 99999 is out of range; use 1 to 65535",
        ),
        (
            "* -> *:80",
            "* -> *:80 is not a rule: "
            "'*:80' has '*' in it; wildcards are not supported; write the whole host",
        ),
    ],
)
def test_a_line_that_is_no_rule_is_refused(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"{LISTEN}[access]\n{line}\n") == f"chat.ini:4: [access] {error}"


def test_a_unix_socket_is_a_path_that_starts_at_the_folder_of_the_file(ini: Path) -> None:
    text = LISTEN + "[access]\nself -> unix:app = run/app.sock proxy\nself -> unix:x = /run/x\n"
    first, second = read(ini, text).of(AccessPart).rules
    assert first.path == str(ini.parent / "run/app.sock")
    assert first.has_proxy_header
    assert second.path == "/run/x"


@pytest.mark.parametrize(
    "first, second, target",
    [
        ("self -> db:25", "* -> db:25 proxy", "db:25"),
        ("self -> unix:app = /run/a", "* -> unix:APP = /run/b", "unix:app"),
    ],
)
def test_two_rules_for_one_target_reach_it_in_one_way(
    ini: Path, first: str, second: str, target: str
) -> None:
    assert refused(ini, f"{LISTEN}[access]\n{first}\n{second}\n") == (
        f"chat.ini:5: [access] {second} reaches {target} in another way than line 4 ({first}); "
        "write the same after -> in both"
    )


@pytest.mark.parametrize(
    "text, hosts",
    [
        ("chat.example.com", ("chat.example.com",)),
        ("Chat.Example.COM., b.example", ("chat.example.com", "b.example")),
        ("a.example b.example,c.example ,", ("a.example", "b.example", "c.example")),
        ("a.example A.example", ("a.example",)),
    ],
)
def test_hosts_are_separated_by_commas_or_spaces(
    ini: Path, text: str, hosts: tuple[str, ...]
) -> None:
    assert with_global(ini, f"hosts = {text}").of(AccessPart).hosts == hosts


@pytest.mark.parametrize(
    "value, reason",
    [
        (
            "*.example.com",
            "'*.example.com' has '*' in it; wildcards are not supported; write the whole host",
        ),
        ("a.example:9000", "'a.example:9000' is neither a host name nor an IPv6 address"),
        ("http://a", "'http://a' has '/' in it; leave out scheme and path"),
    ],
)
def test_hosts_that_are_no_names_are_refused(ini: Path, value: str, reason: str) -> None:
    assert refused(ini, f"{LISTEN}[global]\nhosts = {value}\n") == (
        f"chat.ini:4: [global] hosts = {value} is not a list of host names ({reason}); "
        "write names without port, such as chat.example.com"
    )


def test_hosts_without_a_name_are_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[global]\nhosts = ,\n") == (
        "chat.ini:4: [global] hosts = , has no name in it; write one, such as chat.example.com"
    )


@pytest.mark.parametrize(
    "text, value", [("yes", True), ("on", True), ("True", True), ("no", False), ("0", False)]
)
def test_origin_required_is_yes_or_no(ini: Path, text: str, value: bool) -> None:
    assert with_global(ini, f"origin.required = {text}").of(AccessPart).origin_required is value


# ---------------------------------------------------------------- names of this server


@pytest.mark.parametrize(
    "host, targets",
    [
        ("", ["localhost:7", "127.0.0.1:7", "[::1]:7", "chat.lan:7"]),
        ("0.0.0.0", ["localhost:7", "127.0.0.1:7", "[::1]:7", "chat.lan:7"]),
        ("::", ["localhost:7", "127.0.0.1:7", "[::1]:7", "chat.lan:7"]),
        ("127.0.0.1", ["localhost:7", "127.0.0.1:7", "[::1]:7"]),
        ("127.0.0.9", ["localhost:7", "127.0.0.9:7", "127.0.0.1:7", "[::1]:7"]),
        ("::1", ["localhost:7", "[::1]:7", "127.0.0.1:7"]),
        ("192.0.2.1", ["localhost:7", "192.0.2.1:7"]),
    ],
)
def test_a_port_has_the_names_of_its_interface(host: str, targets: list[str]) -> None:
    address = IPv4Address("TCP", host, 7)
    # A container's name may be a number.
    assert [str(one) for one in targets_of(address, ("chat.lan", "17"))] == targets


def test_a_unix_socket_has_no_name_that_a_rule_could_mean() -> None:
    assert targets_of(UNIXAddress(b"/run/a"), ("chat.lan",)) == []


# ---------------------------------------------------------------- who

TOKENS = "[tokens]\nsecret.file = secret\n"
USERS = "[users]\nfile = users\n"


@pytest.mark.parametrize("who", ["@staff", "ada", "*", "Ada Lovelace", "anonymous"])
def test_a_rule_may_name_who(ini: Path, who: str) -> None:
    text = f"{LISTEN}[access]\nself {who} -> irc:6667\n{USERS}[groups]\nstaff = ada\n"
    (rule,) = read(ini, text).of(AccessPart).rules
    assert rule.who == who


def test_without_users_a_rule_may_say_that_it_is_for_anybody(ini: Path) -> None:
    (rule,) = read(ini, f"{LISTEN}[access]\nself anonymous -> irc:6667\n").of(AccessPart).rules
    assert not rule.asks


def test_a_group_of_a_token_needs_no_line(ini: Path) -> None:
    text = f"{LISTEN}[access]\nself @staff -> irc:6667\n{TOKENS}"
    (rule,) = read(ini, text).of(AccessPart).rules
    assert rule.who == "@staff"


@pytest.mark.parametrize(
    "line, more, error",
    [
        (
            "self @staff -> irc:6667",
            "",
            "lets @staff in only, and clients cannot say who they are; add [users], [tokens] or "
            "[hooks], or write self -> irc:6667",
        ),
        (
            "self @staf -> irc:6667",
            f"{USERS}[groups]\nstaff = ada\n",
            "is about a group that is not there; did you mean @staff?",
        ),
        (
            "self @staff -> irc:6667",
            USERS,
            "is about a group that is not there; write a line staff = alice, bob in [groups]",
        ),
        (
            "self Anonymous -> irc:6667",
            USERS,
            "has to say anonymous in lower case, to mean anybody",
        ),
        (
            "self @ -> irc:6667",
            USERS,
            "names @ where a user or a group belongs; a name has 1 to 128 characters, a group @ "
            "before it, and * is every user",
        ),
        (
            f"self {'x' * 129} -> irc:6667",
            USERS,
            f"names {'x' * 129} where a user or a group belongs; a name has 1 to 128 characters, "
            "a group @ before it, and * is every user",
        ),
    ],
)
def test_people_who_cannot_be_told_from_others_are_refused(
    ini: Path, line: str, more: str, error: str
) -> None:
    told = refused(ini, f"{LISTEN}[access]\n{line}\n{more}")
    assert told == f"chat.ini:4: [access] {line} {error}"
