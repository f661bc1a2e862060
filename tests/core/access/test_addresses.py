"""What an address is, what a name may stand for, and whom a front proxy speaks for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.access.addresses import AddressList, plain_address, source_key
from rtchat.core.access.forwarded import client_behind
from rtchat.core.access.ssrf import AddressKind, NamePolicy, address_kind

K = AddressKind


@pytest.mark.parametrize(
    "address, kind",
    [
        ("8.8.8.8", K.PUBLIC),
        ("192.0.2.1", K.PUBLIC),
        ("2606:4700::1111", K.PUBLIC),
        ("10.0.0.0", K.PRIVATE),
        ("10.255.255.255", K.PRIVATE),
        ("172.16.0.1", K.PRIVATE),
        ("172.31.255.255", K.PRIVATE),
        ("172.32.0.0", K.PUBLIC),
        ("192.168.1.1", K.PRIVATE),
        ("100.64.0.1", K.PRIVATE),
        ("240.0.0.1", K.PRIVATE),
        ("fd12:3456::1", K.PRIVATE),
        ("fec0::1", K.PRIVATE),
        ("127.0.0.1", K.LOOPBACK),
        ("127.255.255.254", K.LOOPBACK),
        ("::1", K.LOOPBACK),
        ("169.254.1.1", K.LINK_LOCAL),
        ("fe80::1", K.LINK_LOCAL),
        ("fe80::1%eth0", K.LINK_LOCAL),
        ("febf::1", K.LINK_LOCAL),
        ("169.254.169.254", K.METADATA),
        ("169.254.170.2", K.METADATA),
        ("100.100.100.200", K.METADATA),
        ("192.0.0.192", K.METADATA),
        ("168.63.129.16", K.METADATA),
        ("fd00:ec2::254", K.METADATA),
        ("fd00:ec2::23", K.METADATA),
        ("fd20:ce::254", K.METADATA),
        ("224.0.0.1", K.MULTICAST),
        ("239.255.255.255", K.MULTICAST),
        ("ff02::1", K.MULTICAST),
        ("255.255.255.255", K.BROADCAST),
        ("0.0.0.0", K.UNSPECIFIED),
        ("0.1.2.3", K.UNSPECIFIED),
        ("::", K.UNSPECIFIED),
    ],
)
def test_each_address_has_its_kind(address: str, kind: AddressKind) -> None:
    assert address_kind(address) is kind


def hiding_places(inside: str) -> dict[str, IPv6Address]:
    """Give every IPv6 form that stands for an IPv4 address."""
    number = int(IPv4Address(inside))
    return {
        "mapped": IPv6Address(0xFFFF << 32 | number),
        "translated": IPv6Address(0xFFFF << 48 | number),
        "compatible": IPv6Address(number),
        "NAT64": IPv6Address(0x64FF9B << 96 | number),
        "local NAT64": IPv6Address(0x64_FF9B_0001 << 80 | number),
        "6to4": IPv6Address(0x2002 << 112 | number << 80 | 1),
        "Teredo": IPv6Address(0x2001_0000 << 96 | number ^ 0xFFFFFFFF),
        "ISATAP": IPv6Address(0x2001_0DB8 << 96 | 0x5EFE << 32 | number),
        "ISATAP, universal": IPv6Address(0x2001_0DB8 << 96 | 0x0200_5EFE << 32 | number),
    }


HIDDEN = (
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
)


@pytest.mark.parametrize("form", hiding_places("1.2.3.4"))
@pytest.mark.parametrize("inside", HIDDEN)
def test_no_ipv6_form_hides_an_address_that_is_not_public(form: str, inside: str) -> None:
    address = str(hiding_places(inside)[form])
    assert address_kind(address) is K.HIDDEN
    assert NamePolicy().refusal("irc.example", address)
    # Not even a name of our own needs such an address.
    assert NamePolicy().refusal("localhost", address)


@pytest.mark.parametrize("form", hiding_places("1.2.3.4"))
def test_a_public_address_may_be_written_in_each_of_them(form: str) -> None:
    # A network without IPv4 reaches it by NAT64 only.
    assert NamePolicy().refusal("irc.example", str(hiding_places("8.8.8.8")[form])) == ""


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "2130706433", "0177.0.0.1", "::g"])
def test_what_is_no_address_has_no_kind(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        address_kind(text)


@given(st.integers(0, 2**128 - 1))
def test_every_ipv6_address_has_a_kind(number: int) -> None:
    assert address_kind(str(IPv6Address(number))) in AddressKind


# ---------------------------------------------------------------- what a name may mean


@pytest.mark.parametrize("name", ["irc.example", "localhost", "box", "db", "a.localhost"])
@pytest.mark.parametrize(
    "address",
    [
        "169.254.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
        "fe80::1",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
    ],
)
def test_no_name_means_an_address_that_only_a_literal_rule_reaches(name: str, address: str) -> None:
    refusal = NamePolicy(["box"]).refusal(name, address)
    assert refusal.startswith(f"{name} resolves to {address}, which is ")
    assert refusal.endswith("only a rule that names the address itself reaches it")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1"])
def test_this_machine_is_meant_by_its_own_names_only(address: str) -> None:
    policy = NamePolicy(["box", "box.local"])
    for name in ("localhost", "chat.localhost", "box", "box.local", "ip6-localhost"):
        assert policy.refusal(name, address) == ""
    for name in ("irc.example", "db", "localhost.example", "notlocalhost", "xbox"):
        assert policy.refusal(name, address) == (
            f"{name} resolves to {address}, which is this machine itself; name localhost in the "
            "rule, or add the name to [global] hosts"
        )


@pytest.mark.parametrize("address", ["10.0.0.5", "172.18.0.2", "192.168.1.9", "fd00::5"])
def test_a_name_may_mean_a_private_address_unless_that_is_turned_off(address: str) -> None:
    assert NamePolicy().refusal("db", address) == ""
    strict = NamePolicy(["box"], private_names=False)
    assert strict.refusal("box", address) == ""
    assert strict.refusal("db", address) == (
        f"db resolves to {address}, which is a private address; set [proxy] private.names = yes, "
        "or name the address in the rule"
    )


def test_a_name_may_mean_a_public_address() -> None:
    assert NamePolicy(private_names=False).refusal("irc.example", "192.0.2.1") == ""


# ---------------------------------------------------------------- front proxies

TRUSTED = AddressList.parse(["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"])


@pytest.mark.parametrize(
    "host, is_listed",
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("example", False),
        ("", False),
        (None, False),
    ],
)
def test_a_list_of_addresses_knows_its_own(host: str | None, is_listed: bool) -> None:
    assert (host in TRUSTED) is is_listed


def test_a_list_may_hold_whoever_comes_over_a_unix_socket() -> None:
    listed = AddressList.parse(["unix"])
    assert None in listed
    assert "127.0.0.1" not in listed
    assert listed
    assert not AddressList()


@pytest.mark.parametrize(
    "text, problem",
    [
        ("front.example", "does not appear to be"),
        ("10.0.0.1/8", "has host bits set"),
        ("10.0.0.0/33", "does not appear to be"),
        ("*", "does not appear to be"),
    ],
)
def test_what_is_no_network_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        AddressList.parse([text])


@pytest.mark.parametrize(
    "forwarded, client",
    [
        ([], None),
        ([""], None),
        (["203.0.113.9"], ("203.0.113.9", 0)),
        (["203.0.113.9:4711"], ("203.0.113.9", 4711)),
        (["2001:470::1"], ("2001:470::1", 0)),
        (["[2001:470::1]"], ("2001:470::1", 0)),
        (["[2001:470::1]:4711"], ("2001:470::1", 4711)),
        (["::ffff:203.0.113.9"], ("203.0.113.9", 0)),
        # What stands before the first address that is not trusted may be forged.
        (["1.1.1.1, 203.0.113.9"], ("203.0.113.9", 0)),
        (["1.1.1.1", "203.0.113.9"], ("203.0.113.9", 0)),
        (["1.1.1.1, 203.0.113.9, 10.0.0.7"], ("203.0.113.9", 0)),
        (["203.0.113.9, 10.0.0.7 , 127.0.0.1"], ("203.0.113.9", 0)),
        (["10.0.0.8, 10.0.0.7"], ("10.0.0.8", 0)),
        (["203.0.113.9, nonsense"], None),
        (["nonsense, 10.0.0.7"], ("10.0.0.7", 0)),
        (["203.0.113.9:99999"], ("203.0.113.9", 0)),
        (["[203.0.113.9"], None),
        (["unknown"], None),
    ],
)
def test_a_front_proxys_client_is_the_last_one_that_nobody_trusted_vouches_for(
    forwarded: list[str], client: tuple[str, int] | None
) -> None:
    assert client_behind("127.0.0.1", forwarded, TRUSTED) == client


def test_a_stranger_names_nobody() -> None:
    assert client_behind("203.0.113.1", ["127.0.0.1"], TRUSTED) is None
    assert client_behind(None, ["127.0.0.1"], TRUSTED) is None


@given(st.lists(st.text()), st.sampled_from(["127.0.0.1", None, "x"]))
def test_no_header_breaks_it(forwarded: list[str], peer: str | None) -> None:
    client = client_behind(peer, forwarded, TRUSTED)
    assert client is None or address_kind(client[0]) in AddressKind


@pytest.mark.parametrize(
    "host, plain",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("a:b", "a:b"),
    ],
)
def test_a_plain_address_has_no_zone_and_is_ipv4_if_it_can(host: str, plain: str) -> None:
    assert plain_address(host) == plain


def test_a_source_is_an_ipv4_address_or_an_ipv6_network() -> None:
    assert source_key("192.0.2.1") == source_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_key("2001:db8::1") == source_key("2001:db8::2") == "2001:db8::/64"
    assert source_key("a:b") == "a:b"
    assert source_key(None) == ""
