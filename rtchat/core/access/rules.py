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

from rtchat.core.access.hosts import UNIX, Target, bracketed, split_port
from rtchat.errors import AccessDenied
from rtchat.text import printable

__all__ = ["ANYONE", "SELF", "AccessList", "AccessRule", "Source"]


ANYONE = "*"

SELF = "self"

_PROXY = "proxy"

# RFC 6454, 7: an origin is scheme "://" host [ ":" port ], without a path.
_ORIGIN = re.compile(r"(https?)://([^/]+)", re.IGNORECASE)

_DEFAULT_PORTS = {"http": 80, "https": 443}


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
            own_host, own_port = split_port(self.host)
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
        name = bracketed(host)
        return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"

    def __str__(self) -> str:
        origin = "no Origin" if self.origin is None else f"Origin {printable(self.origin)}"
        host = "no Host" if self.host is None else f"Host {printable(self.host)}"
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
        if target[:5].lower() == UNIX and target[5:6] in ("/", "."):
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


def _sources_matching(source: Source) -> set[str]:
    """Return every source text a rule may carry to match this request."""
    matching = {ANYONE}
    if source.origin is None or source.is_same_origin:
        matching.add(SELF)
    if (origin := _parse_origin(source.origin)) is not None:
        scheme, host, port = origin
        matching.add(f"{bracketed(host)}:{port}")
        if port == _DEFAULT_PORTS[scheme]:
            matching.add(bracketed(host))
    return matching


def _parse_origin(origin: str | None) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an Origin, or None for ``null`` and whatever is odd."""
    parts = _ORIGIN.fullmatch(origin or "")
    if parts is None:
        return None
    scheme = parts[1].lower()
    try:
        host, port = split_port(parts[2])
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
        raise ValueError(f"the source {printable(text)} is a URL; write host[:port] only")
    host, port = split_port(text)
    if host == SELF:
        raise ValueError("the source self stands alone, without a port")
    return bracketed(host) if port is None else f"{bracketed(host)}:{port}"
