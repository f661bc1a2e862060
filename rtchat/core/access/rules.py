"""The access list: which pages may reach which targets.

A request is denied unless a rule names both its source and its target::

    source                        target
    Origin + Host header   →   AccessList   →   HOST:PORT of a TCP service, or unix:NAME

A rule may also say who has to use the page; then the caller asks who that is.

Hosts are compared as text, ignoring case and one trailing dot. No name is looked up here:
``127.0.0.1`` is not ``localhost``. Which addresses a name may resolve to is checked on connecting
(see :mod:`rtchat.core.access.ssrf`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rtchat.core.access.hosts import UNIX, Target, bracketed, split_host_header, split_port
from rtchat.errors import AccessDenied
from rtchat.text import printable

__all__ = ["ANYBODY", "ANYONE", "SELF", "AccessList", "AccessRule", "Source"]


ANYONE = "*"

ANYBODY = "anonymous"
"""Stands for people with and without a user, as a rule does that says nothing about them."""

SELF = "self"

_PROXY = "proxy"

# RFC 6454, 7: an origin is scheme "://" host [ ":" port ], without a path.
_ORIGIN = re.compile(r"(https?)://([^/]+)", re.IGNORECASE)

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a request, according to its headers.

    Attributes:
        origin: The ``Origin`` header as received, or None if there is none. Every browser sends
            it with a WebSocket handshake, and no page can change it.
        host: The ``Host`` header as received, or None if there is none.
        is_secure: Whether the request came over TLS to a port of this server. Then this server's
            own pages came over TLS, too: a same-origin page must be ``https://``, since a
            man in the middle can serve any page as ``http://`` under this server's name.
    """

    origin: str | None
    host: str | None
    is_secure: bool = False

    @property
    def is_same_origin(self) -> bool:
        """Whether the page was served from the host and port that it now requests.

        A ``Host`` without port means the default port of the origin's scheme, so that a page
        behind a proxy that terminates TLS is still same-origin. False without a valid ``Origin``.
        """
        origin = _parse_origin(self.origin)
        if origin is None or self.host is None:
            return False
        scheme, host, port = origin
        if self.is_secure and scheme != "https":
            return False
        try:
            own_host, own_port = split_host_header(self.host)
        except ValueError:
            return False
        return (host, port) == (own_host, _DEFAULT_PORTS[scheme] if own_port is None else own_port)

    @property
    def rule_text(self) -> str:
        """The page as rules spell it: ``host`` or ``host:port``; "" without a valid ``Origin``."""
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
        target: The service that the source may reach.
        who: Who may reach it from there, as a line of ``[rights]`` says it: a user, a group after
            ``@``, or ``*`` for every user. "" and ``anonymous`` stand for anybody.
        path: The path of the target's Unix socket, or "".
        has_proxy_header: Whether the target first receives the browser's address (PROXY protocol,
            version 2).

    Raises:
        ValueError: The source is not valid, or the path is missing or not allowed; the text says
            which and why.
    """

    source: str
    target: Target
    path: str = ""
    has_proxy_header: bool = False
    who: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", _normal_source(self.source))
        if bool(self.target.socket_name) != bool(self.path):
            raise ValueError(
                "a Unix socket is a name and a path, such as self -> unix:app = /run/app.sock"
            )

    @classmethod
    def parse(cls, text: str) -> AccessRule:
        """Parse ``SOURCE -> HOST:PORT`` or ``SOURCE -> unix:NAME = PATH``.

        The port defaults to 80; the word ``proxy`` may follow. Between SOURCE and the arrow may
        stand who has to use the page.

        Raises:
            ValueError: The text is anything else; the error's text says why.
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
        source, *who = source.split(None, 1) or [""]
        if target[:5].lower() == UNIX and target[5:6] in ("/", "."):
            raise ValueError(
                f"a Unix socket needs a name that pages call it by; write unix:NAME = {target[5:]}"
            )
        return cls(
            source, Target.parse(target), path.strip(), has_proxy_header, "".join(who).strip()
        )

    @property
    def asks(self) -> bool:
        """Whether it matters who uses the page."""
        return self.who not in ("", ANYBODY)

    def __str__(self) -> str:
        who = f" {self.who}" if self.who else ""
        path = f" = {self.path}" if self.path else ""
        proxy = f" {_PROXY}" if self.has_proxy_header else ""
        return f"{self.source}{who} -> {self.target}{path}{proxy}"


class AccessList:
    """Decides which source may reach which target, and denies by default.

    Args:
        rules: The lines of ``[access]``.
        origin_required: Refuse every request without an ``Origin`` header, that is, from every
            client that is not a browser.

    Attributes:
        asks: Whether there is a rule for which it matters who uses the page.
    """

    def __init__(self, rules: Iterable[AccessRule], origin_required: bool = False) -> None:
        self.rules = tuple(rules)
        self.asks = any(rule.asks for rule in self.rules)
        self.origin_required = origin_required
        self._sources: dict[Target, set[str]] = {}
        self._first: dict[Target, AccessRule] = {}
        self._named = {rule.source for rule in self.rules} - {ANYONE}
        for rule in self.rules:
            self._sources.setdefault(rule.target, set()).add(rule.source)
            self._first.setdefault(rule.target, rule)

    @property
    def open_rules(self) -> tuple[AccessRule, ...]:
        """The rules with source ``*``, which any page on the web may use."""
        return tuple(rule for rule in self.rules if rule.source == ANYONE)

    def trusts(self, source: Source) -> bool:
        """Return whether a source may act for its visitors with what browsers send by themselves.

        That are cookies and remembered passwords. Pages of this server may, programs, and pages
        that a rule names. A rule for every page in the world is no word of trust: it would let
        any of them act as the person who looks at it.
        """
        is_ours = source.origin is None or source.is_same_origin
        return is_ours or not self._named.isdisjoint(_sources_matching(source))

    def rule_for(self, target: Target) -> AccessRule:
        """Return the first rule that names a target; it says how to connect.

        Raises:
            KeyError: No rule names the target.
        """
        return self._first[target]

    def allows(self, source: Source, target: Target) -> bool:
        """Return whether a rule lets this source reach this target, for some people at least."""
        return not self._refusal(source, target)

    def who_may(self, source: Source, target: Target) -> frozenset[str]:
        """Return who may reach this target from this source; empty stands for anybody.

        Raises:
            AccessDenied: No rule lets this source reach it; see :meth:`check`.
        """
        self.check(source, target)
        if not self.asks:
            return frozenset()
        matching = _sources_matching(source)
        rules = [one for one in self.rules if one.target == target and one.source in matching]
        if not all(one.asks for one in rules):
            return frozenset()
        return frozenset(one.who for one in rules)

    def who_may_choose(self, source: Source, targets: Iterable[Target]) -> frozenset[str]:
        """Return who may reach one of these targets from this source; empty stands for anybody.

        Targets that no rule lets this source reach are left out.
        """
        allowed = [target for target in targets if self.allows(source, target)]
        whos = [self.who_may(source, target) for target in allowed]
        return frozenset().union(*whos) if all(whos) else frozenset()

    def check(self, source: Source, target: Target) -> None:
        """Raise an error unless a rule lets this source reach this target.

        Raises:
            AccessDenied: No rule does. The text is for the log, and says what would allow it.
                Clients must get the same answer for every refusal, so that they cannot scan for
                targets.
        """
        if refusal := self._refusal(source, target):
            cure = self._cure(source, target)
            raise AccessDenied(f"{source} may not reach {target}: {refusal}. {cure}")

    def _refusal(self, source: Source, target: Target) -> str:
        """Return why the source may not reach the target, or "" if it may."""
        allowed = self._sources.get(target)
        if allowed is None:
            return "no rule names this target"
        if source.origin is None and self.origin_required:
            return "no Origin and origin.required is set"
        if allowed.isdisjoint(_sources_matching(source)):
            return "no rule lets this source reach it"
        return ""

    def _cure(self, source: Source, target: Target) -> str:
        """Return what would let the source reach the target, ending with a line to be copied."""
        if source.origin is None and self.origin_required:
            return "If programs may come, write: [global] origin.required = no"
        service = f"{target} = PATH" if target.socket_name else str(target)
        if source.origin is None or source.is_same_origin:
            return f"If it should, add to [access]: {SELF} -> {service}"
        name = source.rule_text
        if not name:
            # A page opened from disk, or in a sandboxed frame.
            return (
                "No rule but one for every page in the world names a page without an address. "
                "Serve it from here, with [static] NAME = FOLDER, and the rule is that of self; "
                f"or else add to [access]: {ANYONE} -> {service}"
            )
        front = ""
        if SELF in self._sources.get(target, ()):
            front = (
                "If this is this server's own page behind a front proxy, let the proxy pass Host "
                "on (nginx: proxy_set_header Host $http_host). "
            )
        return f"{front}If it should, add to [access]: {name} -> {service}"


def _sources_matching(source: Source) -> set[str]:
    """Return every spelling of a rule's source that matches this request."""
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
    """Return scheme, host and port of an Origin; None for ``null`` and malformed values."""
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
    """Return the source of a rule in normal form, in which sources are compared."""
    if text.lower() in (ANYONE, SELF):
        return text.lower()
    if not text:
        raise ValueError("the source before -> is missing; write host[:port], self or *")
    if text.startswith("@"):
        raise ValueError(f"the source before {printable(text)} is missing; write self {text} -> …")
    if "://" in text:
        raise ValueError(f"the source {printable(text)} is a URL; write host[:port] only")
    host, port = split_port(text)
    if host == SELF:
        raise ValueError("the source self stands alone, without a port")
    return bracketed(host) if port is None else f"{bracketed(host)}:{port}"
