"""Host names, ports and targets, and the names this server answers to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from rtchat.text import parse_digits, printable

__all__ = ["UNIX", "HostList", "Target", "bracketed", "normal_host", "split_port"]


# RFC 1035, 2.3.4: labels are 63 octets or less, names are 255 octets or less (253 as text).
# The underscore is no host name by RFC 952, but containers and Windows machines carry it.
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")

_MAX_NAME = 253

# The name of a Unix socket, as pages ask for it; a letter first, since unix:80 is a host's port.
_SOCKET_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.IGNORECASE)

UNIX = "unix:"


@dataclass(frozen=True, slots=True)
class Target:
    """A service that a page may want to reach, over TCP or a Unix socket.

    Attributes:
        host: Name or address, in lower case, without trailing dot and IPv6 brackets; "" when
            it is a Unix socket.
        port: 1 to 65535; 0 when it is a Unix socket.
        socket_name: The name of a Unix socket, in lower case, or "". Where the socket is says
            the rule alone: no path ever comes from a page.

    Raises:
        ValueError: When this cannot be a target; the text says why.
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
            raise ValueError(f"{host} means every interface, which nobody can connect to")
        if not _is_address(host) and _is_number(host.rpartition(".")[2]):
            # getaddrinfo would read these as addresses: 2130706433, 0x7f.1 and 127.1 are all
            # 127.0.0.1. (As in the URL standard: a host whose last label is a number.)
            raise ValueError(
                f"{printable(host)} is neither a name nor an IPv4 address in four decimal numbers"
            )
        object.__setattr__(self, "host", host)
        if not 1 <= self.port <= 65535:
            raise ValueError(f"the port {self.port} is out of range; use 1 to 65535")

    @classmethod
    def parse(cls, text: str, default_port: int = 80) -> Target:
        """Read ``HOST:PORT``, ``[IPV6]:PORT``, ``HOST`` or ``unix:NAME``.

        Args:
            text: What stands in a rule or behind ``/tcp/``, undecoded.
            default_port: The port when the text has none.

        Raises:
            ValueError: When the text is anything else; the text of the error says why.
        """
        if text[:5].lower() == UNIX and _SOCKET_NAME.fullmatch(text, 5):
            return cls("", 0, text[5:])
        host, port = split_port(text)
        return cls(host, default_port if port is None else port)

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address, so that there is no name to look up."""
        return bool(self.host) and _is_address(self.host)

    def __str__(self) -> str:
        if self.socket_name:
            return f"{UNIX}{self.socket_name}"
        return f"{bracketed(self.host)}:{self.port}"


class HostList:
    """The names under which this server may be called: the defence against DNS rebinding.

    A page on ``evil.example`` whose name is made to point at this machine is same-origin with
    this server in the browser's eyes, but it cannot change the ``Host`` header: that still says
    ``evil.example``. An IP literal cannot be rebound, so each is allowed.

    Args:
        names: Host names without port, beside ``localhost`` and every IP literal.

    Raises:
        ValueError: When a name cannot be a host name; the text says why.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset({"localhost", *map(normal_host, names)})

    def allows(self, host_header: str | None) -> bool:
        """Tell whether a request with this ``Host`` header is meant for this server.

        Args:
            host_header: The header as received. None, a request of HTTP/1.0 without it, is
                allowed: no browser sends that.
        """
        if host_header is None:
            return True
        try:
            host, _ = split_port(host_header)
        except ValueError:
            return False
        return host in self.names or _is_address(host)


def normal_host(text: str) -> str:
    """Return a host in the spelling that is compared.

    That is lower case, without IPv6 brackets and without one trailing dot.

    Raises:
        ValueError: When this is neither a host name nor an address; the text says why.
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
    """Split ``HOST[:PORT]`` into the normal host and its port, None when there is none."""
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
    """Refuse what never stands in HOST:PORT, before anything is split."""
    if not text.isascii():
        raise ValueError(f"{printable(text)} is not ASCII; write an international name as xn--…")
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError(f"{printable(text)} has a space or control character")
    for character, reason in (
        ("*", "wildcards are not supported; write the whole host"),
        ("@", "a user name has no place here"),
        ("/", "leave out scheme and path"),
        ("%", "neither percent escapes nor IPv6 zones are supported"),
    ):
        if character in text:
            raise ValueError(f"{printable(text)} has {character!r} in it; {reason}")


def _is_address(host: str) -> bool:
    """Whether a normal host is an IP literal; ``0177.0.0.1`` and ``2130706433`` are names."""
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
