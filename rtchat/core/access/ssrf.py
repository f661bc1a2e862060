"""Which addresses a name in the access list may resolve to (server-side request forgery).

A rule that names an address means that address. A rule that names a host lets the owner of that
name's DNS choose the machine, but not *this* machine, a cloud's metadata service or a link-local
neighbour; :meth:`NamePolicy.refusal` enforces that. No name is looked up here.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from rtchat.core.access.addresses import Network

__all__ = ["AddressKind", "NamePolicy", "address_kind"]


class AddressKind(Enum):
    """The kinds of IP addresses; a value completes the sentence "ADDRESS is …"."""

    PUBLIC = "a public address"
    PRIVATE = "a private address"
    LOOPBACK = "this machine itself"
    LINK_LOCAL = "a link-local address"
    METADATA = "a cloud's metadata service"
    MULTICAST = "a multicast address"
    BROADCAST = "the broadcast address"
    UNSPECIFIED = "no address of a machine"
    HIDDEN = "an IPv6 address that hides an IPv4 address which is not public"


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


_SPECIAL: tuple[tuple[AddressKind, tuple[Network, ...]], ...] = (
    # First, since later ranges contain some of them. Amazon, Google, Azure, Oracle, Alibaba,
    # Scaleway.
    (
        AddressKind.METADATA,
        _networks(
            "169.254.169.253/32",
            "169.254.169.254/32",
            "169.254.170.2/32",
            "169.254.170.23/32",
            "168.63.129.16/32",
            "192.0.0.192/32",
            "100.100.100.200/32",
            "fd00:ec2::/32",
            "fd20:ce::254/128",
            "fd00:42::42/128",
        ),
    ),
    (AddressKind.BROADCAST, _networks("255.255.255.255/32")),
    (AddressKind.UNSPECIFIED, _networks("0.0.0.0/8", "::/128")),
    (AddressKind.LOOPBACK, _networks("127.0.0.0/8", "::1/128")),
    (AddressKind.LINK_LOCAL, _networks("169.254.0.0/16", "fe80::/10")),
    (AddressKind.MULTICAST, _networks("224.0.0.0/4", "ff00::/8")),
    # RFC 1918, RFC 6598, RFC 2544, RFC 4193, RFC 3879; and ranges that were never assigned.
    (
        AddressKind.PRIVATE,
        _networks(
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "198.18.0.0/15",
            "240.0.0.0/4",
            "fc00::/7",
            "fec0::/10",
        ),
    ),
)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address embedded in an IPv6 address, or None."""
    number = int(address)
    high, low = number >> 32, number & 0xFFFFFFFF
    if high in (0xFFFF, 0xFFFF_0000, 0x64FF9B << 64):
        # ::ffff:a.b.c.d (RFC 4291), ::ffff:0:a.b.c.d (RFC 2765), 64:ff9b::a.b.c.d (RFC 6052)
        return IPv4Address(low)
    if high == 0 and low > 1:  # ::a.b.c.d, but neither :: nor ::1 (RFC 4291, 2.5.5.1)
        return IPv4Address(low)
    if number >> 80 == 0x0064_FF9B_0001:  # 64:ff9b:1::/48, local-use NAT64 (RFC 8215)
        return IPv4Address(low)
    if number >> 112 == 0x2002:  # 2002:a.b.c.d::/48, 6to4 (RFC 3056)
        return IPv4Address(number >> 80 & 0xFFFFFFFF)
    if number >> 96 == 0x2001_0000:  # Teredo: the client's address, each bit inverted (RFC 4380)
        return IPv4Address(low ^ 0xFFFFFFFF)
    if number >> 32 & 0xFDFF_FFFF == 0x0000_5EFE:  # ISATAP (RFC 5214)
        return IPv4Address(low)
    return None


def address_kind(text: str) -> AddressKind:
    """Return the kind of an IP address.

    Args:
        text: The address; an IPv6 zone (``%eth0``) is ignored.

    Raises:
        ValueError: The text is not an IP address.
    """
    address = ip_address(text.partition("%")[0])
    for kind, networks in _SPECIAL:
        if any(address in network for network in networks):
            return kind
    if isinstance(address, IPv6Address):
        inside = _embedded(address)
        if inside is not None and address_kind(str(inside)) is not AddressKind.PUBLIC:
            return AddressKind.HIDDEN
    return AddressKind.PUBLIC


class NamePolicy:
    """Decides which addresses a name in a rule may resolve to.

    Args:
        own_names: Names of this machine besides ``localhost``, which may resolve to loopback.
        private_names: Whether a name may resolve to a private address, as names of containers
            and of machines in a home network do.
    """

    def __init__(self, own_names: Iterable[str] = (), private_names: bool = True) -> None:
        self.own_names = frozenset({"localhost", "ip6-localhost", "ip6-loopback", *own_names})
        self.private_names = private_names

    def refusal(self, name: str, address: str) -> str:
        """Return why a name may not resolve to an address, or "" if it may.

        Args:
            name: The host of a rule, in lower case without trailing dot.
            address: The address that it resolved to.
        """
        kind = address_kind(address)
        if kind is AddressKind.PUBLIC:
            return ""
        # RFC 6761, 6.3: every name that ends in .localhost is this machine.
        is_own = name in self.own_names or name.endswith(".localhost")
        if kind is AddressKind.LOOPBACK:
            if is_own:
                return ""
            remedy = "name localhost in the rule, or add the name to [global] hosts"
        elif kind is AddressKind.PRIVATE:
            if is_own or self.private_names:
                return ""
            remedy = "set [proxy] private.names = yes, or name the address in the rule"
        else:
            remedy = "only a rule that names the address itself reaches it"
        return f"{name} resolves to {address}, which is {kind.value}; {remedy}"
