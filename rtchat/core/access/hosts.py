"""Host names, ports and targets, and the names that this server answers to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from rtchat.text import parse_digits, printable

__all__ = [
    "UNIX",
    "HostList",
    "Target",
    "bracketed",
    "normal_host",
    "split_host_header",
    "split_port",
]


# RFC 1035, 2.3.4: labels are 63 octets or less, names are 255 octets or less (253 as text).
# RFC 952 forbids the underscore, but names of containers and Windows machines contain it.
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")

_MAX_NAME = 253
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")

# The name that pages request a Unix socket by. A letter comes first: unix:80 is a host and port.
_SOCKET_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.IGNORECASE)

UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Target:
    """A service that a page may request, over TCP or a Unix socket.

    Attributes:
        host: Name or address, in lower case, without trailing dot and IPv6 brackets; "" for a
            Unix socket.
        port: 1 to 65535; 0 for a Unix socket.
        socket_name: The name of a Unix socket, in lower case, or "". The socket's path comes
            from the rule alone, never from a page.

    Raises:
        ValueError: This is not a valid target; the text says why.
    """

    host: str
    port: int
    socket_name: str = ""

    def __post_init__(self) -> None:
        if self.socket_name:
            if not _SOCKET_NAME.fullmatch(self.socket_name):
                raise ValueError(
                    f"{printable(self.socket_name)} is no name for a Unix socket; use letters, "
                    "digits, '.', '_' and '-', a letter first"
                )
            object.__setattr__(self, "socket_name", self.socket_name.lower())
            object.__setattr__(self, "host", "")
            object.__setattr__(self, "port", 0)
            return
        host = normal_host(self.host)
        if _is_unspecified(host):
            raise ValueError(f"{host} means every interface, which cannot be connected to")
        if not _is_address(host) and _is_number(host.rpartition(".")[2]):
            # getaddrinfo accepts these as addresses: 2130706433, 0x7f.1 and 127.1 all mean
            # 127.0.0.1. (The URL standard's rule: a host whose last label is a number.)
            raise ValueError(
                f"{printable(host)} is neither a name nor an IPv4 address in four decimal numbers"
            )
        object.__setattr__(self, "host", host)
        if not 1 <= self.port <= 65535:
            raise ValueError(f"the port {self.port} is out of range; use 1 to 65535")

    @classmethod
    def parse(cls, text: str, default_port: int = 80) -> Target:
        """Parse ``HOST:PORT``, ``[IPV6]:PORT``, ``HOST`` or ``unix:NAME``.

        Args:
            text: The target in a rule, or the path after ``/tcp/``, undecoded.
            default_port: The port if the text has none.

        Raises:
            ValueError: The text is anything else; the error's text says why.
        """
        if text[:5].lower() == UNIX and _SOCKET_NAME.fullmatch(text, 5):
            return cls("", 0, text[5:])
        host, port = split_port(text)
        return cls(host, default_port if port is None else port)

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address, which needs no look-up."""
        return bool(self.host) and _is_address(self.host)

    def __str__(self) -> str:
        if self.socket_name:
            return f"{UNIX}{self.socket_name}"
        return f"{bracketed(self.host)}:{self.port}"


class HostList:
    """The host names that this server answers to: the defence against DNS rebinding.

    If ``evil.example`` is made to resolve to this machine, a browser treats its pages as
    same-origin with this server. But they cannot change the ``Host`` header, which still says
    ``evil.example``. IP literals cannot be rebound, so all of them are allowed.

    Args:
        names: Host names without port, in addition to ``localhost`` and every IP literal.

    Raises:
        ValueError: A name is not a valid host name; the text says why.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset({"localhost", *map(normal_host, names)})

    def allows(self, host_header: str | None) -> bool:
        """Return whether a request with this ``Host`` header is addressed to this server.

        Args:
            host_header: The header as received. None (an HTTP/1.0 request without it) is
                allowed, since no browser sends such a request.
        """
        if host_header is None:
            return True
        try:
            host, _ = split_host_header(host_header)
        except ValueError:
            return False
        return host in self.names or _is_address(host)


def normal_host(text: str) -> str:
    """Return a host in normal form, in which hosts are compared.

    This is lower case, without IPv6 brackets and without one trailing dot.

    Raises:
        ValueError: The text is neither a host name nor an address; the error's text says why.
    """
    _refuse_odd_characters(text)
    host = text.lower()
    if host.startswith("[") or ":" in host:
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        try:
            IPv6Address(host)
        except AddressValueError:
            kind = "not" if host != text.lower() else "neither a host name nor"
            raise ValueError(f"{printable(text)} is {kind} an IPv6 address") from None
        return host
    host = host.removesuffix(".")
    if not host:
        raise ValueError("the host is missing")
    if len(host) > _MAX_NAME or not _NAME.fullmatch(host):
        raise ValueError(f"{printable(text)} is not a host name")
    return host


def split_port(text: str) -> tuple[str, int | None]:
    """Split ``HOST[:PORT]`` into the normal host and the port, None if there is none."""
    _refuse_odd_characters(text)
    if text.startswith("["):
        inside, bracket, rest = text.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{printable(text)} is not [IPV6] or [IPV6]:PORT")
        host, colon, port = f"{inside}]", rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise ValueError(f"an IPv6 address needs brackets: {printable(text)}")
    return normal_host(host), _parse_port(port) if colon else None


def split_host_header(text: str) -> tuple[str, int | None]:
    """Do the same with the value of ``Host``, in which the port may be empty (RFC 3986, 3.2.3).

    Raises:
        ValueError: It is not a host with or without a port; the text says why.
    """
    return split_port(text.removesuffix(":"))


def _parse_port(text: str) -> int:
    if not text:
        raise ValueError("the port after the colon is missing; use 1 to 65535")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"the port {printable(text)} is not a number; use 1 to 65535")
    port = parse_digits(text, 5)
    if port is None or not 1 <= port <= 65535:
        raise ValueError(f"the port {text[:20]} is out of range; use 1 to 65535")
    return port


def _refuse_odd_characters(text: str) -> None:
    """Reject characters that HOST:PORT never contains, before the text is split."""
    if not text.isascii():
        raise ValueError(f"{printable(text)} is not ASCII; write an international name as xn--…")
    if _SPACE_OR_CONTROL.search(text):
        raise ValueError(f"{printable(text)} has a space or control character")
    for character, reason in (
        ("*", "wildcards are not supported; write the whole host"),
        ("@", "leave out the user name"),
        ("/", "leave out scheme and path"),
        ("%", "neither percent escapes nor IPv6 zones are supported"),
    ):
        if character in text:
            raise ValueError(f"{printable(text)} has {character!r} in it; {reason}")


def _is_address(host: str) -> bool:
    """Return whether a normal host is an IP literal; ``0177.0.0.1`` and ``2130706433`` are not."""
    if ":" in host:
        return True
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _is_number(label: str) -> bool:
    return label.isdigit() or bool(re.fullmatch(r"0x[0-9a-f]*", label))


def _is_unspecified(host: str) -> bool:
    if not _is_address(host):
        return False
    return (IPv6Address(host) if ":" in host else IPv4Address(host)).is_unspecified


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
