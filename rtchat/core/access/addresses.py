"""What an IP address is, and whether a name in a rule may stand for it.

A rule that names an address means that address. A rule that names a host trusts whoever answers
for that name in the DNS with choosing the machine, but not with choosing *this* machine, the
cloud's metadata service or a neighbour on the wire: :meth:`NamePolicy.refusal` draws that line.
Also here: the lists of addresses that front proxies come from, and what such a proxy says
about the client. Nothing is looked up here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

__all__ = ["AddressList", "Network", "plain_address", "source_key"]


Address: TypeAlias = "IPv4Address | IPv6Address"

Network: TypeAlias = "IPv4Network | IPv6Network"


@dataclass(frozen=True, slots=True)
class AddressList:
    """A list of addresses and networks, such as ``10.0.0.0/8, 127.0.0.1, unix``.

    Attributes:
        networks: The networks.
        unix: Whether whoever comes over a Unix socket is in the list.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> AddressList:
        """Read addresses, networks and the word ``unix``.

        Raises:
            ValueError: One of them is something else; the text says which and why.
        """
        words = tuple(texts)
        return cls(tuple(ip_network(word) for word in words if word != "unix"), "unix" in words)

    def __bool__(self) -> bool:
        return bool(self.networks) or self.unix

    def __contains__(self, host: str | None) -> bool:
        """Tell whether a host is listed; None is whoever comes over a Unix socket."""
        if host is None:
            return self.unix
        try:
            address = ip_address(plain_address(host))
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def plain_address(host: str) -> str:
    """Give an address without zone, and IPv4 as such though it came over an IPv6 port."""
    bare = host.partition("%")[0]
    if ":" in bare:
        try:
            mapped = IPv6Address(bare).ipv4_mapped
        except ValueError:
            return bare
        if mapped is not None:
            return str(mapped)
    return bare


def source_key(host: str | None) -> str:
    """Give what a source counts as: its IPv4 address, or the /64 that one IPv6 client has.

    It is "" for None, which is whoever comes over a Unix socket.
    """
    if host is None:
        return ""
    plain = plain_address(host)
    if ":" not in plain:
        return plain
    try:
        return str(IPv6Network((plain, 64), strict=False))
    except ValueError:
        return plain
