"""What an address is, what a name may stand for, and whom a front proxy speaks for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.access.addresses import AddressList, plain_address, source_key
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
    """Return every IPv6 form that stands for an IPv4 address."""
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
