"""Address lists, such as the front proxies to trust, and the spelling of client addresses.

No name is looked up here. Which addresses a host name may resolve to is decided in
:mod:`rtchat.core.access.ssrf`.
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
        unix: Whether connections over a Unix socket are in the list.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False

    @classmethod
    def parse(cls, texts: Iterable[str]) -> AddressList:
        """Parse addresses, networks and the word ``unix``.

        Raises:
            ValueError: An entry is something else; the text says which and why.
        """
        words = tuple(texts)
        return cls(tuple(ip_network(word) for word in words if word != "unix"), "unix" in words)

    def __bool__(self) -> bool:
        return bool(self.networks) or self.unix

    def __contains__(self, host: str | None) -> bool:
        """Return whether a host is listed; None stands for a Unix socket."""
        if host is None:
            return self.unix
        try:
            address = ip_address(plain_address(host))
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def plain_address(host: str) -> str:
    """Return an address without its zone, and an IPv4-mapped IPv6 address as IPv4."""
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
    """Return the key under which a source is counted.

    This is an IPv4 address, the /64 network of an IPv6 address (one client has all of it), or ""
    for None, which stands for a Unix socket.
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
