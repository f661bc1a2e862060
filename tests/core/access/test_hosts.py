"""Targets as rules name them, and the host names that the page answers to."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.access.hosts import HostList, Target, normal_host


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("localhost:61613", "localhost", 61613),
        ("localhost", "localhost", 80),
        ("LocalHost.:61613", "localhost", 61613),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("[::1]:80", "::1", 80),
        ("[FE80::A]", "fe80::a", 80),
        ("irc_server.example.com:65535", "irc_server.example.com", 65535),
        ("xn--bcher-kva.example:6667", "xn--bcher-kva.example", 6667),
    ],
)
def test_a_target_is_read_into_its_normal_host_and_port(text: str, host: str, port: int) -> None:
    target = Target.parse(text)
    assert (target.host, target.port) == (host, port)


def test_a_target_without_port_takes_the_default_that_the_caller_names() -> None:
    assert Target.parse("irc.example.com", default_port=6667).port == 6667


@pytest.mark.parametrize("text", ["localhost:61613", "127.0.0.1:80", "[::1]:80"])
def test_a_target_is_written_as_it_is_read(text: str) -> None:
    assert str(Target.parse(text)) == text


def test_targets_that_differ_in_case_trailing_dot_and_brackets_are_one() -> None:
    assert len({Target("::1", 80), Target("[::1]", 80)}) == 1
    assert len({Target("LOCALHOST.", 80), Target("localhost", 80)}) == 1


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "the host is missing"),
        (".", "the host is missing"),
        (":80", "the host is missing"),
        ("*:80", "'*:80' has '*' in it; wildcards are not supported; write the whole host"),
        ("me@localhost:80", "'me@localhost:80' has '@' in it; leave out the user name"),
        (
            "http://localhost:80",
            "'http://localhost:80' has '/' in it; leave out scheme and path",
        ),
        (
            "local%68ost:80",
            "'local%68ost:80' has '%' in it; neither percent escapes nor IPv6 zones are supported",
        ),
        (
            "[fe80::1%eth0]:80",
            "'[fe80::1%eth0]:80' has '%' in it; "
            "neither percent escapes nor IPv6 zones are supported",
        ),
        ("local host:80", "'local host:80' has a space or control character"),
        ("localhost:80\n", "'localhost:80\\n' has a space or control character"),
        ("localhost\0:80", "'localhost\\x00:80' has a space or control character"),
        (
            "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:80",
            "'b\\xfccher.example:80' is not ASCII; write an international name as xn--…",
        ),
        ("localhost:", "the port after the colon is missing; use 1 to 65535"),
        ("localhost:0", "the port 0 is out of range; use 1 to 65535"),
        ("localhost:65536", "the port 65536 is out of range; use 1 to 65535"),
        ("localhost:-1", "the port '-1' is not a number; use 1 to 65535"),
        ("localhost:http", "the port 'http' is not a number; use 1 to 65535"),
        ("localhost:9" + "9" * 30, "the port 99999999999999999999 is out of range; use 1 to 65535"),
        ("::1", "an IPv6 address needs brackets: '::1'"),
        ("localhost:80:90", "an IPv6 address needs brackets: 'localhost:80:90'"),
        ("[::1", "'[::1' is not [IPV6] or [IPV6]:PORT"),
        ("[::1]80", "'[::1]80' is not [IPV6] or [IPV6]:PORT"),
        ("[127.0.0.1]:80", "'[127.0.0.1]' is not an IPv6 address"),
        ("[]:80", "'[]' is not an IPv6 address"),
        ("[::g]:80", "'[::g]' is not an IPv6 address"),
        ("[[::1]]:80", "'[[::1]]:80' is not [IPV6] or [IPV6]:PORT"),
        ("a..b:80", "'a..b' is not a host name"),
        ("localhost..:80", "'localhost..' is not a host name"),
        ("a,b:80", "'a,b' is not a host name"),
        ("x" * 64 + ":80", f"'{'x' * 64}' is not a host name"),
        ("0.0.0.0:80", "0.0.0.0 means every interface, which cannot be connected to"),
        *(
            (
                f"{host}:80",
                f"'{host}' is neither a name nor an IPv4 address in four decimal numbers",
            )
            for host in (
                "2130706433",
                "017700000001",
                "0x7f000001",
                "0x7f.1",
                "0x7f.0.0.0x1",
                "0177.0.0.1",
                "127.1",
                "127.0.1",
                "127.0.0.01",
                "127.0.0.1.1",
                "256.0.0.1",
                "0x",
                "evil.1",
            )
        ),
        ("unix:", "the port after the colon is missing; use 1 to 65535"),
        ("unix:/run/app.sock", "'unix:/run/app.sock' has '/' in it; leave out scheme and path"),
        ("unix:..", "the port '..' is not a number; use 1 to 65535"),
        (
            "unix:a%2fb",
            "'unix:a%2fb' has '%' in it; neither percent escapes nor IPv6 zones are supported",
        ),
        ("[::]:80", ":: means every interface, which cannot be connected to"),
    ],
)
def test_what_is_no_target_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        Target.parse(text)
    assert str(refused.value) == reason


def test_a_name_of_254_characters_is_refused_and_one_of_253_is_not() -> None:
    label = "x" * 61 + "."
    name = label * 4 + "y" * 5
    assert Target(name, 80).host == name
    with pytest.raises(ValueError, match="is not a host name"):
        Target(name + "y", 80)


def test_a_long_text_is_cut_in_the_reason() -> None:
    with pytest.raises(ValueError, match="is not a host name") as refused:
        Target.parse("x" * 100_000)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_target_made_by_hand_is_checked_too(port: int) -> None:
    with pytest.raises(ValueError, match=f"the port {port} is out of range; use 1 to 65535"):
        Target("localhost", port)


@given(st.text())
def test_any_text_is_a_target_that_reads_back_or_a_value_error(text: str) -> None:
    try:
        target = Target.parse(text)
    except ValueError:
        return
    assert Target.parse(str(target)) == target


@given(st.text(alphabet="lo[]:.19aAfF*@/% "))
def test_any_text_near_a_target_reads_back_or_is_a_value_error(text: str) -> None:
    try:
        target = Target.parse(text)
    except ValueError:
        return
    assert Target.parse(str(target)) == target


def test_a_unix_socket_is_a_name_and_never_a_path() -> None:
    target = Target.parse("unix:My-App_1.x")
    assert (target.host, target.port, target.socket_name) == ("", 0, "my-app_1.x")
    assert str(target) == "unix:my-app_1.x"
    assert not target.is_address
    for name in ("", "/run/app.sock", "../app", "a b", "1", "a" * 64, "ä"):
        if name:
            with pytest.raises(ValueError, match="is no name for a Unix socket"):
                Target("", 0, name)
    # unix:80 is a host's port, as it always was.
    assert Target.parse("unix:80") == Target("unix", 80)


@pytest.mark.parametrize(
    "text, is_address", [("127.0.0.1", True), ("[::1]", True), ("localhost", False)]
)
def test_a_target_knows_whether_there_is_a_name_to_look_up(text: str, is_address: bool) -> None:
    assert Target.parse(text).is_address is is_address


@pytest.mark.parametrize(
    "header",
    [
        None,
        "localhost",
        "localhost:9000",
        "localhost:",
        "LOCALHOST.:9000",
        "127.0.0.1",
        "127.0.0.1:9000",
        "192.0.2.7:9000",
        "[::1]",
        "[::1]:9000",
        "[2001:DB8::7]:9000",
        "chat.example.com",
        "chat.example.com:9000",
        "Chat.Example.COM.:443",
        "files.example.com",
    ],
)
def test_a_host_is_answered_when_it_is_literal_local_or_listed(header: str | None) -> None:
    assert HostList(["chat.example.com", "FILES.example.com."]).allows(header)


@pytest.mark.parametrize(
    "header",
    [
        "evil.example",
        "evil.example:9000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "chat.example.com.evil.example",
        "www.chat.example.com",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.1",
        "127.0.0.1.5",
        "256.0.0.1",
        "",
        " ",
        ":9000",
        " localhost",
        "localhost ",
        "localhost\t",
        "localhost:0",
        "localhost:65536",
        "localhost:port",
        "localhost:80:80",
        "localhost..",
        "me@localhost",
        "localhost@evil.example",
        "localhost/",
        "http://localhost",
        "localhost, evil.example",
        "local%68ost",
        "::1",
        "[::1",
        "[::1]x",
        "[fe80::1%25eth0]",
        "[127.0.0.1]",
        "[localhost]",
        "*",
        "null",
    ],
)
def test_any_other_host_is_refused_which_stops_dns_rebinding(header: str) -> None:
    assert not HostList(["chat.example.com"]).allows(header)


def test_a_name_is_answered_only_when_it_is_listed() -> None:
    assert not HostList().allows("chat.example.com")
    assert HostList(["chat.example.com"]).allows("chat.example.com")


@pytest.mark.parametrize("name", ["", "*", "chat.example.com:9000", "http://chat.example.com"])
def test_a_host_list_refuses_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"missing|wildcards|IPv6|scheme"):
        HostList([name])


@given(st.text() | st.text(alphabet="[]:.109afx@ localhst"))
def test_no_host_header_is_answered_but_localhost_and_a_literal(header: str) -> None:
    if HostList().allows(header):
        host = re.sub(r":[0-9]+$", "", header) if "]" in header else header.partition(":")[0]
        host = host.lower().removesuffix(".").strip("[]")
        assert host == "localhost" or str(ip_address(host))


@given(st.text(alphabet="aB0.-:[]"))
def test_a_normal_host_stays_as_it_is_when_read_again(text: str) -> None:
    try:
        host = normal_host(text)
    except ValueError:
        return
    assert normal_host(host) == host
