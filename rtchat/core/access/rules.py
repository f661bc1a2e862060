"""Who may reach what: the access list, and the names this server answers to.

Everything is denied unless a rule names both the source and the target::

    source                        target
    Origin + Host header   →   AccessList   →   HOST:PORT of a TCP service, or unix:NAME

Hosts are compared as text, case and one trailing dot aside. No name is ever looked up here:
``127.0.0.1`` is not ``localhost``. What a name may resolve to is decided when it is connected
(see :mod:`rtchat.core.access.addresses`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from rtchat.errors import AccessDenied

__all__ = [
    "ANYONE",
    "SELF",
    "AccessList",
    "AccessRule",
    "HostList",
    "Source",
    "Target",
    "normal_host",
]

ANYONE = "*"
SELF = "self"

# RFC 1035, 2.3.4: labels are 63 octets or less, names are 255 octets or less (253 as text).
# The underscore is no host name by RFC 952, but containers and Windows machines carry it.
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_MAX_NAME = 253
# The name of a Unix socket, as pages ask for it; a letter first, since unix:80 is a host's port.
_SOCKET_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}", re.IGNORECASE)
_UNIX = "unix:"
_PROXY = "proxy"
# RFC 6454, 7: an origin is scheme "://" host [ ":" port ], without a path.
_ORIGIN = re.compile(r"(https?)://([^/]+)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWN_CHARACTERS = 120


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
                    f"{_shown(self.socket_name)} is no name for a Unix socket; use letters, "
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
                f"{_shown(host)} is neither a name nor an IPv4 address in four decimal numbers"
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
        if text[:5].lower() == _UNIX and _SOCKET_NAME.fullmatch(text, 5):
            return cls("", 0, text[5:])
        host, port = _split_port(text)
        return cls(host, default_port if port is None else port)

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address, so that there is no name to look up."""
        return bool(self.host) and _is_address(self.host)

    def __str__(self) -> str:
        if self.socket_name:
            return f"{_UNIX}{self.socket_name}"
        return f"{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a request comes from, as its own headers tell.

    Attributes:
        origin: The ``Origin`` header as received, or None when there is none. Every browser
            sends it with a WebSocket handshake, and no page can change it.
        host: The ``Host`` header as received, or None when there is none.
        is_secure: Whether the request came over TLS to a port of ours. Then a page of ours did,
            too; whoever sits between may show a browser any page as ``http://`` and our name.
    """

    origin: str | None
    host: str | None
    is_secure: bool = False

    @property
    def is_same_origin(self) -> bool:
        """Whether the page was served under the very host and port that it now calls.

        A ``Host`` without port means the default port of the origin's scheme, so a page behind
        a proxy that ends TLS is still at home. False when there is no (readable) ``Origin``.
        """
        origin = _parse_origin(self.origin)
        if origin is None or self.host is None:
            return False
        scheme, host, port = origin
        if self.is_secure and scheme != "https":
            return False
        try:
            own_host, own_port = _split_port(self.host)
        except ValueError:
            return False
        return (host, port) == (own_host, _DEFAULT_PORTS[scheme] if own_port is None else own_port)

    @property
    def rule_text(self) -> str:
        """How a rule names this page: ``host`` or ``host:port``; "" if it has no such name."""
        origin = _parse_origin(self.origin)
        if origin is None:
            return ""
        scheme, host, port = origin
        name = _bracketed(host)
        return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"

    def __str__(self) -> str:
        origin = "no Origin" if self.origin is None else f"Origin {_shown(self.origin)}"
        host = "no Host" if self.host is None else f"Host {_shown(self.host)}"
        return f"{origin} ({host})"


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One line of ``[access]``: this source may reach this target.

    Attributes:
        source: ``host``, ``host:port``, ``self`` or ``*``, in lower case.
        target: What the source may reach.
        path: Where the target's Unix socket is, or "".
        has_proxy_header: Whether the target is told the browser's address first (version 2 of
            the PROXY protocol).

    Raises:
        ValueError: When the source cannot be read, or the path is missing or too much; the
            text says why.
    """

    source: str
    target: Target
    path: str = ""
    has_proxy_header: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", _normal_source(self.source))
        if bool(self.target.socket_name) != bool(self.path):
            raise ValueError(
                "a Unix socket is a name and a path, such as self -> unix:app = /run/app.sock"
            )

    @classmethod
    def parse(cls, text: str) -> AccessRule:
        """Read ``SOURCE -> HOST:PORT`` or ``SOURCE -> unix:NAME = PATH``.

        The port is 80 when left out; the word ``proxy`` may follow.

        Raises:
            ValueError: When the text is anything else; the text of the error says why.
        """
        source, arrow, target = text.partition("->")
        if not arrow:
            raise ValueError("a rule is SOURCE -> HOST:PORT, such as self -> localhost:61613")
        target, words = target.strip(), target.split()
        has_proxy_header = len(words) > 1 and words[-1].lower() == _PROXY
        if has_proxy_header:
            target = target[: -len(_PROXY)].rstrip()
        target, _, path = target.partition("=")
        target = target.strip()
        if target[:5].lower() == _UNIX and target[5:6] in ("/", "."):
            raise ValueError(
                f"a Unix socket needs a name that pages call it by; write unix:NAME = {target[5:]}"
            )
        return cls(source.strip(), Target.parse(target), path.strip(), has_proxy_header)

    def __str__(self) -> str:
        path = f" = {self.path}" if self.path else ""
        return f"{self.source} -> {self.target}{path}{' proxy' if self.has_proxy_header else ''}"


class AccessList:
    """Decides which source may reach which target; what no rule allows is denied.

    Args:
        rules: The lines of ``[access]``.
        origin_required: Refuse every request without an ``Origin`` header, which means
            every client that is not a browser.
    """

    def __init__(self, rules: Iterable[AccessRule], origin_required: bool = False) -> None:
        self.rules = tuple(rules)
        self.origin_required = origin_required
        self._sources: dict[Target, set[str]] = {}
        self._first: dict[Target, AccessRule] = {}
        for rule in self.rules:
            self._sources.setdefault(rule.target, set()).add(rule.source)
            self._first.setdefault(rule.target, rule)

    @property
    def open_rules(self) -> tuple[AccessRule, ...]:
        """The rules with source ``*``: any page on the web may use them."""
        return tuple(rule for rule in self.rules if rule.source == ANYONE)

    def rule_for(self, target: Target) -> AccessRule:
        """Give the first rule that names a target: how it is reached stands there.

        Raises:
            KeyError: No rule does.
        """
        return self._first[target]

    def allows(self, source: Source, target: Target) -> bool:
        """Tell whether a rule lets this source reach this target."""
        return not self._refusal(source, target)

    def check(self, source: Source, target: Target) -> None:
        """Return if a rule lets this source reach this target.

        Raises:
            AccessDenied: No rule does. The text is one sentence for the log; the client must
                get the same answer for every refusal, or it could scan for targets.
        """
        if refusal := self._refusal(source, target):
            raise AccessDenied(f"{source} may not reach {target}: {refusal}")

    def _refusal(self, source: Source, target: Target) -> str:
        """Return why the source may not reach the target, or "" when it may."""
        allowed = self._sources.get(target)
        if allowed is None:
            return "no rule names this target"
        if source.origin is None and self.origin_required:
            return "no Origin and origin.required is set"
        if allowed.isdisjoint(_sources_matching(source)):
            return "no rule lets this source reach it"
        return ""


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
            host, _ = _split_port(host_header)
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
            raise ValueError(f"{_shown(text)} is {kind} an IPv6 address") from None
        return host
    host = host.removesuffix(".")
    if not host:
        raise ValueError("the host is missing")
    if len(host) > _MAX_NAME or not _NAME.fullmatch(host):
        raise ValueError(f"{_shown(text)} is not a host name")
    return host


def _sources_matching(source: Source) -> set[str]:
    """Return every source text a rule may carry to match this request."""
    matching = {ANYONE}
    if source.origin is None or source.is_same_origin:
        matching.add(SELF)
    if (origin := _parse_origin(source.origin)) is not None:
        scheme, host, port = origin
        matching.add(f"{_bracketed(host)}:{port}")
        if port == _DEFAULT_PORTS[scheme]:
            matching.add(_bracketed(host))
    return matching


def _parse_origin(origin: str | None) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an Origin, or None for ``null`` and whatever is odd."""
    parts = _ORIGIN.fullmatch(origin or "")
    if parts is None:
        return None
    scheme = parts[1].lower()
    try:
        host, port = _split_port(parts[2])
    except ValueError:
        return None
    return scheme, host, _DEFAULT_PORTS[scheme] if port is None else port


def _normal_source(text: str) -> str:
    """Return the source of a rule in the one spelling that is compared."""
    if text.lower() in (ANYONE, SELF):
        return text.lower()
    if not text:
        raise ValueError("the source before -> is missing; write host[:port], self or *")
    if "://" in text:
        raise ValueError(f"the source {_shown(text)} is a URL; write host[:port] only")
    host, port = _split_port(text)
    if host == SELF:
        raise ValueError("the source self stands alone, without a port")
    return _bracketed(host) if port is None else f"{_bracketed(host)}:{port}"


def _split_port(text: str) -> tuple[str, int | None]:
    """Split ``HOST[:PORT]`` into the normal host and its port, None when there is none."""
    _refuse_odd_characters(text)
    if text.startswith("["):
        inside, bracket, rest = text.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{_shown(text)} is not [IPV6] or [IPV6]:PORT")
        host, colon, port = f"{inside}]", rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        if ":" in port:
            raise ValueError(f"an IPv6 address needs brackets: {_shown(text)}")
    return normal_host(host), _parse_port(port) if colon else None


def _parse_port(text: str) -> int:
    if not text:
        raise ValueError("the port after the colon is missing; use 1 to 65535")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"the port {_shown(text)} is not a number; use 1 to 65535")
    if len(text) > 5 or not 1 <= int(text) <= 65535:
        raise ValueError(f"the port {text[:20]} is out of range; use 1 to 65535")
    return int(text)


def _refuse_odd_characters(text: str) -> None:
    """Refuse what never stands in HOST:PORT, before anything is split."""
    if not text.isascii():
        raise ValueError(f"{_shown(text)} is not ASCII; write an international name as xn--…")
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError(f"{_shown(text)} has a space or control character")
    for character, reason in (
        ("*", "wildcards are not supported; write the whole host"),
        ("@", "a user name has no place here"),
        ("/", "leave out scheme and path"),
        ("%", "neither percent escapes nor IPv6 zones are supported"),
    ):
        if character in text:
            raise ValueError(f"{_shown(text)} has {character!r} in it; {reason}")


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


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shown(text: str) -> str:
    """Quote what a stranger sent, so that it can neither forge nor flood a line of the log."""
    return ascii(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
