"""Client addresses from ``X-Forwarded-For``."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from rtchat.core.access.addresses import AddressList, plain_address
from rtchat.text import parse_digits

__all__ = ["client_behind"]


def client_behind(
    peer: str | None, forwarded: Sequence[str], trusted: AddressList
) -> tuple[str, int] | None:
    """Return the client's address and port as reported by a trusted front proxy.

    Each proxy appends the address of its own peer to ``X-Forwarded-For``. The list is therefore
    read from its end, for as long as the proxy that added an entry is trusted; the entries before
    may be forged.

    Args:
        peer: The address that the connection came from, None for a Unix socket.
        forwarded: The values of ``X-Forwarded-For``.
        trusted: The front proxies.

    Returns:
        Address and port (0 if unknown). None if the peer itself is the client: it is not a
        trusted proxy, or the header has no readable entry.
    """
    if peer not in trusted:
        return None
    client = None
    for entry in reversed(",".join(forwarded).split(",")):
        named = _forwarded_entry(entry.strip())
        if named is None:
            break
        client = named
        if client[0] not in trusted:
            break
    return client


def _forwarded_entry(text: str) -> tuple[str, int] | None:
    """Parse ``1.2.3.4``, ``1.2.3.4:5``, ``::1``, ``[::1]`` or ``[::1]:5``."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ip_address(plain_address(host))
    except ValueError:
        return None
    number = parse_digits(port, 5) or 0
    return str(address), number if number <= 65535 else 0
