"""The PROXY protocol, which carries the client's address over a proxied connection.

Versions 1 and 2 are read from front proxies; version 2 is written to targets. Section numbers
in the comments refer to haproxy.org, proxy-protocol.txt, 2020/03/05.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from rtchat.core.access.addresses import plain_address
from rtchat.text import parse_digits

__all__ = ["MAX_HEADER_BYTES", "ProxyHeader", "read_header", "write_header"]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1 = b"PROXY "
_MAX_V1_BYTES = 107
"""2.1: "the maximum line lengths the receiver must support including the CRLF are" 107."""

MAX_HEADER_BYTES = 16 + 2048
"""A version 2 header with 2 KiB of addresses and extensions; no known proxy sends more."""

_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNSPECIFIED = 0x11, 0x21, 0x00


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A parsed header.

    Attributes:
        source: Address and port of the client. None if the proxy itself is the client, or if the
            client did not use TCP.
        length: The length of the header in bytes.
    """

    source: tuple[str, int] | None
    length: int


def read_header(data: bytes) -> ProxyHeader | None:
    """Parse a header of either version at the start of a connection.

    Returns:
        None if the header is not complete yet.

    Raises:
        ValueError: The connection does not start with a valid header; close it.
    """
    if data[:12] == _SIGNATURE[: len(data)]:
        return _read_v2(data)
    if data[:6] == _V1[: len(data)]:
        return _read_v1(data)
    raise ValueError("it does not begin with a PROXY protocol header")


def _read_v1(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:_MAX_V1_BYTES].partition(b"\r\n")
    if not end:
        if len(data) >= _MAX_V1_BYTES:
            raise ValueError("the line of the PROXY protocol does not end")
        return None
    length = len(line) + 2
    words = line.decode("latin-1").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return ProxyHeader(None, length)
    try:
        _, family, source, _, source_port, _ = words
        address = ip_address(source)
        is_known = family == ("TCP4" if address.version == 4 else "TCP6")
        port = parse_digits(source_port, 5)
    except ValueError:
        raise ValueError("the line of the PROXY protocol cannot be read") from None
    if not is_known or port is None or port > 65535:
        raise ValueError("the line of the PROXY protocol cannot be read")
    return ProxyHeader((plain_address(str(address)), port), length)


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    command, family, size = struct.unpack_from("!BBH", data, 12)
    if command not in (_LOCAL, _PROXY):
        raise ValueError("the version or command of the PROXY protocol is unknown")
    length = 16 + size
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"the header of the PROXY protocol has {length} bytes")
    if len(data) < length:
        return None
    if command == _LOCAL:
        return ProxyHeader(None, length)
    if family == _TCP4:
        if size < 12:
            raise ValueError("the addresses of the PROXY protocol are cut short")
        host, port = str(IPv4Address(data[16:20])), struct.unpack_from("!H", data, 24)[0]
    elif family == _TCP6:
        if size < 36:
            raise ValueError("the addresses of the PROXY protocol are cut short")
        host, port = str(IPv6Address(data[16:32])), struct.unpack_from("!H", data, 48)[0]
    else:  # 2.2: other families "must be accepted" and their addresses ignored
        return ProxyHeader(None, length)
    return ProxyHeader((plain_address(host), port), length)


def write_header(source: tuple[str, int] | None, destination: tuple[str, int] | None) -> bytes:
    """Return a version 2 header.

    Args:
        source: Address and port of the browser, or None if it has none (a Unix socket).
        destination: Address and port that the browser connected to, or None.
    """
    if source is None:
        return _SIGNATURE + struct.pack("!BBH", _PROXY, _UNSPECIFIED, 0)
    browser = ip_address(plain_address(source[0]))
    if destination is None:
        # The client's address family, with the unspecified address and port 0.
        destination = ("0.0.0.0" if browser.version == 4 else "::", 0)
    own = ip_address(plain_address(destination[0]))
    family = _TCP4
    if not browser.version == own.version == 4:
        family, browser, own = _TCP6, _as_ipv6(browser), _as_ipv6(own)
    addresses = browser.packed + own.packed + struct.pack("!HH", source[1], destination[1])
    return _SIGNATURE + struct.pack("!BBH", _PROXY, family, len(addresses)) + addresses


def _as_ipv6(address: IPv4Address | IPv6Address) -> IPv6Address:
    if isinstance(address, IPv6Address):
        return address
    return IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
